"""Write a run: whatever gathers while one commit is under way goes into the next one together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus
from anyio.to_thread import run_sync

from orchestrator.clock import Clock
from orchestrator.errors import StateError
from orchestrator.model import Activation, AppId, Certificate, KeyRef, Outcome, Target
from orchestrator.store import entries, history
from orchestrator.store.archive import ACTIVATABLE, ACTIVATED, SqliteArchive
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
from orchestrator.store.chain import Tip, canonical
from orchestrator.store.database import Database
from orchestrator.store.entries import Entry

# How long a commit waits for company. Okta allows about one clone a second, so nobody notices, but
# where it goes faster a commit costs more than all that is in it.
GATHERING_SECONDS = 0.005
OWN_KINDS = frozenset(kind.value for kind in EventKind)

T = TypeVar("T")


@dataclass(slots=True)
class Batch:
    """Entries that become durable together, or not at all."""

    entries: list[Entry] = field(default_factory=list)
    done: anyio.Event = field(default_factory=anyio.Event)
    is_durable: bool = False


class SqliteJournal:
    """The `Journal` of one run. It writes only while `flush` runs; see `Store.journal`."""

    def __init__(
        self,
        database: Database,
        archive: SqliteArchive,
        run: int,
        record: RunRecord,
        jobs: tuple[JobRecord, ...],
        *,
        clock: Clock,
    ) -> None:
        self.database = database
        self.archive = archive
        self.run = run
        self.record = record
        self.jobs = {job.position: job for job in jobs}
        self.positions = {job.name: job.position for job in jobs}
        self.clock = clock
        self.tip = Tip(record.events, bytes.fromhex(record.head))
        self.batch = Batch()
        self.gathered = anyio.Event()
        self.closing = False
        self.failure: StateError | None = None
        self.thread = anyio.CapacityLimiter(1)  # of our own: others may use up the shared one

    async def settle(self, outcome: Outcome) -> None:
        await self.write(entries.target_settled(self.positions[outcome.target.job], outcome))

    async def note_source(
        self,
        job: int,
        certificate: Certificate | None,
        problem: str | None,
        *,
        key: KeyRef | None = None,
    ) -> None:
        known = self.jobs[job]
        record = replace(known, certificate=certificate, problem=problem, key=key or known.key)
        self.jobs[job] = record
        await self.write(entries.source_read(record, key))

    async def note_activation(self, activation: Activation) -> None:
        job = self.positions[activation.target.job]
        await self.write(entries.activation_noted(job, activation))

    async def assign_waves(self, job: int, waves: Sequence[tuple[int, int]]) -> None:
        if any(number < 1 for pair in waves for number in pair):
            raise ValueError(f"no waves, and no numbers of targets: {waves}")
        await self.write(entries.waves_assigned(job, waves))

    async def acknowledge(self, targets: Sequence[tuple[int, AppId]], by: str) -> None:
        await self.write(*entries.targets_acknowledged(targets, by))

    async def note(self, kind: str, body: Mapping[str, object]) -> None:
        await self.write(noted(kind, body))

    async def end_session(
        self, state: RunState, *, stop: StopRecord | None, exit_code: int
    ) -> None:
        await self.write(entries.session_ended(state, stop, exit_code))
        self.record = replace(self.record, state=state, stop=stop, exit_code=int(exit_code))

    def pending(self, job: int) -> AsyncIterator[Target]:
        name = self.jobs[job].name
        return self.in_pages(partial(self.archive.pending_page, self.run, job, name))

    def staged(self, job: int) -> AsyncIterator[Outcome]:
        return self.in_pages(partial(self.archive.staged_page, self.run, job))

    def activatable(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:
        return self.in_wave(job, wave, ACTIVATABLE)

    def activated(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:
        return self.in_wave(job, wave, ACTIVATED)

    def in_wave(
        self, job: int, wave: int, states: Mapping[str, object]
    ) -> AsyncIterator[TargetRecord]:
        name = self.jobs[job].name
        return self.in_pages(partial(self.archive.wave_page, self.run, job, name, wave, states))

    async def in_pages(self, read: Callable[[int], list[tuple[int, T]]]) -> AsyncIterator[T]:
        """Yield what `read` returns, page after page; it is given the last position seen."""
        after = -1
        while page := await run_sync(read, after, limiter=self.thread):
            for _, item in page:
                yield item
            after = page[-1][0]

    def waves(self, job: int) -> list[WaveCounts]:
        return self.archive.waves_of(self.run, job)

    def wave_sizes(self, job: int) -> dict[int | None, int]:
        return self.archive.wave_sizes(self.run, job)

    def notes(self, kind: str) -> Iterator[EventRecord]:
        return self.archive.events_of(self.run, kind)

    async def write(self, *gathered: Entry) -> None:
        """Hand entries to the flusher and wait until they are durable, in one commit.

        They are in the batch before the first await, so a cancelled caller does not take them
        back.

        Raises:
            StateError: they are not durable, and the journal will take no more.
        """
        if not gathered:
            return
        if self.failure is None and not self.closing:
            batch = self.batch
            batch.entries.extend(gathered)
            self.gathered.set()
            await batch.done.wait()
            if batch.is_durable:
                return
        raise self.refusal()

    def refusal(self) -> StateError:
        """Return a fresh error: one that many tasks raised would collect all their tracebacks."""
        if self.failure is None:
            return StateError("the journal is closed")
        failure = self.failure
        error = type(failure)(failure.message, hint=failure.hint, **failure.context)
        error.__cause__ = failure
        return error

    async def flush(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Commit batch after batch until `close`. Cannot be cancelled: what is written stays."""
        with anyio.CancelScope(shield=True):
            task_status.started()
            while not self.closing or self.batch.entries:
                await self.gathered.wait()
                if not self.closing:
                    await self.clock.sleep(GATHERING_SECONDS)
                self.gathered = anyio.Event()
                batch, self.batch = self.batch, Batch()
                await self.commit(batch)

    def close(self) -> None:
        """Take no more, and let `flush` return once what was taken is durable."""
        self.closing = True
        self.gathered.set()

    async def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction. Once one has failed, so do all that follow."""
        try:
            if batch.entries and self.failure is None:
                at = self.clock.wall()
                self.tip = await run_sync(
                    self.append, batch.entries, at.isoformat(), limiter=self.thread
                )
                self.record = replace(
                    self.record, events=self.tip.seq, head=self.tip.digest.hex(), updated_at=at
                )
                batch.is_durable = True
        except StateError as error:
            self.failure = error
        finally:
            batch.done.set()

    def append(self, batch: list[Entry], at: str) -> Tip:
        with self.database.transaction() as connection:
            return history.append(connection, self.run, self.tip, batch, at)


def noted(kind: str, body: Mapping[str, object]) -> Entry:
    """Return an event that the store does not write by itself.

    Raises:
        ValueError: it does, or `body` is not JSON.
    """
    if kind in OWN_KINDS:
        raise ValueError(f"{kind} events are written by the store alone")
    return Entry(kind=str(kind), body=canonical(body))
