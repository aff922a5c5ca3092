"""An org that says yes to everything, over TLS, at the least cost: bytes in, bytes out.

It answers every POST as a clone into the target of its query, and every GET with the key. It counts
its window down, as an org does, from a limit that no run reaches. The sandbox would spend more than
the clients that are measured against it.

Usage: python -m bench.static_org CA_FILE. Prints its URL; ends when its standard input does, and
then prints what it used.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from email.utils import formatdate

import trustme

from bench.measure import cpu_seconds
from orchestrator.sandbox.mint import Mint

SOURCE = "0oa8ae1t5yev2ajDs0h7"
KID = "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"
TARGET = re.compile(rb"[?&]targetAid=(\w+)")
LIMIT = 1_000_000_000
WINDOW_SECONDS = 3600
END_OF_HEAD = b"\r\n\r\n"


def key_body() -> bytes:
    """Return the source's key as Okta writes it, about 2 KB with a real certificate."""
    mint = Mint(seed=0, name="bench", started_ms=1_700_000_000_000)
    return json.dumps(mint.material(KID).as_key(KID, "2023-11-14T22:13:20.000Z")).encode()


class StaticAnswers:
    """Answers that are made beforehand, but for what must differ."""

    def __init__(self) -> None:
        self.url = ""
        self.body = key_body()
        self.reset = int(time.time()) + WINDOW_SECONDS
        self.count = 0
        self.date = b""
        self.dated_until = 0.0

    def answer(self, head: bytes) -> bytes:
        """Return the answer to one request without a body."""
        self.count += 1
        return b"HTTP/1.1 %s\r\n%s%s\r\n%s" % (
            b"201 Created" if head.startswith(b"POST") else b"200 OK",
            self.common_headers(),
            self.location(head),
            self.body,
        )

    def common_headers(self) -> bytes:
        return (
            b"Date: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"X-Okta-Request-Id: bench%d\r\nX-Rate-Limit-Limit: %d\r\n"
            b"X-Rate-Limit-Remaining: %d\r\nX-Rate-Limit-Reset: %d\r\n"
        ) % (
            self.date_now(),
            len(self.body),
            self.count,
            LIMIT,
            LIMIT - self.count,
            self.reset,
        )

    def date_now(self) -> bytes:
        now = time.time()
        if now >= self.dated_until:
            self.date = formatdate(now, usegmt=True).encode()
            self.dated_until = int(now) + 1.0
        return self.date

    def location(self, head: bytes) -> bytes:
        target = TARGET.search(head)
        if target is None:
            return b""
        path = f"{self.url}/api/v1/apps/%b/credentials/keys/{KID}".encode()
        return b"Location: %s\r\n" % path.replace(b"%b", target[1])


class StaticOrg(asyncio.Protocol):
    """One connection. Requests must have no body, which is so for clones."""

    def __init__(self, answers: StaticAnswers) -> None:
        self.answers = answers
        self.transport: asyncio.Transport | None = None
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket's is one
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None  # noqa: S101 - asyncio connects first
        *heads, self.unread = (self.unread + data).split(END_OF_HEAD)
        for head in heads:
            self.transport.write(self.answers.answer(head))


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return a server's context for 127.0.0.1, and write the authority that vouches for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def serve(ca_file: str) -> None:
    """Answer until standard input ends."""
    answers = StaticAnswers()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: StaticOrg(answers), "127.0.0.1", 0, ssl=tls_context(ca_file)
    )
    answers.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"url": answers.url}), flush=True)
    before = cpu_seconds()
    await loop.run_in_executor(None, sys.stdin.read)
    used = cpu_seconds() - before
    print(json.dumps({"cpu_per_1000": 1000 * used / max(1, answers.count)}), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
