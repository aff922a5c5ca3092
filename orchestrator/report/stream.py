"""Tell events as NDJSON, one object a line, while the run goes on."""

from __future__ import annotations

import json
from typing import TextIO

from orchestrator.clock import Clock
from orchestrator.errors import OrchestratorError
from orchestrator.events import (
    ActivationSettled,
    CallPaced,
    CallRetried,
    Cautioned,
    Event,
    HookEnded,
    KeyMade,
    Noticed,
    RunFinished,
    RunStarted,
    RunStopping,
    SourceRead,
    TargetSettled,
    WaveBegun,
    WaveHeld,
)
from orchestrator.model import Activation, RunId
from orchestrator.report.document import activation_part, row_of
from orchestrator.report.parts import SCHEMA_VERSION
from orchestrator.scrubbing import scrub


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
        message, hint = scrub(error.message), scrub(error.hint) if error.hint else None
        self.write("exit_error", {"exit_code": exit_code, "message": message, "hint": hint})

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
        case CallRetried() | CallPaced() | RunStopping() | RunFinished():
            return described_call(event)
        case _:
            return described_wave(event)


def described_wave(
    event: KeyMade | WaveBegun | WaveHeld | ActivationSettled | HookEnded | Noticed | Cautioned,
) -> tuple[str, dict[str, object]]:
    """Return type and fields of what has to do with activations, and with the plan's hooks."""
    match event:
        case KeyMade():
            return "key", {
                "job": event.job,
                "app_id": event.key.app,
                "kid": event.key.kid,
                "adopted": event.adopted,
            }
        case WaveBegun():
            return "wave", {
                "job": event.job,
                "wave": event.wave,
                "waves": event.waves,
                "targets": event.targets,
            }
        case WaveHeld():
            return "wave_held", {"job": event.job, "wave": event.wave, "detail": event.detail}
        case ActivationSettled():
            return "activation", activation_line(event.activation)
        case HookEnded():
            return "hook", {
                "on": event.moment,
                "command": event.command,
                "job": event.job,
                "app_id": event.app,
                "ok": event.ok,
                "detail": event.detail,
            }
        case Noticed():
            return "notice", {"text": event.text}
        case Cautioned():
            return "caution", {
                "kind": event.kind,
                "job": event.job,
                "detail": event.detail,
                "count": event.count,
                "app_ids": list(event.apps),
            }


def activation_line(activation: Activation) -> dict[str, object]:
    """Return the fields of a line about one activation."""
    part = activation_part(activation)
    fields = part.model_dump(mode="json") if part else {}
    target = activation.target
    return {"job": target.job, "app_id": target.app, "wave": activation.wave} | fields


def described_call(
    event: CallRetried | CallPaced | RunStopping | RunFinished,
) -> tuple[str, dict[str, object]]:
    """Return type and fields of what happens around calls, and at the end."""
    match event:
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
