"""Find a run that a command is given, with its plan and the way to its org."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cli.opening import this_session
from orchestrator.clock import Clock
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import ConfigError, InputError, UsageError
from orchestrator.plan.load import load_plan
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import resolve
from orchestrator.settings.access import OrgAccess, org_access
from orchestrator.settings.environment import URL_VARIABLE
from orchestrator.settings.known_profiles import known_profiles
from orchestrator.store.base import Archive, JobRecord, RunRecord
from orchestrator.store.lock import RunLock, state_folder
from orchestrator.store.sqlite import FILE_NAME, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The plan of a run as its file is now."""

    path: Path
    plan: Plan
    jobs: Sequence[ResolvedJob]


def existing_store(state: Path | None, clock: Clock) -> Store:
    """Open the store to read and to note. One that is not there yet has no runs; it is not made."""
    path = state_folder(state, os.environ) / FILE_NAME
    return Store.open(path, clock=clock) if path.exists() else Store.memory(clock=clock)


@asynccontextmanager
async def locked_run(
    store: Store, record: RunRecord, state: Path | None, patience_seconds: float
) -> AsyncIterator[None]:
    """Hold the lock of a run's plan and org while the block works on it.

    Raises:
        LockHeld: another process does.
    """
    folder = state_folder(state, os.environ)
    lock = RunLock(folder, record.plan, record.org, session=this_session(), clock=store.clock)
    await lock.take(patience_seconds=patience_seconds)
    try:
        yield
    finally:
        lock.free()


def plan_of(archive: Archive, record: RunRecord) -> RunPlan:
    """Load the plan that a run was begun with, from where it was then.

    Raises:
        InputError: it is not there any more, or is another one, or is wrong.
    """
    text = archive.plan_file(record.run_id)
    if not text:
        raise UsageError("the run does not say where its plan is", hint="run the plan again")
    path = Path(text)
    plan = load_plan(path)
    if plan.name != record.plan:
        raise UsageError(f"{path} is now the plan {plan.name}, not {record.plan}")
    return RunPlan(path=path, plan=plan, jobs=resolve(plan))


def plan_if_there(archive: Archive, record: RunRecord) -> RunPlan | None:
    """Load the plan of a run if it can still be loaded."""
    try:
        return plan_of(archive, record)
    except InputError:
        return None


def access_to(record: RunRecord, found: RunPlan | None) -> OrgAccess:
    """Return the way to a run's org: by its plan, by the environment, or by a profile of that org.

    Raises:
        ConfigError: there is none, or it leads to another org.
        PlanError: the configuration file is wrong.
    """
    plan = found.plan if found else None
    profile = None
    if plan is None or plan.org is None:
        profile = profile_of(record.org, plan)
    access = org_access(plan, os.environ, profile=profile)
    if access.url != record.org:
        raise ConfigError(
            f"the run is of {record.org}, but the settings lead to {access.url}",
            hint=f"export {URL_VARIABLE}={record.org}",
        )
    return access


def profile_of(org: str, plan: Plan | None) -> str | None:
    """Return a profile by which an org can be reached, unless the environment leads there."""
    if is_same_org(os.environ.get(URL_VARIABLE, ""), org):
        return None
    return known_profiles(os.environ, plan=plan).name_for(org)


def job_named(jobs: Sequence[JobRecord], name: str) -> JobRecord:
    """Return the job of that name.

    Raises:
        UsageError: the run has none.
    """
    for job in jobs:
        if job.name == name:
            return job
    names = ", ".join(job.name for job in jobs)
    raise UsageError(f"the run has no job {name!r}", hint=f"its jobs are: {names}")
