"""The program in a process that may kill itself at any of its writes.

It is forked from a server that has imported everything, so that a matrix of hundreds of processes
does not pay for the imports each time. Nothing of the program is replaced; only `sqlite3` is asked
to make connections that tell of their statements.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

# Imported for the server's sake: the commands import these when they run.
import orchestrator.cli.execute
import orchestrator.cli.history  # noqa: F401 - see above
from orchestrator.cli.main import main
from orchestrator.store.database import QUERIES

NAMES = {text.strip(): name for name, text in QUERIES.items()}
HARMLESS = ("SELECT", "PRAGMA foreign_keys", "PRAGMA synchronous", "PRAGMA quick_check")
SHARED = ("insert_event", "advance_run", "insert_job", "insert_target")  # by many transactions
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock")
FILE_NAMES = ("runs.sqlite3.new", "holder", "lock", "failed.csv", "json", "csv")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Step(NamedTuple):
    """One moment in the life of a process."""

    name: str
    occurrence: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a child is to do."""

    arguments: tuple[str, ...]
    folder: Path  # where it works; files outside are none of its steps
    environment: Mapping[str, str] = field(default_factory=dict)
    die_at: Step | None = None

    @property
    def out(self) -> Path:
        return self.folder / "child.out"

    @property
    def err(self) -> Path:
        return self.folder / "child.err"

    @property
    def steps(self) -> Path:
        """Return the file that gets a line for every step."""
        return self.folder / "child.steps"


class Steps:
    """Counts everything that the process is about to write, or has just written."""

    def __init__(self, orders: Orders) -> None:
        self.folder = orders.folder
        self.die_at = orders.die_at
        self.seen: Counter[str] = Counter()
        self.lock = Lock()
        self.file = os.open(orders.steps, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)

    def take(self, name: str) -> None:
        with self.lock:
            self.seen[name] += 1
            os.write(self.file, f"{name}\n".encode())
            if Step(name, self.seen[name]) == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Take the file operations out of what the interpreter announces (sys.addaudithook)."""
        if event not in FILE_EVENTS:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return
        path = Path(str(arguments[0]))
        if event == "fcntl.flock" or path.is_relative_to(self.folder):
            kind = next((kind for kind in FILE_NAMES if kind in path.name), "")
            self.take(f"{event} {kind}".rstrip())


class Watched(sqlite3.Connection):
    """A connection that makes a step before every statement that writes, and after a commit."""

    steps: Steps
    about = ""  # what the transaction at hand does

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        name = self.announce(sql)
        cursor = super().execute(sql, *values)  # type: ignore[arg-type]
        if name == "COMMIT":  # after any other, the file is what it was before
            self.steps.take(f"after COMMIT of {self.about}")
        return cursor

    def executemany(self, sql: str, rows: Iterable[object]) -> sqlite3.Cursor:
        rows = list(rows)
        if self.announce(sql) == "insert_event" and not self.about:
            self.about = kind_of(rows[0])  # a note, which changes no other table
        return super().executemany(sql, rows)  # type: ignore[arg-type]

    def announce(self, sql: str) -> str:
        name = name_of(sql)
        if name.startswith("BEGIN"):
            self.about = ""
        elif not (self.about or is_harmless(sql) or name in SHARED):
            self.about = name
        if name == "COMMIT":
            self.steps.take(f"before COMMIT of {self.about}")
        elif not is_harmless(sql):
            self.steps.take(f"before {name}")
        return name


def name_of(sql: str) -> str:
    """Return what to call a statement: its name in the program, or its first words."""
    known = NAMES.get(sql.strip())
    return known or " ".join(bare(sql).split()[:2])


def kind_of(event: object) -> str:
    """Return the kind of an event that is about to be inserted."""
    assert isinstance(event, tuple)
    return str(event[3])


def is_harmless(sql: str) -> bool:
    return bare(sql).upper().startswith(tuple(each.upper() for each in HARMLESS))


def bare(sql: str) -> str:
    """Return a statement without the comments above it."""
    lines = [line for line in sql.strip().splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip()


def live(orders: Orders) -> None:
    """Be the program. Exits with its exit code, unless a step is deadly."""
    os.environ.clear()
    os.environ.update(orders.environment)
    os.chdir(orders.folder)
    for number, path in ((1, orders.out), (2, orders.err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    sys.argv = ["okta-keys", *orders.arguments]
    Watched.steps = Steps(orders)
    sqlite3.connect = partial(sqlite3.connect, factory=Watched)  # type: ignore[assignment]
    sys.addaudithook(Watched.steps.hear)
    sys.exit(main(list(orders.arguments)))
