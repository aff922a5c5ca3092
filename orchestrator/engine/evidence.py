"""From the trace of calls to the evidence that a report shows."""

from __future__ import annotations

from orchestrator.model import AppId, Evidence
from orchestrator.okta.wire import CallTrace


def evidence_of(
    trace: CallTrace,
    *,
    http_status: int | None = None,
    okta_code: str | None = None,
    causes: tuple[str, ...] = (),
    thumbprint: str | None = None,
    location_app: AppId | None = None,
) -> Evidence:
    """Join what the org said in the end with what it took to hear it."""
    return Evidence(
        http_status=http_status,
        okta_code=okta_code,
        causes=causes,
        thumbprint=thumbprint,
        location_app=location_app,
        request_ids=tuple(trace.request_ids),
        attempts=trace.attempts,
        lost_answers=trace.lost_answers,
        waited_seconds=round(trace.waited_seconds, 3),
    )
