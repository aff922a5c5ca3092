"""The file store while one process rolls out, others speak for people, and any of them dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.model import ActivationState, AppId
from orchestrator.store.base import WAVE_APPROVED
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.contract.stores import RUN, assert_whole, create, outcome, target

ROOT = Path(__file__).parents[2]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.child", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path, clock=SystemClock()) as opened:
        yield opened


async def test_people_speak_from_other_processes_while_a_run_is_executed(
    path: Path, store: Store
) -> None:
    create(store, 500)
    people = [start("acknowledge", path, 50 * number, 50 * (number + 1)) for number in range(2)]
    settled = 0
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 500)])
        while settled < 300 or any(child.poll() is None for child in people):
            await journal.settle(outcome(target(settled % 500)))
            settled += 1
        (counts,) = journal.waves(0)
        assert counts.targets - counts.pending - counts.unacknowledged == 100
        assert sum([each.is_acknowledged async for each in journal.activatable(0, 1)]) == 100
    for child in people:
        child.communicate(timeout=30)
        assert child.returncode == 0
    assert len(list(store.archive.events(RUN, kind=WAVE_APPROVED))) == 100
    assert_whole(store.archive)


async def test_two_stores_in_one_process_are_two_as_well(path: Path, store: Store) -> None:
    create(store, 2)
    with Store.open(path, clock=SystemClock()) as other:
        async with store.journal(RUN) as journal:
            await journal.assign_waves(0, [(1, 2)])
            await journal.settle(outcome(target(0)))
            assert other.acknowledge(RUN, [(0, target(0).app)], "ann") == 1
            assert [counts.unacknowledged for counts in journal.waves(0)] == [0]
            await journal.settle(outcome(target(1)))
        assert other.archive.run(RUN) == store.archive.run(RUN)
    assert_whole(store.archive)


def killed_after(lines: int, *arguments: object) -> list[str]:
    """Kill a process at no particular moment; return what it said was durable."""
    with start(*arguments) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


def assert_nothing_said_is_lost(path: Path, rounds: int) -> None:
    said: dict[str, str] = {}
    for number in range(rounds):
        for line in killed_after(40 + 97 * number, "activate", path, 20_000):
            app, state = line.split()
            said[app] = state
        with Store.open(path, clock=SystemClock()) as store:
            told = {
                each.target.app: each.activation.state
                for each in store.archive.targets(RUN)
                if each.activation
            }
            assert len(said) >= 20
            for app, state in said.items():
                assert told[AppId(app)] in (state, ActivationState.ACTIVATED)
            (counts,) = store.archive.waves(RUN, 0)
            assert counts.activations[ActivationState.INTENDED] <= 20 * (number + 1)  # on their way
            assert_whole(store.archive)


def test_a_killed_rollout_loses_nothing(path: Path) -> None:
    assert_nothing_said_is_lost(path, rounds=2)


@pytest.mark.long
def test_a_rollout_killed_ten_times_loses_nothing(path: Path) -> None:
    assert_nothing_said_is_lost(path, rounds=10)


def test_a_run_goes_on_when_somebody_who_spoke_for_people_is_killed(
    path: Path, store: Store
) -> None:
    create(store, 20_000)

    async def speak_and_write() -> list[str]:
        async with store.journal(RUN) as journal:
            said: list[str] = []
            for number in range(4):
                await journal.settle(outcome(target(number)))
                first = number * 5000
                said += await asyncio.to_thread(
                    killed_after, 10, "acknowledge", path, first, first + 5000
                )
            await journal.settle(outcome(target(4)))
        return said

    said = asyncio.run(speak_and_write())
    told = {each.target.app for each in store.archive.targets(RUN) if each.is_acknowledged}
    assert len(said) >= 40
    assert set(said) <= told
    assert len(told) <= len(said) + 4
    assert_whole(store.archive)
