"""From the words of a plan to what the engine takes beside keys and targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.model import Resource
from orchestrator.plan.activate import rollout_of
from orchestrator.plan.commands import command_of
from orchestrator.plan.job import JobSpec
from orchestrator.plan.schema import Plan
from orchestrator.rollout import HookCommand, HookMoment, JobSettings


def job_settings(job: JobSpec, folder: Path) -> JobSettings:
    """Return how a job is to be done; commands start from `folder`.

    The System Log has no events for signing keys of identity providers, so nothing is held
    against it for those.
    """
    return JobSettings(
        rollout=None if job.activate is None else rollout_of(job.activate, folder),
        verify=job.verify,
        allow_oidc=job.allow_oidc,
        cross_check=job.cross_check and job.resource is Resource.APP,
    )


def hook_commands(plan: Plan) -> Mapping[HookMoment, tuple[HookCommand, ...]]:
    """Return the hooks of a plan by their moment, each in the order of the plan."""
    found: dict[HookMoment, tuple[HookCommand, ...]] = {}
    for hook in plan.hooks:
        found[hook.on] = (*found.get(hook.on, ()), command_of(hook, plan.folder))
    return found
