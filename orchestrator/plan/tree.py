"""YAML as maps and lists that know where in the file each of their parts stands."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

COLUMN_BITS = 20
LAST_COLUMN = (1 << COLUMN_BITS) - 1
# Below these keys a secret may stand in the place of anything: only the words that are known there
# are named.
GUARDED = frozenset({"auth", "proxy"})
GUARDED_WORDS = frozenset(
    {
        "token",
        "bearer",
        "client_id",
        "private_key",
        "passphrase",
        "key_id",
        "scopes",
        "dpop",
        "url",
        "user",
        "password",
        "cmd",
        "env",
    }
)

Step = str | int
Location = Sequence[Step]


class Place(NamedTuple):
    """Where something stands in a file, as an editor counts."""

    line: int  # 1-based
    column: int  # 1-based, in characters


START = Place(1, 1)


def pack(line: int, column: int) -> int:
    """Return a place, counted from 0, as one number. Columns beyond 2^20 share a number."""
    return line << COLUMN_BITS | min(column, LAST_COLUMN)


def unpack(mark: int) -> Place:
    return Place((mark >> COLUMN_BITS) + 1, (mark & LAST_COLUMN) + 1)


class Quoted(str):
    """A scalar written in quotes or as a block: text, whatever it looks like."""

    __slots__ = ()


class PlacedList(list[object]):
    """A sequence with the place of every item."""

    __slots__ = ("mark", "marks")

    def __init__(self, mark: int) -> None:
        super().__init__()
        self.mark = mark
        self.marks = array("q")


class PlacedMap(dict[str, object]):
    """A mapping with the places of every key and value."""

    __slots__ = ("mark", "marks")

    def __init__(self, mark: int) -> None:
        super().__init__()
        self.mark = mark
        self.marks: dict[str, tuple[int, int]] = {}


def place_of(root: object, location: Location, *, at_key: bool = False) -> Place:
    """Return where `location` stands: the value, or with `at_key` the key that names it.

    Steps that the tree does not have are ignored, so what is missing stands where its parent does.
    """
    node = root
    mark = root.mark if isinstance(root, (PlacedMap, PlacedList)) else 0
    for step in location:
        if isinstance(node, PlacedMap) and isinstance(step, str) and step in node:
            mark = node.marks[step][0 if at_key else 1]
            node = node[step]
        elif isinstance(node, PlacedList) and isinstance(step, int) and step < len(node):
            mark = node.marks[step]
            node = node[step]
    return unpack(mark)


def path_text(location: Location) -> str:
    """Return `jobs[0].targets[3]`. Below `auth` only known words are named: see refusal.py."""
    text, is_guarded = "", False
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        if is_guarded and step not in GUARDED_WORDS:
            break
        shown = step if step.isidentifier() else f"{step[:60]!r}"
        text += f".{shown}" if text else shown
        is_guarded = is_guarded or step in GUARDED
    return text
