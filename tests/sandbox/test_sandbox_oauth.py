"""The token endpoint over real sockets: assertions, forms, scopes, keys, limits, faults."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from orchestrator.errors import UsageError
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import opened
from tests.sandbox.service_client import (
    ABSENT,
    FORM,
    READ,
    TOKEN_PATH,
    ask,
    ask_with_proof,
    assertion,
    bearer,
    ec_key,
    private_jwk,
    public_jwk,
    rsa_key,
    service_app,
    token_of,
)
from tests.support import SHARED, needs_shared

MANAGE = "okta.apps.manage"
RSA = ("RS256", "RS384", "RS512")
ELLIPTIC = ("ES256", "ES384", "ES512")
BAD_SIGNATURE = "The client_assertion signature is invalid."
BAD_KID = "The client_assertion JWT kid is invalid."
BAD_AUDIENCE = (
    "The audience claim for client_assertion must be the endpoint invoked for the request."
)
TOO_FAR = "The client_assertion token has an expiration too far into the future."
EXPIRED = "The client_assertion token is expired."
NO_TIME = "The client_assertion must contain the 'exp' claim as seconds since epoch."
EARLY = "The client_assertion token must be issued before the current time."
NO_ISSUER = "The issuer claim for client_assertion is not a valid client_id."
NO_SUBJECT = "The subject claim for client_assertion is not a valid client_id."


def recorded(name: str) -> list[Any]:
    steps: list[Any] = json.loads((SHARED / "wire" / f"{name}.json").read_text())
    return steps


async def test_an_assertion_buys_a_token_that_reads_and_manages() -> None:
    org = SandboxOrg()
    client, app = service_app(org), org.add_app()
    async with opened(org, limits=LimitSettings()) as peer:
        reply = await ask(peer, client, scope=f"{MANAGE} {READ}")
        token = await token_of(reply)
        read = await peer.get(f"/api/v1/apps/{app.id}", headers=bearer(token))
        path = f"/api/v1/apps/{app.id}/credentials/keys/generate?validityYears=2"
        made = await peer.post(path, headers=bearer(token))
    assert (read.status, made.status) == (200, 201)
    assert reply.rate[:2] == (150, 149)
    assert list(reply.json()) == ["token_type", "expires_in", "access_token", "scope"]
    assert reply.json() | {"access_token": ""} == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "access_token": "",
        "scope": f"{MANAGE} {READ}",
    }
    assert "dpop-nonce" not in reply.headers
    assert [call.bucket for call in org.log] == ["token", "app.read", "apps"]


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({"key": lambda: rsa_key(2)}, BAD_SIGNATURE),
        ({"algorithm": "HS256", "key": "x" * 64}, "algorithm is invalid."),
        ({"aud": "http://127.0.0.1:1/oauth2/v1/token"}, BAD_AUDIENCE),
        ({"aud": ABSENT}, BAD_AUDIENCE),
        ({"exp": 3}, EXPIRED),
        ({"exp": ABSENT}, NO_TIME),
        ({"exp": "soon"}, NO_TIME),
        ({"iss": "0oaUnknown"}, NO_ISSUER),
        ({"iss": ABSENT}, NO_ISSUER),
        ({"sub": "0oaUnknown"}, NO_SUBJECT),
    ],
)
async def test_a_wrong_assertion_is_invalid_client(
    changes: dict[str, Any], description: str
) -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        reply = await ask(peer, client, signed=assertion(peer, client, **changes))
        scrap = await ask(peer, client, signed="not.a.jwt")
    assert (reply.status, reply.json()["error"]) == (401, "invalid_client")
    assert reply.json()["error_description"].endswith(description)
    assert (scrap.status, scrap.json()["error"]) == (401, "invalid_client")
    assert not org.issued_tokens
    assert reply.rate[0] == 150


@pytest.mark.parametrize(
    ("times", "description"),
    [
        ((0, 3600), None),
        ((0, 3605), TOO_FAR),
        ((5, 300), EARLY),
        ((-7200, 5), None),
        ((0, 0), EXPIRED),
    ],
)
async def test_an_assertion_holds_for_an_hour_of_the_orgs_clock(
    times: tuple[int, int], description: str | None
) -> None:
    org = SandboxOrg()
    client = service_app(org)
    org.advance(86_400)
    async with opened(org) as peer:
        now = int(org.epoch())
        signed = assertion(peer, client, iat=now + times[0], exp=now + times[1])
        reply = await ask(peer, client, signed=signed)
    assert reply.json().get("error_description") == description


async def test_an_assertion_is_used_once_unless_it_names_no_id() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        signed, nameless = assertion(peer, client), assertion(peer, client, jti=ABSENT)
        replies = [await ask(peer, client, signed=each) for each in (signed, signed)]
        free = [await ask(peer, client, signed=nameless) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 401]
    assert "already been used" in replies[1].json()["error_description"]
    assert [reply.status for reply in free] == [200, 200]


async def test_of_several_keys_the_header_names_one() -> None:
    org = SandboxOrg()
    keys = [public_jwk(rsa_key(), kid="old"), public_jwk(rsa_key(2), kid="new")]
    client = service_app(org, public_keys=keys)
    async with opened(org) as peer:
        for key, kid, problem in (
            (rsa_key(2), "new", None),
            (rsa_key(), "old", None),
            (rsa_key(2), "old", BAD_SIGNATURE),
            (rsa_key(2), "newest", BAD_KID),
            (rsa_key(2), None, BAD_KID),
        ):
            signed = assertion(peer, client, key=key, kid=kid)
            reply = await ask(peer, client, signed=signed)
            assert reply.json().get("error_description") == problem


async def test_rsa_and_elliptic_keys_are_accepted() -> None:
    org = SandboxOrg()
    keys = [public_jwk(rsa_key(), kid="rsa")]
    keys += [public_jwk(ec_key(name), kid=name) for name in ELLIPTIC]
    client = service_app(org, public_keys=keys)
    async with opened(org) as peer:
        signed = [assertion(peer, client, algorithm=name, kid="rsa") for name in RSA]
        signed += [
            assertion(peer, client, key=ec_key(name), algorithm=name, kid=name) for name in ELLIPTIC
        ]
        replies = [await ask(peer, client, signed=each) for each in signed]
    assert [reply.status for reply in replies] == [200] * 6


def test_a_key_that_okta_would_not_take_is_refused() -> None:
    org = SandboxOrg()
    unfit = [private_jwk(rsa_key()), public_jwk(rsa_key(0, 1024)), {"kty": "oct", "k": "AAAA"}, {}]
    for jwk in unfit:
        with pytest.raises(UsageError):
            org.add_service_app(public_keys=[jwk])
    service_app(org, client_id="0oaTaken")
    with pytest.raises(UsageError):
        service_app(org, client_id="0oaTaken")


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ABSENT}, 400, "invalid_request"),
        ({"client_assertion_type": "jwt"}, 401, "invalid_client"),
        ({"client_assertion_type": ABSENT}, 401, "invalid_client"),
        ({"client_assertion": ABSENT}, 401, "invalid_client"),
        ({"client_id": "0oaSomebodyElse"}, 401, "invalid_client"),
        ({"scope": ABSENT}, 400, "invalid_scope"),
        ({"scope": f"{READ} okta.users.manage"}, 400, "invalid_scope"),
        ({"scope": f"{READ} everything"}, 400, "invalid_scope"),
    ],
)
async def test_a_wrong_form_is_refused(fields: dict[str, Any], status: int, error: str) -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        reply = await ask(peer, client, **fields)
    assert (reply.status, reply.json()["error"]) == (status, error)
    assert set(reply.json()) == {"error", "error_description"}


async def test_only_a_form_that_can_be_read_is_looked_at() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        as_json = await peer.post(TOKEN_PATH, body={"grant_type": "client_credentials"})
        doubled = await peer.post(TOKEN_PATH, headers=FORM, data=b"grant_type=a&grant_type=b")
        broken = await peer.post(TOKEN_PATH, headers=FORM, data=b"\xff")
        got = await peer.get(TOKEN_PATH)
    for reply in (as_json, doubled, broken):
        assert (reply.status, reply.json()["error"]) == (400, "invalid_request")
    assert got.status == 405


async def test_the_token_endpoint_has_a_limit_of_its_own() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org, limits=LimitSettings(org_limits={"token": 4})) as peer:
        replies = [await ask(peer, client) for _ in range(3)]
        apps = await peer.get("/api/v1/apps")
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].json()["errorCode"] == "E0000047"
    assert apps.rate[:2] == (50, 49)


async def test_faults_strike_the_token_endpoint_in_its_own_words() -> None:
    org = SandboxOrg()
    client = service_app(org)
    script = """
      faults:
        - {kind: error, on: token, status: 429, times: 1}
        - {kind: error, on: token, status: 500, times: 1}
        - {kind: error, on: token, status: 400, code: temporarily_unavailable, times: 1}
        - {kind: reject, on: token, status: 403, times: 1,
           cause: "The request is made from outside the client's permitted network zones."}
        - {kind: drop, on: token, when: after, times: 1}
    """
    async with opened(org, faults=FaultScript.parse(script, file="faults.yaml")) as peer:
        replies = [await ask(peer, client) for _ in range(4)]
        with pytest.raises(aiohttp.ClientError):
            await ask(peer, client)
        after = await ask(peer, client)
    assert [reply.status for reply in replies] == [429, 500, 400, 403]
    assert replies[0].json()["errorCode"] == "E0000047"
    errors = [reply.json()["error"] for reply in replies[1:]]
    assert errors == ["server_error", "temporarily_unavailable", "access_denied"]
    assert "network zones" in replies[3].json()["error_description"]
    assert len(org.issued_tokens) == 2
    assert after.status == 200


async def test_a_fault_on_anything_strikes_it_too() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org, faults=FaultScript.of([Fault(kind="gateway", times=1)])) as peer:
        assert (await ask(peer, client)).status == 502
        assert (await ask(peer, client)).status == 200


@needs_shared
async def test_an_app_that_requires_dpop_answers_as_recorded() -> None:
    (step,) = recorded("private_key_auth_without_dpop")
    org = SandboxOrg()
    client = service_app(org, requires_dpop=True)
    async with opened(org) as peer:
        reply = await ask(peer, client)
    assert (reply.status, reply.json()) == (step["response"]["status"], step["response"]["body"])
    headers = step["response"]["headers"]
    assert reply.rate[:2] == (150, 149)
    assert headers["x-rate-limit-limit"] == "150"
    assert set(headers) <= {name.lower() for name in reply.headers}
    assert "dpop-nonce" not in reply.headers


@needs_shared
async def test_the_nonce_is_asked_for_as_recorded() -> None:
    asked, bought = (step["response"] for step in recorded("dpop_token_acquisition")[:2])
    org = SandboxOrg()
    client = service_app(org, requires_dpop=True)
    async with opened(org) as peer:
        first = await ask_with_proof(peer, client, nonce=ABSENT)
        second = await ask_with_proof(peer, client, nonce=first.headers["dpop-nonce"])
    assert (first.status, first.json()) == (asked["status"], asked["body"])
    assert list(second.json()) == list(bought["body"])
    assert second.json()["token_type"] == bought["body"]["token_type"] == "DPoP"
    assert second.json()["expires_in"] == bought["body"]["expires_in"]
    assert second.headers["dpop-nonce"] == first.headers["dpop-nonce"]
    for ours, theirs in ((first, asked), (second, bought)):
        assert set(theirs["headers"]) <= {name.lower() for name in ours.headers}
    assert first.rate[1] - second.rate[1] == 1
