"""Take a run's activations back: every target signs again with the key that was recorded.

A target is written only where it still signs with the key that the run has set. What was cloned
stays where it is: Okta knows no way to take a key out of an app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from orchestrator.engine.activate import Switch
from orchestrator.engine.activation import Change, Ruling, change_to_roll_back, decide
from orchestrator.engine.context import RunContext
from orchestrator.engine.gates import HELD
from orchestrator.engine.pool import run_pool
from orchestrator.errors import AccessError, CallError, Halted, StateError
from orchestrator.events import ActivationSettled
from orchestrator.model import Activation, ActivationState, AppId, Reason, Resource, StopCause
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.store.base import Archive, JobRecord, StopRecord, TargetRecord

ROLLED_BACK = "rolled back: okta-keys approve lets its waves go on"
AGAIN = "run the same rollback again: what is done stays done"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """A target that is to be taken back, and how."""

    record: TargetRecord
    done: Activation
    change: Change


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

    def due(self) -> Iterator[WayBack]:
        """Yield the targets that are to be taken back, in plan order."""
        for record in self.archive.targets(self.context.settings.run_id):
            if self.wave is not None and record.wave != self.wave:
                continue
            if self.only is not None and record.target.app not in self.only:
                continue
            done = record.activation
            change = change_to_roll_back(done) if done is not None else None
            if done is not None and change is not None:
                yield WayBack(record=record, done=done, change=change)

    async def execute(self) -> None:
        """Take back every target that is due; no target's failure is raised."""
        if not self.context.settings.dry_run:
            await self.hold()
        for resource, number in Counter(map(self.resource_of, self.due())).items():
            for bucket in (ENDPOINTS[resource].read_bucket, ENDPOINTS[resource].write_bucket):
                self.context.api.pacer.expect(bucket, number)
        async with aclosing(self.feed()) as targets:
            await run_pool(targets, self.work, workers=self.context.settings.workers)

    def resource_of(self, way: WayBack) -> Resource:
        return self.jobs[way.record.job].key.resource

    async def feed(self) -> AsyncGenerator[WayBack, None]:
        for way in self.due():
            if self.context.stop_reason is not None:
                return
            yield way

    async def hold(self) -> None:
        """Keep later executions of the run from activating anything by themselves."""
        for position in self.jobs:
            body = {"job": position, "wave": 0, "detail": ROLLED_BACK}
            await self.context.note(HELD, body)

    async def work(self, way: WayBack) -> None:
        """Take one target back, whatever happens."""
        if self.context.stop_reason is not None:
            return
        try:
            activation = await self.take_back(way)
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
            return
        except StateError as error:
            self.context.stop_for_journal(error)
            return
        except Halted:
            return
        self.states[activation.state] += 1
        if self.context.settings.dry_run:
            self.context.failures += activation.is_failure
            self.context.observer.notify(ActivationSettled(activation=activation))
            return
        await self.context.settle_activation(activation, changed=True)
        if activation.reason is Reason.COLLATERAL:
            self.context.stop_for_collateral(activation)

    async def take_back(self, way: WayBack) -> Activation:
        switch = Switch(
            self.context,
            way.record.target,
            way.change,
            kid=way.done.kid,
            wave=way.record.wave or way.done.wave,
            resource=self.resource_of(way),
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
