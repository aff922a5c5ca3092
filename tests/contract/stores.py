"""Every store there is, and runs to put into them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.model import (
    Activation,
    ActivationState,
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
from orchestrator.store.base import Archive, JobRecord, NewRun, RunState, Session
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


def activation(
    of: Target,
    state: ActivationState = ActivationState.ACTIVATED,
    *,
    at: datetime | None = None,
    retryable: bool = False,
) -> Activation:
    return Activation(
        target=of,
        kid=KEY.kid,
        wave=1,
        state=state,
        detail=f"{state.value}, as a person would read it \ud800",
        previous_kid=Kid("kid-0"),
        reason=Reason.NO_ANSWER if state is ActivationState.FAILED else None,
        retryable=retryable,
        changes=("label",),
        evidence=Evidence(http_status=200, attempts=2),
        at=at or datetime.now(UTC),
    )


def settled_apps(archive: Archive, run_id: str = RUN) -> list[str]:
    return [found.target.app for found in archive.outcomes(run_id)]


def assert_whole(archive: Archive, run_id: str = RUN) -> None:
    assert archive.verify(run_id).problem is None
    assert archive.verify(run_id).ok


def written(numbers: range = range(6)) -> Store:
    """Return a store with a run that has something of everything."""
    store = Store.memory(clock=SystemClock())
    create(store, 10)
    asyncio.run(first_session(store, numbers))
    store.begin_session(RUN, SESSION)
    added = [(0, target(20)), (0, target(21))]
    store.change_plan(RUN, plan_digest="changed", targets=added)
    store.change_plan(RUN, plan_digest="again", removed=[(0, target(21).app)])
    store.acknowledge(RUN, [(0, target(number).app) for number in (0, 2, 7)], "ann")
    for trigger in ("events_are_not_changed", "events_are_not_removed"):
        store.writer.execute(f"DROP TRIGGER {trigger}")
    return store


async def first_session(store: Store, numbers: range) -> None:
    async with store.journal(RUN) as journal:
        await journal.note_source(0, CERTIFICATE, None)
        for number in numbers:
            status = Status.FAILED if number % 3 == 1 else Status.CLONED
            await journal.settle(outcome(target(number), status))
        await journal.assign_waves(0, [(1, 4), (2, 6)])
        for number, state in ((0, ActivationState.VERIFIED), (2, ActivationState.FAILED)):
            await journal.note_activation(activation(target(number), state))
        await journal.note("intent", {"n": 1})
        await journal.end_session(RunState.STOPPED, stop=None, exit_code=3)
