"""What each gate says, in words and in its effect: one case at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from orchestrator.engine.gates import (
    APPROVED,
    HELD,
    Ask,
    Begin,
    Confirm,
    Finished,
    Gating,
    Standing,
    Step,
    Tried,
    Wait,
    assign,
    awaiting_people,
    next_step,
    standing_of,
    stop_of,
    told,
)
from orchestrator.model import ActivationState, StopCause
from orchestrator.rollout import Gate, HookCommand, Rollout, Window
from orchestrator.store.base import PEOPLES_KINDS, EventKind, EventRecord, WaveCounts

S = ActivationState
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)  # a Thursday
HOUR = timedelta(hours=1)
AT_ONCE = Rollout()
BY_PEOPLE = Rollout(gate=Gate(acknowledged=True))
BY_COMMAND = Rollout(gate=Gate(acknowledged=True, acknowledge_by=HookCommand(argv=("ask",))))
APPROVING = Rollout(gate=Gate(approval=True))
FREE = Standing()


def wave(
    number: int = 1,
    *,
    new: int = 0,
    pending: int = 0,
    failed: int = 0,
    unacknowledged: int = 0,
    unretryable: int = 0,
    states: Mapping[ActivationState, int] | None = None,
    staged_at: datetime | None = NOON,
    ended_at: datetime | None = None,
) -> WaveCounts:
    """Return a wave with so many staged targets that nothing was done about, and others."""
    activations = {None: new} | dict(states or {})
    return WaveCounts(
        wave=number,
        targets=sum(activations.values()) + pending,
        pending=pending,
        failed=failed,
        unacknowledged=unacknowledged,
        activations=activations,
        unretryable=unretryable,
        staged_at=staged_at,
        ended_at=ended_at,
    )


def step(
    *waves: WaveCounts,
    rollout: Rollout = AT_ONCE,
    standing: Standing = FREE,
    now: datetime = NOON,
    staged: bool = True,
    confirms: bool = False,
    tried: Mapping[int, Tried] | None = None,
) -> Step:
    return next_step(
        waves, rollout, standing, now, staging_is_over=staged, confirms=confirms, tried=tried
    )


def waits_for(found: Step) -> Gating:
    assert isinstance(found, Wait)
    return found.gating


def test_a_wave_with_ready_targets_begins() -> None:
    assert step(wave(new=3)) == Begin(wave=1)


def test_a_job_without_waves_is_finished() -> None:
    assert step() == Finished()


@pytest.mark.parametrize("state", [S.ACTIVATED, S.VERIFIED, S.SKIPPED, S.ROLLED_BACK, S.REVERTING])
def test_targets_that_are_done_with_begin_nothing(state: ActivationState) -> None:
    assert step(wave(states={state: 2})) == Finished()


@pytest.mark.parametrize("state", [S.INTENDED, S.FAILED])
def test_targets_that_may_be_tried_again_begin_their_wave(state: ActivationState) -> None:
    assert step(wave(states={state: 2})) == Begin(wave=1)


def test_failures_that_no_attempt_mends_hold_up_nothing() -> None:
    first = wave(states={S.FAILED: 2, S.ACTIVATED: 1}, unretryable=2)
    assert step(first, wave(2, new=1)) == Begin(wave=2)


def test_what_this_execution_has_tried_is_not_tried_again_and_holds_up_nothing() -> None:
    first = wave(states={S.FAILED: 2, S.ACTIVATED: 1})
    tried = {1: Tried(left=2)}
    assert step(first, tried=tried) == Finished()
    assert step(first, wave(2, new=1), tried=tried) == Begin(wave=2)


def test_a_target_that_becomes_ready_later_lets_its_wave_go_on() -> None:
    first = wave(new=1, states={S.FAILED: 2, S.ACTIVATED: 1})
    assert step(first, wave(2, new=1), tried={1: Tried(left=2)}) == Begin(wave=1)


def test_waves_go_in_order() -> None:
    assert step(wave(new=1), wave(2, new=1)) == Begin(wave=1)
    assert step(wave(states={S.ACTIVATED: 1}), wave(2, new=1)) == Begin(wave=2)


def test_a_wave_waits_until_its_targets_are_staged() -> None:
    found = step(wave(new=2, pending=3, failed=2), staged=False)
    assert found == Wait(gating=Gating.STAGING, detail="1 target to be staged", wave=1)
    found = step(wave(new=2, pending=2), staged=False)
    assert found == Wait(gating=Gating.STAGING, detail="2 targets to be staged", wave=1)


def test_a_wave_goes_with_what_it_has_once_staging_is_over_or_all_were_tried() -> None:
    assert step(wave(new=2, pending=1)) == Begin(wave=1)
    assert step(wave(new=2, pending=1, failed=1), staged=False) == Begin(wave=1)
    assert step(wave(pending=2, failed=2), wave(2, new=1), staged=False) == Begin(wave=2)


def test_a_wave_that_has_begun_does_not_wait_for_staging_again() -> None:
    assert step(wave(new=1, pending=1, states={S.ACTIVATED: 1}), staged=False) == Begin(wave=1)


def test_time_counts_from_the_last_target_staged() -> None:
    rollout = Rollout(gate=Gate(after_seconds=3600))
    found = step(wave(new=1), rollout=rollout, now=NOON + HOUR - timedelta(seconds=1))
    assert found == Wait(gating=Gating.TIME, detail="after", wave=1, until=NOON + HOUR)
    assert step(wave(new=1), rollout=rollout, now=NOON + HOUR) == Begin(wave=1)


def test_what_a_wave_waits_for_is_named() -> None:
    saturday = Window(days=frozenset({5}), start=time(2), end=time(6), zone="UTC")
    rollout = Rollout(gate=Gate(after_seconds=3600, windows=(saturday,)))
    found = step(wave(new=1), rollout=rollout)
    opens = datetime(2026, 10, 3, 2, tzinfo=UTC)
    assert found == Wait(gating=Gating.TIME, detail="after and window", wave=1, until=opens)


def test_a_time_that_never_comes_is_waited_for_without_an_end() -> None:
    never = Window(days=frozenset(), start=time(2), end=time(6), zone="UTC")
    found = step(wave(new=1), rollout=Rollout(gate=Gate(windows=(never,))))
    assert found == Wait(gating=Gating.TIME, detail="a time that never comes", wave=1)


def test_a_pause_lies_between_the_end_of_a_wave_and_the_next() -> None:
    rollout = Rollout(pause_seconds=600)
    until = NOON + timedelta(minutes=10)
    waves = wave(states={S.ACTIVATED: 1}, ended_at=NOON), wave(2, new=1)
    found = step(*waves, rollout=rollout, now=NOON)
    assert found == Wait(gating=Gating.PAUSE, detail="the pause after wave 1", wave=2, until=until)
    assert step(*waves, rollout=rollout, now=until) == Begin(wave=2)


def test_the_pause_is_counted_from_the_last_wave_that_did_anything() -> None:
    waves = (
        wave(states={S.ACTIVATED: 1}, ended_at=NOON),
        wave(2, pending=1, failed=1),
        wave(3, new=1),
    )
    assert waits_for(step(*waves, rollout=Rollout(pause_seconds=600))) is Gating.PAUSE


def test_no_pause_interrupts_a_wave_that_has_begun() -> None:
    first = wave(states={S.ACTIVATED: 1}, ended_at=NOON)
    second = wave(2, new=1, states={S.ACTIVATED: 1}, ended_at=NOON)
    assert step(first, second, rollout=Rollout(pause_seconds=600)) == Begin(wave=2)


def test_people_approve_each_wave() -> None:
    waves = wave(states={S.ACTIVATED: 1}), wave(2, new=1)
    first = Standing(approved=frozenset({1}))
    found = step(*waves, rollout=APPROVING, standing=first)
    detail = "approval (okta-keys approve)"
    assert found == Wait(gating=Gating.APPROVAL, detail=detail, wave=2)
    both = Standing(approved=frozenset({1, 2}))
    assert step(*waves, rollout=APPROVING, standing=both) == Begin(wave=2)


def test_nobody_has_to_approve_a_wave_in_which_nothing_is_left_to_do() -> None:
    found = step(wave(states={S.ACTIVATED: 1}), rollout=APPROVING)
    assert found == Finished()


def test_a_hook_that_says_no_keeps_the_wave_from_beginning() -> None:
    found = step(wave(new=1), wave(2, new=1), tried={1: Tried(refused="the check said no")})
    assert found == Wait(gating=Gating.HOOK, detail="the check said no", wave=1)


@pytest.mark.parametrize("states", [{}, {S.FAILED: 1}, {S.SKIPPED: 2}, {S.ROLLED_BACK: 1}])
def test_a_silent_vendor_holds_up_later_waves_while_nothing_of_its_wave_is_active(
    states: Mapping[ActivationState, int],
) -> None:
    unretryable = states.get(S.FAILED, 0)
    first = wave(new=2, unacknowledged=2, states=states, unretryable=unretryable)
    found = step(first, wave(2, new=1), rollout=BY_PEOPLE)
    assert found == Wait(
        gating=Gating.ACKNOWLEDGEMENT, detail="acknowledgement of 2 targets", wave=1
    )


@pytest.mark.parametrize("state", [S.ACTIVATED, S.VERIFIED])
def test_a_silent_vendor_beside_an_active_target_holds_up_nobody(state: ActivationState) -> None:
    first = wave(new=1, unacknowledged=1, states={state: 1})
    assert step(first, wave(2, new=1), rollout=BY_PEOPLE) == Begin(wave=2)
    waiting = Wait(gating=Gating.ACKNOWLEDGEMENT, detail="acknowledgement of 1 target", wave=1)
    second = wave(2, states={S.ACTIVATED: 1})
    assert step(first, second, rollout=BY_PEOPLE) == Finished(waiting=waiting)


def test_the_first_of_several_waits_is_told() -> None:
    silent = [wave(n, new=1, unacknowledged=1, states={S.ACTIVATED: 1}) for n in (1, 2)]
    found = step(*silent, rollout=BY_PEOPLE)
    assert isinstance(found, Finished)
    assert found.waiting is not None
    assert found.waiting.wave == 1


def test_those_who_are_ready_do_not_wait_for_those_who_are_not() -> None:
    assert step(wave(new=3, unacknowledged=2), rollout=BY_PEOPLE) == Begin(wave=1)


def test_a_command_is_asked_before_its_wave_begins_and_not_twice_in_vain() -> None:
    first = wave(new=3, unacknowledged=2)
    assert step(first, rollout=BY_COMMAND) == Ask(wave=1)
    assert step(first, rollout=BY_COMMAND, tried={1: Tried(asked=1)}) == Ask(wave=1)
    assert step(first, rollout=BY_COMMAND, tried={1: Tried(asked=2)}) == Begin(wave=1)


def test_a_command_is_not_asked_ahead_of_time() -> None:
    rollout = replace(BY_COMMAND, gate=replace(BY_COMMAND.gate, after_seconds=60))
    assert waits_for(step(wave(new=1, unacknowledged=1), rollout=rollout)) is Gating.TIME


def test_acknowledgements_count_only_where_the_gate_asks_for_them() -> None:
    assert step(wave(new=2, unacknowledged=2)) == Begin(wave=1)
    by_command = Rollout(gate=Gate(acknowledge_by=HookCommand(argv=("ask",))))
    assert step(wave(new=2, unacknowledged=2), rollout=by_command) == Begin(wave=1)


def test_a_wave_is_confirmed_before_the_next_begins() -> None:
    waves = wave(states={S.ACTIVATED: 2, S.VERIFIED: 1}), wave(2, new=1)
    assert step(*waves, confirms=True) == Confirm(wave=1)
    assert step(*waves) == Begin(wave=2)
    assert step(*waves, confirms=True, tried={1: Tried(unconfirmed=1)}) == Confirm(wave=1)
    assert step(*waves, confirms=True, tried={1: Tried(unconfirmed=2)}) == Begin(wave=2)
    assert step(wave(states={S.VERIFIED: 3}), confirms=True) == Finished()


def test_a_wave_is_confirmed_once_all_that_is_ready_in_it_has_gone() -> None:
    both = wave(new=1, states={S.ACTIVATED: 2})
    assert step(both, confirms=True) == Begin(wave=1)
    silent = wave(new=1, unacknowledged=1, states={S.ACTIVATED: 2})
    assert step(silent, confirms=True, rollout=BY_PEOPLE) == Confirm(wave=1)
    held = Standing(held={1: "too much of it failed"})
    assert step(both, confirms=True, standing=held) == Confirm(wave=1)


def test_a_held_wave_holds_up_those_after_it_also_when_it_is_through() -> None:
    standing = Standing(held={1: "too much of it failed"})
    found = step(wave(states={S.ACTIVATED: 1}), wave(2, new=1), standing=standing)
    assert found == Wait(gating=Gating.HELD, detail="too much of it failed", wave=1)


def test_a_job_that_is_held_as_a_whole_begins_nothing() -> None:
    standing = Standing(held={0: "rolled back"}, approved=frozenset({1}))
    assert step(wave(new=1), standing=standing) == Wait(gating=Gating.HELD, detail="rolled back")


def test_whatever_waits_for_people_can_be_let_go_ahead_of_its_time() -> None:
    done, due = wave(states={S.ACTIVATED: 1}), wave(2, pending=2)
    assert awaiting_people([done, due], AT_ONCE, FREE) is None
    assert awaiting_people([done, due], APPROVING, FREE) == 2
    assert awaiting_people([done, due], APPROVING, Standing(approved=frozenset({2}))) is None
    assert awaiting_people([done, due], AT_ONCE, Standing(held={1: "failures"})) == 1
    assert awaiting_people([done, due], APPROVING, Standing(held={0: "rolled back"})) == 0
    assert awaiting_people([done], APPROVING, FREE) is None


def event(seq: int, kind: str, **body: object) -> EventRecord:
    return EventRecord(seq=seq, at=NOON, kind=kind, body=body)


def test_people_can_write_what_lets_a_wave_go_and_nothing_that_holds_it() -> None:
    assert APPROVED in PEOPLES_KINDS
    assert HELD not in PEOPLES_KINDS
    assert not {APPROVED, HELD} & {kind.value for kind in EventKind}


def test_events_that_name_no_wave_say_nothing() -> None:
    events = [event(1, HELD, job=0), event(2, APPROVED, wave=1), event(3, HELD, job="a", wave="b")]
    assert standing_of(events) == {}


def test_a_hold_without_a_reason_is_a_hold() -> None:
    assert standing_of([event(1, HELD, job=0, wave=2)]) == {
        0: Standing(held={2: ""}, been_held=frozenset({2}))
    }


def test_jobs_stand_each_on_their_own() -> None:
    found = standing_of(
        [event(1, HELD, job=0, wave=0, detail="x"), event(2, APPROVED, job=1, wave=1)]
    )
    assert found == {
        0: Standing(held={0: "x"}, been_held=frozenset({0})),
        1: Standing(approved=frozenset({1})),
    }


def test_a_wave_that_was_let_go_has_been_held_all_the_same() -> None:
    [standing] = standing_of(
        [event(1, HELD, job=0, wave=1, detail="x"), event(2, APPROVED, job=0, wave=1)]
    ).values()
    assert not standing.held
    assert standing.been_held == {1}


def test_new_targets_go_to_the_last_wave_that_there_is() -> None:
    rollout = Rollout(waves=(1, 0.5))
    assert assign({None: 4}, rollout, begun=False) == [(1, 1), (2, 2), (3, 1)]
    assert assign({1: 1, 2: 2, 3: 1, None: 5}, rollout, begun=True) == [
        (1, 1),
        (2, 2),
        (3, 1),
        (3, 5),
    ]
    assert assign({1: 1, 2: 2, 3: 1}, rollout, begun=True) is None
    assert assign({1: 1, 2: 2, 3: 1}, rollout, begun=False) is None


def test_until_a_wave_has_begun_the_plan_may_change_its_mind() -> None:
    assert assign({1: 1, 2: 3}, Rollout(waves=(2,)), begun=False) == [(1, 2), (2, 2)]
    assert assign({1: 1, 2: 3}, Rollout(waves=(2,)), begun=True) is None


KEY = Wait(gating=Gating.KEY, detail="the signed certificate of CSR c1")
TIME = Wait(gating=Gating.TIME, detail="window", wave=2, until=NOON)
HOLD = Wait(gating=Gating.HELD, detail="2 targets of wave 1 failed", wave=1)


def test_waits_are_told_in_whole_sentences() -> None:
    assert told("a", KEY) == "job a waits for the signed certificate of CSR c1"
    assert told("a", TIME) == "job a, wave 2 waits for window, until 2026-10-01 12:00:00 UTC"
    assert told("a", HOLD) == "job a, wave 1 is held: 2 targets of wave 1 failed"
    assert told("a", replace(HOLD, wave=0)) == "job a is held: 2 targets of wave 1 failed"


def test_nothing_stops_a_run_that_waits_for_nothing() -> None:
    assert stop_of({}) is None


def test_a_run_that_waits_says_for_what_and_what_to_do() -> None:
    stop = stop_of({"a": KEY, "b": TIME})
    assert stop is not None
    assert stop.cause is StopCause.WAITING
    assert stop.detail == f"{told('a', KEY)}; {told('b', TIME)}"
    assert "--wait" in (stop.hint or "")


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_one_held_wave_needs_people_whatever_the_other_jobs_wait_for(
    names: tuple[str, str],
) -> None:
    stop = stop_of(dict(zip(names, (HOLD, TIME), strict=True)))
    assert stop is not None
    assert stop.cause is StopCause.WAVE
    assert "window" in stop.detail
    assert "approve" in (stop.hint or "")
