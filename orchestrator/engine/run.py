"""One execution of a plan: feed the targets to the pool, stop when told, account for every one."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint

from orchestrator.clock import Clock
from orchestrator.engine.forecast import forecast
from orchestrator.engine.machine import SourceKey, Verdict
from orchestrator.engine.pool import run_pool
from orchestrator.engine.result import Forecast, JobResult, RunResult, RunSettings, Stop
from orchestrator.engine.rotate import (
    access_outcome,
    outcome_of,
    preview,
    read_source,
    stage,
    stopped_outcome,
)
from orchestrator.errors import AccessError, CallError, Halted, InputError
from orchestrator.events import Observer, RunStarted, RunStopping, SourceRead, TargetSettled
from orchestrator.halt import Halt
from orchestrator.model import AppId, KeyRef, Outcome, Reason, Status, StopCause, Target
from orchestrator.okta.api import OktaApi
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import CallTrace

log = logging.getLogger(__name__)

NOT_REACHED = Verdict(
    status=Status.SKIPPED,
    reason=Reason.NOT_REACHED,
    detail="the run ended before this target was called",
    retryable=True,
)


class ResolvedJob(Protocol):
    """A job with its selectors resolved: which key goes where."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> KeyRef: ...
    @property
    def size(self) -> int: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    def stream(self) -> Iterator[Target]:
        """Yield the targets in order, the same at every call.

        Raises:
            InputError: a file that the targets come from has changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """A target on its way to a worker."""

    target: Target
    source: SourceKey


class Run:
    """Executes a plan once.

    `execute` may be cancelled at any await; `finish` afterwards still accounts for every target.
    """

    def __init__(
        self,
        settings: RunSettings,
        jobs: Sequence[ResolvedJob],
        *,
        api: OktaApi,
        clock: Clock,
        halt: Halt,
        observer: Observer,
    ) -> None:
        self.settings = settings
        self.jobs = jobs
        self.api = api
        self.clock = clock
        self.halt = halt
        self.observer = observer
        self.started_at = clock.wall()
        self.sources: dict[KeyRef, SourceKey | str] = {}
        self.outcomes: dict[tuple[str, AppId], Outcome] = {}
        self.stop_reason: Stop | None = None
        self.failures = 0
        self.fed = 0
        self.spent = 0  # of max_targets: fed, less those found to be done already
        self.room = anyio.Event()  # set, and renewed, whenever a target is settled
        self.forecast: Forecast | None = None

    async def execute(self) -> None:
        """Settle every target, or stop early; nothing is raised for a target's failure."""
        settings = self.settings
        self.observer.notify(
            RunStarted(
                run_id=settings.run_id,
                plan=settings.plan,
                org=settings.org,
                dry_run=settings.dry_run,
                targets=sum(job.size for job in self.jobs),
            )
        )
        self.announce_calls()
        async with anyio.create_task_group() as group:
            if settings.deadline_seconds is not None:
                group.start_soon(self.watch_deadline, settings.deadline_seconds, name="deadline")
            async with aclosing(self.feed()) as feed:
                await run_pool(feed, self.work, workers=settings.workers)
            if settings.dry_run:
                await self.look_ahead()
            group.cancel_scope.cancel()

    def stop(self, cause: StopCause, detail: str, hint: str | None = None) -> None:
        """Start no further target, and end every wait. The first cause is the one that counts."""
        if self.stop_reason is None:
            self.stop_reason = Stop(cause=cause, detail=detail, hint=hint)
            self.observer.notify(RunStopping(cause=cause, detail=detail))
            self.halt.set()

    def announce_calls(self) -> None:
        targets = sum(job.size for job in self.jobs)
        sources = len({job.key for job in self.jobs})
        quick = self.settings.dry_run and self.settings.quick
        self.api.pacer.expect(Bucket.APPS, sources + (0 if quick else targets))
        if self.settings.dry_run and not quick:
            self.api.pacer.expect(Bucket.APP_READ, targets)

    async def watch_deadline(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.stop(StopCause.DEADLINE, f"the deadline of {seconds:g} seconds has passed")

    async def feed(self) -> AsyncGenerator[Task, None]:
        """Yield what is to be done, job after job, until the run is stopped."""
        for job in self.jobs:
            source = await self.source_of(job)
            if not isinstance(source, SourceKey):
                self.api.pacer.expect(Bucket.APPS, -job.size)
                continue
            try:
                for target in job.stream():
                    if not await self.may_go_on(job):
                        break
                    self.fed += 1
                    self.spent += 1
                    yield Task(target, source)
            except InputError as error:
                self.stop(StopCause.PLAN_CHANGED, error.diagnostics())

    async def source_of(self, job: ResolvedJob) -> SourceKey | str | None:
        """Return the job's source key, read once a run; None when the run is stopping."""
        if self.stop_reason is not None:
            return None
        source = self.sources.get(job.key)
        if source is None:
            try:
                source = await read_source(self.api, job.key)
            except AccessError as error:
                self.stop(StopCause.ACCESS, error.message, error.hint)
                return None
            except Halted:
                return None
            self.sources[job.key] = source
        known = isinstance(source, SourceKey)
        self.observer.notify(
            SourceRead(
                job=job.name,
                key=job.key,
                certificate=source.certificate if isinstance(source, SourceKey) else None,
                problem=None if known else str(source),
            )
        )
        return source

    async def may_go_on(self, job: ResolvedJob) -> bool:
        """Wait until `max_targets` has room; say whether the job's next target may start."""
        most = None if self.settings.dry_run else self.settings.max_targets
        while self.stop_reason is None and most is not None and self.spent >= most:
            if len(self.outcomes) == self.fed:
                self.stop(StopCause.MAX_TARGETS, f"{most} targets are done, as max_targets says")
            else:
                await self.room.wait()
        return self.stop_reason is None and isinstance(self.sources.get(job.key), SourceKey)

    async def work(self, task: Task) -> None:
        """Settle one target, whatever happens."""
        if self.stop_reason is not None:
            return
        target, source, trace = task.target, task.source, CallTrace()
        try:
            if self.settings.dry_run:
                outcome = await preview(self.api, target, source, trace, quick=self.settings.quick)
            else:
                outcome = await stage(self.api, target, source, trace)
        except AccessError as error:
            outcome = access_outcome(target, source.ref, trace, error)
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except anyio.get_cancelled_exc_class():
            self.settle(stopped_outcome(target, source.ref, trace))
            raise
        self.settle(outcome)
        if outcome.evidence.attempts == 0:
            await checkpoint()  # nothing was awaited: let the others in

    def settle(self, outcome: Outcome) -> None:
        """Keep an outcome for good, and see whether the run may go on."""
        outcome = replace(outcome, settled_at=self.clock.wall())
        self.outcomes[outcome.target.job, outcome.target.app] = outcome
        self.observer.notify(TargetSettled(outcome=outcome))
        if outcome.status is Status.ALREADY_PRESENT:
            self.spent -= 1
        if outcome.status is Status.FAILED:
            self.count_failure(outcome)
        self.room.set()
        self.room = anyio.Event()

    def count_failure(self, outcome: Outcome) -> None:
        self.failures += 1
        if outcome.reason is Reason.SOURCE_UNUSABLE:
            self.sources[outcome.key] = outcome.detail
        most = None if self.settings.dry_run else self.settings.stop_after_failures
        if most is not None and self.failures >= most:
            self.stop(
                StopCause.FAILURES,
                f"{self.failures} targets failed, as many as stop_after_failures allows",
            )

    async def look_ahead(self) -> None:
        """Work out what the run would cost. A dry run without it is still worth having."""
        try:
            self.forecast = await forecast(
                self.api, self.settings, self.sources, self.all_outcomes()
            )
        except (CallError, AccessError) as error:
            self.stop(StopCause.ACCESS, error.message, error.hint) if isinstance(
                error, AccessError
            ) else None

    def finish(self) -> RunResult:
        """Account for every target, also for those that were never reached."""
        return RunResult(
            settings=self.settings,
            jobs=tuple(self.job_result(job) for job in self.jobs),
            outcomes=self.all_outcomes(),
            started_at=self.started_at,
            finished_at=self.clock.wall(),
            stop=self.stop_reason,
            forecast=self.forecast,
        )

    def job_result(self, job: ResolvedJob) -> JobResult:
        source = self.sources.get(job.key)
        known = isinstance(source, SourceKey)
        return JobResult(
            name=job.name,
            key=job.key,
            certificate=source.certificate if isinstance(source, SourceKey) else None,
            problem=None if known or source is None else str(source),
            dropped=job.dropped,
        )

    def all_outcomes(self) -> list[Outcome]:
        """Return the outcomes in the order of the plan, filling in the targets without one."""
        outcomes: list[Outcome] = []
        for job in self.jobs:
            try:
                outcomes += [self.outcome_or_skip(job, target) for target in job.stream()]
            except InputError:  # the files changed under us: what was done is still true
                known = {id(outcome) for outcome in outcomes}
                outcomes += [
                    outcome
                    for (name, _), outcome in self.outcomes.items()
                    if name == job.name and id(outcome) not in known
                ]
        return outcomes

    def outcome_or_skip(self, job: ResolvedJob, target: Target) -> Outcome:
        outcome = self.outcomes.get((job.name, target.app))
        if outcome is not None:
            return outcome
        source = self.sources.get(job.key)
        verdict = NOT_REACHED
        if isinstance(source, str):
            verdict = Verdict(status=Status.SKIPPED, reason=Reason.SOURCE_UNUSABLE, detail=source)
        return outcome_of(verdict, target, job.key, CallTrace())
