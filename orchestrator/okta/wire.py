"""Okta's wire format: bodies, the headers that matter, and what an answer means.

Everything here is pure. Bodies are parsed leniently, since no field of a key is marked required in
Okta's OpenAPI document; what must hold is checked where it is used as proof.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import Generic, Protocol, TypeGuard, TypeVar, overload
from urllib.parse import urlsplit

import msgspec

from orchestrator.model import AppId, Kid
from orchestrator.okta.caps import (
    DATES,
    LONGEST_ID,
    LONGEST_QUERY,
    LONGEST_TEXT,
    LONGEST_WINDOW,
    MOST_CAUSES,
)
from orchestrator.okta.reading import decode
from orchestrator.scrubbing import scrub
from orchestrator.writing import on_one_line

REQUEST_ID = "X-Okta-Request-Id"
ALREADY_EXISTS = re.compile("already exists", re.IGNORECASE)
VALIDATION_FAILED = "E0000001"
FEATURE_FORBIDDEN = "E0000015"
NOT_FOUND = re.compile(r"Resource not found: (?P<id>\S+)(?: \((?P<type>\w+)\))?")
IDENTITY = rf"[A-Za-z0-9_-]{{1,{LONGEST_ID}}}"  # of ids that we put into paths, files and commands
identity_pattern = re.compile(IDENTITY)
KEY_LOCATION = re.compile(
    rf"[^?#]*/api/v1/(?:apps|idps)/(?P<app>{IDENTITY})/credentials/keys/(?P<kid>{IDENTITY})"
    r"(?:[?#].*)?"
)
# Neither part runs past the next `<`, so that no header takes long to search.
LINK = re.compile(r'<(?P<url>[^<>]*)>\s*;[^,<]*\brel="?(?P<rel>\w+)"?')
QUERY = re.compile(rf"[!$-;=?-\[\]-~]{{0,{LONGEST_QUERY}}}")  # visible ASCII without " # < > and \\

T = TypeVar("T")


class Headers(Protocol):
    """What we need of a case-insensitive multi-dictionary."""

    def get(self, key: str, /) -> str | None: ...
    def getall(self, key: str, default: list[str], /) -> Sequence[str]: ...


class JsonWebKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key credential. `kid` is opaque: it is no thumbprint of anything."""

    kid: str | None = None
    x5c: list[str] = []
    x5t_s256: str | None = msgspec.field(name="x5t#S256", default=None)
    created: str | None = None
    expires_at: str | None = msgspec.field(name="expiresAt", default=None)


class SigningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate signing request. Its key pair stays with Okta, unlisted until published."""

    id: str
    csr: str | None = None  # standard base64 of its DER
    created: str | None = None


class SigningCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Which key an app signs with; no kid for sign-on modes that do not sign."""

    kid: str | None = None


class AppCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an app's credentials that we read."""

    signing: SigningCredentials | None = None


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an app that we read. Never send it back: it is not the whole app."""

    id: str
    label: str | None = None
    name: str | None = None  # of the integration in Okta's catalog
    status: str | None = None
    sign_on_mode: str | None = msgspec.field(name="signOnMode", default=None)  # null is recorded
    last_updated: str | None = msgspec.field(name="lastUpdated", default=None)
    credentials: AppCredentials | None = None

    @property
    def active_kid(self) -> str | None:
        """Return the kid the app signs with now."""
        signing = self.credentials.signing if self.credentials else None
        return signing.kid if signing else None


class ErrorCause(msgspec.Struct, frozen=True):
    """One reason within an error."""

    errorSummary: str = ""  # noqa: N815 - Okta's name


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Okta's error object. Only `errorCode` is promised to stay the same."""

    code: str | None = msgspec.field(name="errorCode", default=None)
    summary: str = msgspec.field(name="errorSummary", default="")
    causes: list[ErrorCause] = msgspec.field(name="errorCauses", default=[])


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the org said no."""

    status: int
    code: str | None
    summary: str
    causes: tuple[str, ...] = ()
    # What an admin can do, where it is a matter of permission: our words, not the org's.
    remedy: str | None = field(default=None, compare=False)

    @property
    def is_duplicate(self) -> bool:
        """Say whether this is Okta's answer to cloning a key that the target already has.

        The code alone is Okta's generic validation error, and the summary only names the failing
        validator, so the cause decides (ErrorKeyCredentialCloneDuplicateKey in Okta's OpenAPI).
        """
        return (
            self.status == 400
            and self.code == VALIDATION_FAILED
            and any(ALREADY_EXISTS.search(cause) for cause in self.causes)
        )

    @property
    def missing_id(self) -> str | None:
        """Return the id that a 404 names as not found, if it names one."""
        match = NOT_FOUND.search(self.summary) if self.status == 404 else None
        return match["id"] if match else None

    @property
    def said(self) -> str:
        """Return what the org said."""
        causes = "; ".join(self.causes)
        text = f"{self.status} {self.code or 'without an Okta code'}: {self.summary}"
        return on_one_line(f"{text} ({causes})" if causes else text)

    def __str__(self) -> str:
        return f"{self.said}; {self.remedy}" if self.remedy else self.said


@dataclass(frozen=True, slots=True, kw_only=True)
class RateHeaders:
    """What one answer says of its rate-limit bucket. Times are whole seconds of the server."""

    limit: int
    remaining: int
    reset: int  # epoch second at which the window ends
    date: int  # epoch second of the answer


@dataclass(slots=True)
class CallTrace:
    """What it took to learn something: shared by all calls made for one target."""

    attempts: int = 0
    lost_answers: int = 0  # attempts that may have taken effect without our learning it
    waited_seconds: float = 0.0
    request_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[T]):
    """A final, readable answer: a value, or the org's refusal."""

    status: int
    value: T | None = None
    refusal: Refusal | None = None
    location: str | None = None
    link: tuple[str, ...] = ()


class Meaning(Enum):
    """What an answer means for the call, before anyone looks at what was asked."""

    FINAL = "final"
    RATE_LIMITED = "rate limited"
    TOO_MANY_AT_ONCE = "too many calls at once"
    TRANSIENT = "transient"
    TOKEN_REJECTED = "token rejected"  # noqa: S105 - a name, not a credential
    SCOPE_MISSING = "scope missing"
    REDIRECT = "redirect"


RETRIED_STATUSES = frozenset({423, 500, 502, 503, 504})


def meaning_of(status: int, rate: RateHeaders | None, code: str | None, challenge: str) -> Meaning:
    """Classify an answer by its status, Okta code and WWW-Authenticate challenge.

    Rules: Okta's "Rate limits overview" (a 429 with limit 0 is the concurrency limit, not the
    window) and RFC 6750 section 3.1 for insufficient_scope. E0000015 comes with a 401 though the
    token is good.
    """
    if status == 429:
        crowded = rate is not None and rate.limit == 0
        return Meaning.TOO_MANY_AT_ONCE if crowded else Meaning.RATE_LIMITED
    if status in RETRIED_STATUSES:
        return Meaning.TRANSIENT
    if 300 <= status < 400:
        return Meaning.REDIRECT
    if status == 401 and code != FEATURE_FORBIDDEN:
        return Meaning.TOKEN_REJECTED
    if status == 403 and "insufficient_scope" in challenge:
        return Meaning.SCOPE_MISSING
    return Meaning.FINAL


def refusal_of(status: int, body: bytes) -> Refusal:
    """Read an error body; an empty one is legal (OAuth's 403). Of long texts the beginning is kept.

    Raises:
        ValueError: the body is neither empty nor an error object.
    """
    if not body.strip():
        return Refusal(status=status, code=None, summary="no body")
    error = decode(body, ErrorBody)
    return Refusal(
        status=status,
        code=shortened(error.code),
        summary=reason_text(error.summary),
        causes=tuple(reason_text(cause.errorSummary) for cause in error.causes[:MOST_CAUSES]),
    )


@overload
def shortened(text: str) -> str: ...
@overload
def shortened(text: str | None) -> str | None: ...
def shortened(text: str | None) -> str | None:
    """Return a text that is kept for people: no more than the beginning of a very long one."""
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}..."


