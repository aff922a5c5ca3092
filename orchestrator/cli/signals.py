"""What a signal does to a run."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from orchestrator.engine.run import Run
from orchestrator.model import StopCause
from orchestrator.store.base import StopRecord, TargetRecord

STOP_OF_SIGNAL = {
    signal.SIGINT: StopCause.INTERRUPT,
    signal.SIGTERM: StopCause.TERMINATE,
    signal.SIGHUP: StopCause.TERMINATE,
}


class Stoppable(Protocol):
    """What executes, and can be told to stop."""

    @property
    def stop_reason(self) -> StopRecord | None: ...
    def stop(self, cause: StopCause, detail: str) -> None: ...
    async def execute(self) -> None: ...


async def execute_until_signalled(run: Run, records: Iterable[TargetRecord]) -> None:
    """Execute; the first signal drains the run, the second cancels it.

    `records` is what a dry run has found, for its forecast; it is iterated more than once.
    """
    async with signalling(run):
        await run.execute()
        if run.settings.dry_run and run.stop_reason is None:
            await run.look_ahead(records)


@asynccontextmanager
async def signalling(run: Stoppable) -> AsyncIterator[None]:
    """Let signals reach a run while the block executes it."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        work = anyio.CancelScope()
        await group.start(watch_signals, run, work, name="signals")
        with work:
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
                failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def watch_signals(
    run: Stoppable,
    work: anyio.CancelScope,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    with anyio.open_signal_receiver(*STOP_OF_SIGNAL) as signals:
        task_status.started()
        async for number in signals:
            if run.stop_reason is not None:
                work.cancel()
            run.stop(STOP_OF_SIGNAL[number], f"{number.name} received")
