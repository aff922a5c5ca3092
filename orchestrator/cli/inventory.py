"""The commands that look at an org: what signs with which key until when, and what has changed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.arguments import (
    Config,
    DiffChoice,
    InventoryChoice,
    Quiet,
    Sandbox,
    StateDir,
    Verbose,
)
from orchestrator.cli.logs import start_logging
from orchestrator.inventory.filters import Filters, Order
from orchestrator.model import Kid, Resource

commands = typer.Typer(add_completion=False, rich_markup_mode=None)


class ResourceChoice(StrEnum):
    """Of what an inventory is."""

    app = "app"
    idp = "idp"
    all = "all"

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(Resource) if self is ResourceChoice.all else (Resource(self.value),)


Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", metavar="NAME", help="An org, by its profile; may be given again."),
]
AllProfiles = Annotated[bool, typer.Option("--all-profiles", help="Every org that has a profile.")]
Within = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only certificates that end within it, such as 60d."),
]
Sha1 = Annotated[bool, typer.Option("--sha1", help="Only certificates signed with SHA-1.")]
Shared = Annotated[bool, typer.Option("--shared", help="Only those that share their key.")]
Status = Annotated[
    str | None, typer.Option(metavar="STATUS", help="Only those of this status, such as ACTIVE.")
]
Label = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only those with this in their label.")
]
SigningWith = Annotated[
    str | None, typer.Option(metavar="KID", help="Only those that sign with this key.")
]
AllKeys = Annotated[
    bool,
    typer.Option("--all-keys", help="Also the keys that are held, and not used: a call per app."),
]
ListAll = Annotated[bool, typer.Option("--all", help="List also what signs with no key.")]
Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Save the whole inventory, for `diff`; of several orgs: a name with {profile} in it.",
    ),
]
Prometheus = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write metrics for a textfile collector (*.prom)."),
]
Saved = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Show a saved inventory; calls nobody."),
]
Matched = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 2 when anything is listed.")
]


def filters_of(
    expiring_within: str | None,
    signing_with: str | None,
    label: str | None,
    status: str | None,
    *,
    shared: bool,
    sha1: bool,
) -> Filters:
    """Return what the options ask of rows.

    Raises:
        UsageError: a duration is none.
    """
    from orchestrator.cli.durations import duration_of

    return Filters(
        expiring_within=duration_of(expiring_within, "--expiring-within"),
        sha1=sha1,
        shared=shared,
        status=status,
        label=label,
        signing_with=Kid(signing_with) if signing_with else None,
    )


@commands.command()
def inventory(
    *,
    profile: Profiles = None,
    all_profiles: AllProfiles = False,
    config: Config = None,
    resource: Annotated[ResourceChoice, typer.Option(help="Of what.")] = ResourceChoice.all,
    all_keys: AllKeys = False,
    expiring_within: Within = None,
    sha1: Sha1 = False,
    shared: Shared = False,
    status: Status = None,
    label: Label = None,
    signing_with: SigningWith = None,
    lists_all: ListAll = False,
    sort: Annotated[Order, typer.Option(help="By what rows are sorted.")] = Order.EXPIRY,
    output: Annotated[InventoryChoice, typer.Option(help="How.")] = InventoryChoice.text,
    save: Save = None,
    prometheus: Prometheus = None,
    saved: Saved = None,
    state: StateDir = None,
    sandbox: Sandbox = False,
    detailed_exitcode: Matched = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """List what signs with which key, until when, and who shares it. Changes nothing."""
    from orchestrator.cli.inventories import InventoryOptions, show_inventory

    start_logging(verbose=verbose)
    return show_inventory(
        InventoryOptions(
            profiles=tuple(dict.fromkeys(profile or ())),
            all_profiles=all_profiles,
            config=config,
            resources=resource.resources,
            all_keys=all_keys,
            filters=filters_of(
                expiring_within, signing_with, label, status, shared=shared, sha1=sha1
            ),
            lists_all=lists_all,
            order=sort,
            output=output,
            save=save,
            prometheus=prometheus,
            saved=saved,
            state=state,
            sandbox=sandbox,
            detailed=detailed_exitcode,
            quiet=quiet,
        )
    )


@commands.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A saved inventory.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="A later one of the same org.")],
    *,
    expiring_within: Annotated[
        str, typer.Option(metavar="TIME", help="Tell of certificates that end within it.")
    ] = "90d",
    across_orgs: Annotated[
        bool, typer.Option("--across-orgs", help="Compare also inventories of two orgs.")
    ] = False,
    output: Annotated[DiffChoice, typer.Option(help="How.")] = DiffChoice.text,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when anything has changed.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Say what has changed in an org between two saved inventories. Calls nobody."""
    from orchestrator.cli.drift import DriftOptions, show_drift
    from orchestrator.cli.durations import duration_of

    return show_drift(
        DriftOptions(
            old=old,
            new=new,
            within=duration_of(expiring_within, "--expiring-within"),
            across_orgs=across_orgs,
            output=output,
            detailed=detailed_exitcode,
            quiet=quiet,
        )
    )
