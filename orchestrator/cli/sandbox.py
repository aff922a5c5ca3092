"""Serve the sandbox as a process of its own."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio

from orchestrator.cli.wiring import read_faults, seed_apps
from orchestrator.errors import ExitCode, UsageError
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.control import CLOCK_PATH
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The command line of `sandbox`."""

    port: int
    apps: int
    plan: Path | None
    seed: int
    window_seconds: float
    limited: bool
    faults: Path | None


def serve_sandbox(options: SandboxOptions) -> ExitCode:
    """Serve until a signal; print where, and what to call it with, to stdout."""
    return anyio.run(serve_until_signalled, options)


async def serve_until_signalled(options: SandboxOptions) -> ExitCode:
    org = SandboxOrg(seed=options.seed)
    if options.plan:
        seed_apps(org, resolve(load_plan(options.plan)))
    for number in range(options.apps):
        org.add_app(label=f"Sandbox app {number + 1}")
    limits = LimitSettings(enabled=options.limited, window_seconds=options.window_seconds)
    try:
        async with serve(
            org, limits=limits, faults=read_faults(options.faults), port=options.port
        ) as served:
            sys.stdout.write(f"url: {served.url}\ntoken: {org.token}\n")
            sys.stdout.write(example_of(org))
            sys.stdout.write(f"clock: POST {served.url}{CLOCK_PATH}?advance=SECONDS moves it on\n")
            sys.stdout.flush()
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    return ExitCode.DONE
    except OSError as error:
        raise UsageError(f"port {options.port} cannot be used: {error.strerror}") from error
    return ExitCode.DONE


def example_of(org: SandboxOrg) -> str:
    """Return a source and a key to write a plan with."""
    for app_id, app in org.apps.items():
        if app.active_kid:
            return f"app: {app_id}\nkey: {app.active_kid}\n"
    return ""
