"""Take a run back: the command around `engine.rollback`."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.archives import (
    RunPlan,
    access_to,
    existing_store,
    locked_run,
    plan_if_there,
)
from orchestrator.cli.arguments import OutputChoice
from orchestrator.cli.bounds import targets_in, workers_of
from orchestrator.cli.opening import this_session
from orchestrator.cli.render import Screen
from orchestrator.cli.signals import signalling
from orchestrator.cli.wiring import open_api
from orchestrator.clock import Clock, SystemClock
from orchestrator.engine.context import RunContext
from orchestrator.engine.gates import left_to_do
from orchestrator.engine.result import EXIT_OF_STOP, RunResult, RunSettings, result_of
from orchestrator.engine.rollback import Rollback
from orchestrator.errors import ExitCode, StateError, UsageError
from orchestrator.events import ActivationSettled, Broadcast, Event
from orchestrator.halt import Halt
from orchestrator.model import Activation, AppId
from orchestrator.plan.schema import Limits, ReportSpec
from orchestrator.report.formats import json_pieces, with_packs, write_reports
from orchestrator.report.stream import EventStream, activation_line
from orchestrator.settings.access import OrgAccess
from orchestrator.settings.secret_commands import aside
from orchestrator.store.base import Archive, RunRecord, RunState
from orchestrator.store.sqlite import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackOptions:
    """The command line of `rollback`."""

    run_id: str
    wave: int | None = None
    targets: str | None = None
    dry_run: bool = False
    state: Path | None = None
    lock_timeout: float = 0.0
    output: OutputChoice = OutputChoice.text
    report_dir: Path | None = None
    quiet: bool = False


@dataclass(slots=True)
class Found:
    """An observer that keeps what a dry run has found."""

    activations: list[Activation] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        if isinstance(event, ActivationSettled):
            self.activations.append(event.activation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one rollback is made of."""

    options: RollbackOptions
    store: Store
    record: RunRecord
    found: RunPlan | None  # the run's plan, if it can still be loaded
    only: frozenset[AppId] | None
    screen: Screen
    observer: Broadcast
    clock: Clock

    @property
    def limits(self) -> Limits:
        return self.found.plan.limits if self.found else Limits()

    @property
    def report(self) -> ReportSpec:
        return self.found.plan.report if self.found else ReportSpec()


def roll_back(options: RollbackOptions) -> ExitCode:
    """Take a run, a wave of it or some of its targets back, and return the exit code.

    Raises:
        OrchestratorError: nothing could be done at all, or the report could not be written.
    """
    return anyio.run(carry_out, options)


