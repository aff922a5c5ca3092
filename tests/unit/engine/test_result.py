"""The exit code of every way a run can end, and the counts behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations

import pytest

from orchestrator.clock import SystemClock
from orchestrator.engine.result import EXIT_OF_STOP, RunResult, exit_code, result_of
from orchestrator.errors import ExitCode
from orchestrator.model import (
    ActivationState,
    AppId,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.store.base import JobRecord, RunState, StopRecord
from orchestrator.store.sqlite import Store
from tests.contract.stores import RUN, SESSION, activation, create, job, new_run, target
from tests.contract.stores import outcome as settled
from tests.unit.results import run_result, target_record

KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
STOPS = {
    StopCause.INTERRUPT: 130,
    StopCause.TERMINATE: 143,
    StopCause.ACCESS: 5,
    StopCause.FAILURES: 6,
    StopCause.DEADLINE: 7,
    StopCause.MAX_TARGETS: 7,
    StopCause.JOURNAL: 1,
    StopCause.COLLATERAL: 6,
    StopCause.WAVE: 6,
}
NEW = frozenset({Status.CLONED, Status.GENERATED, Status.PLANNED})
COMBINATIONS = [
    frozenset(chosen) for size in range(len(Status) + 1) for chosen in combinations(Status, size)
]


def outcome(status: Status, reason: Reason | None = None) -> Outcome:
    target = Target(job="job", app=AppId("0oaTarget"))
    return Outcome(target=target, key=KEY, status=status, detail="", reason=reason)


def result(outcomes: Iterable[Outcome] = (), *, cause: StopCause | None = None) -> RunResult:
    known = tuple(outcomes)
    return run_result(
        known,
        stop=StopRecord(cause=cause, detail="") if cause else None,
        changed=sum(each.status in NEW for each in known),
    )


def of(statuses: Iterable[Status], cause: StopCause | None = None) -> RunResult:
    return result(map(outcome, statuses), cause=cause)


def names(statuses: frozenset[Status]) -> str:
    return "+".join(sorted(statuses)) or "none"


def test_the_table_knows_every_cause_of_a_stop_but_waiting() -> None:
    assert set(EXIT_OF_STOP) == set(StopCause) - {StopCause.WAITING}


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("statuses", COMBINATIONS, ids=names)
@pytest.mark.parametrize("cause", STOPS)
def test_a_stop_decides_whatever_the_outcomes(
    cause: StopCause, statuses: frozenset[Status], detailed: bool
) -> None:
    assert exit_code(of(statuses, cause), detailed=detailed) == STOPS[cause]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize("statuses", COMBINATIONS, ids=names)
@pytest.mark.parametrize("cause", [None, StopCause.WAITING])
def test_without_a_stop_the_outcomes_decide(
    cause: StopCause | None, statuses: frozenset[Status], detailed: bool
) -> None:
    """A run that waits for its gates has not been stopped."""
    code = exit_code(of(statuses, cause), detailed=detailed)
    if statuses & {Status.FAILED, Status.SKIPPED}:
        assert code == 3
    elif statuses & NEW:
        assert code == (2 if detailed else 0)
    else:
        assert code == 0


@pytest.mark.parametrize(
    ("reason", "cause", "code"),
    [
        (Reason.NOT_REACHED, None, 3),
        (Reason.NOT_REACHED, StopCause.WAITING, 0),
        (Reason.SOURCE_UNUSABLE, StopCause.WAITING, 3),
    ],
)
def test_a_target_that_waits_for_its_key_is_no_failure(
    reason: Reason, cause: StopCause | None, code: int
) -> None:
    """A CA may take days to sign; a source that is gone is gone, whatever else is waited for."""
    assert exit_code(result([outcome(Status.SKIPPED, reason)], cause=cause)) == code


@pytest.mark.parametrize("cause", [None, StopCause.WAITING])
@pytest.mark.parametrize("state", ActivationState)
@pytest.mark.parametrize("problem", [None, "its metadata could not be read"])
def test_a_target_that_does_not_sign_as_it_should_is_a_failure(
    state: ActivationState, problem: str | None, cause: StopCause | None
) -> None:
    known = outcome(Status.ALREADY_PRESENT)
    active = replace(activation(known.target, state), problem=problem)
    stop = StopRecord(cause=cause, detail="") if cause else None
    given = run_result([target_record(known, activation=active)], stop=stop)
    failed = state is ActivationState.FAILED or problem is not None
    assert exit_code(given) == (3 if failed else 0)


def test_one_failure_among_many_is_enough() -> None:
    assert exit_code(of([Status.CLONED] * 99 + [Status.FAILED])) is ExitCode.PARTIAL


def test_what_an_earlier_session_did_is_no_change_of_this_one() -> None:
    given = run_result([outcome(Status.CLONED)], changed=0)
    assert exit_code(given, detailed=True) is ExitCode.DONE


async def test_a_run_is_read_back_from_its_journal() -> None:
    """Two targets are settled, one could not be recorded, one was not reached."""
    with Store.memory(clock=SystemClock()) as store:
        create(store, 4)
        async with store.journal(RUN) as journal:
            await journal.settle(settled(target(1)))
            await journal.settle(settled(target(0), Status.FAILED))
            stop = StopRecord(cause=StopCause.DEADLINE, detail="late")
            await journal.end_session(RunState.STOPPED, stop=stop, exit_code=7)
        unrecorded = {("job-0", "0oa000002"): settled(target(2), Status.ALREADY_PRESENT)}
        given = result_of(store.archive, RUN, unrecorded=unrecorded)
        statuses = [each.status for each in given.outcomes]
        again = [each.status for each in given.outcomes]
    assert statuses == again, "outcomes can be read again and again"
    assert statuses == [Status.FAILED, Status.CLONED, Status.ALREADY_PRESENT, Status.SKIPPED]
    assert given.counts == {
        Status.PLANNED: 0,
        Status.CLONED: 1,
        Status.GENERATED: 0,
        Status.ALREADY_PRESENT: 1,
        Status.FAILED: 1,
        Status.SKIPPED: 1,
    }
    assert (given.left, given.stop, given.changed) == (1, stop, 0)
    assert given.started_at <= given.finished_at


async def test_activations_are_read_back_with_the_targets() -> None:
    """Of six staged targets four were begun, one could not be recorded, and one is to come."""
    states = [ActivationState.VERIFIED, ActivationState.INTENDED, ActivationState.FAILED]
    with Store.memory(clock=SystemClock()) as store:
        create(store, 7)
        async with store.journal(RUN) as journal:
            for number in range(6):
                await journal.settle(settled(target(number)))
            await journal.assign_waves(0, [(1, 7)])
            for number, state in enumerate(states):
                await journal.note_activation(activation(target(number), state))
            bad = replace(activation(target(3)), problem="its hook failed")
            await journal.note_activation(bad)
        lost = {("job-0", "0oa000004"): activation(target(4))}
        given = result_of(store.archive, RUN, activations=lost)
        found = [each.activation.state if each.activation else None for each in given.records]
    assert found == [*states, ActivationState.ACTIVATED, ActivationState.ACTIVATED, None, None]
    assert given.activations == dict.fromkeys(ActivationState, 0) | {
        ActivationState.VERIFIED: 1,
        ActivationState.INTENDED: 1,
        ActivationState.FAILED: 1,
        ActivationState.ACTIVATED: 2,
    }
    assert (given.problems, given.unactivated) == (1, 2)


def test_what_stopped_a_run_whose_journal_is_broken_is_told_all_the_same() -> None:
    stop = StopRecord(cause=StopCause.JOURNAL, detail="the disk is full")
    with Store.memory(clock=SystemClock()) as store:
        create(store, 1)
        assert result_of(store.archive, RUN, stop=stop).stop == stop


@pytest.mark.parametrize("problem", [None, "the source key is gone"])
async def test_targets_that_nobody_settled_are_told_why(problem: str | None) -> None:
    with Store.memory(clock=SystemClock()) as store:
        create(store, 2)
        async with store.journal(RUN) as journal:
            await journal.note_source(0, None, problem)
        given = result_of(store.archive, RUN)
        reason = Reason.SOURCE_UNUSABLE if problem else Reason.NOT_REACHED
        assert {(each.status, each.reason) for each in given.outcomes} == {(Status.SKIPPED, reason)}
        assert all(each.retryable is (problem is None) for each in given.outcomes)
        assert given.left == (0 if problem else 2)
        if problem:
            assert {each.detail for each in given.outcomes} == {problem}


def test_outcomes_stand_in_the_order_of_the_plan() -> None:
    jobs: list[JobRecord] = [job(0), job(1)]
    targets = [(1, target(0, 1)), (0, target(2)), (0, target(1))]
    with Store.memory(clock=SystemClock()) as store:
        store.create_run(new_run(), jobs, targets, SESSION)
        given = result_of(store.archive, RunId("latest"))
        assert [each.target for each in given.outcomes] == [target(2), target(1), target(0, 1)]
