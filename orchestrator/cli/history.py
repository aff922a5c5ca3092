"""Show what the journal knows: the runs, one run, its report."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.cli.archives import existing_store, plan_if_there
from orchestrator.cli.due import steps_of
from orchestrator.cli.render import Screen, escape
from orchestrator.cli.requests import requests_awaited
from orchestrator.clock import SystemClock
from orchestrator.engine.gates import (
    Ask,
    Begin,
    Confirm,
    Finished,
    Step,
    Wait,
    active,
    left_to_do,
    told,
)
from orchestrator.engine.result import QUIET_STOPS, result_of
from orchestrator.errors import ExitCode, StateError
from orchestrator.model import ActivationState, Status
from orchestrator.report.formats import PRINTERS
from orchestrator.report.wording import key_text
from orchestrator.store.base import Archive, JobRecord, RunRecord, RunState, WaveCounts
from orchestrator.store.lock import is_worked_on, state_folder
from orchestrator.store.sqlite import Store


def show_runs(state: Path | None, *, as_json: bool) -> ExitCode:
    """List the runs, newest first."""
    folder = state_folder(state, os.environ)
    with existing_store(state, SystemClock()) as store:
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
    with existing_store(state, SystemClock()) as store:
        archive = store.archive
        record = archive.run(run_id)
        summary = summary_of(archive, record, folder)
        jobs = [
            (job, archive.waves(record.run_id, job.position)) for job in archive.jobs(record.run_id)
        ]
        waits = waits_now(store, record)
    if as_json:
        more = {"waits": waits, "jobs": [job_summary(job, waves) for job, waves in jobs]}
        sys.stdout.write(json.dumps(summary | more, indent=2) + "\n")
        return ExitCode.DONE
    console = Console(stderr=True, highlight=False)
    for name, value in summary.items():
        if value is not None:
            console.print(f"{name.replace('_', ' ')}: {escape(str(value))}", soft_wrap=True)
    for job, waves in jobs:
        problem = f": [red]{escape(job.problem)}[/]" if job.problem else ""
        console.print(f"job {escape(job.name)}: {escape(key_text(job))}{problem}", soft_wrap=True)
        if waves:
            console.print(wave_table(waves))
    for wait in waits:
        console.print(f"[cyan]waiting[/]: {escape(wait)}", soft_wrap=True)
    return ExitCode.DONE


def waits_now(store: Store, record: RunRecord) -> list[str]:
    """Say what the jobs of a run wait for, by this machine's clock: nobody is called.

    Where the plan cannot be loaded any more, the end of the last session has to do.
    """
    found = plan_if_there(store.archive, record)
    if found is None:
        waits = record.stop is not None and record.stop.cause in QUIET_STOPS
        return record.stop.detail.split("; ") if record.stop and waits else []
    requests = requests_awaited(store.archive, record.run_id)
    awaited = [told(job, wait) for job, wait in requests.items()]
    steps = steps_of(store.archive, record.run_id, found.jobs, store.clock.wall())
    return awaited + [text for job, step in steps.items() if (text := step_text(job, step))]


def step_text(job: str, step: Step) -> str | None:
    """Say what a job waits for, or that something of it is due."""
    match step:
        case Begin() | Ask() | Confirm():
            return f"job {job}, wave {step.wave} may go: run the plan again"
        case Wait():
            return told(job, step)
        case Finished():
            return told(job, step.waiting) if step.waiting else None


def job_summary(job: JobRecord, waves: Sequence[WaveCounts]) -> dict[str, object]:
    """Return how a job stands, for programs."""
    return {
        "name": job.name,
        "kid": job.key.kid,
        "problem": job.problem,
        "waves": [wave_summary(counts) for counts in waves],
    }


def wave_summary(counts: WaveCounts) -> dict[str, object]:
    """Return how a wave stands."""
    states = {state.value: counts.activations.get(state, 0) for state in ActivationState}
    return {
        "wave": counts.wave,
        "targets": counts.targets,
        "staged": counts.targets - counts.pending,
        "unacknowledged": counts.unacknowledged,
        "to_do": left_to_do(counts),
        "states": {state: number for state, number in states.items() if number},
    }


def wave_table(waves: Sequence[WaveCounts]) -> Table:
    """Return a table with a row per wave."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("wave", "targets", "staged", "active", "to do", "failed", "rolled back"):
        table.add_column(name, justify="right")
    for counts in waves:
        numbers = counts.activations
        cells = (
            counts.wave,
            counts.targets,
            counts.targets - counts.pending,
            active(counts),
            left_to_do(counts),
            numbers.get(ActivationState.FAILED, 0),
            numbers.get(ActivationState.ROLLED_BACK, 0),
        )
        table.add_row(*map(str, cells))
    return table


def print_report(run_id: str, state: Path | None, *, format_: str, verify: bool) -> ExitCode:
    """Print a run's report: text on stderr, data on stdout.

    Raises:
        StateError: `verify` is asked for, and the journal is not what it was when it was written.
    """
    with existing_store(state, SystemClock()) as store:
        record = store.archive.run(run_id)
        if verify:
            check(store.archive, record)
        result = result_of(store.archive, record.run_id)
        if format_ == "text":
            took = (result.record.updated_at - result.record.created_at).total_seconds()
            screen = Screen(quiet=False)
            screen.show_notices([f"{record.plan} on {record.org}: run {record.run_id}"])
            screen.show_cautions(result.cautions)
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
