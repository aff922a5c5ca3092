"""The way back: `rollback`, whole or in part, interrupted, refused, and of a plan that is gone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import anyio

from orchestrator.sandbox.faults import Fault
from tests.cli.forked import okta_keys_forked
from tests.cli.program import rest_of, started
from tests.cli.rollout_site import (
    READ,
    SIX,
    WRITE,
    assert_true_to_the_org,
    events_of,
    reasons,
    rollout_plan,
    rollout_site,
    states,
)
from tests.cli.site import APPS, JOB, checked, until

FIRST, SECOND, THIRD, FOURTH, *OTHERS = SIX


async def test_a_wave_some_targets_and_then_all_of_it(tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.csv"
    chosen.write_text(f"app_id\n{FIRST}\n{FOURTH}\n")
    async with rollout_site(tmp_path, text=rollout_plan()) as where:
        assert (await where.run()).code == 0
        before = len(where.org.log)
        wave = await where.rollback("--wave", 2)
        assert where.switched() == {FIRST, FOURTH, *OTHERS}
        some = await where.rollback("--targets", f"@{chosen}", "--output", "json")
        assert where.switched() == set(OTHERS)
        assert checked(some.out) == assert_true_to_the_org(where)
        after_some = await where.run("--quiet")
        rest = await where.rollback("--output", "ndjson", "--quiet")
        assert where.kids == where.former
        assert where.calls(before) == {READ: 6, WRITE: 6}
        assert where.org.collateral_changes() == 0
        report, made = assert_true_to_the_org(where), where.made
        assert where.org.holders(made) >= set(SIX)
    assert [each.code for each in (wave, some, after_some, rest)] == [0] * 4
    assert (after_some.out, after_some.err) == ("", ""), "what was taken back stays back"
    assert "4 activated, 2 rolled back" in wave.err
    assert report["summary"]["rolled_back"] == 6
    assert report["journal"]["sessions"] == 4
    lines = events_of(rest)
    assert [line["type"] for line in lines] == ["activation"] * 2
    assert {line["app_id"] for line in lines} == set(OTHERS)
    assert all(line["previous_kid"] == where.former[line["app_id"]] for line in lines)


async def test_a_dry_run_says_it_all_and_writes_nothing(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=rollout_plan(SIX[:3])) as where:
        await where.run()
        before, state = len(where.org.log), where.events()
        text = await where.rollback("--dry-run")
        data = await where.rollback("--dry-run", "--output", "json", "--wave", 1)
        assert where.calls(before) == {READ: 4}
        assert where.events() == state
        assert where.switched() == set(SIX[:3])
    assert (text.code, data.code, text.out) == (0, 0, "")
    for app in SIX[:3]:
        assert f"would sign again with {where.former[app]}" in text.err
    assert "DRY RUN: nothing will be changed" in text.err
    assert "3 of 3 would sign again with their former key" in text.err
    said = json.loads(data.out)
    assert (said["dry_run"], [row["app_id"] for row in said["targets"]]) == (True, [FIRST])
    assert said["targets"][0]["state"] == "planned"


async def test_what_a_kill_ends_the_next_rollback_finishes(tmp_path: Path) -> None:
    hanging = Fault(kind="stall", on="update_app", targets=(THIRD,), when="after", times=1)
    text = rollout_plan(top="limits: {workers: 1}")
    async with rollout_site(tmp_path, text=text) as where:
        assert (await where.run()).code == 0
    async with rollout_site(tmp_path, hanging, org=where.org, port=where.port) as again:
        before = len(again.org.log)
        async with started("rollback", "latest", env=again.env, cwd=tmp_path) as process:
            await until(lambda: again.kids[THIRD] == where.former[THIRD])
            process.send_signal(signal.SIGKILL)
            ended = await rest_of(process)
        crashed = await again.status()
        finished = await again.rollback()
        assert again.kids == where.former
        assert [again.writes(app, before) for app in SIX] == [1] * 6, "each is written back once"
        assert again.org.collateral_changes() == 0
        report = again.report()
    assert (ended.code, crashed["state"], finished.code) == (-9, "crashed", 0)
    assert set(states(report).values()) == {"rolled_back"}
    assert "6 rolled back" in finished.err


async def test_ctrl_c_leaves_a_rollback_that_can_be_finished(tmp_path: Path) -> None:
    slow = Fault(kind="stall", on="update_app", targets=(SECOND,), seconds=1.0, times=1)
    text = rollout_plan(top="limits: {workers: 1}")
    async with rollout_site(tmp_path, text=text) as where:
        await where.run()
    async with rollout_site(tmp_path, slow, org=where.org, port=where.port) as again:
        async with started("rollback", "latest", env=again.env, cwd=tmp_path) as process:
            await until(lambda: again.writes(FIRST) == 2)
            await anyio.sleep(0.2)
            process.send_signal(signal.SIGINT)
            ended = await rest_of(process)
        assert {FIRST} <= again.switched() <= {FIRST, SECOND}
        finished = await again.rollback()
        assert again.kids == where.former
    assert (ended.code, finished.code) == (130, 0)
    assert "stopped: SIGINT received\n  hint: run the same rollback again" in ended.err
    assert set(states(again.report()).values()) == {"rolled_back"}


async def test_what_somebody_else_has_changed_is_not_taken_back(tmp_path: Path) -> None:
    refused = Fault(kind="reject", on="update_app", targets=(SECOND,), times=1)
    async with rollout_site(tmp_path, text=rollout_plan(SIX[:3])) as where:
        await where.run()
        theirs = where.rekey(FIRST)
    async with rollout_site(tmp_path, refused, org=where.org, port=where.port) as again:
        ahead = await again.rollback("--dry-run")
        first = await again.rollback()
        report = again.report()
        second = await again.rollback()
        assert again.kids == where.former | {FIRST: theirs}
    assert [each.code for each in (ahead, first, second)] == [3, 3, 3]
    assert reasons(report) == {FIRST: "drift", SECOND: "rejected"}
    assert f"it signs with {theirs}, but once it was activated it signed with" in first.err
    assert "it could not be rolled back: the org refused to change it" in first.err
    assert states(again.report()) == {FIRST: "failed", SECOND: "rolled_back", THIRD: "rolled_back"}


async def test_a_run_that_was_taken_back_goes_on_only_when_people_say_so(tmp_path: Path) -> None:
    text = rollout_plan(activate="{gate: {acknowledged: true}, waves: [1, 100%]}")
    async with rollout_site(tmp_path, text=text) as where:
        await where.run()
        await where.keys("ack", "latest", "--target", FIRST)
        await where.run()
        assert where.switched() == {FIRST}
        back = await where.rollback()
        assert back.code == 0, back.err
        await where.keys("ack", "latest", "--target", SECOND)
        calls = len(where.org.log)
        held = await where.run("--quiet")
        assert len(where.org.log) == calls
        waits = (await where.status())["waits"]
        approved = await where.keys("approve", "latest")
        on = await where.run()
        assert where.switched() == {SECOND}, "the one that was taken back stays back"
    assert (held.code, held.out, held.err) == (6, "", "")
    assert waits == [f"job {JOB} is held: rolled back: okta-keys approve lets its waves go on"]
    assert (approved.code, on.code) == (0, 0)


async def test_a_plan_that_is_gone_does_not_stand_in_the_way(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=rollout_plan()) as where:
        await where.run()
        where.plan.unlink()
        calls = len(where.org.log)
        other, no_org = ({"OKTA_CLIENT_ORGURL": url} for url in ("http://127.0.0.1:9", ""))
        wrong = await okta_keys_forked("rollback", "latest", env=where.env | other, cwd=tmp_path)
        none = await okta_keys_forked("rollback", "latest", env=where.env | no_org, cwd=tmp_path)
        assert len(where.org.log) == calls
        right = await where.rollback()
        assert where.kids == where.former
        assert_true_to_the_org(where)
    assert (wrong.code, none.code, right.code) == (4, 4, 0)
    url = where.env["OKTA_CLIENT_ORGURL"]
    assert f"the run is of {url}, but the settings lead to http://127.0.0.1:9" in wrong.err
    assert f"export OKTA_CLIENT_ORGURL={url}" in wrong.err
    assert "which org?" in none.err


async def test_what_cannot_be_meant_is_refused_before_any_call(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text(f"app_id\n{FIRST}\n{APPS[9]}\n")
    text = rollout_plan(activate="{gate: {approval: each_wave}}")
    async with rollout_site(tmp_path, text=text) as where:
        none_yet = await where.rollback()
        await where.run()
        calls, events = len(where.org.log), where.events()
        wave = await where.rollback("--wave", 7)
        stranger = await where.rollback("--targets", "@some.csv")
        unknown = await where.keys("rollback", "2019")
        events_after = where.events()
        nothing = await where.rollback()
        assert len(where.org.log) == calls
    assert [each.code for each in (none_yet, wave, stranger, unknown, nothing)] == [4, 4, 4, 4, 0]
    assert "the run has no wave 7" in wave.err
    assert f"lists 1 apps that are no targets of the run, such as {APPS[9]}" in stranger.err
    assert events_after == events
