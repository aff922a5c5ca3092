"""Every way in which a run ends early: what is in flight is settled, the rest is accounted for."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import Broadcast, RunStopping, TargetSettled
from orchestrator.model import Reason, Status, StopCause
from orchestrator.okta.http import Timeouts
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from tests.support import Recorder, Stage, assert_true_to_the_org


async def test_the_failure_budget_stops_the_run() -> None:
    stage = Stage()
    targets = stage.apps(100)
    stage.faults = [Fault(kind="reject", on="clone", targets=tuple(targets[10:]))]
    result = await stage.finish(stage.job(targets), stop_after_failures=5, workers=1)
    assert result.counts[Status.FAILED] == 5
    assert result.left == 85
    assert exit_code(result) is ExitCode.SAFETY


async def test_max_targets_caps_new_clones_and_later_runs_go_on() -> None:
    stage = Stage()
    targets = stage.apps(50)
    job = stage.job(targets)
    seen = []
    for _ in range(4):
        result = await stage.finish(job, max_targets=20)
        seen.append((stage.clones(), result.left, exit_code(result)))
    assert seen == [
        (20, 30, ExitCode.UNFINISHED),
        (40, 10, ExitCode.UNFINISHED),
        (50, 0, ExitCode.DONE),
        (50, 0, ExitCode.DONE),
    ]


async def test_a_cap_that_is_just_met_leaves_nothing() -> None:
    stage = Stage()
    result = await stage.finish(stage.job(stage.apps(20)), max_targets=20)
    assert exit_code(result) is ExitCode.DONE


async def test_the_deadline_stops_the_run() -> None:
    stage = Stage(limits=LimitSettings(window_seconds=10.0))
    targets = stage.apps(120)
    result = await stage.finish(stage.job(targets), deadline_seconds=1.0)
    assert result.stop is not None
    assert result.stop.cause is StopCause.DEADLINE
    assert exit_code(result) is ExitCode.UNFINISHED
    assert 0 < stage.clones() < 50
    assert result.left == 120 - result.counts[Status.CLONED]
    assert_true_to_the_org(result, stage.org)


async def test_the_first_signal_drains_without_sitting_out_a_window() -> None:
    stage = Stage(limits=LimitSettings(window_seconds=60.0))
    targets = stage.apps(120)
    recorder = Recorder()
    with anyio.fail_after(10):  # the window would take 60
        async with (
            stage.run(stage.job(targets), observer=Broadcast([recorder])) as run,
            anyio.create_task_group() as group,
        ):
            group.start_soon(run.execute)
            await until_clones(stage, 2)
            run.stop(StopCause.INTERRUPT, "SIGINT received")
            run.stop(StopCause.TERMINATE, "and again")
    result = stage.result(run)
    assert exit_code(result) is ExitCode.INTERRUPTED
    assert result.counts[Status.CLONED] == stage.clones()
    assert result.counts[Status.FAILED] == 0
    assert result.left == 120 - stage.clones()
    assert sum(isinstance(event, RunStopping) for event in recorder.events) == 1


async def test_the_second_signal_cancels_and_the_truth_is_kept() -> None:
    stage = Stage()
    targets = stage.apps(30)
    stage.faults = [Fault(kind="stall", on="clone", when="after", targets=tuple(targets[5:]))]
    patient = Timeouts(connect=2.0, read=60.0, whole=60.0)
    with anyio.fail_after(10):
        async with stage.run(stage.job(targets), timeouts=patient, workers=5) as run:
            with anyio.CancelScope() as work:
                async with anyio.create_task_group() as group:
                    group.start_soon(run.execute)
                    await until_clones(stage, 10)
                    run.stop(StopCause.INTERRUPT, "SIGINT received")
                    work.cancel()
    result = stage.result(run)
    interrupted = [each for each in result.outcomes if each.reason is Reason.INTERRUPTED]
    assert len(interrupted) == 5
    assert all(each.retryable and each.evidence.lost_answers for each in interrupted)
    assert sum(result.counts.values()) == 30
    assert_true_to_the_org(result, stage.org)

    stage.faults = ()
    again = await stage.finish(stage.job(targets))
    assert again.counts[Status.FAILED] == 0
    assert stage.clones() == 30


@pytest.mark.parametrize("settled", range(6))
async def test_cancelled_at_any_moment_every_target_is_accounted_for(settled: int) -> None:
    stage = Stage()
    targets = stage.apps(5)
    async with stage.run(stage.job(targets), workers=2) as run:
        observer = run.observer
        assert isinstance(observer, Broadcast)
        scope = anyio.CancelScope()
        observer.observers.append(CancelAfter(settled, scope))
        with scope:
            if settled == 0:
                scope.cancel()
            await run.execute()
    result = stage.result(run)
    assert [outcome.target.app for outcome in result.outcomes] == targets
    assert_true_to_the_org(result, stage.org)


async def test_an_observer_that_cannot_write_does_not_harm_the_run() -> None:
    class ClosedPipe:
        def notify(self, event: object) -> None:  # noqa: ARG002 - Observer
            raise BrokenPipeError

    stage = Stage()
    result = await stage.finish(stage.job(stage.apps(5)), observer=Broadcast([ClosedPipe()]))
    assert result.counts[Status.CLONED] == 5


class CancelAfter:
    """An observer that cancels once so many targets are settled."""

    def __init__(self, settled: int, scope: anyio.CancelScope) -> None:
        self.left = settled
        self.scope = scope

    def notify(self, event: object) -> None:
        if isinstance(event, TargetSettled):
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def until_clones(stage: Stage, number: int) -> None:
    while stage.clones() < number:  # noqa: ASYNC110 - the sandbox announces nothing
        await anyio.sleep(0.01)
