"""The events that the store writes: their bodies, and what each does to the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.errors import StateError
from orchestrator.model import AppId, Certificate, Outcome
from orchestrator.store.base import (
    EventKind,
    JobRecord,
    NewRun,
    RunState,
    Session,
    StopRecord,
)
from orchestrator.store.chain import Tip
from orchestrator.store.codec import dump
from orchestrator.store.database import QUERIES

EVENTS_AT_ONCE = 100  # to a statement; more are held in memory for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    run: NewRun
    jobs: tuple[JobRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged:
    plan_digest: str
    jobs: tuple[JobRecord, ...]  # those that are new


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedTarget:
    position: int
    app: AppId
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsAdded:
    job: int
    targets: tuple[AddedTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsRemoved:
    job: int
    apps: tuple[AppId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted:
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead:
    job: int
    certificate: Certificate | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    state: RunState
    stop: StopRecord | None = None
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event on its way into the history."""

    kind: str
    body: str  # canonical JSON
    change: str | None = None  # the query that makes the tables say what the event says
    values: Mapping[str, object] = field(default_factory=dict)  # for it, besides run and seq


def run_created(run: NewRun, jobs: Iterable[JobRecord]) -> Entry:
    return Entry(kind=EventKind.RUN_CREATED, body=dump(RunCreated(run=run, jobs=tuple(jobs))))


def plan_changed(plan_digest: str, jobs: Iterable[JobRecord]) -> Entry:
    return Entry(
        kind=EventKind.PLAN_CHANGED,
        body=dump(PlanChanged(plan_digest=plan_digest, jobs=tuple(jobs))),
        change="change_plan",
        values={"plan_digest": plan_digest},
    )


def targets_added(job: int, targets: tuple[AddedTarget, ...]) -> Entry:
    body = dump(TargetsAdded(job=job, targets=targets))
    return Entry(kind=EventKind.TARGETS_ADDED, body=body)


def targets_removed(job: int, apps: tuple[AppId, ...]) -> Entry:
    return Entry(kind=EventKind.TARGETS_REMOVED, body=dump(TargetsRemoved(job=job, apps=apps)))


def session_started(session: Session) -> Entry:
    body = dump(SessionStarted(session=session))
    return Entry(kind=EventKind.SESSION_STARTED, body=body, change="start_session")


def source_read(job: JobRecord, certificate: Certificate | None, problem: str | None) -> Entry:
    record = replace(job, certificate=certificate, problem=problem)
    return Entry(
        kind=EventKind.SOURCE_READ,
        body=dump(SourceRead(job=job.position, certificate=certificate, problem=problem)),
        change="note_source",
        values={"job": job.position, "record": dump(record)},
    )


def target_settled(job: int, outcome: Outcome) -> Entry:
    return Entry(
        kind=EventKind.TARGET_SETTLED,
        body=dump(outcome),
        change="settle_target",
        values={"job": job, "app": outcome.target.app, "status": outcome.status.value},
    )


def session_ended(state: RunState, stop: StopRecord | None, exit_code: int) -> Entry:
    return Entry(
        kind=EventKind.SESSION_ENDED,
        body=dump(SessionEnded(state=state, stop=stop, exit_code=exit_code)),
        change="end_session",
        values={
            "state": state.value,
            "stop": None if stop is None else dump(stop),
            "exit_code": int(exit_code),
        },
    )


def append(
    connection: sqlite3.Connection, run: int, tip: Tip, entries: Iterable[Entry], at: str
) -> Tip:
    """Write events and what they change, within the caller's transaction; return the new tip.

    Raises:
        StateError: an event is about nothing that the run has, or somebody else has written to
            the run since `tip`.
    """
    require_tip(connection, run, tip)
    before, events = tip, []
    for entry in entries:
        tip = tip.extend(at=at, kind=entry.kind, body=entry.body)
        events.append((run, tip.seq, at, entry.kind, entry.body, tip.digest))
        if entry.change is not None:
            values = {**entry.values, "run": run, "seq": tip.seq}
            if connection.execute(QUERIES[entry.change], values).rowcount != 1:
                raise StateError(f"the run has nothing that {entry.kind} could be about")
        if len(events) == EVENTS_AT_ONCE:
            connection.executemany(QUERIES["insert_event"], events)
            events.clear()
    if tip != before:
        connection.executemany(QUERIES["insert_event"], events)
        connection.execute(QUERIES["advance_run"], (tip.seq, tip.digest, at, run))
    return tip


def require_tip(connection: sqlite3.Connection, run: int, tip: Tip) -> None:
    """Keep out a second writer of the run, whatever the lock has missed.

    Raises:
        StateError: somebody else has written to the run since `tip`.
    """
    found = connection.execute(QUERIES["select_tip"], (run,)).fetchone()
    if found != (tip.seq, tip.digest):
        raise StateError(
            "another process has written to this run",
            hint="only one may execute a run; see which there are: ps -ef | grep okta-keys",
        )
