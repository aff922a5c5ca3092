"""Serve the sandbox as a process of its own."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.sandbox_key import DEFAULT_KEY_FILE, key_in_file
from orchestrator.cli.wiring import read_faults, seed_apps
from orchestrator.errors import ExitCode, UsageError
from orchestrator.holders import OIDC
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.clientele import SandboxServiceApp
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
    oauth: bool = False  # add a service app
    dpop: bool = False  # that requires DPoP
    key_file: Path | None = None  # for its private key


def serve_sandbox(options: SandboxOptions) -> ExitCode:
    """Serve until a signal; print where, and what to call it with, to stdout.

    Raises:
        UsageError: the port cannot be used, or the key file cannot be made anew.
        InputError: the plan, or the inventory to copy, cannot be used.
    """
    if options.key_file is not None and not options.oauth:
        raise UsageError("--key-file is for the key of a service app", hint="add --oauth or --dpop")
    return anyio.run(serve_until_signalled, options)


async def serve_until_signalled(options: SandboxOptions) -> ExitCode:
    org, about = org_to_serve(options)
    limits = LimitSettings(enabled=options.limited, window_seconds=options.window_seconds)
    faults = read_faults(options.faults)
    with client_of(org, options) as client:
        async with serve(org, limits=limits, faults=faults, port=options.port) as served:
            sys.stdout.write(f"url: {served.url}\ntoken: {org.token}\n")
            sys.stdout.write(about + example_of(org))
            sys.stdout.write(account_of_client(client, served.url) if client else "")
            sys.stdout.write(f"clock: POST {served.url}{CLOCK_PATH}?advance=SECONDS moves it on\n")
            sys.stdout.flush()
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    return ExitCode.DONE
    return ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A service app of the sandbox, and where its private key is."""

    app: SandboxServiceApp
    key_file: Path


@contextmanager
def client_of(org: SandboxOrg, options: SandboxOptions) -> Iterator[Client | None]:
    """Add the service app that was asked for; its key is in its file while the block runs."""
    if not options.oauth:
        yield None
        return
    with key_in_file(options.key_file or DEFAULT_KEY_FILE) as key:
        app = org.add_service_app(public_keys=[key.public], requires_dpop=options.dpop)
        yield Client(app=app, key_file=key.path)


def account_of_client(client: Client, url: str) -> str:
    """Say what to call as the service app with, and how a shell is told so."""
    app = client.app
    variables = {
        "ORGURL": url,
        "AUTHORIZATIONMODE": "PrivateKey",
        "CLIENTID": app.client_id,
        "PRIVATEKEY": str(client.key_file),
        "SCOPES": ",".join(sorted(app.scopes)),
    }
    if app.requires_dpop:
        variables["DPOPENABLED"] = "true"  # Okta's SDK has to be told; we find out
    lines = [f"client_id: {app.client_id}", f"private_key: {client.key_file}"]
    lines += [f"export OKTA_CLIENT_{name}={shlex.quote(it)}" for name, it in variables.items()]
    return "".join(f"{line}\n" for line in lines)


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
