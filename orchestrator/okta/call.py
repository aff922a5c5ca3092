"""One call, and what its answer means: a reply, or the error that stands for it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from multidict import CIMultiDictProxy

from orchestrator.errors import Refused, ScopeMissing, TokenRejected, Transient
from orchestrator.okta.caps import KEY_BODY
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.permissions import Caller, rejected_remedy, remedy_for, scope_remedy
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import (
    Meaning,
    Refusal,
    Reply,
    challenge_scope,
    meaning_of,
    rate_headers,
    refusal_of,
    request_id_of,
)

GATEWAY_STATUSES = frozenset({502, 504})  # what stands behind the gateway may still be at work

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """Headers and body of one attempt, made for it alone."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call, before anyone has waited for it or signed it."""

    method: str
    template: str  # the path with placeholders: for logs and errors
    path: str  # percent-encoded, with its query
    bucket: Bucket
    kind: type[T]  # what the body of a success is parsed into
    reader: Callable[[bytes], T] | None = None  # parses it instead; ValueError: unreadable
    body: bytes | None = field(default=None, repr=False)  # may hold an IdP's client secret
    content_type: str | None = None  # of the body
    accept: str | None = None  # None: JSON
    repeatable: bool = True  # False: a second one would do a second thing, or undo another's
    signed: bool = True  # False: it goes out without our credential
    compose: Callable[[str], Composed] | None = None  # address -> what this attempt sends
    judge: Callable[[RawAnswer], T] | None = None  # reads every answer, errors included, instead
    most_bytes: int = KEY_BODY  # of the body of a success, decompressed

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def has_own_headers(self) -> bool:
        return self.content_type is not None or self.accept is not None

    @property
    def own_headers(self) -> dict[str, str]:
        """Return the headers that say more than those of every call."""
        named = {"Content-Type": self.content_type, "Accept": self.accept}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came, size-capped and decompressed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


def conclude(call: Call[T], answer: RawAnswer, caller: Caller = Caller.API_TOKEN) -> Reply[T]:
    """Turn an answer into a reply, or raise what it means for the call.

    An answer that cannot be read is as good as lost, whatever its status: a call that may be
    repeated is, and then a readable answer tells. See `Transport.send` for what is raised.
    """
    if call.judge is not None:
        return Reply(status=answer.status, value=call.judge(answer))
    if answer.status < 300:
        return accept(call, answer)
    meaning, refusal = read_refusal(answer)
    if meaning is Meaning.FINAL and refusal is not None:
        remedy = remedy_for(refusal, caller, call.template)
        return Reply(status=answer.status, refusal=replace(refusal, remedy=remedy))
    raise failure_for(call, answer, meaning, refusal, caller)


def read_refusal(answer: RawAnswer) -> tuple[Meaning, Refusal | None]:
    """Return what an answer other than a success means, and its error body if it can be read."""
    try:
        refusal: Refusal | None = refusal_of(answer.status, answer.body)
    except ValueError:
        refusal = None
    meaning = meaning_of(
        answer.status,
        rate_headers(answer.headers),
        refusal.code if refusal else None,
        answer.headers.get("WWW-Authenticate", ""),
    )
    return meaning, refusal


def accept(call: Call[T], answer: RawAnswer) -> Reply[T]:
    """Parse the body of a success."""
    try:
        value = call.reader(answer.body) if call.reader else decode(answer.body, call.kind)
    except ValueError as error:
        raise Transient(
            f"{answer.status} with a body that cannot be read",
            lost=True,
            answered=True,
            request_id=request_id_of(answer.headers),
        ) from error
    return Reply(
        status=answer.status,
        value=value,
        location=answer.headers.get("Location"),
        link=tuple(answer.headers.getall("Link", ())),
    )


def failure_for(
    call: object,
    answer: RawAnswer,
    meaning: Meaning,
    refusal: Refusal | None,
    caller: Caller = Caller.API_TOKEN,
) -> Exception:
    """Return the error that stands for an answer which is no reply."""
    said = str(refusal) if refusal else f"{answer.status} with a body that cannot be read"
    request_id = request_id_of(answer.headers)
    match meaning:
        case Meaning.TOKEN_REJECTED:
            return TokenRejected(
                f"the org does not accept the {caller.token_name}: {said}",
                hint=rejected_remedy(caller, answer.headers.get("WWW-Authenticate", "")),
                call=call,
                request_id=request_id,
            )
        case Meaning.SCOPE_MISSING:
            scope = challenge_scope(answer.headers)
            return ScopeMissing(
                f"the token lacks the scope {scope or 'it needs'}",
                hint=scope_remedy(caller, scope),
                scope=scope,
                call=call,
                request_id=request_id,
            )
        case Meaning.REDIRECT:
            return Refused(
                f"the org answers with a redirect ({answer.status}), which is not followed",
                hint="is the org URL the org's own host?",
                call=call,
                request_id=request_id,
            )
        case Meaning.RATE_LIMITED | Meaning.TOO_MANY_AT_ONCE:
            return Transient(
                f"429: {meaning.value}",
                answered=True,
                limited=True,
                wait=retry_after(answer),
                request_id=request_id,
            )
        case _:
            return Transient(
                said,
                lost=answer.status >= 500 or refusal is None,
                answered=answer.status not in GATEWAY_STATUSES,
                wait=retry_after(answer),
                request_id=request_id,
            )


def retry_after(answer: RawAnswer) -> float | None:
    """Return Retry-After in seconds (RFC 9110 section 10.2.3); Okta itself never sends it."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
