"""The commands about the orgs that this user works with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.arguments import Config, Profile, Sandbox, StateDir, Verbose
from orchestrator.cli.logs import start_logging

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


@commands.command()
def orgs(
    *,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> int:
    """List the profiles, and say whether their tokens are found. Calls nobody."""
    from orchestrator.cli.profiles import show_profiles

    return show_profiles(config, as_json=as_json)


@commands.command()
def doctor(
    plan: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="Look for what this plan needs.")
    ] = None,
    *,
    profile: Profile = None,
    config: Config = None,
    sandbox: Sandbox = False,
    state: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
    verbose: Verbose = False,
) -> int:
    """Say whether a run could begin, and what is missing. Never writes to the org."""
    from orchestrator.cli.doctor import DoctorOptions, show_diagnosis

    start_logging(verbose=verbose)
    return show_diagnosis(
        DoctorOptions(
            plan=plan,
            profile=profile,
            config=config,
            sandbox=sandbox,
            state=state,
            as_json=as_json,
        )
    )
