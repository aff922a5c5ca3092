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
from orchestrator.cli.wiring import token_reference
from orchestrator.errors import ConfigError, ExitCode
from orchestrator.plan.files import is_missing
from orchestrator.plan.profiles import EXAMPLE, Profile, load_profiles, profiles_path
from orchestrator.secret import resolve_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLine:
    """What is said of a profile: never the token, only where it is looked for."""

    name: str
    url: str
    token: str  # a reference
    token_found: bool
    protected: int  # apps and identity providers
    most_sharing: int


def show_profiles(config: Path | None, *, as_json: bool) -> ExitCode:
    """List the profiles in the order of their file, and say which file that is.

    Raises:
        ConfigError: the file that is named does not exist.
        PlanError: it is wrong.
    """
    profiles = load_profiles(profiles_path(config, os.environ))
    lines = [line_of(name, each, os.environ) for name, each in profiles.by_name.items()]
    if as_json:
        found = {"file": str(profiles.file), "profiles": [asdict(line) for line in lines]}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return ExitCode.DONE
    console = Console(stderr=True, highlight=False)
    file = escape(str(profiles.file))
    if lines:
        console.print(table_of(lines))
        console.print(f"from {file}", soft_wrap=True)
    else:
        why = f"there is no {file}" if is_missing(profiles.file) else f"{file} has none"
        console.print(f"no profiles yet: {why}", soft_wrap=True)
        console.print(f"  hint: write there {escape(EXAMPLE)}", soft_wrap=True)
    return ExitCode.DONE


def line_of(name: str, profile: Profile, environ: Mapping[str, str]) -> ProfileLine:
    reference = token_reference(profile.auth.token)
    return ProfileLine(
        name=name,
        url=profile.url,
        token=reference,
        token_found=resolves(reference, environ),
        protected=len(profile.protected),
        most_sharing=profile.most_sharing,
    )


def resolves(reference: str, environ: Mapping[str, str]) -> bool:
    """Say whether a secret is where its reference points to."""
    try:
        resolve_reference(reference, environ)
    except ConfigError:
        return False
    return True


def table_of(lines: Sequence[ProfileLine]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("profile", "url", "token", "protected"):
        table.add_column(name, no_wrap=name == "profile", overflow="fold")
    for line in lines:
        found = "[green]found[/]" if line.token_found else "[red]not set[/]"
        token = f"{escape(line.token)} {found}"
        table.add_row(escape(line.name), escape(line.url), token, str(line.protected))
    return table
