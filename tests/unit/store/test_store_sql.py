"""The queries and migrations, and the store's errors, by themselves."""

from __future__ import annotations

import errno
import re
import sqlite3
from pathlib import Path

import pytest

import orchestrator.store
from orchestrator.errors import ExitCode, LockHeld, StateError, StateUnusable
from orchestrator.store.database import MEMORY, QUERIES, Database, read_queries
from orchestrator.store.failures import told_as
from orchestrator.store.opening import migrate, migrations, pragma, statements


def test_every_query_is_used() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(orchestrator.store.__path__[0]).glob("*.py")
    )
    assert [name for name in QUERIES if f'"{name}"' not in code] == []


@pytest.mark.parametrize("name", [name for name in QUERIES if name.endswith("_page")])
def test_a_page_is_found_by_key_and_needs_no_sorting(name: str) -> None:
    database = Database(MEMORY)
    migrate(database)
    values = dict.fromkeys(re.findall(r":(\w+)", QUERIES[name]), 1)
    plan = [str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", values)]
    database.close()
    assert plan
    assert all(step.startswith("SEARCH") for step in plan)
    assert ("run=? AND" in plan[0]) or ("plan=? AND org=? AND" in plan[0])


def test_queries_are_named_by_the_line_above() -> None:
    text = "-- a file\n\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT 2;\n"
    assert read_queries(text) == {"one": "\n-- why\nSELECT 1;\n\n", "two": "\nSELECT 2;\n"}


def test_migrations_are_numbered_without_gaps_and_idempotent() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    database = Database(MEMORY)
    migrate(database)
    migrate(database)
    assert pragma(database, "user_version") == numbers[-1]
    database.close()


def test_a_script_is_split_where_statements_end() -> None:
    script = (
        "-- first;\nCREATE TABLE a (b); -- and\nCREATE TRIGGER c AFTER UPDATE ON a\n"
        "BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    assert [part.split()[-1] for part in statements(script)] == ["and", "END;"]


def test_exit_codes() -> None:
    assert StateError.exit_code is ExitCode.UNEXPECTED
    assert StateUnusable.exit_code is ExitCode.INVALID
    assert LockHeld.exit_code is ExitCode.LOCKED


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full"),
        (PermissionError(errno.EACCES, "x"), "may not be used by this user"),
        (OSError(errno.EROFS, "x"), "read-only"),
        (OSError(errno.EBADF, "x"), "cannot be used"),
        (sqlite3.OperationalError("x"), "cannot be used"),
    ],
)
def test_errors_of_the_system_are_told_with_a_hint(error: Exception, told: str) -> None:
    with pytest.raises(StateError, match=told) as caught, told_as(StateError, "/state/runs"):
        raise error
    assert caught.value.hint
    assert caught.value.__cause__ is error
    assert "/state/runs" in caught.value.diagnostics()
