"""Run the plan's hooks, and keep what they said as evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.engine.context import RunContext
from orchestrator.engine.result import HOOK_RAN
from orchestrator.events import HookEnded
from orchestrator.hooks import HookRun
from orchestrator.model import Activation, Target
from orchestrator.rollout import HookCommand, HookMoment

KEPT_OUTPUT = 4096  # characters of what a hook said, in the journal


class Hooks:
    """The commands of a plan, by the moment at which they run."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.commands = context.settings.hooks if context.hooks is not None else {}

    def are_set(self, moment: HookMoment) -> bool:
        return bool(self.commands.get(moment))

    async def run(
        self,
        moment: HookMoment,
        facts: Mapping[str, object],
        *,
        target: Target | None = None,
        until_failure: bool = False,
    ) -> str | None:
        """Run every hook of a moment, in order; return how the first failed, or None."""
        failure: str | None = None
        for command in self.commands.get(moment, ()):
            ended = await self.run_one(moment.value, command, facts, target=target)
            if not ended.ok:
                failure = failure or f"{command.argv[0]} {how_it_ended(ended)}"
                if until_failure:
                    break
        return failure

    async def run_one(
        self,
        moment: str,
        command: HookCommand,
        facts: Mapping[str, object],
        *,
        target: Target | None = None,
    ) -> HookRun:
        """Run one command, and record what it came to."""
        assert self.context.hooks is not None  # noqa: S101 - else there are no commands
        settings = self.context.settings
        told = {
            "hook": moment,
            "run_id": settings.run_id,
            "plan": settings.plan,
            "org": settings.org,
            **facts,
        }
        if target is not None:
            told |= {"job": target.job, "app_id": target.app, "tags": dict(target.tags)}
        ended = await self.context.hooks(command, told)
        await self.context.note(HOOK_RAN, body_of(moment, ended, target))
        self.context.observer.notify(
            HookEnded(
                moment=moment,
                command=command.argv[0],
                job=target.job if target else None,
                app=target.app if target else None,
                ok=ended.ok,
                detail=how_it_ended(ended),
            )
        )
        return ended


class ActivationHooks:
    """The hooks for targets that sign with the key now: they run for each of them, at least once.

    They are run after the activation is recorded, so an execution may die in between.
    """

    def __init__(self, context: RunContext, hooks: Hooks) -> None:
        self.context = context
        self.hooks = hooks
        self.are_set = hooks.are_set(HookMoment.TARGET_ACTIVATED)
        self.succeeded: Counter[tuple[object, object]] = Counter()  # in executions before this one
        if self.are_set:
            for event in context.journal.notes(HOOK_RAN):
                if event.body.get("on") == HookMoment.TARGET_ACTIVATED:
                    place = event.body.get("job"), event.body.get("app")
                    self.succeeded[place] += event.body.get("exit_code") == 0

    def is_due(self, activation: Activation) -> bool:
        """Say whether a target was activated, and what its hooks came to is not recorded."""
        if activation.problem is not None or not activation.state.is_active:
            return False
        target = activation.target
        commands = len(self.hooks.commands.get(HookMoment.TARGET_ACTIVATED, ()))
        return self.succeeded[target.job, target.app] < commands

    async def see_to(self, activation: Activation) -> Activation:
        """Run the hooks for a target; one that fails is a problem of it."""
        if not (self.are_set and activation.state.is_active):
            return activation
        facts: dict[str, object] = {
            "label": activation.label,
            "kid": activation.kid,
            "previous_kid": activation.previous_kid,
            "wave": activation.wave,
        }
        failure = await self.hooks.run(HookMoment.TARGET_ACTIVATED, facts, target=activation.target)
        if failure is None:
            return activation
        was_failure, activation = activation.is_failure, replace(activation, problem=failure)
        await self.context.settle_activation(activation, changed=False, was_failure=was_failure)
        return activation


def body_of(moment: str, ended: HookRun, target: Target | None) -> dict[str, object]:
    """Return what the journal keeps of a hook."""
    return {
        "on": moment,
        "job": target.job if target else None,
        "app": target.app if target else None,
        "argv": list(ended.argv),
        "exit_code": ended.exit_code,
        "timed_out": ended.timed_out,
        "error": ended.error,
        "seconds": round(ended.seconds, 3),
        "output": ended.output[-KEPT_OUTPUT:],
    }


def how_it_ended(ended: HookRun) -> str:
    """Say in a few words how a hook has ended."""
    if ended.error is not None:
        return f"could not be run: {ended.error}"
    if ended.timed_out:
        return f"was stopped after {ended.seconds:.0f} s"
    return "succeeded" if ended.ok else f"failed with exit code {ended.exit_code}"
