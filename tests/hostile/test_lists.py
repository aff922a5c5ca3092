"""Lists that do not end, lead elsewhere, or hold something odd among what is sound."""

from __future__ import annotations

import time
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.errors import Refused
from orchestrator.events import Noticed
from orchestrator.okta.caps import LONGEST_TEXT, MOST_ENTRIES, MOST_OBJECTS, MOST_PAGES
from orchestrator.okta.objects import LogEvent
from orchestrator.okta.pages import read_page
from orchestrator.okta.wire import Application, CallTrace, next_page
from tests.hostile.caller import TOKEN, Told, all_said, caller
from tests.hostile.deeds import says
from tests.hostile.server import Act, Asked, Hostile, Wire, bystander, hostile

APPS = "/api/v1/apps"
SOUND: list[dict[str, Any]] = [{"id": f"0oaSound{number}", "label": "Fin"} for number in range(3)]


def links_to(*urls: str, body: object = SOUND) -> Act:
    """Answer with a page that links to the urls as the next, `{self}` being the server's own."""

    async def act(asked: Asked, wire: Wire) -> None:
        host = next(line for line in asked.head.split("\r\n") if line.lower().startswith("host:"))
        own = f"http://{host.split(': ')[1]}"
        link = [("Link", f'<{url.replace("{self}", own)}>; rel="next"') for url in urls]
        await wire.answer(200, body, link if len(asked.line) < 60 else [])

    return act


async def read(org: Hostile, told: Told | None = None) -> list[str]:
    async with caller(org.url, told=told) as api:
        return [app.id async for app in api.list_apps(CallTrace())]


@pytest.mark.parametrize(
    "link",
    [
        "{other}/api/v1/apps?after=abc&limit=200&more=123456789012345678901234567890",
        "//{netloc}/api/v1/apps?after=abc&limit=200&more=123456789012345678901234567890",
        "https://user:secret@{netloc}/api/v1/apps?after=abc&limit=200&m=123456789012345678901234",
        "ftp://{netloc}:1/api/v1/apps?after=abc&limit=200&m=123456789012345678901234567890",
        "http://[::1]:1/api/v1/apps?after=abc&limit=200&m=123456789012345678901234567890",
    ],
)
async def test_a_page_of_another_host_is_asked_of_our_own(link: str) -> None:
    """Okta writes its canonical host into links, so that another host is nothing wrong."""
    async with bystander() as other:
        url = link.format(other=other.url, netloc=urlsplit(other.url).netloc)
        async with hostile(links_to(url)) as org:
            assert len(await read(org)) == 6
    assert other.heard == []
    second = org.asked[1]
    assert second.target.startswith("/api/v1/apps?after=abc&limit=200&m")
    assert "secret" not in second.head


@pytest.mark.parametrize(
    "link",
    [
        "{other}/api/v1/users?after=abc",
        "{other}",
        "{other}/api/v1/apps/",
        "{other}//api/v1/apps?after=abc",
        "{other}/api/v1/apps/../users?after=abc",
        "{other}/api/v1/apps/%2e%2e/users?after=abc",
        "{other}/api/v1/%61pps?after=abc",
        "\\\\{netloc}\\api\\v1\\apps?after=abc",
        "/\\{netloc}/api/v1/apps?after=abc",
        "http:\\\\{netloc}/api/v1/apps?after=abc",
        "javascript:alert(1)",
        "{other}/api/v1/apps;x?after=abc",
        "http://[/api/v1/apps?after=abc",
        "{self}/api/v1/apps?after=a b",
        "{self}/api/v1/apps?after=a\\b",
        "{self}/api/v1/apps?after=\udcff\udcfe",
        "{self}/api/v1/apps?after=é",
        "{self}/api/v1/apps?after=a\tHTTP/1.1 x",
        f"{{self}}/api/v1/apps?after={'x' * 5000}",
    ],
)
async def test_a_page_of_anything_but_the_list_is_not_asked_for(link: str) -> None:
    async with bystander() as other:
        url = link.replace("{other}", other.url).replace("{netloc}", urlsplit(other.url).netloc)
        async with hostile(links_to(url)) as org:
            with pytest.raises(Refused, match="the org's list leads elsewhere") as caught:
                await read(org)
    assert other.heard == []
    assert len(org.asked) == 1
    assert TOKEN not in all_said(caught.value)


async def test_a_list_that_leads_back_to_itself_ends() -> None:
    async def in_circles(asked: Asked, wire: Wire) -> None:
        following = "b" if "after=a" in asked.target else "a"
        await wire.answer(200, SOUND, [("Link", f'<{APPS}?after={following}>; rel="next"')])

    async with hostile(in_circles) as org:
        with pytest.raises(Refused, match="leads back to a page that was read before"):
            await read(org)
    assert len(org.asked) == 3


