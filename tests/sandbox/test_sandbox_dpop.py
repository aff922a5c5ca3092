"""DPoP over real sockets: proofs for a token, proofs for each call, and the nonce."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import opened
from tests.sandbox.service_client import (
    ABSENT,
    TOKEN_PATH,
    ask,
    ask_with_proof,
    assertion,
    bearer,
    ec_key,
    possessed,
    private_jwk,
    proof,
    public_jwk,
    rsa_key,
    service_app,
    token_of,
)

APPS = "/api/v1/apps"
DAY = 24 * 3600


async def test_the_question_for_a_nonce_uses_the_assertion_up() -> None:
    org = SandboxOrg()
    client = service_app(org, requires_dpop=True)
    async with opened(org) as peer:
        signed = assertion(peer, client)
        first = await ask(peer, client, signed=signed, proofs=(proof(peer, "POST", TOKEN_PATH),))
        nonce = first.headers["dpop-nonce"]
        answered = proof(peer, "POST", TOKEN_PATH, nonce=nonce)
        again = await ask(peer, client, signed=signed, proofs=(answered,))
        fresh = await ask(peer, client, proofs=(answered,))
        replayed = await ask(peer, client, proofs=(answered,))
    assert (first.status, first.json()["error"]) == (400, "use_dpop_nonce")
    assert (again.status, again.json()["error"]) == (401, "invalid_client")
    assert (fresh.status, fresh.json()["token_type"]) == (200, "DPoP")
    assert (replayed.status, replayed.json()["error"]) == (400, "invalid_dpop_proof")


async def test_the_nonce_of_yesterday_still_holds() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        nonce = org.nonces(org.epoch())[0]
        replies = []
        for _ in range(3):
            replies.append(await ask_with_proof(peer, client, nonce=nonce))
            org.advance(DAY)
        wrong = await ask_with_proof(peer, client, nonce=7)
    assert [reply.status for reply in replies] == [200, 200, 400]
    assert replies[2].json()["error"] == wrong.json()["error"] == "use_dpop_nonce"
    assert len({reply.headers["dpop-nonce"] for reply in replies}) == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"header": {"typ": "JWT"}}, "'typ' must be 'dpop+jwt'"),
        ({"header": {"jwk": ABSENT}}, "is invalid"),
        ({"header": {"jwk": {"kty": "RSA", "n": 5, "e": "AQAB"}}}, "is invalid"),
        ({"header": {"jwk": lambda: private_jwk(rsa_key(1))}}, "is invalid"),
        ({"header": {"jwk": lambda: public_jwk(ec_key("ES256"))}}, "is invalid"),
        ({"header": {"jwk": lambda: public_jwk(rsa_key(2))}}, "signature is invalid"),
        ({"key": lambda: rsa_key(0, 1024)}, "is invalid"),
        ({"htm": "GET"}, "'htm'"),
        ({"htu": "http://127.0.0.1:1/oauth2/v1/token"}, "'htu'"),
        ({"htu": ABSENT}, "'htu'"),
        ({"iat": ABSENT}, "'iat'"),
        ({"iat": True}, "'iat'"),
        ({"iat": 9_999_999_999}, "in the future"),
        ({"iat": 1_600_000_000}, "more than five minutes"),
        ({"jti": ABSENT}, "'jti'"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_wrong_proof_buys_nothing(changes: dict[str, Any], text: str) -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        reply = await ask_with_proof(peer, client, **changes)
    assert (reply.status, reply.json()["error"]) == (400, "invalid_dpop_proof")
    assert text in reply.json()["error_description"]
    assert not org.issued_tokens


async def test_one_proof_is_sent_and_it_is_a_jwt() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        two = (proof(peer, "POST", TOKEN_PATH), proof(peer, "POST", TOKEN_PATH))
        doubled = await ask(peer, client, proofs=two)
        scrap = await ask(peer, client, proofs=("scrap",))
    assert "Multiple" in doubled.json()["error_description"]
    assert "cannot be parsed" in scrap.json()["error_description"]


async def test_a_bound_token_needs_a_fresh_proof_for_each_call() -> None:
    org = SandboxOrg()
    client, app = service_app(org), org.add_app()
    path = f"{APPS}/{app.id}/credentials/keys"
    async with opened(org) as peer:
        token = await token_of(await ask_with_proof(peer, client))
        headers = possessed(peer, "GET", path, token)
        replies = [await peer.get(path, headers=headers) for _ in range(2)]
        headers = possessed(peer, "GET", APPS, token)
        paged = await peer.get(f"{APPS}?limit=1", headers=headers)
    assert [reply.status for reply in replies] == [200, 401]
    assert "already been used" in replies[1].headers["WWW-Authenticate"]
    assert paged.status == 200


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"ath": "AAAA"}, "invalid_dpop_proof", "'ath' claim"),
        ({"ath": ABSENT}, "invalid_dpop_proof", "'ath' claim"),
        ({"key": lambda: rsa_key(2)}, "invalid_dpop_proof", "not bound to the provided"),
        ({"htm": "POST"}, "invalid_dpop_proof", "'htm' claim"),
        ({"htu": "http://127.0.0.1:1/api/v1/apps"}, "invalid_dpop_proof", "'htu' claim"),
        ({"iat": 1_600_000_000}, "invalid_dpop_proof", "more than five minutes"),
    ],
)
async def test_a_wrong_proof_opens_nothing(changes: dict[str, Any], error: str, text: str) -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        token = await token_of(await ask_with_proof(peer, client))
        reply = await peer.get(APPS, headers=possessed(peer, "GET", APPS, token, **changes))
    assert (reply.status, reply.json()["errorCode"]) == (401, "E0000011")
    assert "X-Rate-Limit-Limit" not in reply.headers
    challenge = reply.headers["WWW-Authenticate"]
    assert challenge.startswith("DPoP ")
    assert f'error="{error}"' in challenge
    assert text in challenge


async def test_a_token_is_presented_as_what_it_was_issued_as() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        plain = await token_of(await ask(peer, client))
        bound = await token_of(await ask_with_proof(peer, client))
        lent = await peer.get(APPS, headers=bearer(bound))
        bare = await peer.get(APPS, headers={"Authorization": f"DPoP {bound}"})
        raised = await peer.get(APPS, headers=possessed(peer, "GET", APPS, plain))
    assert [reply.status for reply in (lent, bare, raised)] == [401] * 3
    challenges = [reply.headers["WWW-Authenticate"] for reply in (lent, bare, raised)]
    assert all(challenge.startswith("DPoP ") for challenge in challenges)
    assert "must use the DPoP authentication scheme" in challenges[0]
    assert "requires a DPoP proof" in challenges[1]
    assert 'error="invalid_token"' in challenges[2]
    assert "not DPoP bound" in challenges[2]


async def test_calls_can_be_made_to_need_the_nonce_too() -> None:
    org = SandboxOrg()
    org.calls_need_nonce = True
    client = service_app(org)
    async with opened(org) as peer:
        token = await token_of(await ask_with_proof(peer, client))
        first = await peer.get(APPS, headers=possessed(peer, "GET", APPS, token))
        nonce = first.headers["dpop-nonce"]
        second = await peer.get(APPS, headers=possessed(peer, "GET", APPS, token, nonce=nonce))
    assert first.status == 401
    assert 'error="use_dpop_nonce"' in first.headers["WWW-Authenticate"]
    assert second.status == 200


async def test_two_proofs_on_a_call_are_one_too_many() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org) as peer:
        token = await token_of(await ask_with_proof(peer, client))
        headers = CIMultiDict(possessed(peer, "GET", APPS, token))
        headers.add("DPoP", headers["DPoP"])
        reply = await peer.get(APPS, headers=headers)
    assert reply.status == 401
    assert "Multiple" in reply.headers["WWW-Authenticate"]