def reason_text(text: str) -> str:
    """Return a reason that is kept for people: without a secret, for some gateways tell all.

    A secret that is cut off would not be found, so it is looked for in more than is kept.
    """
    return shortened(scrub(text[: 2 * LONGEST_TEXT]))


@lru_cache(maxsize=16)
def epoch_second(date: str) -> int | None:
    """Return an HTTP date (RFC 9110 section 5.6.7) as epoch seconds.

    None where it cannot be read, or is in no year in which this program runs.
    """
    try:
        second = int(parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return None
    first, last = DATES
    return second if first <= second < last else None


def rate_headers(headers: Headers) -> RateHeaders | None:
    """Read the rate-limit headers; None when any is absent, unreadable or beyond belief.

    A window that ends in more than an hour would make us wait for as long as the org pleases. A
    header may be repeated, for the org and for the token: the smaller remaining binds.
    """
    date = epoch_second(headers.get("Date") or "")
    limits = whole_numbers(headers.getall("X-Rate-Limit-Limit", []))
    remaining = whole_numbers(headers.getall("X-Rate-Limit-Remaining", []))
    resets = whole_numbers(headers.getall("X-Rate-Limit-Reset", []))
    if date is None or not (limits and remaining and resets):
        return None
    tightest = remaining.index(min(remaining))
    reset = resets[min(tightest, len(resets) - 1)]
    if reset - date > LONGEST_WINDOW:
        return None
    return RateHeaders(
        limit=limits[min(tightest, len(limits) - 1)],
        remaining=remaining[tightest],
        reset=reset,
        date=date,
    )


def moment_of(text: object) -> datetime | None:
    """Return a time of Okta's, which is in UTC where it names no zone; None if not readable."""
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def whole_numbers(texts: Sequence[str]) -> list[int]:
    """Return the non-negative integers among header values, dropping what is none."""
    return [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 16]


def is_identity(text: str | None) -> TypeGuard[str]:
    """Say whether a text is an id, or a kid, that may become part of a path, a file or a command.

    Reading is lenient where nothing is built from an id: Okta's reference itself has a kid of
    "test key ID".
    """
    return text is not None and identity_pattern.fullmatch(text) is not None


def located_key(location: str | None) -> tuple[AppId, Kid] | None:
    """Return the app and kid that a Location header names; its host is not ours to trust."""
    match = KEY_LOCATION.fullmatch(location) if location else None
    return (AppId(match["app"]), Kid(match["kid"])) if match else None


def next_page(link: Sequence[str], path: str) -> str | None:
    """Return path and query of the next page (RFC 8288), or None on the last.

    Okta writes its canonical host into links, so the host is dropped, never followed.

    Raises:
        ValueError: the link leads to another path, or has a query that none of Okta's has.
    """
    for value in link:
        for match in LINK.finditer(value):
            if match["rel"] == "next":
                url = urlsplit(match["url"])
                if url.path != path:
                    raise ValueError(f"the next page leaves {path}")
                if not QUERY.fullmatch(url.query):
                    raise ValueError(f"the next page of {path} is asked for with an odd query")
                return f"{url.path}?{url.query}"
    return None


def request_id_of(headers: Headers) -> str | None:
    """Return the id under which Okta knows the request; None when it is no short visible ASCII."""
    text = headers.get(REQUEST_ID)
    is_fit = text and len(text) <= LONGEST_ID and text.isascii() and text.isprintable()
    return text if is_fit else None


def challenge_scope(headers: Mapping[str, str]) -> str | None:
    """Return the scope that a WWW-Authenticate challenge asks for."""
    match = re.search(r'scope="([ -~]*?)"', headers.get("WWW-Authenticate", ""))
    return match[1] if match else None
