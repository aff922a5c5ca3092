"""Read a CSV file of apps as a stream: one record at a time, whatever its size.

The first record names the columns; `app_id` must be among them. Values are separated by commas and
quoted as RFC 4180 says; blank lines are skipped, and so are spaces around a value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from pydantic_core import PydanticCustomError

from orchestrator.errors import PlanError, Problem
from orchestrator.model import NO_TAGS, AppId, Reason
from orchestrator.plan.fields import read_app_id
from orchestrator.plan.files import FileStamp, open_regular, reason, stamp_of
from orchestrator.plan.refusal import closest, echo
from orchestrator.plan.yaml_syntax import BOM, WIDE_BOMS

ID_COLUMN = "app_id"
MAX_LINE = 1 << 20  # bytes
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Header(NamedTuple):
    """The columns, and which of them holds the id."""

    names: tuple[str, ...]
    id_index: int


class Entry(NamedTuple):
    """One app that a plan or a CSV file lists, or that a selector picks."""

    app: AppId
    cells: Sequence[str] = ()  # the whole row, of a CSV file
    header: Header | None = None
    unfit: Reason | None = None  # why it cannot be a target, of one that a selector picks

    @property
    def tags(self) -> Mapping[str, str]:
        """The other columns of the row; empty ones are dropped."""
        if self.header is None or len(self.cells) < 2:
            return NO_TAGS
        return MappingProxyType(
            {
                name: cell.strip()
                for name, cell in zip(self.header.names, self.cells, strict=True)
                if name != ID_COLUMN and cell.strip()
            }
        )


class CsvLines:
    """The lines of a file as text, for the CSV parser.

    Keeps the lines of the record that is being read, to find the place of a cell, and notes lines
    that are no text. Iteration ends early at a line that is too long to be one.
    """

    def __init__(self, handle: BinaryIO, file: str) -> None:
        self.handle = handle
        self.file = file
        self.number = 0  # of the last line read
        self.record: list[str] = []
        self.problems: list[Problem] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self.handle.readline(MAX_LINE)
        if not data:
            raise StopIteration
        self.number += 1
        if len(data) == MAX_LINE:
            self.note(self.number, 1, "a line longer than 1 MiB", "is this a CSV file?")
            raise StopIteration
        text = self.text(data.removeprefix(BOM) if self.number == 1 else data)
        self.record.append(text)
        return text

    def text(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(data[: error.start].decode("utf-8")) + 1
            hint = "save the file as UTF-8"
            if data.startswith(WIDE_BOMS):
                hint = "it is UTF-16: save it as UTF-8"
            self.note(self.number, column, f"the byte 0x{data[error.start]:02x} is not UTF-8", hint)
            text = data.decode("utf-8", errors="replace")
        if "\0" in text:
            column = text.index("\0") + 1
            self.note(self.number, column, "the control character U+0000 is not allowed", None)
        return text

    def first_line(self) -> int:
        """Return the line on which the current record starts."""
        return self.number - len(self.record) + 1

    def note(self, line: int, column: int, message: str, hint: str | None, path: str = "") -> None:
        self.problems.append(
            Problem(file=self.file, line=line, column=column, path=path, message=message, hint=hint)
        )

    def note_cell(self, index: int, message: str, hint: str | None, path: str = "") -> None:
        line, column = cell_place("".join(self.record), index)
        self.note(self.first_line() + line, column, message, hint, path)

    def next_record(self) -> list[Problem]:
        """Forget the record; return what was noted since the last call."""
        found, self.problems = self.problems, []
        self.record.clear()
        return found


def cell_place(record: str, index: int) -> tuple[int, int]:
    """Return on which line of a record, from 0, and in which column, from 1, a cell starts."""
    cell, line, column, in_quotes = 0, 0, 1, False
    for letter in record:
        if cell == index and letter != " ":
            break
        in_quotes ^= letter == '"'
        cell += letter == "," and not in_quotes
        line, column = (line + 1, 1) if letter == "\n" else (line, column + 1)
    return line, column


def read_entries(handle: BinaryIO, file: str) -> Iterator[Entry | Problem]:
    """Yield the apps of a CSV file in order, and a problem wherever there is none to yield.

    `file` names the file in problems. Reading goes on after a bad record, and ends after a bad
    header.
    """
    lines = CsvLines(handle, file)
    reader = csv.reader(lines, strict=True)
    header = read_header(records(reader, lines), lines)
    yield from lines.next_record()
    if header is None:
        return
    for cells in records(reader, lines):
        app = check_record(cells, header, lines)
        found = lines.next_record()
        if found:
            yield from found
        elif app is not None:
            yield Entry(app, cells, header)


def records(reader: Iterator[list[str]], lines: CsvLines) -> Iterator[list[str]]:
    """Yield the cells of every record; none for a blank line or one that cannot be parsed."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            lines.note(lines.first_line(), 1, *plain_words(str(error)))
            yield []
    if lines.problems:
        yield []


