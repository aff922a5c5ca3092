"""What a run came to: every target's outcome, why it ended, and the exit code that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import ExitCode
from orchestrator.model import (
    Outcome,
    Reason,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.store.base import Archive, JobRecord, RunRecord, RunState, StopRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What one execution may do."""

    run_id: RunId
    plan: str
    org: str
    dry_run: bool = False
    quick: bool = False  # a dry run without a read per target
    workers: int = 10
    deadline_seconds: float | None = None
    max_targets: int | None = None  # newly cloned or failed; those already done do not count
    stop_after_failures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketForecast:
    """What a run will cost one rate-limit bucket."""

    bucket: str
    calls: int
    limit_per_window: int | None  # as the org announces it for our token; None when it does not
    share_per_window: int | None  # what the plan's capacity lets us use of it
    window_seconds: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a dry run says of the run to come."""

    buckets: tuple[BucketForecast, ...]
    seconds: float
    sharing: Mapping[str, int]  # kid -> apps that will share it, at least


class ArchivedOutcomes:
    """The outcomes of a run in the order of its plan, read anew each time they are iterated.

    A target that was not settled has its outcome derived: its job cannot be done, or the run
    ended before it, or nobody knows.
    """

    def __init__(
        self, archive: Archive, run_id: RunId, unrecorded: Mapping[tuple[str, str], Outcome]
    ) -> None:
        self.archive = archive
        self.run_id = run_id
        self.unrecorded = unrecorded  # settled, but the journal could not be written any more

    def __iter__(self) -> Iterator[Outcome]:
        state = self.archive.run(self.run_id).state
        jobs = {job.position: job for job in self.archive.jobs(self.run_id)}
        for position, target, outcome in self.archive.targets(self.run_id):
            known = self.unrecorded.get((target.job, target.app)) or outcome
            yield known or unsettled_outcome(jobs[position], target, state)


def unsettled_outcome(job: JobRecord, target: Target, state: RunState) -> Outcome:
    """Return the outcome of a target that nobody settled."""
    detail = "the run ended before this target was settled"
    if state is RunState.RUNNING:  # under way, or crashed
        detail = "no outcome is recorded; the call may have been on its way"
    unusable = job.problem is not None
    return Outcome(
        target=target,
        key=job.key,
        status=Status.SKIPPED,
        reason=Reason.SOURCE_UNUSABLE if unusable else Reason.NOT_REACHED,
        detail=job.problem or detail,
        retryable=not unusable,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A run as far as it has come. Outcomes stand in the order of the plan."""

    record: RunRecord
    jobs: tuple[JobRecord, ...]
    outcomes: Iterable[Outcome]  # may be iterated again and again
    counts: Mapping[Status, int]  # every status is there
    left: int  # targets that the run did not get to
    stop: StopRecord | None
    started_at: datetime
    finished_at: datetime
    changed: int = 0  # targets newly cloned, or planned, by this execution
    forecast: Forecast | None = None


def result_of(
    archive: Archive,
    run_id: RunId,
    *,
    changed: int = 0,
    forecast: Forecast | None = None,
    stop: StopRecord | None = None,
    unrecorded: Mapping[tuple[str, str], Outcome] | None = None,
) -> RunResult:
    """Read a run back from the archive, also one that another process is still executing.

    `stop` overrides what the journal says, for a run whose journal could not be written.
    """
    record = archive.run(run_id)
    outcomes = ArchivedOutcomes(archive, record.run_id, unrecorded or {})
    counts: Counter[Status] = Counter()
    left = 0
    for outcome in outcomes:
        counts[outcome.status] += 1
        left += outcome.reason is Reason.NOT_REACHED
    return RunResult(
        record=record,
        jobs=archive.jobs(record.run_id),
        outcomes=outcomes,
        counts={status: counts[status] for status in Status},
        left=left,
        stop=stop or record.stop,
        started_at=record.created_at,
        finished_at=record.updated_at,
        changed=changed,
        forecast=forecast,
    )


EXIT_OF_STOP = {
    StopCause.INTERRUPT: ExitCode.INTERRUPTED,
    StopCause.TERMINATE: ExitCode.TERMINATED,
    StopCause.ACCESS: ExitCode.ACCESS,
    StopCause.FAILURES: ExitCode.SAFETY,
    StopCause.DEADLINE: ExitCode.UNFINISHED,
    StopCause.MAX_TARGETS: ExitCode.UNFINISHED,
    StopCause.JOURNAL: ExitCode.UNEXPECTED,
}


def exit_code(result: RunResult, *, detailed: bool = False) -> ExitCode:
    """Return the process's exit code; `detailed` tells changes from no changes."""
    if result.stop is not None:
        return EXIT_OF_STOP[result.stop.cause]
    if result.counts[Status.FAILED] or result.counts[Status.SKIPPED]:
        return ExitCode.PARTIAL
    if detailed and result.changed:
        return ExitCode.CHANGED
    return ExitCode.DONE
