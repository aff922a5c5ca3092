"""Others who change the same apps: before us, between our read and our write, and after us."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import ActivationState, Kid, Proof, Reason, StopCause
from orchestrator.rollout import Gate, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall
from orchestrator.sandbox.vocabulary import Edit
from tests.engine.rollout_stage import PATIENT, RolloutStage

S = ActivationState
LOGS = "/api/v1/logs"


def edited(what: Edit, on: Any, **given: Any) -> Fault:
    return Fault(kind="edit", edit=what, on=on, when="after", **given)


# Between our read and our write


@pytest.mark.parametrize("what", ["label", "kid"])
async def test_an_edit_that_our_write_undoes_is_found_in_the_log(what: Edit) -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    former = stage.kids_of(targets)
    stage.faults = [edited(what, "get_app", targets=(targets[1],), times=1)]
    job = stage.job(targets, Rollout(waves=(2, 1.0)))
    result = await stage.finish(job)

    assert exit_code(result) is ExitCode.SAFETY, "as many failures as the wave may have"
    activation = stage.activations()[targets[1]]
    assert activation.state is S.ACTIVATED
    assert activation.is_failure
    assert activation.previous_kid == former[targets[1]]
    [edit] = [
        event
        for event in stage.org.system_log.events
        if event.by.person == stage.org.administrator
        and event.type == "application.lifecycle.update"
    ]
    assert activation.problem is not None
    assert stage.org.administrator.login in activation.problem
    assert edit.by.transaction in activation.problem
    assert "between our read and our write" in activation.problem
    assert stage.active() == set(targets[:2]), "and no further wave has begun"
    assert stage.activations()[targets[0]].problem is None
    assert result.problems == 1

    stage.approve(1)
    result = await stage.finish(job)
    assert stage.active() == set(targets)
    assert exit_code(result) is ExitCode.PARTIAL, "the problem stays until people have seen to it"
    assert len(stage.puts()) == 4, "nothing is written over once more"


async def test_an_edit_is_found_however_long_the_calls_take() -> None:
    stage = RolloutStage(limits=LimitSettings(enabled=False, latency_seconds=(3.0, 3.0)))
    [target] = stage.holders(1)
    stage.faults = [edited("label", "get_app", times=1)]
    await stage.finish(stage.job([target]), timeouts=PATIENT)
    assert stage.activations()[target].problem is not None


@pytest.mark.parametrize("kind", ["drop", "stall", "truncate"])
async def test_an_edit_is_found_also_where_the_answer_to_our_write_was_lost(kind: Any) -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    lost = Fault(kind=kind, when="after", on="update_app", seconds=3600, times=1)
    stage.faults = [edited("label", "get_app", times=1), lost]
    await stage.finish(stage.job([target]))
    activation = stage.activations()[target]
    assert activation.state is S.ACTIVATED
    assert stage.org.administrator.login in str(activation.problem)


async def test_edits_before_our_read_and_after_our_write_are_nobodys_problem() -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    before, after = targets
    stage.faults = [
        Fault(kind="edit", on="get_app", when="before", targets=(before,), times=1),
        edited("label", "update_app", targets=(after,), times=1),
    ]
    result = await stage.finish(stage.job(targets))
    assert exit_code(result) is ExitCode.DONE
    assert [each.problem for each in stage.activations().values()] == [None, None]
    assert all(stage.org.apps[app].label.endswith("(edited)") for app in targets)
    assert stage.org.collateral_changes() == 0


async def test_an_edit_is_blamed_on_the_target_that_it_was_of() -> None:
    stage = RolloutStage()
    targets = stage.holders(30)
    hit = set(targets[::7])
    stage.faults = [edited("label", "get_app", targets=tuple(hit), times=len(hit))]
    await stage.finish(stage.job(targets, Rollout(stop_after_failures=30)), workers=10)
    assert stage.active() == set(targets)
    assert {app for app, each in stage.activations().items() if each.problem} == hit


async def test_without_the_cross_check_the_log_is_not_read() -> None:
    stage = RolloutStage(faults=[edited("label", "get_app", times=1)])
    targets = stage.holders(1)
    result = await stage.finish(stage.job(targets, cross_check=False))
    assert exit_code(result) is ExitCode.DONE
    assert stage.calls("GET", LOGS) == []


async def test_without_the_right_to_read_the_log_the_run_says_so_and_goes_on() -> None:
    stage = RolloutStage()
    stage.org.log_readable = False
    targets = stage.holders(3)
    result = await stage.finish(stage.job(targets, Rollout(waves=(1,))))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    notices = [text for text in stage.notices() if "System Log" in text]
    assert len(notices) == 3
    assert "403" in notices[0]


async def test_a_log_that_lags_blames_nobody_and_the_run_says_so() -> None:
    stage = RolloutStage(faults=[edited("label", "get_app", times=1)])
    stage.org.log_lag_seconds = 600.0
    targets = stage.holders(2)
    result = await stage.finish(stage.job(targets))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    [notice] = [text for text in stage.notices() if "System Log" in text]
    assert "does not show 2 of our own writes" in notice


# After us


async def test_a_key_that_is_taken_back_behind_us_is_found_by_the_list() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    former = stage.kids_of(targets)
    stage.faults = [edited("revert", "update_app", targets=(targets[1],), times=1)]
    job = stage.job(targets, Rollout(waves=(2, 1.0)), verify="read_back")
    result = await stage.finish(job)

    assert exit_code(result) is ExitCode.SAFETY
    drifted = stage.activations()[targets[1]]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert not drifted.retryable
    assert f"signs with {former[targets[1]]} now" in drifted.detail
    assert stage.activations()[targets[0]].state is S.VERIFIED
    assert stage.activations()[targets[0]].proof is Proof.LIST

    stage.approve(1)
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.active() == {targets[0], targets[2], targets[3]}
    await stage.finish(job)
    assert stage.kid_of(targets[1]) == former[targets[1]], "whoever did that meant it"
    assert stage.written().count(targets[1]) == 1


async def test_a_third_key_behind_us_is_left_alone_too() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    thirds: list[Kid] = []

    def look(call: LoggedCall) -> None:
        if call.method == "PUT":
            thirds.append(stage.sign_with(target))

    stage.watch(look)
    job = stage.job([target], verify="read_back")
    await stage.finish(job)
    stage.approve(1)
    await stage.finish(job)
    await stage.roll_back()
    [third] = thirds
    assert stage.kid_of(target) == third
    drifted = stage.activations()[target]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)


# Before us, since the preview


async def test_a_key_that_has_changed_since_the_preview_is_not_overwritten() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(stop_after_failures=3))
    await stage.preview(job)
    assert {record.activation.state for record in stage.foreseen if record.activation} == {
        S.PLANNED
    }
    seen, third = stage.kid_of(targets[1]), stage.sign_with(targets[1])
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.active() == {targets[0], targets[2]}
    drifted = stage.activations()[targets[1]]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert f"signs with {third}" in drifted.detail
    assert f"preview of {stage.now():%Y-%m-%d}" in drifted.detail
    assert f"it signed with {seen}" in drifted.detail
    assert stage.kid_of(targets[1]) == third
    await stage.finish(job)
    assert stage.kid_of(targets[1]) == third

    stage.org.advance(60)
    await stage.preview(job)  # somebody has looked at how it is now
    await stage.finish(job)
    assert stage.active() == set(targets)
    assert stage.activations()[targets[1]].previous_kid == third


async def test_other_changes_since_the_preview_are_kept() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    job = stage.job([target])
    await stage.preview(job)
    stage.org.advance(60)
    renamed = stage.document(target) | {"label": "Renamed", "profile": {"owner": "anna"}}
    stage.org.update_app(target, renamed)
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == {target}
    document = stage.document(target)
    assert (document["label"], document["profile"]) == ("Renamed", {"owner": "anna"})
    assert stage.org.collateral_changes() == 0


async def test_a_target_that_got_the_key_since_the_preview_needs_no_write() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    job = stage.job([target])
    await stage.preview(job)
    stage.sign_with(target, stage.key.kid)
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.puts() == []


# Before us, since a crash


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_crash_somebody_elses_key_is_not_overwritten(when: Any) -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    stage.faults = [Fault(kind="stall", when=when, seconds=3600, on="update_app")]
    job = stage.job([target])
    former = stage.kid_of(target)
    await stage.abandon(stage.puts, job)
    assert stage.activations()[target].state is S.INTENDED
    third = stage.sign_with(target)
    stage.faults = []
    await stage.finish(job)
    drifted = stage.activations()[target]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert drifted.previous_kid == former
    assert "when its activation began" in drifted.detail
    assert stage.kid_of(target) == third


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_crash_the_write_is_adopted_or_done_again(when: Any) -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    stage.faults = [Fault(kind="stall", when=when, seconds=3600, on="update_app")]
    job = stage.job([target])
    await stage.abandon(stage.puts, job)
    stage.faults = []
    stage.org.advance(60)
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.active() == {target}
    assert stage.written() == [target]
    activation = stage.activations()[target]
    assert activation.previous_kid == former
    assert activation.proof is (Proof.READ if when == "after" else Proof.RESPONSE)
    assert activation.problem is None
    assert stage.org.collateral_changes() == 0


async def test_a_crash_does_not_hide_an_edit_that_our_write_undid() -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    stage.faults = [
        edited("label", "get_app", targets=(targets[0],), times=1),
        Fault(kind="stall", seconds=3600, on="list_logs"),
    ]
    job = stage.job(targets, verify="read_back")
    await stage.abandon(lambda: stage.calls("GET", LOGS), job)
    assert {each.state for each in stage.activations().values()} == {S.ACTIVATED}
    stage.faults = []
    result = await stage.finish(job)
    assert stage.activations()[targets[0]].problem is not None
    assert {each.state for each in stage.activations().values()} == {S.VERIFIED}
    assert exit_code(result) is ExitCode.SAFETY
    assert result.stop is not None
    assert result.stop.cause is StopCause.WAVE


async def test_a_gate_of_weeks_does_not_make_the_preview_stale() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    wait = timedelta(days=14).total_seconds()
    job = stage.job([target], Rollout(gate=Gate(after_seconds=wait)))
    await stage.preview(job)
    await stage.finish(job)
    stage.org.advance(wait + 60)
    third = stage.sign_with(target)
    await stage.finish(job)
    assert stage.activations()[target].reason is Reason.DRIFT
    assert stage.kid_of(target) == third
