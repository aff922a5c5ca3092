"""Events as lines of NDJSON: every kind of event, each line whole by itself."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError
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
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Certificate,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Proof,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.report.document import row_of
from orchestrator.report.parts import SCHEMA_VERSION, TargetRow
from orchestrator.report.stream import EventStream
from orchestrator.secret import Secret

NOON = datetime(2026, 10, 1, 12, 0, 0, 123456, tzinfo=UTC)
RUN = RunId("20261001T120000Z-00aa11")
KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
CERTIFICATE = Certificate(
    thumbprint="t",
    not_before=NOON,
    not_after=NOON.replace(year=2036, microsecond=0),
    subject="CN=acme",
    signature_hash="sha256",
    key_bits=2048,
)
OUTCOME = Outcome(
    target=Target(job="job", app=AppId("0oaTarget"), tags={"owner": "Zoë"}),
    key=KEY,
    status=Status.CLONED,
    detail="two\nlines\u2028and three",
    settled_at=NOON,
)
ACTIVATION = Activation(
    target=OUTCOME.target,
    kid=KEY.kid,
    wave=2,
    state=ActivationState.ACTIVATED,
    detail="signs with kid",
    previous_kid=Kid("old"),
    proof=Proof.RESPONSE,
    evidence=Evidence(request_ids=("r1", "r2"), attempts=2, waited_seconds=0.5),
    at=NOON,
)
ACTIVATION_FIELDS: dict[str, object] = {
    "state": "activated",
    "detail": "signs with kid",
    "kid": "kid",
    "previous_kid": "old",
    "proof": "response",
    "reason": None,
    "retryable": False,
    "changes": [],
    "problem": None,
    "http_status": None,
    "okta_code": None,
    "causes": [],
    "request_ids": ["r1", "r2"],
    "attempts": 2,
    "lost_answers": 0,
    "waited_seconds": 0.5,
    "at": "2026-10-01T12:00:00.123456Z",
}
EVENTS: dict[type, tuple[Event, str, dict[str, object]]] = {
    RunStarted: (
        RunStarted(run_id=RUN, plan="finance", org="o", dry_run=False, targets=7),
        "plan",
        {"plan": "finance", "org": "o", "targets": 7},
    ),
    SourceRead: (
        SourceRead(job="job", key=KEY, certificate=CERTIFICATE),
        "source",
        {
            "job": "job",
            "source_app_id": "0oaSource",
            "kid": "kid",
            "thumbprint": "t",
            "not_after": "2036-10-01T12:00:00+00:00",
            "problem": None,
        },
    ),
    TargetSettled: (
        TargetSettled(outcome=OUTCOME),
        "target",
        row_of(OUTCOME, dry_run=False).model_dump(mode="json"),
    ),
    CallRetried: (
        CallRetried(call="POST /x", attempt=2, cause="500", wait_seconds=0.123456),
        "retry",
        {"call": "POST /x", "attempt": 2, "cause": "500", "wait_seconds": 0.123},
    ),
    CallPaced: (
        CallPaced(bucket="/api/v1/apps", wait_seconds=59.99999),
        "throttle",
        {"bucket": "/api/v1/apps", "wait_seconds": 60.0},
    ),
    RunStopping: (
        RunStopping(cause=StopCause.MAX_TARGETS, detail="20 targets are done"),
        "stopping",
        {"cause": "max_targets", "detail": "20 targets are done"},
    ),
    RunFinished: (
        RunFinished(counts={"cloned": 7, "failed": 0}, exit_code=0),
        "summary",
        {"counts": {"cloned": 7, "failed": 0}, "exit_code": 0},
    ),
    KeyMade: (
        KeyMade(job="job", key=KEY, adopted=True),
        "key",
        {"job": "job", "app_id": "0oaSource", "kid": "kid", "adopted": True},
    ),
    WaveBegun: (
        WaveBegun(job="job", wave=1, waves=3, targets=7),
        "wave",
        {"job": "job", "wave": 1, "waves": 3, "targets": 7},
    ),
    WaveHeld: (
        WaveHeld(job="job", wave=2, detail="2 targets of wave 2 failed"),
        "wave_held",
        {"job": "job", "wave": 2, "detail": "2 targets of wave 2 failed"},
    ),
    ActivationSettled: (
        ActivationSettled(activation=ACTIVATION),
        "activation",
        {"job": "job", "app_id": "0oaTarget", "wave": 2} | ACTIVATION_FIELDS,
    ),
    HookEnded: (
        HookEnded(
            moment="target_staged",
            command="./upload.sh",
            job="job",
            app="0oaTarget",
            ok=False,
            detail="failed with exit code 1",
        ),
        "hook",
        {
            "on": "target_staged",
            "command": "./upload.sh",
            "job": "job",
            "app_id": "0oaTarget",
            "ok": False,
            "detail": "failed with exit code 1",
        },
    ),
    Noticed: (Noticed(text="no System Log"), "notice", {"text": "no System Log"}),
    Cautioned: (
        Cautioned(
            kind="inactive",
            job="job",
            detail="2 targets are not active",
            count=2,
            apps=(AppId("0oaTarget"), AppId("0oaOther")),
        ),
        "caution",
        {
            "kind": "inactive",
            "job": "job",
            "detail": "2 targets are not active",
            "count": 2,
            "app_ids": ["0oaTarget", "0oaOther"],
        },
    ),
}


class StoppedClock(SystemClock):
    """It is always noon."""

    def wall(self) -> datetime:
        return NOON


def stream(file: io.StringIO, *, dry_run: bool = False) -> EventStream:
    return EventStream(file, clock=StoppedClock(), run_id=RUN, dry_run=dry_run)


def lines(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().split("\n")[:-1]]


def line_of(event: Event, *, dry_run: bool = False) -> dict[str, Any]:
    file = io.StringIO()
    stream(file, dry_run=dry_run).notify(event)
    [line] = lines(file)
    return line


def test_every_kind_of_event_is_tried_here() -> None:
    assert set(EVENTS) == set(get_args(Event))


@pytest.mark.parametrize(
    ("event", "kind", "fields"), EVENTS.values(), ids=[k.__name__ for k in EVENTS]
)
def test_every_event_is_one_line(event: Event, kind: str, fields: dict[str, object]) -> None:
    assert line_of(event) == fields | {
        "type": kind,
        "time": "2026-10-01T12:00:00.123+00:00",
        "run_id": RUN,
        "schema_version": SCHEMA_VERSION,
        "dry_run": False,
    }


def test_no_field_of_an_event_hides_one_of_its_line() -> None:
    """But for `dry_run`, which both know alike."""
    frame = {"type", "time", "run_id", "schema_version"}
    for _, _, fields in EVENTS.values():
        assert not frame & fields.keys()


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_line_of_a_dry_run_says_so(kind: type) -> None:
    assert line_of(EVENTS[kind][0], dry_run=True)["dry_run"] is True


def test_a_line_of_a_target_is_a_row_of_the_report() -> None:
    line = line_of(TargetSettled(outcome=OUTCOME))
    row = {name: line[name] for name in TargetRow.model_fields}
    assert TargetRow.model_validate_json(json.dumps(row)) == row_of(OUTCOME, dry_run=False)


def test_a_source_without_a_certificate_says_its_problem() -> None:
    line = line_of(SourceRead(job="job", key=KEY, certificate=None, problem="404"))
    assert (line["thumbprint"], line["not_after"], line["problem"]) == (None, None, "404")


def test_lines_come_in_order_and_are_ascii() -> None:
    file = io.StringIO()
    told = stream(file)
    for event, _, _ in EVENTS.values():
        told.notify(event)
    assert [line["type"] for line in lines(file)] == [kind for _, kind, _ in EVENTS.values()]
    assert file.getvalue().isascii()
    assert file.getvalue().count("\n") == len(EVENTS)


def test_an_error_is_the_last_line() -> None:
    file = io.StringIO()
    secret = Secret("told-by-mistake")
    told = f"not {secret.reveal()}"
    stream(file).fail(ConfigError("which org?", hint="export X"), 4)
    stream(file).fail(ConfigError(told, hint=told), 4)
    line, scrubbed = lines(file)
    assert line["type"] == "exit_error"
    assert (line["exit_code"], line["message"], line["hint"]) == (4, "which org?", "export X")
    assert scrubbed["message"] == scrubbed["hint"] == "not [secret]"


def test_every_line_is_flushed_at_once() -> None:
    raw = io.BytesIO()
    told = EventStream(
        io.TextIOWrapper(raw, write_through=False), clock=StoppedClock(), run_id=RUN, dry_run=False
    )
    for number, (event, _, _) in enumerate(EVENTS.values(), start=1):
        told.notify(event)
        assert raw.getvalue().count(b"\n") == number
