"""The saved inventory: a versioned JSON document, a line for each holder and certificate.

Within a major `schema_version` fields are only ever added, and those that are not known are passed
over. What follows from the rest (`days_left`, `sharing`, `unknown` of a holder) is written for the
tools of others and not read back. Certificates themselves (x5c) are not in it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from orchestrator.errors import InputError
from orchestrator.holders import Holder
from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.model import AppId, Certificate, Kid, Resource
from orchestrator.plan.files import read_regular, reason
from orchestrator.plan.org_url import check_org_url
from orchestrator.writing import write_pieces

SCHEMA_VERSION = "1.0"
MOST_BYTES = 256 * 1024 * 1024
HINT = "okta-keys inventory --save FILE writes one"

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all parts of the document."""


class OrgPart(Part, frozen=True, kw_only=True):
    """Which org it is of."""

    url: str
    id: str | None
    profile: str | None


class Head(Part, frozen=True, kw_only=True):
    """What stands before the holders."""

    schema_version: str
    whole: bool = True  # False: it has only some of the rows, and cannot be read back
    org: OrgPart
    taken_at: Moment
    resources: tuple[Resource, ...] = tuple(Resource)
    all_keys: bool = False  # other keys were asked for
    notes: tuple[str, ...]


class HolderPart(Part, frozen=True, kw_only=True):
    """An app or an identity provider."""

    id: str
    resource: Resource
    label: str
    name: str | None
    sign_on_mode: str | None
    status: str | None
    kid: str | None
    last_updated: str | None
    days_left: int | None = None
    sharing: int = 0
    unknown: str | None = None
    other_keys: tuple[str, ...] | None = None  # None: not asked, or not known


class CertificatePart(Part, frozen=True, kw_only=True):
    """What the certificate of a kid says."""

    thumbprint: str
    not_before: Moment
    not_after: Moment
    subject: str
    signature_hash: str
    key_bits: int


class SavedInventory(Head, frozen=True, kw_only=True):
    """The whole document."""

    holders: tuple[HolderPart, ...]
    certificates: dict[str, CertificatePart]
    unknown: dict[str, str]


class Opening(Part, frozen=True, kw_only=True):
    """What tells whether a document is one that we can read."""

    schema_version: str
    inventories: tuple[msgspec.Raw, ...] | None = None  # of several orgs, as printed


def write_inventory(path: Path, inventory: Inventory) -> None:
    """Write a whole inventory, whole or not at all, readable by its owner only.

    Raises:
        ReportError: it cannot be written.
    """
    write_pieces(path, document_pieces(inventory))


def document_pieces(inventory: Inventory, rows: Iterable[Row] | None = None) -> Iterator[str]:
    """Yield the document in pieces; with `rows`, only what these are about, in their order."""
    chosen = tuple(rows_of(inventory) if rows is None else rows)
    is_whole = len(chosen) == len(inventory.holders)
    kids = None if is_whole else kids_of(chosen)
    yield text_of(head_of(inventory, is_whole=is_whole), indent=2).removesuffix("\n}")
    yield from list_pieces("holders", (text_of(holder_part(row)) for row in chosen), "[]")
    yield from list_pieces("certificates", certificate_lines(inventory, kids), "{}")
    yield from list_pieces("unknown", unknown_lines(inventory.unknown, kids), "{}")
    yield "\n}\n"


def list_pieces(name: str, lines: Iterable[str], brackets: str) -> Iterator[str]:
    """Yield a list, or a mapping, of the document: a line for each of its members."""
    yield f',\n  "{name}": {brackets[0]}'
    separator = "\n    "
    for line in lines:
        yield separator + line
        separator = ",\n    "
    yield f"\n  {brackets[1]}"


def kids_of(rows: Iterable[Row]) -> frozenset[str]:
    return frozenset(
        kid for row in rows for kid in (row.holder.kid, *(row.other_keys or ())) if kid
    )


def certificate_lines(inventory: Inventory, kids: Container[str] | None) -> Iterator[str]:
    for kid, certificate in inventory.certificates.items():
        if kids is None or kid in kids:
            yield f"{text_of(kid)}: {text_of(certificate_part(certificate))}"


def unknown_lines(unknown: Mapping[Kid, str], kids: Container[str] | None) -> Iterator[str]:
    for kid, why in unknown.items():
        if kids is None or kid in kids:
            yield f"{text_of(kid)}: {text_of(why)}"


def text_of(value: object, *, indent: int = -1) -> str:
    """Return JSON on one line, or indented."""
    encoded = msgspec.json.encode(value)
    return (msgspec.json.format(encoded, indent=indent) if indent > 0 else encoded).decode()


