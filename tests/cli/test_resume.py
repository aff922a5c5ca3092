"""A plan that is run again goes on where it stopped, whatever stopped it."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.store.sqlite import FILE_NAME
from tests.cli.program import Ended, rest_of
from tests.cli.site import APPS, KEY, OTHER_KEY, Site, report_in, served, site, until

PLANNED = APPS[:12]
FIVE = "{workers: 1, max_targets: 5}"
ALL_ONCE = dict.fromkeys(PLANNED, 1)


def stall(app: str, seconds: float) -> Fault:
    """Let the first clone into an app hang for a while, without effect."""
    return Fault(kind="stall", on="clone", targets=(app,), seconds=seconds, times=1)


def refuse(app: str, times: int) -> Fault:
    """Refuse to clone into an app, so many times."""
    return Fault(kind="reject", on="clone", targets=(app,), times=times)


def assert_all_hold(where: Site, apps: tuple[str, ...] = PLANNED, key: str = KEY) -> None:
    assert [app for app in apps if not where.org.holds(app, key)] == []


async def stop_after_five(where: Site) -> str:
    """Run until five targets are done; return the run's id."""
    where.write_plan(limits=FIVE)
    ended = await where.run()
    assert ended.code == 7, ended.err
    return str(where.report()["run_id"])


