"""Carry out a plan from its file to its report: what `run` and `preview` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from random import Random

import anyio

from orchestrator.cli.arguments import PlanOutputChoice
from orchestrator.cli.belts import LOOKED_UP, check_changes, checksum
from orchestrator.cli.bounds import chosen_targets, run_settings
from orchestrator.cli.closing import after_words, conclude
from orchestrator.cli.due import is_due, steps_now, waits_in
from orchestrator.cli.opening import OpenedRun
from orchestrator.cli.options import Execution, Options
from orchestrator.cli.preparing import (
    hold_share_against_belts,
    known_keys,
    open_run,
    open_store,
    remembering,
    told_before_calls,
    way_to_org,
    with_targets,
)
from orchestrator.cli.render import Screen
from orchestrator.cli.requests import requests_awaited, write_requests
from orchestrator.cli.signals import execute_until_signalled
from orchestrator.cli.terraform import managed_apps
from orchestrator.cli.wiring import hook_runner, open_api, packs_for
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.gates import Wait, stop_of
from orchestrator.engine.result import (
    CUT_SHORT,
    ArchivedRecords,
    RunResult,
    RunSettings,
    exit_code,
    result_of,
)
from orchestrator.engine.run import Run
from orchestrator.errors import CallError, ExitCode, OrchestratorError, StateError
from orchestrator.events import Broadcast, RunFinished
from orchestrator.halt import Halt
from orchestrator.model import RunId
from orchestrator.okta.api import OktaApi
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.report.formats import (
    complete_reports,
    json_pieces,
    with_packs,
    write_reports,
)
from orchestrator.report.markdown import markdown_pieces
from orchestrator.report.stream import EventStream
from orchestrator.settings.access import OrgAccess
from orchestrator.store.sqlite import FILE_NAME, Store


def execute(options: Options) -> ExitCode:
    """Execute the plan and return the exit code; once a call was made there is a report.

    Raises:
        OrchestratorError: nothing could be done at all, or the report could not be written.
    """
    clock, random = SystemClock(), Random()  # noqa: S311 - jitter and run ids, no secrets
    plan = load_plan(options.plan)
    jobs = resolve(plan)
    if not options.dry_run:
        check_changes(plan.limits, jobs)  # before any call, as far as the plan alone tells
    run_id = new_run_id(clock, random)
    stream = None
    if options.output is PlanOutputChoice.ndjson:
        stream = EventStream(sys.stdout, clock=clock, run_id=run_id, dry_run=options.dry_run)
    screen = Screen(quiet=options.quiet)
    execution = Execution(
        options=options,
        plan=plan,
        asked=jobs,
        jobs=jobs,
        run_id=run_id,
        managed=managed_apps(options.terraform_state),
        clock=clock,
        random=random,
        screen=screen,
        stream=stream,
        observer=Broadcast([screen, stream] if stream else [screen]),
    )
    if not execution.is_open:
        execution = replace(execution, only=chosen_targets(options.targets, jobs))
    try:
        return anyio.run(carry_out, execution)
    except OrchestratorError as error:
        if stream:
            stream.fail(error, error.exit_code)
        raise


async def carry_out(execution: Execution) -> ExitCode:
    """Find the org, the targets and the run, execute, and tell what came of it."""
    async with AsyncExitStack() as stack:
        access = await way_to_org(execution, stack)
        with told_before_calls():
            store = await stack.enter_async_context(open_store(execution, access.url))
            memory = remembering(execution, store, stack)
        halt = Halt()
        api = await stack.enter_async_context(api_for(execution, access, halt))
        execution = await with_targets(execution, access, memory, api)
        known = await known_keys(execution, access.url, memory, api)
        with told_before_calls():
            opened = open_run(execution, store, access.url, known)
        execution.screen.show_notices(opened.notices)
        if execution.stream:
            execution.stream.run_id = opened.run_id
        result = await execute_if_due(execution, access, store, opened, api, halt)
        return tell(execution, result)


def api_for(
    execution: Execution, access: OrgAccess, halt: Halt
) -> AbstractAsyncContextManager[OktaApi]:
    return open_api(
        access,
        capacity=execution.plan.limits.capacity,
        bounds=access.bounds,
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
    await hold_share_against_belts(execution, access, store, api)
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
    if execution.options.output is PlanOutputChoice.json:
        sys.stdout.writelines(json_pieces(result))
    elif execution.options.output is PlanOutputChoice.markdown:
        sys.stdout.writelines(markdown_pieces(result))
    return code


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
    settings = settings_of(execution, access, opened)
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
            book=execution.book,
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
        result = with_checksum(execution, access.url, await conclude(run, store))
        if packs is not None:
            result = replace(result, packs=packs.root.name)
        paths = write_reports(result, execution.report_folder, plan.report.formats)
        paths += write_requests(store.archive, result.record, execution.report_folder)
        await after_words(run, result, paths)
    execution.screen.show_result(result, paths, seconds=clock.monotonic() - started)
    if run.snapshots and settings.rolls_out and not options.sandbox:
        remember(execution, access.url, run)
    return result


def settings_of(execution: Execution, access: OrgAccess, opened: OpenedRun) -> RunSettings:
    """Return what the plan and the command line let this execution do."""
    options = execution.options
    return run_settings(
        execution.plan,
        execution.jobs,
        run_id=opened.run_id,
        org=access.url,
        pending=opened.pending,
        dry_run=options.dry_run,
        quick=options.quick,
        waits=options.waits,
        limit=options.limit,
        managed=execution.managed,
        most_sharing=access.most_sharing,
    )


def with_checksum(execution: Execution, org: str, result: RunResult) -> RunResult:
    """Return the result of a preview with the checksum of what it showed; of a run, as it is."""
    if not execution.options.dry_run:
        return result
    found = {job.name: job for job in result.jobs if job.wanted.kind in LOOKED_UP}
    return replace(result, checksum=checksum(execution, org, found))


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
