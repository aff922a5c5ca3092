"""End an execution: record how it ended, and run the plan's last hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.engine.result import RunResult, exit_code, result_of
from orchestrator.engine.run import Run
from orchestrator.errors import ExitCode, StateError
from orchestrator.model import Status
from orchestrator.rollout import HookMoment
from orchestrator.store.base import RunState
from orchestrator.store.sqlite import Store

NEWLY_STAGED = (Status.CLONED, Status.GENERATED, Status.PLANNED)


async def conclude(run: Run, store: Store) -> RunResult:
    """Record how the session ended, and read the result back from the journal."""
    run_id, context = run.settings.run_id, run.context
    stop = run.ending()
    result = result_of(
        store.archive,
        run_id,
        changed=sum(run.counts[status] for status in NEWLY_STAGED) + context.activated,
        failed=context.failures,
        forecast=run.forecast,
        stop=stop,
        unrecorded=context.unrecorded,
        activations=context.unrecorded_activations,
    )
    pending = store.archive.counts(run_id).pending
    try:
        await run.journal.end_session(
            RunState.STOPPED if pending or not run.is_through else RunState.FINISHED,
            stop=stop,
            exit_code=exit_code(result),
        )
    except StateError:
        if not (context.unrecorded or context.unrecorded_activations):
            raise
    record = store.archive.run(run_id)  # the outcomes are the same; the run now says how it ended
    return replace(result, record=record, finished_at=record.updated_at)


async def after_words(run: Run, result: RunResult, reports: Sequence[Path]) -> None:
    """Run the hooks for the end of a run, or of an execution that failed."""
    code = exit_code(result)
    if code is not ExitCode.DONE:
        moment = HookMoment.RUN_FAILED
    elif result.record.state is RunState.FINISHED:
        moment = HookMoment.RUN_FINISHED
    else:
        return
    if not run.hooks.are_set(moment):
        return
    facts: dict[str, object] = {
        "exit_code": int(code),
        "stop": result.stop.detail if result.stop else None,
        "reports": [str(path.absolute()) for path in reports],
        "counts": {status.value: number for status, number in result.counts.items()},
        "activations": {state.value: number for state, number in result.activations.items()},
    }
    await run.hooks.run(moment, facts)
