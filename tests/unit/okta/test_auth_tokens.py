"""Access tokens over the wire: asked for as the org wants it, once for all, and in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from orchestrator.errors import ClientRejected, Halted, NoAnswer, TokenRejected
from orchestrator.halt import Halt
from orchestrator.model import AppId, KeyRef, Kid
from orchestrator.okta.api import OktaApi
from orchestrator.okta.authorizer import Remedy
from orchestrator.okta.call import RawAnswer
from orchestrator.okta.credentials import BearerToken
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.retry import RetryPolicy
from orchestrator.okta.wire import CallTrace
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from tests.unit.okta.peer import Breaks, Hangs, Peer, Says, Step, peer
from tests.unit.okta.service_site import (
    CLIENT_ID,
    SCOPES,
    MovableClock,
    bearer,
    calling,
    claims_in,
    credential,
    ec_key,
    enrolled,
    form_of,
    granted,
    proof_of,
    told,
)

APP = AppId("0oa1")
OBJECT = {"id": APP, "label": "a", "credentials": {"signing": {"kid": "old"}}}
TOKEN = "POST /oauth2/v1/token"
READ = f"GET /api/v1/apps/{APP}"
NO_LIMITS = LimitSettings(enabled=False)
EXPIRED = 'Bearer error="invalid_token", error_description="The token has expired."'


def rated(*more: tuple[str, str], ahead: float = 0.0) -> list[tuple[str, str]]:
    """Return headers with plenty left of the limit; the date may be ahead of ours."""
    now = datetime.now(UTC) + timedelta(seconds=ahead)
    return [
        ("Date", format_datetime(now, usegmt=True)),
        ("X-Rate-Limit-Limit", "150"),
        ("X-Rate-Limit-Remaining", "140"),
        ("X-Rate-Limit-Reset", str(int(now.timestamp()) + 60)),
        *more,
    ]


def grants(**more: object) -> Says:
    return Says(body=granted(**more), headers=rated())


def objects(error: str, text: str = "", *, status: int = 400, **more: object) -> Says:
    headers = more.pop("headers", ())
    assert isinstance(headers, tuple)
    ahead = more.pop("ahead", 0.0)
    assert isinstance(ahead, float)
    return Says(status=status, body=told(error, text), headers=rated(*headers, ahead=ahead))


FOUND = Says(body=OBJECT, headers=rated())
NO_PROOF = objects("invalid_dpop_proof", "The DPoP proof JWT header is missing.")
WITH_NONCE = objects("use_dpop_nonce", "Nonce required.", headers=(("dpop-nonce", "n1"),))
REFUSED = RawAnswer(401, CIMultiDictProxy(CIMultiDict()), b"")
REVOKED = Says(status=401, headers=rated(("WWW-Authenticate", EXPIRED)))


async def read(api: OktaApi) -> int:
    return (await api.get_signer(APP, CallTrace())).status


def jtis(org: Peer) -> list[str]:
    """Return the ids of everything that was signed."""
    found = []
    for asked in org.asked:
        if str(asked) == TOKEN:
            text = form_of(asked)["client_assertion"]
            found.append(claims_in(text, ec_key().public_key(), "ES256")["jti"])
        proof = proof_of(asked)
        if proof is not None:
            found.append(proof["jti"])
    return found


# What is sent


async def test_a_token_is_asked_for_as_okta_wants_it() -> None:
    async with peer(grants(access_token="at1"), FOUND) as org, calling(org.url) as api:
        assert await read(api) == 200
        assert await read(api) == 200
    assert org.lines == [TOKEN, READ, READ]
    form = form_of(org.asked[0])
    assertion = claims_in(form.pop("client_assertion"), ec_key().public_key(), "ES256")
    assert form == {
        "grant_type": "client_credentials",
        "scope": " ".join(SCOPES),
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert (assertion["iss"], assertion["sub"]) == (CLIENT_ID, CLIENT_ID)
    assert assertion["aud"] == f"{org.url}/oauth2/v1/token"
    headers = org.asked[0].headers
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in headers
    assert "DPoP" not in headers
    assert [bearer(asked) for asked in org.asked[1:]] == ["Bearer at1"] * 2


async def test_every_attempt_has_an_assertion_of_its_own() -> None:
    unsure = objects("temporarily_unavailable")
    broken = Says(status=500, body=told("server_error"), headers=rated())
    script = (Breaks(), broken, unsure, grants(), FOUND)
    patient = RetryPolicy(attempts=4, first_wait=0.01, longest_wait=0.01)
    async with peer(*script) as org, calling(org.url, retry=patient) as api:
        assert await read(api) == 200
        assert api.transport.calls == 5, "calls for a token count too"
    assert org.lines == [TOKEN] * 4 + [READ]
    assert len(set(jtis(org))) == 4


async def test_a_user_s_own_access_token_is_sent_as_it_is() -> None:
    who = BearerToken(token=Secret("theirs"))
    async with peer(FOUND, REVOKED) as org, calling(org.url, who) as api:
        assert await read(api) == 200
        with pytest.raises(TokenRejected, match="the access token: 401") as caught:
            await read(api)
    assert org.lines == [READ, READ]
    assert bearer(org.asked[0]) == "Bearer theirs"
    assert "obtain a new access token" in (caught.value.hint or "")


async def test_who_the_org_is_may_be_asked_without_a_token() -> None:
    async with peer(Says(body={"id": "00o1"})) as org, calling(org.url) as api:
        assert (await api.organization(CallTrace())).status == 200
    assert "Authorization" not in org.asked[0].headers


# DPoP


async def test_dpop_is_taken_up_when_the_org_asks_for_it() -> None:
    script = (NO_PROOF, WITH_NONCE, grants(token_type="DPoP", access_token="at1"), FOUND)
    async with peer(*script) as org, calling(org.url) as api:
        assert await read(api) == 200
        assert await read(api) == 200
    assert org.lines == [TOKEN, TOKEN, TOKEN, READ, READ]
    bare, first, second, *reads = [proof_of(asked) for asked in org.asked]
    assert bare is None
    assert first is not None
    assert second is not None
    assert "nonce" not in first
    assert second["nonce"] == "n1"
    assert (first["htm"], first["htu"]) == ("POST", f"{org.url}/oauth2/v1/token")
    assert "ath" not in first
    for proof in reads:
        assert proof is not None
        assert (proof["htm"], proof["htu"]) == ("GET", f"{org.url}/api/v1/apps/{APP}")
        assert proof["ath"]
        assert "nonce" not in proof
    assert [bearer(asked) for asked in org.asked[3:]] == ["DPoP at1"] * 2
    assert len(set(jtis(org))) == 3 + 2 + 2, "no id is used twice"


async def test_a_credential_may_begin_with_dpop() -> None:
    script = (WITH_NONCE, grants(token_type="DPoP"), FOUND)
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert await read(api) == 200
    assert proof_of(org.asked[0])


async def test_an_org_that_does_not_bind_the_token_gets_it_as_bearer() -> None:
    script = (grants(token_type="bearer", access_token="at1"), FOUND)
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert await read(api) == 200
    assert bearer(org.asked[1]) == "Bearer at1"
    assert "DPoP" not in org.asked[1].headers


async def test_a_nonce_is_kept_for_the_tokens_to_come() -> None:
    newer = Says(body=granted(token_type="DPoP"), headers=rated(("DPoP-Nonce", "n2")))
    plain = grants(token_type="DPoP")
    script = (WITH_NONCE, newer, REVOKED, plain, FOUND, REVOKED, plain, FOUND)
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert await read(api) == 200
        assert await read(api) == 200
    proofs = [proof_of(asked) or {} for asked in org.asked if str(asked) == TOKEN]
    assert [proof.get("nonce") for proof in proofs] == [None, "n1", "n2", "n2"]


@pytest.mark.parametrize("status", [400, 401])
async def test_an_api_call_may_be_asked_for_a_nonce_too(status: int) -> None:
    challenge = ("WWW-Authenticate", 'DPoP error="use_dpop_nonce"')
    asks = Says(status=status, headers=rated(challenge, ("dpop-nonce", "r1")))
    script = (grants(token_type="DPoP"), asks, FOUND)
    trace = CallTrace()
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert (await api.generate_key(APP, 2, trace)).status == 200, "not even what is sent once"
        assert await read(api) == 200
    assert (
        org.lines[1:3] == [f"POST /api/v1/apps/{APP}/credentials/keys/generate?validityYears=2"] * 2
    )
    assert [(proof_of(asked) or {}).get("nonce") for asked in org.asked[1:]] == [None, "r1", "r1"]
    assert (trace.attempts, trace.lost_answers) == (2, 0)
    proof = proof_of(org.asked[1]) or {}
    assert proof["htu"].endswith("/credentials/keys/generate"), "without the query"


async def test_an_org_that_never_likes_the_nonce_is_asked_once_more_only() -> None:
    challenge = ("WWW-Authenticate", 'DPoP error="use_dpop_nonce"')
    asks = [
        Says(status=401, headers=rated(challenge, ("dpop-nonce", f"r{number}")))
        for number in range(20)
    ]
    tokens = grants(token_type="DPoP")
    async with peer(tokens, *asks) as org, calling(org.url, credential(dpop=True)) as api:
        with pytest.raises(TokenRejected):
            await read(api)
    assert org.lines == [TOKEN, READ, READ]


async def test_an_old_token_is_renewed_though_the_answer_brings_a_nonce() -> None:
    old = Says(status=401, headers=rated(("WWW-Authenticate", EXPIRED), ("dpop-nonce", "r1")))
    script = (grants(token_type="DPoP"), old, grants(token_type="DPoP"), FOUND)
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert await read(api) == 200
    assert org.lines == [TOKEN, READ, TOKEN, READ]
    assert (proof_of(org.asked[-1]) or {})["nonce"] == "r1"


async def test_a_retry_has_a_proof_of_its_own() -> None:
    script = (grants(token_type="DPoP"), Breaks(), Says(status=503), FOUND)
    async with peer(*script) as org, calling(org.url, credential(dpop=True)) as api:
        assert await read(api) == 200
    assert org.lines == [TOKEN, READ, READ, READ]
    assert len(set(jtis(org))) == 2 + 3


@pytest.mark.parametrize("nonce", ["", "x" * 1025, "n\u00e4"])
async def test_a_nonce_that_is_none_is_not_taken(nonce: str) -> None:
    step = objects("use_dpop_nonce", headers=(("dpop-nonce", nonce),))
    async with peer(step) as org, calling(org.url, credential(dpop=True)) as api:
        with pytest.raises(ClientRejected, match="use_dpop_nonce"):
            await read(api)
    assert len(org.asked) == 1


# The org's time


@pytest.mark.parametrize("ahead", [-600.0, 600.0])
@pytest.mark.parametrize("dpop", [False, True])
async def test_a_wrong_clock_is_found_out_and_made_up_for(ahead: float, dpop: bool) -> None:
    org = enrolled(requires_dpop=dpop)
    org.skew_seconds = ahead
    app = AppId(org.add_app(label="a").id)
    async with serve(org, limits=NO_LIMITS) as served, calling(served.url) as api:
        assert (await api.get_signer(app, CallTrace())).status == 200
    statuses = [call.status for call in org.log]
    assert statuses.count(401) <= 1, "once, from which the org's time is heard"
    assert statuses[-1] == 200


async def test_what_the_clocks_say_is_told() -> None:
    step = objects("invalid_client", "iat is wrong", status=401, ahead=-620.0)
    async with peer(step) as org, calling(org.url) as api:
        with pytest.raises(ClientRejected) as caught:
            await read(api)
    assert org.lines == [TOKEN, TOKEN], "once more, with the time that was heard"
    first, second = (
        claims_in(form_of(asked)["client_assertion"], ec_key().public_key(), "ES256")["iat"]
        for asked in org.asked
    )
    assert 610 < first - second < 630
    assert "ahead of the org's" in (caught.value.hint or "")
    assert "the local clock is 6" in (caught.value.hint or "")


async def test_where_the_clocks_agree_it_is_not_asked_again() -> None:
    async with peer(objects("invalid_client", status=401)) as org, calling(org.url) as api:
        with pytest.raises(ClientRejected) as caught:
            await read(api)
    assert org.lines == [TOKEN]
    assert "the clocks agree" in (caught.value.hint or "")


# Renewal


async def test_a_refused_token_is_renewed_once() -> None:
    script = (grants(access_token="a"), REVOKED, grants(access_token="b"), FOUND)
    async with peer(*script) as org, calling(org.url) as api:
        assert await read(api) == 200
    assert org.lines == [TOKEN, READ, TOKEN, READ]
    assert bearer(org.asked[3]) == "Bearer b"


async def test_a_token_that_is_refused_anew_ends_the_run() -> None:
    script = (grants(), REVOKED, grants(), REVOKED)
    async with peer(*script) as org, calling(org.url) as api:
        with pytest.raises(TokenRejected) as caught:
            await read(api)
    assert org.lines == [TOKEN, READ, TOKEN, READ]
    assert "the access token of the service app" in caught.value.message
    assert "still active" in (caught.value.hint or "")


async def test_a_feature_that_the_org_lacks_costs_no_token() -> None:
    refusal = Says(status=401, body={"errorCode": "E0000015"}, headers=rated())
    async with peer(grants(), refusal) as org, calling(org.url) as api:
        assert await read(api) == 401
    assert org.lines == [TOKEN, READ]


def sandbox() -> tuple[SandboxOrg, AppId]:
    org = enrolled()
    return org, AppId(org.add_app(label="a").id)


def fetches(org: SandboxOrg) -> int:
    return sum(call.template == "/oauth2/v1/token" for call in org.log)


async def test_many_at_once_fetch_one_token() -> None:
    org, app = sandbox()
    async with serve(org, limits=NO_LIMITS) as served, calling(served.url) as api:
        for tokens in (1, 2):  # the second one for all who were refused
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(api.get_signer, app, CallTrace())
            assert fetches(org) == tokens
            org.revoke_tokens()
    assert {call.status for call in org.log} == {200, 401}


async def test_a_late_refusal_of_an_old_token_does_not_touch_the_new_one() -> None:
    script = (grants(access_token="a"), grants(access_token="b"))
    async with peer(*script) as org, calling(org.url) as api:
        auth, ask = api.transport.auth, api.transport.send
        old = await auth.prove("GET", org.url, ask)
        assert auth.reconsider(old, REFUSED) is Remedy.TOKEN
        assert (await auth.prove("GET", org.url, ask)).headers["Authorization"] == "Bearer b"
        assert auth.reconsider(old, REFUSED) is Remedy.TOKEN, "a further attempt has the new one"
        assert auth.is_ready
    assert org.lines == [TOKEN, TOKEN]


async def test_a_refused_token_is_let_go_though_its_renewal_has_failed_since() -> None:
    clock = MovableClock()
    script = (grants(access_token="a"), Says(status=503), grants(access_token="b"))
    async with peer(*script) as org, calling(org.url, clock=clock) as api:
        auth, ask = api.transport.auth, api.transport.send
        old = await auth.prove("GET", org.url, ask)
        clock.moved += 3350
        await auth.get_ready(ask)
        assert auth.is_ready, "one failed renewal does no harm"
        assert auth.reconsider(old, REFUSED) is Remedy.TOKEN
        assert (await auth.prove("GET", org.url, ask)).headers["Authorization"] == "Bearer b"


async def test_a_token_that_is_refused_while_its_renewal_fails_does_not_come_back() -> None:
    clock = MovableClock()
    script: tuple[Step, ...] = (grants(access_token="a"), Hangs(), grants(access_token="b"))
    async with peer(*script) as org, calling(org.url, clock=clock) as api:
        auth, ask = api.transport.auth, api.transport.send
        old = await auth.prove("GET", org.url, ask)
        clock.moved += 3350
        async with anyio.create_task_group() as group:
            group.start_soon(auth.get_ready, ask)
            await anyio.sleep(0.05)
            assert len(org.asked) == 2, "it is under way"
            assert auth.reconsider(old, REFUSED) is Remedy.TOKEN
        assert (await auth.prove("GET", org.url, ask)).headers["Authorization"] == "Bearer b"
    assert org.lines == [TOKEN] * 3


async def test_while_a_token_is_renewed_calls_go_on_with_the_old_one() -> None:
    clock = MovableClock()
    script: tuple[Step, ...] = (grants(access_token="a"), FOUND, Hangs(), FOUND)
    async with peer(*script) as org, calling(org.url, clock=clock) as api:
        await read(api)
        clock.moved += 3350
        async with anyio.create_task_group() as group:
            group.start_soon(read, api)
            await anyio.sleep(0.05)
            assert org.lines == [TOKEN, READ, TOKEN], "it is under way"
            await read(api)
            assert org.lines == [TOKEN, READ, TOKEN, READ]
        assert len(org.asked) == 5, "who waited for it goes on with the old one too"
    assert {bearer(asked) for asked in org.asked if str(asked) == READ} == {"Bearer a"}


async def test_a_slot_is_given_back_where_its_call_gets_no_token() -> None:
    """The token ends while the call waits for its slot, and there is no new one."""
    clock = MovableClock()
    drained = [(name, "0" if "Remaining" in name else value) for name, value in rated()]
    script = (grants(expires_in=30), Says(body=OBJECT, headers=drained), objects("invalid_scope"))
    async with peer(*script) as org, calling(org.url, clock=clock) as api:
        await read(api)
        with pytest.raises(ClientRejected):
            await read(api)
        assert api.pacer.lanes[Bucket.APP_READ].gate.in_flight == 0
    assert org.lines == [TOKEN, READ, TOKEN]


async def test_a_slot_that_is_held_is_not_used_with_a_token_that_had_to_be_fetched() -> None:
    """The object may have changed by then: its caller reads it again."""
    clock = MovableClock()
    org = enrolled(SandboxOrg(seed=1, clock=clock))
    app = AppId(org.add_app(label="a").id)
    async with (
        serve(org, limits=NO_LIMITS) as served,
        calling(served.url, clock=clock, retry=RetryPolicy()) as api,
    ):
        document = (await api.get_signer(app, CallTrace())).value
        assert document is not None
        async with api.transport.slot(Bucket.APP_WRITE, CallTrace()) as slot:
            clock.moved += 3600
            with pytest.raises(NoAnswer, match="had to be fetched first") as caught:
                await api.put_signer(app, document.body, CallTrace(), slot=slot)
        async with api.transport.slot(Bucket.APP_WRITE, CallTrace()) as slot:
            clock.moved += 3400  # due for renewal, and still good: what is hurried uses it
            assert (await api.put_signer(app, document.body, CallTrace(), slot=slot)).value
            org.revoke_tokens()
        async with api.transport.slot(Bucket.APP_WRITE, CallTrace()) as slot:
            with pytest.raises(NoAnswer, match="a new access token") as revoked:
                await api.put_signer(app, document.body, CallTrace(), slot=slot)
    assert not caught.value.lost
    assert not revoked.value.lost
    assert [call.method for call in org.log] == ["POST", "GET", "POST", "PUT", "PUT"]


# Failures


async def test_a_lost_attempt_stays_lost_where_the_next_one_gets_no_token() -> None:
    clock, patient = MovableClock(), RetryPolicy(attempts=2, first_wait=60.0, longest_wait=60.0)
    script = (grants(expires_in=5), Breaks(), Says(status=503))
    source = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
    async with peer(*script) as org, calling(org.url, clock=clock, retry=patient) as api:
        with pytest.raises(NoAnswer, match="no access token could be fetched") as caught:
            await api.clone_key(source, APP, CallTrace())
    assert [line == TOKEN for line in org.lines[:3]] == [True, False, True]
    assert (caught.value.lost, caught.value.answered) == (True, False)


async def test_a_failed_fetch_is_shared_by_all_who_waited_for_it() -> None:
    org, app = sandbox()
    script = FaultScript.of([Fault(kind="reject", on="token", status=503, code="E0000181")])
    failures: list[NoAnswer] = []

    async def one(api: OktaApi) -> None:
        with pytest.raises(NoAnswer) as caught:
            await api.get_signer(app, CallTrace())
        failures.append(caught.value)

    async with (
        serve(org, limits=NO_LIMITS, faults=script) as served,
        calling(served.url) as api,
        anyio.create_task_group() as group,
    ):
        for _ in range(10):
            group.start_soon(one, api)
    assert fetches(org) == 3, "the attempts of one call"
    assert len(failures) == 10
    assert not any(failure.lost for failure in failures)
    assert "no access token could be fetched" in failures[0].message


async def test_a_cancelled_fetch_is_taken_over_by_who_waits() -> None:
    org, app = sandbox()
    script = FaultScript.of([Fault(kind="stall", on="token", seconds=30.0, times=1)])
    done: list[int] = []

    async def one(api: OktaApi, scope: anyio.CancelScope) -> None:
        with scope:
            done.append((await api.get_signer(app, CallTrace())).status)

    scopes = [anyio.CancelScope() for _ in range(5)]
    async with (
        serve(org, limits=NO_LIMITS, faults=script) as served,
        calling(served.url) as api,
        anyio.create_task_group() as group,
    ):
        for scope in scopes:
            group.start_soon(one, api, scope)
        await anyio.sleep(0.1)
        scopes[0].cancel()
    assert done == [200] * 4
    assert fetches(org) == 2


async def test_a_halt_ends_the_wait_for_a_token() -> None:
    halt = Halt()
    patient = RetryPolicy(first_wait=60.0)
    async with (
        peer(Says(status=503, headers=rated())) as org,
        calling(org.url, halt=halt, retry=patient) as api,
        anyio.create_task_group() as group,
    ):

        async def one() -> None:
            with pytest.raises(Halted):
                await read(api)

        for _ in range(3):
            group.start_soon(one)
        await anyio.sleep(0.2)
        halt.set()
    assert len(org.asked) == 1


async def test_a_token_that_still_lives_outlasts_a_failed_renewal() -> None:
    clock = MovableClock()
    script: tuple[Step, ...] = (grants(access_token="a"), FOUND, Says(status=503), FOUND, FOUND)
    async with peer(*script) as org, calling(org.url, clock=clock) as api:
        await read(api)
        clock.moved += 3350
        await read(api)
        await read(api)
        assert org.lines == [TOKEN, READ, TOKEN, READ, READ]
        assert {bearer(asked) for asked in org.asked if str(asked) == READ} == {"Bearer a"}
        org.script = [grants(access_token="b"), FOUND]
        clock.moved += 100
        await read(api)
    assert bearer(org.asked[-1]) == "Bearer b"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"token_type":"Bearer"}',
        b'{"access_token":"a b","token_type":"Bearer"}',
        b'{"access_token":"a\\r\\nX: y","token_type":"Bearer"}',
        b'{"access_token":"","token_type":"Bearer"}',
        b'{"access_token":"a","token_type":"mac"}',
        b'{"access_token":"a","token_type":"Bearer","expires_in":0}',
        b'{"access_token":"a","token_type":"Bearer","expires_in":-1}',
        b'{"access_token":"a","token_type":"Bearer","expires_in":1e999}',
        b'{"access_token":"a","token_type":"Bearer","expires_in":"soon"}',
        b'{"access_token":"' + b"a" * 17_000 + b'","token_type":"Bearer"}',
        b"[" * 100_000,
    ],
    ids=range(13),
)
async def test_a_token_answer_that_cannot_be_used_is_asked_for_again(body: bytes) -> None:
    async with peer(Says(body=body, headers=rated())) as org, calling(org.url) as api:
        with pytest.raises(NoAnswer, match="after 3 attempts: 200 with a token"):
            await read(api)
    assert org.lines == [TOKEN] * 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_token_endpoint_is_not_followed_elsewhere(status: int) -> None:
    async with peer(Says(body=OBJECT)) as elsewhere:
        step = Says(status=status, headers=rated(("Location", f"{elsewhere.url}/oauth2/v1/token")))
        async with peer(step) as org, calling(org.url) as api:
            with pytest.raises(NoAnswer, match="redirect") as caught:
                await read(api)
        assert org.lines == [TOKEN]
        assert elsewhere.asked == []
    assert not caught.value.lost


LIVES: list[tuple[dict[str, object], float]] = [({}, 3300.0), ({"expires_in": 60}, 54.0)]


@pytest.mark.parametrize(("life", "renewed"), LIVES)
async def test_a_token_is_renewed_before_it_ends(life: dict[str, object], renewed: float) -> None:
    clock = MovableClock()
    answers: Callable[[], Says] = lambda: grants(**life)  # noqa: E731 - a new token each
    async with (
        peer(answers(), FOUND, FOUND, answers(), FOUND) as org,
        calling(org.url, clock=clock) as api,
    ):
        await read(api)
        clock.moved += renewed - 1
        await read(api)
        assert org.lines == [TOKEN, READ, READ]
        clock.moved += 1.5
        await read(api)
    assert org.lines == [TOKEN, READ, READ, TOKEN, READ]
