"""Serve the sandbox as a process of its own."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.wiring import read_faults, seed_apps
from orchestrator.errors import ExitCode, UsageError
from orchestrator.holders import OIDC
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.control import CLOCK_PATH
from orchestrator.sandbox.copies import copied, read_inventory
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.people import okta_id
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
    copy_of: Path | None = None  # a saved inventory; then `apps` counts for nothing


def serve_sandbox(options: SandboxOptions) -> ExitCode:
    """Serve until a signal; print where, and what to call it with, to stdout."""
    return anyio.run(serve_until_signalled, options)


async def serve_until_signalled(options: SandboxOptions) -> ExitCode:
    org, about = org_to_serve(options)
    limits = LimitSettings(enabled=options.limited, window_seconds=options.window_seconds)
    try:
        async with serve(
            org, limits=limits, faults=read_faults(options.faults), port=options.port
        ) as served:
            sys.stdout.write(f"url: {served.url}\ntoken: {org.token}\n")
            sys.stdout.write(about + example_of(org))
            sys.stdout.write(f"clock: POST {served.url}{CLOCK_PATH}?advance=SECONDS moves it on\n")
            sys.stdout.flush()
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    return ExitCode.DONE
    except OSError as error:
        raise UsageError(f"port {options.port} cannot be used: {error.strerror}") from error
    return ExitCode.DONE


def org_to_serve(options: SandboxOptions) -> tuple[SandboxOrg, str]:
    """Return an org, made up or a copy, and what is to be said about a copy.

    Raises:
        InputError: the plan, or the inventory to copy, cannot be used.
    """
    # Its certificates are new, though its kids are not: nobody may take it for an earlier one.
    org_id = okta_id(Random(), "00o")  # noqa: S311 - not secret
    org, about = SandboxOrg(seed=options.seed, org_id=org_id), ""
    if options.copy_of is not None:
        inventory = read_inventory(options.copy_of)
        org = copied(inventory, file=str(options.copy_of), seed=options.seed)
        about = account_of(org, made_up=inventory.made_up)
    if options.plan:
        seed_apps(org, resolve(load_plan(options.plan)))
    if options.copy_of is None:
        for number in range(options.apps):
            org.add_app(label=f"Sandbox app {number + 1}")
    return org, about


def account_of(org: SandboxOrg, *, made_up: int) -> str:
    """Say what a copy consists of, and how many keys have dates that nobody knows."""
    text = f"copy: {len(org.apps)} apps, {len(org.idps)} identity providers, new certificates\n"
    if made_up:
        text += f"made up: the dates of {made_up} keys, which the inventory does not know\n"
    return text


def example_of(org: SandboxOrg) -> str:
    """Return a source and a key to write a plan with; none of an app whose keys Okta rotates."""
    for app_id, app in org.apps.items():
        if app.active_kid and app.sign_on_mode != OIDC:
            return f"app: {app_id}\nkey: {app.active_kid}\n"
    return ""
