"""What follows once a target is staged: the pack for its owner, and the plan's hook.

Both may be done again after a crash, never left out: what is missing is made up for by the next
execution.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from anyio.to_thread import run_sync

from orchestrator.engine.context import RunContext
from orchestrator.engine.hooking import Hooks
from orchestrator.engine.keys import EachKey, JobKey, read_source
from orchestrator.engine.progress import StagingView
from orchestrator.engine.result import HOOK_RAN
from orchestrator.engine.stage import Staged
from orchestrator.engine.staging import SourceKey
from orchestrator.errors import AccessError, CallError, ReportError
from orchestrator.events import Noticed
from orchestrator.model import (
    AppId,
    AppSnapshot,
    Certificate,
    HandoffPack,
    Outcome,
    Resource,
    StopCause,
)
from orchestrator.okta.certificates import fingerprints, pem_of_x5c
from orchestrator.okta.wire import CallTrace
from orchestrator.rollout import HookMoment
from orchestrator.store.base import EventRecord, JobRecord

log = logging.getLogger(__name__)


class FollowUp:
    """Sees to the staged targets of a run, none of which is activated before."""

    def __init__(
        self,
        context: RunContext,
        hooks: Hooks,
        staging: StagingView,
        seen: Mapping[AppId, AppSnapshot],
    ) -> None:
        self.context = context
        self.hooks = hooks
        self.staging = staging
        self.seen = seen  # by the last preview
        self.packs = None if context.settings.dry_run else context.packs
        self.has_hooks = hooks.are_set(HookMoment.TARGET_STAGED) and not context.settings.dry_run
        self.hooked: set[tuple[str, str]] = set()
        if self.has_hooks:
            commands = len(hooks.commands[HookMoment.TARGET_STAGED])
            events = context.journal.notes(HOOK_RAN)
            self.hooked.update(targets_hooked(events, commands))

    @property
    def is_wanted(self) -> bool:
        return self.packs is not None or self.has_hooks

    async def find(self, jobs: Iterable[JobRecord]) -> None:
        """Find what was staged by earlier executions, and lacks what follows."""
        if not self.is_wanted:
            return
        for job in jobs:
            async for outcome in self.context.journal.staged(job.position):
                if await self.is_due(outcome):
                    self.staging.attend(outcome.target)

    def expect(self, outcome: Outcome) -> None:
        """Keep a target that is about to be recorded as staged until it was seen to."""
        if self.is_wanted and outcome.status.is_staged:
            self.staging.attend(outcome.target)

    async def is_due(self, outcome: Outcome) -> bool:
        """Say whether a target that was staged by an earlier execution still lacks something."""
        target = outcome.target
        if self.has_hooks and (target.job, target.app) not in self.hooked:
            return True
        return self.packs is not None and not await self.has_pack(outcome)

    async def has_pack(self, outcome: Outcome) -> bool:
        assert self.packs is not None  # noqa: S101 - only asked where there are packs
        return await run_sync(self.packs.has, outcome.target, outcome.key.kid)

    async def make_up_for(self, outcome: Outcome, key: JobKey) -> None:
        """See to a target that was staged before the program died, or its hook was added."""
        try:
            found: JobKey | str = key
            if isinstance(key, EachKey):
                found = await read_source(self.context.api, outcome.key)
            if isinstance(found, SourceKey):
                await self.see_to(Staged(outcome=outcome, source=found))
        except AccessError as error:
            self.context.stop(StopCause.ACCESS, error.message, error.hint)
        except CallError as error:
            log.warning("%s: %s", outcome.target.app, error.message)
        self.staging.release(outcome.target)

    async def see_to(self, staged: Staged) -> None:
        """Write the pack and run the hooks of a staged target, as far as that is still due."""
        outcome, source = staged.outcome, staged.source
        if source is not None and self.is_wanted:
            await self.complete(staged, source)
        self.staging.release(outcome.target)

    async def complete(self, staged: Staged, source: SourceKey) -> None:
        outcome = staged.outcome
        if self.packs is not None and not await self.has_pack(outcome):
            await self.write_pack(staged, source)
        place = (outcome.target.job, outcome.target.app)
        if self.has_hooks and place not in self.hooked:
            facts = facts_of(outcome, source)
            failure = await self.hooks.run(
                HookMoment.TARGET_STAGED, facts, target=outcome.target, until_failure=True
            )
            if failure is None:
                self.hooked.add(place)
            else:  # what it was to do is not done, so the target is not ready for the key
                self.staging.refused[place] = failure

    async def write_pack(self, staged: Staged, source: SourceKey) -> None:
        assert self.packs is not None  # noqa: S101 - only called where there are packs
        target = staged.outcome.target
        seen = self.seen.get(target.app)
        pack = HandoffPack(
            target=target,
            key=staged.outcome.key,
            certificate=source.certificate,
            label=staged.outcome.label or (seen.label if seen else None),
            metadata=staged.metadata or await self.metadata(staged.outcome),
        )
        try:
            await run_sync(self.packs.write, pack)
        except ReportError as error:
            self.context.observer.notify(Noticed(text=error.message))

    async def metadata(self, outcome: Outcome) -> bytes | None:
        """Read the metadata that the target publishes for the key; a pack can do without."""
        if not self.context.settings.handoff_metadata or outcome.key.resource is Resource.IDP:
            return None
        try:
            reply = await self.context.api.get_metadata(
                outcome.target.app, outcome.key.kid, CallTrace()
            )
        except AccessError as error:
            self.context.stop(StopCause.ACCESS, error.message, error.hint)
            return None
        except CallError as error:
            problem = error.message
        else:
            if reply.refusal is None:
                return reply.value
            problem = str(reply.refusal)
        text = f"the pack of {outcome.target.app} has no metadata: {problem}"
        self.context.observer.notify(Noticed(text=text))
        return None


def targets_hooked(events: Iterable[EventRecord], commands: int) -> set[tuple[str, str]]:
    """Return the targets whose staging hooks have all succeeded, as job and app.

    The first to fail ends a round, and the next execution begins another.
    """
    succeeded: Counter[tuple[str, str]] = Counter()
    for event in events:
        job, app = event.body.get("job"), event.body.get("app")
        if event.body.get("on") == HookMoment.TARGET_STAGED and job and app:
            place = (str(job), str(app))
            succeeded[place] = succeeded[place] + 1 if event.body.get("exit_code") == 0 else 0
    return {place for place, number in succeeded.items() if number >= commands}


def facts_of(outcome: Outcome, source: SourceKey) -> dict[str, object]:
    """Return what a hook is told about a staged target."""
    return {
        "label": outcome.label,
        "resource": outcome.key.resource.value,
        "kid": outcome.key.kid,
        "status": outcome.status.value,
        **certificate_facts(source.certificate),
    }


def certificate_facts(certificate: Certificate) -> dict[str, object]:
    """Return what a hook, or a vendor, wants to know of a certificate."""
    prints = fingerprints(certificate)
    return {
        "thumbprint": certificate.thumbprint,
        "sha1": prints.sha1,
        "sha256": prints.sha256,
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
        "certificate": pem_of_x5c(certificate.x5c),
    }
