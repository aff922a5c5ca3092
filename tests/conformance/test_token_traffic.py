"""Recorded token traffic, given out again over a socket: our client handles it as recorded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.errors import ClientRejected
from orchestrator.okta.call import Call
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import CallTrace
from tests.conformance.reference import WIRE, Recorded, recorded_exchanges
from tests.unit.okta.peer import Peer, Says, Step, peer
from tests.unit.okta.service_site import calling, claims_in, credential, ec_key, form_of, proof_of

TOKEN_LINE = "POST /oauth2/v1/token"
USERS = "GET /api/v1/users?limit=1"
CARRIED = ("content-type", "date", "dpop-nonce", "x-okta-request-id", "link")
RATE = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset")

needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="no recorded exchanges")


def users() -> Call[list[object]]:
    """Return the call that was recorded; our program makes none like it."""
    path = "/api/v1/users"
    return Call(
        method="GET",
        template=path,
        path=f"{path}?limit=1",
        bucket=Bucket.IDPS,
        kind=list[object],
    )


def blocks(file: str) -> list[list[Recorded]]:
    """Return the sessions in a file: each begins with the request for a token."""
    found: list[list[Recorded]] = []
    for exchange in recorded_exchanges():
        if exchange.file == file:
            is_first = exchange.status == 400
            found.extend([[]] if is_first else [])
            found[-1].append(exchange)
    return found


def step_of(exchange: Recorded) -> Says:
    headers = [
        (name, exchange.headers[name]) for name in (*CARRIED, *RATE) if name in exchange.headers
    ]
    return Says(status=exchange.status, body=exchange.body, headers=headers)


def steps_of(exchanges: Sequence[Recorded]) -> list[Step]:
    return [step_of(exchange) for exchange in exchanges]


def check_dance(org: Peer) -> None:
    """Hold what we sent against RFC 9449 and Okta's guide."""
    first, second = org.asked[:2]
    before, after = proof_of(first), proof_of(second)
    assert before is not None
    assert after is not None
    assert "nonce" not in before
    assert after["nonce"] == "sanitized_dpop_nonce"
    assert before["jti"] != after["jti"]
    assertions = [
        claims_in(form_of(asked)["client_assertion"], ec_key().public_key(), "ES256")
        for asked in (first, second)
    ]
    assert assertions[0]["jti"] != assertions[1]["jti"]


@needs_wire
@pytest.mark.parametrize("number", [0, 1])
async def test_the_recorded_dance_for_a_token(number: int) -> None:
    dance = blocks("dpop_token_acquisition")[number]
    found = Says(body=b"[]")
    async with (
        peer(*steps_of(dance), found) as org,
        calling(org.url, credential(dpop=True)) as api,
    ):
        assert (await api.transport.send(users(), CallTrace())).value == []
    assert org.lines == [TOKEN_LINE, TOKEN_LINE, USERS]
    check_dance(org)
    assert org.asked[2].headers["Authorization"] == "DPoP SANITIZED"


@needs_wire
async def test_the_recorded_calls_with_a_bound_token() -> None:
    """Two sessions, half an hour apart: the second is renewed with the nonce of the first."""
    first, second = blocks("dpop_api_request")
    async with (
        peer(*steps_of(first)) as org,
        calling(org.url, credential(dpop=True)) as api,
    ):
        assert (await api.transport.send(users(), CallTrace())).value == []
    assert org.lines == [TOKEN_LINE, TOKEN_LINE, USERS]
    check_dance(org)
    proof = proof_of(org.asked[2])
    assert proof is not None
    assert proof["htu"] == f"{org.url}/api/v1/users", "without the query"
    assert proof["ath"]
    granted, read = steps_of(second)[1:]
    lost = Says(status=401, headers=step_of(second[0]).headers[:2])
    async with (
        peer(*steps_of(first)[:2], lost, granted, read) as org,
        calling(org.url, credential(dpop=True)) as api,
    ):
        assert (await api.transport.send(users(), CallTrace())).value == []
    assert org.lines == [TOKEN_LINE, TOKEN_LINE, USERS, TOKEN_LINE, USERS]
    assert (proof_of(org.asked[3]) or {})["nonce"] == "sanitized_dpop_nonce"


@needs_wire
async def test_the_recorded_answer_to_a_missing_proof_switches_dpop_on() -> None:
    missing = blocks("private_key_auth_without_dpop")[0]
    dance = blocks("dpop_token_acquisition")[0]
    script = [*steps_of(missing), *steps_of(dance), Says(body=b"[]")]
    async with peer(*script) as org, calling(org.url) as api:
        assert (await api.transport.send(users(), CallTrace())).value == []
    assert org.lines == [TOKEN_LINE] * 3 + [USERS]
    assert proof_of(org.asked[0]) is None
    assert proof_of(org.asked[1]) is not None
    assert (proof_of(org.asked[2]) or {})["nonce"] == "sanitized_dpop_nonce"


@needs_wire
async def test_the_recorded_answer_again_and_again_ends_clearly() -> None:
    missing = steps_of(blocks("private_key_auth_without_dpop")[0])
    async with peer(*missing) as org, calling(org.url, credential(dpop=True)) as api:
        with pytest.raises(ClientRejected, match="invalid_dpop_proof"):
            await api.transport.send(users(), CallTrace())
    assert 1 <= len(org.asked) <= 2
