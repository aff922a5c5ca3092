"""Publish the certificate that a CA has signed for a run's request, and go on with the run."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.archives import (
    RunPlan,
    access_to,
    existing_store,
    job_named,
    locked_run,
    plan_of,
)
from orchestrator.cli.execute import execute
from orchestrator.cli.opening import this_session
from orchestrator.cli.options import Options
from orchestrator.cli.requests import OpenRequest, open_requests
from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.engine.context import RunContext
from orchestrator.engine.publish import publish as publish_certificate
from orchestrator.engine.result import RunSettings
from orchestrator.engine.staging import SourceKey
from orchestrator.errors import CallError, ExitCode, InputError, OrchestratorError, UsageError
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.okta.certificates import csr_mismatch, read_certificate_file
from orchestrator.okta.wire import CallTrace
from orchestrator.plan.files import open_regular, reason
from orchestrator.settings.secret_commands import aside
from orchestrator.store.base import Archive, RunRecord, RunState

LARGEST_FILE = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """The command line of `csr publish`."""

    run_id: str
    certificate: Path
    job: str | None = None
    state: Path | None = None
    lock_timeout: float = 0.0
    report_dir: Path | None = None
    quiet: bool = False


def publish(options: PublishOptions) -> ExitCode:
    """Publish a certificate, then go on with the run as `run` would.

    Raises:
        OrchestratorError: the certificate is not for the request, or the org does not take it.
    """
    found, profile = anyio.run(carry_out, options)
    return execute(
        Options(
            plan=found.path,
            profile=profile,
            state=options.state,
            lock_timeout=options.lock_timeout,
            report_dir=options.report_dir,
            quiet=options.quiet,
        )
    )


async def carry_out(options: PublishOptions) -> tuple[RunPlan, str | None]:
    """Find the request, check the certificate against it, publish it and record the key.

    Returns the plan of the run, and the profile by which its org was found.
    """
    clock = SystemClock()
    ders = read_certificate_file(read_file(options.certificate))
    async with AsyncExitStack() as stack:
        store = stack.enter_context(existing_store(options.state, clock))
        record = store.archive.run(options.run_id)
        found = plan_of(store.archive, record)
        access = await aside(partial(access_to, record, found))
        request = chosen_request(store.archive, record, options.job)
        lock = locked_run(store, record, options.state, options.lock_timeout)
        await stack.enter_async_context(lock)
        halt, observer = Halt(), Broadcast()
        api = await stack.enter_async_context(
            open_api(
                access,
                capacity=found.plan.limits.capacity,
                bounds=access.bounds,
                clock=clock,
                halt=halt,
                random=Random(),  # noqa: S311 - jitter, no secrets
                observer=observer,
            )
        )
        with suppress(CallError):  # without the org's clock, our own has to do
            await api.organization(CallTrace())
        der = fitting(request, ders, api.pacer.org_time(clock.wall()))
        store.begin_session(record.run_id, this_session())
        journal = await stack.enter_async_context(store.journal(record.run_id))
        settings = RunSettings(run_id=record.run_id, plan=record.plan, org=record.org)
        context = RunContext(
            settings, journal=journal, api=api, clock=clock, halt=halt, observer=observer
        )
        await publish_one(context, request, der)
        return found, access.profile


async def publish_one(context: RunContext, request: OpenRequest, der: bytes) -> None:
    """Publish the certificate of one request, and record the key that comes of it."""
    code = ExitCode.UNEXPECTED
    try:
        key = await publish_certificate(context, request.job, request.csr_id, der)
        if not isinstance(key, SourceKey):
            raise CallError(f"job {request.job.name}: {key}")
        position = request.job.position
        await context.journal.note_source(position, key.certificate, None, key=key.ref)
        code = ExitCode.DONE
    except OrchestratorError as error:
        code = error.exit_code
        raise
    finally:
        await context.journal.end_session(RunState.STOPPED, stop=None, exit_code=code)
    sys.stderr.write(f"job {request.job.name}: key {key.ref.kid} is published\n")


def chosen_request(archive: Archive, record: RunRecord, job: str | None) -> OpenRequest:
    """Return the request that a certificate is for.

    Raises:
        UsageError: there is none, or there are several.
    """
    waiting = open_requests(archive, record.run_id)
    if job is not None:
        name = job_named(archive.jobs(record.run_id), job).name
        waiting = [request for request in waiting if request.job.name == name]
    if not waiting:
        raise UsageError("no certificate is waited for")
    if len(waiting) > 1:
        names = ", ".join(request.job.name for request in waiting)
        raise UsageError("for which job is the certificate?", hint=f"--job, one of: {names}")
    return waiting[0]


def fitting(request: OpenRequest, ders: list[bytes], now: datetime) -> bytes:
    """Return the certificate that is for the request; others in the file are its issuers.

    Raises:
        InputError: none is, and why.
    """
    reasons = []
    for der in ders:
        try:
            mismatch = csr_mismatch(request.der, der, now)
        except ValueError as error:
            mismatch = str(error)
        if mismatch is None:
            return der
        reasons.append(mismatch)
    raise InputError(
        f"the certificate cannot be published for job {request.job.name}: {reasons[0]}",
        hint="have the CA sign the CSR of this run; nothing was published",
    )


def read_file(path: Path) -> bytes:
    try:
        with open_regular(path) as handle:
            return handle.read(LARGEST_FILE)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {reason(error)}") from error
