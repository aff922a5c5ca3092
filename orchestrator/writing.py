"""What all files that we write have in common: whole or not at all, and safe to open."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO
from unicodedata import category

from orchestrator.errors import ReportError

OWNER_ONLY = 0o600
LINE_PARTS = re.compile("([\n\t])")
FORMULA_START = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - some spreadsheets take the wide ones


def on_one_line(text: str, *, instead: str = " ") -> str:
    """Return foreign text as a part of a line, with a space for each character that does not show.

    The one rule for whatever an org, a file or a command says, wherever it is shown. It takes out
    control codes, which steer terminals; marks that turn the direction of what follows; breaks of
    lines of every kind; and halves of surrogate pairs, which no file takes. `instead` stands for
    them in place of the space.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or category(each) == "Zs" else instead for each in text
    )


def as_words(text: str, longest: int | None = None) -> str:
    """Return foreign text on one line, with single spaces between its words, and no longer."""
    words = " ".join(on_one_line(text).split())
    return words if longest is None or len(words) <= longest else f"{words[: longest - 1]}…"


def on_lines(text: str, *, instead: str = " ") -> str:
    """Return foreign text of several lines: only line feeds and tabs are left of what steers."""
    return "".join(
        each if each in "\n\t" else on_one_line(each, instead=instead)
        for each in LINE_PARTS.split(text)
    )


def write_whole(path: Path, write: Callable[[TextIO], object], *, mode: int = OWNER_ONLY) -> Path:
    """Write beside the path, then move into place, so that no half file is ever seen.

    A link that stands at the path is replaced, not followed; the draft has a name that nobody can
    know before, and is readable by its owner only until all of it is there.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write(file)
            file.flush()
            if mode != OWNER_ONLY:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(draft).unlink()
        raise
    return path


def write_pieces(path: Path, pieces: Iterable[str]) -> Path:
    """Write a text, and the folder for it, whole or not at all, readable by its owner only.

    Raises:
        ReportError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(path, lambda file: file.writelines(pieces))
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from error


def cell_of(value: object, *, is_foreign: bool) -> str:
    """Flatten one value into a cell of a CSV file.

    Foreign text, which people typed or an org sent, cannot start a spreadsheet formula.
    """
    match value:
        case None:
            text = ""
        case bool():
            text = str(value).lower()
        case list() | tuple():
            text = "; ".join(map(str, value))
        case dict():
            text = "; ".join(f"{name}={each}" for name, each in value.items())
        case _:
            text = str(value)
    return f"'{text}" if is_foreign and text.startswith(FORMULA_START) else text
