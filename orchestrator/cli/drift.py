"""Compare two saved inventories of an org, and tell what has changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from orchestrator.cli.arguments import DiffChoice
from orchestrator.cli.listing import change_line
from orchestrator.cli.render import escape, print_note
from orchestrator.errors import ExitCode, UsageError
from orchestrator.holders import NOUNS
from orchestrator.inventory.compare import Change, compare, is_other_org
from orchestrator.inventory.record import Inventory
from orchestrator.inventory.saved import read_inventory
from orchestrator.inventory.totals import counted

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftOptions:
    """The command line of `diff`."""

    old: Path
    new: Path
    within: timedelta
    across_orgs: bool = False
    output: DiffChoice = DiffChoice.text
    detailed: bool = False
    quiet: bool = False


def show_drift(options: DriftOptions) -> ExitCode:
    """Say what has changed, and return the exit code.

    Raises:
        InputError: a file is no saved inventory.
        UsageError: they are of two orgs.
    """
    old, new = read_inventory(options.old), read_inventory(options.new)
    if is_other_org(old, new) and not options.across_orgs:
        raise UsageError(
            f"{options.old} is of {old.org}, and {options.new} of another org, {new.org}",
            hint="--across-orgs compares them all the same",
        )
    changes = compare(old, new, within=options.within)
    if options.output is DiffChoice.json:
        document = document_of(old, new, changes)
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        console = Console(highlight=False)
        for change in changes:
            console.print(change_line(change), soft_wrap=True)
    if not options.quiet:
        say(old, new, changes)
    return ExitCode.CHANGED if options.detailed and changes else ExitCode.DONE


def say(old: Inventory, new: Inventory, changes: Sequence[Change]) -> None:
    """Say on stderr what was compared, and what could not be."""
    console = Console(stderr=True, highlight=False)
    number = counted(len(changes), "change", "changes") if changes else "nothing has changed"
    times = f"{old.taken_at:%Y-%m-%d %H:%M} and {new.taken_at:%Y-%m-%d %H:%M} UTC"
    console.print(escape(f"{new.org}: {number} between {times}"), soft_wrap=True)
    for note in notes_on(old, new):
        print_note(console, note)


def notes_on(old: Inventory, new: Inventory) -> list[str]:
    """Return what a person should know of a comparison."""
    notes = []
    if new.taken_at < old.taken_at:
        notes.append("the second inventory is older than the first: are they the wrong way round?")
    for resource, (_, many) in NOUNS.items():
        if (resource in old.resources) != (resource in new.resources):
            which = "first" if resource in old.resources else "second"
            notes += [f"the {which} inventory alone has the {many}: nothing is said of them"]
    if (old.other_keys is None) != (new.other_keys is None):
        notes.append("keys that are not used are compared only where both have --all-keys")
    return notes


def document_of(old: Inventory, new: Inventory, changes: Sequence[Change]) -> dict[str, object]:
    """Return the changes for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "old": side_of(old),
        "new": side_of(new),
        "changes": [record_of(change) for change in changes],
    }


def side_of(inventory: Inventory) -> dict[str, object]:
    return {
        "org": {
            "url": inventory.org,
            "id": inventory.org_id,
            "profile": inventory.profile,
        },
        "taken_at": inventory.taken_at.isoformat(),
    }


def record_of(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind.value,
        "resource": change.resource.value,
        "id": change.holder.id if change.holder else None,
        "label": change.holder.label if change.holder else None,
        "kid": change.kid,
        "before": change.before,
        "after": change.after,
        "is_back": change.is_back,
        "ends": change.ends.isoformat() if change.ends else None,
        "sharing": change.sharing,
    }
