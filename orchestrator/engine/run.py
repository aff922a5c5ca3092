"""One execution of a plan: feed the targets to the pool, stop when told, record every outcome."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import anyio
from anyio.lowlevel import checkpoint

from orchestrator.clock import Clock
from orchestrator.engine.forecast import forecast
from orchestrator.engine.machine import SourceKey
from orchestrator.engine.pool import run_pool
from orchestrator.engine.result import Forecast, RunSettings
from orchestrator.engine.rotate import (
    access_outcome,
    preview,
    read_source,
    stage,
    stopped_outcome,
)
from orchestrator.errors import AccessError, CallError, Halted, StateError
from orchestrator.events import Observer, RunStarted, RunStopping, SourceRead, TargetSettled
from orchestrator.halt import Halt
from orchestrator.model import AppId, KeyRef, Outcome, Reason, Status, StopCause, Target
from orchestrator.okta.api import OktaApi
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import JobRecord, Journal, StopRecord

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 10.0  # for recording what a cancelled target came to


@dataclass(frozen=True, slots=True)
class Task:
    """A target on its way to a worker."""

    target: Target
    source: SourceKey


class Run:
    """Executes what is pending in a run's journal.

    `execute` may be cancelled at any await; what was settled by then is in the journal.
    """

    def __init__(
        self,
        settings: RunSettings,
        jobs: Sequence[JobRecord],
        *,
        pending: int,
        journal: Journal,
        api: OktaApi,
        clock: Clock,
        halt: Halt,
        observer: Observer,
        only: frozenset[AppId] | None = None,
    ) -> None:
        self.settings = settings
        self.jobs = jobs
        self.pending = pending
        self.journal = journal
        self.api = api
        self.clock = clock
        self.halt = halt
        self.observer = observer
        self.only = only  # the targets to which this execution is restricted
        self.sources: dict[KeyRef, SourceKey | str] = {}
        self.stop_reason: StopRecord | None = None
        self.unrecorded: dict[tuple[str, str], Outcome] = {}
        self.counts: Counter[Status] = Counter()  # of this execution
        self.fed = 0
        self.spent = 0  # of max_targets: fed, less those found to be done already
        self.room = anyio.Event()  # set, and renewed, whenever a target is settled
        self.forecast: Forecast | None = None

    async def execute(self) -> None:
        """Settle every pending target, or stop early; no target's failure is raised."""
        settings = self.settings
        self.observer.notify(
            RunStarted(
                run_id=settings.run_id,
                plan=settings.plan,
                org=settings.org,
                dry_run=settings.dry_run,
                targets=self.pending,
            )
        )
        self.announce_calls()
        async with anyio.create_task_group() as group:
            if settings.deadline_seconds is not None:
                group.start_soon(self.watch_deadline, settings.deadline_seconds, name="deadline")
            async with aclosing(self.feed()) as feed:
                await run_pool(feed, self.work, workers=settings.workers)
            group.cancel_scope.cancel()

    def stop(self, cause: StopCause, detail: str, hint: str | None = None) -> None:
        """Start no further target, and end every wait. The first cause is the one that counts."""
        if self.stop_reason is None:
            self.stop_reason = StopRecord(cause=cause, detail=detail, hint=hint)
            self.observer.notify(RunStopping(cause=cause, detail=detail))
            self.halt.set()

    def announce_calls(self) -> None:
        quick = self.settings.dry_run and self.settings.quick
        self.api.pacer.expect(Bucket.APPS, len(self.jobs) + (0 if quick else self.pending))
        if self.settings.dry_run and not quick:
            self.api.pacer.expect(Bucket.APP_READ, self.pending)

    async def watch_deadline(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.stop(StopCause.DEADLINE, f"the deadline of {seconds:g} seconds has passed")

    async def feed(self) -> AsyncGenerator[Task, None]:
        """Yield what is pending, job after job, until the run is stopped."""
        for job in self.jobs:
            async for target in self.journal.pending(job.position):
                if self.only is not None and target.app not in self.only:
                    continue
                source = self.sources.get(job.key) or await self.read_source(job)
                if not isinstance(source, SourceKey) or not await self.has_room():
                    break
                self.fed += 1
                self.spent += 1
                yield Task(target, source)
            if self.stop_reason is not None:
                return

    async def read_source(self, job: JobRecord) -> SourceKey | str | None:
        """Return the job's source key, read once for ever; None when the run is stopping."""
        source: SourceKey | str
        try:
            if job.certificate is not None:  # a kid means one certificate, so nothing can change
                source = SourceKey(ref=job.key, certificate=job.certificate)
            else:
                source = await read_source(self.api, job.key)
            self.sources[job.key] = source
            await self.note_source(source)
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
            return None
        except StateError as error:
            self.stop(StopCause.JOURNAL, error.message, error.hint)
            return None
        except Halted:
            return None
        return source

    async def note_source(self, source: SourceKey | str) -> None:
        """Record what is known of a source, for every job that uses it."""
        known = isinstance(source, SourceKey)
        for job in self.jobs:
            if self.sources.get(job.key) is not source:
                continue
            certificate = source.certificate if isinstance(source, SourceKey) else None
            problem = None if known else str(source)
            if (certificate, problem) != (job.certificate, job.problem):
                await self.journal.note_source(job.position, certificate, problem)
            self.observer.notify(
                SourceRead(job=job.name, key=job.key, certificate=certificate, problem=problem)
            )

    async def has_room(self) -> bool:
        """Wait until `max_targets` has room; say whether another target may start."""
        most = None if self.settings.dry_run else self.settings.max_targets
        while self.stop_reason is None and most is not None and self.spent >= most:
            if self.counts.total() == self.fed:
                self.stop(StopCause.MAX_TARGETS, f"{most} targets are done, as max_targets says")
            else:
                await self.room.wait()
        return self.stop_reason is None

    async def work(self, task: Task) -> None:
        """Settle one target, whatever happens."""
        if self.stop_reason is not None:
            return
        target, source, trace = task.target, task.source, CallTrace()
        if self.sources.get(source.ref) is not source:  # found to be gone, meanwhile
            return
        try:
            if self.settings.dry_run:
                outcome = await preview(self.api, target, source, trace, quick=self.settings.quick)
            else:
                outcome = await stage(self.api, target, source, trace)
        except AccessError as error:
            outcome = access_outcome(target, source.ref, trace, error)
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except anyio.get_cancelled_exc_class():
            outcome = stopped_outcome(target, source.ref, trace)
            if outcome.reason is Reason.INTERRUPTED and not self.settings.dry_run:
                with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                    await self.settle(outcome)
            raise
        if outcome.reason is not Reason.NOT_REACHED:
            await self.settle(outcome)
        if outcome.evidence.attempts == 0:
            await checkpoint()  # nothing was awaited: let the others in

    async def settle(self, outcome: Outcome) -> None:
        """Record an outcome for good, and see whether the run may go on.

        What is known stays known: should we be cancelled while the journal writes, the outcome is
        told and counted all the same, and `unrecorded` has it until the journal does.
        """
        outcome = replace(outcome, settled_at=self.clock.wall())
        place = (outcome.target.job, outcome.target.app)
        self.unrecorded[place] = outcome
        try:
            await self.journal.settle(outcome)
            del self.unrecorded[place]
        except StateError as error:
            self.stop(StopCause.JOURNAL, error.message, error.hint)
        finally:
            self.count(outcome)
        if outcome.reason is Reason.SOURCE_UNUSABLE:
            await self.lose_source(outcome)

    def count(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self.observer.notify(TargetSettled(outcome=outcome))
        if outcome.status is Status.ALREADY_PRESENT:
            self.spent -= 1
        self.check_failures()
        if self.settings.max_targets is not None:
            self.room.set()
            self.room = anyio.Event()

    async def lose_source(self, outcome: Outcome) -> None:
        """Spare the other targets of a source that has vanished under us."""
        self.sources[outcome.key] = outcome.detail
        try:
            await self.note_source(outcome.detail)
        except StateError as error:
            self.stop(StopCause.JOURNAL, error.message, error.hint)

    def check_failures(self) -> None:
        most = None if self.settings.dry_run else self.settings.stop_after_failures
        failures = self.counts[Status.FAILED]
        if most is not None and failures >= most:
            self.stop(
                StopCause.FAILURES,
                f"{failures} targets failed, as many as stop_after_failures allows",
            )

    async def look_ahead(self, outcomes: Iterable[Outcome]) -> None:
        """Work out what a run would cost. A dry run without it is still worth having."""
        try:
            self.forecast = await forecast(self.api, self.settings, self.sources, outcomes)
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except CallError as error:
            log.warning("no forecast: %s", error.message)
