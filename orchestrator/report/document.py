"""The report as data: its parts, filled from what a run has come to."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.cautions import Caution
from orchestrator.engine.result import HookTally, RunResult, exit_code
from orchestrator.model import Activation, ActivationState, Outcome
from orchestrator.report.parts import (
    SCHEMA_VERSION,
    ActivationPart,
    CautionPart,
    CertificatePart,
    ForecastPart,
    HookPart,
    HooksPart,
    JobPart,
    JournalPart,
    PlanPart,
    ReportHead,
    StopPart,
    Summary,
    TargetRow,
)
from orchestrator.store.base import JobRecord, TargetRecord


def stem_of(plan: str, run_id: str) -> str:
    """Return how the names of all begin that a run leaves in its report folder."""
    return f"{plan}-{run_id}"


def head_of(result: RunResult) -> ReportHead:
    """Return all of the report but its targets."""
    record, stop, ahead = result.record, result.stop, result.forecast
    return ReportHead(
        schema_version=SCHEMA_VERSION,
        dry_run=record.dry_run,
        run_id=record.run_id,
        plan=PlanPart(name=record.plan, sha256=record.plan_digest),
        org=record.org,
        started_at=record.created_at,
        finished_at=record.updated_at,
        exit_code=exit_code(result),
        stop=StopPart(cause=stop.cause, detail=stop.detail) if stop else None,
        summary=summary_of(result),
        forecast=ForecastPart.model_validate(ahead, from_attributes=True) if ahead else None,
        jobs=[job_part(job) for job in result.jobs],
        hooks=hooks_part(result.hooks),
        remarks=remarks_on(result),
        cautions=[caution_part(caution) for caution in result.cautions],
        checksum=result.checksum,
        journal=JournalPart(sessions=record.sessions, events=record.events, head=record.head),
    )


def summary_of(result: RunResult) -> Summary:
    counts = {status.value: count for status, count in result.counts.items()}
    states = result.activations
    return Summary(
        targets=sum(counts.values()),
        **counts,
        activated=sum(number for state, number in states.items() if state.is_active),
        verified=states[ActivationState.VERIFIED],
        rolled_back=states[ActivationState.ROLLED_BACK],
        activation_planned=states[ActivationState.PLANNED],
        activation_failed=states[ActivationState.FAILED],
        activation_skipped=states[ActivationState.SKIPPED],
        activation_pending=result.unactivated,
        rollback_pending=states[ActivationState.REVERTING],
        activation_problems=result.problems,
    )


def caution_part(caution: Caution) -> CautionPart:
    return CautionPart(
        kind=caution.kind,
        job=caution.job,
        detail=caution.detail,
        count=caution.count,
        app_ids=list(caution.apps),
    )


def hooks_part(tally: HookTally) -> HooksPart:
    failures = [HookPart.model_validate(failure, extra="ignore") for failure in tally.failures]
    return HooksPart(ran=tally.ran, failed=tally.failed, failures=failures)


def remarks_on(result: RunResult) -> list[str]:
    """Return what this run could not do, though a reader may think so."""
    remarks = []
    staged = sum(number for status, number in result.counts.items() if status.is_staged)
    if result.activations[ActivationState.ROLLED_BACK]:
        remarks.append(
            f"rolling back changes what an app signs with, nothing else: the {staged} apps that "
            "were given the key hold it still, since Okta knows no way to take a key out of an app"
        )
    return remarks


def job_part(job: JobRecord) -> JobPart:
    certificate = job.certificate
    return JobPart(
        name=job.name,
        source_app_id=job.key.app,
        kid=job.key.kid,
        certificate=CertificatePart.model_validate(certificate, from_attributes=True)
        if certificate
        else None,
        problem=job.problem,
        resource=job.key.resource,
        key_from=job.wanted.kind,
        dropped=dict(job.dropped),
    )


def rows_of(result: RunResult) -> Iterator[TargetRow]:
    """Yield a row per target, in the order of the plan."""
    for record in result.records:
        if record.outcome is not None:
            yield row_of(record.outcome, record, dry_run=result.record.dry_run, packs=result.packs)


def row_of(
    outcome: Outcome,
    record: TargetRecord | None = None,
    *,
    dry_run: bool,
    packs: str | None = None,
) -> TargetRow:
    """Return the row of one target; `record` has what goes beyond its staging.

    `packs` is the folder of the hand-off packs, from that of the report.
    """
    evidence = outcome.evidence
    target = outcome.target
    has_pack = packs is not None and outcome.status.is_staged
    activation = record.activation if record else None
    label = activation.label if activation else None  # a clone answers without one
    return TargetRow(
        dry_run=dry_run,
        job=target.job,
        app_id=target.app,
        label=outcome.label or label,
        status=outcome.status,
        reason=outcome.reason,
        detail=outcome.detail,
        proof=outcome.proof,
        retryable=outcome.retryable,
        source_app_id=outcome.key.app,
        kid=outcome.key.kid,
        thumbprint=evidence.thumbprint,
        http_status=evidence.http_status,
        okta_code=evidence.okta_code,
        causes=list(evidence.causes),
        location_app_id=evidence.location_app,
        request_ids=list(evidence.request_ids),
        attempts=evidence.attempts,
        lost_answers=evidence.lost_answers,
        waited_seconds=evidence.waited_seconds,
        settled_at=outcome.settled_at,
        tags=dict(target.tags),
        resource=outcome.key.resource,
        wave=record.wave if record else None,
        acknowledged=record.is_acknowledged if record else False,
        activation=activation_part(activation),
        handoff=f"{packs}/{target.job}/{target.app}" if has_pack else None,
    )


def activation_part(activation: Activation | None) -> ActivationPart | None:
    """Return what a report tells of an activation."""
    if activation is None:
        return None
    evidence = activation.evidence
    return ActivationPart(
        state=activation.state,
        detail=activation.detail,
        kid=activation.kid,
        previous_kid=activation.previous_kid,
        proof=activation.proof,
        reason=activation.reason,
        retryable=activation.retryable,
        changes=list(activation.changes),
        problem=activation.problem,
        http_status=evidence.http_status,
        okta_code=evidence.okta_code,
        causes=list(evidence.causes),
        request_ids=list(evidence.request_ids),
        attempts=evidence.attempts,
        lost_answers=evidence.lost_answers,
        waited_seconds=evidence.waited_seconds,
        at=activation.at,
    )
