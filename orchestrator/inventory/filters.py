"""Which rows of an inventory are asked for, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from orchestrator.inventory.record import Row
from orchestrator.model import Kid


class Order(StrEnum):
    """By what rows are sorted; those that are equal keep the order of the org's list."""

    EXPIRY = "expiry"  # the next to end first; those without a certificate last
    LABEL = "label"
    SHARING = "sharing"  # the most shared first
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
        holder, certificate = row.holder, row.certificate
        if self.expiring_within is not None and (
            row.days_left is None or timedelta(days=row.days_left) >= self.expiring_within
        ):
            return False
        if self.sha1 and (certificate is None or certificate.signature_hash != "sha1"):
            return False
        if self.shared and row.sharing < 2:
            return False
        if self.status and (holder.status or "").casefold() != self.status.casefold():
            return False
        if self.label and self.label.casefold() not in holder.label.casefold():
            return False
        return self.signing_with is None or holder.kid == self.signing_with


def arranged(rows: Iterable[Row], order: Order) -> list[Row]:
    """Return rows in an order that is stable."""
    if order is Order.EXPIRY:
        return sorted(rows, key=lambda row: (row.days_left is None, row.days_left or 0))
    if order is Order.LABEL:
        return sorted(rows, key=lambda row: row.holder.label.casefold())
    if order is Order.SHARING:
        return sorted(rows, key=lambda row: -row.sharing)
    return list(rows)
