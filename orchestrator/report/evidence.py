"""The evidence for what became of a target: pairs of a name and a value. Plain text: escape it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from orchestrator.report.parts import ActivationPart, TargetRow
from orchestrator.report.wording import word_of


def facts_of(row: TargetRow) -> Iterator[tuple[str, str]]:
    """Yield what is known of a target, first of its staging, then of its activation."""
    yield "Staging", f"{row.status.value.replace('_', ' ')}: {row.detail}"
    yield from proof_facts(row)
    yield "Key", row.kid
    if row.thumbprint:
        yield "Thumbprint", row.thumbprint
    yield from answer_facts(row)
    if row.location_app_id:
        yield "Location", row.location_app_id
    if row.settled_at:
        yield "Settled", moment(row.settled_at)
    if row.activation is not None:
        yield from activation_facts(row.activation)
    if row.acknowledged:
        yield "Acknowledged", "yes"
    if row.handoff:
        yield "Hand-off pack", row.handoff
    yield from row.tags.items()


def activation_facts(part: ActivationPart) -> Iterator[tuple[str, str]]:
    yield "Activation", f"{word_of(part.state)}: {part.detail}"
    if part.problem:
        yield "Problem", part.problem
    yield from proof_facts(part)
    if part.previous_kid:
        yield "Signed before with", part.previous_kid
    if part.changes:
        yield "Changed besides", ", ".join(part.changes)
    yield from answer_facts(part)
    if part.at:
        yield "Settled", moment(part.at)


def proof_facts(part: TargetRow | ActivationPart) -> Iterator[tuple[str, str]]:
    if part.reason:
        yield "Reason", part.reason.value.replace("_", " ")
    if part.proof:
        yield "Proof", part.proof.value


def answer_facts(part: TargetRow | ActivationPart) -> Iterator[tuple[str, str]]:
    """Yield what the org has answered last, and what it took to learn it."""
    if part.http_status:
        yield "Answer", f"HTTP {part.http_status} {part.okta_code or ''}".rstrip()
    if part.causes:
        yield "Causes", "; ".join(part.causes)
    if part.request_ids:
        yield "Request ids", ", ".join(part.request_ids)
    if part.attempts:
        lost = f", {part.lost_answers} without an answer" if part.lost_answers else ""
        yield "Attempts", f"{part.attempts}{lost}"
    if part.waited_seconds:
        yield "Waited", f"{part.waited_seconds:.1f} s"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
