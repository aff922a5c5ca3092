"""What an org's apps and identity providers sign with, at one moment, as frozen data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.holders import Holder
from orchestrator.model import AppId, Certificate, Kid, Resource

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All holders of an org, in the order of its lists, and the certificates of their keys."""

    org: str  # its URL
    org_id: str | None = None
    profile: str | None = None
    taken_at: datetime  # on the org's clock
    resources: tuple[Resource, ...] = tuple(Resource)  # whose lists the org has shown
    holders: tuple[Holder, ...]
    certificates: Mapping[
        Kid, Certificate
    ]  # of active keys; of all keys where these were asked for
    unknown: Mapping[Kid, str] = field(default_factory=dict)  # why a certificate is not known
    # Held, not active, newest first, of what signs; None: not asked. What is absent is not known.
    other_keys: Mapping[AppId, tuple[Kid, ...]] | None = None
    notes: tuple[str, ...] = ()  # what the org did not let us see; may quote the org


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One holder, with what can be said of the key it signs with."""

    holder: Holder
    certificate: Certificate | None
    left: timedelta | None  # until the certificate ends; negative: it has ended
    sharing: int  # holders that sign with the same key, itself included; 0 without a key
    unknown: str | None  # why there is no certificate, though there is a key
    other_keys: tuple[Kid, ...] | None  # None: not asked, or not known

    @property
    def days_left(self) -> int | None:
        """Return the whole days until the certificate ends, rounded down; negative: ended."""
        return None if self.left is None else self.left // DAY

    @property
    def is_sha1(self) -> bool:
        """Say whether the certificate is signed with SHA-1; one that is not known is not."""
        return self.certificate is not None and self.certificate.signature_hash == "sha1"


def rows_of(inventory: Inventory) -> Iterator[Row]:
    """Yield a row for every holder, in the order of the inventory."""
    sharing: Counter[tuple[Resource, Kid]] = Counter(
        (holder.resource, holder.kid) for holder in inventory.holders if holder.kid
    )
    for holder in inventory.holders:
        kid = holder.kid
        certificate = inventory.certificates.get(kid) if kid else None
        others = inventory.other_keys
        yield Row(
            holder=holder,
            certificate=certificate,
            left=None if certificate is None else certificate.not_after - inventory.taken_at,
            sharing=sharing[holder.resource, kid] if kid else 0,
            unknown=inventory.unknown.get(kid) if kid else None,
            other_keys=None if others is None else others.get(holder.id),
        )


def rows_by_key(inventory: Inventory) -> dict[tuple[Resource, Kid], Row]:
    """Return for each key in use a row of one that signs with it, in the order of the rows."""
    rows: dict[tuple[Resource, Kid], Row] = {}
    for row in rows_of(inventory):
        holder = row.holder
        if holder.signs and holder.kid:
            rows.setdefault((holder.resource, holder.kid), row)
    return rows
