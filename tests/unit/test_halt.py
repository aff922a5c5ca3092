"""Halting ends waits, present and future, and nothing else."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from orchestrator.errors import Halted
from orchestrator.halt import Halt


async def test_a_wait_in_progress_ends_at_once() -> None:
    halt = Halt()
    ended: list[str] = []

    async def wait() -> None:
        with pytest.raises(Halted), halt.interruptible():
            await anyio.sleep_forever()
        ended.append("halted")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        halt.set()
    assert ended == ["halted", "halted"]


async def test_a_later_wait_does_not_begin() -> None:
    halt = Halt()
    halt.set()
    halt.set()
    with pytest.raises(Halted), halt.interruptible():
        pytest.fail("this must not run")


async def test_a_wait_that_ends_by_itself_is_left_alone() -> None:
    halt = Halt()
    with halt.interruptible():
        await anyio.lowlevel.checkpoint()
    assert not halt.scopes


async def test_cancellation_from_outside_is_not_a_halt() -> None:
    halt = Halt()
    with anyio.move_on_after(0.01) as scope, halt.interruptible():
        await anyio.sleep_forever()
    assert scope.cancelled_caught
