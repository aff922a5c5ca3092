"""Kills at random moments of rotations with many targets, there and back, each taken up again."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.crash.rotation_scene import EACH_TARGET, GENERATE, RotationScene
from tests.crash.scene import KILLED, folder
from tests.crash.wire import Moment

TARGETS = 60
KILLS = 12  # at least, each way and for each number of workers


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [2, 10])
async def test_killed_at_random(workers: int, tmp_path: Path) -> None:
    random = Random(workers)
    there = back = amid = 0
    for number in range(4):
        where = folder(tmp_path, number)
        async with RotationScene(where, size=TARGETS, workers=workers).served() as scene:
            for _ in range(KILLS // 4):
                there += await scene.run_for(random.uniform(0.1, 0.6)) == KILLED
                known = await scene.check_crash()
                amid += 0 < len(known.staged | known.active) < TARGETS
            await scene.finish()
            for _ in range(KILLS // 4):
                orders = scene.back_orders()
                back += await scene.carry_out(orders, seconds=random.uniform(0.1, 0.3)) == KILLED
                known = await scene.check_crash()
                amid += 0 < len(known.taken_back) < TARGETS
            await scene.finish_back()
            await scene.check_it_stays()
    assert there + back > KILLS
    assert amid > KILLS // 4, "most kills fell outside of the work"


@pytest.mark.parametrize(
    ("key", "size"),
    [(GENERATE, 12), pytest.param(EACH_TARGET, 40, marks=pytest.mark.long)],
    ids=["generate", "each"],
)
async def test_killed_at_random_calls(key: str, size: int, tmp_path: Path) -> None:
    random = Random(0)
    async with RotationScene(tmp_path, key=key, size=size, workers=5).served() as scene:
        for _ in range(4):
            moment = random.choice(list(Moment))
            assert await scene.run_until(moment, random.randint(1, size)) == KILLED
            await scene.check_crash()
        await scene.finish()
