"""One look over all targets of a run: what its jobs and waves came to, and what needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.engine.result import RunResult
from orchestrator.model import Activation, ActivationState, Certificate, Kid, Outcome, Status
from orchestrator.okta.certificates import certificate_of_text
from orchestrator.report.parts import ActivationPart
from orchestrator.store.base import JobRecord, TargetRecord

MOST_FORMER = 50  # keys of a job that a report names
MOST_WAVES = 50  # of a job that a report lists
MOST_WRONG = 50  # targets that are told of ahead of all others


@dataclass(slots=True)
class Tally:
    """How many targets came to what."""

    targets: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    states: Counter[ActivationState] = field(default_factory=Counter)
    problems: int = 0
    waiting: int = 0  # staged, and their activation is still to come

    def add(self, record: TargetRecord, outcome: Outcome) -> None:
        self.targets += 1
        self.statuses[outcome.status] += 1
        if record.activation is not None:
            self.states[record.activation.state] += 1
            self.problems += record.activation.problem is not None
        elif record.wave is not None and outcome.status.is_staged:
            self.waiting += 1

    @property
    def staged(self) -> int:
        return sum(number for status, number in self.statuses.items() if status.is_staged)

    @property
    def active(self) -> int:
        return sum(number for state, number in self.states.items() if state.is_active)

    @property
    def planned(self) -> int:
        """Return how many a dry run would give the key."""
        return self.statuses[Status.PLANNED]

    @property
    def to_activate(self) -> int:
        """Return how many a dry run would activate."""
        return self.states[ActivationState.PLANNED]

    @property
    def failed(self) -> int:
        return self.statuses[Status.FAILED] + self.states[ActivationState.FAILED]

    @property
    def skipped(self) -> int:
        return self.statuses[Status.SKIPPED] + self.states[ActivationState.SKIPPED]

    @property
    def rolled_back(self) -> int:
        return self.states[ActivationState.ROLLED_BACK]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerKey:
    """A key that targets signed with before the run."""

    kid: Kid
    targets: int
    certificate: Certificate | None  # as far as it was ever read


@dataclass(slots=True)
class JobSurvey:
    """What a job came to."""

    job: JobRecord
    all: Tally = field(default_factory=Tally)
    waves: dict[int, Tally] = field(default_factory=dict)
    kids: Counter[Kid] = field(default_factory=Counter)  # of the keys before
    former: tuple[FormerKey, ...] = ()  # those of most targets

    @property
    def listed_waves(self) -> list[tuple[int, Tally]]:
        return sorted(self.waves.items())[:MOST_WAVES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a report tells ahead of its targets."""

    jobs: tuple[JobSurvey, ...]
    wrong: tuple[TargetRecord, ...]  # the first of those that a person is to look at
    wrongs: int


def survey_of(result: RunResult) -> Survey:
    """Read all targets once, and keep counts: of jobs, of waves, and of the keys before."""
    jobs = {job.position: JobSurvey(job) for job in result.jobs}
    wrong: list[TargetRecord] = []
    wrongs = 0
    for record in result.records:
        if record.outcome is None:
            continue
        if needs_a_person(record.outcome.status, record.activation):
            wrongs += 1
            if wrongs <= MOST_WRONG:
                wrong.append(record)
        if record.job in jobs:
            count(jobs[record.job], record, record.outcome)
    for each in jobs.values():
        each.former = former_keys(each.kids, result)
    return Survey(jobs=tuple(jobs.values()), wrong=tuple(wrong), wrongs=wrongs)


def count(survey: JobSurvey, record: TargetRecord, outcome: Outcome) -> None:
    survey.all.add(record, outcome)
    if record.wave is not None:
        survey.waves.setdefault(record.wave, Tally()).add(record, outcome)
    activation = record.activation
    former = activation.previous_kid if activation is not None else None
    if activation is not None and former and former != activation.kid:
        survey.kids[former] += 1


def needs_a_person(status: Status, activation: Activation | ActivationPart | None) -> bool:
    """Say whether a target failed, has a problem, or may sign with either key."""
    if status is Status.FAILED or activation is None:
        return status is Status.FAILED
    is_failure = activation.state is ActivationState.FAILED or activation.problem is not None
    return is_failure or activation.state.is_unknown


def former_keys(kids: Counter[Kid], result: RunResult) -> tuple[FormerKey, ...]:
    """Return the keys that most targets signed with, and when those end."""
    most = kids.most_common(MOST_FORMER)
    known = result.certificates([kid for kid, _ in most]) if most else {}
    return tuple(
        FormerKey(kid=kid, targets=number, certificate=believed(known, kid)) for kid, number in most
    )


def believed(known: Mapping[Kid, Certificate], kid: Kid) -> Certificate | None:
    """Return the certificate of a kid if its facts are those of the certificate itself."""
    found = known.get(kid)
    try:
        return found if found and certificate_of_text(found.x5c) == found else None
    except ValueError:
        return None
