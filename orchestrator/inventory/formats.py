"""Rows of inventories as data on stdout: JSON in the words of a saved inventory, and CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO
from urllib.parse import urlsplit

from orchestrator.inventory.filters import Listed
from orchestrator.inventory.record import Inventory, Row
from orchestrator.inventory.saved import SCHEMA_VERSION, document_pieces
from orchestrator.writing import cell_of, on_one_line

COLUMNS = (
    "app_id",  # so that a plan can name the file as its targets
    "resource",
    "label",
    "name",
    "sign_on_mode",
    "status",
    "kid",
    "days_left",
    "not_after",
    "not_before",
    "signature_hash",
    "key_bits",
    "thumbprint",
    "subject",
    "sharing",
    "unknown",
    "other_keys",
    "last_updated",
    "org",
    "org_id",
    "profile",
    "taken_at",
)
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+(?:; [A-Za-z0-9_-]+)*")  # ids and kids, also several
IDENTIFIERS = ("app_id", "kid", "thumbprint", "other_keys", "org_id")


def name_of(inventory: Inventory) -> str:
    """Return what an org goes by: its profile, else its host."""
    return inventory.profile or urlsplit(inventory.org).netloc or inventory.org


def json_pieces(
    inventories: Sequence[Inventory], listed: Iterable[Listed], *, is_one: bool
) -> Iterator[str]:
    """Yield what is listed as JSON: a saved inventory with less rows, or a list of such.

    `is_one`: one org was asked for, and there is its inventory.
    """
    rows: dict[int, list[Row]] = {}
    for each in listed:
        rows.setdefault(id(each.inventory), []).append(each.row)
    if is_one:
        [inventory] = inventories
        yield from document_pieces(inventory, rows.get(id(inventory), ()))
        return
    yield f'{{"schema_version": "{SCHEMA_VERSION}", "inventories": ['
    separator = "\n"
    for inventory in inventories:
        yield separator
        yield from document_pieces(inventory, rows.get(id(inventory), ()))
        separator = ",\n"
    yield "]}\n"


def write_csv(listed: Iterable[Listed], file: TextIO) -> None:
    """Write a row per holder. Nothing that people typed can start a spreadsheet formula."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for each in listed:
        values = values_of(each)
        writer.writerow([cell_text(column, values[column]) for column in COLUMNS])


def cell_text(column: str, value: object) -> str:
    """Flatten one value into a cell, on one line; ids and kids stay as they are, dashes and all."""
    if not isinstance(value, str | tuple):
        return cell_of(value, is_foreign=False)
    plain = on_one_line(cell_of(value, is_foreign=False))
    is_plain = column in IDENTIFIERS and IDENTIFIER.fullmatch(plain) is not None
    return cell_of(plain, is_foreign=not is_plain)


def values_of(listed: Listed) -> Mapping[str, object]:
    """Return all that is known of a row, by column."""
    inventory, row = listed.inventory, listed.row
    holder, certificate = row.holder, row.certificate
    values: dict[str, object] = {
        "app_id": holder.id,
        "resource": holder.resource.value,
        "label": holder.label,
        "name": holder.name,
        "sign_on_mode": holder.sign_on_mode,
        "status": holder.status,
        "kid": holder.kid,
        "last_updated": holder.last_updated,
        "days_left": row.days_left,
        "sharing": row.sharing,
        "unknown": row.unknown,
        "other_keys": row.other_keys,
        "org": inventory.org,
        "org_id": inventory.org_id,
        "profile": inventory.profile,
        "taken_at": inventory.taken_at.isoformat(),
    }
    values |= dict.fromkeys(set(COLUMNS) - set(values))
    if certificate is not None:
        values |= {
            "not_before": certificate.not_before.isoformat(),
            "not_after": certificate.not_after.isoformat(),
            "thumbprint": certificate.thumbprint,
            "subject": certificate.subject,
            "signature_hash": certificate.signature_hash,
            "key_bits": certificate.key_bits,
        }
    return values
