"""The words of the domain as frozen data: keys, targets, outcomes and their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NewType

AppId = NewType("AppId", str)
Kid = NewType("Kid", str)
RunId = NewType("RunId", str)

NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRef:
    """A key as an app holds it. A kid means one certificate in the whole org."""

    app: AppId
    kid: Kid


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What the X.509 certificate of a key says, read from its DER."""

    thumbprint: str  # x5t#S256: base64url without padding of SHA-256 over the DER (RFC 7517 4.9)
    not_before: datetime
    not_after: datetime
    subject: str
    signature_hash: str  # e.g. sha256
    key_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One app that is to receive the key."""

    job: str
    app: AppId
    tags: Mapping[str, str] = field(
        default_factory=lambda: NO_TAGS
    )  # the other columns of its CSV row


class Status(StrEnum):
    """What became of a target."""

    PLANNED = "planned"  # only in a dry run: it would be cloned
    CLONED = "cloned"
    ALREADY_PRESENT = "already_present"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_staged(self) -> bool:
        """Say whether the target holds the key."""
        return self in (Status.CLONED, Status.ALREADY_PRESENT)


class Proof(StrEnum):
    """What shows that a staged target holds the key."""

    RESPONSE = "response"  # the 201 itself: kid, certificate and Location all match
    CAUSE = "cause"  # the 400 whose cause says that the key already exists
    READ = "read"  # one read of the key on the target


class Reason(StrEnum):
    """Why a target is not staged."""

    TARGET_NOT_FOUND = "target_not_found"
    FORBIDDEN = "forbidden"
    ACCESS_REFUSED = "access_refused"  # our credential is good for nothing any more
    REJECTED = "rejected"
    PROOF_MISMATCH = "proof_mismatch"
    NO_ANSWER = "no_answer"
    INTERRUPTED = "interrupted"
    SOURCE_UNUSABLE = "source_unusable"
    NOT_REACHED = "not_reached"


class StopCause(StrEnum):
    """What ends a run before its last target."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    ACCESS = "access"
    DEADLINE = "deadline"
    FAILURES = "failures"
    MAX_TARGETS = "max_targets"
    JOURNAL = "journal"  # it cannot be written any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the org said about one target, and what it took to learn it."""

    http_status: int | None = None
    okta_code: str | None = None
    causes: tuple[str, ...] = ()
    thumbprint: str | None = None  # recomputed from x5c, never copied from the answer
    location_app: AppId | None = None  # the app that the Location header names
    request_ids: tuple[str, ...] = ()  # X-Okta-Request-Id, also the System Log's transaction.id
    attempts: int = 0  # requests sent, reads included
    lost_answers: int = 0  # attempts that may have taken effect without our learning it
    waited_seconds: float = 0.0  # pacing and backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target, with the evidence for it."""

    target: Target
    key: KeyRef
    status: Status
    detail: str  # one sentence for a person
    label: str | None = None  # the app's label, where the run has read it
    proof: Proof | None = None  # set when staged
    reason: Reason | None = None  # set when not staged
    retryable: bool = False  # a later run may well succeed
    evidence: Evidence = field(default=Evidence())
    settled_at: datetime | None = None
