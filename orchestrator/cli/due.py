"""Find out how the waves of a run stand, without executing it: for quiet minutes, and people.

Whether a gate of time is open is a matter of the org's clock, which one call tells that costs no
rate limit. Where no such gate is set, no call is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from orchestrator.engine.gates import (
    Ask,
    Begin,
    Confirm,
    Finished,
    Standing,
    Step,
    Wait,
    next_step,
    standings,
)
from orchestrator.engine.result import STAGE_ONLY
from orchestrator.engine.resume import ResolvedJob
from orchestrator.okta.api import OktaApi
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import Archive
from orchestrator.store.sqlite import Store


async def steps_now(
    store: Store, run_id: str, jobs: Sequence[ResolvedJob], api: OktaApi
) -> dict[str, Step]:
    """Return the next step of every job that rolls out, by the org's clock where that matters.

    Raises:
        CallError: the org does not tell its time.
    """
    wall = store.clock.wall()
    steps = steps_of(store.archive, run_id, jobs, wall)
    if any(map(depends_on_time, steps.values())):
        await api.organization(CallTrace())
        steps = steps_of(store.archive, run_id, jobs, api.pacer.org_time(wall))
    return steps


def is_due(step: Step) -> bool:
    """Say whether an execution now would do anything about a job but wait."""
    return isinstance(step, Begin | Ask | Confirm)


def depends_on_time(step: Step) -> bool:
    """Say whether another clock could make it another step."""
    wait = step.waiting if isinstance(step, Finished) else step
    return is_due(step) or (isinstance(wait, Wait) and wait.until is not None)


def waits_in(steps: Mapping[str, Step]) -> dict[str, Wait]:
    """Return what each job waits for, by its name."""
    waits: dict[str, Wait] = {}
    for job, step in steps.items():
        wait = step.waiting if isinstance(step, Finished) else step
        if isinstance(wait, Wait):
            waits[job] = wait
    return waits


def steps_of(
    archive: Archive, run_id: str, jobs: Sequence[ResolvedJob], now: datetime
) -> dict[str, Step]:
    """Return the next step of every job that rolls out, by its name."""
    settings = {job.name: job.settings for job in jobs}
    standing = standings(lambda kind: archive.events(run_id, kind=kind))
    steps: dict[str, Step] = {}
    for job in archive.jobs(run_id):
        wanted = settings.get(job.name, STAGE_ONLY)
        if wanted.rollout is not None:
            steps[job.name] = next_step(
                archive.waves(run_id, job.position),
                wanted.rollout,
                standing.get(job.position, Standing()),
                now,
                staging_is_over=True,
                confirms=wanted.confirms,
            )
    return steps
