"""Carry out a plan from its file to its report: what `run` and `preview` share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path
from random import Random

import anyio
from anyio.abc import TaskStatus

from orchestrator.cli.render import Screen
from orchestrator.cli.wiring import open_api, org_access, read_faults, sandbox_for, timeouts
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.result import RunResult, RunSettings, exit_code
from orchestrator.engine.run import ResolvedJob, Run
from orchestrator.errors import ExitCode, OrchestratorError, SafetyError
from orchestrator.events import Broadcast, RunFinished
from orchestrator.halt import Halt
from orchestrator.model import RunId, StopCause
from orchestrator.plan.load import load_plan
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import resolve
from orchestrator.report.formats import json_pieces, write_reports
from orchestrator.report.stream import EventStream

AUTO_WORKERS = 10  # at 50 clones a minute one would do; a larger bucket is worth a few more
STOP_OF_SIGNAL = {
    signal.SIGINT: StopCause.INTERRUPT,
    signal.SIGTERM: StopCause.TERMINATE,
    signal.SIGHUP: StopCause.TERMINATE,
}


class Output(StrEnum):
    """What goes to stdout. Text for people always goes to stderr."""

    TEXT = "text"
    JSON = "json"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `run` and `preview`, for the rest of the program."""

    plan: Path
    dry_run: bool = False
    quick: bool = False
    sandbox: bool = False
    faults: Path | None = None
    output: Output = Output.TEXT
    report_dir: Path | None = None
    quiet: bool = False
    detailed: bool = False


def execute(options: Options) -> ExitCode:
    """Execute the plan and return the exit code; once a call was made there is a report.

    Raises:
        OrchestratorError: nothing could be done at all, or the report could not be written.
    """
    clock, random = SystemClock(), Random()  # noqa: S311 - jitter and run ids, no secrets
    plan = load_plan(options.plan)
    jobs = resolve(plan)
    if not options.dry_run:
        check_belt(plan, jobs)
    run_id = new_run_id(clock, random)
    stream = None
    if options.output is Output.NDJSON:
        stream = EventStream(sys.stdout, clock=clock, run_id=run_id, dry_run=options.dry_run)
    screen = Screen(quiet=options.quiet)
    observer = Broadcast([screen, stream] if stream else [screen])
    try:
        result = anyio.run(carry_out, options, plan, jobs, run_id, observer, clock, random, screen)
        paths = write_reports(
            result, options.report_dir or Path(plan.report.dir), plan.report.formats
        )
    except OrchestratorError as error:
        if stream:
            stream.fail(error, error.exit_code)
        raise
    screen.show_result(result, paths)
    if options.output is Output.JSON:
        sys.stdout.writelines(json_pieces(result))
    return exit_code(result, detailed=options.detailed)


async def carry_out(
    options: Options,
    plan: Plan,
    jobs: Sequence[ResolvedJob],
    run_id: RunId,
    observer: Broadcast,
    clock: Clock,
    random: Random,
    screen: Screen,
) -> RunResult:
    """Open the org and execute; return the result also of an interrupted run."""
    halt = Halt()
    async with AsyncExitStack() as stack:
        if options.sandbox:
            faults = read_faults(options.faults)
            access = await stack.enter_async_context(sandbox_for(jobs, faults))
        else:
            access = org_access(plan, os.environ)
        api = await stack.enter_async_context(
            open_api(
                access,
                capacity=plan.limits.capacity,
                bounds=timeouts(os.environ),
                clock=clock,
                halt=halt,
                random=random,
                observer=observer,
            )
        )
        settings = run_settings(plan, jobs, options, run_id, access.url)
        run = Run(settings, jobs, api=api, clock=clock, halt=halt, observer=observer)
        with screen:
            await execute_until_signalled(run)
    result = run.finish()
    counts = {status.value: count for status, count in result.counts().items()}
    code = exit_code(result, detailed=options.detailed)
    observer.notify(RunFinished(counts=counts, exit_code=code))
    return result


async def execute_until_signalled(run: Run) -> None:
    """Execute; the first signal drains the run, the second cancels it."""
    async with anyio.create_task_group() as group:
        work = anyio.CancelScope()
        await group.start(watch_signals, run, work, name="signals")
        with work:
            await run.execute()
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


def new_run_id(clock: Clock, random: Random) -> RunId:
    """Return an id that sorts by time and does not collide within a second."""
    return RunId(f"{clock.wall():%Y%m%dT%H%M%SZ}-{random.getrandbits(24):06x}")


def run_settings(
    plan: Plan, jobs: Sequence[ResolvedJob], options: Options, run_id: RunId, org: str
) -> RunSettings:
    """Turn the plan's limits into numbers for this set of targets."""
    limits = plan.limits
    targets = sum(job.size for job in jobs)
    workers = AUTO_WORKERS if limits.workers == "auto" else limits.workers
    return RunSettings(
        run_id=run_id,
        plan=plan.name,
        org=org,
        plan_digest=plan.digest,
        dry_run=options.dry_run,
        quick=options.quick,
        workers=max(1, min(workers, targets)),
        deadline_seconds=limits.deadline,
        max_targets=limits.max_targets,
        stop_after_failures=failure_budget(limits.stop_after_failures, targets),
    )


def failure_budget(budget: float | None, targets: int) -> int | None:
    """Return the number of failures that stops a run; a share of the targets is rounded up."""
    if isinstance(budget, float):
        return max(1, ceil(budget * targets - 1e-9))
    return budget


def check_belt(plan: Plan, jobs: Sequence[ResolvedJob]) -> None:
    """Refuse a run that could change more apps than the plan allows.

    Raises:
        SafetyError: there are more targets than `limits.max_changes`.
    """
    targets, most = sum(job.size for job in jobs), plan.limits.max_changes
    if most is not None and targets > most:
        raise SafetyError(
            f"the plan has {targets} targets, but limits.max_changes allows {most} changes",
            hint="look at `okta-keys preview`, then raise max_changes or split the plan",
        )
