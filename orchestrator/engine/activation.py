"""Decide whether a target's active key may be changed, and judge what came of it. Pure.

Activating and rolling back are one thing, a change of the active kid, in two directions. Preview
and run share `decide`.

    decide(document, change)  -> Write | Ruling
    judge_echo(echo, write)   -> Ruling | Collateral | None    None: one read has to tell
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.holders import OIDC, SAML_IDP
from orchestrator.model import (
    Activation,
    ActivationState,
    AppSnapshot,
    Kid,
    Proof,
    Reason,
    Resource,
)
from orchestrator.okta.document import SignerDocument, changes_between, fingerprint
from orchestrator.okta.wire import Refusal
from orchestrator.rollout import Inactive

S = ActivationState
NEXT: Mapping[ActivationState | None, frozenset[ActivationState]] = {
    None: frozenset({S.PLANNED, S.INTENDED, S.ACTIVATED, S.FAILED, S.SKIPPED}),
    S.PLANNED: frozenset(),
    S.INTENDED: frozenset(
        {S.INTENDED, S.ACTIVATED, S.FAILED, S.SKIPPED, S.REVERTING, S.ROLLED_BACK}
    ),
    S.ACTIVATED: frozenset({S.ACTIVATED, S.VERIFIED, S.FAILED, S.REVERTING, S.ROLLED_BACK}),
    S.VERIFIED: frozenset({S.VERIFIED, S.FAILED, S.REVERTING, S.ROLLED_BACK}),
    S.FAILED: frozenset({S.INTENDED, S.ACTIVATED, S.FAILED, S.SKIPPED, S.REVERTING, S.ROLLED_BACK}),
    S.SKIPPED: frozenset(),
    # A way back that came to nothing leaves the target in the state that it had.
    S.REVERTING: frozenset(
        {S.REVERTING, S.ROLLED_BACK, S.FAILED, S.INTENDED, S.ACTIVATED, S.VERIFIED}
    ),
    S.ROLLED_BACK: frozenset(),
}


def is_legal(before: ActivationState | None, after: ActivationState) -> bool:
    """Say whether a target's activation may go from one state to the other."""
    return after in NEXT[before]


def is_open(begun: Activation | None) -> bool:
    """Say whether another attempt could activate a target; `gates.left_to_do` counts these."""
    if begun is None or begun.state is ActivationState.INTENDED:
        return True
    return begun.state is ActivationState.FAILED and begun.retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done to a target's active key, and what it is allowed to meet."""

    to: Kid
    expected: Kid | None = None  # what it must sign with now; None: whatever it does
    expected_why: str = ""  # since when that is known, for the message
    back: bool = False  # on the way back: OIDC and inactive apps are not refused
    allow_oidc: bool = False
    inactive: Inactive = Inactive.SKIP
    seen_updated: str | None = None  # its `lastUpdated` at the last preview
    begun: Activation | None = None  # an earlier attempt whose end is not known, or that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """The target is to be written: the very object that was read, but for the kid."""

    document: SignerDocument
    body: bytes
    change: Change
    previous_kid: Kid
    fingerprint: str  # of everything that is not to change


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What became of a change, as far as the org's answers show."""

    state: ActivationState
    detail: str
    previous_kid: Kid | None = None
    proof: Proof | None = None
    reason: Reason | None = None
    retryable: bool = False
    changes: tuple[str, ...] = ()
    problem: str | None = None
    http_status: int | None = None
    okta_code: str | None = None
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """The write changed more than the key; what was read before it is to be put back."""

    changes: tuple[str, ...]


