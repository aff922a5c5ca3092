"""Say, in a dry run, what would become of a target's activation. Decides as a run does."""

from __future__ import annotations

from orchestrator.engine.activation import Ruling, change_to_activate, decide
from orchestrator.engine.context import RunContext
from orchestrator.engine.staging import WOULD_HOLD, Observation
from orchestrator.model import (
    Activation,
    ActivationState,
    AppSnapshot,
    Outcome,
)
from orchestrator.okta.document import SignerDocument
from orchestrator.rollout import JobSettings
from orchestrator.store.base import JobRecord


async def foresee(
    context: RunContext,
    job: JobRecord,
    outcome: Outcome,
    observation: Observation,
    snapshots: list[AppSnapshot],
) -> None:
    """Record what a run would do to a target's active key, and what it was seen with."""
    settings = context.settings.of_job(job.name)
    document = observation.app.value if observation.app else None
    if document is None:
        return
    snapshots.append(snapshot_of(outcome, document, context))
    if settings.rollout is not None and outcome.status in WOULD_HOLD:
        await context.journal.note_activation(forecast_of(outcome, document, settings, context))


def snapshot_of(outcome: Outcome, document: SignerDocument, context: RunContext) -> AppSnapshot:
    return AppSnapshot(
        app=outcome.target.app,
        kid=document.active_kid,
        sign_on_mode=document.sign_on_mode,
        status=document.status,
        last_updated=document.last_updated,
        seen_at=context.now(),
        label=document.label,
    )


def forecast_of(
    outcome: Outcome, document: SignerDocument, settings: JobSettings, context: RunContext
) -> Activation:
    """Return what a run would make of a target that signs as it does now."""
    assert settings.rollout is not None  # noqa: S101 - else there is nothing to foresee
    change = change_to_activate(
        outcome.key.kid,
        None,
        None,
        allow_oidc=settings.allow_oidc,
        inactive=settings.rollout.inactive,
    )
    ruling = decide(document, change)
    if not isinstance(ruling, Ruling):
        ruling = Ruling(
            state=ActivationState.PLANNED,
            detail=f"would be activated in place of {ruling.previous_kid}",
            previous_kid=ruling.previous_kid,
        )
    return Activation(
        target=outcome.target,
        kid=outcome.key.kid,
        wave=0,  # the run's record of the target knows it
        state=ruling.state,
        detail=ruling.detail,
        previous_kid=ruling.previous_kid,
        label=document.label,
        proof=ruling.proof,
        reason=ruling.reason,
        retryable=ruling.retryable,
        last_updated=document.last_updated,
        at=context.now(),
    )
