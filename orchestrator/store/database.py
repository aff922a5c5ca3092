"""One SQLite connection with its lock, and the queries. Threads may share it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import RLock

from orchestrator.errors import StateError
from orchestrator.store.failures import told_as

BUSY_SECONDS = 30.0  # another run may be writing its 200,000 targets
MEMORY = ":memory:"

Row = tuple[object, ...]
Values = Mapping[str, object] | Sequence[object]


def read_queries(text: str) -> dict[str, str]:
    """Return the queries of a file by the `-- name:` above each."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def sql_text(name: str) -> str:
    return files("orchestrator.store").joinpath("sql", name).read_text(encoding="utf-8")


QUERIES = read_queries(sql_text("queries.sql"))


class Database:
    """A connection whose statements run one at a time, whichever thread they come from.

    Raises, from everything:
        StateError: SQLite or the system says no.
    """

    def __init__(self, path: Path | str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self.lock = RLock()
        with told_as(StateError, path):
            self.connection = sqlite3.connect(
                path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        self.execute("PRAGMA foreign_keys = ON")
        self.execute("PRAGMA synchronous = FULL")  # a commit that returned survives a power cut
        # 16 MiB of WAL: a page that many commits touch is copied back once, not every time.
        self.execute("PRAGMA wal_autocheckpoint = 4000")

    def close(self) -> None:
        """Close the connection. The last one to close a file folds its WAL back into it."""
        with self.lock, told_as(StateError, self.path):
            self.connection.close()

    def execute(self, statement: str, values: Values = ()) -> list[Row]:
        """Run one statement, given as text, and return all its rows."""
        with self.lock, told_as(StateError, self.path):
            return self.connection.execute(statement, values).fetchall()

    def read(self, query: str, values: Values = ()) -> list[Row]:
        """Run a named query and return all its rows: ask for pages, so that they are few."""
        return self.execute(QUERIES[query], values)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all or nothing; waits for other writers, `busy_seconds` at most."""
        with self.lock, told_as(StateError, self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            finally:
                self.roll_back()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the file, whatever is written meanwhile. Keep it short."""
        with self.lock, told_as(StateError, self.path):
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.roll_back()

    def roll_back(self) -> None:
        """End what is left of a transaction: SQLite ends some by itself when they fail."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
