"""What SQLite and the operating system say went wrong, in words that a person can act on."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StateError

MOVE_AWAY = (
    "move it away (mv {path} {path}.damaged) and run the plan again: the org itself tells what was"
    " done before, a target that holds the key is found to be already present"
)
FREE_SPACE = "free some space, then run the plan again: it goes on where it stopped"
ACCESS = "run as the user who owns it, or name another folder with --state or OKTA_KEYS_STATE"
TRY_AGAIN = "see what else uses {path} (another okta-keys, a backup), then try again"
REPORT_IT = "this is a mistake in okta-keys: please report it"
CHECK_DISK = (
    "see whether the disk is full (df {path}) or the system's log tells of trouble with it, then"
    " run the plan again: it goes on where it stopped"
)

DAMAGED = "the state file is damaged"

# by primary result code, https://www.sqlite.org/rescode.html
SQLITE_REASONS = {
    sqlite3.SQLITE_FULL: ("the disk is full", FREE_SPACE),
    sqlite3.SQLITE_IOERR: ("the disk cannot be read or written", CHECK_DISK),
    sqlite3.SQLITE_BUSY: ("another process keeps the state file locked", TRY_AGAIN),
    sqlite3.SQLITE_LOCKED: ("another process keeps the state file locked", TRY_AGAIN),
    sqlite3.SQLITE_CORRUPT: (DAMAGED, MOVE_AWAY),
    sqlite3.SQLITE_NOTADB: ("the state file is damaged, or no state file at all", MOVE_AWAY),
    sqlite3.SQLITE_READONLY: ("the state file or its folder is read-only", ACCESS),
    sqlite3.SQLITE_PERM: ("the state file may not be used", ACCESS),
    sqlite3.SQLITE_CONSTRAINT: ("the journal has this already, or not what it is about", REPORT_IT),
    sqlite3.SQLITE_CANTOPEN: ("the state file cannot be opened", ACCESS),
}
SYSTEM_REASONS = {
    errno.ENOSPC: ("the disk is full", FREE_SPACE),
    errno.EDQUOT: ("the disk quota is used up", FREE_SPACE),
    errno.EACCES: ("the state may not be used by this user", ACCESS),
    errno.EPERM: ("the state may not be used by this user", ACCESS),
    errno.EROFS: ("the disk is read-only", ACCESS),
    errno.ENOTDIR: ("a file stands where a folder should be", ACCESS),
    errno.EEXIST: ("a file stands where a folder should be", ACCESS),
    errno.EISDIR: ("a folder stands where the state file should be", ACCESS),
    errno.ELOOP: ("the path is a circle of links", ACCESS),
    errno.ENAMETOOLONG: ("the path is too long", ACCESS),
}


@contextmanager
def told_as(kind: type[StateError], path: Path | str) -> Iterator[None]:
    """Turn the errors of SQLite and of the system into `kind`."""
    try:
        yield
    except sqlite3.Error as error:
        raise of_sqlite(error, kind, path) from error
    except OSError as error:
        reason, hint = SYSTEM_REASONS.get(error.errno or 0, ("the state cannot be used", ACCESS))
        raise kind(reason, hint=hint.format(path=path), file=path, cause=str(error)) from error


def of_sqlite(error: sqlite3.Error, kind: type[StateError], path: Path | str) -> StateError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = sqlite3.SQLITE_ERROR if code is None else code & 0xFF
    reason, hint = SQLITE_REASONS.get(primary, ("the state file cannot be used", MOVE_AWAY))
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return kind(
        reason, hint=hint.format(path=path), file=path, cause=f"{name}: {error}", owner=owner(path)
    )


def owner(path: Path | str) -> str | None:
    """Return who owns the file, when that is somebody else."""
    try:
        uid = Path(path).stat().st_uid
    except OSError:
        return None
    return None if uid == os.geteuid() else f"user id {uid}"
