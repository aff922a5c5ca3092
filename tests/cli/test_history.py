"""What is told of runs: of any run, at any time, without disturbing it."""

from __future__ import annotations

import csv
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.main import main
from orchestrator.clock import SystemClock
from orchestrator.model import Reason, Status, StopCause
from orchestrator.sandbox.faults import Fault
from orchestrator.store.base import RunState, StopRecord
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.cli.program import rest_of
from tests.cli.site import APPS, Site, checked, site, until
from tests.contract.stores import CERTIFICATE, create, outcome, target

FIRST, SECOND = "20261123T040800Z-00000a", "20261124T040800Z-00000b"


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """Return a state folder with two runs: one is stopped half-way, the other begun."""
    folder = tmp_path / "state"
    with Store.open(folder / FILE_NAME, clock=SystemClock()) as store:
        create(store, 5, FIRST)
        async with store.journal(store.archive.run(FIRST).run_id) as journal:
            await journal.note_source(0, CERTIFICATE, None)
            for number, status in enumerate((Status.CLONED, Status.FAILED, Status.CLONED)):
                await journal.settle(outcome(target(number), status))
            stop = StopRecord(cause=StopCause.DEADLINE, detail="the deadline has passed")
            await journal.end_session(RunState.STOPPED, stop=stop, exit_code=7)
        create(store, 2, SECOND)
    return folder


class Terminal:
    """Runs commands in this process, and holds what they say."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = state
        self.capsys = capsys

    def keys(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Return what goes to stdout and to stderr."""
        assert main([*arguments, "--state", str(self.state)]) == code
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out, said.err


@pytest.fixture
def terminal(state: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(state, capsys)


def test_without_a_state_there_are_no_runs_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Terminal(tmp_path / "none", capsys)
    assert nothing.keys("status") == ("", "no runs yet\n")
    assert json.loads(nothing.keys("status", "--json")[0]) == []
    for command in ("status", "report"):
        assert "there are no runs yet" in nothing.keys(command, "latest", code=4)[1]
    assert not nothing.state.exists()


def test_runs_are_listed_newest_first(terminal: Terminal) -> None:
    out, err = terminal.keys("status")
    lines = err.splitlines()
    assert out == ""
    assert [line.split()[0] for line in lines] == ["run", SECOND, FIRST]
    assert lines[2].split()[1:] == ["finance", "https://acme.test", "stopped", "2/5", "2", "1"]


def test_runs_as_data(terminal: Terminal) -> None:
    newest, oldest = json.loads(terminal.keys("status", "--json")[0])
    assert (newest["run_id"], newest["state"], newest["left"]) == (SECOND, "crashed", 2)
    assert newest["exit_code"] is None
    told = {name: oldest[name] for name in ("targets", "done", "left", "failed", "sessions")}
    assert told == {"targets": 5, "done": 2, "left": 2, "failed": 1, "sessions": 1}
    assert (oldest["stop"], oldest["exit_code"]) == ("the deadline has passed", 7)


@pytest.mark.parametrize("name", [FIRST, "20261123"])
def test_one_run_is_named_by_the_beginning_of_its_id(name: str, terminal: Terminal) -> None:
    out, err = terminal.keys("status", name)
    assert out == ""
    for line in (f"run id: {FIRST}", "state: stopped", "done: 2", "left: 2", "failed: 1"):
        assert f"{line}\n" in err
    assert "stop: the deadline has passed\n" in err
    assert "job job-0: key kid-1 of app 0oaSource\n" in err


def test_one_run_as_data(terminal: Terminal) -> None:
    told = json.loads(terminal.keys("status", FIRST, "--json")[0])
    assert told["run_id"] == FIRST


def test_latest_is_the_newest(terminal: Terminal) -> None:
    assert f"run id: {SECOND}\n" in terminal.keys("status", "latest")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [("2025", "there is no run '2025'"), ("2026", "more than one run begins with '2026'")],
)
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_run_that_is_none_is_exit_code_4(
    command: str, name: str, said: str, terminal: Terminal
) -> None:
    out, err = terminal.keys(command, name, code=4)
    assert out == ""
    assert said in err
    assert SECOND in err, "the hint names one that there is"


def test_a_report_of_a_past_run_in_every_format(terminal: Terminal) -> None:
    document = checked(terminal.keys("report", FIRST, "--format", "json")[0])
    assert (document["run_id"], document["exit_code"]) == (FIRST, 7)
    assert [row["status"] for row in document["targets"]] == [
        "cloned",
        "failed",
        "cloned",
        "skipped",
        "skipped",
    ]
    assert {row["reason"] for row in document["targets"][3:]} == {Reason.NOT_REACHED}
    rows = list(csv.DictReader(terminal.keys("report", FIRST, "--format", "csv")[0].splitlines()))
    assert [row["app_id"] for row in rows] == [row["app_id"] for row in document["targets"]]
    failed = terminal.keys("report", FIRST, "--format", "failed")[0].splitlines()
    assert [line.split(",")[0] for line in failed] == ["app_id", "0oa000001"]
    out, err = terminal.keys("report", FIRST)
    assert out == ""
    assert "2 cloned, 1 failed, 2 skipped" in err
    assert "stopped: the deadline has passed" in err


