"""The org's token endpoint: what is sent to it, and what its answers mean. Pure.

Its errors have OAuth's shape (RFC 6749 section 5.2), but for those of what stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from orchestrator.errors import AccessError, ClientRejected, Transient
from orchestrator.okta.call import Call, Composed, RawAnswer, failure_for, read_refusal, retry_after
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import Meaning, reason_text, request_id_of
from orchestrator.secret import Secret
from orchestrator.writing import on_one_line

TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105 - a path, not a credential
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
NONCE_HEADER = "DPoP-Nonce"
USE_NONCE = "use_dpop_nonce"
BAD_PROOF = "invalid_dpop_proof"
BAD_CLIENT = "invalid_client"
PASSING_ERRORS = frozenset({"temporarily_unavailable", "server_error"})  # whatever the status

USUAL_LIFETIME = 3600.0  # seconds; Okta's are fixed to that
LONGEST_LIFETIME = 86_400.0
LARGEST_TOKEN = 16 * 1024
LARGEST_NONCE = 1024
LONGEST_TOLD = 300  # characters of a description
WORTH_TELLING_SKEW = 2.0  # seconds by which clocks differ

token_pattern = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1: what a header can hold


class TokenAnswer:
    """What the endpoint said for good."""

    nonce: str | None  # for the next proof (RFC 9449 section 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(TokenAnswer):
    """An access token."""

    token: Secret
    lifetime: float  # seconds from when it was made
    is_bound: bool  # to the proof key (DPoP)
    scopes: tuple[str, ...]
    nonce: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection(TokenAnswer):
    """Why there is no token, in the words of the org."""

    status: int
    error: str  # of OAuth's vocabulary, or Okta's code
    description: str
    nonce: str | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.error}: {self.description or 'without a description'}"


class GrantBody(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    expires_in: float | None = None
    scope: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.2, or Okta's own error object."""

    error: str | None = None
    error_description: str | None = None
    code: str | None = msgspec.field(name="errorCode", default=None)
    summary: str | None = msgspec.field(name="errorSummary", default=None)


def token_call(compose: Callable[[str], Composed]) -> Call[TokenAnswer]:
    """Return a call for a token; each of its attempts is composed anew."""
    return Call(
        method="POST",
        template=TOKEN_PATH,
        path=TOKEN_PATH,
        bucket=Bucket.TOKEN,
        kind=TokenAnswer,
        signed=False,
        compose=compose,
        judge=judge,
    )


