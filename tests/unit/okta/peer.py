"""An org that answers from a script and notes what it was asked, and our client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.okta.retry import RetryPolicy
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess

TOKEN = "00tokenOfTheTests"
FEW_ATTEMPTS = RetryPolicy(attempts=3, rate_refusals=3, first_wait=0.01, longest_wait=0.02)
SHORT = Timeouts(connect=2.0, read=0.3, whole=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """An answer; a body that is not bytes goes out as JSON."""

    status: int = 200
    body: object = b""
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Breaks:
    """The connection is closed instead of an answer."""


@dataclass(frozen=True, slots=True)
class Hangs:
    """There is no answer."""


Step = Says | Breaks | Hangs


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived."""

    method: str
    target: str  # path and query, as sent
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Peer:
    """The scripted org. A request beyond the script meets the last step again."""

    script: list[Step]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(Asked(request.method, request.raw_path, request.headers, body))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Hangs):
            await asyncio.sleep(60)
        if not isinstance(step, Says):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        answer = step.body if isinstance(step.body, bytes) else msgspec.json.encode(step.body)
        return web.Response(status=step.status, body=answer, headers=CIMultiDict(step.headers))

    @property
    def lines(self) -> list[str]:
        """Return method and target of every request."""
        return [str(request) for request in self.asked]


@asynccontextmanager
async def peer(*script: Step) -> AsyncIterator[Peer]:
    """Serve the script."""
    org = Peer(list(script))
    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", org.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        org.url = f"http://{host}:{port}"
        yield org
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(
    url: str,
    *,
    halt: Halt | None = None,
    retry: RetryPolicy = FEW_ATTEMPTS,
    token: str = TOKEN,
    capacity: float = 1.0,
) -> AsyncIterator[OktaApi]:
    """Open our client as the command line does, with little patience."""
    async with open_api(
        OrgAccess(url=url, credential=ApiToken(token=Secret(token))),
        capacity=capacity,
        bounds=SHORT,
        clock=SystemClock(),
        halt=halt or Halt(),
        random=Random(0),
        observer=Broadcast(),
        retry=retry,
    ) as api:
        yield api
