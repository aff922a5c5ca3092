"""Read runs from the database: in pages, so that neither memory nor the writer feels it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.errors import StateError, StateUnusable
from orchestrator.model import AppId, Outcome, RunId, Status, Target
from orchestrator.store.base import (
    EventKind,
    EventRecord,
    JobRecord,
    RunRecord,
    RunState,
    StopRecord,
    TargetCounts,
    Verification,
)
from orchestrator.store.codec import from_json, load, parse
from orchestrator.store.database import Database, Row
from orchestrator.store.replay import Projected, Replay

PAGE = 500  # rows
BEFORE_ALL = -(2**63)  # SQLite's smallest integer: whatever was put there is seen


class SqliteArchive:
    """The `Archive` of one SQLite database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def runs(self, *, plan: str | None = None, org: str | None = None) -> list[RunRecord]:
        rows = self.database.read("select_runs", {"plan": plan, "org": org})
        return [run_of(row) for row in rows]

    def run(self, run_id: str) -> RunRecord:
        return self.find(run_id)[1]

    def find(self, run_id: str) -> tuple[int, RunRecord]:
        """Return the run with its number, which only the store uses."""
        rows = self.database.read("find_runs", {"name": run_id})
        found = [(integer(row[0]), run_of(row)) for row in rows]
        if not found or not run_id:
            newest = self.database.read("find_runs", {"name": "latest"})
            raise StateUnusable(
                "there are no runs yet" if not newest else f"there is no run {run_id!r}",
                hint=f"the newest is {newest[0][1]}" if newest else None,
            )
        if len(found) > 1 and run_id not in ("latest", found[0][1].run_id):
            raise StateUnusable(
                f"more than one run begins with {run_id!r}",
                hint=f"such as {found[0][1].run_id} and {found[1][1].run_id}",
            )
        return found[0]

    def jobs(self, run_id: str) -> tuple[JobRecord, ...]:
        return self.jobs_of(self.find(run_id)[0])

    def jobs_of(self, run: int) -> tuple[JobRecord, ...]:
        return tuple(
            load(text(row[2]), JobRecord) for row in self.database.read("select_jobs", (run,))
        )

    def outcomes(self, run_id: str) -> Iterator[Outcome]:
        run = self.find(run_id)[0]
        return (outcome_of(row) for row in self.target_rows("settled_page", run))

    def targets(self, run_id: str) -> Iterator[tuple[int, Target, Outcome | None]]:
        run = self.find(run_id)[0]
        names = {job.position: job.name for job in self.jobs_of(run)}
        for row in self.target_rows("targets_page", run):
            job = integer(row[0])
            outcome = None if row[4] is None else outcome_of(row)
            yield job, target_of(names[job], row[2], row[3]), outcome

    def pending_page(self, run: int, job: int, name: str, after: int) -> list[tuple[int, Target]]:
        """Return positions and targets of the next page; empty when there are no more."""
        values = {"run": run, "job": job, "after": after, "most": PAGE}
        rows = self.database.read("pending_page", values)
        return [(integer(position), target_of(name, app, tags)) for position, app, tags in rows]

    def events(self, run_id: str, *, kind: str | None = None) -> Iterator[EventRecord]:
        run = self.find(run_id)[0]
        return (event_of(row) for row in self.event_rows(run, kind))

    def counts(self, run_id: str) -> TargetCounts:
        rows = self.database.read("count_targets", (self.find(run_id)[0],))
        by_status = {status: integer(number) for status, number in rows}
        return TargetCounts(
            settled={status: by_status.get(status.value, 0) for status in Status},
            pending=by_status.get(None, 0),
        )

    def verify(self, run_id: str) -> Verification:
        with self.database.snapshot():
            run, record = self.find(run_id)
            replay = Replay(record.run_id)
            try:
                for row in self.event_rows(run, None):
                    replay.take(row)
                replay.check_run(record, self.jobs_of(run))
                replay.check_targets(self.projection(run))
            except StateError as error:
                return Verification(ok=False, events=replay.tip.seq, problem=error.diagnostics())
        return Verification(ok=True, events=replay.tip.seq, problem=None)

    def projection(self, run: int) -> Iterator[tuple[int, str, Projected]]:
        for job, position, app, tags, status, settled in self.target_rows("projection_page", run):
            yield integer(job), text(app), Projected(position, tags, status, settled)

    def target_rows(self, query: str, run: int) -> Iterator[Row]:
        """Yield the rows of a query that pages by job and position."""
        job, after = BEFORE_ALL, BEFORE_ALL
        while page := self.database.read(
            query, {"run": run, "job": job, "after": after, "most": PAGE}
        ):
            yield from page
            job, after = integer(page[-1][0]), integer(page[-1][1])

    def event_rows(self, run: int, kind: str | None) -> Iterator[Row]:
        after = BEFORE_ALL
        while page := self.database.read(
            "events_page", {"run": run, "after": after, "kind": kind, "most": PAGE}
        ):
            yield from page
            after = integer(page[-1][0])


def run_of(row: Row) -> RunRecord:
    (_, run_id, plan, org, digest, dry_run, created, updated, state, sessions) = row[:10]
    stop, exit_code, events, head = row[10:]
    try:
        return RunRecord(
            run_id=RunId(text(run_id)),
            plan=text(plan),
            org=text(org),
            plan_digest=text(digest),
            dry_run=bool(dry_run),
            created_at=datetime.fromisoformat(text(created)),
            updated_at=datetime.fromisoformat(text(updated)),
            state=RunState(text(state)),
            sessions=integer(sessions),
            stop=None if stop is None else load(text(stop), StopRecord),
            exit_code=None if exit_code is None else integer(exit_code),
            events=integer(events),
            head=bytes(head).hex() if isinstance(head, bytes) else "",
        )
    except ValueError as error:
        raise StateError(f"the journal holds an unreadable run: {error}") from error


def target_of(job: str, app: object, tags: object) -> Target:
    if tags == "{}":
        return Target(job=job, app=AppId(text(app)))
    return Target(job=job, app=AppId(text(app)), tags=load(text(tags), dict[str, str]))


def outcome_of(row: Row) -> Outcome:
    """Return the outcome in the event that a target's row points to."""
    kind, body = row[6], row[7]
    if kind != EventKind.TARGET_SETTLED:
        raise StateError(
            f"the outcome of target {row[2]} is missing from the journal",
            hint="okta-keys cannot trust this run any more; run the plan again with a new state",
        )
    return load(text(body), Outcome)


def event_of(row: Row) -> EventRecord:
    seq, at, kind, body, _ = row
    return EventRecord(
        seq=integer(seq),
        at=from_json(at, datetime),
        kind=text(kind),
        body=from_json(parse(text(body)), dict[str, object]),
    )


def text(value: object) -> str:
    """Return a column that the schema declares TEXT; SQLite would keep anything in it."""
    if not isinstance(value, str):
        raise StateError(f"the journal holds {value!r} where text should be")
    return value


def integer(value: object) -> int:
    if not isinstance(value, int):
        raise StateError(f"the journal holds {value!r} where a number should be")
    return value
