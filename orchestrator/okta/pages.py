"""Read a list of Okta's page by page: on its own path, never for ever, and not spoilt by one entry.

An entry that cannot be read, or whose id is none, is left out and counted: what holds for the other
two hundred of a page still holds. Whoever asks for the list is told how many there were.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from orchestrator.errors import Refused
from orchestrator.events import Noticed
from orchestrator.okta.call import Call
from orchestrator.okta.caps import LIST_BODY, LONGEST_TEXT, MOST_ENTRIES, MOST_PAGES
from orchestrator.okta.http import Transport
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import (
    CallTrace,
    Reply,
    is_identity,
    next_page,
    shortened,
)

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The entries of one page that can be used, and how many others it has."""

    entries: list[T]
    left_out: int = 0


def read_page(body: bytes, kind: type[T]) -> Page[T]:
    """Read a page of a list, every entry for itself where one of them is odd.

    Raises:
        ValueError: it is no list in JSON.
    """
    try:
        found: list[T] = decode(body, list[kind])  # type: ignore[valid-type]
        total = len(found)
    except msgspec.DecodeError:
        pieces = decode(body, list[msgspec.Raw])
        total = len(pieces)
        found = [entry for piece in pieces if (entry := read_entry(bytes(piece), kind)) is not None]
    entries = [fit for entry in found if (fit := fitting(entry)) is not None]
    return Page(entries, total - len(entries))


def read_entry(piece: bytes, kind: type[T]) -> T | None:
    """Return one entry, or None where it cannot be read."""
    try:
        return decode(piece, kind)
    except ValueError:
        return None


def fitting(entry: T) -> T | None:
    """Return an entry with nothing endless in it; None where its id, if it has any, is none.

    A kid is no text for people: a part of it would be another kid.
    """
    identity = getattr(entry, "id", None)
    if isinstance(identity, str) and not is_identity(identity):
        return None
    kid = getattr(entry, "active_kid", None)
    if isinstance(kid, str) and len(kid) > LONGEST_TEXT:
        return None
    texts = ((name, getattr(entry, name)) for name in entry.__struct_fields__)
    long = {
        name: shortened(text)
        for name, text in texts
        if isinstance(text, str) and len(text) > LONGEST_TEXT
    }
    return msgspec.structs.replace(entry, **long) if long else entry


async def pages(
    transport: Transport,
    root: str,
    query: Mapping[str, str],
    bucket: Bucket,
    kind: type[T],
    trace: CallTrace,
) -> AsyncIterator[list[T]]:
    """Yield the pages of a list, one call each, following the org's links by path alone.

    Raises:
        Refused: the org refuses a page, links to anything but this list or to a page that was read
            before, or the list has no end.
    """
    path = f"{root}?{urlencode(query, quote_via=quote)}"
    seen = {path}
    listed = left_out = 0
    while True:
        reply = await get_page(transport, root, path, bucket, kind, trace)
        if reply.refusal:
            text = f"the org does not answer GET {root}: {reply.refusal}"
            raise Refused(text, call=f"GET {root}", filter=query.get("filter"))
        page = reply.value or Page([])
        left_out += page.left_out
        listed += len(page.entries)
        yield page.entries
        following = following_page(reply.link, root)
        if following is None:
            break
        if following in seen:
            raise Refused(f"the org's list {root} leads back to a page that was read before")
        if len(seen) >= MOST_PAGES or listed >= MOST_ENTRIES:
            raise Refused(
                f"the org's list {root} does not end: {listed} entries on {len(seen)} pages"
            )
        seen.add(path := following)
    if left_out:
        transport.observer.notify(Noticed(text=left_out_text(root, left_out)))


async def get_page(
    transport: Transport, root: str, path: str, bucket: Bucket, kind: type[T], trace: CallTrace
) -> Reply[Page[T]]:
    """Ask for one page."""
    call: Call[Page[T]] = Call(
        method="GET",
        template=root,
        path=path,
        bucket=bucket,
        kind=Page,
        reader=partial(read_page, kind=kind),
        most_bytes=LIST_BODY,
    )
    return await transport.send(call, trace)


def following_page(link: tuple[str, ...], root: str) -> str | None:
    """Return the path of the next page, or None on the last.

    Raises:
        Refused: the org links to something else.
    """
    try:
        return next_page(link, root)
    except ValueError as error:
        raise Refused(f"the org's list leads elsewhere: {error}") from error


def left_out_text(root: str, count: int) -> str:
    entries = "1 entry" if count == 1 else f"{count} entries"
    return f"the org's list {root} has {entries} that cannot be read, which {left_out_verb(count)}"


def left_out_verb(count: int) -> str:
    return "is left out" if count == 1 else "are left out"
