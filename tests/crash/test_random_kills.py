"""Two hundred kills at random moments of runs with 500 targets, each taken up again."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.crash.scene import KILLED, Scene
from tests.crash.wire import Moment

TARGETS = 500
KILLS = 67  # for each number of workers


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 4, 10])
async def test_killed_at_random(workers: int, tmp_path: Path) -> None:
    random = Random(workers)
    kills = plans = taken_up = 0
    while kills < KILLS:
        plans += 1
        folder = tmp_path / str(plans)
        folder.mkdir()
        async with Scene(folder, size=TARGETS, workers=workers).served() as scene:
            for _ in range(6):
                if await scene.run_for(random.uniform(0.05, 0.6)) != KILLED:
                    break
                kills += 1
                before = len(scene.unsettled)
                known = await scene.check_crash()
                taken_up += 0 < len(known.staged) < TARGETS
                assert len(scene.unsettled) <= before + workers
            await scene.finish()
    assert taken_up > kills // 3, "most kills fell outside of the work"


async def test_killed_at_random_calls(tmp_path: Path) -> None:
    random = Random(0)
    async with Scene(tmp_path, size=100, workers=10).served() as scene:
        for _ in range(4):
            moment = random.choice(list(Moment))
            assert await scene.run_until(moment, random.randint(1, 25)) == KILLED
            await scene.check_crash()
        await scene.finish()
