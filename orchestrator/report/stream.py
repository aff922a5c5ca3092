"""Tell events as NDJSON, one object a line, while the run goes on."""

from __future__ import annotations

import json
from typing import TextIO

from orchestrator.clock import Clock
from orchestrator.errors import OrchestratorError
from orchestrator.events import (
    CallPaced,
    CallRetried,
    Event,
    RunFinished,
    RunStarted,
    RunStopping,
    SourceRead,
    TargetSettled,
)
from orchestrator.model import RunId
from orchestrator.report.document import SCHEMA_VERSION, row_of


class EventStream:
    """An observer that writes every event to a file, each line complete and flushed."""

    def __init__(self, file: TextIO, *, clock: Clock, run_id: RunId, dry_run: bool) -> None:
        self.file = file
        self.clock = clock
        self.run_id = run_id
        self.dry_run = dry_run

    def notify(self, event: Event) -> None:
        kind, fields = described(event, dry_run=self.dry_run)
        self.write(kind, fields)

    def fail(self, error: OrchestratorError, exit_code: int) -> None:
        """Write the last line of a run that ended with an error."""
        self.write(
            "exit_error", {"exit_code": exit_code, "message": error.message, "hint": error.hint}
        )

    def write(self, kind: str, fields: dict[str, object]) -> None:
        line = {
            "type": kind,
            "time": self.clock.wall().isoformat(timespec="milliseconds"),
            "run_id": self.run_id,
            "schema_version": SCHEMA_VERSION,
            "dry_run": self.dry_run,
        }
        self.file.write(json.dumps(line | fields, default=str) + "\n")
        self.file.flush()


def described(event: Event, *, dry_run: bool) -> tuple[str, dict[str, object]]:
    """Return an event's type and fields, as they stand in a line."""
    match event:
        case RunStarted():
            return "plan", {"plan": event.plan, "org": event.org, "targets": event.targets}
        case SourceRead():
            certificate = event.certificate
            return "source", {
                "job": event.job,
                "source_app_id": event.key.app,
                "kid": event.key.kid,
                "thumbprint": certificate.thumbprint if certificate else None,
                "not_after": certificate.not_after.isoformat() if certificate else None,
                "problem": event.problem,
            }
        case TargetSettled():
            return "target", row_of(event.outcome, dry_run=dry_run).model_dump(mode="json")
        case CallRetried():
            return "retry", {
                "call": event.call,
                "attempt": event.attempt,
                "cause": event.cause,
                "wait_seconds": round(event.wait_seconds, 3),
            }
        case CallPaced():
            wait = round(event.wait_seconds, 3)
            return "throttle", {"bucket": event.bucket, "wait_seconds": wait}
        case RunStopping():
            return "stopping", {"cause": event.cause, "detail": event.detail}
        case RunFinished():
            return "summary", {"counts": event.counts, "exit_code": event.exit_code}
