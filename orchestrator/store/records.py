"""Make records out of the rows of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from orchestrator.errors import StateError
from orchestrator.model import Activation, ActivationState, AppId, Outcome, RunId, Target
from orchestrator.store.base import (
    EventKind,
    EventRecord,
    JobRecord,
    RunRecord,
    RunState,
    StopRecord,
    TargetRecord,
    WaveCounts,
)
from orchestrator.store.codec import from_json, load, parse
from orchestrator.store.database import Row


def run_of(row: Row) -> RunRecord:
    (_, run_id, plan, org, digest, dry_run, created, updated, state, sessions) = row[:10]
    stop, exit_code, events, head = row[10:]
    try:
        return RunRecord(
            run_id=RunId(text(run_id)),
            plan=text(plan),
            org=text(org),
            plan_digest=text(digest),
            dry_run=bool(dry_run),
            created_at=datetime.fromisoformat(text(created)),
            updated_at=datetime.fromisoformat(text(updated)),
            state=RunState(text(state)),
            sessions=integer(sessions),
            stop=None if stop is None else load(text(stop), StopRecord),
            exit_code=None if exit_code is None else integer(exit_code),
            events=integer(events),
            head=bytes(head).hex() if isinstance(head, bytes) else "",
        )
    except ValueError as error:
        raise StateError(f"the journal holds an unreadable run: {error}") from error


def job_of(row: Row) -> JobRecord:
    position, name, record = row
    job = load(text(record), JobRecord)
    if (job.position, job.name) != (position, name):
        raise StateError(f"the journal holds job {job.name} in place of job {name}")
    return job


def target_of(job: str, app: object, tags: object) -> Target:
    if tags == "{}":
        return Target(job=job, app=AppId(text(app)))
    return Target(job=job, app=AppId(text(app)), tags=load(text(tags), dict[str, str]))


def record_of(row: Row, jobs: Mapping[int, str]) -> TargetRecord:
    """Return a target with all that is known of it; `jobs` are the jobs' names."""
    job, _, app, tags, wave, acknowledged = row[:6]
    settled, outcome_kind, outcome, noted, activation_kind, activation = row[6:]
    return TargetRecord(
        job=integer(job),
        target=target_of(jobs[integer(job)], app, tags),
        outcome=None if settled is None else outcome_of(app, outcome_kind, outcome),
        wave=None if wave is None else integer(wave),
        is_acknowledged=acknowledged is not None,
        activation=None if noted is None else activation_of(app, activation_kind, activation),
    )


def outcome_of(app: object, kind: object, body: object) -> Outcome:
    """Return the outcome in the event that a target's row points to."""
    if kind != EventKind.TARGET_SETTLED:
        raise missing("outcome", app)
    return load(text(body), Outcome)


def activation_of(app: object, kind: object, body: object) -> Activation:
    """Return the activation in the event that a target's row points to."""
    if kind != EventKind.ACTIVATION_NOTED:
        raise missing("activation", app)
    return load(text(body), Activation)


def missing(what: str, app: object) -> StateError:
    return StateError(
        f"the {what} of target {app} is missing from the journal",
        hint="okta-keys cannot trust this run any more; run the plan again with a new state",
    )


def event_of(row: Row) -> EventRecord:
    seq, at, kind, body, _ = row
    return EventRecord(
        seq=integer(seq),
        at=from_json(at, datetime),
        kind=text(kind),
        body=from_json(parse(text(body)), dict[str, object]),
    )


def waves_of(rows: Iterable[Row]) -> Iterator[WaveCounts]:
    """Yield the counts of each wave; the rows of a wave, one for each state, stand together."""
    for wave, group in groupby(rows, key=itemgetter(0)):
        yield wave_of(integer(wave), list(group))


def wave_of(wave: int, rows: list[Row]) -> WaveCounts:
    activations: dict[ActivationState | None, int] = dict.fromkeys((None, *ActivationState), 0)
    for row in rows:
        state = None if row[1] is None else from_json(row[1], ActivationState)
        activations[state] += integer(row[3])
    targets, staged, failed, unacknowledged, unretryable = (
        sum(integer(row[column]) for row in rows) for column in range(2, 7)
    )
    return WaveCounts(
        wave=wave,
        targets=targets,
        pending=targets - staged,
        failed=failed,
        unacknowledged=unacknowledged,
        activations=activations,
        unretryable=unretryable,
        staged_at=newest(row[7] for row in rows),
        ended_at=newest(row[8] for row in rows),
    )


def newest(moments: Iterable[object]) -> datetime | None:
    """Return the last of some times, where there are any; see `codec.moment`."""
    told = max((text(moment) for moment in moments if moment is not None), default=None)
    return None if told is None else from_json(told, datetime)


def text(value: object) -> str:
    """Return a column that the schema declares TEXT; SQLite would keep anything in it."""
    if not isinstance(value, str):
        raise StateError(f"the journal holds {value!r} where text should be")
    return value


def integer(value: object) -> int:
    if not isinstance(value, int):
        raise StateError(f"the journal holds {value!r} where a number should be")
    return value
