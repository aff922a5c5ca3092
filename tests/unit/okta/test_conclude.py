"""What an answer means: from its status, code and headers to a reply, or to an error."""

from __future__ import annotations

import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from orchestrator.errors import (
    AccessError,
    ExitCode,
    OrchestratorError,
    Refused,
    ScopeMissing,
    TokenRejected,
    Transient,
)
from orchestrator.okta.call import Call, RawAnswer, conclude, retry_after
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import (
    JsonWebKey,
    Meaning,
    RateHeaders,
    Refusal,
    Reply,
    challenge_scope,
    meaning_of,
)

CALL = Call(
    method="POST",
    template="/api/v1/apps/{id}/credentials/keys/{kid}/clone",
    path="/api/v1/apps/0oa/credentials/keys/k/clone?targetAid=0ob",
    bucket=Bucket.APPS,
    kind=JsonWebKey,
)
DATE = "Wed, 01 Oct 2025 12:00:00 GMT"
PAGE = b"<html><title>nginx</title></html>"
GARBAGE = {
    "html": PAGE,
    "text": b"upstream error",
    "half": b'{"errorCode": "E00',
    "list": b"[]",
    "bytes": b"\x00\xff",
}
ROOMY = RateHeaders(limit=50, remaining=10, reset=1_759_320_030, date=1_759_320_000)
CROWDED = RateHeaders(limit=0, remaining=0, reset=1_759_320_000, date=1_759_320_000)
SCOPE = 'Bearer error="insufficient_scope", scope="okta.apps.manage"'


def answer(status: int, body: bytes = b"", **headers: str) -> RawAnswer:
    named = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    return RawAnswer(status, CIMultiDictProxy(named), body)


def error_body(code: str) -> bytes:
    return msgspec.json.encode({"errorCode": code, "errorSummary": "said"})


def failure(given: RawAnswer) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        conclude(CALL, given)
    return caught.value


def transient(given: RawAnswer) -> Transient:
    raised = failure(given)
    assert isinstance(raised, Transient)
    return raised


@pytest.mark.parametrize(
    ("status", "code", "challenge", "meaning"),
    [
        (400, "E0000001", "", Meaning.FINAL),
        (401, None, "", Meaning.TOKEN_REJECTED),
        (401, "E0000011", "", Meaning.TOKEN_REJECTED),
        (401, "E0000015", "", Meaning.FINAL),
        (401, None, 'Bearer error="insufficient_scope"', Meaning.TOKEN_REJECTED),
        (403, "E0000006", "", Meaning.FINAL),
        (403, None, "", Meaning.FINAL),
        (403, None, 'Bearer error="invalid_token"', Meaning.FINAL),
        (403, None, 'Bearer error="insufficient_scope"', Meaning.SCOPE_MISSING),
        (404, "E0000007", "", Meaning.FINAL),
        (409, None, "", Meaning.FINAL),
        (423, None, "", Meaning.TRANSIENT),
        (500, "E0000009", "", Meaning.TRANSIENT),
        (501, "E0000060", "", Meaning.FINAL),
        (502, None, "", Meaning.TRANSIENT),
        (503, "E0000010", "", Meaning.TRANSIENT),
        (504, None, "", Meaning.TRANSIENT),
        *((status, None, "", Meaning.REDIRECT) for status in (300, 301, 302, 304, 307, 308, 399)),
    ],
)
def test_what_an_answer_means(
    status: int, code: str | None, challenge: str, meaning: Meaning
) -> None:
    assert meaning_of(status, None, code, challenge) is meaning
    assert meaning_of(status, CROWDED, code, challenge) is meaning  # only a 429 is judged by it


@pytest.mark.parametrize("code", ["E0000047", None])
@pytest.mark.parametrize(
    ("rate", "meaning"),
    [
        (None, Meaning.RATE_LIMITED),
        (ROOMY, Meaning.RATE_LIMITED),
        (CROWDED, Meaning.TOO_MANY_AT_ONCE),
    ],
)
def test_a_429_with_limit_zero_is_the_concurrency_limit(
    rate: RateHeaders | None, meaning: Meaning, code: str | None
) -> None:
    assert meaning_of(429, rate, code, "") is meaning


@pytest.mark.parametrize(
    ("challenge", "scope"),
    [
        ('Bearer error="insufficient_scope", scope="okta.apps.manage"', "okta.apps.manage"),
        ('Bearer scope=""', ""),
        ("Bearer", None),
        (None, None),
    ],
)
def test_the_challenge_names_the_scope(challenge: str | None, scope: str | None) -> None:
    given = {"WWW-Authenticate": challenge} if challenge is not None else {}
    assert challenge_scope(given) == scope


