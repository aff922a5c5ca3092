"""Another process with a store or a lock: `python -m tests.contract.child COMMAND ...`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.errors import OrchestratorError
from orchestrator.model import ActivationState, Target
from orchestrator.store.base import WAVE_APPROVED, Journal, RunState
from orchestrator.store.lock import RunLock
from orchestrator.store.sqlite import Store
from tests.contract.stores import RUN, SESSION, activation, create, outcome
from tests.contract.stores import target as numbered

AWAITERS = 20


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def write(path: str, count: str) -> None:
    """Settle so many targets, or until killed, saying each app once its outcome is durable."""
    with Store.open(Path(path), clock=SystemClock()) as store:
        if not store.archive.runs():
            create(store, int(count))
        asyncio.run(settle_all(store, loud=True))


async def settle_all(store: Store, *, loud: bool) -> None:
    async with store.journal(RUN) as journal:
        pending, turn = journal.pending(0), asyncio.Lock()
        await asyncio.gather(*(work(journal, pending, turn, loud=loud) for _ in range(AWAITERS)))
        await journal.end_session(RunState.FINISHED, stop=None, exit_code=0)


async def work(
    journal: Journal, pending: AsyncIterator[Target], turn: asyncio.Lock, *, loud: bool
) -> None:
    while True:
        async with turn:
            target = await anext(pending, None)
        if target is None:
            return
        await journal.settle(outcome(target))
        if loud:
            say(target.app)


def activate(path: str, count: str) -> None:
    """Stage and activate targets, saying each state of an activation once it is durable."""
    with Store.open(Path(path), clock=SystemClock()) as store:
        if not store.archive.runs():
            create(store, int(count))
        asyncio.run(activate_all(store, int(count)))


async def activate_all(store: Store, count: int) -> None:
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, count)])
        pending, turn = journal.pending(0), asyncio.Lock()
        await asyncio.gather(*(roll_out(journal, pending, turn) for _ in range(AWAITERS)))


async def roll_out(journal: Journal, pending: AsyncIterator[Target], turn: asyncio.Lock) -> None:
    while True:
        async with turn:
            target = await anext(pending, None)
        if target is None:
            return
        await journal.settle(outcome(target))
        for state in (ActivationState.INTENDED, ActivationState.ACTIVATED):
            await journal.note_activation(activation(target, state))
            say(f"{target.app} {state}")


def acknowledge(path: str, first: str, last: str) -> None:
    """Acknowledge targets one by one, and approve a wave after each, as people do."""
    with Store.open(Path(path), clock=SystemClock()) as store:
        for number in range(int(first), int(last)):
            store.acknowledge(RUN, [(0, numbered(number).app)], f"process {os.getpid()}")
            store.note(RUN, WAVE_APPROVED, {"wave": number})
            say(numbered(number).app)


def open_at(start: str, *paths: str) -> None:
    """Create a run in new files, each at its own time, as another process does at that moment."""
    for number, path in enumerate(paths):
        while time.time() < float(start) + number * 0.05:
            pass
        with Store.open(Path(path), clock=SystemClock()) as store:
            create(store, 1, f"run-{os.getpid()}")


def hold(folder: str, seconds: str) -> None:
    """Hold the lock of plan `p` on org `o`."""
    lock = RunLock(Path(folder), "p", "o", session=SESSION, clock=SystemClock())
    lock.take_now()
    say(str(os.getpid()))
    time.sleep(float(seconds))
    lock.free()


def as_nobody(path: str) -> None:
    """Open a store as a user who owns nothing."""
    os.setgid(65534)
    os.setuid(65534)
    Store.open(Path(path), clock=SystemClock()).close()


def measure(path: str, count: str) -> None:
    """Say how many MB the process grows by while a large run is created, settled and read."""
    with Store.open(Path(path), clock=SystemClock()) as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        create(store, int(count))
        asyncio.run(settle_all(store, loud=False))
        found = asyncio.run(count_activatable(store, int(count)))
        read = sum(each.outcome is not None for each in store.archive.targets(RUN))
        assert found == read == sum(1 for _ in store.archive.outcomes(RUN))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        say(f"{read} {grown // 1024}")


async def count_activatable(store: Store, count: int) -> int:
    found = 0
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, count)])
        async for _ in journal.activatable(0, 1):
            found += 1
    return found


COMMANDS: dict[str, Callable[..., None]] = {
    "activate": activate,
    "acknowledge": acknowledge,
    "write": write,
    "open": open_at,
    "hold": hold,
    "as-nobody": as_nobody,
    "measure": measure,
}

if __name__ == "__main__":
    try:
        COMMANDS[sys.argv[1]](*sys.argv[2:])
    except OrchestratorError as error:
        say(f"{type(error).__name__}: {error.diagnostics()}")
        sys.exit(error.exit_code)
