"""Take inventories of one org or several, and show, save and publish them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

import anyio
from rich.console import Console

from orchestrator.cli.arguments import InventoryChoice
from orchestrator.cli.listing import table_lines
from orchestrator.cli.render import escape, print_note
from orchestrator.cli.showcase import showcase_org
from orchestrator.cli.watching import Watch
from orchestrator.cli.wiring import open_api, read_faults, sandbox_for
from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError, ExitCode, OrchestratorError, StateError, UsageError
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.inventory.filters import Filters, Listed, Order, listing
from orchestrator.inventory.formats import json_pieces, name_of, write_csv
from orchestrator.inventory.record import Inventory
from orchestrator.inventory.saved import read_inventory, write_inventory
from orchestrator.inventory.take import id_of_org, take_inventory
from orchestrator.inventory.totals import counted, told, totals_of
from orchestrator.model import Resource
from orchestrator.plan.profiles import own_profiles
from orchestrator.plan.schema import Limits
from orchestrator.scrubbing import scrub
from orchestrator.settings.access import OrgAccess, org_access
from orchestrator.settings.environment import timeouts
from orchestrator.settings.known_profiles import KnownProfiles, known_profiles
from orchestrator.settings.secret_commands import aside
from orchestrator.store.lock import state_folder
from orchestrator.store.sqlite import FILE_NAME, Store

PLACE = "{profile}"  # in the name of a file to save to


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryOptions:
    """The command line of `inventory`."""

    profiles: tuple[str, ...] = ()
    all_profiles: bool = False
    config: Path | None = None
    resources: tuple[Resource, ...] = tuple(Resource)
    all_keys: bool = False
    filters: Filters = field(default=Filters())
    lists_all: bool = False
    order: Order = Order.EXPIRY
    output: InventoryChoice = InventoryChoice.text
    save: Path | None = None
    prometheus: Path | None = None
    saved: Path | None = None
    state: Path | None = None
    sandbox: bool = False
    detailed: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What has come of looking at one org."""

    profile: str | None
    inventory: Inventory | None = None
    calls: int | None = None  # None: it was not looked at now
    problem: OrchestratorError | None = None


def show_inventory(options: InventoryOptions) -> ExitCode:
    """Look at the orgs, and tell what is asked for.

    Raises:
        OrchestratorError: the only org could not be looked at, or a file not be written.
    """
    check_options(options)
    console = Console(stderr=True, highlight=False)
    if options.saved is not None:
        inventory = restricted(read_inventory(options.saved), options.resources)
        taken = [Taken(profile=inventory.profile, inventory=inventory)]
    else:
        names = profiles_of(options)
        check_save(options, names)
        taken = anyio.run(take_all, options, names, console)
    if len(taken) == 1 and taken[0].problem is not None:
        raise taken[0].problem
    return tell(options, taken, console)