def without_end(body: bytes) -> Act:
    pages = count()

    async def act(_: Asked, wire: Wire) -> None:
        link = f'<{APPS}?after=p{next(pages)}>; rel="next"'.encode()
        head = b"HTTP/1.1 200 X\r\nLink: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        await wire.write(head % (link, len(body)) + body)

    return act


@pytest.mark.long
async def test_a_list_without_end_ends_by_its_pages() -> None:
    async with hostile(without_end(b"[]")) as org:
        with pytest.raises(Refused, match=f"does not end: 0 entries on {MOST_PAGES} pages"):
            await read(org)
    assert len(org.asked) == MOST_PAGES


@pytest.mark.long
async def test_a_list_without_end_ends_by_its_entries() -> None:
    many = b"[%s]" % b",".join([b'{"id":"a"}'] * (MOST_OBJECTS - 1))
    async with hostile(without_end(many)) as org:
        with pytest.raises(Refused, match="does not end"):
            await read(org)
    assert len(org.asked) == MOST_ENTRIES // (MOST_OBJECTS - 1) + 1


@pytest.mark.parametrize(
    "odd",
    [
        b'{"id":"../../etc/passwd"}',
        b'{"id":".."}',
        b'{"id":"a/b"}',
        b'{"id":"a\\u0000"}',
        b'{"id":"a\\r\\nX: y"}',
        b'{"id":""}',
        b'{"id":"' + b"x" * 129 + b'"}',
        b'{"id":7}',
        b'{"id":null}',
        b'{"label":"no id"}',
        b'{"id":"a","label":7}',
        b'{"id":"a","label":"\xff\xfe"}',
        b'{"id":"a","credentials":"none"}',
        b'{"id":"a","credentials":{"signing":{"kid":"' + b"k" * 1001 + b'"}}}',
        b"[]",
        b"null",
        b"7",
    ],
)
async def test_one_odd_entry_is_left_out_and_told(odd: bytes) -> None:
    told = Told()
    page = b'[{"id":"0oaSound0"},%s,{"id":"0oaSound1"}]' % odd
    async with hostile(says(200, page)) as org:
        assert await read(org, told) == ["0oaSound0", "0oaSound1"]
    assert told.events == [
        Noticed(
            text="the org's list /api/v1/apps has 1 entry that cannot be read, which is left out"
        )
    ]


async def test_a_sound_list_is_told_nothing_of() -> None:
    told = Told()
    async with hostile(says(200, SOUND)) as org:
        assert len(await read(org, told)) == 3
    assert told.events == []


@pytest.mark.parametrize(
    ("entry", "label"),
    [
        (b'{"id":"a","label":"' + b"x" * 300_000 + b'"}', "x" * LONGEST_TEXT + "..."),
        (b'{"id":"a","label":"\\ud800 half"}', "? half"),
        (b'{"id":"a","label":"\\u001b[31m\\u202e"}', "\x1b[31m\u202e"),  # escaped when printed
        (b'{"id":"b","id":"a","label":"1","label":"2"}', "2"),
        (b'{"id":"a","label":"l","n":1e999,"m":%s}' % (b"9" * 100_000), "l"),
        (b'{"id":"a","label":"l","credentials":{"signing":{"kid":"test key ID"}}}', "l"),
    ],
)
def test_what_is_odd_but_harmless_is_kept(entry: bytes, label: str) -> None:
    [app] = read_page(b"[" + entry + b"]", Application).entries
    assert (app.id, app.label) == ("a", label)


def test_events_have_no_ids_to_be_odd() -> None:
    page = read_page(b'[{"uuid":"../x","published":7},{"uuid":"../x"}]', LogEvent)
    assert page.entries == [LogEvent(uuid="../x")]
    assert page.left_out == 1


@pytest.mark.parametrize(
    "body",
    [b"[" + b"{}," * MOST_OBJECTS + b"{}]", b"[" * 100_000, b"{}", b"[NaN]", b"\xef\xbb\xbf"],
)
def test_what_is_no_page_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller looks at nothing else
        read_page(body, LogEvent)


@pytest.mark.parametrize("piece", ["<>;", "<a;", "<>;x=,", "<>; rel=", "<"])
def test_no_link_takes_long_to_read(piece: str) -> None:
    """As many headers as may come, in which every start of a link could run to the very end."""
    began = time.process_time()
    assert next_page([piece * (8_000 // len(piece))] * 120, APPS) is None
    assert time.process_time() - began < 2.0
