"""Write a plan from an org as it is, or as it was saved: choose, draft, check, write."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from rich.console import Console

from orchestrator.cli.inventories import InventoryOptions, restricted, take_all
from orchestrator.cli.picker import pick
from orchestrator.cli.render import escape, print_note
from orchestrator.cli.terraform import managed_apps
from orchestrator.errors import ExitCode, UsageError
from orchestrator.inventory.draft import (
    VALIDITY_YEARS,
    Draft,
    Pickable,
    SourceWish,
    Wishes,
    drafted,
    named,
    pickable,
)
from orchestrator.inventory.draft_text import certificate_text, plan_text, title
from orchestrator.inventory.filters import Filters, expiry
from orchestrator.inventory.record import Inventory, Row
from orchestrator.inventory.saved import read_inventory
from orchestrator.inventory.totals import count_of, counted
from orchestrator.model import AppId, KeyKind, Kid, Resource
from orchestrator.plan.fields import name_pattern
from orchestrator.plan.keys import KID
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.profiles import Profiles, own_profiles
from orchestrator.writing import write_pieces

MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOptions:
    """The command line of `plan new`."""

    file: Path | None = None  # None: stdout
    profile: str | None = None
    config: Path | None = None
    saved: Path | None = None
    resources: tuple[Resource, ...] = tuple(Resource)
    filters: Filters = field(default=Filters())
    picks: bool = False
    takes_all: bool = False
    allow_oidc: bool = False
    source: str | None = None
    key: str | None = None
    each: bool = False
    validity_years: int | None = None
    activates: bool = False
    by_selectors: bool = False
    name: str | None = None
    terraform_state: Path | None = None
    force: bool = False
    state: Path | None = None
    quiet: bool = False

    @property
    def asks(self) -> bool:
        """Say whether somebody is to pick: they say so, or filter nothing, on a terminal."""
        is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
        return self.picks or (is_terminal and not self.takes_all and self.filters == Filters())


def write_draft(options: DraftOptions) -> ExitCode:
    """Write the plan, and say how to go on. The org is only read.

    Raises:
        UsageError: options do not go together, the file exists, or nothing is picked.
        OrchestratorError: the org cannot be looked at, or a file not be read or written.
    """
    check_options(options)
    managed = managed_apps(options.terraform_state)
    profiles = own_profiles(options.config, os.environ)
    console = Console(stderr=True, highlight=False)
    inventory = inventory_for(options, profiles, console)
    draft = draft_for(options, inventory, wishes_of(options, inventory, profiles, managed))
    file = str(options.file or "PLAN")
    text = plan_text(draft, file=file)
    load_plan_text(text.encode(), file=file, folder=Path())  # a saved inventory may be anything
    if options.file is None:
        sys.stdout.write(text)
    else:
        write_pieces(options.file, [text])
    if not options.quiet:
        tell(draft, options, console)
    return ExitCode.DONE


def check_options(options: DraftOptions) -> None:
    """Refuse options that cannot be used, before anything is read or called.

    Raises:
        UsageError: there is one.
    """
    if options.each and options.source is not None:
        raise UsageError("--each does not go with --source: each gets a key of its own")
    if options.key is not None and options.source is None:
        raise UsageError("--key goes with --source: whose key is it?")
    if options.key is not None and options.validity_years is not None:
        raise UsageError("--validity-years is for new keys: it does not go with --key")
    if options.key not in (None, "active", "newest") and not re.fullmatch(KID, options.key or ""):
        raise UsageError("--key is neither a kid, nor active, nor newest")
    if options.name is not None and not name_pattern.fullmatch(options.name):
        raise UsageError(
            f"{options.name!r} is no name of a plan",
            hint="1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    if options.picks and options.takes_all:
        raise UsageError("--pick does not go with --yes")
    if options.picks and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--pick needs a terminal", hint="choose with --label and the like")
    if options.file is not None and options.file.exists() and not options.force:
        raise UsageError(f"{options.file} exists already", hint="--force replaces it")


def inventory_for(options: DraftOptions, profiles: Profiles, console: Console) -> Inventory:
    """Read the saved inventory, or look at the org.

    Raises:
        UsageError: the profile is of another org than the saved inventory.
        OrchestratorError: it cannot be read, or the org cannot be looked at.
    """
    if options.saved is not None:
        saved = restricted(read_inventory(options.saved), options.resources)
        return replace(saved, profile=profile_for(saved, options.profile, profiles))
    asked = InventoryOptions(
        profiles=(options.profile,) if options.profile else (),
        config=options.config,
        resources=options.resources,
        state=options.state,
        quiet=options.quiet,
    )
    [taken] = anyio.run(take_all, asked, [options.profile], console)
    if taken.inventory is None:
        raise taken.problem or UsageError("the org could not be looked at")
    for note in taken.inventory.notes:
        print_note(console, note)
    return taken.inventory


def profile_for(saved: Inventory, asked: str | None, profiles: Profiles) -> str | None:
    """Return the profile for the org of a saved inventory; None if there is none any more.

    Raises:
        ConfigError: the profile that is asked for does not exist.
        UsageError: it is of another org.
    """
    if asked is not None:
        if not is_same_org(profiles.named(asked).url, saved.org):
            raise UsageError(f"the saved inventory is of {saved.org!r}, not of profile {asked}")
        return asked
    known = profiles.by_name.get(saved.profile or "")
    return saved.profile if known and is_same_org(known.url, saved.org) else None


def wishes_of(
    options: DraftOptions, inventory: Inventory, profiles: Profiles, managed: frozenset[AppId]
) -> Wishes:
    """Return what the options ask for, in the words of a draft."""
    known = profiles.of_org(inventory.org).values()
    return Wishes(
        name=options.name,
        source=None
        if options.source is None
        else source_of(options, named(inventory, options.source)),
        each=options.each,
        validity_years=options.validity_years or VALIDITY_YEARS,
        activates=options.activates,
        allow_oidc=options.allow_oidc,
        by_selectors=options.by_selectors,
        protected=frozenset(app for profile in known for app in profile.protected),
        managed=managed,
    )


def source_of(options: DraftOptions, row: Row) -> SourceWish:
    """Return whose key everything is to get, and which."""
    match options.key:
        case None:
            return SourceWish(row=row, kind=KeyKind.GENERATE)
        case "active" | "newest" as word:
            return SourceWish(row=row, kind=KeyKind(word))
        case kid:
            return SourceWish(row=row, kind=KeyKind.KID, kid=Kid(kid))


def draft_for(options: DraftOptions, inventory: Inventory, wishes: Wishes) -> Draft:
    """Return the plan for what is chosen, and asked for where somebody is to pick.

    Raises:
        UsageError: that is nothing.
    """
    found = pickable(inventory, options.filters, wishes, options.resources)
    rows, by_hand = found.rows, options.asks and bool(found.rows)
    if by_hand:
        rows = pick(rows)
        if not rows:
            raise UsageError("nothing was picked, so no plan is written")
    draft = drafted(
        inventory, rows, wishes, filters=options.filters, by_hand=by_hand, left=found.left
    )
    if draft.jobs:
        return draft
    everything = pickable(inventory, Filters(), wishes, options.resources)
    raise UsageError(
        "nothing that can be rotated matches, so no plan is written", hint=soonest(everything)
    )


def soonest(found: Pickable) -> str:
    """Say which certificates end first."""
    rows = sorted(found.rows, key=expiry)[:MOST_CANDIDATES]
    if not rows:
        return "okta-keys inventory --all lists what there is"
    some = "; ".join(f"{row.holder.id} {title(row)}, {certificate_text(row)}" for row in rows)
    return f"those that end first: {some}"


def tell(draft: Draft, options: DraftOptions, console: Console) -> None:
    """Say what the plan holds, and how to go on."""
    changed: dict[Resource, int] = {}
    for job in draft.jobs:
        changed[job.resource] = changed.get(job.resource, 0) + len(job.rows)
    what = " and ".join(count_of(number, resource) for resource, number in changed.items())
    where = f"{options.file}: " if options.file else ""
    left = sum(draft.left.values())
    more = f", {left} left out" if left else ""
    jobs = counted(len(draft.jobs), "job", "jobs")
    console.print(escape(f"{where}{jobs} for {what}{more}"), soft_wrap=True)
    if options.file:
        console.print(escape(f"  next: okta-keys preview {options.file}"), soft_wrap=True)