def check_options(options: InventoryOptions) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: two of them do not.
    """
    named = bool(options.profiles) or options.all_profiles
    if options.profiles and options.all_profiles:
        raise UsageError("--profile does not go with --all-profiles")
    if options.sandbox and named:
        raise UsageError("--sandbox does not go with a profile")
    if options.saved is not None and (named or options.sandbox):
        raise UsageError("--from shows a saved inventory: it does not go with an org")
    if options.saved is not None and (options.all_keys or options.save):
        raise UsageError("--from shows what was saved: it does not go with --all-keys or --save")


def profiles_of(options: InventoryOptions) -> list[str | None]:
    """Return the profiles to look at; None stands for the org that the environment names.

    Raises:
        ConfigError: all are asked for, and there are none.
        PlanError: the configuration is wrong.
    """
    if not options.all_profiles:
        return list(options.profiles) or [None]
    profiles = own_profiles(options.config, os.environ)
    if not profiles.by_name:
        raise ConfigError("there are no profiles", hint="okta-keys orgs says where they are kept")
    return list(profiles.by_name)


def check_save(options: InventoryOptions, names: Sequence[str | None]) -> None:
    """Refuse to save several inventories into one file.

    Raises:
        UsageError: it would be done.
    """
    if options.save is not None and len(names) > 1 and PLACE not in str(options.save):
        raise UsageError(
            "the inventories of several orgs do not go into one file",
            hint=f"--save inventory-{PLACE}.json writes one for each",
        )


def restricted(inventory: Inventory, resources: Sequence[Resource]) -> Inventory:
    """Return an inventory of only some kinds of holders."""
    return replace(
        inventory,
        resources=tuple(each for each in inventory.resources if each in resources),
        holders=tuple(each for each in inventory.holders if each.resource in resources),
    )


async def take_all(
    options: InventoryOptions, names: Sequence[str | None], console: Console
) -> list[Taken]:
    """Look at all orgs at once: each has rate limits of its own, and none waits for another."""
    taken: dict[int, Taken] = {}
    known = None if options.sandbox else known_profiles(os.environ, config=options.config)
    watch = Watch(console, quiet=options.quiet)
    with open_store(options, console) as store, watch.progress:

        async def take(number: int, name: str | None) -> None:
            taken[number] = await take_one(options, name, known, store, watch)

        async with anyio.create_task_group() as group:
            for number, name in enumerate(names):
                group.start_soon(take, number, name, name=f"inventory of {name}")
    return [taken[number] for number in range(len(names))]


def open_store(options: InventoryOptions, console: Console) -> Store:
    """Open what remembers certificates; an inventory can do without, at the cost of more calls."""
    clock = SystemClock()
    if options.sandbox:
        return Store.memory(clock=clock)
    try:
        return Store.open(state_folder(options.state, os.environ) / FILE_NAME, clock=clock)
    except StateError as error:
        print_note(console, f"certificates are not remembered: {error.message}")
        return Store.memory(clock=clock)


async def take_one(
    options: InventoryOptions,
    name: str | None,
    known: KnownProfiles | None,
    store: Store,
    watch: Watch,
) -> Taken:
    """Look at one org. What goes wrong there is no reason to leave out the others."""
    clock, observer = SystemClock(), watch.of(name)
    try:
        async with (
            org_for(options, name, known) as access,
            open_api(
                access,
                capacity=Limits().capacity,
                bounds=access.bounds,
                clock=clock,
                halt=Halt(),
                random=Random(),  # noqa: S311 - jitter, no secrets
                observer=Broadcast([observer]),
            ) as api,
        ):
            org_id = await id_of_org(api)
            inventory = await take_inventory(
                api,
                store.certificates(org_id or access.url),
                org=access.url,
                org_id=org_id,
                profile=access.profile,
                resources=options.resources,
                all_keys=options.all_keys,
                clock=clock,
                progress=observer.progress,
            )
            return Taken(profile=name, inventory=inventory, calls=api.transport.calls)
    except OrchestratorError as error:
        return Taken(profile=name, problem=error)


@asynccontextmanager
async def org_for(
    options: InventoryOptions, name: str | None, known: KnownProfiles | None
) -> AsyncIterator[OrgAccess]:
    """Find an org, or serve one."""
    if options.sandbox:
        bounds = timeouts(os.environ)
        async with sandbox_for((), read_faults(None), org=showcase_org(), bounds=bounds) as access:
            yield access
    else:
        find = partial(org_access, None, os.environ, profile=name, known=known)
        yield await aside(find)


def tell(options: InventoryOptions, taken: Sequence[Taken], console: Console) -> ExitCode:
    """Save, publish and print what was found, and return the exit code."""
    inventories = [each.inventory for each in taken if each.inventory is not None]
    listed = listing(inventories, options.filters, options.order, lists_all=options.lists_all)
    write_files(options, inventories)
    print_rows(options, inventories, listed, is_one=len(taken) == 1)
    for each in taken:
        print_summary(each, console, quiet=options.quiet)
    codes = [each.problem.exit_code for each in taken if each.problem is not None]
    if codes:
        return max(codes)
    return ExitCode.CHANGED if options.detailed and listed else ExitCode.DONE


def write_files(options: InventoryOptions, inventories: Sequence[Inventory]) -> None:
    """Write the files that are asked for; both are of whole inventories."""
    if options.save is not None:
        for each in inventories:
            name = each.profile or "org"
            write_inventory(Path(str(options.save).replace(PLACE, name)), each)
    if options.prometheus is not None:
        from orchestrator.inventory.prometheus import write_metrics

        write_metrics(options.prometheus, inventories)


def print_rows(
    options: InventoryOptions,
    inventories: Sequence[Inventory],
    listed: Sequence[Listed],
    *,
    is_one: bool,
) -> None:
    """Put the rows on stdout; where nothing is to be listed, a table has no head either."""
    match options.output:
        case InventoryChoice.json:
            sys.stdout.writelines(json_pieces(inventories, listed, is_one=is_one))
        case InventoryChoice.csv:
            write_csv(listed, sys.stdout)
        case InventoryChoice.text if listed:
            console = Console(highlight=False)
            for line in table_lines(listed, width=console.width, shows_org=not is_one):
                console.print(line, soft_wrap=True)


def print_summary(taken: Taken, console: Console, *, quiet: bool) -> None:
    """Say on stderr what an org has come to; a failure always, the rest unless quiet."""
    if taken.problem is not None:
        text = f"{taken.profile}: {scrub(taken.problem.diagnostics())}"
        console.print("\n".join(map(escape, text.splitlines())), style="red", soft_wrap=True)
    if taken.inventory is None or quiet:
        return
    inventory = taken.inventory
    at = f"{inventory.taken_at:%Y-%m-%d %H:%M} UTC"
    calls = f"as of {at}" if taken.calls is None else f"{counted(taken.calls, 'call', 'calls')}"
    text = f"{name_of(inventory)}: {told(totals_of(inventory))} ({calls})"
    console.print(escape(text), soft_wrap=True)
    for note in inventory.notes:
        print_note(console, note)
