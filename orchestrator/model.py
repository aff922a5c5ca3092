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
NEW_KID = Kid("new")  # stands for a key that is still to be made, or still to be looked up


class Resource(StrEnum):
    """What holds signing keys: an app, or an identity provider. Both have ids of one kind."""

    APP = "app"
    IDP = "idp"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRef:
    """A key as an app, or an IdP, holds it. A kid means one certificate in the whole org."""

    app: AppId  # empty where every target gets a key of its own
    kid: Kid
    resource: Resource = Resource.APP

    @property
    def is_known(self) -> bool:
        """Say whether the key exists already, and which one it is."""
        return self.kid != NEW_KID


class KeyKind(StrEnum):
    """How a plan names the key of a job."""

    KID = "kid"
    ACTIVE = "active"  # whatever the source signs with when the run begins
    NEWEST = "newest"  # the key of the source that was made last
    GENERATE = "generate"  # a new key of the source, made once
    GENERATE_EACH = "generate_each"  # a new key for every target, and nothing is shared
    CSR = "csr"  # a key whose certificate a CA signs


@dataclass(frozen=True, slots=True, kw_only=True)
class CsrRequest:
    """What a certificate signing request asks for, in Okta's terms."""

    country: str | None = None
    state: str | None = None
    locality: str | None = None
    organization: str | None = None
    organizational_unit: str | None = None
    common_name: str
    dns_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """Which key a job is about, as its plan says it."""

    kind: KeyKind = KeyKind.KID
    validity_years: int | None = None  # from 2 to 10, for keys that are generated
    csr: CsrRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What the X.509 certificate of a key says, read from its DER."""

    thumbprint: str  # x5t#S256: base64url without padding of SHA-256 over the DER (RFC 7517 4.9)
    not_before: datetime
    not_after: datetime
    subject: str
    signature_hash: str  # e.g. sha256
    key_bits: int
    x5c: str = ""  # the certificate itself: standard base64 of its DER


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
    GENERATED = "generated"  # it got a new key of its own
    ALREADY_PRESENT = "already_present"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_staged(self) -> bool:
        """Say whether the target holds the key."""
        return self in (Status.CLONED, Status.GENERATED, Status.ALREADY_PRESENT)


class Proof(StrEnum):
    """What shows that a target holds the key, or signs with it."""

    RESPONSE = "response"  # the answer to the write itself says so, and all of it matches
    CAUSE = "cause"  # the 400 whose cause says that the key already exists
    READ = "read"  # one read of the key on the target, or of the target
    METADATA = "metadata"  # the SAML metadata that the app publishes for the kid
    LIST = "list"  # the list of all apps that sign with the key


class Verify(StrEnum):
    """How far a run goes to prove what it did."""

    RESPONSE = "response"  # the answer to the write; costs no call
    READ_BACK = "read_back"  # the key is read on every target, and each wave is listed by key
    METADATA = "metadata"  # the metadata of every target holds the certificate; waves as above


class Reason(StrEnum):
    """Why a target is not staged, or not activated."""

    TARGET_NOT_FOUND = "target_not_found"
    FORBIDDEN = "forbidden"
    ACCESS_REFUSED = "access_refused"  # our credential is good for nothing any more
    REJECTED = "rejected"
    PROOF_MISMATCH = "proof_mismatch"
    NO_ANSWER = "no_answer"
    INTERRUPTED = "interrupted"
    SOURCE_UNUSABLE = "source_unusable"
    NOT_REACHED = "not_reached"
    NOT_SIGNING = "not_signing"  # its sign-on mode has no signing key
    OIDC = "oidc"  # Okta rotates keys of OIDC apps by itself, and the plan does not insist
    INACTIVE = "inactive"
    DRIFT = "drift"  # somebody else has changed what the target signs with
    COLLATERAL = "collateral"  # the org changed more than the key
    HOOK = "hook"  # a hook of the plan said no


class StopCause(StrEnum):
    """What ends a run before its last target."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    ACCESS = "access"
    DEADLINE = "deadline"
    FAILURES = "failures"
    MAX_TARGETS = "max_targets"
    JOURNAL = "journal"  # it cannot be written any more
    COLLATERAL = "collateral"  # an activation changed more than the key
    WAVE = "wave"  # a wave has used up its failures
    WAITING = "waiting"  # what is left waits for a gate; nothing is wrong


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


class ActivationState(StrEnum):
    """Where a target stands between its old key and the new one."""

    PLANNED = "planned"  # only in a dry run: it would be activated
    INTENDED = "intended"  # the write was about to be sent; whether it was is not known
    ACTIVATED = "activated"
    VERIFIED = "verified"  # confirmed once more, after its wave
    FAILED = "failed"
    SKIPPED = "skipped"
    REVERTING = "reverting"  # as intended, on the way back
    ROLLED_BACK = "rolled_back"

    @property
    def is_active(self) -> bool:
        """Say whether the target signs with the key, as far as we know."""
        return self in (ActivationState.ACTIVATED, ActivationState.VERIFIED)

    @property
    def is_unknown(self) -> bool:
        """Say whether a write may have been sent whose answer nobody has seen."""
        return self in (ActivationState.INTENDED, ActivationState.REVERTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What became of a target's activation, or of its way back, with the evidence for it."""

    target: Target
    kid: Kid  # the key to sign with
    wave: int  # from 1
    state: ActivationState
    detail: str  # one sentence for a person
    previous_kid: Kid | None = None  # what it signed with before us; recorded before the write
    label: str | None = None
    proof: Proof | None = None
    reason: Reason | None = None
    retryable: bool = False
    last_updated: str | None = None  # of the app as read before the write
    fingerprint: str | None = None  # of all that is not to change, as read before the write
    changes: tuple[str, ...] = ()  # fields that changed though they were not to
    problem: str | None = None  # it signs with the key, but something is not as it should be
    evidence: Evidence = field(default=Evidence())
    at: datetime | None = None  # on the org's clock

    @property
    def is_failure(self) -> bool:
        """Say whether it counts against what a wave may fail."""
        return self.state is ActivationState.FAILED or self.problem is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSnapshot:
    """What a preview saw of a target, for a later run to tell what has changed since."""

    app: AppId
    kid: Kid | None  # it signed with; None for a sign-on mode without
    sign_on_mode: str | None
    status: str | None
    last_updated: str | None
    seen_at: datetime
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffPack:
    """What the owner of a target needs to make it trust the key, before it is activated."""

    target: Target
    key: KeyRef
    certificate: Certificate  # with its x5c
    label: str | None = None
    metadata: bytes | None = None  # the app's SAML metadata for this key, as Okta sent it
