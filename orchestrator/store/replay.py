"""Work out from a run's events alone what its tables must say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import NamedTuple

from orchestrator.errors import StateError
from orchestrator.model import Outcome, RunId
from orchestrator.store.base import EventKind, JobRecord, RunRecord, RunState, StopRecord
from orchestrator.store.chain import genesis
from orchestrator.store.codec import dump, from_json, load
from orchestrator.store.entries import (
    PlanChanged,
    RunCreated,
    SessionEnded,
    SessionStarted,
    SourceRead,
    TargetsAdded,
    TargetsRemoved,
)


class Projected(NamedTuple):
    """A target as the tables have it. Any type: whatever stands there is compared, not trusted."""

    position: object
    tags: object  # JSON text
    status: object
    settled: object  # seq of the event with its outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the sessions have left behind."""

    state: RunState = RunState.RUNNING
    sessions: int = 0
    stop: StopRecord | None = None
    exit_code: int | None = None


class Replay:
    """Takes the events of one run in order, then checks the tables.

    Raises, from every method:
        StateError: naming the first thing that is wrong.
    """

    def __init__(self, run_id: RunId) -> None:
        self.tip = genesis(run_id)
        self.created: RunCreated | None = None
        self.first_at: object = None
        self.last_at: object = None
        self.standing = Standing()
        self.jobs: dict[int, JobRecord] = {}
        self.positions: dict[str, int] = {}  # of the jobs, by name
        self.targets: dict[int, dict[str, Projected]] = {}

    def take(self, row: Sequence[object]) -> None:
        """Check that an event follows from the one before it, and note what it says."""
        seq, at, kind, body, digest = row
        if seq != self.tip.seq + 1:
            raise StateError(f"event {self.tip.seq + 1} is missing")
        if not (isinstance(at, str) and isinstance(kind, str) and isinstance(body, str)):
            raise StateError(f"event {seq} is not text")
        tip = self.tip.extend(at=at, kind=kind, body=body)
        if digest != tip.digest:
            raise StateError(f"event {seq} was changed, or one before it was removed")
        self.first_at = self.first_at or at
        self.last_at = at
        self.apply(tip.seq, kind, body)
        self.tip = tip

    def apply(self, seq: int, kind: str, body: str) -> None:
        match kind:
            case EventKind.RUN_CREATED:
                self.created = load(body, RunCreated)
                self.jobs = {job.position: job for job in self.created.jobs}
                self.positions = {job.name: job.position for job in self.created.jobs}
                self.targets = {job: {} for job in self.jobs}
            case EventKind.PLAN_CHANGED:
                self.change_plan(load(body, PlanChanged))
            case EventKind.TARGETS_ADDED:
                added = load(body, TargetsAdded)
                for target in added.targets:
                    tags = dump(target.tags)
                    self.job_targets(added.job)[target.app] = Projected(
                        target.position, tags, None, None
                    )
            case EventKind.TARGETS_REMOVED:
                removed = load(body, TargetsRemoved)
                for app in removed.apps:
                    self.job_targets(removed.job).pop(app, None)
            case EventKind.SESSION_STARTED:
                load(body, SessionStarted)
                self.standing = Standing(sessions=self.standing.sessions + 1)
            case EventKind.SOURCE_READ:
                self.note_source(load(body, SourceRead))
            case EventKind.TARGET_SETTLED:
                self.settle(seq, load(body, Outcome))
            case EventKind.SESSION_ENDED:
                ended = load(body, SessionEnded)
                self.standing = replace(
                    self.standing, state=ended.state, stop=ended.stop, exit_code=ended.exit_code
                )

    def change_plan(self, changed: PlanChanged) -> None:
        if self.created is None:
            raise StateError("the beginning of the history is missing")
        run = replace(self.created.run, plan_digest=changed.plan_digest)
        self.created = replace(self.created, run=run)
        for job in changed.jobs:
            self.jobs[job.position] = job
            self.positions[job.name] = job.position
            self.targets[job.position] = {}

    def job_targets(self, job: int) -> dict[str, Projected]:
        if job not in self.targets:
            raise StateError(f"an event speaks of job {job}, which the run does not have")
        return self.targets[job]

    def note_source(self, source: SourceRead) -> None:
        self.job_targets(source.job)
        self.jobs[source.job] = replace(
            self.jobs[source.job], certificate=source.certificate, problem=source.problem
        )

    def settle(self, seq: int, outcome: Outcome) -> None:
        targets = self.job_targets(self.positions.get(outcome.target.job, -1))
        if outcome.target.app not in targets:
            raise StateError(f"event {seq} settles a target that the run does not have")
        targets[outcome.target.app] = targets[outcome.target.app]._replace(
            status=outcome.status.value, settled=seq
        )

    def check_run(self, record: RunRecord, jobs: Sequence[JobRecord]) -> None:
        """Hold the run's row and its jobs against the events."""
        expected = self.expected_run()
        differing = [
            name.name
            for name in fields(RunRecord)
            if getattr(record, name.name) != getattr(expected, name.name)
        ]
        if differing:
            raise StateError(f"the run does not say what its events say: {', '.join(differing)}")
        if list(jobs) != [self.jobs[position] for position in sorted(self.jobs)]:
            raise StateError("the jobs are not what the events say")

    def expected_run(self) -> RunRecord:
        if self.created is None:
            raise StateError("the beginning of the history is missing")
        run, standing = self.created.run, self.standing
        return RunRecord(
            run_id=run.run_id,
            plan=run.plan,
            org=run.org,
            plan_digest=run.plan_digest,
            dry_run=run.dry_run,
            created_at=from_json(self.first_at, datetime),
            updated_at=from_json(self.last_at, datetime),
            state=standing.state,
            sessions=standing.sessions,
            stop=standing.stop,
            exit_code=standing.exit_code,
            events=self.tip.seq,
            head=self.tip.digest.hex(),
        )

    def check_targets(self, rows: Iterable[tuple[int, str, Projected]]) -> None:
        """Hold the targets' rows against the events. Can be used once."""
        for job, app, found in rows:
            expected = self.targets.get(job, {}).pop(app, None)
            if found != expected:
                raise StateError(f"target {app} of job {job} is not what the events say")
        for job, app in self.left_over():
            raise StateError(f"target {app} of job {job} is missing")

    def left_over(self) -> Iterator[tuple[int, str]]:
        for job, targets in self.targets.items():
            for app in targets:
                yield job, app
