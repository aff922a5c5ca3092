"""A token endpoint that does anything: no assertion and no token gets elsewhere, and calls end."""

from __future__ import annotations

import asyncio
import re
import time
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.errors import AccessError, CallError, OrchestratorError
from orchestrator.model import AppId
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.wire import CallTrace
from orchestrator.secret import Secret
from tests.hostile.caller import all_said, caller
from tests.hostile.deeds import ALL, ELSEWHERE, says
from tests.hostile.server import Act, Asked, Wire, bystander, hostile

SOON = 8.0  # seconds
ISSUED = "eyIssuedByTheOrgAndSecret"
CHOSEN = ("endless body", "gzip bomb", "header flood", "nested 100 000 deep")
GRANT = {"token_type": "Bearer", "expires_in": 3600, "access_token": ISSUED, "scope": "x"}


@cache
def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def app() -> ServiceApp:
    return ServiceApp(client_id="0oaServiceApp", private_key=Secret(private_key()), key_id="k")


async def ended(url: str) -> tuple[object, float]:
    """Make one call that needs a token first, and return what came of it."""
    began = time.monotonic()
    async with caller(url, credential=app()) as api, asyncio.timeout(30):
        try:
            result: object = await api.get_signer(AppId("0oa1"), CallTrace())
        except OrchestratorError as error:
            result = error
    return result, time.monotonic() - began


def assert_silent(result: object) -> None:
    """Neither the key nor an assertion made with it is in what is said."""
    assert isinstance(result, CallError | AccessError), result
    said = all_said(result)
    assert private_key().splitlines()[1] not in said
    assert not re.search(r"eyJ[\w-]+\.eyJ", said)
    assert ISSUED not in said


@pytest.mark.parametrize(
    "name",
    [*CHOSEN, *(pytest.param(each, marks=pytest.mark.long) for each in ALL if each not in CHOSEN)],
)
async def test_whatever_the_endpoint_does_a_call_ends(name: str) -> None:
    async with hostile(ALL[name]) as org:
        result, seconds = await ended(org.url)
    assert seconds < SOON
    assert_silent(result)
    assert all(asked.line == "POST /oauth2/v1/token" for asked in org.asked)
    assert len(org.asked) <= 4


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_no_assertion_goes_elsewhere(name: str) -> None:
    async with bystander() as other, hostile(ELSEWHERE[name](other.url)) as org:
        result, _ = await ended(org.url)
    assert other.heard == []
    assert_silent(result)


@pytest.mark.parametrize("name", [each for each in ELSEWHERE if each.startswith("redirect")])
async def test_no_token_goes_elsewhere(name: str) -> None:
    async with bystander() as other:
        elsewhere = ELSEWHERE[name](other.url)

        async def act(asked: Asked, wire: Wire) -> None:
            if asked.method == "POST":
                await wire.answer(200, GRANT)
            else:
                assert f"Bearer {ISSUED}" in asked.head
                await elsewhere(asked, wire)

        async with hostile(act) as org:
            result, _ = await ended(org.url)
    assert other.heard == []
    assert_silent(result)


@pytest.mark.parametrize(
    "grant",
    [
        {},
        {"access_token": 7},
        GRANT | {"access_token": ""},
        GRANT | {"access_token": "a\r\nX-Evil: b"},
        GRANT | {"access_token": "a b"},
        GRANT | {"access_token": "é"},
        GRANT | {"access_token": "x" * 200_000},
        GRANT | {"token_type": "MAC"},
        GRANT | {"expires_in": -1},
        GRANT | {"expires_in": "soon"},
    ],
)
async def test_a_token_that_is_none_is_never_used(grant: dict[str, object]) -> None:
    async with hostile(says(200, grant)) as org:
        result, _ = await ended(org.url)
    assert_silent(result)
    assert {asked.method for asked in org.asked} == {"POST"}


def asks_for(error: dict[str, str], headers: list[tuple[str, str]]) -> Act:
    return says(400, error, headers)


@pytest.mark.parametrize(
    "deed",
    [
        asks_for({"error": "use_dpop_nonce"}, [("dpop-nonce", "always another")]),
        asks_for({"error": "use_dpop_nonce"}, [("dpop-nonce", "n" * 8000)]),
        asks_for({"error": "use_dpop_nonce"}, []),
        asks_for({"error": "invalid_dpop_proof", "error_description": "header is missing"}, []),
        asks_for({"error": "invalid_client", "error_description": "\x1b[2J" + "x" * 90_000}, []),
        says(401, {"error": "invalid_client"}, [("Date", "Fri, 31 Dec 9999 23:59:59 GMT")]),
        says(401, {"error": "invalid_client"}, [("Date", "Sat, 01 Jan 2000 00:00:00 GMT")]),
    ],
    ids=["another nonce", "endless nonce", "no nonce", "proof", "words", "year 9999", "year 2000"],
)
async def test_an_endpoint_that_is_never_content_is_left(deed: Act) -> None:
    async with hostile(deed) as org:
        result, seconds = await ended(org.url)
    assert seconds < SOON
    assert_silent(result)
    assert 1 <= len(org.asked) <= 8
    assert "\x1b" not in str(result)
    assert len(str(result)) < 5_000


async def test_tokens_that_are_never_good_are_not_fetched_for_ever() -> None:
    async def act(asked: Asked, wire: Wire) -> None:
        if asked.method == "POST":
            await wire.answer(200, GRANT | {"expires_in": 1})
        else:
            await wire.answer(401, {"errorCode": "E0000011", "errorSummary": "Invalid token"})

    async with hostile(act) as org:
        result, seconds = await ended(org.url)
    assert isinstance(result, AccessError)
    assert seconds < SOON
    assert len(org.asked) <= 6
