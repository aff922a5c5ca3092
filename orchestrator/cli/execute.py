"""Carry out a plan from its file to its report: what `run` and `preview` share."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.opening import (
    OpenedRun,
    continue_or_create,
    create,
    forget_old,
    new_run,
    this_session,
)
from orchestrator.cli.render import Screen
from orchestrator.cli.signals import execute_until_signalled
from orchestrator.cli.wiring import (
    OrgAccess,
    open_api,
    org_access,
    read_faults,
    sandbox_for,
    timeouts,
)
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.result import (
    ArchivedOutcomes,
    RunResult,
    RunSettings,
    exit_code,
    result_of,
)
from orchestrator.engine.resume import ResolvedJob
from orchestrator.engine.run import Run
from orchestrator.errors import (
    ExitCode,
    OrchestratorError,
    SafetyError,
    StateError,
    StateUnusable,
    UsageError,
)
from orchestrator.events import Broadcast, RunFinished
from orchestrator.halt import Halt
from orchestrator.model import AppId, RunId, Status
from orchestrator.plan.load import load_plan
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import read_app_ids, resolve
from orchestrator.report.formats import complete_reports, json_pieces, write_reports
from orchestrator.report.stream import EventStream
from orchestrator.store.base import RunState
from orchestrator.store.lock import RunLock, state_folder
from orchestrator.store.sqlite import FILE_NAME, Store

AUTO_WORKERS = 10  # at 50 clones a minute one would do; a larger bucket is worth a few more


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
    fresh: bool = False
    targets: str | None = None
    state: Path | None = None
    lock_timeout: float = 0.0
    output: Output = Output.TEXT
    report_dir: Path | None = None
    quiet: bool = False
    detailed: bool = False

    @property
    def is_durable(self) -> bool:
        """Say whether the run is worth remembering: it changes a real org."""
        return not (self.dry_run or self.sandbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What one execution is made of."""

    options: Options
    plan: Plan
    jobs: Sequence[ResolvedJob]
    run_id: RunId  # for a run that is begun
    only: frozenset[AppId] | None
    clock: Clock
    random: Random
    screen: Screen
    stream: EventStream | None
    observer: Broadcast


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
    execution = Execution(
        options=options,
        plan=plan,
        jobs=jobs,
        run_id=run_id,
        only=chosen_targets(options.targets, jobs),
        clock=clock,
        random=random,
        screen=screen,
        stream=stream,
        observer=Broadcast([screen, stream] if stream else [screen]),
    )
    try:
        return anyio.run(carry_out, execution)
    except OrchestratorError as error:
        if stream:
            stream.fail(error, error.exit_code)
        raise


async def carry_out(execution: Execution) -> ExitCode:
    """Find the org and the run, execute, and tell what came of it."""
    options = execution.options
    async with AsyncExitStack() as stack:
        if options.sandbox:
            served = sandbox_for(execution.jobs, read_faults(options.faults))
            access = await stack.enter_async_context(served)
        else:
            access = org_access(execution.plan, os.environ)
        with told_before_calls():
            store = await stack.enter_async_context(open_store(execution, access.url))
            opened = open_run(execution, store, access.url)
        execution.screen.show_notices(opened.notices)
        if execution.stream:
            execution.stream.run_id = opened.run_id
        if opened.is_over:
            result = result_of(store.archive, opened.run_id)
            complete_reports(result, report_folder(execution), execution.plan.report.formats)
        else:
            result = await execute_opened(execution, access, store, opened)
        return tell(execution, result)


def tell(execution: Execution, result: RunResult) -> ExitCode:
    """Put the result on stdout, as asked for, and return the exit code."""
    code = exit_code(result, detailed=execution.options.detailed)
    counts = {status.value: count for status, count in result.counts.items()}
    execution.observer.notify(RunFinished(counts=counts, exit_code=code))
    if execution.options.output is Output.JSON:
        sys.stdout.writelines(json_pieces(result))
    return code


@contextmanager
def told_before_calls() -> Iterator[None]:
    """Say of a journal that cannot be written that nothing was called."""
    try:
        yield
    except StateUnusable:
        raise
    except StateError as error:
        raise StateUnusable(error.message, hint=error.hint, **error.context) from error


@asynccontextmanager
async def open_store(execution: Execution, org: str) -> AsyncIterator[Store]:
    """Open the store, and hold the plan's lock where the run is to be remembered."""
    options, clock = execution.options, execution.clock
    if not options.is_durable:
        with Store.memory(clock=clock) as store:
            yield store
        return
    folder = state_folder(options.state, os.environ)
    lock = RunLock(folder, execution.plan.name, org, session=this_session(), clock=clock)
    with Store.open(folder / FILE_NAME, clock=clock) as store:
        await lock.take(patience_seconds=options.lock_timeout)
        try:
            yield store
        finally:
            lock.free()


