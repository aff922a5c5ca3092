"""Show what the journal knows: the runs, one run, its report."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.cli.render import Screen, escape
from orchestrator.clock import SystemClock
from orchestrator.engine.result import result_of
from orchestrator.errors import ExitCode, StateError
from orchestrator.model import Status
from orchestrator.report.formats import PRINTERS
from orchestrator.store.base import Archive, RunRecord, RunState
from orchestrator.store.lock import is_worked_on, state_folder
from orchestrator.store.sqlite import FILE_NAME, Store


def open_archive(folder: Path) -> Store:
    """Open the store to read. A store that is not there yet has no runs, and is not made."""
    path = folder / FILE_NAME
    if not path.exists():
        return Store.memory(clock=SystemClock())
    return Store.open(path, clock=SystemClock())


def show_runs(state: Path | None, *, as_json: bool) -> ExitCode:
    """List the runs, newest first."""
    folder = state_folder(state, os.environ)
    with open_archive(folder) as store:
        rows = [summary_of(store.archive, record, folder) for record in store.archive.runs()]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return ExitCode.DONE
    console = Console(stderr=True, highlight=False)
    if not rows:
        console.print("no runs yet")
        return ExitCode.DONE
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "plan", "org", "state", "done", "left", "failed"):
        table.add_column(name, no_wrap=name == "run", overflow="fold")
    for row in rows:
        cells = (row["run_id"], row["plan"], row["org"], row["state"])
        numbers = (f"{row['done']}/{row['targets']}", str(row["left"]), str(row["failed"]))
        table.add_row(*(escape(str(cell)) for cell in cells), *numbers)
    console.print(table)
    return ExitCode.DONE


def state_of(record: RunRecord, folder: Path) -> str:
    """Return a run's state; one that says it is running may have died with its process."""
    if record.state is not RunState.RUNNING:
        return record.state.value
    alive = is_worked_on(folder, record.plan, record.org, socket.gethostname())
    return record.state.value if alive else "crashed"


def summary_of(archive: Archive, record: RunRecord, folder: Path) -> dict[str, object]:
    """Return where a run stands, for people and for programs."""
    counts = archive.counts(record.run_id)
    return {
        "run_id": record.run_id,
        "plan": record.plan,
        "org": record.org,
        "state": state_of(record, folder),
        "targets": counts.total,
        "done": counts.staged,
        "left": counts.pending,
        "failed": counts.settled[Status.FAILED],
        "sessions": record.sessions,
        "created_at": record.created_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
        "stop": record.stop.detail if record.stop else None,
        "exit_code": record.exit_code,
    }


def show_run(run_id: str, state: Path | None, *, as_json: bool) -> ExitCode:
    """Show where one run stands."""
    folder = state_folder(state, os.environ)
    with open_archive(folder) as store:
        record = store.archive.run(run_id)
        summary = summary_of(store.archive, record, folder)
        jobs = store.archive.jobs(record.run_id)
    if as_json:
        sys.stdout.write(json.dumps(summary, indent=2) + "\n")
        return ExitCode.DONE
    console = Console(stderr=True, highlight=False)
    for name, value in summary.items():
        if value is not None:
            console.print(f"{name.replace('_', ' ')}: {escape(str(value))}", soft_wrap=True)
    for job in jobs:
        problem = f": [red]{escape(job.problem)}[/]" if job.problem else ""
        console.print(f"job {escape(job.name)}: key {job.key.kid}{problem}", soft_wrap=True)
    return ExitCode.DONE


def print_report(run_id: str, state: Path | None, *, format_: str, verify: bool) -> ExitCode:
    """Print a run's report: text on stderr, data on stdout.

    Raises:
        StateError: `verify` is asked for, and the journal is not what it was when it was written.
    """
    with open_archive(state_folder(state, os.environ)) as store:
        record = store.archive.run(run_id)
        if verify:
            check(store.archive, record)
        result = result_of(store.archive, record.run_id)
        if format_ == "text":
            took = (result.record.updated_at - result.record.created_at).total_seconds()
            screen = Screen(quiet=False)
            screen.show_notices([f"{record.plan} on {record.org}: run {record.run_id}"])
            screen.show_result(result, (), seconds=took)
        else:
            PRINTERS[format_](result, sys.stdout)
    return ExitCode.DONE


def check(archive: Archive, record: RunRecord) -> None:
    """Recompute the history's hashes, and say what the history is known by."""
    verification = archive.verify(record.run_id)
    if not verification.ok:
        raise StateError(
            f"run {record.run_id} is not as it was written: {verification.problem}",
            hint="do not rely on its report; what the org itself holds is what counts",
            whole_events=verification.events,
        )
    sys.stderr.write(f"verified: {verification.events} events, head {record.head}\n")