def change_to_activate(
    kid: Kid,
    begun: Activation | None,
    seen: AppSnapshot | None,
    *,
    allow_oidc: bool = False,
    inactive: Inactive = Inactive.SKIP,
) -> Change:
    """Describe an activation. What it must find is known from an earlier attempt, or a preview."""
    expected, why = None, ""
    if begun is not None and begun.previous_kid is not None and not is_later(seen, begun):
        expected, why = begun.previous_kid, "when its activation began"
    elif seen is not None and seen.kid not in (None, kid):
        expected, why = seen.kid, f"at the preview of {seen.seen_at:%Y-%m-%d %H:%M} UTC"
    return Change(
        to=kid,
        expected=expected,
        expected_why=why,
        allow_oidc=allow_oidc,
        inactive=inactive,
        seen_updated=seen.last_updated if seen else None,
        begun=begun,
    )


def is_later(seen: AppSnapshot | None, begun: Activation) -> bool:
    """Say whether a preview is newer than the attempt: somebody has looked at how it is now."""
    return seen is not None and begun.at is not None and seen.seen_at > begun.at


def change_to_roll_back(done: Activation) -> Change | None:
    """Describe the way back; None where nothing was changed, or nobody knows from what."""
    if done.previous_kid is None or not is_legal(done.state, S.ROLLED_BACK):
        return None
    return Change(
        to=done.previous_kid,
        expected=done.kid,
        expected_why="once it was activated",
        back=True,
        begun=done,
    )


def decide(document: SignerDocument, change: Change) -> Write | Ruling:
    """Say whether a target is to be written, from the whole object as it was just read."""
    kid = document.active_kid
    if kid is None or (document.resource is Resource.IDP and document.sign_on_mode != SAML_IDP):
        mode = document.sign_on_mode or "unknown"
        return refusal(Reason.NOT_SIGNING, f"its sign-on mode {mode} signs with no key")
    if kid == change.to:
        return already(document, change)
    if not change.back:
        if document.sign_on_mode == OIDC and not change.allow_oidc:
            return refusal(
                Reason.OIDC,
                "Okta rotates the keys of OIDC apps by itself; allow_oidc: true pins this one",
            )
        if document.status not in (None, "ACTIVE") and change.inactive is Inactive.SKIP:
            return Ruling(
                state=S.SKIPPED, reason=Reason.INACTIVE, detail=f"it is {document.status}"
            )
    if change.expected is not None and kid != change.expected:
        return refusal(
            Reason.DRIFT,
            f"it signs with {kid}, but {change.expected_why} it signed with {change.expected}: "
            "somebody has changed it since, and it is left as it is",
        )
    try:
        body = document.with_kid(change.to)
        unchanging = fingerprint(document.body, document.resource)
    except ValueError as error:
        return refusal(Reason.REJECTED, f"it cannot be changed safely: {error}")
    return Write(
        document=document, body=body, change=change, previous_kid=kid, fingerprint=unchanging
    )


def refusal(reason: Reason, detail: str) -> Ruling:
    """Return the ruling that leaves a target alone. People can mend all but the sign-on mode."""
    mendable = reason is not Reason.NOT_SIGNING
    return Ruling(state=S.FAILED, reason=reason, detail=detail, retryable=mendable)


def already(document: SignerDocument, change: Change) -> Ruling:
    """Judge a target that signs with the wanted key before we write it."""
    begun = change.begun
    if change.back:
        return Ruling(
            state=S.ROLLED_BACK,
            detail="it signs with its former key already",
            proof=Proof.READ,
            previous_kid=change.to,
        )
    if begun is None or begun.previous_kid is None:
        detail = "it signed with this key already"
        return Ruling(state=S.ACTIVATED, detail=detail, proof=Proof.READ)
    return Ruling(
        state=S.ACTIVATED,
        detail="activated by a write whose answer was lost, and read back",
        proof=Proof.READ,
        previous_kid=begun.previous_kid,
        problem=problem_since(begun, document),
    )


def problem_since(begun: Activation, document: SignerDocument) -> str | None:
    """Say what else has become of a target since the write of which no answer came."""
    if begun.fingerprint is None:
        return None
    try:
        is_same = begun.fingerprint == fingerprint(document.body, document.resource)
    except ValueError as error:
        return f"nobody can tell what else has changed since its activation began: {error}"
    if is_same:
        return None
    return "more than its key has changed since its activation began: see its history"


