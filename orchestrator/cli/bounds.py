"""From a plan's limits, and the command line, to what one execution may do."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil
from pathlib import Path

from orchestrator.engine.result import RunSettings
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import UsageError
from orchestrator.holders import MOST_SHARING
from orchestrator.model import AppId, RunId
from orchestrator.plan.schema import Limits, Plan
from orchestrator.plan.settings import hook_commands
from orchestrator.plan.targets import read_app_ids

AUTO_WORKERS = 10  # at 50 clones a minute one would do; a larger bucket is worth a few more


def workers_of(limits: Limits) -> int:
    """Return how many calls may be in flight at a time."""
    return AUTO_WORKERS if limits.workers == "auto" else limits.workers


def run_settings(
    plan: Plan,
    jobs: Sequence[ResolvedJob],
    *,
    run_id: RunId,
    org: str,
    pending: int,
    dry_run: bool = False,
    quick: bool = False,
    waits: bool = False,
    limit: int | None = None,
    managed: frozenset[AppId] = frozenset(),
    most_sharing: int = MOST_SHARING,
) -> RunSettings:
    """Turn the plan's limits into numbers for this set of targets."""
    limits = plan.limits
    targets = sum(job.size for job in jobs)
    rolls_out = any(job.settings.rollout is not None for job in jobs)
    return RunSettings(
        run_id=run_id,
        plan=plan.name,
        org=org,
        dry_run=dry_run,
        quick=quick,
        workers=max(1, min(workers_of(limits), targets if rolls_out else pending)),
        deadline_seconds=limits.deadline,
        max_targets=min(filter(None, (limits.max_targets, limit)), default=None),
        stop_after_failures=failure_budget(limits.stop_after_failures, targets),
        jobs={job.name: job.settings for job in jobs},
        hooks={} if dry_run else hook_commands(plan),
        waits=waits,
        managed=managed,
        most_sharing=most_sharing,
        handoff_metadata=plan.report.handoff == "metadata",
    )


def failure_budget(budget: float | None, targets: int) -> int | None:
    """Return the number of failures that stops a run; a share of the targets is rounded up."""
    if isinstance(budget, float):
        return max(1, ceil(budget * targets - 1e-9))
    return budget


def chosen_targets(given: str | None, jobs: Sequence[ResolvedJob]) -> frozenset[AppId] | None:
    """Read `--targets @FILE`: the targets of the plan that this execution is restricted to.

    Raises:
        UsageError: it names no file, or the file lists an app that is no target of the plan.
        PlanError: the file is wrong.
    """
    if given is None:
        return None
    return targets_in(given, {target.app for job in jobs for target in job.stream()}, "the plan")


def targets_in(given: str, planned: Collection[AppId], whose: str) -> frozenset[AppId]:
    """Read `--targets @FILE`; every app in it must be among those that are planned.

    Raises:
        UsageError: it names no file, or the file lists another app.
        PlanError: the file is wrong.
    """
    if not given.startswith("@"):
        raise UsageError("--targets takes a file: --targets @failed.csv")
    chosen = frozenset(read_app_ids(Path(given[1:])))
    strangers = sorted(chosen.difference(planned))
    if strangers:
        raise UsageError(
            f"{given[1:]} lists {len(strangers)} apps that are no targets of {whose}, "
            f"such as {strangers[0]}"
        )
    return chosen
