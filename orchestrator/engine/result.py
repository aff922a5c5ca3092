"""What a run came to: every target's outcome, why it ended, and the exit code that says so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.engine.cautions import CAUTIONED, Caution, cautions_told
from orchestrator.errors import ExitCode
from orchestrator.holders import MOST_SHARING
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Certificate,
    KeyKind,
    Kid,
    Outcome,
    Reason,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.rollout import HookCommand, HookMoment, JobSettings
from orchestrator.store.base import (
    Archive,
    EventRecord,
    JobRecord,
    RunRecord,
    RunState,
    StopRecord,
    TargetRecord,
)

STAGE_ONLY = JobSettings()
HOOK_RAN = "hook_ran"  # a kind of event; its body is written by `hooking`
MOST_HOOK_FAILURES = 50  # that a report lists


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
    jobs: Mapping[str, JobSettings] = field(default_factory=dict)  # by name
    hooks: Mapping[HookMoment, tuple[HookCommand, ...]] = field(default_factory=dict)
    waits: bool = False  # stay until no gate is left that opens by itself or by other people
    handoff_metadata: bool = False  # the packs for the targets' owners hold their SAML metadata
    managed: frozenset[AppId] = frozenset()  # by Terraform
    most_sharing: int = MOST_SHARING  # apps that may share a key without a caution

    def of_job(self, name: str) -> JobSettings:
        """Return what the plan says about a job; one that it does not know only stages."""
        return self.jobs.get(name, STAGE_ONLY)

    @property
    def rolls_out(self) -> bool:
        """Say whether any job goes beyond staging."""
        return any(settings.rollout is not None for settings in self.jobs.values())


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
class HookTally:
    """How the hooks of a run have fared."""

    ran: int = 0
    failed: int = 0
    failures: tuple[Mapping[str, object], ...] = ()  # the last ones, as the journal has them


def tally_hooks(events: Iterable[EventRecord]) -> HookTally:
    """Count the hooks of a run, from the events that tell of them."""
    ran = failed = 0
    failures: deque[Mapping[str, object]] = deque(maxlen=MOST_HOOK_FAILURES)
    for event in events:
        ran += 1
        if event.body.get("exit_code") != 0:
            failed += 1
            failures.append(event.body)
    return HookTally(ran=ran, failed=failed, failures=tuple(failures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a dry run says of the run to come."""

    buckets: tuple[BucketForecast, ...]
    seconds: float
    sharing: Mapping[str, int]  # kid -> apps that will share it, at least


class ArchivedRecords:
    """The targets of a run in the order of its plan, read anew each time they are iterated.

    Each has an outcome. A target that was not settled has it derived: its job cannot be done, or
    the run ended before it, or nobody knows.
    """

    def __init__(
        self,
        archive: Archive,
        run_id: RunId,
        unrecorded: Mapping[tuple[str, str], Outcome],
        activations: Mapping[tuple[str, str], Activation],
    ) -> None:
        self.archive = archive
        self.run_id = run_id
        self.unrecorded = unrecorded  # settled, but the journal could not be written any more
        self.activations = activations  # likewise

    def __iter__(self) -> Iterator[TargetRecord]:
        state = self.archive.run(self.run_id).state
        jobs = {job.position: job for job in self.archive.jobs(self.run_id)}
        for record in self.archive.targets(self.run_id):
            target = record.target
            place = (target.job, target.app)
            outcome = self.unrecorded.get(place) or record.outcome
            yield replace(
                record,
                outcome=outcome or unsettled_outcome(jobs[record.job], target, state),
                activation=self.activations.get(place) or record.activation,
            )


class ArchivedEvents:
    """The history of a run, read anew each time it is iterated."""

    def __init__(self, archive: Archive, run_id: RunId) -> None:
        self.archive = archive
        self.run_id = run_id

    def __iter__(self) -> Iterator[EventRecord]:
        return self.archive.events(self.run_id)


def none_known(kids: Collection[Kid]) -> Mapping[Kid, Certificate]:  # noqa: ARG001 - as others
    """Know no certificate."""
    return {}


