"""Stage the key on one target: the calls around the pure decisions of `staging`."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.engine.evidence import evidence_of
from orchestrator.engine.keys import EachKey, KeyMaker
from orchestrator.engine.staging import (
    Clone,
    FutureKey,
    Observation,
    SourceKey,
    Unsettled,
    Verdict,
    decide,
    foresee_metadata,
    held_by_source,
    is_source,
    judge_clone,
    judge_lost_clone,
    judge_metadata,
    judge_read,
    judge_read_back,
    no_answer,
)
from orchestrator.errors import AccessError, CallError, Halted, NoAnswer
from orchestrator.model import (
    NEW_KID,
    AppId,
    KeyRef,
    Outcome,
    Reason,
    Status,
    Target,
    Verify,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.certificates import x5c_in_metadata
from orchestrator.okta.wire import CallTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The outcome of one target, with what was learned on the way that is of further use."""

    outcome: Outcome
    source: SourceKey | None = None  # the key that the target holds now
    metadata: bytes | None = None


async def stage(
    api: OktaApi,
    target: Target,
    source: SourceKey,
    trace: CallTrace,
    verify: Verify = Verify.RESPONSE,
) -> Staged:
    """Clone the key into one target, and prove it. Failures are outcomes, not exceptions.

    Raises:
        AccessError: the org refuses our credential; `trace` tells what was done before.
    """
    metadata: bytes | None = None
    try:
        if is_source(target.app, source):
            verdict = held_by_source(source)
        else:
            verdict = await clone_and_prove(api, target.app, source, trace)
        if verdict.status.is_staged:
            verdict, metadata = await prove_further(api, target, source, verdict, trace, verify)
    except Halted:
        return Staged(outcome=stopped_outcome(target, source.ref, trace))
    except CallError as error:
        verdict = verdict_on(error)
    return Staged(
        outcome=outcome_of(verdict, target, source.ref, trace), source=source, metadata=metadata
    )


def verdict_on(error: CallError) -> Verdict:
    """Return what a call that failed for good makes of a target."""
    if isinstance(error, NoAnswer):
        return no_answer(error.message)
    return Verdict(status=Status.FAILED, reason=Reason.REJECTED, detail=error.message)


async def prove_further(
    api: OktaApi,
    target: Target,
    source: SourceKey,
    verdict: Verdict,
    trace: CallTrace,
    verify: Verify,
) -> tuple[Verdict, bytes | None]:
    """Prove a staged target as far as the plan asks; metadata that was read on the way is kept."""
    on_target = KeyRef(app=target.app, kid=source.ref.kid, resource=source.ref.resource)
    if verify is Verify.READ_BACK:
        return judge_read_back(await api.get_key(on_target, trace), verdict, source), None
    if verify is Verify.METADATA:
        reply = await api.get_metadata(target.app, source.ref.kid, trace)
        try:
            published = x5c_in_metadata(reply.value or b"") if reply.refusal is None else []
        except ValueError:
            published = []
        return judge_metadata(reply, verdict, source, published), reply.value
    return verdict, None


async def clone_and_prove(
    api: OktaApi, target: AppId, source: SourceKey, trace: CallTrace
) -> Verdict:
    """Send the clone; where its answer settles nothing, read the key once."""
    verdict: Verdict | Unsettled
    try:
        reply = await api.clone_key(source.ref, target, trace)
        verdict = judge_clone(reply, target, source)
    except NoAnswer as error:
        if not trace.lost_answers:
            raise
        verdict = judge_lost_clone(error.message)
    if isinstance(verdict, Verdict):
        if verdict.reason in (None, Reason.PROOF_MISMATCH) or not trace.lost_answers:
            return verdict
        # Refused now, but an attempt before may have taken effect.
        verdict = Unsettled(if_present=Status.ALREADY_PRESENT, if_absent=verdict)
    if verdict.if_present is Status.CLONED:
        trace.lost_answers += 1  # it may have taken effect, and until the read nobody knows
    on_target = KeyRef(app=target, kid=source.ref.kid, resource=source.ref.resource)
    return judge_read(await api.get_key(on_target, trace), verdict, source)


async def generate(maker: KeyMaker, target: Target, each: EachKey, trace: CallTrace) -> Staged:
    """Give a target a new key of its own.

    Raises:
        AccessError: the org refuses our credential.
        StateError: the intent could not be recorded, and nothing was sent.
    """
    ref = KeyRef(app=target.app, kid=NEW_KID, resource=each.resource)
    try:
        made = await maker.make(target.app, each.validity_years, trace)
    except Halted:
        return Staged(outcome=stopped_outcome(target, ref, trace))
    except CallError as error:
        made = verdict_on(error)
    if isinstance(made, Verdict):
        return Staged(outcome=outcome_of(made, target, ref, trace))
    verdict = Verdict(
        status=Status.GENERATED,
        proof=made.proof,
        detail="adopted the key that a lost call had made"
        if made.adopted
        else "a new key of its own",
        http_status=201 if not made.adopted else 200,
        thumbprint=made.source.certificate.thumbprint,
        location_app=None if made.adopted else target.app,
    )
    outcome = outcome_of(verdict, target, made.source.ref, trace)
    return Staged(outcome=outcome, source=made.source)


