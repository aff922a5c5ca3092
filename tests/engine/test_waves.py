"""Waves: how many go when, and what keeps the rest of them back."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from orchestrator.cli.closing import conclude
from orchestrator.engine.gates import HELD
from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import WaveBegun, WaveHeld
from orchestrator.model import ActivationState, AppId, Reason, StopCause
from orchestrator.rollout import Gate, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.store.base import RunState
from tests.engine.rollout_stage import DAY, MINUTE, RolloutStage, assert_waits, until
from tests.support import CLONE, NO_LIMITS, PlainJob

S = ActivationState


# Sizes and order


@pytest.mark.parametrize(
    ("waves", "sizes"),
    [((1, 0.5, 1.0), [1, 5, 4]), ((4,), [4, 4, 2]), ((0.01, 0.15), [1, 2, 2, 2, 2, 1])],
)
async def test_each_wave_is_done_and_confirmed_before_the_next(
    waves: tuple[int | float, ...], sizes: list[int]
) -> None:
    stage = RolloutStage()
    targets = stage.holders(10)
    result = await stage.finish(stage.job(targets, Rollout(waves=waves)))

    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    written, begin = stage.written(), 0
    for size in sizes:  # in plan order by wave, in any order within one
        assert sorted(written[begin : begin + size]) == sorted(targets[begin : begin + size])
        begin += size
    looks = [at for at, call in enumerate(stage.org.log) if call.template == "/api/v1/logs"]
    puts = [at for at, call in enumerate(stage.org.log) if call.method == "PUT"]
    between = [
        sum(before < put < after for put in puts) for before, after in pairwise([-1, *looks])
    ]
    assert between == sizes
    begun = stage.told(WaveBegun)
    assert [(each.wave, each.waves, each.targets) for each in begun] == [
        (number, len(sizes), size) for number, size in enumerate(sizes, 1)
    ]


async def test_staging_of_later_targets_goes_on_while_earlier_ones_are_activated() -> None:
    stage = RolloutStage(limits=LimitSettings(enabled=False, latency_seconds=(0.6, 0.6)))
    targets = stage.holders(16)
    await stage.finish(stage.job(targets, Rollout(waves=(2, 1.0))), workers=2)
    story = [
        "clone" if call.template == CLONE else "put"
        for call in stage.org.log
        if call.template == CLONE or call.method == "PUT"
    ]
    assert len(story) == 32
    first_put, last_clone = story.index("put"), len(story) - 1 - story[::-1].index("clone")
    assert first_put < last_clone - 3, "the first wave has gone while others were still staged"
    second_wave = [at for at, what in enumerate(story) if what == "put"][2]
    assert second_wave > last_clone, "no wave goes before its own targets are staged"


async def test_a_wave_does_not_sit_about_once_staging_is_over() -> None:
    stage = RolloutStage(speed=1.0)
    targets = stage.holders(2)
    began = stage.clock.monotonic()
    await stage.finish(stage.job(targets))
    assert stage.clock.monotonic() - began < 0.9
    assert stage.active() == set(targets)


async def test_jobs_go_their_own_ways() -> None:
    stage = RolloutStage()
    patient, eager, quiet = stage.holders(3), stage.holders(3), stage.holders(2)
    jobs = [
        stage.job(patient, Rollout(gate=Gate(approval=True)), name="patient"),
        stage.job(eager, Rollout(waves=(1,)), name="eager"),
        PlainJob("quiet", stage.key, quiet),  # it stages, and no more
    ]
    result = await stage.finish(*jobs)
    assert_waits(result, "job patient, wave 1", "approval")
    assert stage.active() == set(eager)
    assert all(stage.org.holds(app, stage.key.kid) for app in patient + quiet)

    stage.approve(1, job=0)
    assert (await stage.finish(*jobs)).stop is None
    assert stage.active() == {*eager, *patient}
    assert stage.result().record.state is RunState.FINISHED


async def test_targets_that_the_plan_gains_later_join_the_last_wave() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    rollout = Rollout(waves=(1, 1.0), pause_seconds=DAY)
    await stage.finish(stage.job(targets, rollout))
    late = stage.holders(2)
    await stage.finish(stage.job([*targets, *late], rollout))
    assert stage.active() == {targets[0]}
    stage.org.advance(DAY + MINUTE)
    await stage.finish(stage.job([*targets, *late], rollout))
    assert stage.active() == {*targets, *late}
    assert {record.wave for app, record in stage.records().items() if app in late} == {2}


async def test_only_some_targets() -> None:
    stage = RolloutStage()
    targets = stage.holders(6)
    job = stage.job(targets, Rollout(waves=(2, 2, 2)))
    chosen = [targets[1], targets[4]]
    await stage.finish(job, only=chosen)
    assert stage.active() == set(chosen)
    assert {app for app in targets if stage.org.holds(app, stage.key.kid)} == set(chosen)
    result = await stage.finish(job)
    assert result.stop is None
    assert stage.active() == set(targets)
    assert sorted(stage.written()) == sorted(targets), "nobody is written twice"


# Failures


def refusing(*targets: AppId, status: int = 403) -> list[Fault]:
    return [Fault(kind="reject", on="update_app", status=status, code="E0000006", targets=targets)]


async def test_a_wave_that_fails_too_often_holds_until_people_let_it_go() -> None:
    stage = RolloutStage()
    targets = stage.holders(8)
    job = stage.job(targets, Rollout(waves=(6, 1.0), stop_after_failures=2))
    stage.faults = refusing(targets[1], targets[3], targets[4])
    result = await stage.finish(job, workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    assert result.stop is not None
    assert result.stop.cause is StopCause.WAVE
    assert "wave 1 is held: 2 targets of wave 1 failed, as many as it may" in result.stop.detail
    assert "approve" in str(result.stop.hint)
    assert [call.app for call in stage.puts()] == targets[:4], "the rest of the wave is spared"
    assert [note["wave"] for note in stage.notes(HELD)] == [1]
    assert [each.wave for each in stage.told(WaveHeld)] == [1]
    done, failed = [targets[0], targets[2]], [targets[1], targets[3]]
    assert stage.active() == set(done)
    assert {app for app, each in stage.activations().items() if each.state is S.FAILED} == {*failed}

    stage.faults = ()
    again = await stage.finish(job)
    assert exit_code(again) is ExitCode.SAFETY
    assert len(stage.puts()) == 4, "nothing goes on by itself"

    stage.approve(1)
    result = await stage.finish(job, workers=1)
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    later = [call.app for call in stage.puts()[4:]]
    assert later == [app for app in targets if app not in done], "what is active is left alone"


async def test_a_wave_that_was_let_go_may_be_held_again() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(1.0,)))
    stage.faults = refusing(*targets)
    for tries in (1, 2, 3):
        result = await stage.finish(job, workers=1)
        assert exit_code(result) is ExitCode.SAFETY
        assert len(stage.puts()) == tries
        stage.approve(1)


async def test_the_budget_may_be_a_share_of_the_wave() -> None:
    stage = RolloutStage()
    targets = stage.holders(8)
    job = stage.job(targets, Rollout(waves=(0.5,), stop_after_failures=0.5))
    stage.faults = refusing(*targets[:4])
    await stage.finish(job, workers=1)
    assert [call.app for call in stage.puts()] == targets[:2]


async def test_failures_within_the_budget_stop_nobody_and_are_tried_again() -> None:
    stage = RolloutStage()
    targets = stage.holders(5)
    job = stage.job(targets, Rollout(waves=(2, 1.0), stop_after_failures=2))
    stage.faults = refusing(targets[0])
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.active() == set(targets[1:])
    assert stage.activations()[targets[0]].reason is Reason.FORBIDDEN
    stage.faults = ()
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.active() == set(targets)
    assert [call.app for call in stage.puts()][5:] == [targets[0]]


async def test_what_another_attempt_cannot_mend_is_not_attempted_again() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(2, 1.0), gate=Gate(approval=True)))
    await stage.finish(job)
    stage.org.remove_app(targets[0])
    stage.approve(1)
    await stage.finish(job)
    gone = stage.activations()[targets[0]]
    assert (gone.state, gone.reason, gone.retryable) == (S.FAILED, Reason.TARGET_NOT_FOUND, False)
    reads = len(stage.calls("GET", "/apps/{appId}"))
    stage.approve(1)
    stage.approve(2)
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.kids_of(targets[1:]) == dict.fromkeys(targets[1:], stage.key.kid)
    assert len(stage.calls("GET", "/apps/{appId}")) == reads + 1


async def test_failures_of_one_job_do_not_hold_another() -> None:
    stage = RolloutStage()
    unlucky, lucky = stage.holders(3), stage.holders(3)
    stage.faults = refusing(*unlucky)
    jobs = [stage.job(unlucky, name="unlucky"), stage.job(lucky, Rollout(waves=(1,)), name="lucky")]
    result = await stage.finish(*jobs)
    assert exit_code(result) is ExitCode.SAFETY
    assert "job unlucky, wave 1 is held" in str(result.stop)
    assert stage.active() == set(lucky)


# Stops


async def test_a_stop_in_the_middle_of_a_wave_settles_what_is_under_way() -> None:
    stage = RolloutStage(limits=LimitSettings(enabled=False, latency_seconds=(0.3, 0.8)))
    targets = stage.holders(12)
    job = stage.job(targets, Rollout(waves=(3, 1.0)))
    former = stage.kids_of(targets)
    with anyio.fail_after(20):
        async with stage.run(job, workers=3) as run:
            async with anyio.create_task_group() as group:
                group.start_soon(run.execute)
                await until(lambda: len(stage.puts()) >= 5)
                run.stop(StopCause.INTERRUPT, "SIGINT received")
            result = await conclude(run, stage.store)
    stage.limits = NO_LIMITS
    assert exit_code(result) is ExitCode.INTERRUPTED
    done = stage.active()
    assert 5 <= len(done) < 12
    states = {each.state for each in stage.activations().values()}
    assert states == {S.ACTIVATED}, "nothing is left half done"
    assert result.unactivated == 12 - len(done)

    again = await stage.finish(job)
    assert exit_code(again) is ExitCode.DONE
    assert stage.active() == set(targets)
    assert sorted(stage.written()) == sorted(targets), "nobody is written twice"
    assert {app: each.previous_kid for app, each in stage.activations().items()} == former
    stage.check_history()


async def test_the_deadline_ends_the_wait_for_a_gate() -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    job = stage.job(targets, Rollout(gate=Gate(approval=True)))
    result = await stage.finish(job, waits=True, deadline_seconds=10.0)
    assert result.stop is not None
    assert result.stop.cause is StopCause.DEADLINE
    assert exit_code(result) is ExitCode.UNFINISHED
    assert stage.puts() == []
    stage.approve(1)
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.active() == set(targets)


async def test_the_deadline_may_fall_into_a_wave() -> None:
    stage = RolloutStage()
    targets = stage.holders(10)
    job = stage.job(targets, Rollout(gate=Gate(approval=True)))
    await stage.finish(job)
    stage.approve(1)
    stage.limits = LimitSettings(enabled=False, latency_seconds=(1.0, 1.0))
    result = await stage.finish(job, workers=1, deadline_seconds=8.0)
    stage.limits = NO_LIMITS
    assert exit_code(result) is ExitCode.UNFINISHED
    assert 0 < len(stage.active()) < 10
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert sorted(stage.written()) == sorted(targets)
