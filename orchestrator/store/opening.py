"""Open a state file: create it whole, check it before it is trusted, update its schema."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from filelock import FileLock

from orchestrator.errors import StateError, StateUnusable
from orchestrator.model import Outcome
from orchestrator.store.codec import load
from orchestrator.store.database import Database, sql_text
from orchestrator.store.entries import staged_at
from orchestrator.store.failures import DAMAGED, MOVE_AWAY, told_as

APPLICATION_ID = 0x4F4B5931  # "OKY1" in the file's header: not some other program's database
MAGIC = b"SQLite format 3\x00"
HEADER = 100  # bytes, https://www.sqlite.org/fileformat.html
THOROUGH_CHECK = 64 * 1024 * 1024  # bytes; larger files are checked at their ends only


def open_file(path: Path) -> Database:
    """Open the state file, after creating it and its folder where they are missing.

    Raises:
        StateUnusable: with the reason, and what to do.
    """
    try:
        with told_as(StateUnusable, path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_folder(path)
            if not path.exists():
                create(path)
            check_header(path)
        return open_checked(path)
    except StateUnusable:
        raise
    except StateError as error:
        raise StateUnusable(error.message, hint=error.hint, **error.context) from error


def check_folder(path: Path) -> None:
    """Refuse a folder in which anybody may put files and links in the place of ours.

    One that a group may write to is let pass: volumes of Kubernetes are so, as are folders made
    with a umask of 002. So is one like /tmp, where nobody may touch the files of others, unless
    somebody has put some there under our names before us.

    Raises:
        StateUnusable: it is such a folder.
    """
    folder = path.parent
    mode = folder.stat().st_mode
    if not mode & stat.S_IWOTH:
        return
    if mode & stat.S_ISVTX:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.startswith(path.name)]
            strange = [
                entry for entry in found if not is_our_file(entry.stat(follow_symlinks=False))
            ]
        if not strange:
            return
    raise StateUnusable(
        "everybody may write to the folder of the state, so its files may be anybody's",
        hint=f"chmod o-w {folder}, or name a folder within it: --state {folder / 'okta-keys'}",
        folder=folder,
    )


def is_our_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def open_checked(path: Path) -> Database:
    database = Database(path)
    try:
        check_content(database, path)
        migrate(database)
    except StateError:
        database.close()
        raise
    return database


def create(path: Path) -> None:
    """Build the file elsewhere and move it into place, so that nobody ever sees half of one.

    Switching a new file to WAL where it stands would ignore the busy timeout of whoever opens it
    at the same moment.
    """
    draft = path.with_name(path.name + ".new")
    with FileLock(path.with_name(path.name + ".new.lock"), timeout=60, mode=0o600):
        if path.exists():
            return
        draft.unlink(missing_ok=True)  # of a process that died here
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(Database(draft)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(database)
        draft.replace(path)


def check_header(path: Path) -> None:
    """Refuse what is plainly no whole state file, before SQLite gets to see it.

    SQLite takes an empty file for a new database, and throws its WAL away.

    Raises:
        StateUnusable: with the reason.
    """
    with path.open("rb") as file:
        header = file.read(HEADER)
        size = os.fstat(file.fileno()).st_size
    if len(header) < HEADER:
        raise damaged(path, f"it is cut off after {size} bytes")
    if not header.startswith(MAGIC):
        raise StateUnusable(
            "this is not a state file of okta-keys",
            hint="name another folder with --state or OKTA_KEYS_STATE",
            file=path,
        )


def check_content(database: Database, path: Path) -> None:
    """Look for another program's file, a newer schema, and lost pages.

    `quick_check` reads the whole file: measured, 100 MB in 0.1 s from memory but 1.3 s from a disk,
    so it is for files that it can do in a second. In a larger one a lost tail shows where it is
    cheap to look: SQLite itself refuses a file shorter than its header says, and a run whose newest
    event is not the one that its row names has lost pages. What is damaged in the middle is found
    by `verify`, and when it is read.

    Raises:
        StateUnusable: with the reason.
    """
    application, version = pragma(database, "application_id"), pragma(database, "user_version")
    newest = max(number for number, _ in migrations())
    if application != APPLICATION_ID:
        raise StateUnusable(
            "this is the database of another program",
            hint="name another folder with --state or OKTA_KEYS_STATE",
            file=path,
        )
    if version > newest:
        raise StateUnusable(
            f"the state file was made by a newer okta-keys (schema {version}, this one knows"
            f" {newest})",
            hint="update okta-keys, or name another folder with --state or OKTA_KEYS_STATE",
            file=path,
        )
    if path.stat().st_size <= THOROUGH_CHECK:
        findings = database.execute("PRAGMA quick_check(1)")
        if findings != [("ok",)]:
            raise damaged(path, str(findings[0][0]))
    broken = database.read("broken_ends") if version else []
    if broken:
        raise damaged(path, f"the end of run {broken[0][0]} is missing")


def migrate(database: Database) -> None:
    """Bring the schema up to date: all missing steps, or none of them."""
    with database.transaction() as connection:
        connection.create_function("staged_at", 1, staged_at_of)
        version = pragma(database, "user_version")
        for number, script in migrations():
            if number > version:
                for statement in statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def staged_at_of(body: object) -> str | None:
    """Return when the outcome in an event's body was staged; for 0002.

    Where the body cannot be read there is none: that is for `verify` to tell, with its place.
    """
    try:
        return staged_at(load(str(body), Outcome))
    except StateError:
        return None


def migrations() -> list[tuple[int, str]]:
    """Return number and text of every migration, in order."""
    folder = files("orchestrator.store").joinpath("sql")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name[:4].isdigit())
    return [(int(name[:4]), sql_text(name)) for name in names]


def statements(script: str) -> Iterator[str]:
    """Split a script, since `executescript` would end the transaction that it is to be part of."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def pragma(database: Database, name: str) -> int:
    value = database.execute(f"PRAGMA {name}")[0][0]
    return value if isinstance(value, int) else 0


def damaged(path: Path, finding: str) -> StateUnusable:
    return StateUnusable(DAMAGED, hint=MOVE_AWAY.format(path=path), file=path, finding=finding)
