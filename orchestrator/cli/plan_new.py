"""The command that writes a plan from what an org looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.arguments import Config, Profile, Quiet, StateDir, Verbose
from orchestrator.cli.inventory import (
    Label,
    ResourceChoice,
    Sha1,
    Shared,
    SigningWith,
    Status,
    Within,
    filters_of,
)
from orchestrator.cli.logs import start_logging

commands = typer.Typer(add_completion=False, rich_markup_mode=None)
plans = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Write plans from what an org looks like."
)
commands.add_typer(plans, name="plan")

PlanFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="Where to; stdout if not given, or `-`.")
]
Saved = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="A saved inventory, not the org; calls nobody."),
]
Years = Annotated[
    int | None,
    typer.Option(min=2, max=10, metavar="N", help="How long new keys are valid: 3 years."),
]
Managed = Annotated[
    Path | None,
    typer.Option("--terraform-state", metavar="FILE", help="Mark what this state manages."),
]
Kinds = Annotated[ResourceChoice, typer.Option(help="For what.")]
Pick = Annotated[bool, typer.Option("--pick", help="Pick from a list, on a terminal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Take all that matches; never ask.")]
AllowOidc = Annotated[
    bool, typer.Option("--allow-oidc", help="Also apps whose keys Okta rotates by itself.")
]
Source = Annotated[
    str | None,
    typer.Option(metavar="APP", help="Give all a key of this app: its id, or exact label."),
]
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Which key of it: a kid, active or newest; else a new one."),
]
Each = Annotated[bool, typer.Option("--each", help="A new key for each: nothing is shared.")]
Activates = Annotated[
    bool, typer.Option("--activate", help="Activate too, in waves; else that is a comment.")
]
BySelectors = Annotated[
    bool, typer.Option("--selectors", help="Write selectors, where they say the same as ids.")
]
Named = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the plan; from the day if not given.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


@plans.callback()
def group() -> None:
    """Keep `new` a command of its own, though it is the only one."""


@plans.command("new")
def new(
    file: PlanFile = None,
    *,
    profile: Profile = None,
    config: Config = None,
    saved: Saved = None,
    resource: Kinds = ResourceChoice.all,
    expiring_within: Within = None,
    signing_with: SigningWith = None,
    label: Label = None,
    status: Status = None,
    shared: Shared = False,
    sha1: Sha1 = False,
    pick: Pick = False,
    yes: Yes = False,
    allow_oidc: AllowOidc = False,
    source: Source = None,
    key: Key = None,
    each: Each = False,
    validity_years: Years = None,
    activate: Activates = False,
    selectors: BySelectors = False,
    name: Named = None,
    terraform_state: Managed = None,
    force: Force = False,
    state: StateDir = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Write a commented plan that rotates what is chosen. Changes nothing in the org."""
    from orchestrator.cli.drafting import DraftOptions, write_draft

    start_logging(verbose=verbose)
    options = DraftOptions(
        file=None if file == Path("-") else file,
        profile=profile,
        config=config,
        saved=saved,
        resources=resource.resources,
        filters=filters_of(expiring_within, signing_with, label, status, shared=shared, sha1=sha1),
        picks=pick,
        takes_all=yes,
        allow_oidc=allow_oidc,
        source=source,
        key=key,
        each=each,
        validity_years=validity_years,
        activates=activate,
        by_selectors=selectors,
        name=name,
        terraform_state=terraform_state,
        force=force,
        state=state,
        quiet=quiet,
    )
    return write_draft(options)