def plain_words(said: str) -> tuple[str, str]:
    """Return message and hint for what the CSV parser says."""
    if "new-line" in said:
        return "a carriage return inside a line", "save the file with line feeds"
    if "expected after" in said:
        return "text after a closing quote", 'inside quotes, write a quote as ""'
    return "quotes are opened here and not closed", "add the closing quote"


def read_header(found: Iterator[list[str]], lines: CsvLines) -> Header | None:
    """Return the columns, or None with the problem noted."""
    names = tuple(name.strip() for name in next(found, []))
    if lines.problems:
        return None
    if not any(names):
        lines.note(1, 1, "the file has no header", f"its first line names the columns: {ID_COLUMN}")
        return None
    for index, name in enumerate(names):
        if not name:
            lines.note_cell(index, "a column without a name", "name it, or remove it")
        elif name in names[:index]:
            lines.note_cell(index, f"a second column {echo(name)}", "columns have unique names")
    if ID_COLUMN not in names:
        lines.note(1, 1, f"there is no column {ID_COLUMN}", header_hint(names))
    return None if lines.problems else Header(names, names.index(ID_COLUMN))


def header_hint(names: Sequence[str]) -> str:
    for separator, called in OTHER_SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            return f"columns are separated by commas, not by {called}"
    for name in names:
        if closest(name.replace(" ", "_"), (ID_COLUMN,)):
            return f"rename the column {echo(name)} to {ID_COLUMN}"
    return f"the first line names the columns, and one of them is {ID_COLUMN}"


def check_record(cells: Sequence[str], header: Header, lines: CsvLines) -> AppId | None:
    """Return the id that a record holds, or None; what is wrong with it is noted."""
    if not cells or lines.problems:
        return None
    if len(cells) != len(header.names):
        index = min(len(cells), len(header.names))
        index = index if len(cells) > index else 0
        noun = "value" if len(cells) == 1 else "values"
        text = f"{len(cells)} {noun} where the header names {len(header.names)} columns"
        lines.note_cell(index, text, "put values that contain commas in quotes")
        return None
    text = cells[header.id_index].strip()
    try:
        return read_app_id(text)
    except PydanticCustomError as error:
        told = error.context or {}
    message, hint = (told["message"], told["hint"]) if text else ("the id is empty", None)
    lines.note_cell(header.id_index, message, hint, ID_COLUMN)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A CSV file as it was when it was checked."""

    path: Path
    stamp: FileStamp

    def entries(self) -> Iterator[Entry]:
        """Read the file again, a record at a time.

        Raises:
            PlanError: it is not as it was when it was checked.
        """
        try:
            handle = open_regular(self.path)
        except (OSError, ValueError) as error:
            raise PlanError([self.problem(f"cannot be read any more: {reason(error)}")]) from None
        with handle:
            self.require_same(stamp_of(handle))
            for entry in read_entries(handle, str(self.path)):
                if isinstance(entry, Problem):
                    raise PlanError([entry])
                yield entry
            self.require_same(stamp_of(handle))

    def require_same(self, stamp: FileStamp) -> None:
        if stamp != self.stamp:
            raise PlanError([self.problem("has changed since it was checked")])

    def problem(self, message: str) -> Problem:
        hint = "run the plan again to use the file as it is now"
        return Problem(file=str(self.path), line=1, column=1, path="", message=message, hint=hint)
