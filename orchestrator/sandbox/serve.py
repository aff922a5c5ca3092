"""Serves a sandbox org on loopback for as long as a block runs."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext

import anyio
from aiohttp import web

from orchestrator.errors import UsageError
from orchestrator.sandbox.app import SandboxServer
from orchestrator.sandbox.certs import fill_pool
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg

SHUTDOWN_SECONDS = 0.05  # grace for calls in flight; stalled ones are cut off after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A sandbox that listens."""

    url: str  # e.g. http://127.0.0.1:41231
    org: SandboxOrg


@asynccontextmanager
async def serve(
    org: SandboxOrg,
    *,
    limits: LimitSettings | None = None,
    faults: FaultScript | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl: SSLContext | None = None,
) -> AsyncIterator[Served]:
    """Serve an org until the block ends; port 0 takes a free one.

    Windows and fault counters start anew with each call; the org's state, log and clock go on.

    Raises:
        UsageError: the host is not a loopback address, or the port cannot be used.
    """
    address = loopback_address(host)
    limits = limits or LimitSettings()
    org.served_skew_seconds = limits.clock_skew_seconds
    org.served_share = limits.share
    await anyio.to_thread.run_sync(fill_pool)
    server = SandboxServer(org, limits, faults or FaultScript())
    runner = web.ServerRunner(
        web.Server(server.handle, access_log=None), shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        url = await listen(runner, address, port, ssl)
        org.site.base_url = url
        yield Served(url=url, org=org)
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def listen(runner: web.ServerRunner, address: str, port: int, ssl: SSLContext | None) -> str:
    """Open the socket, and return the URL of the org."""
    try:
        await web.TCPSite(runner, address, port, ssl_context=ssl).start()
    except OSError as problem:
        raise UsageError(f"the sandbox cannot listen on {address} port {port}") from problem
    bound = runner.addresses[0][1]
    shown = f"[{address}]" if ":" in address else address
    return f"{'https' if ssl else 'http'}://{shown}:{bound}"


def loopback_address(host: str) -> str:
    """Return the address to bind, or refuse one that others could reach."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise UsageError(
            f"the sandbox listens on loopback only, not on {host}", hint="use 127.0.0.1 or ::1"
        )
    return address
