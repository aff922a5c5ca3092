"""Every store there is, and runs to put into them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.model import (
    AppId,
    Certificate,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Proof,
    Reason,
    RunId,
    Status,
    Target,
)
from orchestrator.store.base import Archive, JobRecord, NewRun, Session
from orchestrator.store.sqlite import FILE_NAME, Store

RUN = RunId("20261123T040800Z-00000a")
KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid-1"))
SESSION = Session(pid=os.getpid(), host="here", command="okta-keys run plan.yaml", version="0")
CERTIFICATE = Certificate(
    thumbprint="x" * 43,
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2029, 1, 1, tzinfo=UTC),
    subject="CN=example",
    signature_hash="sha256",
    key_bits=2048,
)


def open_store(kind: str, folder: Path) -> Store:
    """Open one of the stores by name; `folder` is for the one that needs it."""
    if kind == "memory":
        return Store.memory(clock=SystemClock())
    return Store.open(folder / "state" / FILE_NAME, clock=SystemClock())


def job(position: int = 0) -> JobRecord:
    return JobRecord(position=position, name=f"job-{position}", key=KEY, dropped={"duplicate": 2})


def target(number: int, job_position: int = 0) -> Target:
    tags = {"owner": f"team {number}"} if number % 3 == 0 else {}
    return Target(job=f"job-{job_position}", app=AppId(f"0oa{number:06d}"), tags=tags)


def targets(count: int, job_position: int = 0) -> Iterator[tuple[int, Target]]:
    return ((job_position, target(number, job_position)) for number in range(count))


def new_run(run_id: str = RUN, *, plan: str = "finance", org: str = "https://acme.test") -> NewRun:
    return NewRun(run_id=RunId(run_id), plan=plan, org=org, plan_digest="d" * 64, dry_run=False)


def create(store: Store, count: int, run_id: str = RUN) -> None:
    """Create a run of one job with so many targets."""
    store.create_run(new_run(run_id), [job()], targets(count), SESSION)


def outcome(of: Target, status: Status = Status.CLONED) -> Outcome:
    return Outcome(
        target=of,
        key=KEY,
        status=status,
        detail=f"{status.value}, as a person would read it",
        proof=Proof.RESPONSE if status.is_staged else None,
        reason=None if status.is_staged else Reason.NO_ANSWER,
        retryable=not status.is_staged,
        evidence=Evidence(http_status=201, request_ids=("a", "b"), attempts=2, waited_seconds=0.1),
        settled_at=datetime.now(UTC),
    )


def settled_apps(archive: Archive, run_id: str = RUN) -> list[str]:
    return [found.target.app for found in archive.outcomes(run_id)]
