"""The events that the store writes: their bodies, and what each does to the tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from orchestrator.model import Activation, AppId, Certificate, KeyRef, Outcome
from orchestrator.store.base import (
    EventKind,
    JobRecord,
    NewRun,
    RunState,
    Session,
    StopRecord,
)
from orchestrator.store.codec import dump, moment

CHUNK = 500  # targets to an event

T = TypeVar("T")


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
    key: KeyRef | None = None  # replaces the job's, unless it is None


@dataclass(frozen=True, slots=True, kw_only=True)
class WavesAssigned:
    job: int
    waves: tuple[tuple[int, int], ...]  # a wave, and how many of the job's targets it takes next


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsAcknowledged:
    by: str
    targets: tuple[tuple[int, AppId], ...]  # each with its job's position


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded:
    state: RunState
    stop: StopRecord | None = None
    exit_code: int


class Change(NamedTuple):
    """A query that makes the tables say what an event says."""

    query: str
    values: Mapping[str, object]  # besides run and seq
    rows: int = 1  # that it must change


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event on its way into the history."""

    kind: str
    body: str  # canonical JSON
    changes: tuple[Change, ...] = ()


def run_created(run: NewRun, jobs: Iterable[JobRecord]) -> Entry:
    return Entry(kind=EventKind.RUN_CREATED, body=dump(RunCreated(run=run, jobs=tuple(jobs))))


def plan_changed(plan_digest: str, jobs: Iterable[JobRecord]) -> Entry:
    return Entry(
        kind=EventKind.PLAN_CHANGED,
        body=dump(PlanChanged(plan_digest=plan_digest, jobs=tuple(jobs))),
        changes=(Change("change_plan", {"plan_digest": plan_digest}),),
    )


def targets_added(job: int, targets: tuple[AddedTarget, ...]) -> Entry:
    body = dump(TargetsAdded(job=job, targets=targets))
    return Entry(kind=EventKind.TARGETS_ADDED, body=body)


def targets_removed(job: int, apps: tuple[AppId, ...]) -> Entry:
    return Entry(kind=EventKind.TARGETS_REMOVED, body=dump(TargetsRemoved(job=job, apps=apps)))


def session_started(session: Session) -> Entry:
    body = dump(SessionStarted(session=session))
    return Entry(kind=EventKind.SESSION_STARTED, body=body, changes=(Change("start_session", {}),))


def source_read(record: JobRecord, key: KeyRef | None) -> Entry:
    """Return the event of a source that was read; `record` is its job as it is from now on."""
    read = SourceRead(
        job=record.position, certificate=record.certificate, problem=record.problem, key=key
    )
    values = {"job": record.position, "record": dump(record)}
    return Entry(
        kind=EventKind.SOURCE_READ, body=dump(read), changes=(Change("note_source", values),)
    )


def target_settled(job: int, outcome: Outcome) -> Entry:
    values = {
        "job": job,
        "app": outcome.target.app,
        "status": outcome.status.value,
        "staged_at": staged_at(outcome),
    }
    return Entry(
        kind=EventKind.TARGET_SETTLED,
        body=dump(outcome),
        changes=(Change("settle_target", values),),
    )


def staged_at(outcome: Outcome) -> str | None:
    """Return when the target was staged, as the tables have it; None when it is not."""
    return moment(outcome.settled_at) if outcome.status.is_staged else None


def waves_assigned(job: int, waves: Sequence[tuple[int, int]]) -> Entry:
    """Return the event of waves, as pairs of a wave and how many targets it takes next."""
    changes = [Change("clear_waves", {"job": job}, rows=sum(number for _, number in waves))]
    before = None
    for wave, number in waves:
        values = {"job": job, "wave": wave, "before": before, "number": number}
        changes.append(Change("assign_wave", values, rows=number))
        before = wave
    return Entry(
        kind=EventKind.WAVES_ASSIGNED,
        body=dump(WavesAssigned(job=job, waves=tuple(waves))),
        changes=tuple(changes),
    )


def targets_acknowledged(targets: Iterable[tuple[int, AppId]], by: str) -> Iterator[Entry]:
    """Yield the events of targets that are ready, a chunk of them in each."""
    for chunk in chunks(targets):
        yield Entry(
            kind=EventKind.TARGETS_ACKNOWLEDGED,
            body=dump(TargetsAcknowledged(by=by, targets=chunk)),
            changes=tuple(Change("acknowledge", {"job": job, "app": app}) for job, app in chunk),
        )


def activation_noted(job: int, activation: Activation) -> Entry:
    values = {
        "job": job,
        "app": activation.target.app,
        "state": activation.state.value,
        "activation_at": moment(activation.at),
        "retryable": activation.retryable,
    }
    return Entry(
        kind=EventKind.ACTIVATION_NOTED,
        body=dump(activation),
        changes=(Change("note_activation", values),),
    )


def session_ended(state: RunState, stop: StopRecord | None, exit_code: int) -> Entry:
    values = {
        "state": state.value,
        "stop": None if stop is None else dump(stop),
        "exit_code": int(exit_code),
    }
    return Entry(
        kind=EventKind.SESSION_ENDED,
        body=dump(SessionEnded(state=state, stop=stop, exit_code=exit_code)),
        changes=(Change("end_session", values),),
    )


def chunks(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """Yield the items in tuples that one event can hold."""
    rest = iter(items)
    while chunk := tuple(islice(rest, CHUNK)):
        yield chunk
