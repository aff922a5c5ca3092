"""The exit code of every way a run can end, and the counts behind it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import combinations

import pytest

from orchestrator.engine.result import EXIT_OF_STOP, RunResult, RunSettings, Stop, exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import AppId, KeyRef, Kid, Outcome, Reason, RunId, Status, StopCause, Target

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
STOPS = {
    StopCause.INTERRUPT: 130,
    StopCause.TERMINATE: 143,
    StopCause.ACCESS: 5,
    StopCause.FAILURES: 6,
    StopCause.DEADLINE: 7,
    StopCause.MAX_TARGETS: 7,
    StopCause.PLAN_CHANGED: 4,
}
COMBINATIONS = [
    frozenset(chosen) for size in range(len(Status) + 1) for chosen in combinations(Status, size)
]


def outcome(status: Status, reason: Reason | None = None) -> Outcome:
    target = Target(job="job", app=AppId("0oaTarget"))
    return Outcome(target=target, key=KEY, status=status, detail="", reason=reason)


def result(outcomes: Iterable[Outcome] = (), *, cause: StopCause | None = None) -> RunResult:
    return RunResult(
        settings=RunSettings(run_id=RunId("r"), plan="p", org="o"),
        jobs=(),
        outcomes=tuple(outcomes),
        started_at=NOON,
        finished_at=NOON,
        stop=Stop(cause=cause, detail="") if cause else None,
    )


def of(statuses: Iterable[Status], cause: StopCause | None = None) -> RunResult:
    return result(map(outcome, statuses), cause=cause)


def names(statuses: frozenset[Status]) -> str:
    return "+".join(sorted(statuses)) or "none"


def test_the_table_knows_every_cause_of_a_stop() -> None:
    assert set(EXIT_OF_STOP) == set(StopCause)


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("statuses", COMBINATIONS, ids=names)
@pytest.mark.parametrize("cause", StopCause)
def test_a_stop_decides_whatever_the_outcomes(
    cause: StopCause, statuses: frozenset[Status], detailed: bool
) -> None:
    assert exit_code(of(statuses, cause), detailed=detailed) == STOPS[cause]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("statuses", COMBINATIONS, ids=names)
def test_without_a_stop_the_outcomes_decide(statuses: frozenset[Status], detailed: bool) -> None:
    code = exit_code(of(statuses), detailed=detailed)
    if statuses & {Status.FAILED, Status.SKIPPED}:
        assert code == 3
    elif statuses & {Status.CLONED, Status.PLANNED}:
        assert code == (2 if detailed else 0)
    else:
        assert code == 0


def test_one_failure_among_many_is_enough() -> None:
    assert exit_code(of([Status.CLONED] * 99 + [Status.FAILED])) is ExitCode.PARTIAL


def test_every_status_is_counted_the_absent_too() -> None:
    counts = of([Status.CLONED, Status.FAILED, Status.CLONED]).counts()
    assert counts == {
        Status.PLANNED: 0,
        Status.CLONED: 2,
        Status.ALREADY_PRESENT: 0,
        Status.FAILED: 1,
        Status.SKIPPED: 0,
    }


def test_only_targets_that_were_not_reached_are_left() -> None:
    outcomes = [outcome(Status.CLONED)] + [outcome(Status.SKIPPED, reason) for reason in Reason]
    assert result(outcomes).left == 1