def unsettled_outcome(job: JobRecord, target: Target, state: RunState) -> Outcome:
    """Return the outcome of a target that nobody settled."""
    detail = "the run ended before this target was settled"
    if state is RunState.RUNNING:  # under way, or crashed
        detail = "no outcome is recorded; the call may have been on its way"
    elif not job.key.is_known and job.wanted.kind is not KeyKind.GENERATE_EACH:
        detail = "its job's key is still to come"
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
    """A run as far as it has come. Records stand in the order of the plan."""

    record: RunRecord
    jobs: tuple[JobRecord, ...]
    records: Iterable[TargetRecord]  # may be iterated again and again; each has an outcome
    counts: Mapping[Status, int]  # every status is there
    activations: Mapping[ActivationState, int]  # every state is there
    problems: int  # targets that sign with the key, but something is wrong with them
    unactivated: int  # staged targets whose activation is still to come
    left: int  # targets that the run did not get to
    stop: StopRecord | None
    started_at: datetime
    finished_at: datetime
    changed: int = 0  # targets newly staged, activated or planned, by this execution
    failed: int = 0  # activations that failed in this execution
    forecast: Forecast | None = None
    hooks: HookTally = HookTally()
    packs: str | None = None  # the folder of the hand-off packs, from that of the report
    cautions: tuple[Caution, ...] = ()
    checksum: str | None = None  # of a dry run: what `run --expect` takes
    events: Iterable[EventRecord] = ()  # its history; may be iterated again and again
    certificates: Callable[[Collection[Kid]], Mapping[Kid, Certificate]] = none_known

    @property
    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of every target."""
        return (record.outcome for record in self.records if record.outcome is not None)

    @property
    def unstaged(self) -> int:
        """Return how many targets failed or were left out, but for those that still wait."""
        waits = self.stop is not None and self.stop.cause in QUIET_STOPS
        return sum(self.counts[status] for status in UNSTAGED) - (self.left if waits else 0)

    @property
    def is_eventful(self) -> bool:
        """Say whether this execution has changed anything, or anything has gone wrong in it."""
        waits = self.stop is not None and self.stop.cause in QUIET_STOPS
        return bool((self.stop and not waits) or self.changed or self.failed)


def result_of(
    archive: Archive,
    run_id: RunId,
    *,
    changed: int = 0,
    failed: int = 0,
    forecast: Forecast | None = None,
    stop: StopRecord | None = None,
    unrecorded: Mapping[tuple[str, str], Outcome] | None = None,
    activations: Mapping[tuple[str, str], Activation] | None = None,
) -> RunResult:
    """Read a run back from the archive, also one that another process is still executing.

    `stop` overrides what the journal says, for a run whose journal could not be written.
    """
    record = archive.run(run_id)
    records = ArchivedRecords(archive, record.run_id, unrecorded or {}, activations or {})
    counts: Counter[Status] = Counter()
    states: Counter[ActivationState | None] = Counter()
    left = problems = unactivated = 0
    for each in records:
        assert each.outcome is not None  # noqa: S101 - see ArchivedRecords
        counts[each.outcome.status] += 1
        left += each.outcome.reason is Reason.NOT_REACHED
        if each.activation is not None:
            states[each.activation.state] += 1
            problems += each.activation.problem is not None
        elif each.wave is not None and each.outcome.status.is_staged:
            unactivated += 1
    return RunResult(
        record=record,
        jobs=archive.jobs(record.run_id),
        records=records,
        counts={status: counts[status] for status in Status},
        activations={state: states[state] for state in ActivationState},
        problems=problems,
        unactivated=unactivated + states[ActivationState.INTENDED],
        left=left,
        stop=stop or record.stop,
        started_at=record.created_at,
        finished_at=record.updated_at,
        changed=changed,
        failed=failed,
        forecast=forecast,
        hooks=tally_hooks(archive.events(record.run_id, kind=HOOK_RAN)),
        cautions=cautions_told(archive.events(record.run_id, kind=CAUTIONED)),
        events=ArchivedEvents(archive, record.run_id),
        certificates=archive.certificates,
    )


EXIT_OF_STOP = {
    StopCause.INTERRUPT: ExitCode.INTERRUPTED,
    StopCause.TERMINATE: ExitCode.TERMINATED,
    StopCause.ACCESS: ExitCode.ACCESS,
    StopCause.FAILURES: ExitCode.SAFETY,
    StopCause.DEADLINE: ExitCode.UNFINISHED,
    StopCause.MAX_TARGETS: ExitCode.UNFINISHED,
    StopCause.JOURNAL: ExitCode.UNEXPECTED,
    StopCause.COLLATERAL: ExitCode.SAFETY,
    StopCause.WAVE: ExitCode.SAFETY,
}
UNSTAGED = (Status.FAILED, Status.SKIPPED)
CUT_SHORT = (  # nothing is wrong with what was done by then
    StopCause.INTERRUPT,
    StopCause.TERMINATE,
    StopCause.DEADLINE,
    StopCause.MAX_TARGETS,
)
QUIET_STOPS = (StopCause.WAITING, StopCause.WAVE)  # nothing new where nothing has changed


def exit_code(result: RunResult, *, detailed: bool = False) -> ExitCode:
    """Return the process's exit code; `detailed` tells changes from no changes."""
    stop = result.stop
    waits = stop is not None and stop.cause is StopCause.WAITING
    if stop is not None and not waits:
        return EXIT_OF_STOP[stop.cause]
    if result.unstaged or result.activations[ActivationState.FAILED] or result.problems:
        return ExitCode.PARTIAL
    if detailed and result.changed:
        return ExitCode.CHANGED
    return ExitCode.DONE
