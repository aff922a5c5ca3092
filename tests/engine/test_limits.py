"""Rate limits over real sockets, with windows that are shortened but open as Okta's do."""

from __future__ import annotations

import itertools

import anyio
import pytest

from orchestrator.events import Broadcast, CallPaced
from orchestrator.model import Status
from orchestrator.okta.http import Timeouts
from orchestrator.sandbox.limits import LimitSettings, Rival
from orchestrator.sandbox.org import SandboxOrg
from tests.support import CLONE, Recorder, Stage, assert_true_to_the_org


def limits(window: float, per_window: int, rival: Rival | None = None) -> LimitSettings:
    """Return limits that give our token `per_window` calls to the bucket of the keys."""
    return LimitSettings(
        window_seconds=window, org_limits={"apps": per_window * 2}, share=0.5, rival=rival
    )


def window_starts(stage: Stage, window: float) -> list[float]:
    """Return when each window was opened: with the first call after the last one ended."""
    starts: list[float] = []
    for call in sorted(stage.org.log, key=lambda each: each.at):
        if call.bucket == "apps" and (not starts or call.at >= starts[-1] + window):
            starts.append(call.at)
    return starts


@pytest.mark.parametrize(("window", "per_window", "edges"), [(2.0, 20, 1)])
async def test_alone_there_is_no_429_and_little_is_lost_per_edge(
    window: float, per_window: int, edges: int
) -> None:
    stage = Stage(limits=limits(window, per_window))
    targets = stage.apps(per_window * edges + per_window // 2)
    result = await stage.finish(stage.job(targets), capacity=1.0)
    assert result.counts[Status.CLONED] == len(targets)
    assert stage.refused_429() == 0
    starts = window_starts(stage, window)
    assert len(starts) == edges + 1
    lost = [later - earlier - window for earlier, later in itertools.pairwise(starts)]
    assert max(lost) <= 1.5


async def test_capacity_leaves_the_rest_of_the_window_to_others() -> None:
    stage = Stage(limits=limits(60.0, 50))
    targets = stage.apps(100)
    with anyio.move_on_after(1.0):
        async with stage.run(stage.job(targets), capacity=0.1) as run:
            await run.execute()
    assert len(stage.org.log) <= 5


async def test_the_concurrency_limit_is_respected_and_loses_nobody() -> None:
    slow = LimitSettings(
        window_seconds=60.0,
        org_limits={"apps": 4000},
        concurrency=10,
        latency_seconds=(0.02, 0.05),
    )
    stage = Stage(limits=slow)
    targets = stage.apps(200)
    result = await stage.finish(stage.job(targets), workers=20)
    assert result.counts[Status.CLONED] == 200
    crowded = [call for call in stage.org.log if call.status == 429]
    assert crowded, "the cap of five calls at once was never met"
    assert len(crowded) < 25


async def test_waiting_is_told_and_counted() -> None:
    stage = Stage(limits=limits(2.0, 10))
    recorder = Recorder()
    result = await stage.finish(
        stage.job(stage.apps(14)), capacity=1.0, observer=Broadcast([recorder])
    )
    assert any(isinstance(event, CallPaced) for event in recorder.events)
    assert max(outcome.evidence.waited_seconds for outcome in result.outcomes) > 1


@pytest.mark.long
async def test_ten_seeds_with_a_rival_of_thirty_percent() -> None:
    """Fewer than one 429 of ours in a thousand calls, and no target lost."""
    stages = [
        Stage(org=SandboxOrg(seed=seed), limits=limits(6.0, 120, Rival(share=0.3)))
        for seed in range(10)
    ]

    async def one(stage: Stage) -> None:
        # Ten orgs and ten runs share one process: a late answer is not what this is about.
        job = stage.job(stage.apps(400))
        result = await stage.finish(job, capacity=1.0, timeouts=Timeouts(read=20.0))
        assert result.counts[Status.CLONED] == 400
        assert_true_to_the_org(result, stage.org)

    async with anyio.create_task_group() as group:
        for stage in stages:
            group.start_soon(one, stage)
    calls = sum(call.template == CLONE for stage in stages for call in stage.org.log)
    refused = sum(stage.refused_429() for stage in stages)
    assert calls >= 4000
    assert 1000 * refused / calls < 1.0


@pytest.mark.long
@pytest.mark.parametrize(("window", "per_window"), [(4.0, 30), (6.0, 50), (10.0, 20), (20.0, 100)])
async def test_alone_over_many_edges(window: float, per_window: int) -> None:
    await test_alone_there_is_no_429_and_little_is_lost_per_edge(window, per_window, edges=2)