def test_a_success_is_its_value_with_the_headers_that_prove_it() -> None:
    given = RawAnswer(
        201,
        CIMultiDictProxy(
            CIMultiDict([("location", "/there"), ("link", "<a>; rel=x"), ("Link", "<b>; rel=y")])
        ),
        b'{"kid": "k"}',
    )
    assert conclude(CALL, given) == Reply(
        status=201,
        value=JsonWebKey(kid="k"),
        location="/there",
        link=("<a>; rel=x", "<b>; rel=y"),
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("body", [b"", *GARBAGE.values()], ids=["empty", *GARBAGE])
def test_a_success_that_cannot_be_read_is_as_good_as_lost(status: int, body: bytes) -> None:
    raised = transient(answer(status, body))
    assert raised.lost
    assert raised.answered
    assert not raised.limited
    assert raised.message.startswith(str(status))


def parse_upper(body: bytes) -> bytes:
    """Read a body as a call with a reader of its own does."""
    if not body.isupper():
        raise ValueError("not upper case")
    return body


def test_a_call_may_read_its_body_in_its_own_way() -> None:
    call = Call(
        method="GET", template="/", path="/", bucket=Bucket.ORG, kind=bytes, reader=parse_upper
    )
    assert conclude(call, answer(200, b"RAW {")).value == b"RAW {"
    with pytest.raises(Transient, match="cannot be read") as caught:
        conclude(call, answer(200, b"raw"))
    assert caught.value.lost


def test_the_body_of_a_call_is_not_shown() -> None:
    call = Call(
        method="PUT",
        template="/api/v1/idps/{idpId}",
        path="/api/v1/idps/0oi",
        bucket=Bucket.IDPS,
        kind=bytes,
        body=b'{"client_secret": "s3cr3t"}',
    )
    assert "s3cr3t" not in repr(call) + str(call)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "E0000001"),
        (401, "E0000015"),
        (403, "E0000006"),
        (404, "E0000007"),
        (409, "E0000001"),
        (501, "E0000060"),
    ],
)
def test_a_refusal_that_a_retry_will_not_change_is_a_reply(status: int, code: str) -> None:
    reply = conclude(CALL, answer(status, error_body(code)))
    assert reply == Reply(
        status=status, refusal=Refusal(status=status, code=code, summary="said", causes=())
    )


@pytest.mark.parametrize("body", [b"", error_body("E0000011"), PAGE], ids=["empty", "Okta", "html"])
def test_a_401_means_that_the_token_is_rejected(body: bytes) -> None:
    raised = failure(answer(401, body, X_Okta_Request_Id="req1"))
    assert isinstance(raised, TokenRejected)
    assert raised.exit_code is ExitCode.ACCESS
    assert raised.context["request_id"] == "req1"
    assert "targetAid" not in raised.diagnostics()  # the template, not the path
    assert raised.hint


@pytest.mark.parametrize("body", [b"", error_body("E0000005"), PAGE], ids=["empty", "Okta", "html"])
def test_a_403_with_the_challenge_means_a_missing_scope(body: bytes) -> None:
    raised = failure(answer(403, body, WWW_Authenticate=SCOPE))
    assert isinstance(raised, ScopeMissing)
    assert "okta.apps.manage" in raised.message
    assert raised.context["scope"] == "okta.apps.manage"


def test_a_missing_scope_may_be_nameless() -> None:
    raised = failure(answer(403, WWW_Authenticate='Bearer error="insufficient_scope"'))
    assert raised.message == "the token lacks the scope it needs"
    assert "scope" not in raised.context


def test_a_bare_403_concerns_this_app_only() -> None:
    reply = conclude(CALL, answer(403))
    assert reply.refusal == Refusal(status=403, code=None, summary="no body")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("body", [b"", PAGE, b"{}"], ids=["empty", "html", "object"])
def test_a_redirect_is_refused_whatever_its_body(status: int, body: bytes) -> None:
    raised = failure(answer(status, body, Location="https://evil.example/"))
    assert isinstance(raised, Refused)
    assert str(status) in raised.message
    assert "evil" not in raised.diagnostics()


@pytest.mark.parametrize("body", [b"", error_body("E0000047"), PAGE], ids=["empty", "Okta", "html"])
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (None, "429: rate limited"),
        ("50", "429: rate limited"),
        ("0", "429: too many calls at once"),
    ],
)
def test_a_429_is_a_rate_limit_of_one_kind_or_the_other(
    limit: str | None, message: str, body: bytes
) -> None:
    rate = {"Date": DATE, "X_Rate_Limit_Remaining": "0", "X_Rate_Limit_Reset": "1759320030"}
    given = rate | {"X_Rate_Limit_Limit": limit} if limit is not None else {}
    raised = transient(answer(429, body, **given))
    assert (raised.message, raised.limited, raised.lost) == (message, True, False)
    assert raised.wait is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_org_asks_for_is_passed_on(status: int) -> None:
    assert transient(answer(status, Retry_After="17")).wait == 17.0


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", error_body("E0000009"), *GARBAGE.values()])
def test_an_error_of_the_server_may_have_taken_effect(status: int, body: bytes) -> None:
    raised = transient(answer(status, body, X_Okta_Request_Id="req1"))
    assert (raised.lost, raised.limited) == (True, False)
    assert raised.context["request_id"] == "req1"


@pytest.mark.parametrize(
    ("status", "answered"),
    [(429, True), (423, True), (500, True), (502, False), (503, True), (504, False)],
)
def test_a_gateway_that_gave_up_has_not_ended_the_call(status: int, answered: bool) -> None:
    assert transient(answer(status, error_body("E0000009"))).answered is answered


def test_a_locked_org_did_nothing_and_may_be_asked_again() -> None:
    raised = transient(answer(423, error_body("E0000001")))
    assert (raised.lost, raised.limited) == (False, False)


@pytest.mark.parametrize("status", [400, 402, 403, 404, 405, 409, 411, 418, 422, 423, 501, 505])
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_settles_nothing_at_any_status(status: int, body: bytes) -> None:
    raised = transient(answer(status, body))
    assert raised.lost
    assert raised.message == f"{status} with a body that cannot be read"
    assert body.decode("latin-1") not in raised.diagnostics()


@pytest.mark.parametrize("status", [*range(300, 430), *range(500, 512)])
def test_every_status_has_an_answer(status: int) -> None:
    """A run ends only for what is wrong with the credential; the rest concerns one call."""
    try:
        reply = conclude(CALL, answer(status, error_body("E0000001")))
    except AccessError:
        assert status == 401
    except (Transient, Refused):
        pass
    else:
        assert reply.refusal is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("99999", 99999.0),
        ("100000", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        (DATE, None),
    ],
)
def test_retry_after_is_seconds_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after(answer(429, Retry_After=text)) == seconds
