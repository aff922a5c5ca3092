"""Whatever a server answers, a call ends soon, as a reply or an error of ours without a secret."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

import pytest
import trustme

from orchestrator.errors import (
    AccessError,
    CallError,
    NoAnswer,
    OrchestratorError,
    Refused,
    TokenRejected,
)
from orchestrator.model import AppId, KeyRef, Kid, Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.caps import ERROR_BODY, KEY_BODY, LIST_BODY, SIGNER_BODY
from orchestrator.okta.retry import RetryPolicy
from orchestrator.okta.wire import CallTrace
from tests.hostile.caller import TOKEN, TWICE, all_said, caller
from tests.hostile.deeds import ALL, ELSEWHERE, KEY, QUICK, SLOW, bombs, endless_body, says
from tests.hostile.server import ENDLESS, Act, Asked, Wire, bystander, hostile

APP = AppId("0oa1")
REF = KeyRef(app=AppId("0oaSource"), kid=Kid("w__Yr9AElCftDtLP5Cmj"))
SOON = 6.0  # seconds; two attempts of 0.6 at most, on a busy machine
BUSY = {"flood of interim answers", "chunk extension without end"}  # for as long as they may be
IN_SOCKETS = 12 * 1024 * 1024  # bytes that the two kernels' buffers may have taken besides

Send = Callable[[OktaApi], Awaitable[object]]


async def listed(api: OktaApi) -> list[str]:
    return [app.id async for app in api.list_apps(CallTrace())]


CALLS: dict[str, Send] = {
    "clone": lambda api: api.clone_key(REF, APP, CallTrace()),
    "app": lambda api: api.get_signer(APP, CallTrace()),
    "list": listed,
    "metadata": lambda api: api.get_metadata(APP, REF.kid, CallTrace()),
    "put": lambda api: api.put_signer(APP, b'{"id":"0oa1"}', CallTrace()),
    "org": lambda api: api.organization(CallTrace()),
}


async def ended(url: str, send: Send, *, retry: RetryPolicy = TWICE) -> tuple[object, float]:
    """Send a call, and return its value or our error, and how long it took."""
    began = time.monotonic()
    async with caller(url, retry=retry) as api, asyncio.timeout(30):
        try:
            result: object = await send(api)
        except OrchestratorError as error:
            result = error
    return result, time.monotonic() - began


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.long) if each in BUSY else each for each in ALL]
)
async def test_a_clone_ends_soon_and_clearly(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with hostile(ALL[name]) as org:
        result, seconds = await ended(org.url, CALLS["clone"])
    assert seconds < SOON
    assert 1 <= len(org.asked) <= 2
    assert org.sent < 2 * (KEY_BODY + IN_SOCKETS) or name in SLOW
    if isinstance(result, OrchestratorError):
        assert isinstance(result, CallError | AccessError)
        assert TOKEN not in all_said(result)
    assert TOKEN not in caplog.text
    assert all(TOKEN in asked.head for asked in org.asked), "it is heard where it belongs"


@pytest.mark.long
@pytest.mark.parametrize("send", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("deed", ALL.values(), ids=ALL)
async def test_any_call_ends_soon_and_clearly(deed: Act, send: Send) -> None:
    async with hostile(deed) as org:
        result, seconds = await ended(org.url, send)
    assert seconds < SOON
    assert org.sent < 2 * (LIST_BODY + IN_SOCKETS) or deed in SLOW.values()
    if isinstance(result, OrchestratorError):
        assert TOKEN not in all_said(result)


@pytest.mark.parametrize("deed", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_what_points_elsewhere_is_never_called(deed: Callable[[str], Act]) -> None:
    async with bystander() as other, hostile(deed(other.url)) as org:
        for name in ("clone", "list"):
            result, _ = await ended(org.url, CALLS[name])
            assert isinstance(result, Refused | NoAnswer | TokenRejected), result
            assert TOKEN not in all_said(result)
    assert other.heard == []
    assert {asked.target.split("?")[0] for asked in org.asked} == {
        "/api/v1/apps/0oaSource/credentials/keys/w__Yr9AElCftDtLP5Cmj/clone",
        "/api/v1/apps",
    }


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_told_as_one_whatever_body_it_has(status: int) -> None:
    async with hostile(endless_body(status)) as org:
        result, _ = await ended(org.url, CALLS["app"])
    assert isinstance(result, Refused)
    assert f"redirect ({status})" in result.message
    assert len(org.asked) == 1


@pytest.mark.parametrize(("status", "kind"), [(401, TokenRejected), (302, Refused)])
async def test_a_status_is_heeded_though_its_body_is_a_bomb(status: int, kind: type) -> None:
    async with hostile(bombs("gzip", status)) as org:
        result, _ = await ended(org.url, CALLS["app"])
    assert isinstance(result, kind)
    assert len(org.asked) == 1


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("clone", KEY_BODY),
        ("app", SIGNER_BODY),
        pytest.param("list", LIST_BODY, marks=pytest.mark.long),
        ("org", KEY_BODY),
    ],
)
async def test_no_more_is_read_than_such_an_answer_may_have(name: str, most: int) -> None:
    async with hostile(says(200, b" " * (most + 1))) as org:
        result, _ = await ended(org.url, CALLS[name])
    assert isinstance(result, NoAnswer)
    assert f"the answer is larger than {most} bytes" in result.message
    async with hostile(says(200, b" " * most)) as org:
        result, _ = await ended(org.url, CALLS[name])
    assert isinstance(result, NoAnswer)
    assert "with a body that cannot be read" in result.message


async def test_what_is_announced_as_too_large_is_not_waited_for() -> None:
    async def announce(_: Asked, wire: Wire) -> None:
        await wire.head(200, length=ENDLESS)
        await asyncio.sleep(60)

    async with hostile(announce) as org:
        result, _ = await ended(org.url, CALLS["clone"])
    assert isinstance(result, NoAnswer)
    assert f"the answer is larger than {KEY_BODY} bytes" in result.message


async def test_an_error_is_read_as_far_as_its_cap() -> None:
    error = b'{"errorCode":"E0000003","errorSummary":"no"}'
    async with hostile(says(400, error.ljust(ERROR_BODY + 1))) as org:
        result, _ = await ended(org.url, CALLS["app"])
    assert getattr(result, "refusal", None) is not None, "the object itself was whole"
    async with hostile(says(400, error.rjust(ERROR_BODY + 1))) as org:
        result, _ = await ended(org.url, CALLS["app"])
    assert isinstance(result, NoAnswer)


@pytest.mark.parametrize("deed", ["retry after a year", "limited for a year"])
async def test_nobody_waits_for_a_year(deed: str) -> None:
    async with hostile(QUICK[deed]) as org:
        result, seconds = await ended(org.url, CALLS["clone"])
    assert isinstance(result, NoAnswer)
    assert len(org.asked) == 2
    assert seconds < SOON


async def test_a_bare_key_is_still_read_among_floods_of_cookies() -> None:
    cookies = [("Set-Cookie", f"c{number}={'v' * 4000}") for number in range(120)]
    async with hostile(says(201, KEY, cookies)) as org, caller(org.url) as api:
        for _ in range(2):
            reply = await api.clone_key(REF, APP, CallTrace())
            assert reply.value is not None
    assert not any("Cookie" in asked.head for asked in org.asked), "none is kept"


async def test_another_certificate_hears_no_token() -> None:
    """Someone between us and the org has a certificate that nobody has signed for them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with hostile(says(200, KEY), tls=context) as org:
        result, _ = await ended(org.url, CALLS["clone"])
    assert isinstance(result, NoAnswer)
    assert "is not trusted" in result.message
    assert org.asked == []


@pytest.mark.parametrize("identity", ["..", ".", "", "a/b", "a?b", "a b", "é", "x" * 129, "a\r\nb"])
async def test_an_id_that_is_none_is_never_asked_about(identity: str) -> None:
    odd, kid = AppId(identity), Kid(identity)
    async with hostile(says(200, KEY)) as org, caller(org.url) as api:
        for send in (
            api.get_signer(odd, CallTrace()),
            api.list_keys(odd, CallTrace(), resource=Resource.IDP),
            api.clone_key(REF, odd, CallTrace()),
            api.get_key(KeyRef(app=APP, kid=kid), CallTrace()),
            api.get_metadata(APP, kid, CallTrace()),
            api.publish_csr(APP, identity, b"", CallTrace()),
        ):
            with pytest.raises(Refused, match="is no id of Okta's"):
                await send
        with pytest.raises(Refused, match="is no id of Okta's"):
            _ = [each async for each in api.signers_with(kid, CallTrace())]
    assert org.asked == []
