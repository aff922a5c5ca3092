"""The waves of all jobs of a run: put the targets into them, set them going, say how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyio.abc import TaskGroup

from orchestrator.engine.context import RunContext
from orchestrator.engine.gates import Wait, assign, has_begun, still_due
from orchestrator.engine.hooking import ActivationHooks, Hooks
from orchestrator.engine.progress import StagingView
from orchestrator.engine.waves import JobWaves
from orchestrator.model import AppId, AppSnapshot
from orchestrator.store.base import JobRecord


class Rollouts:
    """Conducts the jobs that go beyond staging, each on its own."""

    def __init__(
        self,
        context: RunContext,
        jobs: Sequence[JobRecord],
        *,
        hooks: Hooks,
        staging: StagingView,
        seen: Mapping[AppId, AppSnapshot],
        only: frozenset[AppId] | None,
    ) -> None:
        self.journal = context.journal
        activated = ActivationHooks(context, hooks)
        self.jobs = [
            JobWaves(
                context,
                job,
                settings,
                hooks=hooks,
                activated=activated,
                staging=staging,
                seen=seen,
                only=only,
            )
            for job in jobs
            if (settings := context.settings.of_job(job.name)).rollout is not None
        ]

    async def assign(self) -> None:
        """Put every target into its wave; once a job's waves have begun, only those that are new.

        Raises:
            StateError: the journal cannot be written.
        """
        for each in self.jobs:
            position = each.job.position
            begun = any(has_begun(counts) for counts in each.counts())
            waves = assign(self.journal.wave_sizes(position), each.rollout, begun=begun)
            if waves is not None:
                await self.journal.assign_waves(position, waves)

    def start_in(self, group: TaskGroup) -> None:
        """Begin to conduct every job in a task of its own."""
        for each in self.jobs:
            group.start_soon(each.conduct, name=f"waves-{each.job.position}")

    def waits(self) -> dict[str, Wait]:
        """Return what each job waits for, by its name, once the execution has ended."""
        return {each.job.name: each.waiting for each in self.jobs if each.waiting}

    @property
    def are_through(self) -> bool:
        """Say whether nothing is left to be activated, now or later."""
        open_ones = any(
            still_due(counts, each.settings) for each in self.jobs for counts in each.counts()
        )
        return not open_ones and not self.waits()
