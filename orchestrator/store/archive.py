"""Read runs from the database: in pages, so that neither memory nor the writer feels it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from orchestrator.errors import StateError, StateUnusable
from orchestrator.model import AppId, AppSnapshot, Certificate, Kid, Outcome, Status, Target
from orchestrator.store.base import (
    EventKind,
    EventRecord,
    JobRecord,
    RunRecord,
    TargetCounts,
    TargetRecord,
    Verification,
    WaveCounts,
)
from orchestrator.store.codec import is_storable, load
from orchestrator.store.database import Database, Row
from orchestrator.store.entries import RunCreated
from orchestrator.store.records import (
    event_of,
    integer,
    job_of,
    outcome_of,
    record_of,
    run_of,
    target_of,
    text,
    waves_of,
)
from orchestrator.store.replay import Projected, Replay

PAGE = 500  # rows
ACTIVATABLE = {"first": "intended", "second": "failed", "unbegun": True}  # states of activation
ACTIVATED = {"first": "activated", "second": "activated", "unbegun": False}
OFTEN = (EventKind.TARGET_SETTLED, EventKind.ACTIVATION_NOTED)  # not in the index of the kinds
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
        rows = self.database.read("find_runs", {"name": run_id}) if is_storable(run_id) else []
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

    def plan_file(self, run_id: str) -> str:
        run = self.find(run_id)[0]
        first = {"run": run, "after": 0, "kind": EventKind.RUN_CREATED.value, "most": 1}
        rows = self.database.read("events_page", first)
        return load(text(rows[0][3]), RunCreated).run.plan_file if rows else ""

    def jobs(self, run_id: str) -> tuple[JobRecord, ...]:
        return self.jobs_of(self.find(run_id)[0])

    def jobs_of(self, run: int) -> tuple[JobRecord, ...]:
        return tuple(job_of(row) for row in self.database.read("select_jobs", (run,)))

    def outcomes(self, run_id: str) -> Iterator[Outcome]:
        run = self.find(run_id)[0]
        rows = self.target_rows("settled_page", run)
        return (outcome_of(app, kind, body) for _, _, app, kind, body in rows)

    def targets(self, run_id: str) -> Iterator[TargetRecord]:
        run = self.find(run_id)[0]
        names = {job.position: job.name for job in self.jobs_of(run)}
        return (record_of(row, names) for row in self.target_rows("targets_page", run))

    def pending_page(self, run: int, job: int, name: str, after: int) -> list[tuple[int, Target]]:
        """Return positions and targets of the next page; empty when there are no more."""
        values = {"run": run, "job": job, "after": after, "most": PAGE}
        rows = self.database.read("pending_page", values)
        return [(integer(position), target_of(name, app, tags)) for position, app, tags in rows]

    def wave_page(
        self, run: int, job: int, name: str, wave: int, states: Mapping[str, object], after: int
    ) -> list[tuple[int, TargetRecord]]:
        """As `pending_page`, of what is in some states of activation in a wave."""
        values = {"run": run, "job": job, "wave": wave, "after": after, "most": PAGE, **states}
        rows = self.database.read("wave_page", values)
        return [(integer(row[1]), record_of(row, {job: name})) for row in rows]

    def staged_page(self, run: int, job: int, after: int) -> list[tuple[int, Outcome]]:
        """As `pending_page`, of the outcomes of what is staged."""
        values = {"run": run, "job": job, "after": after, "most": PAGE}
        rows = self.database.read("staged_page", values)
        return [(integer(place), outcome_of(app, kind, body)) for place, app, kind, body in rows]

    def wave_sizes(self, run: int, job: int) -> dict[int | None, int]:
        rows = self.database.read("wave_sizes", (run, job))
        return {None if wave is None else integer(wave): integer(size) for wave, size in rows}

    def waves(self, run_id: str, job: int) -> list[WaveCounts]:
        return self.waves_of(self.find(run_id)[0], job)

    def waves_of(self, run: int, job: int) -> list[WaveCounts]:
        return list(waves_of(self.database.read("count_waves", {"run": run, "job": job})))

    def snapshot(self, plan: str, org: str) -> dict[AppId, AppSnapshot]:
        found: dict[AppId, AppSnapshot] = {}
        after = ""
        with self.database.snapshot():
            while page := self.database.read(
                "snapshot_page", {"plan": plan, "org": org, "after": after, "most": PAGE}
            ):
                found |= {AppId(text(app)): load(text(seen), AppSnapshot) for app, seen in page}
                after = text(page[-1][0])
        return found

    def events(self, run_id: str, *, kind: str | None = None) -> Iterator[EventRecord]:
        return self.events_of(self.find(run_id)[0], kind)

    def events_of(self, run: int, kind: str | None) -> Iterator[EventRecord]:
        return (event_of(row) for row in self.event_rows(run, kind))

    def counts(self, run_id: str) -> TargetCounts:
        rows = self.database.read("count_targets", (self.find(run_id)[0],))
        by_status = {status: integer(number) for status, number in rows}
        return TargetCounts(
            settled={status: by_status.get(status.value, 0) for status in Status},
            pending=by_status.get(None, 0),
        )

    def certificates(self, kids: Collection[Kid]) -> dict[Kid, Certificate]:
        asked = json.dumps([kid for kid in kids if is_storable(kid)])
        said: dict[Kid, list[object]] = {}
        for kid, record in self.database.read("find_certificates", {"kids": asked}):
            said.setdefault(Kid(text(kid)), []).append(record)
        found: dict[Kid, Certificate] = {}
        for kid, one in said.items():
            with suppress(StateError):  # what is damaged was never read
                if len(one) == 1:
                    found[kid] = load(text(one[0]), Certificate)
        return found

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
        for job, position, app, *rest in self.target_rows("projection_page", run):
            yield integer(job), text(app), Projected(position, *rest)

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
        query = "events_page" if kind is None or kind in OFTEN else "seldom_events_page"
        while page := self.database.read(
            query, {"run": run, "after": after, "kind": kind, "most": PAGE}
        ):
            yield from page
            after = integer(page[-1][0])
