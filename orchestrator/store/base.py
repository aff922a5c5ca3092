"""What the engine and the reports know of the store: its records, and two protocols.

A run is written by one process at a time (`lock.RunLock`) through a `Journal`, and read by
anyone, at any time, through an `Archive`. What people say to it (`PEOPLES_KINDS`) needs no lock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    AppSnapshot,
    Certificate,
    KeyRef,
    KeySpec,
    Kid,
    Outcome,
    RunId,
    Status,
    StopCause,
    Target,
)


class RunState(StrEnum):
    """Where a run stands. A crashed run still says `running`; the lock tells the difference."""

    RUNNING = "running"
    STOPPED = "stopped"  # work remains
    FINISHED = "finished"


class EventKind(StrEnum):
    """The events that the store writes itself. `Journal.note` adds others."""

    RUN_CREATED = "run_created"
    PLAN_CHANGED = "plan_changed"
    TARGETS_ADDED = "targets_added"
    TARGETS_REMOVED = "targets_removed"
    SESSION_STARTED = "session_started"
    SOURCE_READ = "source_read"
    TARGET_SETTLED = "target_settled"
    WAVES_ASSIGNED = "waves_assigned"
    TARGETS_ACKNOWLEDGED = "targets_acknowledged"
    ACTIVATION_NOTED = "activation_noted"
    SESSION_ENDED = "session_ended"


WAVE_APPROVED = "wave_approved"  # a note: a person lets a wave begin

# What people add to a run's history from a process of their own, also while the run is executed.
PEOPLES_KINDS = frozenset({EventKind.TARGETS_ACKNOWLEDGED.value, WAVE_APPROVED})


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord:
    """Why a session ended before the last target."""

    cause: StopCause
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What a run is created with."""

    run_id: RunId
    plan: str
    org: str
    plan_digest: str  # SHA-256 of the plan file
    dry_run: bool
    plan_file: str = ""  # its absolute path, for commands that are only given the run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as the store knows it."""

    run_id: RunId
    plan: str
    org: str
    plan_digest: str
    dry_run: bool
    created_at: datetime
    updated_at: datetime  # of the last event
    state: RunState
    sessions: int  # processes that worked on it, the present one included
    stop: StopRecord | None
    exit_code: int | None  # of the last session; None while it lasts, or when it crashed
    events: int
    head: str  # hex of the last event's hash


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job of a run: one source key, many targets."""

    position: int  # in the plan, from 0
    name: str  # unique in the plan
    key: KeyRef  # its kid is NEW_KID until the key is made, or looked up
    wanted: KeySpec = field(default=KeySpec())
    certificate: Certificate | None = None
    problem: str | None = None  # why the source cannot be used
    dropped: Mapping[str, int]  # targets of the plan that were never meant: duplicates and so on


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The process that works on a run."""

    pid: int
    host: str
    command: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One entry of a run's append-only history."""

    seq: int  # from 1, without gaps
    at: datetime
    kind: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """A target of a run with all that is known of it."""

    job: int  # position
    target: Target
    outcome: Outcome | None = None
    wave: int | None = None  # from 1; None: it is not to be activated
    is_acknowledged: bool = False
    activation: Activation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveCounts:
    """How the targets of one wave of a job stand, by their outcome and activation."""

    wave: int
    targets: int
    pending: int  # without an outcome, or not staged for now (failed or skipped)
    failed: int  # of the pending: those that have been tried and failed, or were skipped
    unacknowledged: int  # staged, not active yet, and nobody has said that they are ready
    activations: Mapping[ActivationState | None, int]  # of the staged ones; None: not begun
    unretryable: int  # of the FAILED activations: those that another attempt cannot mend
    staged_at: datetime | None  # when the last of them was staged
    ended_at: datetime | None  # when an activation of the wave was last recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """How many targets have which outcome, and how many have none yet."""

    settled: Mapping[Status, int]  # every status is there
    pending: int

    @property
    def total(self) -> int:
        return sum(self.settled.values()) + self.pending

    @property
    def staged(self) -> int:
        """Return how many targets hold the key."""
        return sum(number for status, number in self.settled.items() if status.is_staged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a run's history is whole, and its tables say the same as its history."""

    ok: bool
    events: int  # found to be whole
    problem: str | None


class Journal(Protocol):
    """The write side of one run, for one process at a time.

    Every write returns only when it is durable, together with whatever its neighbours wrote
    meanwhile. A write whose caller is cancelled is still carried out: what has happened is not
    forgotten because nobody waits for it.

    Raises, from every write:
        StateError: it could not be written, and nothing can be from now on.
    """

    @property
    def record(self) -> RunRecord:
        """Return the run as last written."""
        ...

    async def settle(self, outcome: Outcome) -> None:
        """Record what became of a target of this run. A later outcome replaces an earlier one."""
        ...

    async def note_source(
        self,
        job: int,
        certificate: Certificate | None,
        problem: str | None,
        *,
        key: KeyRef | None = None,
    ) -> None:
        """Record what the reading of a job's source key came to. `job` is its position.

        `key` replaces the job's key: it was made, or looked up.
        """
        ...

    async def note_activation(self, activation: Activation) -> None:
        """Record where a target's activation stands. A later record replaces an earlier one."""
        ...

    async def assign_waves(self, job: int, waves: Sequence[tuple[int, int]]) -> None:
        """Put the job's targets into waves: pairs of a wave and how many targets it takes next.

        The targets are taken in plan order; together the pairs must name them all, else it is a
        StateError. Targets that are added later have no wave until this is called again.

        Raises:
            ValueError: a number in a pair is less than 1.
        """
        ...

    async def acknowledge(self, targets: Sequence[tuple[int, AppId]], by: str) -> None:
        """Record that targets, each with its job's position, are ready for the key.

        The first such record of a target counts.
        """
        ...

    async def note(self, kind: str, body: Mapping[str, object]) -> None:
        """Record any other event, such as the intent of a call that cannot be repeated.

        `body` is JSON: no NaN, keys are strings. `Archive.events` gives it back.

        Raises:
            ValueError: `kind` is one of `EventKind`, or `body` is not JSON.
        """
        ...

    def pending(self, job: int) -> AsyncIterator[Target]:
        """Yield the job's targets that are not staged, in plan order, each at most once.

        Those that failed before are among them. They are read in pages, so memory does not grow
        with their number, and targets may be settled meanwhile. One that is settled out of turn
        may still be yielded.
        """
        ...

    def staged(self, job: int) -> AsyncIterator[Outcome]:
        """Yield the outcomes of the job's targets that are staged, in plan order. See `pending`."""
        ...

    def activatable(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:
        """Yield the staged targets of a wave that are not active yet, in plan order.

        Those with an activation that is INTENDED or FAILED are among them; those that were
        SKIPPED or ROLLED_BACK are not. Read in pages, as `pending`.
        """
        ...

    def activated(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:
        """Yield the targets of a wave that are ACTIVATED, so not confirmed; as `activatable`."""
        ...

    def waves(self, job: int) -> list[WaveCounts]:
        """Return how the job's waves stand now, in order; what is durable counts."""
        ...

    def wave_sizes(self, job: int) -> dict[int | None, int]:
        """Return how many of the job's targets each wave has; None: those that have no wave."""
        ...

    def notes(self, kind: str) -> Iterator[EventRecord]:
        """Yield the run's events of a kind, in order; what is durable counts. See `note`."""
        ...

    async def end_session(
        self, state: RunState, *, stop: StopRecord | None, exit_code: int
    ) -> None:
        """Record how this process leaves the run. Without it the run counts as crashed."""
        ...


class CertificateBook(Protocol):
    """The certificates of one org that were read before. A kid means one certificate for ever."""

    def get(self, kid: Kid) -> Certificate | None: ...

    def keep(self, certificates: Mapping[Kid, Certificate]) -> None:
        """Remember certificates; what cannot be remembered is read again one day."""
        ...


class Archive(Protocol):
    """The read side, at any time, also while another process writes, which it never disturbs.

    What is streamed is read in pages. Each page is consistent in itself; while a run is being
    written, a later page may know more than an earlier one.

    Wherever a run is named, an unambiguous beginning of its id will do, and so will `latest`.

    Raises, from every method:
        StateUnusable: there is no such run, or there are several.
        StateError: the journal cannot be read.
    """

    def runs(self, *, plan: str | None = None, org: str | None = None) -> list[RunRecord]:
        """Return the runs, newest first."""
        ...

    def run(self, run_id: str) -> RunRecord: ...

    def plan_file(self, run_id: str) -> str:
        """Return the path of the plan that the run was created from; empty when it is not known."""
        ...

    def jobs(self, run_id: str) -> tuple[JobRecord, ...]:
        """Return the jobs in the order of the plan."""
        ...

    def outcomes(self, run_id: str) -> Iterator[Outcome]:
        """Yield the outcomes of the targets that have one, in plan order."""
        ...

    def targets(self, run_id: str) -> Iterator[TargetRecord]:
        """Yield every target in plan order, with all that is known of it."""
        ...

    def waves(self, run_id: str, job: int) -> list[WaveCounts]:
        """Return how a job's waves stand, in order. A job without waves has none."""
        ...

    def snapshot(self, plan: str, org: str) -> dict[AppId, AppSnapshot]:
        """Return what the last preview of a plan saw; empty where there was none."""
        ...

    def events(self, run_id: str, *, kind: str | None = None) -> Iterator[EventRecord]:
        """Yield the run's history from its beginning, or only the events of one kind."""
        ...

    def counts(self, run_id: str) -> TargetCounts: ...

    def certificates(self, kids: Collection[Kid]) -> dict[Kid, Certificate]:
        """Return the certificates of kids, as far as any org has shown them, and all the same."""
        ...

    def verify(self, run_id: str) -> Verification:
        """Recompute the chain of hashes, and hold the tables against the events.

        It finds damage and edits. It does not find a rewritten history with new hashes: for
        that, compare `RunRecord.head` with one that was noted elsewhere.
        """
        ...
