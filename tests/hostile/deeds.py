"""What a hostile server does with one request. `ALL` is every deed by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count, repeat
from typing import Any

from tests.hostile.server import ENDLESS, MEBIBYTE, Act, Asked, Headers, Wire, bomb

KEY: dict[str, Any] = {"kid": "w__Yr9AElCftDtLP5Cmj", "x5c": [], "id": "0oa1"}
JSON: Headers = [("Content-Type", "application/json")]
CHUNKED: Headers = [("Transfer-Encoding", "chunked")]
YEAR = 31_536_000


def says(status: int, body: object = b"", headers: Headers = ()) -> Act:
    """Give one and the same answer."""

    async def act(_: Asked, wire: Wire) -> None:
        await wire.answer(status, body, headers)

    return act


def redirects(status: int, to: str) -> Act:
    return says(status, headers=[("Location", f"{to}/api/v1/apps/0oa1")])


def endless_body(status: int = 200) -> Act:
    async def act(_: Asked, wire: Wire) -> None:
        await wire.head(status, [*JSON, *CHUNKED])
        await wire.chunks(repeat(b" " * MEBIBYTE, ENDLESS // MEBIBYTE))

    return act


async def endless_without_length(_: Asked, wire: Wire) -> None:
    await wire.head(200, [*JSON, ("Connection", "close")])
    for _each in range(ENDLESS // MEBIBYTE):
        await wire.write(b" " * MEBIBYTE)


async def announced_10_gb(_: Asked, wire: Wire) -> None:
    await wire.head(200, JSON, length=ENDLESS)
    for _each in range(ENDLESS // MEBIBYTE):
        await wire.write(b" " * MEBIBYTE)


def bombs(container: str, status: int = 200, *, length: int | None = None) -> Act:
    """Send 10 GB of zeros as 10 MB; with a length, what is announced is small."""

    async def act(_: Asked, wire: Wire) -> None:
        begin, piece = bomb(container)
        encoded = ("Content-Encoding", container)
        if length is not None:
            await wire.head(status, [*JSON, encoded], length=length)
            await wire.write((begin + piece * 64)[:length])
            return
        await wire.head(status, [*JSON, *CHUNKED, encoded])
        await wire.chunks([begin])
        await wire.chunks(repeat(piece * 8, ENDLESS // MEBIBYTE // 8))

    return act


def encoded_as(encoding: str) -> Act:
    """Claim an encoding that the body has not."""
    return says(200, KEY, [*JSON, ("Content-Encoding", encoding)])


async def header_flood(_: Asked, wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 X\r\n")
    for number in count():
        await wire.write(b"X-%d: %s\r\n" % (number, b"y" * 4000))


async def header_without_end(_: Asked, wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 X\r\nX: ")
    while True:
        await wire.write(b"y" * 65536)


async def cookie_flood(_: Asked, wire: Wire) -> None:
    await wire.answer(200, KEY, [("Set-Cookie", f"c{n}={'v' * 4000}; Path=/") for n in range(120)])


async def interim_flood(_: Asked, wire: Wire) -> None:
    while True:
        await wire.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


async def trailer_flood(_: Asked, wire: Wire) -> None:
    await wire.head(200, [*JSON, *CHUNKED])
    await wire.write(b"2\r\n{}\r\n0\r\n")
    for number in count():
        await wire.write(b"X-%d: %s\r\n" % (number, b"y" * 4000))


async def chunk_extension(_: Asked, wire: Wire) -> None:
    await wire.head(200, [*JSON, *CHUNKED])
    await wire.write(b"2;x=")
    while True:
        await wire.write(b"y" * 65536)


async def drip_of_headers(_: Asked, wire: Wire) -> None:
    await wire.write(b"HTTP/1.1 200 X\r\nX: ")
    while True:
        await wire.write(b"y")
        await asyncio.sleep(0.05)


async def drip_of_body(_: Asked, wire: Wire) -> None:
    await wire.head(200, JSON, length=MEBIBYTE // 8)
    while True:
        await wire.write(b" ")
        await asyncio.sleep(0.05)


async def silence(_: Asked, wire: Wire) -> None:
    await wire.write(b"")
    await asyncio.sleep(60)


async def no_http(_: Asked, wire: Wire) -> None:
    await wire.write(b"<html>an answer of HTTP/0.9</html>\r\n\r\n")


async def noise(_: Asked, wire: Wire) -> None:
    await wire.write(bytes(range(256)) * 300)


async def reset_within_body(_: Asked, wire: Wire) -> None:
    await wire.head(200, JSON, length=1000)
    await wire.write(b'{"kid":')
    wire.reset()


async def too_short(_: Asked, wire: Wire) -> None:
    await wire.head(200, JSON, length=1000)
    await wire.write(b'{"kid":"w__Yr9AElCftDtLP5Cmj"}')


def raw(head: bytes, body: bytes) -> Act:
    async def act(_: Asked, wire: Wire) -> None:
        await wire.write(b"HTTP/1.1 200 X\r\n" + head + b"\r\n\r\n" + body)

    return act


async def length_and_chunks(_: Asked, wire: Wire) -> None:
    """A length that is small, and a body that has no end: two readers may believe either."""
    await wire.head(200, [*JSON, ("Content-Length", "2"), *CHUNKED])
    await wire.chunks(repeat(b" " * MEBIBYTE, ENDLESS // MEBIBYTE))


def nested(depth: int) -> bytes:
    return b'{"kid":"a","id":"0oa1","z":' + b"[" * depth + b"]" * depth + b"}"


# Those that end by what is read of the answer itself, in a moment
QUICK: dict[str, Act] = {
    "endless body": endless_body(),
    "endless body of an error": endless_body(400),
    "endless body of a refusal": endless_body(403),
    "endless body without a length": endless_without_length,
    "body of 10 GB announced": announced_10_gb,
    "gzip bomb": bombs("gzip"),
    "deflate bomb": bombs("deflate"),
    "gzip bomb of an error": bombs("gzip", 500),
    "gzip bomb with a small length": bombs("gzip", length=40_000),
    "br that is none": encoded_as("br"),
    "zstd that is none": encoded_as("zstd"),
    "gzip that is none": encoded_as("gzip"),
    "gzip in gzip": encoded_as("gzip, gzip"),
    "header flood": header_flood,
    "header without end": header_without_end,
    "trailer flood": trailer_flood,
    "no http": no_http,
    "noise": noise,
    "reset within the body": reset_within_body,
    "shorter than announced": too_short,
    "invalid UTF-8": says(200, b'{"kid":"\xff\xfe"}', JSON),
    "UTF-16": says(200, '{"kid":"a"}'.encode("utf-16"), JSON),
    "nested 100 000 deep": says(200, nested(100_000), JSON),
    "error nested 100 000 deep": says(400, nested(100_000), JSON),
    "not a number": says(200, b'{"kid":"a","id":"0oa1","n":NaN}', JSON),
    "a list for an object": says(200, [KEY], JSON),
    "two lengths": raw(b"Content-Length: 5\r\nContent-Length: 50", b'{"a":1}'),
    "negative length": raw(b"Content-Length: -1", b"{}"),
    "endless length": raw(b"Content-Length: " + b"9" * 40, b"{}"),
    "length and chunks": length_and_chunks,
    "header with a NUL": raw(b"X: a\x00b\r\nContent-Length: 2", b"{}"),
    "html for an error": says(502, b"<html>" + b"x" * 100_000, [("Content-Type", "text/html")]),
    "retry after a year": says(503, {}, [("Retry-After", str(YEAR))]),
    "limited for a year": says(
        429, {"errorCode": "E0000047"}, [("Retry-After", f"{YEAR}{'0' * 500}")]
    ),
}

# Those that only a time-out ends
SLOW: dict[str, Act] = {
    "flood of interim answers": interim_flood,
    "chunk extension without end": chunk_extension,
    "drip of headers": drip_of_headers,
    "drip of the body": drip_of_body,
    "silence": silence,
}

ALL = QUICK | SLOW

By = Callable[[str], Act]  # what needs the address of the bystander
ELSEWHERE: dict[str, By] = {
    **{f"redirect {status}": lambda to, status=status: redirects(status, to)  # type: ignore[misc]
       for status in (300, 301, 302, 303, 305, 307, 308)},
    "redirect without a scheme": lambda to: redirects(302, to.removeprefix("http:")),
    "redirect by Refresh": lambda to: says(200, b"<html>", [("Refresh", f"0;url={to}")]),
    "401 with a realm elsewhere": lambda to: says(
        401, b"", [("WWW-Authenticate", f'Bearer authorization_uri="{to}/oauth2/v1/authorize"')]
    ),
    "alternative service": lambda to: says(
        500, {}, [("Alt-Svc", f'h2="{to.removeprefix("http://")}"; ma=86400')]
    ),
}  # fmt: skip
