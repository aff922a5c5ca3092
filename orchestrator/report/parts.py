"""The parts of the report: a versioned document that tools may rely on.

Within a major `schema_version` fields are only ever added. The JSON Schema is generated from these
models and shipped as `orchestrator/schemas/report-v1.schema.json`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.engine.cautions import CautionKind
from orchestrator.model import (
    ActivationState,
    KeyKind,
    Proof,
    Reason,
    Resource,
    Status,
    StopCause,
)

SCHEMA_VERSION = "1.2"


def encodable(text: object) -> object:
    """Return text with what has no encoding, such as a lone surrogate, escaped."""
    if isinstance(text, str) and not text.isascii():
        return text.encode("utf-8", "backslashreplace").decode()
    return text


ForeignText = Annotated[str, BeforeValidator(encodable)]  # whatever an org may have said


class Document(BaseModel):
    """The base of all parts of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ActivationPart(Document):
    """What became of a target's activation, or of its way back."""

    state: ActivationState
    detail: ForeignText = Field(description="one sentence for a person")
    kid: str
    previous_kid: str | None = Field(description="what the target signed with before the run")
    proof: Proof | None = Field(description="what shows that the target signs with the key")
    reason: Reason | None
    retryable: bool
    changes: list[str] = Field(description="fields that changed though they were not to")
    problem: ForeignText | None = Field(
        description="it signs with the key, but something is not as it should be"
    )
    http_status: int | None
    okta_code: ForeignText | None
    causes: list[ForeignText]
    request_ids: list[ForeignText]
    attempts: int
    lost_answers: int
    waited_seconds: float
    at: datetime | None = Field(description="on the org's clock")


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
    resource: Resource
    wave: int | None = Field(description="in which it is activated; null: it is only staged")
    acknowledged: bool = Field(description="somebody has said that it is ready for the key")
    activation: ActivationPart | None = Field(description="null: not begun, or not wanted")
    handoff: str | None = Field(description="its hand-off pack, from the folder of the report")


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
    resource: Resource
    key_from: KeyKind = Field(description="how the plan names the key; kid `new`: still to come")
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
    sharing: dict[str, int] = Field(
        description="kid, or `new (job)`, -> apps that will share it, at least"
    )


class Summary(Document):
    """How many targets came to what."""

    targets: int
    planned: int
    cloned: int
    already_present: int
    failed: int
    skipped: int
    generated: int
    activated: int = Field(description="targets that sign with the key, verified ones included")
    verified: int
    rolled_back: int
    activation_planned: int
    activation_failed: int
    activation_skipped: int
    activation_pending: int
    rollback_pending: int = Field(description="its write was about to be sent when the run ended")
    activation_problems: int


class CautionPart(Document):
    """One thing to think about before a key goes out."""

    kind: CautionKind
    job: str
    detail: ForeignText = Field(description="one sentence for a person")
    count: int = Field(description="targets that it is about")
    app_ids: list[str] = Field(description="the first of them; none where it is about the key")


class HookPart(Document):
    """A hook that failed."""

    on: str
    argv: list[ForeignText]
    job: str | None
    app: str | None
    exit_code: int | None
    timed_out: bool
    error: ForeignText | None
    output: ForeignText = Field(description="the end of what it printed")


class HooksPart(Document):
    """How the plan's hooks have fared."""

    ran: int
    failed: int
    failures: list[HookPart] = Field(description="the last ones")


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
    hooks: HooksPart
    remarks: list[str] = Field(description="what whoever keeps this report should know")
    cautions: list[CautionPart]
    checksum: str | None = Field(description="of a preview: SHA-256 of what `run --expect` does")
    journal: JournalPart


class Report(ReportHead):
    """The whole report of one run."""

    targets: list[TargetRow]


def report_schema() -> dict[str, object]:
    """Return the report's JSON Schema."""
    schema = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