def compose_form(scopes: tuple[str, ...], assertion: str, proof: str | None) -> Composed:
    """Return the request of the client credentials grant (RFC 6749 section 4.4, RFC 7523)."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if proof is not None:
        headers["DPoP"] = proof
    form = {
        "grant_type": "client_credentials",
        "scope": " ".join(scopes),
        "client_assertion_type": JWT_BEARER,
        "client_assertion": assertion,
    }
    return Composed(headers=headers, body=urlencode(form).encode("ascii"))


def nonce_in(answer: RawAnswer) -> str | None:
    """Return the nonce that an answer brings, if it is fit for a proof."""
    nonce = answer.headers.get(NONCE_HEADER, "")
    fits = 0 < len(nonce) <= LARGEST_NONCE and nonce.isascii() and nonce.isprintable()
    return nonce if fits else None


def judge(answer: RawAnswer) -> TokenAnswer:
    """Read an answer of the endpoint.

    Raises:
        Transient: it says nothing for good.
        Refused: it is a redirect.
    """
    if answer.status < 300:
        return read_grant(answer)
    meaning, refusal = read_refusal(answer)
    if meaning in (Meaning.FINAL, Meaning.TOKEN_REJECTED, Meaning.SCOPE_MISSING):
        return read_objection(answer)
    raise failure_for(f"POST {TOKEN_PATH}", answer, meaning, refusal)


def read_grant(answer: RawAnswer) -> Grant:
    """Read a success; one that cannot be used is asked for again."""
    try:
        body = decode(answer.body, GrantBody)
    except ValueError:
        raise unreadable(answer, "a token answer that cannot be read") from None
    lifetime = USUAL_LIFETIME if body.expires_in is None else body.expires_in
    kind = body.token_type.lower()
    fits = len(body.access_token) <= LARGEST_TOKEN and token_pattern.fullmatch(body.access_token)
    if not fits or kind not in ("bearer", "dpop") or not 0 < lifetime < float("inf"):
        raise unreadable(answer, "a token that cannot be used")
    return Grant(
        token=Secret(body.access_token),
        lifetime=min(lifetime, LONGEST_LIFETIME),
        is_bound=kind == "dpop",
        scopes=tuple((body.scope or "").split()),
        nonce=nonce_in(answer),
    )


def read_objection(answer: RawAnswer) -> Objection:
    """Read an error; what passes by itself, or comes from a gateway, is a failed attempt."""
    try:
        body = decode(answer.body, ErrorBody)
    except ValueError:
        raise unreadable(answer, "an error that cannot be read") from None
    error = told_text(body.error or body.code or "without an error code")
    if error in PASSING_ERRORS:
        raise Transient(
            f"{answer.status} {error}",
            answered=True,
            wait=retry_after(answer),
            request_id=request_id_of(answer.headers),
        )
    return Objection(
        status=answer.status,
        error=error,
        description=told_text(body.error_description or body.summary or ""),
        nonce=nonce_in(answer),
        request_id=request_id_of(answer.headers),
    )


def told_text(text: str) -> str:
    """Return what the org says as it is told: without a secret, on one line, and not too long."""
    return on_one_line(reason_text(text)[:LONGEST_TOLD])


def unreadable(answer: RawAnswer, what: str) -> Transient:
    request_id = request_id_of(answer.headers)
    return Transient(
        f"{answer.status} with {what}", lost=True, answered=True, request_id=request_id
    )


def rejection(
    objection: Objection, app: ServiceApp, *, key_id: str | None, skew: float | None
) -> AccessError:
    """Return the error for an objection that asking again will not change.

    `skew` is by how many seconds the local clock is ahead of the org's; None: not known.
    """
    return ClientRejected(
        f"the org gives the service app {on_one_line(app.client_id[:80])} no access token: "
        f"{objection}",
        hint=advice(objection, app, key_id=key_id, skew=skew),
        call=f"POST {TOKEN_PATH}",
        request_id=objection.request_id,
    )


def advice(objection: Objection, app: ServiceApp, *, key_id: str | None, skew: float | None) -> str:
    """Say what the admin does about an objection."""
    match objection.error:
        case "invalid_client":
            key = f"under the kid {key_id}" if key_id else "and, if it has several, name its kid"
            return (
                "in Okta, the app has to be an API service app that authenticates with a public "
                f"key (private_key_jwt); register the public half of this key there {key}; "
                f"check the client id{clock_words(skew)}"
            )
        case "invalid_scope":
            return (
                f"asked for {' '.join(app.scopes) or 'no scope'}: a super admin grants each of "
                "them to the app in Okta, under its Okta API Scopes tab; or name only the scopes "
                "that it has"
            )
        case "access_denied":
            return (
                "the app, or a policy of the org, does not admit calls from this network: "
                "add this address to its network zone in Okta"
            )
        case "unauthorized_client" | "unsupported_grant_type":
            return (
                "the app may not use the client credentials grant: it has to be an API service "
                "app of this org, and active"
            )
        case "invalid_dpop_proof" | "use_dpop_nonce":
            return f"the org does not take our proof of possession (DPoP){clock_words(skew)}"
        case _:
            return "is the org URL right, and the client id that of an active API service app?"


def clock_words(skew: float | None) -> str:
    """Say how the local clock differs from the org's, where that is known."""
    if skew is None:
        return "; compare the local clock with the time"
    if abs(skew) < WORTH_TELLING_SKEW:
        return "; the clocks agree"
    side = "ahead of" if skew > 0 else "behind"
    told = f"the local clock is {abs(skew):.0f} s {side} the org's"
    return f"; {told}, which was allowed for: set it right all the same"
