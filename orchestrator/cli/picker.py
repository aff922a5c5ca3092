"""Let a person pick rows of an inventory on a terminal: a table on stderr, answers from stdin.

    1-3,7     these numbers, and done        all     everything that is shown, and done
    /text     show what has the text in it   /       show everything again
    (empty)   stop

read_answer(...)     what a person means by a line. Pure.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render import MOST_ROWS, escape
from orchestrator.inventory.filters import expiry
from orchestrator.inventory.record import Row
from orchestrator.writing import on_one_line

PROMPT = "which? (1-3,7 or all, /text to search, empty to stop) "
NOTHING = "nothing has that in it; / shows everything again"
ITEM = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
BREAKS = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Take:
    """These numbers, counted from 1, each once, in the order in which they were said."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TakeShown:
    """All that is shown."""


@dataclass(frozen=True, slots=True)
class Search:
    """Show only what has this text in it; everything if it is empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Pick nothing."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """Ask again, and say why."""

    why: str


Answer: TypeAlias = Take | TakeShown | Search | Stop | Unclear


def read_answer(line: str, count: int) -> Answer:
    """Return what a line means where `count` rows have numbers."""
    text = line.strip()
    if not text:
        return Stop()
    if text.startswith("/"):
        return Search(text[1:].strip())
    if text.casefold() == "all":
        return TakeShown()
    numbers: dict[int, None] = {}
    for item in BREAKS.split(re.sub(r"\s*-\s*", "-", text)):
        if not item:
            continue
        match = ITEM.fullmatch(item)
        if match is None:
            return Unclear(f"{item!r} is neither a number nor a range such as 1-3")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            return Unclear(f"{item}: the numbers go from 1 to {count}")
        numbers |= dict.fromkeys(range(first, last + 1))
    return Take(tuple(numbers)) if numbers else Unclear("that names no number")


def pick(
    rows: Sequence[Row],
    *,
    read: Callable[[], str] = sys.stdin.readline,
    console: Console | None = None,
) -> tuple[Row, ...]:
    """Return the rows that a person picks, in the order given; none if they stop."""
    console = console or Console(stderr=True, highlight=False)
    numbered = dict(enumerate(sorted(rows, key=expiry), start=1))
    shown = numbered
    show(shown, console)
    while True:
        console.print(PROMPT, end="")
        match read_answer(read(), len(rows)):
            case Take(numbers):
                return in_order(rows, [numbered[number] for number in numbers])
            case TakeShown() if shown:
                return in_order(rows, list(shown.values()))
            case TakeShown():
                console.print(NOTHING)
            case Search(text):
                shown = {n: row for n, row in numbered.items() if has_text(row, text)}
                show(shown, console)
            case Unclear(why):
                console.print(escape(why))
            case Stop():
                return ()


def in_order(rows: Sequence[Row], picked: Sequence[Row]) -> tuple[Row, ...]:
    """Return what was picked in the order of the inventory."""
    ids = {row.holder.id for row in picked}
    return tuple(row for row in rows if row.holder.id in ids)


def has_text(row: Row, text: str) -> bool:
    """Say whether a label or an id has the text in it, in any case of letters."""
    holder = row.holder
    return any(text.casefold() in each.casefold() for each in (holder.label, holder.id))


def show(numbered: dict[int, Row], console: Console) -> None:
    """Print a table of rows with their numbers; of many only the first."""
    if not numbered:
        console.print(NOTHING)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "label", "sign-on", "days left", "share the key", "id"):
        is_number = heading in ("", "days left", "share the key")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    for number, row in list(numbered.items())[:MOST_ROWS]:
        holder = row.holder
        cells = (
            str(number),
            holder.label,
            holder.sign_on_mode or "",
            "?" if row.days_left is None else str(row.days_left),
            str(row.sharing) if row.sharing > 1 else "",
            holder.id,
        )
        table.add_row(*(Text(on_one_line(cell), overflow="ellipsis") for cell in cells))
    console.print(table)
    if len(numbered) > MOST_ROWS:
        console.print(f"... and {len(numbered) - MOST_ROWS} more: /text searches")
