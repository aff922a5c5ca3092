"""What can be said of a whole inventory in one line. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.holders import NOUNS
from orchestrator.inventory.record import Inventory, rows_by_key
from orchestrator.model import Resource

SOON = (timedelta(days=30), timedelta(days=90))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many holders there are, and how the keys stand that they sign with."""

    apps: int
    idps: int
    signing: int
    keys: int
    ended: int
    ending: tuple[int, ...]  # within each of SOON, not counting those that have ended
    sha1: int
    shared: int  # keys that more than one holder signs with
    unread: int  # keys whose certificate is not known


def totals_of(inventory: Inventory) -> Totals:
    """Count an inventory."""
    resources = Counter(holder.resource for holder in inventory.holders)
    keys = rows_by_key(inventory).values()
    left = [row.left for row in keys if row.left is not None]
    return Totals(
        apps=resources[Resource.APP],
        idps=resources[Resource.IDP],
        signing=sum(holder.signs and bool(holder.kid) for holder in inventory.holders),
        keys=len(keys),
        ended=sum(each < timedelta() for each in left),
        ending=tuple(sum(timedelta() <= each <= soon for each in left) for soon in SOON),
        sha1=sum(row.is_sha1 for row in keys),
        shared=sum(row.sharing > 1 for row in keys),
        unread=len(keys) - len(left),
    )


def told(totals: Totals) -> str:
    """Return totals as a sentence for a person."""
    holders = count_of(totals.apps, Resource.APP)
    if totals.idps:
        holders += f" and {count_of(totals.idps, Resource.IDP)}"
    signing = counted(totals.signing, "signs", "sign")
    text = f"{holders}, of which {signing} with {counted(totals.keys, 'key', 'keys')}"
    return "; ".join([text, *remarkable(totals)])


def remarkable(totals: Totals) -> Iterator[str]:
    """Yield what is worth a word, if it is there at all."""
    if totals.ended:
        yield f"{totals.ended} ended"
    for soon, number in zip(SOON, totals.ending, strict=True):
        if number:
            yield f"{counted(number, 'ends', 'end')} within {soon.days} days"
    if totals.sha1:
        yield f"{totals.sha1} with SHA-1"
    if totals.shared:
        yield f"{totals.shared} shared"
    if totals.unread:
        yield f"{totals.unread} whose certificate is not known"


def count_of(number: int, resource: Resource) -> str:
    return counted(number, *NOUNS[resource])


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else many}"