def head_of(inventory: Inventory, *, is_whole: bool) -> Head:
    return Head(
        schema_version=SCHEMA_VERSION,
        whole=is_whole,
        org=OrgPart(url=inventory.org, id=inventory.org_id, profile=inventory.profile),
        taken_at=inventory.taken_at.astimezone(UTC),
        resources=inventory.resources,
        all_keys=inventory.other_keys is not None,
        notes=inventory.notes,
    )


def holder_part(row: Row) -> HolderPart:
    holder = row.holder
    return HolderPart(
        id=holder.id,
        resource=holder.resource,
        label=holder.label,
        name=holder.name,
        sign_on_mode=holder.sign_on_mode,
        status=holder.status,
        kid=holder.kid,
        last_updated=holder.last_updated,
        days_left=row.days_left,
        sharing=row.sharing,
        unknown=row.unknown,
        other_keys=row.other_keys,
    )


def certificate_part(certificate: Certificate) -> CertificatePart:
    return CertificatePart(
        thumbprint=certificate.thumbprint,
        not_before=certificate.not_before.astimezone(UTC),
        not_after=certificate.not_after.astimezone(UTC),
        subject=certificate.subject,
        signature_hash=certificate.signature_hash,
        key_bits=certificate.key_bits,
    )


def read_inventory(path: Path) -> Inventory:
    """Return a saved inventory, as it was but for the certificates' x5c.

    Raises:
        InputError: it cannot be read, or is no whole inventory of one org.
    """
    data = read_capped(path)
    try:
        check_opening(path, msgspec.json.decode(data, type=Opening))
        saved = msgspec.json.decode(data, type=SavedInventory)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise InputError(f"{path} is no saved inventory: {error}", hint=HINT) from error
    if not saved.whole:
        raise InputError(f"{path} holds only a part of an inventory, as it was printed", hint=HINT)
    check_content(path, saved)
    return inventory_of(saved)


def read_capped(path: Path) -> bytes:
    try:
        data = read_regular(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
    if data is None:
        raise InputError(f"{path} is larger than {MOST_BYTES // 1024**2} MiB")
    return data


def check_opening(path: Path, opening: Opening) -> None:
    """Refuse what is another document, or of a later version."""
    major, _, minor = opening.schema_version.partition(".")
    if not (major == SCHEMA_VERSION.partition(".")[0] and minor.isascii() and minor.isdigit()):
        raise InputError(
            f"{path} has schema_version {ascii(opening.schema_version)[:60]}",
            hint="this program reads version 1 of saved inventories",
        )
    if opening.inventories is not None:
        raise InputError(f"{path} holds several inventories, as they were printed", hint=HINT)


def check_content(path: Path, saved: SavedInventory) -> None:
    """Refuse what no inventory of ours says."""
    problem = check_org_url(saved.org.url)
    if problem:
        raise InputError(f"{path} is no saved inventory: its org.url {problem}", hint=HINT)
    seen: set[str] = set()
    for holder in saved.holders:
        if holder.id in seen:
            shown = ascii(holder.id)[:60]
            raise InputError(f"{path} is no saved inventory: {shown} is in it twice", hint=HINT)
        seen.add(holder.id)


def inventory_of(saved: SavedInventory) -> Inventory:
    others = {
        AppId(holder.id): tuple(map(Kid, holder.other_keys))
        for holder in saved.holders
        if holder.other_keys is not None
    }
    return Inventory(
        org=saved.org.url,
        org_id=saved.org.id,
        profile=saved.org.profile,
        taken_at=saved.taken_at,
        resources=saved.resources,
        holders=tuple(map(holder_of, saved.holders)),
        certificates={Kid(kid): certificate_of(part) for kid, part in saved.certificates.items()},
        unknown={Kid(kid): why for kid, why in saved.unknown.items()},
        other_keys=others if others or saved.all_keys else None,
        notes=saved.notes,
    )


def holder_of(part: HolderPart) -> Holder:
    return Holder(
        id=AppId(part.id),
        resource=part.resource,
        label=part.label,
        name=part.name,
        sign_on_mode=part.sign_on_mode,
        status=part.status,
        kid=None if part.kid is None else Kid(part.kid),
        last_updated=part.last_updated,
    )


def certificate_of(part: CertificatePart) -> Certificate:
    return Certificate(
        thumbprint=part.thumbprint,
        not_before=part.not_before,
        not_after=part.not_after,
        subject=part.subject,
        signature_hash=part.signature_hash,
        key_bits=part.key_bits,
    )
