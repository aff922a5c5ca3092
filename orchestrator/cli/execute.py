"""Carry out a plan from its file to its report: what `run` and `preview` share."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.bounds import check_belt, chosen_targets, run_settings
from orchestrator.cli.closing import after_words, conclude
from orchestrator.cli.due import is_due, steps_now, waits_in
from orchestrator.cli.opening import (
    OpenedRun,
    continue_or_create,
    create,
    forget_old,
    made_keys,
    new_run,
    this_session,
)
from orchestrator.cli.render import Screen
from orchestrator.cli.requests import requests_awaited, write_requests
from orchestrator.cli.signals import execute_until_signalled
from orchestrator.cli.wiring import (
    OrgAccess,
    hook_runner,
    open_api,
    org_access,
    packs_for,
    read_faults,
    sandbox_for,
    timeouts,
)
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.gates import Wait, stop_of
from orchestrator.engine.result import (
    CUT_SHORT,
    ArchivedRecords,
    RunResult,
    exit_code,
    result_of,
)
from orchestrator.engine.resume import ResolvedJob
from orchestrator.engine.run import Run
from orchestrator.errors import CallError, ExitCode, OrchestratorError, StateError, StateUnusable
from orchestrator.events import Broadcast, RunFinished
from orchestrator.halt import Halt
from orchestrator.model import AppId, RunId
from orchestrator.okta.api import OktaApi
from orchestrator.plan.load import load_plan
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import resolve
from orchestrator.report.formats import (
    complete_reports,
    json_pieces,
    with_packs,
    write_reports,
)
from orchestrator.report.stream import EventStream
from orchestrator.store.lock import RunLock, state_folder
from orchestrator.store.sqlite import FILE_NAME, Store


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
    waits: bool = False
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

    @property
    def report_folder(self) -> Path:
        return self.options.report_dir or Path(self.plan.report.dir)

    @property
    def state_folder(self) -> Path:
        return state_folder(self.options.state, os.environ)


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
        halt = Halt()
        api = await stack.enter_async_context(api_for(execution, access, halt))
        result = await execute_if_due(execution, access, store, opened, api, halt)
        return tell(execution, result)


def api_for(
    execution: Execution, access: OrgAccess, halt: Halt
) -> AbstractAsyncContextManager[OktaApi]:
    return open_api(
        access,
        capacity=execution.plan.limits.capacity,
        bounds=timeouts(os.environ),
        clock=execution.clock,
        halt=halt,
        random=execution.random,
        observer=execution.observer,
    )


async def execute_if_due(
    execution: Execution,
    access: OrgAccess,
    store: Store,
    opened: OpenedRun,
    api: OktaApi,
    halt: Halt,
) -> RunResult:
    """Execute a run if anything of it is due now; else say how it stands, at hardly any cost."""
    if opened.is_over:
        return left_as_it_is(execution, store, opened)
    if opened.is_waiting and not execution.options.waits:
        try:
            steps = await steps_now(store, opened.run_id, execution.jobs, api)
        except CallError as error:  # a clock of our own may be wrong, so nothing goes by it
            text = f"nothing is begun, for the org does not tell its time: {error.message}"
            execution.screen.show_notices([text])
            return left_as_it_is(execution, store, opened)
        if not any(map(is_due, steps.values())):
            return left_as_it_is(execution, store, opened, waits_in(steps))
    with told_before_calls():
        opened.begin(store)
    return await execute_opened(execution, access, store, opened, api, halt)


def left_as_it_is(
    execution: Execution,
    store: Store,
    opened: OpenedRun,
    waits: Mapping[str, Wait] | None = None,
) -> RunResult:
    """Return the result of a run of which nothing is due, and say what it waits for."""
    result = with_packs(result_of(store.archive, opened.run_id), execution.report_folder)
    complete_reports(result, execution.report_folder, execution.plan.report.formats)
    if opened.is_over and result.stop is not None and result.stop.cause in CUT_SHORT:
        result = replace(result, stop=None)  # it came when all was done
    awaited = requests_awaited(store.archive, opened.run_id)
    stop = stop_of({**(waits or {}), **awaited})
    if stop is not None:
        result = replace(result, stop=stop)
        execution.screen.show_waiting(stop)
    return result


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
    folder = execution.state_folder
    lock = RunLock(folder, execution.plan.name, org, session=this_session(), clock=clock)
    with Store.open(folder / FILE_NAME, clock=clock) as store:
        await lock.take(patience_seconds=options.lock_timeout)
        try:
            yield store
        finally:
            lock.free()


def open_run(execution: Execution, store: Store, org: str) -> OpenedRun:
    options, jobs, session = execution.options, execution.jobs, this_session()
    new = new_run(
        execution.run_id,
        execution.plan.name,
        org,
        jobs,
        dry_run=options.dry_run,
        plan_file=str(options.plan.absolute()),
    )
    if options.is_durable:
        forget_old(store, now=execution.clock.wall(), environ=os.environ)
    if options.fresh or not options.is_durable:
        known = {} if options.sandbox else made_keys(new, jobs, execution.state_folder)
        return create(store, new, jobs, session, known=known if options.dry_run else {})
    return continue_or_create(store, new, jobs, session)


async def execute_opened(
    execution: Execution,
    access: OrgAccess,
    store: Store,
    opened: OpenedRun,
    api: OktaApi,
    halt: Halt,
) -> RunResult:
    """Execute a run, record how it ended, write its report and show it."""
    plan, clock, options = execution.plan, execution.clock, execution.options
    started = clock.monotonic()
    settings = run_settings(
        plan,
        execution.jobs,
        run_id=opened.run_id,
        org=access.url,
        pending=opened.pending,
        dry_run=options.dry_run,
        quick=options.quick,
        waits=options.waits,
    )
    packs = None
    if plan.report.handoff is not None and not options.dry_run:
        packs = packs_for(execution.report_folder, settings)
    async with store.journal(opened.run_id) as journal:
        run = Run(
            settings,
            store.archive.jobs(opened.run_id),
            pending=opened.pending if execution.only is None else len(execution.only),
            journal=journal,
            api=api,
            clock=clock,
            halt=halt,
            observer=execution.observer,
            only=execution.only,
            hooks=hook_runner(os.environ, plan.folder, clock),
            packs=packs,
            seen=store.archive.snapshot(plan.name, access.url) if settings.rolls_out else None,
        )
        with execution.screen:
            context = run.context
            found = ArchivedRecords(
                store.archive,
                opened.run_id,
                context.unrecorded,
                context.unrecorded_activations,
            )
            await execute_until_signalled(run, found)
        result = await conclude(run, store)
        if packs is not None:
            result = replace(result, packs=packs.root.name)
        paths = write_reports(result, execution.report_folder, plan.report.formats)
        paths += write_requests(store.archive, result.record, execution.report_folder)
        await after_words(run, result, paths)
    execution.screen.show_result(result, paths, seconds=clock.monotonic() - started)
    if run.snapshots and not options.sandbox:
        remember(execution, access.url, run)
    return result


def remember(execution: Execution, org: str, run: Run) -> None:
    """Keep what a preview has seen, for the run to tell what has changed since."""
    try:
        with Store.open(execution.state_folder / FILE_NAME, clock=execution.clock) as store:
            store.save_snapshot(execution.plan.name, org, run.snapshots)
    except StateError as error:
        text = f"what this preview saw is not remembered: {error.message}"
        execution.screen.show_notices([text])


def new_run_id(clock: Clock, random: Random) -> RunId:
    """Return an id that sorts by time and does not collide within a second."""
    return RunId(f"{clock.wall():%Y%m%dT%H%M%SZ}-{random.getrandbits(24):06x}")
