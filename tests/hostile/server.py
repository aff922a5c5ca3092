"""A server that does anything to whoever calls it, and a bystander that must never be called."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HEAD_END = b"\r\n\r\n"
MEBIBYTE = 1024 * 1024
ENDLESS = 10 * 1024 * MEBIBYTE  # 10 GB: nobody waits for the end of it

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    head: str

    @property
    def line(self) -> str:
        """Return method and target."""
        return self.head.split("\r\n")[0].rsplit(" ", 1)[0]

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


@dataclass(slots=True)
class Wire:
    """The way back to the caller; counts what went out."""

    writer: asyncio.StreamWriter
    sent: int = 0

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()

    async def head(
        self, status: int | str, headers: Headers = (), *, length: int | None = None
    ) -> None:
        """Send a status line and headers; without a length, the body is whatever comes."""
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.write("\r\n".join(lines).encode("utf-8", "surrogateescape") + HEAD_END)

    async def answer(self, status: int, body: object = b"", headers: Headers = ()) -> None:
        """Send a whole answer; a body that is not bytes goes out as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.head(status, [*headers, ("Connection", "close")], length=len(data))
        await self.write(data)

    async def chunks(self, pieces: Iterable[bytes]) -> None:
        """Send pieces of a chunked body, without its end."""
        for piece in pieces:
            await self.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def reset(self) -> None:
        """Cut the connection with a RST, so that what was sent last may be lost."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Act = Callable[[Asked, Wire], Awaitable[None]]


@dataclass(slots=True)
class Hostile:
    """What the server has seen and sent."""

    act: Act
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Return the bytes that the callers have taken, or the kernel for them."""
        return sum(wire.sent for wire in self.wires)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(writer)
        self.wires.append(wire)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(HEAD_END)).decode("latin-1")
            asked = Asked(head.removesuffix("\r\n\r\n"))
            self.asked.append(asked)
            await self.act(asked, wire)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@asynccontextmanager
async def hostile(act: Act, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hostile]:
    """Serve, one request a connection."""
    server = Hostile(act)
    async with listening(server.serve, tls=tls) as port:
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield server


@dataclass(slots=True)
class Bystander:
    """A server of somebody else's: whatever reaches it is a leak."""

    url: str = ""
    heard: list[bytes] = field(default_factory=list)  # a connection counts, without a byte too

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(self.heard)
        self.heard.append(b"")
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                self.heard[place] += piece
                writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()


@asynccontextmanager
async def bystander() -> AsyncIterator[Bystander]:
    other = Bystander()
    async with listening(other.serve) as port:
        other.url = f"http://127.0.0.1:{port}"
        yield other


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listen on a port of loopback, and end what is still being served at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bomb(container: str) -> tuple[bytes, bytes]:
    """Return the begin of a bomb, and a piece that is a mebibyte of zeros as often as it is sent.

    After a full flush a piece of a deflate stream refers to nothing before it.
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = squeeze.compress(bytes(MEBIBYTE)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    begin = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" if container == "gzip" else b"\x78\x9c"
    return begin, piece
