"""What has changed in an org between two inventories of it. Pure.

Only what both have looked at is compared: the lists that both were shown, and the other keys of
holders whose keys both have listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.holders import Holder
from orchestrator.inventory.record import Inventory, Row, rows_by_key
from orchestrator.model import AppId, Certificate, Kid, Resource
from orchestrator.plan.org_url import is_same_org

HolderKey = tuple[Resource, AppId]


class ChangeKind(StrEnum):
    """What may change; in this order it is told."""

    ADDED = "added"
    GONE = "gone"
    ACTIVATED = "activated"  # it signs with another key
    KEY_ADDED = "key_added"
    KEY_GONE = "key_gone"
    STATUS = "status"
    RENAMED = "renamed"
    SIGN_ON_MODE = "sign_on_mode"
    ENDED = "ended"  # the certificate that somebody signs with
    EXPIRING = "expiring"  # likewise: it now ends within the time that was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is not as it was."""

    kind: ChangeKind
    resource: Resource
    holder: Holder | None = None  # as it is now; of one that is gone, as it was
    kid: Kid | None = None  # which key it is about
    before: str | None = None
    after: str | None = None
    is_back: bool = False  # activated: its certificate is older than that of the key before
    ends: datetime | None = None  # of a certificate that ends, or has
    sharing: int = 0  # how many sign with it now


def is_other_org(old: Inventory, new: Inventory) -> bool:
    """Say whether two inventories are of different orgs: by their ids, else by their URLs."""
    if old.org_id is not None and new.org_id is not None:
        return old.org_id != new.org_id
    return not is_same_org(old.org, new.org)


def compare(old: Inventory, new: Inventory, *, within: timedelta) -> list[Change]:
    """Return all changes, by kind, and of one kind in the order of the inventories."""
    common = frozenset(old.resources) & frozenset(new.resources)
    changes = [*holder_changes(old, new, common), *certificate_changes(old, new, common, within)]
    order = list(ChangeKind)
    return sorted(changes, key=lambda change: order.index(change.kind))


def holder_changes(old: Inventory, new: Inventory, common: frozenset[Resource]) -> Iterator[Change]:
    """Yield what has become of apps and identity providers."""
    before, after = holders_of(old, common), holders_of(new, common)
    for key, holder in before.items():
        if key not in after:
            yield Change(
                kind=ChangeKind.GONE, resource=holder.resource, holder=holder, kid=holder.kid
            )
    for key, holder in after.items():
        former = before.get(key)
        if former is None:
            yield Change(
                kind=ChangeKind.ADDED, resource=holder.resource, holder=holder, kid=holder.kid
            )
        else:
            yield from field_changes(former, holder)
            yield from key_changes(old, new, former, holder)


def holders_of(inventory: Inventory, resources: frozenset[Resource]) -> dict[HolderKey, Holder]:
    return {
        (holder.resource, holder.id): holder
        for holder in inventory.holders
        if holder.resource in resources
    }


def field_changes(former: Holder, holder: Holder) -> Iterator[Change]:
    """Yield what the org's list shows otherwise than before."""
    fields = {
        ChangeKind.STATUS: (former.status, holder.status),
        ChangeKind.RENAMED: (former.label, holder.label),
        ChangeKind.SIGN_ON_MODE: (former.sign_on_mode, holder.sign_on_mode),
    }
    for kind, (before, after) in fields.items():
        if before != after:
            yield Change(
                kind=kind, resource=holder.resource, holder=holder, before=before, after=after
            )


def key_changes(old: Inventory, new: Inventory, former: Holder, holder: Holder) -> Iterator[Change]:
    """Yield what has become of a holder's keys."""
    if former.kid != holder.kid:
        yield Change(
            kind=ChangeKind.ACTIVATED,
            resource=holder.resource,
            holder=holder,
            kid=holder.kid,
            before=former.kid,
            after=holder.kid,
            is_back=is_older(
                certificate_in(new, old, holder.kid), certificate_in(old, new, former.kid)
            ),
        )
    held, holds = keys_of(old, former), keys_of(new, holder)
    if held is None or holds is None:
        return
    for kind, kids in (
        (ChangeKind.KEY_ADDED, [kid for kid in holds if kid not in held]),
        (ChangeKind.KEY_GONE, [kid for kid in held if kid not in holds]),
    ):
        for kid in kids:
            yield Change(kind=kind, resource=holder.resource, holder=holder, kid=kid)


def certificate_in(first: Inventory, second: Inventory, kid: Kid | None) -> Certificate | None:
    """Return the certificate of a kid, which means the same in both."""
    if kid is None:
        return None
    return first.certificates.get(kid) or second.certificates.get(kid)


def is_older(one: Certificate | None, other: Certificate | None) -> bool:
    return one is not None and other is not None and one.not_before < other.not_before


def keys_of(inventory: Inventory, holder: Holder) -> tuple[Kid, ...] | None:
    """Return all keys that a holder holds; None where they were not listed."""
    others = None if inventory.other_keys is None else inventory.other_keys.get(holder.id)
    if others is None:
        return None
    active = () if holder.kid is None else (holder.kid,)
    return tuple(dict.fromkeys((*active, *others)))


def certificate_changes(
    old: Inventory, new: Inventory, common: frozenset[Resource], within: timedelta
) -> Iterator[Change]:
    """Yield the certificates in use that end, or have ended, and were not counted so before.

    Either because time has passed, or because somebody signs with one that nobody did before.
    """
    before = rows_by_key(old)
    for key, row in rows_by_key(new).items():
        if row.holder.resource not in common:
            continue
        was = standing(before.get(key), within)
        now = standing(row, within)
        if now is None or now is was or row.certificate is None:
            continue
        if now is ChangeKind.EXPIRING and was is ChangeKind.ENDED:
            continue  # only where the clock of the org went back
        yield Change(
            kind=now,
            resource=row.holder.resource,
            kid=row.holder.kid,
            ends=row.certificate.not_after,
            sharing=row.sharing,
        )


def standing(row: Row | None, within: timedelta) -> ChangeKind | None:
    """Say whether a certificate has ended, or ends within a time; None: neither, or not known."""
    if row is None or row.left is None or row.left > within:
        return None
    return ChangeKind.ENDED if row.left < timedelta() else ChangeKind.EXPIRING
