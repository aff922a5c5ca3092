"""The composition root: settings in, adapters out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

from orchestrator.cli.lockdown import callers_umask
from orchestrator.clock import Clock
from orchestrator.engine.context import HookRunner
from orchestrator.engine.result import RunSettings
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import FaultScriptError
from orchestrator.events import Observer
from orchestrator.halt import Halt
from orchestrator.hooks import HookRun, run_hook
from orchestrator.model import Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.auth import authorizer_for
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts, Transport, open_session
from orchestrator.okta.pacer import Pacer
from orchestrator.okta.retry import RetryPolicy
from orchestrator.report.formats import packs_name
from orchestrator.report.handoff import PackWriter
from orchestrator.rollout import HookCommand
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess

# What opens the way to an org is taken from here by all who do.

LASTING = timedelta(days=3652)  # of the keys that a plan names, in a sandbox


@asynccontextmanager
async def open_api(
    access: OrgAccess,
    *,
    capacity: float,
    bounds: Timeouts,
    clock: Clock,
    halt: Halt,
    random: Random,
    observer: Observer,
    retry: RetryPolicy | None = None,
) -> AsyncIterator[OktaApi]:
    """Open the way to an org, and close its connections at the end."""
    secure = access.url.startswith("https:")
    async with open_session(bounds, access.network, secure=secure) as session:
        pacer = Pacer(clock=clock, halt=halt, capacity=capacity, random=random, observer=observer)
        yield OktaApi(
            Transport(
                session,
                url=access.url,
                auth=authorizer_for(access.credential, pacer=pacer, clock=clock),
                pacer=pacer,
                clock=clock,
                halt=halt,
                random=random,
                observer=observer,
                retry=retry or RetryPolicy(),
            )
        )


def hook_runner(environ: Mapping[str, str], folder: Path, clock: Clock) -> HookRunner:
    """Return what runs the commands of a plan, from the plan's folder."""
    umask = callers_umask()

    def run(command: HookCommand, context: Mapping[str, object]) -> Awaitable[HookRun]:
        return run_hook(command, context, environ=environ, clock=clock, cwd=folder, umask=umask)

    return run


def packs_for(folder: Path, settings: RunSettings) -> PackWriter:
    """Return where the hand-off packs of a run go: a folder beside its reports."""
    root = folder / packs_name(settings.plan, settings.run_id)
    return PackWriter(root, plan=settings.plan, run_id=settings.run_id, org=settings.org)


def read_faults(path: Path | None) -> FaultScript:
    """Read a fault script; none means a sandbox that behaves.

    Raises:
        FaultScriptError: the file cannot be read or is wrong.
    """
    if path is None:
        return FaultScript.of([])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FaultScriptError(f"{path}: the fault script cannot be read: {error}") from error
    return FaultScript.parse(text, file=str(path))


@asynccontextmanager
async def sandbox_for(
    jobs: Sequence[ResolvedJob],
    faults: FaultScript,
    *,
    org: SandboxOrg | None = None,
    bounds: Timeouts | None = None,
) -> AsyncIterator[OrgAccess]:
    """Serve a sandbox in which the plan's apps and keys exist, or the given `org` as it is."""
    if org is None:
        org = SandboxOrg()
        seed_apps(org, jobs)
    async with serve(org, limits=LimitSettings(), faults=faults) as served:
        yield OrgAccess(
            url=served.url,
            credential=ApiToken(token=Secret(org.token)),
            bounds=bounds or Timeouts(),
        )


def seed_apps(org: SandboxOrg, jobs: Sequence[ResolvedJob]) -> None:
    """Add the apps of a plan to a sandbox: every source with its key, every target without.

    A source that is not known, because each target makes its own key or the org is to be asked for
    it, is not added.
    """
    for job in jobs:
        source = job.key.app
        if source:
            add_holder(org, source, job.key.resource, label=f"Source of {job.name}")
        if source and job.key.is_known and not org.holds(source, job.key.kid):
            # It ends later than any that is in use, as a new key does.
            org.mint.order(job.key.kid, not_after=org.clock.wall() + LASTING)
            org.add_key(source, job.key.kid)
    for job in jobs:
        for target in job.stream():
            label = f"Sandbox {job.key.resource} {len(org.apps) + len(org.idps)}"
            add_holder(org, target.app, job.key.resource, label=label)


def add_holder(org: SandboxOrg, holder_id: str, resource: Resource, *, label: str) -> None:
    """Add an app, or an identity provider, unless the org has it."""
    if holder_id in org.apps or holder_id in org.idps:
        return
    if resource is Resource.APP:
        org.add_app(holder_id, label=label)
    else:
        org.add_idp(holder_id, name=label)
