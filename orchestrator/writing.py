"""What all files that we write have in common: whole or not at all, and safe to open."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from orchestrator.errors import ReportError

CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")  # what a line of text cannot hold
FORMULA_START = ("=", "+", "-", "@", "\t", "\r")


def on_one_line(text: str) -> str:
    """Return foreign text as a part of a line: with a space for each control character."""
    return text.translate(CONTROLS)


def write_whole(path: Path, write: Callable[[TextIO], object]) -> Path:
    """Write beside the path, then move into place, so that no half file is ever seen."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write(file)
            file.flush()
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
