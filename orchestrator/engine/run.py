"""One execution of a plan: stage its targets, activate them in waves, stop when told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import anyio
from anyio.lowlevel import checkpoint

from orchestrator.clock import Clock
from orchestrator.engine.cautioning import Cautioning
from orchestrator.engine.context import HookRunner, Packs, RunContext
from orchestrator.engine.followup import FollowUp
from orchestrator.engine.forecast import forecast
from orchestrator.engine.foresee import foresee
from orchestrator.engine.gates import Gating, Wait, stop_of
from orchestrator.engine.hooking import Hooks
from orchestrator.engine.keys import AwaitedKey, EachKey, JobKey
from orchestrator.engine.pool import run_pool
from orchestrator.engine.progress import StagingView
from orchestrator.engine.result import Forecast, RunSettings
from orchestrator.engine.rollouts import Rollouts
from orchestrator.engine.sources import Sources
from orchestrator.engine.stage import (
    Staged,
    access_outcome,
    generate,
    preview,
    stage,
    stopped_outcome,
)
from orchestrator.engine.staging import FutureKey, SourceKey
from orchestrator.engine.workload import announced_calls
from orchestrator.errors import AccessError, CallError, StateError
from orchestrator.events import Observer, RunStarted, TargetSettled
from orchestrator.halt import Halt
from orchestrator.model import (
    NEW_KID,
    AppId,
    AppSnapshot,
    KeyKind,
    KeyRef,
    Outcome,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import (
    CertificateBook,
    JobRecord,
    Journal,
    StopRecord,
    TargetRecord,
)

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 10.0  # for recording what a cancelled target came to


@dataclass(frozen=True, slots=True)
class Task:
    """A target on its way to a worker."""

    job: JobRecord
    target: Target
    key: SourceKey | FutureKey | EachKey
    staged: Outcome | None = None  # it was staged before, and only lacks what follows

    @property
    def ref(self) -> KeyRef:
        if isinstance(self.key, EachKey):
            return KeyRef(app=self.target.app, kid=NEW_KID, resource=self.key.resource)
        return self.key.ref


class Run:
    """Executes what is due in a run's journal.

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
        hooks: HookRunner | None = None,
        packs: Packs | None = None,
        seen: Mapping[AppId, AppSnapshot] | None = None,
        book: CertificateBook | None = None,
    ) -> None:
        self.context = RunContext(
            settings,
            journal=journal,
            api=api,
            clock=clock,
            halt=halt,
            observer=observer,
            hooks=hooks,
            packs=packs,
        )
        self.settings = settings
        self.jobs = jobs
        self.pending = pending
        self.journal = journal
        self.api = api
        self.clock = clock
        self.observer = observer
        self.only = only  # the targets to which this execution is restricted
        self.sources = Sources(self.context, jobs)
        self.cautioning = Cautioning(self.context, seen or {}, book)
        self.hooks = Hooks(self.context)
        self.staging = StagingView()
        self.follow_up = FollowUp(self.context, self.hooks, self.staging, seen or {})
        self.rollouts = Rollouts(
            self.context,
            jobs,
            hooks=self.hooks,
            staging=self.staging,
            seen=seen or {},
            only=only,
        )
        self.awaited: dict[str, Wait] = {}  # jobs whose key comes from outside
        self.snapshots: list[AppSnapshot] = []  # what a dry run has seen
        self.counts: Counter[Status] = Counter()  # of this execution
        self.fed = 0
        self.spent = 0  # of max_targets: fed, less those found to be done already
        self.room = anyio.Event()  # set, and renewed, whenever a target is settled
        self.forecast: Forecast | None = None

    @property
    def stop_reason(self) -> StopRecord | None:
        return self.context.stop_reason

    @property
    def unrecorded(self) -> dict[tuple[str, str], Outcome]:
        return self.context.unrecorded

    def stop(self, cause: StopCause, detail: str, hint: str | None = None) -> None:
        """Start nothing further, and end every wait. The first cause is the one that counts."""
        self.context.stop(cause, detail, hint)

    async def execute(self) -> None:
        """Do everything that is due, or stop early; no target's failure is raised."""
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
        await self.rollouts.assign()
        async with anyio.create_task_group() as group:
            if settings.deadline_seconds is not None:
                group.start_soon(self.watch_deadline, settings.deadline_seconds, name="deadline")
            await self.learn_the_time()
            await self.follow_up.find(self.jobs)
            async with anyio.create_task_group() as work:
                if not settings.dry_run:
                    self.rollouts.start_in(work)
                await self.stage_all()
            group.cancel_scope.cancel()

    async def learn_the_time(self) -> None:
        """Ask for the org's time where it decides anything; that costs no rate limit."""
        makes_keys = any(job.wanted.kind is not KeyKind.KID for job in self.jobs)
        if self.settings.dry_run or self.api.pacer.has_org_time:
            return
        if self.settings.rolls_out or makes_keys:
            await self.context.learn_the_time()

    async def stage_all(self) -> None:
        try:
            async with aclosing(self.feed()) as feed:
                await run_pool(feed, self.work, workers=self.settings.workers)
        finally:
            self.staging.end()

    def announce_calls(self) -> None:
        """Tell the pacing what is to come."""
        announced = announced_calls(self.settings, self.jobs, self.pending)
        for bucket, calls in announced.items():
            self.api.pacer.expect(bucket, calls)

    async def watch_deadline(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.stop(StopCause.DEADLINE, f"the deadline of {seconds:g} seconds has passed")

    async def feed(self) -> AsyncGenerator[Task, None]:
        """Yield what is to be staged, job after job, until the run is stopped."""
        for job in self.jobs:
            async for task in self.feed_follow_ups(job):
                yield task
            async for target in self.journal.pending(job.position):
                if self.only is not None and target.app not in self.only:
                    continue
                key = await self.key_of(job)
                if key is None or not await self.has_room():
                    break
                self.fed += 1
                self.spent += 1
                yield Task(job, target, key)
            if self.stop_reason is not None:
                return

    async def key_of(self, job: JobRecord) -> SourceKey | FutureKey | EachKey | None:
        """Return the job's key if there is one to stage."""
        key: JobKey | str | None = await self.sources.of(job)
        if isinstance(key, AwaitedKey):
            self.awaited[job.name] = Wait(gating=Gating.KEY, detail=key.detail)
            return None
        if key is None or isinstance(key, str):
            return None
        await self.cautioning.caution_on(job, key)
        return key

    async def feed_follow_ups(self, job: JobRecord) -> AsyncGenerator[Task, None]:
        """Yield what was staged by earlier executions, and lacks what follows.

        Before anything of the job is staged by this one, which sees to its own.
        """
        if not self.staging.attended:
            return
        async for outcome in self.journal.staged(job.position):
            if self.stop_reason is not None:
                return
            if not self.staging.attends(outcome.target):
                continue
            key = await self.key_of(job)
            if isinstance(key, SourceKey | EachKey):
                yield Task(job, outcome.target, key, staged=outcome)
            else:
                self.staging.release(outcome.target)

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
        if task.staged is not None:
            await self.follow_up.make_up_for(task.staged, task.key)
            return
        trace = CallTrace()
        if self.sources.known.get(task.job.position) is not task.key:  # gone, meanwhile
            return
        staged: Staged | None = None
        try:
            staged = await self.stage(task, trace)
            outcome = staged.outcome
        except AccessError as error:
            outcome = access_outcome(task.target, task.ref, trace, error)
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except StateError as error:
            outcome = stopped_outcome(task.target, task.ref, trace)
            self.context.stop_for_journal(error)
        except anyio.get_cancelled_exc_class():
            outcome = stopped_outcome(task.target, task.ref, trace)
            if outcome.reason is Reason.INTERRUPTED and not self.settings.dry_run:
                with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                    await self.settle(outcome)
            raise
        if outcome.reason is not Reason.NOT_REACHED:
            self.follow_up.expect(outcome)
            await self.settle(outcome)
            if outcome.reason is Reason.SOURCE_UNUSABLE and isinstance(task.key, SourceKey):
                await self.lose_source(task.key, outcome.detail)
            if staged is not None and outcome.status.is_staged:
                await self.follow_up.see_to(staged)
        if outcome.evidence.attempts == 0:
            await checkpoint()  # nothing was awaited: let the others in

    async def stage(self, task: Task, trace: CallTrace) -> Staged:
        """Do what the plan wants of one target, or say what would be done."""
        verify = self.settings.of_job(task.job.name).verify
        if self.settings.dry_run:
            quick = self.settings.quick
            outcome, observation = await preview(
                self.api, task.target, task.key, trace, verify=verify, quick=quick
            )
            await foresee(self.context, task.job, outcome, observation, self.snapshots)
            return Staged(outcome=outcome)
        if isinstance(task.key, EachKey):
            maker = self.sources.makers[task.job.position]
            return await generate(maker, task.target, task.key, trace)
        assert isinstance(task.key, SourceKey)  # noqa: S101 - other keys are of dry runs
        return await stage(self.api, task.target, task.key, trace, verify)

    async def settle(self, outcome: Outcome) -> None:
        """Record an outcome for good, and see whether the run may go on.

        What is known stays known: should we be cancelled while the journal writes, the outcome is
        told and counted all the same, and `unrecorded` has it until the journal does.
        """
        outcome = replace(outcome, settled_at=self.context.now())
        place = (outcome.target.job, outcome.target.app)
        self.unrecorded[place] = outcome
        try:
            await self.journal.settle(outcome)
            del self.unrecorded[place]
        except StateError as error:
            self.context.stop_for_journal(error)
        finally:
            self.count(outcome)

    def count(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self.observer.notify(TargetSettled(outcome=outcome))
        if outcome.status is Status.ALREADY_PRESENT:
            self.spent -= 1
        self.check_failures()
        if self.settings.max_targets is not None:
            self.room.set()
            self.room = anyio.Event()
        self.staging.announce()

    async def lose_source(self, source: SourceKey, why: str) -> None:
        try:
            await self.sources.lose(source, why)
        except StateError as error:
            self.context.stop_for_journal(error)

    def check_failures(self) -> None:
        most = None if self.settings.dry_run else self.settings.stop_after_failures
        failures = self.counts[Status.FAILED]
        if most is not None and failures >= most:
            self.stop(
                StopCause.FAILURES,
                f"{failures} targets failed, as many as stop_after_failures allows",
            )

    def ending(self) -> StopRecord | None:
        """Return why the execution has ended before everything was done; None if it was."""
        return self.stop_reason or stop_of(self.rollouts.waits() | self.awaited)

    @property
    def is_through(self) -> bool:
        """Say whether nothing is left to be activated, now or later."""
        return self.rollouts.are_through and not self.awaited

    async def look_ahead(self, records: Iterable[TargetRecord]) -> None:
        """Work out what a run would cost, and what there is to think about; `records` is reread.

        A dry run without a forecast is still worth having.
        """
        jobs, known = self.jobs, self.sources.known
        await self.cautioning.learn(jobs, known.values(), records, self.snapshots)
        try:
            self.forecast = await forecast(self.api, self.settings, jobs, known, records)
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except CallError as error:
            log.warning("no forecast: %s", error.message)
        await self.cautioning.caution_ahead(jobs, known, records, self.forecast)
