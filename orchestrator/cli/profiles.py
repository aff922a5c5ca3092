"""Show the profiles of the configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.cli.render import escape
from orchestrator.errors import ConfigError, ExitCode, InputError
from orchestrator.plan.auth import BearerAuth, ServiceAppAuth, TokenAuth, references_of
from orchestrator.plan.files import is_missing
from orchestrator.plan.profiles import EXAMPLE, Profile
from orchestrator.plan.references import ReferenceKind, SecretReference, variable_reference
from orchestrator.settings.access import OrgSettings, org_settings
from orchestrator.settings.environment import TOKEN_VARIABLE
from orchestrator.settings.known_profiles import known_profiles
from orchestrator.settings.secrets import resolve
from orchestrator.settings.sources import GivenCredential, GivenProxy, ProxySaid


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLine:
    """What is said of a secret: where it is looked for, and whether it is there."""

    reference: str
    found: bool | None  # None: not tried
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLine:
    """What is said of a profile: never a secret, only where it is looked for."""

    name: str
    url: str
    credential: str  # its kind
    token: str  # the reference of the first secret
    token_found: bool | None  # all of them; None: some were not tried
    secrets: tuple[SecretLine, ...]
    problem: str | None
    proxy: str | None
    protected: int  # apps and identity providers
    most_sharing: int


def show_profiles(config: Path | None, *, as_json: bool) -> ExitCode:
    """List the profiles in the order of their file, and say which file that is.

    Raises:
        ConfigError: the file that is named does not exist.
        PlanError: it is wrong.
    """
    known = known_profiles(os.environ, config=config)
    profiles = known.own
    lines = [
        line_of(name, org_settings(None, os.environ, profile=name, known=known), each)
        for name, each in profiles.by_name.items()
    ]
    if as_json:
        listed = [asdict(line) for line in lines]
        found = {"file": str(profiles.file), "default": profiles.default, "profiles": listed}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return ExitCode.DONE
    console = Console(stderr=True, highlight=False)
    file = escape(str(profiles.file))
    if lines:
        console.print(table_of(lines))
        for line in lines:
            for text in problems_of(line):
                console.print(f"{escape(line.name)}: {escape(text)}", soft_wrap=True)
        console.print(f"from {file}", soft_wrap=True)
    else:
        why = f"there is no {file}" if is_missing(profiles.file) else f"{file} has none"
        console.print(f"no profiles yet: {why}", soft_wrap=True)
        console.print(f"  hint: write there {escape(EXAMPLE)}", soft_wrap=True)
    return ExitCode.DONE


def line_of(name: str, settings: OrgSettings, profile: Profile) -> ProfileLine:
    """Say what a profile comes to, with all that other sources add to it."""
    said = settings.credential
    given = said if isinstance(said, GivenCredential) else None
    problem = said.message if isinstance(said, InputError) else None
    secrets = secrets_of(given, settings.proxy)
    if given is None and problem is None:
        reference = variable_reference(TOKEN_VARIABLE)
        secrets = [(reference, Path()), *secrets]
    lines = tuple(secret_line(each, settings.environ, folder) for each, folder in secrets)
    known = [line.found for line in lines]
    return ProfileLine(
        name=name,
        url=profile.url,
        credential=given.kind if given else "API token",
        token=lines[0].reference if lines else given.source if given else "",
        token_found=False if False in known or problem else None if None in known else True,
        secrets=lines,
        problem=problem,
        proxy=settings.proxy.url if isinstance(settings.proxy, GivenProxy) else None,
        protected=len(profile.protected),
        most_sharing=profile.most_sharing,
    )


def secrets_of(
    credential: GivenCredential | None, proxy: ProxySaid
) -> list[tuple[SecretReference, Path]]:
    """Return the references that must resolve before the org can be called."""
    found: list[tuple[SecretReference, Path]] = []
    if credential is not None and isinstance(
        credential.what, (TokenAuth, BearerAuth, ServiceAppAuth)
    ):
        found += [(each, credential.folder) for each in references_of(credential.what)]
    if isinstance(proxy, GivenProxy) and isinstance(proxy.password, SecretReference):
        found.append((proxy.password, proxy.folder))
    return found


def secret_line(reference: SecretReference, environ: Mapping[str, str], folder: Path) -> SecretLine:
    """Say whether a secret is where its reference points to. No command is run for that."""
    if reference.kind is ReferenceKind.CMD:
        return SecretLine(reference=str(reference), found=None)
    try:
        resolve(reference, environ=environ, folder=folder)
    except ConfigError as error:
        return SecretLine(reference=str(reference), found=False, problem=error.message)
    return SecretLine(reference=str(reference), found=True)


def table_of(lines: Sequence[ProfileLine]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("profile", "url", "credential", "protected"):
        table.add_column(name, no_wrap=name == "profile", overflow="fold")
    for line in lines:
        told = [escape(line.credential), *map(found_text, line.secrets)]
        if line.problem:
            told.append("[red]not usable[/]")
        elif not line.secrets:
            told.append(escape(line.token))
        credential = " ".join(told)
        table.add_row(escape(line.name), escape(line.url), credential, str(line.protected))
    return table


def found_text(line: SecretLine) -> str:
    if line.found is None:
        return f"{escape(line.reference)} [yellow]not tried[/]"
    if line.found:
        return f"{escape(line.reference)} [green]found[/]"
    word = "not set" if line.reference.startswith("env:") else "not usable"
    return f"{escape(line.reference)} [red]{word}[/]"


def problems_of(line: ProfileLine) -> list[str]:
    """Return what is wrong with a profile, beyond a variable that is not set."""
    found = [each.problem for each in line.secrets if not each.reference.startswith("env:")]
    return [text for text in (line.problem, *found) if text]
