"""Ask all sources what they say of an org, in the order in which they decide: see `settings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.plan.auth import Auth, auth_of
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.profiles import Profile, Profiles
from orchestrator.plan.schema import InlineOrg, Plan
from orchestrator.settings.environment import from_environment, text_of
from orchestrator.settings.known_profiles import KnownProfiles
from orchestrator.settings.sdk_file import folder_source, home_source
from orchestrator.settings.sources import Given, GivenCredential, GivenProxy, Source


def refuse_other_org(org: InlineOrg | str | None, profile: str, known: KnownProfiles) -> None:
    """Refuse to run a plan of one org on another. Two profiles may be of the same org.

    Raises:
        ConfigError: there is no such profile.
        UsageError: the plan names another org.
    """
    url = known.named(profile)[0].url
    if isinstance(org, str):
        planned = known.find(org)
        planned_url, shown = planned[0].url if planned else "", f"the profile {org}"
    elif org is not None and org.url is not None:
        planned_url = shown = org.url
    else:
        return
    if not is_same_org(planned_url, url):
        raise UsageError(
            f"the plan is for {shown}, and --profile {profile} is {url}",
            hint="leave --profile out, or take the plan of that org",
        )


def sources_of(
    plan: Plan | None,
    environ: Mapping[str, str],
    profile: str | None,
    known: KnownProfiles,
    folder: Path,
) -> list[Source]:
    """Return all sources, the one that decides first."""
    org = plan.org if plan else None
    name = profile if profile is not None else org if isinstance(org, str) else None
    home = text_of(environ, "HOME")
    named = known.named(name) if name is not None else None
    given: list[Source | None] = [
        profile_source(name, *named) if name is not None and named else None,
        plan_source(plan, org) if plan and isinstance(org, InlineOrg) else None,
        *from_environment(environ, folder),
        default_source(known, known.files if known.is_first else (known.project,)),
        folder_source(folder),
        None if known.is_first else default_source(known, (known.own,)),
        home_source(Path(home) if home else None),
    ]
    return [each for each in given if each is not None]


def profile_source(name: str, profile: Profile, file: Profiles) -> Source:
    """Return what a profile says."""
    what = f"profile {name} in {shown(file.file)}"
    way, proxy = profile.way, None
    if way.proxy is not None:
        proxy = GivenProxy(
            url=way.proxy,
            user=way.proxy_user,
            password=way.proxy_password,
            folder=profile.folder,
            source=what,
        )
    return Source(
        name=what,
        url=Given(value=profile.url, source=what),
        credential=given_auth(profile.auth, profile.folder, what),
        proxy=proxy,
        ca_file=given_path(way.ca_file, what),
        client_cert=given_path(way.client_cert, what),
        client_key=given_path(way.client_key, what),
        profile=name,
    )


def given_auth(auth: Auth, folder: Path, source: str) -> GivenCredential | None:
    references = auth_of(auth)
    if references is None:
        return None
    return GivenCredential(what=references, folder=folder, source=source)


def given_path(path: Path | None, source: str) -> Given[Path] | None:
    return Given(value=path, source=source) if path is not None else None


def plan_source(plan: Plan, org: InlineOrg) -> Source:
    """Return what a plan says that names its org by the address, or only the credential for it."""
    what = f"the plan {plan.origin.file}"
    return Source(
        name=what,
        url=Given(value=org.url, source=what) if org.url is not None else None,
        credential=given_auth(org.auth, plan.folder, what),
        insists=True,
    )


def default_source(known: KnownProfiles, files: Sequence[Profiles | None]) -> Source | None:
    """Return the default profile of the first of these files that has one."""
    for file in files:
        if file is not None and file.default is not None:
            return profile_source(file.default, *known.named(file.default))
    return None


def shown(path: Path) -> str:
    """Return a path as people write it."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
