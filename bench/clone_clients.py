"""Three ways to send the same clones: aiohttp and nothing else, our engine, Okta's own SDK.

Usage: python -m bench.clone_clients CLIENT URL CALLS. Prints CPU seconds per 1,000 calls, counted
after a warm-up, and the peak size of the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bench.measure import cpu_seconds, peak_mebibytes
from bench.static_org import KID, SOURCE
from orchestrator.model import AppId, KeyRef, Kid, RunId, Status, Target

WORKERS = 16
WARM_UP_CALLS = 300
TOKEN = "bench"  # noqa: S105 - the server looks at no token

Send = Callable[[Sequence[AppId]], Awaitable[int]]


def targets(number: int) -> list[AppId]:
    return [AppId(f"0oa{index:013d}0h7") for index in range(number)]


async def share_out(apps: Sequence[AppId], clone: Callable[[AppId], Awaitable[bool]]) -> int:
    """Clone with WORKERS tasks that share one iterator; return how many clones succeeded."""
    shared = iter(apps)

    async def work() -> int:
        return sum([await clone(app) for app in shared])

    return sum(await asyncio.gather(*(work() for _ in range(WORKERS))))


@asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Send]:
    """The cheapest use of aiohttp that still is one: the floor for whatever is built on it."""
    import aiohttp
    from yarl import URL

    path = f"{url}/api/v1/apps/{SOURCE}/credentials/keys/{KID}/clone?targetAid="
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0),
        headers={
            "Authorization": f"SSWS {TOKEN}",
            "Accept": "application/json",
            "User-Agent": "bench",
            "Content-Length": "0",
        },
        skip_auto_headers=("Content-Type",),
    ) as session:

        async def clone(app: AppId) -> bool:
            address = URL(path + app, encoded=True)
            async with session.request("POST", address, allow_redirects=False) as response:
                await response.read()
                return response.status == 201

        yield lambda apps: share_out(apps, clone)


@dataclass
class ListedJob:
    """A job whose targets are a list."""

    targets: Sequence[AppId]
    name: str = "bench"
    key: KeyRef = field(default=KeyRef(app=AppId(SOURCE), kid=Kid(KID)))
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.targets)

    def stream(self) -> Iterator[Target]:
        return (Target(job=self.name, app=app) for app in self.targets)


@asynccontextmanager
async def our_engine(url: str) -> AsyncIterator[Send]:
    """A run as `okta-keys run` executes it, proofs included, without progress and report."""
    from orchestrator.cli.wiring import OrgAccess, open_api
    from orchestrator.clock import SystemClock
    from orchestrator.engine.result import RunSettings
    from orchestrator.engine.run import Run
    from orchestrator.events import Broadcast
    from orchestrator.halt import Halt
    from orchestrator.okta.http import Timeouts
    from orchestrator.secret import Secret

    clock, halt, observer = SystemClock(), Halt(), Broadcast()
    settings = RunSettings(run_id=RunId("bench"), plan="bench", org=url, workers=WORKERS)
    async with open_api(
        OrgAccess(url=url, token=Secret(TOKEN)),
        capacity=0.9,
        bounds=Timeouts(),
        clock=clock,
        halt=halt,
        random=Random(1),
        observer=observer,
    ) as api:

        async def send(apps: Sequence[AppId]) -> int:
            job = ListedJob(apps)
            run = Run(settings, [job], api=api, clock=clock, halt=halt, observer=observer)
            await run.execute()
            return sum(outcome.status is Status.CLONED for outcome in run.finish().outcomes)

        yield send


@asynccontextmanager
async def okta_sdk(url: str) -> AsyncIterator[Send]:
    """Okta's SDK with one session for all calls; without one it connects anew for each."""
    from okta.client import Client

    async with Client({"orgUrl": url, "token": TOKEN}) as sdk:

        async def clone(app: AppId) -> bool:
            answer: tuple[Any, Any, Any] = await sdk.clone_application_key(SOURCE, KID, app)
            key, _, error = answer
            return error is None and key.kid == KID

        yield lambda apps: share_out(apps, clone)


CLIENTS = {"raw aiohttp": raw_aiohttp, "engine": our_engine, "okta SDK": okta_sdk}


async def measure(client: str, url: str, calls: int) -> dict[str, float]:
    """Send the clones, and return what they cost.

    Raises:
        SystemExit: a clone did not succeed, so the figures would mean nothing.
    """
    async with CLIENTS[client](url) as send:
        await send(targets(WARM_UP_CALLS))
        before = cpu_seconds()
        cloned = await send(targets(calls))
        used = cpu_seconds() - before
    if cloned != calls:
        raise SystemExit(f"{client}: {cloned} of {calls} clones succeeded")
    return {"cpu_per_1000": 1000 * used / calls, "peak_mib": peak_mebibytes()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
