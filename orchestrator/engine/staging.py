"""Decide what a target needs and what became of it. Pure; run and preview share it.

A run knows nothing of a target before it clones: the clone's own answer is the check, and asking
first would double the calls to Okta's scarcest bucket. A preview may not clone, so it reads, and
`decide` says what the run would find.

    decide(observation)     -> Clone | Verdict
    judge_clone(reply)      -> Verdict | Unsettled      one read of the key settles the latter
    judge_read(reply)       -> Verdict
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.model import AppId, Certificate, KeyRef, Proof, Reason, Status
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.wire import JsonWebKey, Refusal, Reply, located_key, shortened

WOULD_HOLD = (Status.PLANNED, Status.ALREADY_PRESENT)
METADATA_MODE = "SAML_2_0"  # the only sign-on mode whose app objects link to metadata
WITHOUT_METADATA = "it publishes no SAML metadata, which the plan wants for proof"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKey:
    """The key to clone, with the certificate that every target must end up with."""

    ref: KeyRef
    certificate: Certificate
    proof: Proof = Proof.READ  # what shows that its own app holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureKey:
    """A key that a run would make: a preview can say of it no more than where it would go."""

    ref: KeyRef
    is_own: bool = False  # of the one target that it is made for


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a target, as far as the org's answers show."""

    status: Status
    detail: str
    proof: Proof | None = None
    reason: Reason | None = None
    retryable: bool = False
    http_status: int | None = None
    okta_code: str | None = None
    causes: tuple[str, ...] = ()
    thumbprint: str | None = None
    location_app: AppId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """The clone's answer proves nothing; reading the key on the target will."""

    if_present: Status
    if_absent: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """The target does not hold the key, as far as we know."""

    note: str = ""  # what a person should know about this target


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was read of a target; None where nothing was."""

    app: Reply[SignerDocument] | None = None
    key: Reply[JsonWebKey] | None = None


def decide(
    observation: Observation, target: AppId, source: SourceKey | FutureKey
) -> Clone | Verdict:
    """Say whether the target needs the clone, from whatever is known of it."""
    if is_source(target, source):
        return held_by_source(source)
    if observation.app is not None and observation.app.refusal is not None:
        return refused(observation.app.refusal, target, source)
    app = observation.app.value if observation.app else None
    if app is not None and app.active_kid == source.ref.kid:
        return Verdict(
            status=Status.ALREADY_PRESENT,
            proof=Proof.READ,
            detail="the app already signs with this key",
            http_status=200,
        )
    absent = observation.key is None or is_absent(observation.key.refusal)
    if observation.key is not None and not absent and isinstance(source, SourceKey):
        return judge_read(observation.key, PRESENT_BEFORE, source)
    return Clone(note=note_on(app))


def is_source(target: AppId, source: SourceKey | FutureKey) -> bool:
    """Say whether a target is what the key comes from: it is to be activated, and never cloned."""
    is_own = isinstance(source, FutureKey) and source.is_own
    return target == source.ref.app and not is_own


def held_by_source(source: SourceKey | FutureKey) -> Verdict:
    """Return the verdict on a target that is the source itself; it needs no call."""
    if isinstance(source, FutureKey):
        return Verdict(
            status=Status.ALREADY_PRESENT,
            detail="it is the source, and would hold the key, once it is made",
        )
    return Verdict(
        status=Status.ALREADY_PRESENT,
        proof=source.proof,
        detail="it is the source, and holds the key",
        thumbprint=source.certificate.thumbprint,
    )


def is_absent(refusal: Refusal | None) -> bool:
    """Say whether a refused read of a key means that the key is not there."""
    return refusal is not None and refusal.status == 404


def note_on(app: SignerDocument | None) -> str:
    """Return what makes a target unusual: cloning works all the same."""
    if app is None:
        return ""
    notes = []
    if app.status not in (None, "ACTIVE"):
        notes.append(f"the app is {app.status}")
    if app.active_kid is None:
        notes.append(f"its sign-on mode {app.sign_on_mode or 'unknown'} signs with no key")
    return " and ".join(notes)


def judge_clone(reply: Reply[JsonWebKey], target: AppId, source: SourceKey) -> Verdict | Unsettled:
    """Judge the answer to a clone: nothing but a full match is a success."""
    if reply.refusal is not None:
        return judge_refused_clone(reply.refusal, target, source)
    located = located_key(reply.location)
    lie = mismatch(reply, source)
    if lie is None and located is not None and located != (target, source.ref.kid):
        lie = f"Location names app {located[0]}, key {located[1]}"
    location_app = located[0] if located else None
    if lie is not None:
        return not_proven(reply.status, f"the org says it cloned, but {lie}", location_app)
    if located is None or not is_complete(reply.value):
        return Unsettled(
            if_present=Status.CLONED,
            if_absent=not_proven(
                reply.status,
                "the org says it cloned, but the key is not on the target",
                location_app,
            ),
        )
    return Verdict(
        status=Status.CLONED,
        proof=Proof.RESPONSE,
        detail="kid, certificate and Location match the source",
        http_status=reply.status,
        thumbprint=source.certificate.thumbprint,  # `mismatch` recomputed it from x5c
        location_app=location_app,
    )


def is_complete(key: JsonWebKey | None) -> bool:
    """Say whether a key has what a proof needs."""
    return key is not None and key.kid is not None and len(key.x5c) > 0


def mismatch(reply: Reply[JsonWebKey], source: SourceKey) -> str | None:
    """Return how a key differs from the source's; None when nothing contradicts.

    An incomplete key contradicts nothing, and proves nothing.
    """
    key = reply.value
    if key is not None and key.kid not in (None, source.ref.kid):
        return f"the answer holds key {shortened(key.kid)}"
    if key is None or not is_complete(key):
        return None
    try:
        thumbprint = certificate_of(key).thumbprint
    except ValueError as error:
        return str(error)
    if thumbprint != source.certificate.thumbprint:
        return f"the answer holds the certificate {thumbprint}"
    return None


def not_proven(status: int, detail: str, location_app: AppId | None) -> Verdict:
    return Verdict(
        status=Status.FAILED,
        reason=Reason.PROOF_MISMATCH,
        detail=detail,
        http_status=status,
        location_app=location_app,
    )


def judge_refused_clone(refusal: Refusal, target: AppId, source: SourceKey) -> Verdict | Unsettled:
    if refusal.is_duplicate:
        return Verdict(
            status=Status.ALREADY_PRESENT,
            proof=Proof.CAUSE,
            detail="the target already holds the key",
            http_status=refusal.status,
            okta_code=refusal.code,
            causes=refusal.causes,
        )
    verdict = refused(refusal, target, source)
    if refusal.status == 400:  # Okta promises its codes, not its wording
        return Unsettled(if_present=Status.ALREADY_PRESENT, if_absent=verdict)
    return verdict


def refused(refusal: Refusal, target: AppId, source: SourceKey | FutureKey) -> Verdict:
    """Turn a refusal into a failure, with the reason that tells a person what to do."""
    missing = refusal.missing_id
    is_source = missing in (source.ref.app, source.ref.kid) and missing != target
    if refusal.status == 404 and is_source:  # a target that gets its own key is its own source
        detail = f"the source is gone: {refusal.summary}"
        return failed(refusal, Reason.SOURCE_UNUSABLE, detail)
    if refusal.status == 404:
        detail = f"{source.ref.resource} {target} is not in the org"
        return failed(refusal, Reason.TARGET_NOT_FOUND, detail)
    return refused_call(refusal)


def refused_call(refusal: Refusal) -> Verdict:
    """Turn the refusal of a call that concerns one target into a failure."""
    if refusal.status == 404:
        return failed(refusal, Reason.TARGET_NOT_FOUND, "it is not in the org")
    if refusal.status in (401, 403):
        detail = f"the admin role does not reach this app: {refusal}"
        return failed(refusal, Reason.FORBIDDEN, detail)
    return failed(refusal, Reason.REJECTED, f"the org refused: {refusal}")


def failed(refusal: Refusal, reason: Reason, detail: str) -> Verdict:
    return Verdict(
        status=Status.FAILED,
        reason=reason,
        detail=detail,
        http_status=refusal.status,
        okta_code=refusal.code,
        causes=refusal.causes,
    )


def judge_lost_clone(error: str) -> Unsettled:
    """Judge a clone that was sent but never answered readably: it may have taken effect."""
    return Unsettled(if_present=Status.ALREADY_PRESENT, if_absent=no_answer(error))


def no_answer(error: str) -> Verdict:
    return Verdict(status=Status.FAILED, reason=Reason.NO_ANSWER, detail=error, retryable=True)


PRESENT_BEFORE = Unsettled(
    if_present=Status.ALREADY_PRESENT, if_absent=no_answer("the key could not be read")
)


def judge_read(reply: Reply[JsonWebKey], unsettled: Unsettled, source: SourceKey) -> Verdict:
    """Settle by what the target's key store holds."""
    if reply.refusal is not None:
        return unsettled.if_absent
    lie = mismatch(reply, source)
    if lie is None and not is_complete(reply.value):
        lie = "it cannot be read whole"
    if lie is not None:
        return not_proven(reply.status, f"the target's key is not the source's: {lie}", None)
    created = unsettled.if_present is Status.CLONED
    return Verdict(
        status=unsettled.if_present,
        proof=Proof.READ,
        detail="read back from the target" if created else "read from the target",
        http_status=reply.status,
        thumbprint=source.certificate.thumbprint,
    )