async def preview(
    api: OktaApi,
    target: Target,
    source: SourceKey | FutureKey | EachKey,
    trace: CallTrace,
    *,
    verify: Verify = Verify.RESPONSE,
    quick: bool,
) -> tuple[Outcome, Observation]:
    """Say what a run would do, without a write, and what was seen. `quick` makes no call at all.

    The app is read first: its bucket is not the scarce one, and it often answers already.
    """
    if isinstance(source, EachKey):
        ref = KeyRef(app=target.app, kid=NEW_KID, resource=source.resource)
        source, verify = FutureKey(ref=ref, is_own=True), Verify.RESPONSE  # as a run proves it
    try:
        observation = Observation() if quick else await observe(api, target.app, source, trace)
    except Halted:  # reads change nothing
        return stopped_outcome(target, source.ref, CallTrace()), Observation()
    except CallError as error:
        return outcome_of(no_answer(error.message), target, source.ref, trace), Observation()
    decision = decide(observation, target.app, source)
    if isinstance(decision, Clone):
        decision = planned(decision, source, quick=quick)
    app = observation.app.value if observation.app else None
    if verify is Verify.METADATA:
        decision = foresee_metadata(app, decision)
    label = app.label if app else None
    return outcome_of(decision, target, source.ref, trace, label=label), observation


def planned(decision: Clone, source: SourceKey | FutureKey, *, quick: bool) -> Verdict:
    """Say of a target what would be done to it."""
    note = f"; note: {decision.note}" if decision.note else ""
    verb = "would be cloned"
    if isinstance(source, FutureKey):
        own, shared = "would get a new key of its own", "would be cloned, once the key is made"
        verb = own if source.is_own else shared
    elif quick:
        verb = "would be cloned, unless it already holds the key"
    return Verdict(status=Status.PLANNED, detail=f"{verb}{note}")


async def observe(
    api: OktaApi, target: AppId, source: SourceKey | FutureKey, trace: CallTrace
) -> Observation:
    resource = source.ref.resource
    app = await api.get_signer(target, trace, resource=resource)
    if app.refusal is not None or isinstance(source, FutureKey) or is_source(target, source):
        return Observation(app=app)
    if app.value and app.value.active_kid == source.ref.kid:
        return Observation(app=app)
    key = await api.get_key(KeyRef(app=target, kid=source.ref.kid, resource=resource), trace)
    return Observation(app=app, key=key)


def outcome_of(
    verdict: Verdict, target: Target, key: KeyRef, trace: CallTrace, *, label: str | None = None
) -> Outcome:
    """Join a verdict with what it took to reach it."""
    detail = verdict.detail
    if verdict.status is Status.ALREADY_PRESENT and trace.lost_answers:
        detail += "; an earlier answer of this run was lost, so it may be this run that cloned it"
    return Outcome(
        target=target,
        key=key,
        status=verdict.status,
        detail=detail,
        label=label,
        proof=verdict.proof,
        reason=verdict.reason,
        retryable=verdict.retryable,
        evidence=evidence_of(
            trace,
            http_status=verdict.http_status,
            okta_code=verdict.okta_code,
            causes=verdict.causes,
            thumbprint=verdict.thumbprint,
            location_app=verdict.location_app,
        ),
    )


def stopped_outcome(target: Target, key: KeyRef, trace: CallTrace) -> Outcome:
    """Tell the truth about a target that the end of the run caught."""
    if trace.lost_answers == 0:
        verdict = Verdict(
            status=Status.SKIPPED,
            reason=Reason.NOT_REACHED,
            detail="the run ended before this target, which is as it was",
            retryable=True,
        )
    else:
        verdict = Verdict(
            status=Status.FAILED,
            reason=Reason.INTERRUPTED,
            detail="the run ended before this target was settled; the next run will tell",
            retryable=True,
        )
    return outcome_of(verdict, target, key, trace)


def access_outcome(target: Target, key: KeyRef, trace: CallTrace, error: AccessError) -> Outcome:
    """Record the target whose call learned that our credential is refused."""
    verdict = Verdict(
        status=Status.FAILED,
        reason=Reason.ACCESS_REFUSED,
        detail=error.message,
        retryable=True,
    )
    return outcome_of(verdict, target, key, trace)
