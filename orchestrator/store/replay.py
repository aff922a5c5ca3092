"""Work out from a run's events alone what its tables must say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import NamedTuple

from orchestrator.errors import StateError
from orchestrator.model import Activation, Outcome, RunId, Target
from orchestrator.store.base import EventKind, JobRecord, RunRecord, RunState, StopRecord
from orchestrator.store.chain import genesis
from orchestrator.store.codec import dump, from_json, load, moment
from orchestrator.store.entries import (
    PlanChanged,
    RunCreated,
    SessionEnded,
    SessionStarted,
    SourceRead,
    TargetsAcknowledged,
    TargetsAdded,
    TargetsRemoved,
    WavesAssigned,
    staged_at,
)


class Projected(NamedTuple):
    """A target as the tables have it. Any type: whatever stands there is compared, not trusted."""

    position: object
    tags: object  # JSON text
    status: object = None
    settled: object = None  # seq of the event with its outcome
    staged_at: object = None
    wave: object = None
    acknowledged: object = None  # seq of the first event that says so
    activation: object = None  # its state
    activation_seq: object = None
    activation_at: object = None
    activation_retryable: object = None


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
                self.create(load(body, RunCreated))
            case EventKind.PLAN_CHANGED:
                self.change_plan(load(body, PlanChanged))
            case EventKind.TARGETS_ADDED:
                self.add_targets(load(body, TargetsAdded))
            case EventKind.TARGETS_REMOVED:
                self.remove_targets(load(body, TargetsRemoved))
            case EventKind.SESSION_STARTED:
                load(body, SessionStarted)
                self.standing = Standing(sessions=self.standing.sessions + 1)
            case EventKind.SOURCE_READ:
                self.note_source(load(body, SourceRead))
            case EventKind.TARGET_SETTLED:
                self.settle(seq, load(body, Outcome))
            case EventKind.WAVES_ASSIGNED:
                self.assign_waves(seq, load(body, WavesAssigned))
            case EventKind.TARGETS_ACKNOWLEDGED:
                self.acknowledge(seq, load(body, TargetsAcknowledged))
            case EventKind.ACTIVATION_NOTED:
                self.note_activation(seq, load(body, Activation))
            case EventKind.SESSION_ENDED:
                self.end_session(load(body, SessionEnded))

    def create(self, created: RunCreated) -> None:
        self.created = created
        self.jobs = {job.position: job for job in created.jobs}
        self.positions = {job.name: job.position for job in created.jobs}
        self.targets = {job: {} for job in self.jobs}

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
        """Return the targets of a job: in the order of their positions, as they were added."""
        if job not in self.targets:
            raise StateError(f"an event speaks of job {job}, which the run does not have")
        return self.targets[job]

    def add_targets(self, added: TargetsAdded) -> None:
        targets = self.job_targets(added.job)
        for target in added.targets:
            targets[target.app] = Projected(target.position, dump(target.tags))

    def remove_targets(self, removed: TargetsRemoved) -> None:
        targets = self.job_targets(removed.job)
        for app in removed.apps:
            targets.pop(app, None)

    def change_target(self, seq: int, job: int, app: str, **columns: object) -> None:
        targets = self.job_targets(job)
        if app not in targets:
            raise StateError(f"event {seq} is about a target that the run does not have")
        targets[app] = targets[app]._replace(**columns)

    def position_of(self, target: Target) -> int:
        return self.positions.get(target.job, -1)

    def note_source(self, source: SourceRead) -> None:
        self.job_targets(source.job)
        job = self.jobs[source.job]
        self.jobs[source.job] = replace(
            job,
            certificate=source.certificate,
            problem=source.problem,
            key=source.key or job.key,
        )

    def settle(self, seq: int, outcome: Outcome) -> None:
        self.change_target(
            seq,
            self.position_of(outcome.target),
            outcome.target.app,
            status=outcome.status.value,
            settled=seq,
            staged_at=staged_at(outcome),
        )

    def assign_waves(self, seq: int, assigned: WavesAssigned) -> None:
        targets = self.job_targets(assigned.job)
        waves = [wave for wave, number in assigned.waves for _ in range(number)]
        if len(waves) != len(targets):
            raise StateError(
                f"event {seq} puts {len(waves)} targets into waves, but the job has {len(targets)}"
            )
        for app, wave in zip(targets, waves, strict=True):
            targets[app] = targets[app]._replace(wave=wave)

    def acknowledge(self, seq: int, acknowledged: TargetsAcknowledged) -> None:
        for job, app in acknowledged.targets:
            known = self.job_targets(job).get(app)
            if known is None or known.acknowledged is None:
                self.change_target(seq, job, app, acknowledged=seq)

    def note_activation(self, seq: int, activation: Activation) -> None:
        self.change_target(
            seq,
            self.position_of(activation.target),
            activation.target.app,
            activation=activation.state.value,
            activation_seq=seq,
            activation_at=moment(activation.at),
            activation_retryable=activation.retryable,
        )

    def end_session(self, ended: SessionEnded) -> None:
        self.standing = replace(
            self.standing, state=ended.state, stop=ended.stop, exit_code=ended.exit_code
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
