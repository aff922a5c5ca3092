"""Which rows of inventories are asked for, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.model import Kid


class Order(StrEnum):
    """By what rows are sorted; those that are equal keep the order of the org's list."""

    EXPIRY = "expiry"  # the next to end first; those without a certificate last
    LABEL = "label"
    SHARING = "sharing"  # the most shared first, and those that share a key side by side
    ORG = "org"  # as the org lists them


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What rows have to be, all of it at once; what is absent asks for nothing."""

    expiring_within: timedelta | None = None  # also what has ended already
    sha1: bool = False  # only those whose certificate is signed with SHA-1
    shared: bool = False  # only those that share their key
    status: str | None = None  # in any case of letters
    label: str | None = None  # a part of the label, in any case of letters
    signing_with: Kid | None = None

    def keep(self, row: Row) -> bool:
        """Say whether a row is asked for. One without a certificate is never about to end."""
        holder = row.holder
        if self.expiring_within is not None and (
            row.left is None or row.left > self.expiring_within
        ):
            return False
        if self.sha1 and not row.is_sha1:
            return False
        if self.shared and row.sharing < 2:
            return False
        if self.status and (holder.status or "").casefold() != self.status.casefold():
            return False
        if self.label and self.label.casefold() not in holder.label.casefold():
            return False
        return self.signing_with is None or holder.kid == self.signing_with


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row that is asked for, and the inventory that it is of."""

    inventory: Inventory
    row: Row


def listing(
    inventories: Iterable[Inventory], filters: Filters, order: Order, *, lists_all: bool = False
) -> list[Listed]:
    """Return the rows that are asked for; `lists_all`: also of what does not sign."""
    kept = (
        Listed(inventory=inventory, row=row)
        for inventory in inventories
        for row in rows_of(inventory)
        if (lists_all or row.holder.signs) and filters.keep(row)
    )
    return arranged(kept, order)


def arranged(kept: Iterable[Listed], order: Order) -> list[Listed]:
    """Return rows in an order that is stable."""
    match order:
        case Order.EXPIRY:
            return sorted(kept, key=lambda each: expiry(each.row))
        case Order.LABEL:
            return sorted(kept, key=lambda each: each.row.holder.label.casefold())
        case Order.SHARING:
            return sorted(kept, key=lambda each: (-each.row.sharing, each.row.holder.kid or ""))
        case Order.ORG:
            return list(kept)


def expiry(row: Row) -> tuple[bool, timedelta]:
    """Return what puts the next to end first, and those without a certificate last."""
    return row.left is None, row.left or timedelta()
