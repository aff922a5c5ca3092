"""Append to a run's history, and go on behind what people have added to it meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from orchestrator.errors import StateError
from orchestrator.store.base import PEOPLES_KINDS
from orchestrator.store.chain import Tip
from orchestrator.store.database import QUERIES
from orchestrator.store.entries import Entry

EVENTS_AT_ONCE = 100  # to a statement; more are held in memory for nothing
ALL = -1  # rows: SQLite takes a negative limit for none


def append(
    connection: sqlite3.Connection, run: int, tip: Tip, entries: Iterable[Entry], at: str
) -> Tip:
    """Write events and what they change, within the caller's transaction; return the new tip.

    `tip` is the end of the history as the caller knows it.

    Raises:
        StateError: an event is about nothing that the run has, or somebody else has written to
            the run since `tip`.
    """
    tip = before = newest_tip(connection, run, tip)
    events = []
    for entry in entries:
        tip = tip.extend(at=at, kind=entry.kind, body=entry.body)
        events.append((run, tip.seq, at, entry.kind, entry.body, tip.digest))
        for query, values, rows in entry.changes:
            changed = connection.execute(QUERIES[query], {**values, "run": run, "seq": tip.seq})
            if changed.rowcount != rows:
                raise StateError(
                    f"the run does not have what {entry.kind} is about",
                    expected=rows,
                    found=changed.rowcount,
                )
        if len(events) == EVENTS_AT_ONCE:
            connection.executemany(QUERIES["insert_event"], events)
            events.clear()
    if tip != before:
        connection.executemany(QUERIES["insert_event"], events)
        connection.execute(QUERIES["advance_run"], (tip.seq, tip.digest, at, run))
    return tip


def newest_tip(connection: sqlite3.Connection, run: int, tip: Tip) -> Tip:
    """Return the end of the history: `tip`, or that of what people have added behind it.

    People need no lock, so what they add is adopted. A second executor of the run is kept out,
    whatever the lock has missed.

    Raises:
        StateError: anybody else has written to the run since `tip`.
    """
    end = connection.execute(QUERIES["select_tip"], (run,)).fetchone()
    if end == (tip.seq, tip.digest):
        return tip
    since = {"run": run, "after": tip.seq, "kind": None, "most": ALL}
    for _, at, kind, body, digest in connection.execute(QUERIES["events_page"], since):
        if kind not in PEOPLES_KINDS:
            raise intrusion()
        tip = tip.extend(at=at, kind=kind, body=body)
        if digest != tip.digest:
            raise intrusion()
    if end != (tip.seq, tip.digest):
        raise intrusion()
    return tip


def intrusion() -> StateError:
    return StateError(
        "another process has written to this run",
        hint="only one may execute a run; see which there are: ps -ef | grep okta-keys",
    )
