"""What waves wait for: times on the org's clock, and what people, or commands, say."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from orchestrator.engine.result import HOOK_RAN
from orchestrator.rollout import Blackout, Gate, Rollout, Window
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import LoggedCall
from tests.engine.rollout_stage import DAY, HOUR, MINUTE, RolloutStage, assert_waits, script, until

# Time


async def test_the_pause_between_waves_is_kept_over_executions() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(1,), pause_seconds=DAY))
    for number in (1, 2):
        assert_waits(await stage.finish(job), f"the pause after wave {number}", "until")
        assert stage.active() == set(targets[:number])
        stage.org.advance(DAY - HOUR)
        assert_waits(await stage.finish(job), f"the pause after wave {number}")
        assert stage.active() == set(targets[:number])
        stage.org.advance(HOUR + MINUTE)
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


async def test_a_run_that_waits_sits_the_pause_out() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(1,), pause_seconds=6.0))
    result = await stage.finish(job, waits=True)
    assert result.stop is None
    times = [call.at for call in stage.puts()]
    assert stage.written() == targets
    assert all(later - earlier >= 6.0 for earlier, later in pairwise(times))


async def test_after_counts_from_the_last_target_of_the_wave() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    job = stage.job(targets, Rollout(gate=Gate(after_seconds=14 * DAY), waves=(2,)))
    stage.faults = [Fault(kind="reject", on="clone", targets=(targets[3],))]
    result = await stage.finish(job)
    assert "waits for after, until" in str(result.stop)
    stage.org.advance(10 * DAY)
    stage.faults = ()
    assert_waits(await stage.finish(job), "wave 1 waits for after")
    assert stage.puts() == []
    stage.org.advance(4 * DAY + MINUTE)
    assert_waits(await stage.finish(job), "wave 2 waits for after")
    assert stage.active() == set(targets[:2])
    stage.org.advance(10 * DAY + MINUTE)
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


def window_of(begin: datetime, end: datetime) -> Window:
    """Return a weekly window, in UTC, that holds these hours."""
    return Window(
        days=frozenset({begin.weekday()}), start=begin.time(), end=end.time(), zone="Etc/UTC"
    )


async def test_a_window_opens_and_closes_on_the_clock_of_the_org() -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    now = stage.now().replace(microsecond=0)
    window = window_of(now + timedelta(hours=2), now + timedelta(hours=4))
    rollout = Rollout(gate=Gate(windows=(window,)), waves=(1,), pause_seconds=3 * HOUR)
    job = stage.job(targets, rollout)
    assert_waits(await stage.finish(job), "wave 1 waits for window", "until")
    stage.org.advance(3 * HOUR)
    assert_waits(await stage.finish(job), "the pause after wave 1")
    assert stage.active() == {targets[0]}
    stage.org.advance(3.5 * HOUR)  # the pause is over, and so is the window
    assert_waits(await stage.finish(job), "wave 2 waits for window")
    stage.org.advance(7 * DAY - 3.5 * HOUR)
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


async def test_a_date_and_days_on_which_nothing_begins() -> None:
    stage = RolloutStage()
    targets = stage.holders(1)
    due = stage.now() + timedelta(days=3)
    closed = Blackout(first=due.date(), last=due.date() + timedelta(days=1))
    job = stage.job(targets, Rollout(gate=Gate(not_before=due, blackout=(closed,))))
    assert_waits(await stage.finish(job), "after and blackout")
    stage.org.advance(3 * DAY)
    assert_waits(await stage.finish(job))
    assert stage.puts() == []
    stage.org.advance(2 * DAY + MINUTE)
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


@pytest.mark.parametrize(("skew", "is_open"), [(40 * DAY, True), (-40 * DAY, False)])
async def test_what_counts_is_the_clock_of_the_org_not_ours(skew: float, is_open: bool) -> None:
    stage = RolloutStage()
    targets = stage.holders(1)
    ours = stage.clock.wall()
    stage.org.advance(skew)
    opens = ours + timedelta(days=20 if is_open else -20)
    await stage.finish(stage.job(targets, Rollout(gate=Gate(not_before=opens))))
    assert stage.active() == (set(targets) if is_open else set())


# People


async def test_every_wave_needs_its_own_approval() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(gate=Gate(approval=True), waves=(1,)))
    assert_waits(await stage.finish(job), "wave 1", "approval")
    stage.approve(3)  # ahead of its time
    assert_waits(await stage.finish(job), "wave 1", "approval")
    assert stage.active() == set()
    stage.approve(1)
    assert_waits(await stage.finish(job), "wave 2", "approval")
    assert stage.active() == {targets[0]}
    stage.approve(2)
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


async def test_a_run_that_waits_hears_what_people_say_meanwhile() -> None:
    stage = RolloutStage(speed=60.0)
    targets = stage.holders(4)
    gate = Gate(acknowledged=True, approval=True)
    async with (
        stage.run(stage.job(targets, Rollout(gate=gate, waves=(2,))), waits=True) as run,
        anyio.create_task_group() as group,
    ):
        group.start_soon(run.execute)
        await until(lambda: all(stage.org.holds(app, stage.key.kid) for app in targets))
        stage.acknowledge(targets[0])
        await anyio.sleep(0.2)
        assert stage.puts() == [], "the wave is not approved"
        stage.approve(1)
        await until(lambda: stage.signers() == {targets[0]})
        stage.approve(2)
        stage.acknowledge(targets[3])
        await until(lambda: stage.signers() == {targets[0], targets[3]})
        stage.acknowledge(targets[1], targets[2])
    assert run.ending() is None
    assert run.is_through
    assert stage.active() == set(targets)
    assert len(stage.puts()) == 4


async def test_targets_go_as_they_are_acknowledged() -> None:
    stage = RolloutStage()
    targets = stage.holders(5)
    job = stage.job(targets, Rollout(gate=Gate(acknowledged=True), waves=(2, 1.0)))
    assert_waits(await stage.finish(job), "wave 1", "acknowledgement of 2 targets")
    stage.acknowledge(targets[3])
    assert_waits(await stage.finish(job), "wave 1")
    assert stage.active() == set(), "the first wave is there to be watched"
    stage.acknowledge(targets[1])
    assert_waits(await stage.finish(job), "wave 1", "acknowledgement of 1 target")
    assert stage.active() == {targets[1], targets[3]}, "one silent vendor does not stop the others"
    stage.acknowledge(targets[0])
    assert_waits(await stage.finish(job), "wave 2", "acknowledgement of 2 targets")
    assert stage.active() == {targets[0], targets[1], targets[3]}
    stage.acknowledge(targets[2], targets[4])
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)
    assert len(stage.puts()) == 5


async def test_who_is_acknowledged_while_the_wave_is_under_way_goes_with_it() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(gate=Gate(acknowledged=True)))
    await stage.finish(job)
    stage.acknowledge(targets[0])

    def look(call: LoggedCall) -> None:
        if call.method == "PUT" and call.app == targets[0]:
            stage.acknowledge(targets[1])

    stage.watch(look)
    assert_waits(await stage.finish(job), "acknowledgement of 1 target")
    assert stage.active() == set(targets[:2])


async def test_a_late_acknowledgement_waits_for_no_pause() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    rollout = Rollout(gate=Gate(acknowledged=True), waves=(2, 1), pause_seconds=DAY)
    job = stage.job(targets, rollout)
    await stage.finish(job)
    stage.acknowledge(targets[0], targets[2])
    await stage.finish(job)
    stage.acknowledge(targets[1])
    await stage.finish(job)
    assert stage.active() == set(targets[:2])


ACKNOWLEDGES = 'grep -qx "$OKTA_KEYS_APP_ID" ready'


async def test_a_command_acknowledges_and_is_asked_once_in_each_execution(tmp_path: Path) -> None:
    stage = RolloutStage(folder=tmp_path)
    targets = stage.holders(3)
    command = script(tmp_path, "ask.sh", ACKNOWLEDGES)
    job = stage.job(targets, Rollout(gate=Gate(acknowledged=True, acknowledge_by=command)))
    ready = tmp_path / "ready"
    ready.write_text(f"{targets[1]}\n")
    assert_waits(await stage.finish(job), "acknowledgement of 2 targets")
    assert stage.active() == {targets[1]}
    asked = [(note["on"], note["app"], note["exit_code"]) for note in stage.notes(HOOK_RAN)]
    assert sorted(asked, key=str) == sorted(
        [("acknowledge", app, int(app != targets[1])) for app in targets], key=str
    )

    ready.write_text("\n".join(targets))
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)
    assert len(stage.notes(HOOK_RAN)) == 5, "who is ready is not asked again"
    by = {note["by"] for note in stage.notes("targets_acknowledged")}
    assert by == {"hook ./ask.sh"}


async def test_a_run_that_waits_asks_the_command_again_after_a_while(tmp_path: Path) -> None:
    stage = RolloutStage(folder=tmp_path, speed=150.0)
    targets = stage.holders(2)
    command = script(tmp_path, "ask.sh", ACKNOWLEDGES)
    job = stage.job(targets, Rollout(gate=Gate(acknowledged=True, acknowledge_by=command)))
    ready = tmp_path / "ready"
    ready.write_text(f"{targets[0]}\n")
    async with stage.run(job, waits=True) as run, anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await until(lambda: stage.signers() == {targets[0]})
        ready.write_text("\n".join(targets))
    assert stage.active() == set(targets)
    asked = [note["app"] for note in stage.notes(HOOK_RAN)]
    assert asked.count(targets[0]) == 1
