"""The report as data: a versioned document that tools may rely on.

Within a major `schema_version` fields are only ever added. The JSON Schema is generated from these
models and shipped as `orchestrator/schemas/report-v1.schema.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.engine.result import RunResult, exit_code
from orchestrator.model import Outcome, Proof, Reason, Status, StopCause
from orchestrator.store.base import JobRecord

SCHEMA_VERSION = "1.0"


def encodable(text: object) -> object:
    """Return text with what has no encoding, such as a lone surrogate, escaped."""
    if isinstance(text, str) and not text.isascii():
        return text.encode("utf-8", "backslashreplace").decode()
    return text


ForeignText = Annotated[str, BeforeValidator(encodable)]  # whatever an org may have said


class Document(BaseModel):
    """The base of all parts of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetRow(Document):
    """One target, with the evidence for what became of it."""

    dry_run: bool
    job: str
    app_id: str
    label: ForeignText | None = Field(description="the app's label, where the run has read it")
    status: Status
    reason: Reason | None = Field(description="why the target is not staged")
    detail: ForeignText = Field(description="one sentence for a person")
    proof: Proof | None = Field(description="what shows that the target holds the key")
    retryable: bool = Field(description="a later run may well succeed")
    source_app_id: str
    kid: str
    thumbprint: str | None = Field(description="x5t#S256, recomputed from the answer's x5c")
    http_status: int | None
    okta_code: ForeignText | None
    causes: list[ForeignText]
    location_app_id: ForeignText | None = Field(
        description="the app that the Location header names"
    )
    request_ids: list[ForeignText] = Field(description="also transaction.id in Okta's System Log")
    attempts: int = Field(description="requests sent for this target, reads included")
    lost_answers: int = Field(description="attempts that may have taken effect unseen")
    waited_seconds: float = Field(description="pacing and backoff")
    settled_at: datetime | None
    tags: dict[str, str] = Field(description="the other columns of the target's CSV row")


class CertificatePart(Document):
    """The certificate that is being cloned."""

    thumbprint: str
    not_before: datetime
    not_after: datetime
    subject: str
    signature_hash: str
    key_bits: int


class JobPart(Document):
    """The source of a job."""

    name: str
    source_app_id: str
    kid: str
    certificate: CertificatePart | None
    problem: ForeignText | None = Field(description="why the source could not be used")
    dropped: dict[str, int] = Field(description="targets of the plan that were never meant")


class PlanPart(Document):
    """Which plan was executed."""

    name: str
    sha256: str = Field(description="over its resolved jobs: keys and targets in order")


class StopPart(Document):
    """Why the run ended before its last target."""

    cause: StopCause
    detail: ForeignText


class BucketPart(Document):
    """What a run will cost one rate-limit bucket."""

    bucket: str
    calls: int
    limit_per_window: int | None
    share_per_window: int | None
    window_seconds: float | None
    seconds: float


class ForecastPart(Document):
    """What a dry run says of the run to come."""

    buckets: list[BucketPart]
    seconds: float
    sharing: dict[str, int] = Field(description="kid -> apps that will share it, at least")


class Summary(Document):
    """How many targets came to what."""

    targets: int
    planned: int
    cloned: int
    already_present: int
    failed: int
    skipped: int


class JournalPart(Document):
    """The run's history, whose events each carry the hash of the one before."""

    sessions: int = Field(description="executions of the run so far")
    events: int
    head: str = Field(description="SHA-256 that stands for the whole history")


class ReportHead(Document):
    """Everything but the targets."""

    schema_version: str
    dry_run: bool
    run_id: str
    plan: PlanPart
    org: str
    started_at: datetime
    finished_at: datetime
    exit_code: int
    stop: StopPart | None
    summary: Summary
    forecast: ForecastPart | None
    jobs: list[JobPart]
    journal: JournalPart


class Report(ReportHead):
    """The whole report of one run."""

    targets: list[TargetRow]


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
        journal=JournalPart(sessions=record.sessions, events=record.events, head=record.head),
    )


def summary_of(result: RunResult) -> Summary:
    counts = {status.value: count for status, count in result.counts.items()}
    return Summary(targets=sum(counts.values()), **counts)


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
        dropped=dict(job.dropped),
    )


def rows_of(result: RunResult) -> Iterator[TargetRow]:
    """Yield a row per target, in the order of the plan."""
    for outcome in result.outcomes:
        yield row_of(outcome, dry_run=result.record.dry_run)


def row_of(outcome: Outcome, *, dry_run: bool) -> TargetRow:
    """Return the row of one target."""
    evidence = outcome.evidence
    return TargetRow(
        dry_run=dry_run,
        job=outcome.target.job,
        app_id=outcome.target.app,
        label=outcome.label,
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
        tags=dict(outcome.target.tags),
    )


def report_schema() -> dict[str, object]:
    """Return the report's JSON Schema."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
