"""The composition root: settings in, adapters out. The only place that reads the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

from orchestrator.clock import Clock
from orchestrator.engine.context import HookRunner
from orchestrator.engine.result import RunSettings
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import ConfigError, FaultScriptError, UsageError
from orchestrator.events import Observer
from orchestrator.halt import Halt
from orchestrator.holders import MOST_SHARING
from orchestrator.hooks import HookRun, run_hook
from orchestrator.model import AppId, Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.auth import authorizer_for
from orchestrator.okta.credentials import ApiToken, Credential
from orchestrator.okta.http import Timeouts, Transport, open_session
from orchestrator.okta.network import Network
from orchestrator.okta.pacer import Pacer
from orchestrator.okta.retry import RetryPolicy
from orchestrator.plan.org_url import check_org_url, is_same_org
from orchestrator.plan.profiles import Profiles, load_profiles, profiles_path
from orchestrator.plan.schema import InlineOrg, Plan
from orchestrator.report.formats import packs_name
from orchestrator.report.handoff import PackWriter
from orchestrator.rollout import HookCommand
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret, resolve_reference

URL_VARIABLE = "OKTA_CLIENT_ORGURL"
TOKEN_VARIABLE = "OKTA_CLIENT_TOKEN"  # noqa: S105 - the name of a variable
CONNECT_VARIABLE = "OKTA_CLIENT_CONNECTIONTIMEOUT"
REQUEST_VARIABLE = "OKTA_CLIENT_REQUESTTIMEOUT"
LASTING = timedelta(days=3652)  # of the keys that a plan names, in a sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgAccess:
    """Which org, the credential for it, the way to it, and what its profiles say about it."""

    url: str
    credential: Credential
    network: Network = field(default_factory=Network)
    profile: str | None = None  # by which the org was named
    protected: frozenset[AppId] = frozenset()  # no run touches these
    most_sharing: int = MOST_SHARING  # apps with one key, without a warning


def org_access(
    plan: Plan | None,
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    config: Path | None = None,
) -> OrgAccess:
    """Return where the org is: by `--profile`, else the plan, else the Okta SDKs' variables.

    What any profile of the org protects is protected, however the org was named.

    Raises:
        ConfigError: the URL or the token is named nowhere, or one of them cannot be used.
        PlanError: the configuration file is wrong.
        UsageError: the plan is for another org than `profile` names.
    """
    profiles = load_profiles(profiles_path(config, environ))
    org = plan.org if plan else None
    inline = org if isinstance(org, InlineOrg) else InlineOrg()
    name = org if isinstance(org, str) else None
    if profile is not None:
        refuse_other_org(org, profile, profiles)
        name = profile
    chosen = profiles.named(name) if name is not None else None
    url = chosen.url if chosen else inline.url or url_of_environment(environ)
    reference = token_reference(chosen.auth.token if chosen else None, inline.auth.token)
    known = profiles.of_org(url)
    least = min((each.most_sharing for each in known.values()), default=MOST_SHARING)
    return OrgAccess(
        url=url,
        credential=ApiToken(token=resolve_reference(reference, environ)),
        profile=name,
        protected=frozenset(app for each in known.values() for app in each.protected),
        most_sharing=chosen.most_sharing if chosen else least,
    )


def refuse_other_org(org: InlineOrg | str | None, profile: str, profiles: Profiles) -> None:
    """Refuse to run a plan of one org on another. Two profiles may be of the same org.

    Raises:
        ConfigError: there is no such profile.
        UsageError: the plan names another org.
    """
    url = profiles.named(profile).url
    if isinstance(org, str):
        planned = profiles.by_name.get(org)
        planned_url, shown = planned.url if planned else "", f"the profile {org}"
    elif org is not None and org.url is not None:
        planned_url = shown = org.url
    else:
        return
    if not is_same_org(planned_url, url):
        raise UsageError(
            f"the plan is for {shown}, and --profile {profile} is {url}",
            hint="leave --profile out, or take the plan of that org",
        )


def token_reference(*given: str | None) -> str:
    """Return the first reference that is given, else that of the Okta SDKs' variable."""
    return next(filter(None, given), f"env:{TOKEN_VARIABLE}")


def url_of_environment(environ: Mapping[str, str]) -> str:
    """Return the org's address from the Okta SDKs' variable.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    url = environ.get(URL_VARIABLE, "").strip()
    if not url:
        raise ConfigError(
            "which org? The plan names none, and neither does the environment",
            hint=f"name a profile with --profile, or export {URL_VARIABLE}="
            "https://your-org.okta.com, or try it with --sandbox",
        )
    problem = check_org_url(url)
    if problem:
        raise ConfigError(f"the org URL cannot be used: {problem}")
    return url.removesuffix("/")


def timeouts(environ: Mapping[str, str]) -> Timeouts:
    """Return the bounds of one attempt; the Okta SDKs' variables (seconds) override ours."""
    standard = Timeouts()
    read = seconds(environ, REQUEST_VARIABLE, standard.read)
    connect = seconds(environ, CONNECT_VARIABLE, standard.connect)
    return Timeouts(connect=connect, read=read, whole=4 * read)


def seconds(environ: Mapping[str, str], name: str, standard: float) -> float:
    text = environ.get(name, "").strip()
    try:
        value = float(text) if text else standard
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise ConfigError(f"{name} is not a number of seconds above 0", hint=f"{name}=30")
    return value


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
    async with open_session(bounds, access.network) as session:
        pacer = Pacer(clock=clock, halt=halt, capacity=capacity, random=random, observer=observer)
        yield OktaApi(
            Transport(
                session,
                url=access.url,
                auth=authorizer_for(access.credential),
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

    def run(command: HookCommand, context: Mapping[str, object]) -> Awaitable[HookRun]:
        return run_hook(command, context, environ=environ, clock=clock, cwd=folder)

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
    jobs: Sequence[ResolvedJob], faults: FaultScript, *, org: SandboxOrg | None = None
) -> AsyncIterator[OrgAccess]:
    """Serve a sandbox in which the plan's apps and keys exist, or the given `org` as it is."""
    if org is None:
        org = SandboxOrg()
        seed_apps(org, jobs)
    async with serve(org, limits=LimitSettings(), faults=faults) as served:
        yield OrgAccess(url=served.url, credential=ApiToken(token=Secret(org.token)))


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
