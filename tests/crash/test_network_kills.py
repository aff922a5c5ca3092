"""`kill -9` at every moment of every call; then the plan is run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.scene import KILLED, Scene
from tests.crash.wire import Moment

CALLS = range(1, 6)  # the source key, and four targets
TELLING = (Moment.ARRIVED, Moment.TAKEN, Moment.ANSWERED)
HALFWAY = (Moment.HEAD, Moment.HALF)


@pytest.mark.parametrize(
    "moment", [*TELLING, *(pytest.param(each, marks=pytest.mark.long) for each in HALFWAY)]
)
@pytest.mark.parametrize("number", CALLS)
async def test_killed_on_the_wire(moment: Moment, number: int, tmp_path: Path) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run_until(moment, number) == KILLED
        known = await scene.check_crash()
        [caught] = scene.wire.caught
        if moment is not Moment.ANSWERED:
            assert caught.target not in known.staged
        if caught.target:
            was_done = moment is not Moment.ARRIVED
            assert scene.org.holds(caught.target, scene.kid) is was_done
        await scene.finish()


@pytest.mark.long
@pytest.mark.parametrize("first", TELLING)
@pytest.mark.parametrize("second", TELLING)
@pytest.mark.parametrize("number", CALLS)
async def test_killed_twice_on_the_wire(
    first: Moment, second: Moment, number: int, tmp_path: Path
) -> None:
    async with Scene(tmp_path).served() as scene:
        assert await scene.run_until(first, number) == KILLED
        await scene.check_crash()
        if await scene.run_until(second, 1) == KILLED:
            await scene.check_crash()
        await scene.finish()