def open_run(execution: Execution, store: Store, org: str) -> OpenedRun:
    options, jobs, session = execution.options, execution.jobs, this_session()
    name = execution.plan.name
    new = new_run(execution.run_id, name, org, jobs, dry_run=options.dry_run)
    if options.is_durable:
        forget_old(store, now=execution.clock.wall(), environ=os.environ)
    if options.fresh or not options.is_durable:
        return create(store, new, jobs, session)
    return continue_or_create(store, new, jobs, session)


async def execute_opened(
    execution: Execution, access: OrgAccess, store: Store, opened: OpenedRun
) -> RunResult:
    """Execute a run, record how it ended, write its report and show it."""
    plan, halt = execution.plan, Halt()
    clock, observer = execution.clock, execution.observer
    started = clock.monotonic()
    opened_api = open_api(
        access,
        capacity=plan.limits.capacity,
        bounds=timeouts(os.environ),
        clock=clock,
        halt=halt,
        random=execution.random,
        observer=observer,
    )
    async with opened_api as api, store.journal(opened.run_id) as journal:
        run = Run(
            run_settings(execution, opened, access.url),
            store.archive.jobs(opened.run_id),
            pending=opened.pending if execution.only is None else len(execution.only),
            journal=journal,
            api=api,
            clock=clock,
            halt=halt,
            observer=observer,
            only=execution.only,
        )
        with execution.screen:
            found = ArchivedOutcomes(store.archive, opened.run_id, run.unrecorded)
            await execute_until_signalled(run, found)
        result = await conclude(run, store)
    paths = write_reports(result, report_folder(execution), plan.report.formats)
    execution.screen.show_result(result, paths, seconds=clock.monotonic() - started)
    return result


def report_folder(execution: Execution) -> Path:
    return execution.options.report_dir or Path(execution.plan.report.dir)


async def conclude(run: Run, store: Store) -> RunResult:
    """Record how the session ended, and read the result back from the journal."""
    run_id = run.settings.run_id
    changed = run.counts[Status.CLONED] + run.counts[Status.PLANNED]

    result = result_of(
        store.archive,
        run_id,
        changed=changed,
        forecast=run.forecast,
        stop=run.stop_reason,
        unrecorded=run.unrecorded,
    )
    left = store.archive.counts(run_id).pending
    try:
        await run.journal.end_session(
            RunState.STOPPED if left else RunState.FINISHED,
            stop=run.stop_reason,
            exit_code=exit_code(result),
        )
    except StateError:
        if not run.unrecorded:
            raise
    record = store.archive.run(run_id)  # the outcomes are the same; the run now says how it ended
    return replace(result, record=record, finished_at=record.updated_at)


def new_run_id(clock: Clock, random: Random) -> RunId:
    """Return an id that sorts by time and does not collide within a second."""
    return RunId(f"{clock.wall():%Y%m%dT%H%M%SZ}-{random.getrandbits(24):06x}")


def run_settings(execution: Execution, opened: OpenedRun, org: str) -> RunSettings:
    """Turn the plan's limits into numbers for this set of targets."""
    limits, options = execution.plan.limits, execution.options
    targets = sum(job.size for job in execution.jobs)
    workers = AUTO_WORKERS if limits.workers == "auto" else limits.workers
    return RunSettings(
        run_id=opened.run_id,
        plan=execution.plan.name,
        org=org,
        dry_run=options.dry_run,
        quick=options.quick,
        workers=max(1, min(workers, opened.pending)),
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


def chosen_targets(given: str | None, jobs: Sequence[ResolvedJob]) -> frozenset[AppId] | None:
    """Read `--targets @FILE`: the targets of the plan that this execution is restricted to.

    Raises:
        UsageError: it names no file, or the file lists an app that is no target of the plan.
        PlanError: the file is wrong.
    """
    if given is None:
        return None
    if not given.startswith("@"):
        raise UsageError("--targets takes a file: --targets @failed.csv")
    chosen = frozenset(read_app_ids(Path(given[1:])))
    planned = {target.app for job in jobs for target in job.stream()}
    strangers = sorted(chosen - planned)
    if strangers:
        raise UsageError(
            f"{given[1:]} lists {len(strangers)} apps that are no targets of the plan, "
            f"such as {strangers[0]}"
        )
    return chosen
