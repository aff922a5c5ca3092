"""What every part of a run shares: the way to the org, the journal, and the reason to stop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.engine.result import RunSettings
from orchestrator.errors import AccessError, CallError, StateError
from orchestrator.events import ActivationSettled, Observer, RunStopping
from orchestrator.halt import Halt
from orchestrator.hooks import HookRun
from orchestrator.model import (
    Activation,
    ActivationState,
    HandoffPack,
    Kid,
    Outcome,
    StopCause,
    Target,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.wire import CallTrace
from orchestrator.rollout import HookCommand
from orchestrator.store.base import Journal, StopRecord

log = logging.getLogger(__name__)


class HookRunner(Protocol):
    """Runs a command of the plan; whatever becomes of it is in the result."""

    def __call__(
        self, command: HookCommand, context: Mapping[str, object]
    ) -> Awaitable[HookRun]: ...


class Packs(Protocol):
    """Where the packs for the owners of targets go. Both may block: call them in a thread."""

    def has(self, target: Target, kid: Kid) -> bool:
        """Say whether the target's pack for this key is there, and whole."""
        ...

    def write(self, pack: HandoffPack) -> object:
        """Write a pack, or replace it.

        Raises:
            ReportError: it cannot be written.
        """
        ...


class RunContext:
    """The surroundings of one execution."""

    def __init__(
        self,
        settings: RunSettings,
        *,
        journal: Journal,
        api: OktaApi,
        clock: Clock,
        halt: Halt,
        observer: Observer,
        hooks: HookRunner | None = None,
        packs: Packs | None = None,
    ) -> None:
        self.settings = settings
        self.journal = journal
        self.api = api
        self.clock = clock
        self.halt = halt
        self.observer = observer
        self.hooks = hooks
        self.packs = packs
        self.stop_reason: StopRecord | None = None
        self.unrecorded: dict[tuple[str, str], Outcome] = {}
        self.unrecorded_activations: dict[tuple[str, str], Activation] = {}
        self.activated = 0  # changes of an active key by this execution, in either direction
        self.failures = 0  # of activations, likewise

    def stop(self, cause: StopCause, detail: str, hint: str | None = None) -> None:
        """Start nothing further, and end every wait. The first cause is the one that counts."""
        if self.stop_reason is None:
            self.stop_reason = StopRecord(cause=cause, detail=detail, hint=hint)
            self.observer.notify(RunStopping(cause=cause, detail=detail))
            self.halt.set()

    def stop_for_journal(self, error: StateError) -> None:
        self.stop(StopCause.JOURNAL, error.message, error.hint)

    def stop_for_collateral(self, activation: Activation) -> None:
        """Stop because a write has changed more than it was to."""
        self.stop(
            StopCause.COLLATERAL,
            f"the write of {activation.target.app} changed more than its key: {activation.detail}",
            hint="look at the app in Okta before anything else; nothing further is written",
        )

    def now(self) -> datetime:
        """Return the time on the org's clock, as far as its answers have told it."""
        return self.api.pacer.org_time(self.clock.wall())

    async def learn_the_time(self) -> None:
        """Ask for the org's time, which costs no rate limit; an org may keep it to itself."""
        try:
            await self.api.organization(CallTrace())
        except AccessError as error:
            self.stop(StopCause.ACCESS, error.message, error.hint)
        except CallError as error:
            log.warning("the org does not tell its time: %s", error.message)

    async def note(self, kind: str, body: Mapping[str, object]) -> None:
        """Record an event for good; a journal that cannot be written stops the run."""
        try:
            await self.journal.note(kind, body)
        except StateError as error:
            self.stop_for_journal(error)

    async def settle_activation(
        self, activation: Activation, *, changed: bool, was_failure: bool = False
    ) -> None:
        """Record what became of an activation, and tell whoever watches.

        `was_failure`: it counts as a failure already. What is known stays known: see `Run.settle`.
        """
        activation = replace(activation, at=activation.at or self.now())
        place = (activation.target.job, activation.target.app)
        self.unrecorded_activations[place] = activation
        try:
            await self.journal.note_activation(activation)
            del self.unrecorded_activations[place]
        except StateError as error:
            self.stop_for_journal(error)
        finally:
            self.activated += changed and was_changed(activation)
            self.failures += activation.is_failure and not was_failure
            self.observer.notify(ActivationSettled(activation=activation))


def was_changed(activation: Activation) -> bool:
    """Say whether a target signs with another key now because of us."""
    rolled_back = activation.state is ActivationState.ROLLED_BACK
    return (activation.state.is_active and activation.previous_kid is not None) or rolled_back
