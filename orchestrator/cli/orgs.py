"""The command about the orgs that this user works with."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.arguments import Config

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
