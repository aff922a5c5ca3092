"""A server that notes requests byte for byte and answers from a script, and our client for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random

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

TOKEN = "00sandboxOfTheConformanceTests"
HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """One answer to give."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the whole answer; one connection carries one exchange."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "Connection: close"]
        return "\r\n".join(lines).encode() + HEAD_END + self.body


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request as it came over the wire."""

    head: str
    after_head: bytes  # what came with the head behind the empty line

    @property
    def line(self) -> str:
        return self.head.split("\r\n")[0]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers, names in lower case, in the order they were sent."""
        pairs = (line.split(": ", 1) for line in self.head.split("\r\n")[1:])
        return [(name.lower(), value) for name, value in pairs]

    def values_of(self, header: str) -> list[str]:
        return [value for name, value in self.headers if name == header]


@dataclass(slots=True)
class RawServer:
    """Notes every request and gives the next answer of the script."""

    script: list[Scripted]
    url: str = ""
    requests: list[RawRequest] = field(default_factory=list)

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received = b""
            while HEAD_END not in received:
                piece = await reader.read(65536)
                if not piece:
                    return
                received += piece
            head, _, rest = received.partition(HEAD_END)
            self.requests.append(RawRequest(head.decode("ascii"), rest))
            writer.write(self.script.pop(0).encode())
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def raw_server(script: Iterable[Scripted]) -> AsyncIterator[RawServer]:
    """Serve the answers, one a request; a request beyond the script gets none."""
    raw = RawServer(list(script))
    server = await asyncio.start_server(raw.serve_one, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    raw.url = f"http://{host}:{port}"
    async with server:
        yield raw


@asynccontextmanager
async def our_client(url: str, token: str = TOKEN) -> AsyncIterator[OktaApi]:
    """Open our client as the command line does; it gives up at the first failed attempt."""
    async with open_api(
        OrgAccess(url=url, credential=ApiToken(token=Secret(token))),
        capacity=1.0,
        bounds=Timeouts(),
        clock=SystemClock(),
        halt=Halt(),
        random=Random(0),
        observer=Broadcast(),
        retry=RetryPolicy(attempts=1, rate_refusals=1),
    ) as api:
        yield api
