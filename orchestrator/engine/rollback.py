"""Take a run's activations back: every target signs again with the key that was recorded.

A target is written only where it still signs with the key that the run has set. What was cloned
stays where it is: Okta knows no way to take a key out of an app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from orchestrator.engine.activate import Switch
from orchestrator.engine.activation import Ruling, change_to_roll_back, decide
from orchestrator.engine.context import RunContext
from orchestrator.engine.gates import HELD
from orchestrator.engine.pool import run_pool
from orchestrator.errors import AccessError, CallError, Halted, StateError
from orchestrator.events import ActivationSettled
from orchestrator.model import Activation, ActivationState, AppId, Reason, StopCause
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.store.base import Archive, JobRecord, StopRecord, TargetRecord

ROLLED_BACK = "rolled back: okta-keys approve lets its waves go on"
AGAIN = "run the same rollback again: what is done stays done"


class Rollback:
    """Executes the way back of one run, as far as it is asked for."""

    def __init__(
        self,
        context: RunContext,
        archive: Archive,
        jobs: Sequence[JobRecord],
        *,
        wave: int | None = None,
        only: frozenset[AppId] | None = None,
    ) -> None:
        self.context = context
        self.archive = archive
        self.jobs = {job.position: job for job in jobs}
        self.wave = wave
        self.only = only
        self.states: Counter[ActivationState] = Counter()

    @property
    def stop_reason(self) -> StopRecord | None:
        return self.context.stop_reason

    def stop(self, cause: StopCause, detail: str, hint: str | None = None) -> None:
        self.context.stop(cause, detail, hint or AGAIN)

    def due(self) -> Iterable[TargetRecord]:
        """Yield the targets that are to be taken back, in plan order."""
        for record in self.archive.targets(self.context.settings.run_id):
            if record.activation is None or change_to_roll_back(record.activation) is None:
                continue
            if self.wave is not None and record.wave != self.wave:
                continue
            if self.only is None or record.target.app in self.only:
                yield record

    async def execute(self) -> None:
        """Take back every target that is due; no target's failure is raised."""
        if not self.context.settings.dry_run:
            await self.hold()
        for record in self.due():
            endpoints = ENDPOINTS[self.jobs[record.job].key.resource]
            self.context.api.pacer.expect(endpoints.read_bucket, 1)
            self.context.api.pacer.expect(endpoints.write_bucket, 1)
        async with aclosing(self.feed()) as targets:
            await run_pool(targets, self.work, workers=self.context.settings.workers)

    async def feed(self) -> AsyncGenerator[TargetRecord, None]:
        for record in self.due():
            if self.context.stop_reason is not None:
                return
            yield record

    async def hold(self) -> None:
        """Keep later executions of the run from activating anything by themselves."""
        for position in self.jobs:
            body = {"job": position, "wave": 0, "detail": ROLLED_BACK}
            await self.context.note(HELD, body)

    async def work(self, record: TargetRecord) -> None:
        """Take one target back, whatever happens."""
        if self.context.stop_reason is not None:
            return
        try:
            activation = await self.take_back(record)
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
            return
        except StateError as error:
            self.context.stop_for_journal(error)
            return
        except Halted:
            return
        if activation is None:
            return
        self.states[activation.state] += 1
        if self.context.settings.dry_run:
            self.context.failures += activation.is_failure
            self.context.observer.notify(ActivationSettled(activation=activation))
            return
        await self.context.settle_activation(activation, changed=True)
        if activation.reason is Reason.COLLATERAL:
            self.context.stop_for_collateral(activation)

    async def take_back(self, record: TargetRecord) -> Activation | None:
        done = record.activation
        change = change_to_roll_back(done) if done else None
        if done is None or change is None:
            return None
        switch = Switch(
            self.context,
            record.target,
            change,
            kid=done.kid,
            wave=record.wave or done.wave,
            resource=self.jobs[record.job].key.resource,
        )
        if not self.context.settings.dry_run:
            return await switch.carry_out()
        return await self.preview(switch)

    async def preview(self, switch: Switch) -> Activation:
        """Say what would become of a target, from one read."""
        try:
            found = await switch.read()
        except Halted:
            raise
        except CallError as error:
            found = Ruling(
                state=ActivationState.FAILED, reason=Reason.NO_ANSWER, detail=error.message
            )
        ruling = found if isinstance(found, Ruling) else decide(found, switch.change)
        if not isinstance(ruling, Ruling):
            detail = f"would sign again with {switch.change.to}"
            ruling = Ruling(state=ActivationState.PLANNED, detail=detail)
        return switch.activation(ruling)
