"""`kill -9` before and after everything that a whole rotation writes, there and back again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random

import pytest

from orchestrator.sandbox.org import SandboxOrg
from tests.crash.child import Step
from tests.crash.rotation_scene import CSR, EACH_TARGET, GENERATE, HELD, RotationScene
from tests.crash.scene import KILLED, app_named, folder

SHARDS = 3
THERE = (  # the transactions of a rotation, in order
    Step("after COMMIT of clear_waves"),
    Step("before COMMIT of key_intended"),
    Step("after COMMIT of key_intended"),
    Step("before COMMIT of note_source"),
    Step("after COMMIT of note_source"),
    Step("before COMMIT of settle_target"),
    Step("after COMMIT of settle_target"),
    Step("before COMMIT of note_activation"),  # wave 1: intended
    Step("after COMMIT of note_activation"),
    Step("before COMMIT of note_activation", 2),  # activated
    Step("after COMMIT of note_activation", 2),
    Step("before COMMIT of note_activation", 3),  # verified
    Step("after COMMIT of note_activation", 3),
    Step("after COMMIT of note_activation", 5),  # amid wave 2
    Step("after COMMIT of end_session"),
)
BACK = (
    Step("after COMMIT of wave_held"),
    Step("before COMMIT of note_activation"),
    Step("after COMMIT of note_activation"),
    Step("before COMMIT of note_activation", 3),
    Step("after COMMIT of end_session"),
)
EACH = (
    Step("before COMMIT of settle_target"),
    Step("after COMMIT of settle_target"),
)
REQUESTED = (
    Step("before COMMIT of csr_created"),
    Step("after COMMIT of csr_created"),
)
PUBLISHED = (
    Step("before COMMIT of note_source"),
    Step("after COMMIT of note_source"),
)


@pytest.mark.parametrize("step", THERE, ids=str)
async def test_killed_at_a_write(step: Step, tmp_path: Path) -> None:
    async with RotationScene(tmp_path).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish()


@pytest.mark.parametrize("step", BACK, ids=str)
async def test_killed_at_a_write_on_the_way_back(step: Step, tmp_path: Path) -> None:
    async with RotationScene(tmp_path).served() as scene:
        await scene.rotate()
        assert await scene.roll_back(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish_back()
        await scene.check_it_stays()


@pytest.mark.parametrize(
    "step",
    [
        Step("after COMMIT of note_activation"),
        Step("before COMMIT of note_activation", 2),
        Step("after COMMIT of note_activation", 5),
    ],
    ids=str,
)
async def test_killed_at_a_write_and_taken_back_as_it_is(step: Step, tmp_path: Path) -> None:
    """Nobody has to run a plan to its end before taking it back."""
    async with RotationScene(tmp_path).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish_back()
        await scene.check_it_stays()


@pytest.mark.parametrize("step", EACH, ids=str)
async def test_killed_with_a_key_for_each_target(step: Step, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=EACH_TARGET).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish()


@pytest.mark.parametrize("step", REQUESTED, ids=str)
async def test_killed_while_a_csr_is_made(step: Step, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=CSR).served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.rotate()
        assert await scene.carry_out(scene.publish_orders()) == 0
        await scene.finish()


@pytest.mark.parametrize("step", PUBLISHED, ids=str)
async def test_killed_while_a_certificate_is_published(step: Step, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=CSR).served() as scene:
        await scene.rotate()
        assert await scene.carry_out(scene.publish_orders(die_at=step)) == KILLED
        known = await scene.check_crash()
        if not known.keyed:
            assert await scene.carry_out(scene.publish_orders()) == 0, scene.said()
        await scene.finish()


@pytest.mark.parametrize(
    "step",
    [
        Step("before COMMIT of hook_ran"),  # for a staged target
        Step("after COMMIT of hook_ran"),
        Step("after COMMIT of note_activation", 2),  # activated, and not told of
        Step("before COMMIT of hook_ran", 5),
    ],
    ids=str,
)
async def test_no_hook_is_left_out_because_the_program_died(step: Step, tmp_path: Path) -> None:
    """It may run again, as nobody knows whether it did."""
    hooks = "".join(
        f"  - {{on: {moment}, run: [./tell.sh]}}\n"
        for moment in ("target_staged", "target_activated")
    )
    tell = tmp_path / "tell.sh"
    tell.write_text('#!/bin/sh\necho "$OKTA_KEYS_HOOK $OKTA_KEYS_APP_ID" >> told\n')
    tell.chmod(0o700)
    async with RotationScene(tmp_path, workers=1, top=f"hooks:\n{hooks}").served() as scene:
        assert await scene.run(die_at=step) == KILLED
        await scene.check_crash()
        await scene.finish()
        told = Counter((tmp_path / "told").read_text().splitlines())
        moments = product(("target_staged", "target_activated"), scene.targets)
        assert set(told) == {f"{moment} {app}" for moment, app in moments}
        assert told.total() <= len(told) + 1


async def test_a_wave_that_has_failed_is_held_although_the_program_died_over_it(
    tmp_path: Path,
) -> None:
    org = SandboxOrg(seed=1)
    org.add_app(app_named(1), sign_on_mode="BOOKMARK")  # signs with no key, so it fails
    async with RotationScene(tmp_path, org=org).served() as scene:
        assert await scene.run(die_at=Step("after COMMIT of note_activation")) == KILLED
        await scene.check_crash()
        for _ in range(2):
            assert await scene.run() == HELD, scene.said()
            await scene.check_crash()
            assert not scene.written(), "later waves went on"


@pytest.mark.long
@pytest.mark.parametrize("key", [GENERATE, EACH_TARGET], ids=["generate", "each"])
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_killed_at_every_write(key: str, shard: int, tmp_path: Path) -> None:
    async with RotationScene(folder(tmp_path, "rehearsal"), key=key).served() as scene:
        await scene.rotate()
        steps = decisive(scene.steps())
    assert len(steps) > 40
    killed = 0
    for number, step in enumerate(steps[shard::SHARDS]):
        async with RotationScene(folder(tmp_path, number), key=key).served() as scene:
            killed += await scene.run(die_at=step) == KILLED
            await scene.check_crash()
            await scene.finish()
    assert killed > len(steps) // SHARDS // 2  # not every run gathers the same batches


@pytest.mark.long
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_killed_at_every_write_on_the_way_back(shard: int, tmp_path: Path) -> None:
    async with RotationScene(folder(tmp_path, "rehearsal")).served() as scene:
        await scene.rotate()
        assert await scene.roll_back() == 0
        steps = decisive(scene.steps())
    assert len(steps) > 20
    killed = 0
    for number, step in enumerate(steps[shard::SHARDS]):
        async with RotationScene(folder(tmp_path, number)).served() as scene:
            await scene.rotate()
            killed += await scene.roll_back(die_at=step) == KILLED
            await scene.check_crash()
            await scene.finish_back()
    assert killed > len(steps) // SHARDS // 2


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_killed_twice_at_any_two_writes_each_way(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    async with RotationScene(folder(tmp_path, "rehearsal")).served() as scene:
        await scene.rotate()
        there = decisive(scene.steps())
        assert await scene.roll_back() == 0
        back = decisive(scene.steps())
    for number in range(5):
        async with RotationScene(folder(tmp_path, number)).served() as scene:
            for step in random.choices(there, k=2):
                await scene.run(die_at=step)
                await scene.check_crash()
            if scene.known.run is None:
                await scene.rotate()  # it was never begun
            if scene.known.run is None:
                continue  # it died before there was anything to take back
            for step in random.choices(back, k=2):
                await scene.roll_back(die_at=step)
                await scene.check_crash()
            await scene.finish_back()


def decisive(steps: Sequence[Step]) -> list[Step]:
    """Return the steps without those amid a transaction: dying there is dying before its end."""
    return [step for step in steps if "COMMIT" in step.name or not step.name.startswith("before ")]
