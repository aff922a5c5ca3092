"""Drive one target to its outcome: the calls around the pure decisions of `machine`."""

from __future__ import annotations

from orchestrator.engine.machine import (
    Clone,
    Observation,
    SourceKey,
    Unsettled,
    Verdict,
    decide,
    judge_clone,
    judge_lost_clone,
    judge_read,
    no_answer,
)
from orchestrator.errors import AccessError, CallError, Halted, NoAnswer
from orchestrator.model import (
    AppId,
    Evidence,
    KeyRef,
    Outcome,
    Reason,
    Status,
    Target,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.wire import CallTrace


async def read_source(api: OktaApi, ref: KeyRef) -> SourceKey | str:
    """Read the key to clone, once for all its targets, or say why it cannot be used.

    This one call spares all the others when the app or the key does not exist, and gives the
    certificate that every clone is held against.

    Raises:
        AccessError: the org refuses our credential.
        Halted: the run is stopping.
    """
    try:
        reply = await api.get_key(ref, CallTrace())
    except Halted:
        raise
    except CallError as error:
        return error.message
    if reply.refusal is not None:
        return f"the source key cannot be read: {reply.refusal}"
    if reply.value is None or reply.value.kid != ref.kid:
        return "the org answered with another key than the source's"
    try:
        return SourceKey(ref=ref, certificate=certificate_of(reply.value))
    except ValueError as error:
        return f"the source key cannot be trusted: {error}"


async def stage(api: OktaApi, target: Target, source: SourceKey, trace: CallTrace) -> Outcome:
    """Clone the key into one target, and prove it. Failures are outcomes, not exceptions.

    Raises:
        AccessError: the org refuses our credential; `trace` tells what was done before.
    """
    try:
        verdict = await clone_and_prove(api, target.app, source, trace)
    except Halted:
        return stopped_outcome(target, source.ref, trace)
    except NoAnswer as error:
        verdict = no_answer(error.message)
    except CallError as error:
        verdict = Verdict(status=Status.FAILED, reason=Reason.REJECTED, detail=error.message)
    return outcome_of(verdict, target, source.ref, trace)


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
    on_target = KeyRef(app=target, kid=source.ref.kid)
    return judge_read(await api.get_key(on_target, trace), verdict, source)


async def preview(
    api: OktaApi, target: Target, source: SourceKey, trace: CallTrace, *, quick: bool
) -> Outcome:
    """Say what `stage` would do, without a write. `quick` makes no call at all.

    The app is read first: its bucket is not the scarce one, and it often answers already.
    """
    try:
        observation = Observation() if quick else await observe(api, target.app, source, trace)
    except Halted:
        return stopped_outcome(target, source.ref, CallTrace())  # reads change nothing
    except CallError as error:
        return outcome_of(no_answer(error.message), target, source.ref, trace)
    decision = decide(observation, target.app, source)
    if isinstance(decision, Clone):
        unless = ", unless it already holds the key" if quick else ""
        note = f"; note: {decision.note}" if decision.note else ""
        decision = Verdict(status=Status.PLANNED, detail=f"would be cloned{unless}{note}")
    app = observation.app.value if observation.app else None
    return outcome_of(decision, target, source.ref, trace, label=app.label if app else None)


async def observe(api: OktaApi, target: AppId, source: SourceKey, trace: CallTrace) -> Observation:
    app = await api.get_app(target, trace)
    if app.refusal is not None or (app.value and app.value.active_kid == source.ref.kid):
        return Observation(app=app)
    key = await api.get_key(KeyRef(app=target, kid=source.ref.kid), trace)
    return Observation(app=app, key=key)


def outcome_of(
    verdict: Verdict, target: Target, key: KeyRef, trace: CallTrace, *, label: str | None = None
) -> Outcome:
    """Join a verdict with what it took to reach it."""
    evidence = Evidence(
        http_status=verdict.http_status,
        okta_code=verdict.okta_code,
        causes=verdict.causes,
        thumbprint=verdict.thumbprint,
        location_app=verdict.location_app,
        request_ids=tuple(trace.request_ids),
        attempts=trace.attempts,
        lost_answers=trace.lost_answers,
        waited_seconds=round(trace.waited_seconds, 3),
    )
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
        evidence=evidence,
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