async def test_a_finished_plan_costs_no_call_until_it_grows(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        assert (await where.run()).code == 0
        events, run_id = where.events(), where.report()["run_id"]
        assert len(where.org.log) == 13
        again = await where.run("--detailed-exitcode")
        quiet = await where.run("--quiet")
        assert (len(where.org.log), where.events()) == (13, events)
        where.write_plan(APPS[:14])
        grown = await where.run("--detailed-exitcode")
        assert where.clones() == dict.fromkeys(APPS[:14], 1)
        assert len(where.org.log) == 15
    assert (again.code, again.out) == (0, "")
    assert f"nothing to do: all 12 targets hold the key (run {run_id})" in again.err
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert grown.code == 2, grown.err


async def test_data_on_stdout_is_whole_also_when_nothing_is_due(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        await where.run()
        document = await where.run("--output", "json")
        lines = await where.run("--output", "ndjson")
        assert len(where.org.log) == 13
        assert json.loads(document.out) == where.report()
    last = json.loads(lines.out.splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("summary", 0)


async def test_new_starts_afresh(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        await where.run()
        afresh = await where.run("--new", "--report-dir", "new")
        assert where.clones() == dict.fromkeys(PLANNED, 2)
        first, second = where.report(), report_in(tmp_path / "new")
    assert afresh.code == 0
    assert "continuing" not in afresh.err
    assert second["run_id"] != first["run_id"]  # ids of one second are in no order
    assert second["started_at"] > first["started_at"]
    assert second["summary"]["already_present"] == 12


async def test_an_unfinished_run_is_taken_up_again_and_again(tmp_path: Path) -> None:
    """Other limits, and comments, do not make it another plan."""
    async with site(tmp_path) as where:
        runs: list[Ended] = []
        reports: list[dict[str, Any]] = []
        for limits in (FIVE, FIVE, "{workers: 2, capacity: 50%}"):
            where.write_plan(limits=limits)
            where.plan.write_text(f"# session {len(runs)}\n{where.plan.read_text()}")
            runs.append(await where.run("--output", "json"))
            reports.append(where.report())
        assert where.clones() == ALL_ONCE
        assert len(where.org.log) == 13, "the source key is read once for ever"
    run_id = reports[0]["run_id"]
    assert [ended.code for ended in runs] == [7, 7, 0]
    assert f"continuing run {run_id} from before: 5 done, 7 to do" in runs[1].err
    assert f"continuing run {run_id} from before: 10 done, 2 to do" in runs[2].err
    assert "has changed" not in runs[1].err + runs[2].err
    assert [json.loads(ended.out) for ended in runs] == reports
    assert [report["summary"]["cloned"] for report in reports] == [5, 10, 12]
    assert [report["journal"]["sessions"] for report in reports] == [1, 2, 3]
    assert_covers_all_sessions(*reports)


def assert_covers_all_sessions(*reports: dict[str, Any]) -> None:
    """The last report tells what the earlier ones told, and how it went on."""
    first, last = reports[0], reports[-1]
    assert (last["run_id"], last["exit_code"], last["stop"]) == (first["run_id"], 0, None)
    assert [row["app_id"] for row in last["targets"]] == list(PLANNED)
    assert {row["proof"] for row in last["targets"]} == {"response"}
    assert last["started_at"] == first["started_at"]
    assert last["finished_at"] > first["finished_at"]
    assert last["targets"][:5] == first["targets"][:5]
    assert last["jobs"] == first["jobs"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
async def test_what_a_signal_ends_the_next_run_finishes(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    async with site(tmp_path, stall(APPS[4], 0.5)) as where:
        async with where.starting() as process:
            await until(lambda: len(where.org.log) >= 5)
            process.send_signal(number)
            ended = await rest_of(process)
        assert ended.code == code, ended.err
        assert where.clones()[APPS[5]] == 0
        again = await where.run()
        report = where.report()
        assert_all_hold(where)
        assert all(where.clones()[app] == 1 for app in (*APPS[:3], *APPS[5:12]))
    assert again.code == 0, again.err
    how = "that did not end as it should" if number is signal.SIGKILL else "from before"
    assert f"continuing run {report['run_id']} {how}: " in again.err
    assert report["journal"]["sessions"] == 2
    assert report["summary"]["cloned"] + report["summary"]["already_present"] == 12


async def test_what_the_deadline_ends_the_next_run_finishes(tmp_path: Path) -> None:
    async with site(tmp_path, stall(APPS[4], 1.2)) as where:
        where.write_plan(limits="{workers: 1, deadline: 1s}")
        late = await where.run()
        assert late.code == 7, late.err
        where.write_plan(limits="{workers: 1}")
        again = await where.run()
        assert again.code == 0, again.err
        assert_all_hold(where)
        assert len(list(where.reports.glob("*.json"))) == 1


async def test_a_token_that_was_revoked_is_renewed_and_the_run_goes_on(tmp_path: Path) -> None:
    revoked = Fault(
        kind="reject", on="clone", targets=(APPS[4],), status=401, code="E0000011", times=1
    )
    async with site(tmp_path, revoked) as where:
        assert (await where.run()).code == 5
        again = await where.run()
        assert again.code == 0, again.err
        assert where.clones() == ALL_ONCE | {APPS[4]: 2}


async def test_the_failed_targets_are_a_file_that_a_run_accepts(tmp_path: Path) -> None:
    unlucky = [APPS[1], APPS[7]]
    async with site(tmp_path, refuse(unlucky[0], 1), refuse(unlucky[1], 2)) as where:
        first = await where.run()
        [failed] = where.reports.glob("*.failed.csv")
        rows = rows_of(failed)
        before = len(where.org.log)
        some = await where.run("--targets", f"@{failed}")
        assert [call.app for call in where.org.log[before:] if call.target is None] == [unlucky[1]]
        assert [row["app_id"] for row in rows_of(failed)] == [unlucky[1]]
        last = await where.run()
        assert not failed.exists(), "nothing fails any more"
        assert where.clones() == ALL_ONCE | {unlucky[0]: 2, unlucky[1]: 3}
    assert [ended.code for ended in (first, some, last)] == [3, 3, 0]
    assert f"report: reports/{failed.name}" in first.err
    assert [(row["app_id"], row["reason"]) for row in rows] == [(x, "rejected") for x in unlucky]
    assert "10 done, 2 to do, 2 of them again" in some.err
    assert "11 done, 1 to do, 1 of them again" in last.err


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


async def test_a_failure_that_is_not_tried_again_stays_one(tmp_path: Path) -> None:
    some = tmp_path / "some.csv"
    some.write_text(f"app_id\n{APPS[1]}\n")
    async with site(tmp_path, refuse(APPS[1], 1), refuse(APPS[7], 9)) as where:
        await where.run()
        ended = await where.run("--targets", f"@{some}")
        row = where.report()["targets"][7]
        assert where.clones()[APPS[7]] == 1
        assert (row["status"], row["reason"]) == ("failed", "rejected")
        [failed] = where.reports.glob("*.failed.csv")
        assert [row["app_id"] for row in rows_of(failed)] == [APPS[7]]
    assert ended.code == 3
    assert "11 cloned, 1 failed" in ended.err


async def test_a_run_can_be_restricted_from_its_beginning(tmp_path: Path) -> None:
    some = tmp_path / "some.csv"
    some.write_text(f"app_id,why\n{APPS[3]},pilot\n{APPS[2]},pilot\n")
    async with site(tmp_path) as where:
        pilot = await where.run("--targets", f"@{some}")
        assert where.clones() == {APPS[2]: 1, APPS[3]: 1}
        rest = await where.run()
        assert where.clones() == ALL_ONCE
    assert (pilot.code, rest.code) == (3, 0)
    assert "2 cloned, 10 skipped" in pilot.err


async def test_a_file_with_an_app_that_is_no_target_is_refused(tmp_path: Path) -> None:
    some = tmp_path / "some.csv"
    some.write_text(f"app_id\n{APPS[0]}\n{APPS[15]}\n")
    async with site(tmp_path) as where:
        ended = await where.run("--targets", f"@{some}")
        assert where.org.log == []
        assert not where.state.exists()
    assert ended.code == 4
    assert f"{some} lists 1 app" in ended.err
    assert APPS[15] in ended.err


async def test_a_changed_plan_is_explained_and_followed(tmp_path: Path) -> None:
    """One target that is done and one that is not leave the plan; two come."""
    now = (*APPS[1:11], APPS[12], APPS[13])
    async with site(tmp_path) as where:
        run_id = await stop_after_five(where)
        before = len(where.org.log)
        where.write_plan(now)
        ended = await where.run()
        called = [call.target for call in where.org.log[before:]]
        report = where.report()
    assert ended.code == 0, ended.err
    assert f"the plan has changed since run {run_id} began:" in ended.err
    assert f"2 targets added: {APPS[12]}, {APPS[13]}" in ended.err
    assert f"1 targets removed: {APPS[11]}" in ended.err
    assert "1 targets gone from the plan that hold the key already, and keep it" in ended.err
    assert called == [*APPS[5:11], APPS[12], APPS[13]]
    assert report["run_id"] == run_id
    assert {row["app_id"] for row in report["targets"]} == {APPS[0], *now}
    assert report["summary"]["cloned"] == 13


async def test_a_change_of_order_is_nothing_to_alarm_anyone(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        await stop_after_five(where)
        where.write_plan(PLANNED[::-1])
        ended = await where.run()
        assert where.clones() == ALL_ONCE
    assert ended.code == 0, ended.err
    assert "began:\ncontinuing" not in ended.err, "changes are announced, and none are told"


async def test_another_key_is_refused_while_the_old_one_is_half_done(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        run_id = await stop_after_five(where)
        calls, events = len(where.org.log), where.events()
        where.write_plan(key=OTHER_KEY)
        refused = await where.run()
        assert (len(where.org.log), where.events()) == (calls, events)
        asked_for = await where.run("--new", "--report-dir", "other")
        assert_all_hold(where, key=OTHER_KEY)
        where.write_plan()
        back = await where.run("--report-dir", "back")
        assert_all_hold(where)
    assert refused.code == 4
    assert f"other keys than run {run_id}, of which 7 targets are not done" in refused.err
    assert "1 jobs with another key: finance-signing" in refused.err
    assert "--new" in refused.err
    assert (asked_for.code, back.code) == (0, 0)
    finished = report_in(tmp_path / "other")["run_id"]
    assert f"a new run: the plan now clones other keys than run {finished} did" in back.err
    assert report_in(tmp_path / "back")["summary"]["already_present"] == 5


async def test_the_same_plan_on_another_org_is_another_run(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        await where.run()
        async with served(plan=where.plan) as (other, env):
            elsewhere = Site(other, where.env | env, tmp_path)
            ended = await elsewhere.run("--report-dir", "elsewhere")
            assert elsewhere.clones() == ALL_ONCE
    assert ended.code == 0
    assert "continuing" not in ended.err + "nothing to do"


async def test_every_line_of_a_continued_run_names_that_run(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        run_id = await stop_after_five(where)
        ended = await where.run("--output", "ndjson")
        [record] = json.loads((await where.keys("status", "--json")).out)
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert record["run_id"] == run_id
    assert {line["run_id"] for line in lines} == {run_id}


@pytest.mark.parametrize("options", [["run", "--sandbox"], ["preview"]], ids=" ".join)
async def test_what_changes_no_real_org_leaves_no_state(options: list[str], tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        ended = await where.keys(*options, where.plan)
        assert ended.code == 0, ended.err
        assert not where.state.exists()
    assert not list(tmp_path.rglob(FILE_NAME))


async def test_a_preview_does_not_touch_the_run_that_is_unfinished(tmp_path: Path) -> None:
    async with site(tmp_path, limits=LimitSettings()) as where:
        await stop_after_five(where)
        before = where.remembered()
        ended = await where.keys("preview", where.plan, "--report-dir", "ahead")
        assert where.remembered() == before
    summary = report_in(tmp_path / "ahead")["summary"]
    assert ended.code == 0
    assert (summary["planned"], summary["already_present"]) == (7, 5)
