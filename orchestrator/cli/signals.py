"""What a signal does to a run."""

from __future__ import annotations

import signal
from collections.abc import Iterable

import anyio
from anyio.abc import TaskStatus

from orchestrator.engine.run import Run
from orchestrator.model import Outcome, StopCause

STOP_OF_SIGNAL = {
    signal.SIGINT: StopCause.INTERRUPT,
    signal.SIGTERM: StopCause.TERMINATE,
    signal.SIGHUP: StopCause.TERMINATE,
}


async def execute_until_signalled(run: Run, outcomes: Iterable[Outcome]) -> None:
    """Execute; the first signal drains the run, the second cancels it.

    `outcomes` is what a dry run has found, for its forecast; it is iterated more than once.
    """
    async with anyio.create_task_group() as group:
        work = anyio.CancelScope()
        await group.start(watch_signals, run, work, name="signals")
        with work:
            await run.execute()
            if run.settings.dry_run and run.stop_reason is None:
                await run.look_ahead(outcomes)
        group.cancel_scope.cancel()


async def watch_signals(
    run: Run,
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
