"""Open what the user names: regular files only, without ever waiting on a pipe or a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What tells one state of a file from another without reading it."""

    device: int
    inode: int
    size: int  # bytes
    modified_ns: int


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Symbolic links are followed.

    Raises:
        OSError: it does not exist, may not be read, or is not a regular file; `strerror` says
            which, for people.
    """
    require_regular(path, path.stat())
    handle = os.fdopen(os.open(path, os.O_RDONLY | NO_WAIT), "rb")
    try:
        require_regular(path, os.fstat(handle.fileno()))
    except OSError:
        handle.close()
        raise
    return handle


def read_regular(
    path: Path, most: int, *, accept: Callable[[os.stat_result], None] | None = None
) -> bytes | None:
    """Return what is in a regular file; None where that is more than so many bytes.

    `accept` may refuse the file that was opened, by raising; its path may lead to another by then.

    Raises:
        OSError, ValueError: it cannot be read; see `open_regular`.
    """
    with open_regular(path) as handle:
        if accept is not None:
            accept(os.fstat(handle.fileno()))
        if stamp_of(handle).size > most:
            return None
        data = handle.read(most + 1)
    return data if len(data) <= most else None


def located(text: str, folder: Path) -> Path:
    """Return the path that a file in `folder` names: `~` is the user's home.

    A user who has no home keeps the `~`, and finds no such file.
    """
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        return folder / text


def is_missing(path: Path) -> bool:
    """Say whether nothing is at a path. What this user may not look for may be there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def stamp_of(handle: BinaryIO) -> FileStamp:
    status = os.fstat(handle.fileno())
    return FileStamp(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, f"it is {kind_of_file(status.st_mode)}, not a regular file", str(path))


def kind_of_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def reason(error: OSError | ValueError) -> str:
    """Return why a file could not be read, as the end of a sentence."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    return str(getattr(error, "strerror", None) or "its path is not usable").lower()
