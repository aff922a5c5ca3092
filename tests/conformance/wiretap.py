"""A wiretap: it stands between a client and the sandbox, passes all on, and keeps what it saw."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = ("Host", "Connection", "Keep-Alive", "Transfer-Encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer."""

    method: str
    url: URL  # path and query, encoded as sent
    sent_headers: CIMultiDictProxy[str]
    sent: bytes
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes  # decompressed

    def __str__(self) -> str:
        return f"{self.method} {self.url} -> {self.status}"


@dataclass(slots=True)
class Wiretap:
    """Passes requests on and keeps every exchange, in order."""

    upstream: str
    session: aiohttp.ClientSession
    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        sent = await request.read()
        async with self.session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            headers=without_hops(request.headers),
            data=sent or None,
            allow_redirects=False,
        ) as answer:
            wire = await answer.read()
        compressed = answer.headers.get("Content-Encoding") == "gzip"
        self.exchanges.append(
            Exchange(
                method=request.method,
                url=URL(request.raw_path, encoded=True),
                sent_headers=request.headers,
                sent=sent,
                status=answer.status,
                headers=answer.headers,
                body=gzip.decompress(wire) if compressed else wire,
            )
        )
        return web.Response(status=answer.status, headers=without_hops(answer.headers), body=wire)


def without_hops(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that are meant for the far end."""
    kept = CIMultiDict(headers)
    for name in HOP_BY_HOP:
        kept.popall(name, None)
    return kept


@asynccontextmanager
async def wiretap(upstream: str) -> AsyncIterator[Wiretap]:
    """Listen in front of `upstream` until the block ends; adds no header of its own."""
    async with aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as session:
        tap = Wiretap(upstream, session)
        runner = web.ServerRunner(
            web.Server(tap.handle, access_log=None, auto_decompress=False), shutdown_timeout=0.05
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            tap.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield tap
        finally:
            await runner.cleanup()
