"""Conduct the waves of a run: wait for their gates, activate their targets, confirm them.

Each job goes its own way. Staging goes on meanwhile: keys are written in one rate-limit bucket,
apps in another. What may go when is decided in `gates`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime

from orchestrator.engine.activate import Switch
from orchestrator.engine.activation import change_to_activate, is_open
from orchestrator.engine.confirm import (
    WAVE_CHECKED,
    checked_until,
    confirm_by_list,
    cross_check,
)
from orchestrator.engine.context import RunContext
from orchestrator.engine.gates import (
    HELD,
    Ask,
    Begin,
    Confirm,
    Finished,
    Gating,
    Standing,
    Step,
    Wait,
    next_step,
    numbered,
    standings,
    unconfirmed,
)
from orchestrator.engine.hooking import ActivationHooks, Hooks
from orchestrator.engine.pool import run_pool
from orchestrator.engine.progress import StagingView, WaveTally
from orchestrator.errors import AccessError, Halted, StateError
from orchestrator.events import WaveBegun, WaveHeld
from orchestrator.model import (
    Activation,
    AppId,
    AppSnapshot,
    Reason,
    Resource,
    StopCause,
)
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.rollout import HookMoment, JobSettings, Rollout, failures_allowed
from orchestrator.store.base import JobRecord, TargetRecord, WaveCounts

LOOK_AGAIN_SECONDS = 1.0  # how soon a wave that waits for staging is looked at once more
MOST_LOOKING = 0.05  # the share of the time that may go into looking; waves may be very large
PATIENCE_SECONDS = 5.0  # between looks for what people have said, with `--wait`
ASK_AGAIN_SECONDS = 60.0  # between two runs of a command that says no, with `--wait`


class JobWaves:
    """The waves of one job."""

    def __init__(
        self,
        context: RunContext,
        job: JobRecord,
        settings: JobSettings,
        *,
        hooks: Hooks,
        activated: ActivationHooks,
        staging: StagingView,
        seen: Mapping[AppId, AppSnapshot],
        only: frozenset[AppId] | None = None,
    ) -> None:
        assert settings.rollout is not None  # noqa: S101 - jobs that only stage have no waves
        self.context = context
        self.job = job
        self.settings = settings
        self.rollout: Rollout = settings.rollout
        self.resource: Resource = job.key.resource
        self.hooks = hooks
        self.activated = activated
        self.staging = staging
        self.seen = seen
        self.only = only
        self.look_again = LOOK_AGAIN_SECONDS
        self.tallies: dict[int, WaveTally] = {}
        self.waiting: Wait | None = None  # what the job waits for in the end

    def tally(self, wave: int) -> WaveTally:
        return self.tallies.setdefault(wave, WaveTally())

    def counts(self) -> list[WaveCounts]:
        clock = self.context.clock
        started = clock.monotonic()
        counts = self.context.journal.waves(self.job.position)
        self.look_again = max(LOOK_AGAIN_SECONDS, (clock.monotonic() - started) / MOST_LOOKING)
        return counts

    def standing(self) -> Standing:
        return standings(self.context.journal.notes).get(self.job.position, Standing())

    def next_step(self) -> Step:
        return next_step(
            self.counts(),
            self.rollout,
            self.standing(),
            self.context.now(),
            staging_is_over=self.staging.is_over,
            confirms=self.settings.confirms,
            tried={wave: tally.tried for wave, tally in self.tallies.items()},
        )

    async def conduct(self) -> None:
        """Do whatever is due, until nothing is; with `waits`, until nothing is to come."""
        try:
            await self.take_up()
            while self.context.stop_reason is None and await self.take(self.next_step()):
                pass
        except Halted:
            return
        except StateError as error:
            self.context.stop_for_journal(error)

    async def take_up(self) -> None:
        """Make up for what an execution before has left out because it ended too soon."""
        been_held = self.standing().been_held
        checked = checked_until(self.context.journal.notes(WAVE_CHECKED), self.job.position)
        for counts in self.counts():
            if counts.unretryable and counts.wave not in been_held:
                self.tally(counts.wave).failed_before = counts.unretryable
            until = checked.get(counts.wave)
            is_late = until is None or (counts.ended_at or until) > until
            if self.activated.are_set or (self.checks_log and is_late):
                await self.see_to_late(counts.wave, until)
            await self.check_failures(counts.wave, self.tally(counts.wave), counts.targets)

    @property
    def checks_log(self) -> bool:
        """Say whether waves are held against the System Log, and not confirmed besides."""
        wanted = self.settings.cross_check and not self.settings.confirms
        return wanted and self.resource is Resource.APP

    async def see_to_late(self, wave: int, until: datetime | None) -> None:
        """See to what was activated, but not told to hooks, or not held against the log by then."""
        late: dict[AppId, Activation] = {}
        async for record in self.context.journal.activated(self.job.position, wave):
            activation = record.activation
            if activation is not None and self.activated.is_due(activation):
                activation = await self.activated.see_to(activation)
                self.tally(wave).failed |= {record.target.app} if activation.is_failure else set()
            if activation and (until is None or activation.at is None or activation.at > until):
                late[record.target.app] = activation
        if self.checks_log:
            await self.check_wave(wave, late)

    async def take(self, step: Step) -> bool:
        """Take one step; say whether there may be another."""
        self.waiting = None
        match step:
            case Begin():
                await self.begin(step.wave)
                return True
            case Ask():
                await self.ask(step.wave)
                return True
            case Confirm():
                await self.confirm_wave(step.wave)
                return True
            case Wait():
                self.waiting = step
            case Finished():
                self.waiting = step.waiting
                if step.waiting is None and self.staging.is_over:
                    return False
        return await self.await_gate(self.waiting)

    async def await_gate(self, wait: Wait | None) -> bool:
        """Wait for staging, or for a gate as far as that is worth it; say whether to look again."""
        if not self.staging.is_over:
            changed = self.staging.changed
            with self.context.halt.interruptible():
                await changed.wait()
                await self.context.clock.wait(self.staging.over, self.look_again)
            return True
        if wait is None or not self.context.settings.waits or wait.gating is Gating.HELD:
            return False
        seconds = PATIENCE_SECONDS
        if wait.gating in (Gating.ACKNOWLEDGEMENT, Gating.HOOK) and self.has_commands:
            seconds = ASK_AGAIN_SECONDS
            for tally in self.tallies.values():
                tally.asked.clear()
                tally.refused = None
        if wait.until is not None:
            left = (wait.until - self.context.now()).total_seconds()
            seconds = min(PATIENCE_SECONDS, max(0.0, left) + 0.01)
        with self.context.halt.interruptible():
            await self.context.clock.sleep(seconds)
        return True

    @property
    def has_commands(self) -> bool:
        """Say whether a gate is held by a command, which is to be asked again after a while."""
        by_command = self.rollout.gate.acknowledge_by is not None
        return by_command or self.hooks.are_set(HookMoment.WAVE_READY)

    async def ask(self, wave: int) -> None:
        """Ask the plan's command about every target of a wave that nobody has acknowledged."""
        command, tally = self.rollout.gate.acknowledge_by, self.tally(wave)
        assert command is not None  # noqa: S101 - else nothing asks

        async def ask_one(record: TargetRecord) -> None:
            if self.context.stop_reason is not None:
                return
            facts = self.facts(record, wave)
            ended = await self.hooks.run_one("acknowledge", command, facts, target=record.target)
            if not ended.ok:
                tally.asked.add(record.target.app)
                return
            place = (self.job.position, record.target.app)
            try:
                await self.context.journal.acknowledge([place], f"hook {command.argv[0]}")
            except StateError as error:
                self.context.stop_for_journal(error)

        def is_asked(record: TargetRecord) -> bool:
            return not record.is_acknowledged and record.target.app not in tally.asked

        async with aclosing(self.targets(wave)) as targets:
            feed = (record async for record in targets if is_asked(record))
            await run_pool(feed, ask_one, workers=self.context.settings.workers)

    async def targets(self, wave: int) -> AsyncGenerator[TargetRecord, None]:
        async for record in self.context.journal.activatable(self.job.position, wave):
            yield record

    async def begin(self, wave: int) -> None:
        """Activate what is ready in a wave, and see whether it may go on."""
        tally = self.tally(wave)
        counts = {each.wave: each for each in self.counts()}
        refused = await self.ask_leave(counts[wave])
        if refused is not None:
            tally.refused = refused
            return
        self.context.observer.notify(
            WaveBegun(job=self.job.name, wave=wave, waves=len(counts), targets=counts[wave].targets)
        )
        endpoints = ENDPOINTS[self.resource]
        ready = sum(counts[wave].activations.values())
        for bucket in (endpoints.read_bucket, endpoints.write_bucket):
            self.context.api.pacer.expect(bucket, ready)
        most = self.most_failures(counts[wave].targets)

        async def activate(record: TargetRecord) -> None:
            if self.context.stop_reason is None and tally.failures < most:
                await self.activate(record, wave, tally)

        async with aclosing(self.due(wave, tally)) as targets:
            await run_pool(targets, activate, workers=self.context.settings.workers)
        for bucket in (endpoints.read_bucket, endpoints.write_bucket):
            self.context.api.pacer.expect(bucket, -ready)
        if not self.settings.confirms:
            await self.check_wave(wave, tally.settled)
        tally.settled = {}
        await self.check_failures(wave, tally, counts[wave].targets)

    async def confirm_wave(self, wave: int) -> None:
        """Confirm whatever of a wave is active and was not, also by executions before this one."""
        tally = self.tally(wave)
        active = {
            record.target.app: record.activation
            async for record in self.context.journal.activated(self.job.position, wave)
            if record.activation is not None
        }
        await self.check_wave(wave, active)
        for counts in self.counts():
            if counts.wave == wave:
                tally.unconfirmed = unconfirmed(counts)
                await self.check_failures(wave, tally, counts.targets)

    async def ask_leave(self, counts: WaveCounts) -> str | None:
        """Run the hooks for a wave that is ready; return why it may not begin."""
        if not self.hooks.are_set(HookMoment.WAVE_READY):
            return None
        facts: dict[str, object] = {
            "job": self.job.name,
            "wave": counts.wave,
            "targets": counts.targets,
        }
        return await self.hooks.run(HookMoment.WAVE_READY, facts)

    async def due(self, wave: int, tally: WaveTally) -> AsyncGenerator[TargetRecord, None]:
        """Yield the targets of a wave that are ready, and that this execution is to attempt.

        Those that become ready while the wave is under way are for the next step to find.
        """
        async for record in self.context.journal.activatable(self.job.position, wave):
            app = record.target.app
            if not self.is_ready(record):
                continue
            tally.asked.discard(app)
            tally.left.add(app)
            if app not in tally.attempted and (self.only is None or app in self.only):
                yield record

    def is_ready(self, record: TargetRecord) -> bool:
        is_let = record.is_acknowledged or not self.rollout.gate.acknowledged
        return is_let and is_open(record.activation)

    async def activate(self, record: TargetRecord, wave: int, tally: WaveTally) -> None:
        """Activate one target; what becomes of it is in the journal, whatever it is."""
        target, outcome = record.target, record.outcome
        assert outcome is not None  # noqa: S101 - only staged targets are activated
        change = change_to_activate(
            outcome.key.kid,
            record.activation,
            self.seen.get(target.app),
            allow_oidc=self.settings.allow_oidc,
            inactive=self.rollout.inactive,
        )
        switch = Switch(
            self.context,
            target,
            change,
            kid=outcome.key.kid,
            wave=wave,
            resource=self.resource,
        )
        try:
            with self.context.halt.interruptible():
                await self.staging.await_release(target)
            refused = self.staging.refused.get((target.job, target.app))
            activation = switch.refuse(refused) if refused else await switch.carry_out()
        except AccessError as error:
            self.context.stop(StopCause.ACCESS, error.message, error.hint)
            return
        except StateError as error:
            self.context.stop_for_journal(error)
            return
        except Halted:
            return
        tally.attempted.add(target.app)
        await self.context.settle_activation(activation, changed=True)
        if activation.reason is Reason.COLLATERAL:
            self.context.stop_for_collateral(activation)
        activation = await self.activated.see_to(activation)
        if not is_open(activation):
            tally.left.discard(target.app)
        if activation.is_failure:
            tally.failed.add(target.app)
        if activation.state.is_active:
            tally.settled[target.app] = activation

    async def check_wave(self, wave: int, active: dict[AppId, Activation]) -> None:
        """See what the org itself says of active targets, as far as the plan asks for it."""
        if not active or self.context.stop_reason is not None:
            return
        has_held = wave in self.standing().been_held  # what was known has had its effect
        known = {app for app, each in active.items() if each.is_failure and has_held}
        try:
            if self.settings.cross_check and self.resource is Resource.APP:
                await cross_check(self.context, active)
            if self.checks_log:
                until = self.context.now().isoformat()
                body = {"job": self.job.position, "wave": wave, "until": until}
                await self.context.note(WAVE_CHECKED, body)
            if self.settings.confirms:
                await confirm_by_list(self.context, active, self.resource)
        except AccessError as error:
            self.context.stop(StopCause.ACCESS, error.message, error.hint)
        except Halted:
            pass
        failed = {app for app, each in active.items() if each.is_failure}
        self.tally(wave).failed |= failed - known

    async def check_failures(self, wave: int, tally: WaveTally, targets: int) -> None:
        """Hold the wave, and with it all that come after, once too much of it has failed."""
        if tally.failures < self.most_failures(targets) or tally.is_held:
            return
        tally.is_held = True
        detail = f"{numbered(tally.failures)} of wave {wave} failed, as many as it may"
        body = {"job": self.job.position, "wave": wave, "detail": detail}
        await self.context.note(HELD, body)
        self.context.observer.notify(WaveHeld(job=self.job.name, wave=wave, detail=detail))

    def most_failures(self, targets: int) -> int:
        return failures_allowed(self.rollout.stop_after_failures, targets)

    def facts(self, record: TargetRecord, wave: int) -> dict[str, object]:
        outcome = record.outcome
        return {
            "label": outcome.label if outcome else None,
            "kid": outcome.key.kid if outcome else None,
            "wave": wave,
            "resource": self.resource.value,
        }
