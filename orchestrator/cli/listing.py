"""Inventories, and what has changed between two, as lines of text for a person.

Made line by line: a table that measures all of its cells first takes seconds for an org of
thousands of apps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from orchestrator.holders import NOUNS
from orchestrator.inventory.compare import Change, ChangeKind
from orchestrator.inventory.filters import Listed
from orchestrator.inventory.formats import name_of
from orchestrator.inventory.record import Row
from orchestrator.inventory.totals import SOON, counted
from orchestrator.model import Resource
from orchestrator.writing import on_one_line

NARROWEST = 12  # cells of a label
REST = 24  # cells of label and remarks, before a column that may be missing is put in


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the table."""

    title: str
    width: int
    is_number: bool = False

    def cell(self, text: str) -> str:
        """Return a text at the width of the column; what is too long ends in an ellipsis."""
        length = cell_len(text)
        if length > self.width:
            return f"{set_cell_size(text, self.width - 1)}…"
        pad = " " * (self.width - length)
        return pad + text if self.is_number else text + pad


APP = Column(title="id", width=20)
ENDS = Column(title="ends", width=10)
DAYS = Column(title="days", width=5, is_number=True)
SHARED = Column(title="shared", width=6, is_number=True)
HASH = Column(title="hash", width=6)
BITS = Column(title="bits", width=4, is_number=True)
KID = Column(title="key", width=43)


def table_lines(listed: Sequence[Listed], *, width: int, shows_org: bool) -> Iterator[Text]:
    """Yield a head and a line for each row, of at most `width` cells where that is 80 or more."""
    columns = columns_for(listed, width, shows_org=shows_org)
    remarks = Column(title="", width=max(0, width - taken(columns)))
    titles = [*(column.cell(column.title) for column in columns), remarks.title]
    yield Text(" ".join(titles).rstrip(), style="dim")
    for each in listed:
        values = values_of(each)
        cells = [column.cell(values[column.title]) for column in columns]
        cells.append(remarks.cell(", ".join(remarks_on(each.row))))
        yield Text(" ".join(cells).rstrip(), style=style_of(each.row))


def columns_for(listed: Sequence[Listed], width: int, *, shows_org: bool) -> list[Column]:
    """Return the columns that there is room for; the label takes what it needs of the rest."""
    longest = max((cell_len(each.row.holder.label) for each in listed), default=0)
    first = [APP]
    if shows_org:
        names = max((cell_len(name_of(each.inventory)) for each in listed), default=0)
        first.insert(0, Column(title="org", width=min(names, 10)))
    last = [ENDS, DAYS, SHARED]
    for column in (HASH, BITS, KID):
        if width - taken(first + last) - column.width - 1 >= NARROWEST + REST:
            last.append(column)
    room = width - taken(first + last) - 1
    label = Column(title="label", width=max(NARROWEST, min(longest, room * 3 // 5)))
    return [*first, label, *last]


def taken(columns: Sequence[Column]) -> int:
    """Return the cells that columns take, each with the space after it."""
    return sum(column.width + 1 for column in columns)


def values_of(listed: Listed) -> dict[str, str]:
    """Return the cells of a row, by the title of their column."""
    row = listed.row
    holder, certificate = row.holder, row.certificate
    return {
        "org": on_one_line(name_of(listed.inventory)),
        "id": on_one_line(holder.id),
        "label": on_one_line(holder.label),
        "ends": ends_of(row),
        "days": "" if row.days_left is None else str(row.days_left),
        "shared": str(row.sharing) if row.sharing > 1 else "",
        "hash": on_one_line(certificate.signature_hash) if certificate else "",
        "bits": str(certificate.key_bits) if certificate and certificate.key_bits else "",
        "key": on_one_line(holder.kid or ""),
    }


def ends_of(row: Row) -> str:
    if row.certificate is not None:
        return f"{row.certificate.not_after:%Y-%m-%d}"
    return "unknown" if row.holder.signs else "no key"


def remarks_on(row: Row) -> Iterator[str]:
    """Yield what is not as with most others."""
    holder = row.holder
    if holder.resource is Resource.IDP:
        yield "IdP"
    if not holder.is_active:
        yield on_one_line(holder.status or "").lower()
    if row.is_sha1:
        yield "SHA-1"
    if holder.is_oidc:
        yield "OIDC"
    if row.other_keys:
        yield f"{len(row.other_keys)} other keys"
    if row.unknown:
        yield on_one_line(row.unknown)


def style_of(row: Row) -> str:
    if row.left is None or row.left > SOON[0]:
        return ""
    return "red" if row.left < timedelta() else "yellow"


def change_line(change: Change) -> Text:
    """Return one change as a sentence."""
    one, many = NOUNS[change.resource]
    about = f"key of {many}"
    if change.holder is not None:
        label = change.before if change.kind is ChangeKind.RENAMED else change.holder.label
        about = on_one_line(f"{one} {change.holder.id} {label}")
    return Text(f"{change.kind.value.replace('_', ' '):<12} {about}: {news_of(change)}")


def news_of(change: Change) -> str:
    """Say what is otherwise than before."""
    kid, before, after = (
        on_one_line(text or "nothing") for text in (change.kid, change.before, change.after)
    )
    match change.kind:
        case ChangeKind.ADDED:
            return f"it signs with {kid}"
        case ChangeKind.GONE:
            return f"it signed with {kid}"
        case ChangeKind.ACTIVATED:
            back = ", an older key" if change.is_back else ""
            return f"it signs with {after}{back}; before with {before}"
        case ChangeKind.KEY_ADDED:
            return f"it holds {kid} as well"
        case ChangeKind.KEY_GONE:
            return f"it does not hold {kid} any more"
        case ChangeKind.ENDED | ChangeKind.EXPIRING:
            verb = "ended" if change.kind is ChangeKind.ENDED else "ends"
            day = f" on {change.ends:%Y-%m-%d}" if change.ends else ""
            return f"{kid} {verb}{day}; {counted(change.sharing, 'signs', 'sign')} with it"
        case ChangeKind.STATUS | ChangeKind.RENAMED | ChangeKind.SIGN_ON_MODE:
            return f"{after}; before {before}"
