"""The report as data: head and rows say what the run knows, in the shape the schema promises."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import orchestrator
from orchestrator.engine.cautions import Caution, CautionKind
from orchestrator.engine.result import HOOK_RAN, BucketForecast, Forecast, RunResult, tally_hooks
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
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
from orchestrator.report.document import head_of, row_of, rows_of, summary_of
from orchestrator.report.formats import json_pieces
from orchestrator.report.parts import SCHEMA_VERSION, Report, report_schema
from orchestrator.store.base import EventRecord, JobRecord, StopRecord
from tests.unit.results import (
    HEAD,
    NOON,
    certificate,
    job_record,
    record,
    run_result,
    target_record,
)

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
ACTIVATION = Activation(
    target=FULL.target,
    kid=KEY.kid,
    wave=2,
    state=ActivationState.FAILED,
    detail="the org changed more than the key",
    previous_kid=Kid("old"),
    proof=Proof.READ,
    reason=Reason.COLLATERAL,
    retryable=True,
    changes=("label",),
    problem="look at it",
    evidence=FULL.evidence,
    at=NOON,
)
BARE = Outcome(
    target=Target(job="job", app=AppId("0oaBare")),
    key=KEY,
    status=Status.SKIPPED,
    detail="the run ended before this target was called",
    reason=Reason.NOT_REACHED,
    retryable=True,
)
CERTIFICATE = certificate("t")
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
        "resource": "app",
        "wave": None,
        "acknowledged": False,
        "activation": None,
        "handoff": None,
    }


def test_a_row_holds_everything_that_is_known_of_an_activation() -> None:
    known = target_record(FULL, wave=2, is_acknowledged=True, activation=ACTIVATION)
    row = row_of(FULL, known, dry_run=False, packs="finance-r1.handoff").model_dump(mode="json")
    assert (row["wave"], row["acknowledged"]) == (2, True)
    assert row["handoff"] == "finance-r1.handoff/job/0oaTarget"
    assert row["activation"] == {
        "state": "failed",
        "detail": "the org changed more than the key",
        "kid": "kid",
        "previous_kid": "old",
        "proof": "read",
        "reason": "collateral",
        "retryable": True,
        "changes": ["label"],
        "problem": "look at it",
        "http_status": 201,
        "okta_code": "E0000001",
        "causes": ["first", "second"],
        "request_ids": ["req1", "req2"],
        "attempts": 2,
        "lost_answers": 1,
        "waited_seconds": 0.125,
        "at": "2026-10-01T12:00:00Z",
    }


@pytest.mark.parametrize("outcome", [FULL, BARE], ids=["staged", "not"])
@pytest.mark.parametrize("packs", [None, "p"])
def test_only_staged_targets_have_a_pack(outcome: Outcome, packs: str | None) -> None:
    row = row_of(outcome, dry_run=False, packs=packs)
    assert (row.handoff is not None) is (outcome is FULL and packs is not None)


@pytest.mark.parametrize("state", ActivationState)
def test_activations_of_every_state_make_a_valid_report(state: ActivationState) -> None:
    record = target_record(FULL, wave=1, activation=replace(ACTIVATION, state=state))
    document = document_of(run_result([record, FULL], jobs=(JOB,)))
    VALIDATOR.validate(document)
    told = bool(document["remarks"])
    assert told is (state is ActivationState.ROLLED_BACK)


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


def counted(given: RunResult) -> dict[str, int]:
    """Return what a summary counts, without what there is none of."""
    return {name: number for name, number in summary_of(given).model_dump().items() if number}


@pytest.mark.parametrize("status", Status)
def test_the_summary_counts_every_status_under_its_name(status: Status) -> None:
    expected = Counter({"targets": 2, Status.SKIPPED.value: 1}) + Counter([status.value])
    assert counted(result(replace(FULL, status=status), BARE)) == expected


@pytest.mark.parametrize(
    ("state", "names"),
    [
        (ActivationState.PLANNED, ["activation_planned"]),
        (ActivationState.INTENDED, ["activation_pending"]),
        (ActivationState.ACTIVATED, ["activated"]),
        (ActivationState.VERIFIED, ["activated", "verified"]),
        (ActivationState.FAILED, ["activation_failed"]),
        (ActivationState.SKIPPED, ["activation_skipped"]),
        (ActivationState.REVERTING, ["rollback_pending"]),
        (ActivationState.ROLLED_BACK, ["rolled_back"]),
    ],
)
def test_the_summary_counts_what_became_of_activations(
    state: ActivationState, names: list[str]
) -> None:
    activation = replace(ACTIVATION, state=state)
    records = [target_record(FULL, wave=1, activation=activation), target_record(FULL, wave=1)]
    expected = Counter({"targets": 2, "cloned": 2, "activation_pending": 1}) + Counter(names)
    assert counted(run_result(records)) == expected | Counter(["activation_problems"])


def test_the_head_tells_which_hooks_failed() -> None:
    ran: dict[str, object] = {
        "on": "target_staged",
        "job": "job",
        "app": "0oaTarget",
        "argv": ["./upload.sh"],
    }
    failed = ran | {"exit_code": None, "timed_out": True, "error": None, "seconds": 60.0}
    hooks = tally_hooks(
        EventRecord(seq=number, at=NOON, kind=HOOK_RAN, body=body)
        for number, body in enumerate([ran | {"exit_code": 0}, failed | {"output": "so far"}])
    )
    document = document_of(replace(result(FULL), hooks=hooks))
    VALIDATOR.validate(document)
    told = head_of(replace(result(FULL), hooks=hooks)).hooks
    assert (told.ran, told.failed) == (2, 1)
    assert told.failures[0].argv == ["./upload.sh"]


@pytest.mark.parametrize("kind", CautionKind)
def test_the_head_tells_what_there_is_to_think_about(kind: CautionKind) -> None:
    apps = (AppId("0oaTarget"), AppId("0oaBare"))
    caution = Caution(kind=kind, job="job", detail="think", count=12, apps=apps)
    document = document_of(replace(result(FULL), cautions=(caution,), checksum="5e" * 32))
    VALIDATOR.validate(document)
    assert document["checksum"] == "5e" * 32
    assert document["cautions"] == [
        {
            "kind": kind.value,
            "job": "job",
            "detail": "think",
            "count": 12,
            "app_ids": ["0oaTarget", "0oaBare"],
        }
    ]


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
