"""What a run came to: every target's outcome, why it ended, and the exit code that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import ExitCode
from orchestrator.model import Certificate, KeyRef, Outcome, Reason, RunId, Status, StopCause


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What one execution may do."""

    run_id: RunId
    plan: str
    org: str
    plan_digest: str = ""  # SHA-256 of the plan file
    dry_run: bool = False
    quick: bool = False  # a dry run without a read per target
    workers: int = 10
    deadline_seconds: float | None = None
    max_targets: int | None = None  # newly cloned or failed; those already done do not count
    stop_after_failures: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The source side of a job."""

    name: str
    key: KeyRef
    certificate: Certificate | None
    problem: str | None  # why the source could not be used
    dropped: Mapping[str, int]  # targets of the plan that were never meant: duplicates and so on


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a run ended before its last target."""

    cause: StopCause
    detail: str
    hint: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run. Outcomes stand in the order of the plan."""

    settings: RunSettings
    jobs: tuple[JobResult, ...]
    outcomes: Sequence[Outcome]
    started_at: datetime
    finished_at: datetime
    stop: Stop | None = None
    forecast: Forecast | None = None

    def counts(self) -> dict[Status, int]:
        """Count the outcomes by status; every status is there."""
        counted = Counter(outcome.status for outcome in self.outcomes)
        return {status: counted[status] for status in Status}

    @property
    def left(self) -> int:
        """Return how many targets the run did not get to."""
        return sum(outcome.reason is Reason.NOT_REACHED for outcome in self.outcomes)


EXIT_OF_STOP = {
    StopCause.INTERRUPT: ExitCode.INTERRUPTED,
    StopCause.TERMINATE: ExitCode.TERMINATED,
    StopCause.ACCESS: ExitCode.ACCESS,
    StopCause.FAILURES: ExitCode.SAFETY,
    StopCause.DEADLINE: ExitCode.UNFINISHED,
    StopCause.MAX_TARGETS: ExitCode.UNFINISHED,
    StopCause.PLAN_CHANGED: ExitCode.INVALID,
}


def exit_code(result: RunResult, *, detailed: bool = False) -> ExitCode:
    """Return the process's exit code; `detailed` tells changes from no changes."""
    if result.stop is not None:
        return EXIT_OF_STOP[result.stop.cause]
    counts = result.counts()
    if counts[Status.FAILED] or counts[Status.SKIPPED]:
        return ExitCode.PARTIAL
    if detailed and (counts[Status.CLONED] or counts[Status.PLANNED]):
        return ExitCode.CHANGED
    return ExitCode.DONE