def judge_metadata(
    reply: Reply[bytes], verdict: Verdict, source: SourceKey, published: list[str]
) -> Verdict:
    """Hold the SAML metadata that the target publishes for the key against its certificate."""
    if reply.refusal is not None and reply.refusal.status == 404:
        refusal = reply.refusal
        return failed(refusal, Reason.REJECTED, f"{verdict.detail}, but {WITHOUT_METADATA}")
    if reply.refusal is not None:
        return refused_call(reply.refusal)
    if published != [source.certificate.x5c]:
        return not_proven(reply.status, "its metadata does not hold the certificate", None)
    return replace(verdict, proof=Proof.METADATA)


def foresee_metadata(app: SignerDocument | None, verdict: Verdict) -> Verdict:
    """Say of a target, before anything is done to it, whether metadata can prove what will be."""
    if app is None or app.sign_on_mode == METADATA_MODE or verdict.status not in WOULD_HOLD:
        return verdict
    return Verdict(
        status=Status.FAILED,
        reason=Reason.REJECTED,
        detail=f"{verdict.detail}, but {WITHOUT_METADATA}",
    )


def judge_read_back(reply: Reply[JsonWebKey], verdict: Verdict, source: SourceKey) -> Verdict:
    """Hold the key that was read back from a target against what its clone has said."""
    gone = not_proven(reply.status, "the org said it was there, but it cannot be read back", None)
    read = judge_read(reply, Unsettled(if_present=verdict.status, if_absent=gone), source)
    if read.status is not verdict.status:
        return read
    return replace(verdict, proof=Proof.READ, thumbprint=read.thumbprint)