def judge_echo(echo: bytes, write: Write) -> Ruling | Collateral | None:
    """Judge the object that the org answered the write with; it must be what was sent."""
    resource = write.document.resource
    try:
        answered = SignerDocument.parse(echo, resource)
        changes = changes_between(write.body, echo, resource)
    except ValueError:
        return None
    if answered.active_kid != write.change.to:
        return None
    if changes:
        return Collateral(changes=changes)
    return done(write, Proof.RESPONSE)


def judge_reading(document: SignerDocument, write: Write) -> Ruling | Write:
    """Judge by a read what a write came to whose answer settled nothing.

    A `Write` says that the target is as it was, so that the same write may be sent again. What else
    has changed since may be another person's work, so it is told, and not undone.
    """
    if document.active_kid == write.change.to:
        try:
            changes = changes_between(write.body, document.body, document.resource)
        except ValueError as error:
            problem = f"nobody can tell whether more than its key was changed: {error}"
            return replace(done(write, Proof.READ), problem=problem)
        if not changes:
            return done(write, Proof.READ)
        problem = (
            f"more than its key has changed ({', '.join(changes)}) while the answer to its write "
            "was lost, by the org or by somebody: see its history"
        )
        return replace(done(write, Proof.READ), changes=changes, problem=problem)
    if document.body == write.document.body:
        return write
    return refusal(
        Reason.DRIFT,
        f"it signs with {document.active_kid}, and was changed by somebody while it was being "
        "written: it is left as it is",
    )


def done(write: Write, proof: Proof) -> Ruling:
    state = S.ROLLED_BACK if write.change.back else S.ACTIVATED
    verb = "signs again with" if write.change.back else "signs with"
    edited = write.change.seen_updated not in (None, write.document.last_updated)
    more = "; it was edited since its preview, and the edit is kept" if edited else ""
    return Ruling(
        state=state,
        detail=f"{verb} {write.change.to}{more}",
        proof=proof,
        previous_kid=write.change.to if write.change.back else write.previous_kid,
    )


def judge_refused(refused: Refusal, what: str) -> Ruling:
    """Turn a refused read or write into a failure."""
    if refused.status == 404:
        reason, detail = Reason.TARGET_NOT_FOUND, "it is not in the org"
    elif refused.status in (401, 403):
        reason, detail = Reason.FORBIDDEN, f"the admin role does not reach it: {refused}"
    else:
        reason, detail = Reason.REJECTED, f"the org refused to {what} it: {refused}"
    return Ruling(
        state=S.FAILED,
        reason=reason,
        detail=detail,
        retryable=reason is not Reason.TARGET_NOT_FOUND,
        http_status=refused.status,
        okta_code=refused.code,
        causes=refused.causes,
    )


def judge_restored(echo: bytes | None, write: Write, changes: tuple[str, ...]) -> Ruling:
    """Say how a target stands whose write changed too much, after the attempt to undo it."""
    fields = ", ".join(changes)
    left: tuple[str, ...] | None = None
    kid = None
    if echo is not None:
        try:
            kid = SignerDocument.parse(echo, write.document.resource).active_kid
            left = changes_between(write.document.body, echo, write.document.resource)
        except ValueError:
            left = None
    if left == () and kid == write.previous_kid:
        outcome = "it has been put back as it was"
    elif left is None:
        outcome = "whether it could be put back is NOT known: look at it now"
    else:
        outcome = f"it could NOT be put back, and differs in {', '.join(left) or 'its key'}"
    return Ruling(
        state=S.FAILED,
        reason=Reason.COLLATERAL,
        detail=f"the org changed more than the key ({fields}); {outcome}",
        previous_kid=write.previous_kid,
        changes=changes,
    )