async def carry_out(options: RollbackOptions) -> ExitCode:
    """Find the run and its org, take it back, and tell what came of it."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        store = stack.enter_context(existing_store(options.state, clock))
        record = store.archive.run(options.run_id)
        check_wave(store.archive, record, options.wave)
        found = plan_if_there(store.archive, record)
        access = await aside(partial(access_to, record, found))
        scene = scene_of(options, store, record, found, clock)
        if not options.dry_run:
            lock = locked_run(store, record, options.state, options.lock_timeout)
            await stack.enter_async_context(lock)
        return await execute(scene, access)


def check_wave(archive: Archive, record: RunRecord, wave: int | None) -> None:
    """Refuse a wave that no job of the run has.

    Raises:
        UsageError: no job has it.
    """
    jobs = archive.jobs(record.run_id)
    waves = {each.wave for job in jobs for each in archive.waves(record.run_id, job.position)}
    if wave is not None and wave not in waves:
        raise UsageError(f"the run has no wave {wave}")


def scene_of(
    options: RollbackOptions,
    store: Store,
    record: RunRecord,
    found: RunPlan | None,
    clock: Clock,
) -> Scene:
    screen = Screen(quiet=options.quiet)
    observer = Broadcast([screen])
    if options.output is OutputChoice.ndjson:
        stream = EventStream(sys.stdout, clock=clock, run_id=record.run_id, dry_run=options.dry_run)
        observer.observers.append(stream)
    only = None
    if options.targets is not None:
        planned = {each.target.app for each in store.archive.targets(record.run_id)}
        only = targets_in(options.targets, planned, "the run")
    return Scene(
        options=options,
        store=store,
        record=record,
        found=found,
        only=only,
        screen=screen,
        observer=observer,
        clock=clock,
    )


async def execute(scene: Scene, access: OrgAccess) -> ExitCode:
    halt, store, run_id = Halt(), scene.store, scene.record.run_id
    opened = open_api(
        access,
        capacity=scene.limits.capacity,
        bounds=access.bounds,
        clock=scene.clock,
        halt=halt,
        random=Random(),  # noqa: S311 - jitter, no secrets
        observer=scene.observer,
    )
    if not scene.options.dry_run:
        store.begin_session(run_id, this_session())
    async with opened as api, store.journal(run_id) as journal:
        context = RunContext(
            settings_of(scene),
            journal=journal,
            api=api,
            clock=scene.clock,
            halt=halt,
            observer=scene.observer,
        )
        if scene.options.dry_run:
            return await preview(scene, context)
        return await take_back(scene, context)


def settings_of(scene: Scene) -> RunSettings:
    return RunSettings(
        run_id=scene.record.run_id,
        plan=scene.record.plan,
        org=scene.record.org,
        dry_run=scene.options.dry_run,
        workers=workers_of(scene.limits),
    )


def rollback_of(scene: Scene, context: RunContext) -> Rollback:
    archive = scene.store.archive
    return Rollback(
        context,
        archive,
        archive.jobs(scene.record.run_id),
        wave=scene.options.wave,
        only=scene.only,
    )


async def preview(scene: Scene, context: RunContext) -> ExitCode:
    """Say what would be taken back; nothing is written, neither to the org nor the journal."""
    found = Found()
    scene.observer.observers.append(found)
    rollback = rollback_of(scene, context)
    async with signalling(rollback):
        await rollback.execute()
    lines = [activation_line(each) for each in found.activations]
    if scene.options.output is OutputChoice.json:
        head = {"dry_run": True, "run_id": scene.record.run_id, "targets": lines}
        sys.stdout.write(json.dumps(head, indent=2) + "\n")
    scene.screen.show_rollback(found.activations)
    return code_of(context)


async def take_back(scene: Scene, context: RunContext) -> ExitCode:
    """Take back, record how the session ended, and write the report anew."""
    store, run_id = scene.store, scene.record.run_id
    started = scene.clock.monotonic()
    rollback = rollback_of(scene, context)
    with scene.screen:
        async with signalling(rollback):
            await rollback.execute()
    result = result_of(
        store.archive,
        run_id,
        changed=context.activated,
        failed=context.failures,
        stop=context.stop_reason,
        activations=context.unrecorded_activations,
    )
    result = await conclude(scene, context, result)
    folder = scene.options.report_dir or Path(scene.report.dir)
    result = with_packs(result, folder)
    paths = write_reports(result, folder, scene.report.formats)
    scene.screen.show_result(result, paths, seconds=scene.clock.monotonic() - started)
    if scene.options.output is OutputChoice.json:
        sys.stdout.writelines(json_pieces(result))
    return code_of(context)


async def conclude(scene: Scene, context: RunContext, result: RunResult) -> RunResult:
    """Record how the session ended."""
    archive, run_id = scene.store.archive, scene.record.run_id
    left = archive.counts(run_id).pending or any(
        left_to_do(counts)
        for job in archive.jobs(run_id)
        for counts in archive.waves(run_id, job.position)
    )
    try:
        await context.journal.end_session(
            RunState.STOPPED if left else RunState.FINISHED,
            stop=context.stop_reason,
            exit_code=code_of(context),
        )
    except StateError:
        if not context.unrecorded_activations:
            raise
    return replace(result, record=archive.run(run_id))


def code_of(context: RunContext) -> ExitCode:
    if context.stop_reason is not None:
        return EXIT_OF_STOP[context.stop_reason.cause]
    return ExitCode.PARTIAL if context.failures else ExitCode.DONE