def test_a_report_to_a_file_is_the_one_that_the_run_wrote(terminal: Terminal) -> None:
    once = terminal.keys("report", FIRST, "--format", "json")
    assert terminal.keys("report", FIRST, "--format", "json") == once


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_looking_changes_nothing(terminal: Terminal) -> None:
    before = files_in(terminal.state)
    for arguments in (["status"], ["status", FIRST], ["report", FIRST], ["report", "latest"]):
        terminal.keys(*arguments)
    terminal.keys("report", FIRST, "--verify")
    assert files_in(terminal.state) == before


# ---------------------------------------------------------------- verify


def test_a_journal_that_is_whole_is_said_to_be(terminal: Terminal) -> None:
    out, err = terminal.keys("report", FIRST, "--verify", "--format", "json")
    document = checked(out)
    head, events = document["journal"]["head"], document["journal"]["events"]
    assert err == f"verified: {events} events, head {head}\n"


EDITS = {
    "event changed": "UPDATE events SET body = replace(body, 'failed', 'cloned') WHERE run = 1",
    "time changed": "UPDATE events SET at = '2026-01-01T00:00:00+00:00' WHERE run = 1 AND seq = 3",
    "event removed": "DELETE FROM events WHERE run = 1 AND seq = 4",
    "target changed": "UPDATE targets SET status = 'cloned' WHERE run = 1 AND status = 'failed'",
    "target removed": "DELETE FROM targets WHERE run = 1 AND position = 4",
    "run changed": "UPDATE runs SET exit_code = 0, stop = NULL WHERE number = 1",
    "job changed": "UPDATE jobs SET record = replace(record, 'kid-1', 'kid-2') WHERE run = 1",
}


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("format_", ["text", "json"])
def test_an_edited_journal_is_found_out(statement: str, format_: str, terminal: Terminal) -> None:
    with closing(sqlite3.connect(terminal.state / FILE_NAME)) as connection, connection:
        connection.execute("DROP TRIGGER events_are_not_changed")
        connection.execute("DROP TRIGGER events_are_not_removed")
        assert connection.execute(statement).rowcount > 0
    out, err = terminal.keys("report", FIRST, "--verify", "--format", format_, code=1)
    assert out == "", "no report of what cannot be relied on"
    assert f"run {FIRST} is not as it was written" in err
    assert "hint: " in err
    terminal.keys("report", SECOND, "--verify")


# ---------------------------------------------------------------- under way, and killed


def stall(seconds: float) -> Fault:
    """Let the fifth target hang for a while."""
    return Fault(kind="stall", on="clone", targets=(APPS[4],), seconds=seconds, times=1)


async def four_done(where: Site) -> None:
    """Wait until the journal has four targets, and a fifth is under way."""
    await until(where.state_file.exists)
    with closing(sqlite3.connect(f"file:{where.state_file}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM targets WHERE status IS NOT NULL"
        await until(lambda: connection.execute(query).fetchone() == (4,))


async def look(where: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `status` tells of the only run, and its report."""
    [record] = json.loads((await where.keys("status", "--json")).out)
    printed = await where.keys("report", "latest", "--format", "json", "--verify")
    assert printed.code == 0, printed.err
    return record, checked(printed.out)


async def test_a_run_under_way_is_told_of_and_not_disturbed(tmp_path: Path) -> None:
    async with site(tmp_path, stall(2.5)) as where, where.starting() as process:
        await four_done(where)
        calls = len(where.org.log)
        record, report = await look(where)
        preview = await where.keys("preview", where.plan, "--quick", "--report-dir", "ahead")
        assert process.returncode is None
        ended = await rest_of(process)
        after, last = await look(where)
        assert where.clones() == dict.fromkeys(APPS[:12], 1) | {APPS[4]: 2}
    assert calls <= 6
    assert (record["state"], record["done"], record["left"]) == ("running", 4, 8)
    assert (report["summary"]["cloned"], report["summary"]["skipped"]) == (4, 8)
    assert preview.code == 0
    assert ended.code == 0, ended.err
    assert (after["state"], after["done"], after["left"]) == ("finished", 12, 0)
    assert (after["sessions"], after["exit_code"]) == (1, 0)
    assert last["targets"][:4] == report["targets"][:4]


async def test_a_killed_run_is_told_of(tmp_path: Path) -> None:
    async with site(tmp_path, stall(600)) as where:
        async with where.starting() as process:
            await four_done(where)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert not where.reports.exists(), "it had no time for a report"
        record, report = await look(where)
        listed = await where.keys("status")
        failed = await where.keys("report", "latest", "--format", "failed")
    assert (record["done"], record["left"], record["exit_code"]) == (4, 8, None)
    assert record["state"] != "running", "nobody works on it"
    assert "running" not in listed.err
    assert (report["summary"]["cloned"], report["summary"]["skipped"]) == (4, 8)
    assert failed.out.splitlines() == ["app_id,job,reason,detail"]
