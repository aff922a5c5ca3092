"""A state file as earlier versions made it: their schema, and rows that the first one wrote."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from orchestrator.store.chain import canonical, genesis
from orchestrator.store.database import Database, sql_text
from orchestrator.store.opening import (
    APPLICATION_ID,
    migrations,
    pragma,
    staged_at_of,
    statements,
)
from tests.contract.stores import RUN

AT = "2026-11-23T04:08:00.620501+00:00"
OWNER = {"owner": "team 0"}
KEY = {"app": "0oaSource", "kid": "kid-1"}
CERTIFICATE = {
    "key_bits": 2048,
    "not_after": "2029-01-01T00:00:00Z",
    "not_before": "2026-01-01T00:00:00Z",
    "signature_hash": "sha256",
    "subject": "CN=example",
    "thumbprint": "x" * 43,
}
PROBLEM = "the org answered with another key"
STOP = {"cause": "deadline", "detail": "the deadline has passed", "hint": None}
RUN_CREATED = {
    "dry_run": False,
    "org": "https://acme.test",
    "plan": "finance",
    "plan_digest": "d" * 64,
    "run_id": RUN,
}
SESSION = {"command": "okta-keys run plan.yaml", "host": "here", "pid": 4711, "version": "0"}
EVIDENCE = {
    "attempts": 2,
    "causes": [],
    "http_status": 201,
    "location_app": None,
    "lost_answers": 0,
    "okta_code": None,
    "request_ids": ["a", "b"],
    "thumbprint": None,
    "waited_seconds": 0.1,
}

Json = dict[str, object]


def job(position: int, certificate: Json | None = None, problem: str | None = None) -> Json:
    return {
        "certificate": certificate,
        "dropped": {"duplicate": 2},
        "key": KEY,
        "name": f"job-{position}",
        "position": position,
        "problem": problem,
    }


def added(*apps: str) -> list[Json]:
    return [
        {"app": app, "position": position, "tags": {} if position else OWNER}
        for position, app in enumerate(apps)
    ]


def settled(app: str, status: str, at: str | None, tags: Json | None = None) -> Json:
    is_staged = status != "failed"
    return {
        "detail": f"{status}, as a person would read it",
        "evidence": EVIDENCE,
        "key": KEY,
        "label": None,
        "proof": "response" if is_staged else None,
        "reason": None if is_staged else "no_answer",
        "retryable": not is_staged,
        "settled_at": at,
        "status": status,
        "target": {"app": app, "job": "job-0", "tags": tags or {}},
    }


APPS = [f"0oa{number:06d}" for number in range(5)]
EVENTS: tuple[tuple[str, Json], ...] = (
    ("run_created", {"jobs": [job(0), job(1)], "run": RUN_CREATED}),
    ("targets_added", {"job": 0, "targets": added(*APPS)}),
    ("targets_added", {"job": 1, "targets": added(APPS[0])}),
    ("session_started", {"session": SESSION}),
    ("source_read", {"certificate": CERTIFICATE, "job": 0, "problem": None}),
    ("target_settled", settled(APPS[0], "cloned", "2026-11-23T04:08:01Z", {**OWNER})),
    ("target_settled", settled(APPS[1], "failed", "2026-11-23T04:08:02.500000Z")),
    ("target_settled", settled(APPS[3], "already_present", "2026-11-23T04:08:01.600000Z")),
    ("target_settled", settled(APPS[4], "cloned", None)),
    ("source_read", {"certificate": None, "job": 1, "problem": PROBLEM}),
    ("session_ended", {"exit_code": 7, "state": "stopped", "stop": STOP}),
)
TARGETS = (
    (0, 0, APPS[0], canonical(OWNER), "cloned", 6),
    (0, 1, APPS[1], "{}", "failed", 7),
    (0, 2, APPS[2], "{}", None, None),
    (0, 3, APPS[3], "{}", "already_present", 8),
    (0, 4, APPS[4], "{}", "cloned", 9),
    (1, 0, APPS[0], canonical(OWNER), None, None),
)


def make(path: Path) -> None:
    """Write a file of schema 1 with a run that was stopped half way."""
    with closing(Database(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in statements(sql_text("0001_runs.sql")):
            database.execute(statement)
        database.execute("PRAGMA user_version = 1")
        fill(database)
    path.chmod(0o600)


def make_later(path: Path, version: int) -> None:
    """Write such a file as a later version would have left it."""
    make(path)
    with closing(Database(path)) as database:
        database.connection.create_function("staged_at", 1, staged_at_of)
        for number, script in migrations():
            if pragma(database, "user_version") < number <= version:
                for statement in statements(script):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {number}")


def fill(database: Database) -> None:
    tip, events = genesis(RUN), []
    for kind, value in EVENTS:
        body = canonical(value)
        tip = tip.extend(at=AT, kind=kind, body=body)
        events.append((tip.seq, AT, kind, body, tip.digest))
    database.execute(
        "INSERT INTO runs VALUES (1, ?, 'finance', 'https://acme.test', ?, 0, ?, ?, 'stopped', 1,"
        " ?, 7, ?, ?)",
        (RUN, "d" * 64, AT, AT, canonical(STOP), tip.seq, tip.digest),
    )
    for position, record in enumerate((job(0, CERTIFICATE), job(1, problem=PROBLEM))):
        values = (position, f"job-{position}", canonical(record))
        database.execute("INSERT INTO jobs VALUES (1, ?, ?, ?)", values)
    for target in TARGETS:
        database.execute("INSERT INTO targets VALUES (1, ?, ?, ?, ?, ?, ?)", target)
    for event in events:
        database.execute("INSERT INTO events VALUES (1, ?, ?, ?, ?, ?)", event)
