"""The report as data: head and rows say what the run knows, in the shape the schema promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import orchestrator
from orchestrator.engine.result import BucketForecast, Forecast, RunResult
from orchestrator.model import (
    AppId,
    Certificate,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Proof,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.report.document import (
    SCHEMA_VERSION,
    Report,
    head_of,
    report_schema,
    row_of,
    rows_of,
    summary_of,
)
from orchestrator.report.formats import json_pieces
from orchestrator.store.base import JobRecord, StopRecord
from tests.unit.results import HEAD, NOON, job_record, record, run_result

SHIPPED = Path(orchestrator.__file__).parent / "schemas" / "report-v1.schema.json"
VALIDATOR = Draft202012Validator(
    report_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER
)
KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
FULL = Outcome(
    target=Target(job="job", app=AppId("0oaTarget"), tags={"owner": "Zoë", "ticket": ""}),
    key=KEY,
    status=Status.CLONED,
    detail="kid, certificate and Location match the source",
    label="Finance",
    proof=Proof.RESPONSE,
    evidence=Evidence(
        http_status=201,
        okta_code="E0000001",
        causes=("first", "second"),
        thumbprint="t",
        location_app=AppId("0oaLocated"),
        request_ids=("req1", "req2"),
        attempts=2,
        lost_answers=1,
        waited_seconds=0.125,
    ),
    settled_at=NOON,
)
BARE = Outcome(
    target=Target(job="job", app=AppId("0oaBare")),
    key=KEY,
    status=Status.SKIPPED,
    detail="the run ended before this target was called",
    reason=Reason.NOT_REACHED,
    retryable=True,
)
CERTIFICATE = Certificate(
    thumbprint="t",
    not_before=NOON,
    not_after=NOON.replace(year=2036),
    subject="CN=acme",
    signature_hash="sha256",
    key_bits=2048,
)
JOB = job_record(KEY, certificate=CERTIFICATE, dropped={"duplicates": 2})
BUCKET = BucketForecast(
    bucket="/api/v1/apps",
    calls=120,
    limit_per_window=50,
    share_per_window=45,
    window_seconds=60.0,
    seconds=130.5,
)


def result(*outcomes: Outcome, dry_run: bool = False) -> RunResult:
    run = record("20261001T120000Z-00aa11", dry_run=dry_run, sessions=3)
    return run_result(outcomes, run=run, jobs=(JOB,))


def document_of(given: RunResult) -> dict[str, object]:
    document = json.loads("".join(json_pieces(given)))
    assert isinstance(document, dict)
    return document


def every_kind_of_outcome() -> list[Outcome]:
    staged = [replace(FULL, status=s, proof=p) for s in Status if s.is_staged for p in Proof]
    failed = [replace(BARE, status=Status.FAILED, reason=reason) for reason in Reason]
    return [*staged, *failed, BARE, replace(BARE, status=Status.PLANNED, reason=None)]


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == report_schema()


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(report_schema())


@pytest.mark.parametrize("dry_run", [False, True])
def test_outcomes_of_every_kind_make_a_valid_report(dry_run: bool) -> None:
    document = document_of(result(*every_kind_of_outcome(), dry_run=dry_run))
    VALIDATOR.validate(document)
    assert len(document["targets"]) == len(every_kind_of_outcome())  # type: ignore[arg-type]


@pytest.mark.parametrize("cause", StopCause)
def test_a_stopped_run_makes_a_valid_report(cause: StopCause) -> None:
    stop = StopRecord(cause=cause, detail="why", hint="only for the terminal")
    document = document_of(replace(result(FULL), stop=stop))
    VALIDATOR.validate(document)
    assert document["stop"] == {"cause": cause.value, "detail": "why"}


@pytest.mark.parametrize(
    "bucket",
    [BUCKET, replace(BUCKET, limit_per_window=None, share_per_window=None, window_seconds=None)],
    ids=["limited", "unlimited"],
)
def test_a_forecast_makes_a_valid_report(bucket: BucketForecast) -> None:
    forecast = Forecast(buckets=(bucket,), seconds=130.5, sharing={"kid": 7})
    document = document_of(replace(result(FULL, dry_run=True), forecast=forecast))
    VALIDATOR.validate(document)
    ahead = document["forecast"]
    assert isinstance(ahead, dict)
    assert (ahead["seconds"], ahead["sharing"]) == (130.5, {"kid": 7})
    assert ahead["buckets"][0]["calls"] == 120


@pytest.mark.parametrize(
    "jobs",
    [
        (),
        (replace(JOB, certificate=None, problem="the source key cannot be read"),),
        (JOB, replace(JOB, name="second", dropped={})),
    ],
    ids=["no jobs", "problem", "two"],
)
def test_jobs_of_every_kind_make_a_valid_report(jobs: tuple[JobRecord, ...]) -> None:
    document = document_of(replace(result(), jobs=jobs))
    VALIDATOR.validate(document)
    parts = document["jobs"]
    assert isinstance(parts, list)
    assert [(part["name"], part["problem"]) for part in parts] == [
        (job.name, job.problem) for job in jobs
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"more": 1}, {"run_id": None}, {"targets": [{}]}, {"exit_code": "0"}, {"started_at": "noon"}],
    ids=str,
)
def test_the_schema_refuses_what_a_report_never_holds(wrong: dict[str, object]) -> None:
    document = document_of(result(FULL))
    assert not VALIDATOR.is_valid(document | wrong)


def test_a_row_holds_everything_that_is_known_of_a_target() -> None:
    assert row_of(FULL, dry_run=False).model_dump(mode="json") == {
        "dry_run": False,
        "job": "job",
        "app_id": "0oaTarget",
        "label": "Finance",
        "status": "cloned",
        "reason": None,
        "detail": "kid, certificate and Location match the source",
        "proof": "response",
        "retryable": False,
        "source_app_id": "0oaSource",
        "kid": "kid",
        "thumbprint": "t",
        "http_status": 201,
        "okta_code": "E0000001",
        "causes": ["first", "second"],
        "location_app_id": "0oaLocated",
        "request_ids": ["req1", "req2"],
        "attempts": 2,
        "lost_answers": 1,
        "waited_seconds": 0.125,
        "settled_at": "2026-10-01T12:00:00Z",
        "tags": {"owner": "Zoë", "ticket": ""},
    }


def test_the_head_says_which_run_it_was() -> None:
    head = head_of(result(FULL, BARE))
    assert head.schema_version == SCHEMA_VERSION
    assert (head.run_id, head.org) == ("20261001T120000Z-00aa11", "https://acme.okta.com")
    assert (head.plan.name, head.plan.sha256) == ("finance", "ab12")
    assert (head.finished_at - head.started_at).total_seconds() == 3600
    assert head.exit_code == 3
    assert (head.stop, head.forecast) == (None, None)
    assert (head.journal.sessions, head.journal.events, head.journal.head) == (3, 7, HEAD)
    [job] = head.jobs
    assert (job.source_app_id, job.kid, job.dropped) == ("0oaSource", "kid", {"duplicates": 2})
    assert job.certificate is not None
    assert job.certificate.not_after == NOON.replace(year=2036)


@pytest.mark.parametrize("status", Status)
def test_the_summary_counts_every_status_under_its_name(status: Status) -> None:
    counted = summary_of(result(replace(FULL, status=status), BARE)).model_dump()
    expected = dict.fromkeys([each.value for each in Status], 0) | {"targets": 2}
    expected[Status.SKIPPED.value] += 1
    expected[status.value] += 1
    assert counted == expected


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_dry_run_says_so_in_the_head_and_in_every_row(dry_run: bool) -> None:
    given = result(FULL, BARE, dry_run=dry_run)
    assert head_of(given).dry_run is dry_run
    assert [row.dry_run for row in rows_of(given)] == [dry_run] * 2


def test_rows_stand_in_the_order_of_the_plan() -> None:
    assert [row.app_id for row in rows_of(result(BARE, FULL, BARE))] == [
        "0oaBare",
        "0oaTarget",
        "0oaBare",
    ]


@pytest.mark.parametrize("outcomes", [(), (FULL,), (FULL, BARE)], ids=["none", "one", "two"])
def test_the_streamed_document_is_the_one_of_the_whole_model(outcomes: tuple[Outcome, ...]) -> None:
    given = result(*outcomes)
    whole = Report(**dict(head_of(given)), targets=list(rows_of(given)))
    assert document_of(given) == whole.model_dump(mode="json")
    assert Report.model_validate_json("".join(json_pieces(given))) == whole


def test_the_streamed_document_has_a_line_per_target() -> None:
    outcomes = [replace(FULL, detail="two\nlines\u2028three"), BARE, BARE]
    lines = "".join(json_pieces(result(*outcomes))).split("\n")
    rows = [
        json.loads(line.strip().rstrip(",")) for line in lines if "app_id" in line and "{" in line
    ]
    assert [row["app_id"] for row in rows if "app_id" in row] == ["0oaTarget", "0oaBare", "0oaBare"]


def test_pieces_are_made_one_target_at_a_time() -> None:
    pieces = json_pieces(result(*[BARE] * 50))
    assert max(piece.count("0oaBare") for piece in pieces) == 1
