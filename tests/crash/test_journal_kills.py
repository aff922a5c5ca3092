"""`kill -9` before and after everything that a run writes; then the plan is run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ExitCode
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.crash.child import Step
from tests.crash.scene import KILLED, Scene, folder, known_to
from tests.crash.wire import Moment

SHARDS = 6
WRITES = (  # the transactions of a run, in order, and the file that they go to
    Step("before COMMIT of insert_run"),
    Step("after COMMIT of insert_run"),
    Step("before COMMIT of note_source"),
    Step("after COMMIT of note_source"),
    Step("before settle_target", 2),
    Step("before COMMIT of settle_target"),
    Step("after COMMIT of settle_target"),
    Step("before COMMIT of settle_target", 2),
    Step("after COMMIT of settle_target", 2),
    Step("before COMMIT of end_session"),
    Step("after COMMIT of end_session"),
)
FILES = (
    Step("before CREATE TABLE", 2),
    Step("os.rename runs.sqlite3.new"),
    Step("os.rename holder"),
    Step("os.rename json"),
    Step("os.remove holder"),
)
TAKING_UP = (
    Step("before COMMIT of start_session"),
    Step("after COMMIT of start_session"),
    Step("before COMMIT of settle_target"),
    Step("after COMMIT of settle_target"),
    Step("before COMMIT of end_session"),
)


@pytest.mark.parametrize("step", WRITES + FILES, ids=str)
async def test_killed_at_a_write(step: Step, tmp_path: Path) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish()


@pytest.mark.parametrize("step", TAKING_UP, ids=str)
async def test_killed_again_while_it_is_taken_up(step: Step, tmp_path: Path) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run(die_at=Step("before COMMIT of settle_target")) == KILLED
        await scene.check_crash()
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish()


@pytest.mark.long
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_killed_at_every_write(shard: int, tmp_path: Path) -> None:
    steps = await steps_of_a_run(tmp_path)
    assert len(steps) > 60
    killed = 0
    for number, step in enumerate(steps[shard::SHARDS]):
        async with Scene(folder(tmp_path, number)).served() as scene:
            killed += await scene.run(die_at=step) == KILLED
            await scene.check_crash()
            await scene.finish()
    assert killed > len(steps) // SHARDS // 2  # not every run gathers the same batches


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_killed_twice_at_any_two_writes(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    steps = await steps_of_a_run(tmp_path)
    for number in range(20):
        first, second = random.choice(steps), random.choice(steps)
        async with Scene(folder(tmp_path, number)).served() as scene:
            for step in (first, second):
                await scene.run(die_at=step)
                await scene.check_crash()
            await scene.finish()


@pytest.mark.parametrize(
    "step", [Step("after COMMIT of settle_target", 2), Step("after COMMIT of end_session")], ids=str
)
async def test_a_report_that_the_kill_prevented_is_written_by_the_next_run(
    step: Step, tmp_path: Path
) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        assert not list(scene.reports.glob("*.json"))
        await scene.finish()
        assert list(scene.reports.glob("*.json"))
        run = scene.known().run
        assert run is not None
        assert run.state == "finished"


async def test_a_report_that_the_kill_left_behind_is_brought_up_to_date(tmp_path: Path) -> None:
    async with Scene(tmp_path).served() as scene:
        missing = scene.targets[0]
        scene.org.remove_app(missing)
        assert await scene.run() == ExitCode.PARTIAL
        assert list(scene.reports.glob("*.failed.csv"))
        scene.org.add_app(missing)
        assert await scene.run(die_at=Step("after COMMIT of end_session")) == KILLED
        assert await scene.run() == 0
        assert not list(scene.reports.glob("*.failed.csv"))
        [report] = scene.reports.glob("*.json")
        assert json.loads(report.read_text())["summary"]["failed"] == 0


async def test_a_later_session_does_not_deny_the_calls_of_a_killed_one(tmp_path: Path) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run_until(Moment.TAKEN, 2) == KILLED
        await scene.check_crash()
        [caught] = scene.wire.caught
        chosen = scene.folder / "chosen.csv"
        chosen.write_text(f"app_id\n{scene.targets[-1]}\n")
        await scene.run("--targets", f"@{chosen}")
        assert caught.target not in scene.wire.clones(scene.wire.session)
        rows = (await scene.report())["targets"]
        assert isinstance(rows, list)
        [row] = [row for row in rows if row["app_id"] == caught.target]
        assert scene.org.holds(row["app_id"], scene.kid)
        assert "as it was" not in row["detail"]


async def test_a_killed_run_does_not_deny_its_calls(tmp_path: Path) -> None:
    """Nobody knows what became of a call in flight; nobody may say that there was none."""
    async with Scene(tmp_path).served() as scene:
        assert await scene.run_until(Moment.TAKEN, 2) == KILLED
        await scene.check_crash()
        rows = (await scene.report())["targets"]
        assert isinstance(rows, list)
        [row] = [row for row in rows if row["app_id"] == scene.wire.caught[0].target]
        assert row["status"] == "skipped"
        assert "before this target" not in row["detail"]


async def test_a_kill_that_tears_the_log_leaves_a_beginning_of_the_history(tmp_path: Path) -> None:
    """SIGKILL may hit while the WAL is being written; what it leaves is a beginning of the WAL."""
    async with Scene(tmp_path, size=12).served() as scene:
        assert await scene.run(die_at=Step("before COMMIT of end_session")) == KILLED
        whole = scene.known()
    assert whole.run is not None
    log = (scene.state / f"{FILE_NAME}-wal").read_bytes()
    assert len(log) > 10_000
    events = []
    for cut in [*range(0, len(log), 1500), len(log)]:
        torn = folder(tmp_path, cut)
        shutil.copy(scene.state / FILE_NAME, torn)
        (torn / f"{FILE_NAME}-wal").write_bytes(log[:cut])
        with Store.open(torn / FILE_NAME, clock=SystemClock()) as store:
            known = known_to(store)
        assert known.staged <= whole.staged
        events.append(known.run.events if known.run else 0)
    assert events == sorted(events)
    assert events[-1] == whole.run.events


async def steps_of_a_run(tmp_path: Path) -> list[Step]:
    """Return everything that an undisturbed run writes."""
    async with Scene(folder(tmp_path, "rehearsal")).served() as scene:
        assert await scene.run() == 0, scene.said()
        return scene.steps()
