"""What people say about a run, and what a run that waits for them says: ack, approve, status."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestrator.sandbox.faults import Fault
from tests.cli.program import rest_of
from tests.cli.rollout_site import (
    CLOCK_CALL,
    SIX,
    assert_true_to_the_org,
    events_of,
    reasons,
    rollout_plan,
    rollout_site,
    states,
)
from tests.cli.site import APPS, JOB, checked, until

FIRST, *REST = SIX
STRANGER = APPS[9]
ACKNOWLEDGED = "{gate: {acknowledged: true}, waves: [2, 100%]}"
APPROVED = "{gate: {approval: each_wave}, waves: [1, 2, 100%]}"


def targets_file(folder: Path, apps: Sequence[str], name: str = "acks.csv") -> Path:
    path = folder / name
    path.write_text("app_id,ticket\n" + "".join(f"{app},T-1\n" for app in apps))
    return path


async def test_acknowledged_targets_go_and_the_others_hold_up_their_own_wave_only(
    tmp_path: Path,
) -> None:
    acks = targets_file(tmp_path, [FIRST, *REST[1:]])
    async with rollout_site(tmp_path, text=rollout_plan(activate=ACKNOWLEDGED)) as where:
        staged = await where.run()
        assert f"waiting: job {JOB}, wave 1 waits for acknowledgement of 2 targets" in staged.err
        assert "6 cloned" in staged.err
        assert where.switched() == set()

        first = await where.keys("ack", "latest", "--target", FIRST)
        assert first.err.endswith(": 1 target is acknowledged now\n")
        assert (await where.status())["waits"] == [f"job {JOB}, wave 1 may go: run the plan again"]
        one = await where.run()
        assert where.switched() == {FIRST}

        more = await where.keys("ack", "latest", "--file", acks, "--by", "priya")
        assert more.err.endswith(": 4 targets are acknowledged now, 1 were before\n")
        some = await where.run()
        assert where.switched() == set(SIX) - {REST[0]}
        assert f"job {JOB}, wave 1 waits for acknowledgement of 1 target\n" in some.err

        await where.keys("ack", "latest", "--target", REST[0], "--job", JOB)
        last = await where.run()
        assert where.switched() == set(SIX)
        report = assert_true_to_the_org(where)
        assert where.org.collateral_changes() == 0
    assert [ended.code for ended in (staged, first, one, more, some, last)] == [0] * 6
    assert all(row["acknowledged"] for row in report["targets"])


WRONG_ACKS = [
    ([], "which targets? Name them with --target APP or --file CSV"),
    (["--target", FIRST, "--target", STRANGER], "no targets of the run, such as " + STRANGER),
    (["--target", FIRST, "--job", "other"], "the run has no job 'other'"),
    (["--file", "missing.csv"], "missing.csv:1:1: "),
    (["--file", "wrong.csv"], "wrong.csv:1:1: "),
]


async def test_an_acknowledgement_that_cannot_be_meant_notes_nothing(tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text(f"app\n{FIRST}\n")
    async with rollout_site(tmp_path, text=rollout_plan(activate=ACKNOWLEDGED)) as where:
        await where.run()
        events, calls = where.events(), len(where.org.log)
        for arguments, said in WRONG_ACKS:
            ended = await where.keys("ack", "latest", *arguments)
            assert ended.code == 4, arguments
            assert said in ended.err
        assert (where.events(), len(where.org.log)) == (events, calls)


async def test_each_wave_waits_for_its_approval(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=rollout_plan(activate=APPROVED)) as where:
        staged = await where.run("--quiet")
        assert f"waiting: job {JOB}, wave 1 waits for approval (okta-keys approve)" in staged.err
        later = await where.keys("approve", "latest", "--wave", 2)
        calls = len(where.org.log)
        behind = await where.run("--quiet")
        assert (behind.code, behind.out, behind.err) == (0, "", "")
        assert len(where.org.log) == calls
        before = await where.status()
        first = await where.keys("approve", "latest")
        assert first.err.endswith(f": job {JOB}: wave 1 may go on\n")
        two = await where.run("--detailed-exitcode")
        assert where.switched() == set(SIX[:3])
        third = await where.keys("approve", "latest", "--job", JOB)
        assert third.err.endswith(f": job {JOB}: wave 3 may go on\n")
        last = await where.run()
        assert where.switched() == set(SIX)
        assert_true_to_the_org(where)
        after = await where.status()
        nothing = await where.keys("approve", "latest")
        nowhere = await where.keys("approve", "latest", "--wave", 9)
    codes = [each.code for each in (staged, later, first, two, third, last, nothing, nowhere)]
    assert codes == [0, 0, 0, 2, 0, 0, 4, 4]
    assert "nothing waits for approval" in nothing.err
    assert "there is no wave 9" in nowhere.err
    assert before["waits"] == [f"job {JOB}, wave 1 waits for approval (okta-keys approve)"]
    assert [wave["to_do"] for wave in before["jobs"][0]["waves"]] == [1, 2, 3]
    assert (before["state"], after["state"], after["waits"]) == ("stopped", "finished", [])
    assert [wave["states"] for wave in after["jobs"][0]["waves"]] == [
        {"activated": size} for size in (1, 2, 3)
    ]


async def test_status_tells_people_what_waits_for_what(tmp_path: Path) -> None:
    gates = "{gate: {after: 90m, acknowledged: true}, waves: [1, 100%]}"
    async with rollout_site(tmp_path, text=rollout_plan(activate=gates)) as where:
        await where.run()
        calls = len(where.org.log)
        ended = await where.keys("status", "latest")
        assert len(where.org.log) == calls
        [wait] = (await where.status())["waits"]
        where.plan.rename(tmp_path / "moved.yaml")
        assert (await where.status())["waits"] == [wait], "the end of the last run tells it too"
    lines = ended.err.splitlines()
    assert lines[-1] == f"waiting: {wait}"
    assert wait.startswith(f"job {JOB}, wave 1 waits for after, until 20")
    table = [line.split() for line in lines if line.split()[:1] in (["wave"], ["1"], ["2"])]
    assert table == [
        ["wave", "targets", "staged", "active", "to", "do", "failed", "rolled", "back"],
        ["1", "1", "1", "0", "1", "0", "0"],
        ["2", "5", "5", "0", "5", "0", "0"],
    ]


async def test_a_wave_with_failures_is_held_until_people_let_it_go(tmp_path: Path) -> None:
    refused = Fault(kind="reject", on="update_app", targets=(FIRST,), times=1)
    async with rollout_site(tmp_path, refused, text=rollout_plan()) as where:
        held = await where.run()
        assert where.switched() == set()
        assert states(assert_true_to_the_org(where)) == {FIRST: "failed"} | dict.fromkeys(REST)
        calls = len(where.org.log)
        still = await where.run("--quiet")
        assert len(where.org.log) == calls
        waits = (await where.status())["waits"]
        approved = await where.keys("approve", "latest")
        freed = await where.run()
        assert where.switched() == set(SIX)
        assert_true_to_the_org(where)
    assert [each.code for each in (held, still, approved, freed)] == [6, 6, 0, 0]
    detail = f"job {JOB}, wave 1 is held: 1 target of wave 1 failed, as many as it may"
    assert waits == [detail]
    assert f"stopped: {detail}" in held.err
    assert "okta-keys approve RUN" in held.err
    assert (still.out, still.err) == ("", "")


async def test_failures_that_a_wave_may_have_are_exit_code_3_and_tried_again(
    tmp_path: Path,
) -> None:
    refused = Fault(kind="reject", on="update_app", targets=(FIRST,), times=1)
    text = rollout_plan(activate="{waves: [2, 100%], stop_after_failures: 2}")
    async with rollout_site(tmp_path, refused, text=text) as where:
        first = await where.run("--output", "json")
        assert where.switched() == set(REST)
        report = assert_true_to_the_org(where)
        assert checked(first.out) == report
        again = await where.run()
        assert where.switched() == set(SIX)
    assert (first.code, again.code) == (3, 0)
    assert reasons(report) == {FIRST: "rejected"}
    assert FIRST in first.err
    assert "5 activated, 1 failed to activate" in first.err


async def test_a_change_of_more_than_the_key_ends_the_run(tmp_path: Path) -> None:
    clumsy = Fault(kind="collateral", on="update_app", targets=(FIRST,), times=1)
    async with rollout_site(tmp_path, clumsy, text=rollout_plan()) as where:
        document = where.org.apps[FIRST].document()
        ended = await where.run()
        now = where.org.apps[FIRST].document()
        report = assert_true_to_the_org(where)
        assert where.switched() == set()
    assert ended.code == 6
    assert now | {"lastUpdated": ""} == document | {"lastUpdated": ""}
    assert reasons(report) == {FIRST: "collateral"}
    assert report["stop"]["cause"] == "collateral"
    assert f"the write of {FIRST} changed more than its key" in ended.err
    assert "it has been put back as it was" in ended.err


async def test_a_waiting_run_keeps_others_out_until_it_is_interrupted(tmp_path: Path) -> None:
    gates = "{gate: {after: 1h, acknowledged: true}}"
    async with rollout_site(tmp_path, text=rollout_plan(activate=gates)) as where:
        async with where.starting("--wait") as process:
            await where.until_staged(6)
            ran = await where.run()
            back = await where.rollback()
            acked = await where.keys("ack", "latest", "--target", FIRST)
            state = (await where.status())["state"]
            process.send_signal(signal.SIGINT)
            ended = await rest_of(process)
        report = assert_true_to_the_org(where)
        after = await where.status()
        again = await where.run("--quiet")
    assert [each.code for each in (ran, back, acked, ended, again)] == [11, 11, 0, 130, 0]
    assert (state, after["state"], after["sessions"]) == ("running", "stopped", 1)
    assert report["stop"]["cause"] == "interrupt"
    assert report["summary"]["cloned"] == 6
    assert f"(pid {process.pid}" in ran.err or str(process.pid) in ran.err
    assert (again.out, again.err) == ("", "")


@pytest.mark.long
async def test_a_run_that_waits_goes_on_with_what_others_say(tmp_path: Path) -> None:
    gates = "{gate: {acknowledged: true, approval: each_wave, after: 2s}, waves: [1, 100%]}"
    async with rollout_site(tmp_path, text=rollout_plan(activate=gates)) as where:
        async with where.starting("--wait") as process:
            await until(lambda: len(where.clones()) == 6)
            await where.keys("approve", "latest", "--wave", 1)
            await where.keys("ack", "latest", *(x for app in SIX for x in ("--target", app)))
            await until(lambda: where.switched() == {FIRST})
            await anyio.sleep(6)
            assert where.switched() == {FIRST}
            await where.keys("approve", "latest")
            ended = await rest_of(process)
        assert ended.code == 0, ended.err
        assert set(states(assert_true_to_the_org(where)).values()) == {"activated"}
        assert where.calls()[f"GET {CLOCK_CALL}"] == 1


async def test_every_line_of_a_rollout_says_what_it_is(tmp_path: Path) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    text = rollout_plan(
        SIX[:2],
        activate="{gate: {acknowledged: {run: [./hook.sh]}}, waves: [1, 100%]}",
        job="verify: read_back",
    )
    async with rollout_site(tmp_path, text=text) as where:
        ended = await where.run("--output", "ndjson")
        made, run_id, rows = where.made, where.report()["run_id"], where.rows()
    lines = events_of(ended)
    kinds = [line["type"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("plan", "summary")
    assert sorted(kinds[1:-1]) == sorted(
        ["key", "source", *["target", "hook", "activation", "activation"] * 2, "wave", "wave"]
    )
    assert {line["run_id"] for line in lines} == {run_id}
    by_kind = {line["type"]: line for line in lines}
    assert (by_kind["key"]["kid"], by_kind["key"]["adopted"]) == (made, False)
    assert (by_kind["wave"]["wave"], by_kind["wave"]["waves"]) == (2, 2)
    assert (by_kind["hook"]["on"], by_kind["hook"]["ok"]) == ("acknowledge", True)
    activation = by_kind["activation"]
    assert (activation["state"], activation["proof"], activation["kid"]) == (
        "verified",
        "list",
        made,
    )
    assert activation["previous_kid"] == where.former[activation["app_id"]]
    for row in rows:
        assert (row["activation_state"], row["activation_proof"]) == ("verified", "list")
        assert row["activation_previous_kid"] == where.former[row["app_id"]]
    assert [row["wave"] for row in rows] == ["1", "2"]
    assert [row["acknowledged"] for row in rows] == ["true", "true"]
