"""Reports as files: whole or not at all, for the owner's eyes, and safe in a spreadsheet."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import hypothesis
import pytest
from hypothesis import strategies as st

from orchestrator.engine.result import RunResult
from orchestrator.errors import ExitCode, ReportError
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.plan.targets import read_app_ids
from orchestrator.report.formats import (
    FREE_TEXT,
    cell_text,
    json_pieces,
    write_csv,
    write_file,
    write_reports,
)
from orchestrator.report.html import html_pieces
from orchestrator.report.junit import junit_pieces
from orchestrator.report.markdown import markdown_pieces
from orchestrator.report.parts import ActivationPart, TargetRow
from orchestrator.store.base import StopRecord
from tests.unit.results import run_result, target_record

COLUMNS = [name for name in TargetRow.model_fields if name != "activation"] + [
    f"activation_{name}" for name in ActivationPart.model_fields
]
LONE = "\udcff"  # a lone surrogate, which has no encoding
FORMULA = '=HYPERLINK("http://evil.example")'


def outcome(
    label: str | None = None, detail: str = "said", tags: dict[str, str] | None = None, *causes: str
) -> Outcome:
    return Outcome(
        target=Target(job="job", app=AppId("0oaTarget"), tags=tags or {}),
        key=KeyRef(app=AppId("0oaSource"), kid=Kid("-kid")),
        status=Status.FAILED,
        detail=detail,
        label=label,
        reason=Reason.REJECTED,
        evidence=Evidence(http_status=400, causes=causes, request_ids=("r1", "r2")),
    )


def activated(**fields: object) -> Activation:
    plain: dict[str, object] = {"target": outcome().target, "kid": "-kid", "wave": 1}
    plain |= {"state": ActivationState.ACTIVATED, "detail": "said"}
    return Activation(**(plain | fields))  # type: ignore[arg-type]  # what the tests change


def result(*outcomes: Outcome) -> RunResult:
    return run_result(outcomes or (outcome(),))


def rows(folder: Path, given: RunResult) -> Iterator[dict[str, str]]:
    path, *_ = write_reports(given, folder, ["csv"])
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half_a_report(result: RunResult, file: TextIO) -> None:
    """Write something, then find the disk full."""
    file.write(result.record.plan)
    file.flush()
    raise OSError(28, "No space left on device")


def interrupted(result: RunResult, file: TextIO) -> None:
    file.write(result.record.plan)
    raise KeyboardInterrupt


def test_a_file_per_format_is_named_after_plan_and_run(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "reports"
    given = result(replace(outcome(), status=Status.CLONED))
    paths = write_reports(given, folder, ["json", "csv", "markdown", "html", "junit"])
    ends = ("json", "csv", "md", "html", "junit.xml")
    assert paths == [folder / f"finance-r1.{end}" for end in ends]
    assert contents(folder) == sorted(f"finance-r1.{end}" for end in ends)
    assert paths[0].read_text(encoding="utf-8") == "".join(json_pieces(given))
    assert paths[2].read_text(encoding="utf-8") == "".join(markdown_pieces(given))
    assert paths[3].read_text(encoding="utf-8") == "".join(html_pieces(given))
    assert paths[4].read_text(encoding="utf-8") == "".join(junit_pieces(given))


def named(app: str, detail: str = "said", status: Status = Status.FAILED) -> Outcome:
    target = Target(job="job, quoted", app=AppId(app))
    return replace(outcome(), target=target, status=status, detail=detail)


def test_failed_targets_get_a_file_that_a_run_accepts(tmp_path: Path) -> None:
    given = result(
        named("0oa00000000000000001", status=Status.CLONED),
        named("0oa00000000000000002", FORMULA),
        named("0oa00000000000000003", status=Status.SKIPPED),
        named("0oa00000000000000004", 'two\nlines, "quoted"'),
    )
    [path] = write_reports(given, tmp_path, [])
    assert path == tmp_path / "finance-r1.failed.csv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_app_ids(path) == ["0oa00000000000000002", "0oa00000000000000004"]
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["job"], first["reason"]) == ("job, quoted", "rejected")
    assert first["detail"] == f"'{FORMULA}"
    assert second["detail"] == 'two\nlines, "quoted"'


@hypothesis.example(["\0"])
@hypothesis.given(st.lists(st.text(st.characters(), max_size=8), min_size=1, max_size=3))
def test_whatever_an_org_says_its_failures_can_be_run_again(details: list[str]) -> None:
    apps = [f"0oa{number:017d}" for number in range(len(details))]
    failed = [named(*pair) for pair in zip(apps, details, strict=True)]
    with TemporaryDirectory() as folder:
        [path] = write_reports(result(*failed), Path(folder), [])
        assert read_app_ids(path) == apps


def test_failures_that_are_mended_take_their_file_with_them(tmp_path: Path) -> None:
    write_reports(result(), tmp_path, [])
    assert contents(tmp_path) == ["finance-r1.failed.csv"]
    assert write_reports(result(replace(outcome(), status=Status.CLONED)), tmp_path, []) == []
    assert contents(tmp_path) == []


def test_only_the_owner_may_read_a_report(tmp_path: Path) -> None:
    for path in write_reports(result(), tmp_path, ["json", "csv"]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_report_replaces_an_older_one_of_the_same_run(tmp_path: Path) -> None:
    old = tmp_path / "finance-r1.json"
    old.write_text("old")
    old.chmod(0o644)
    write_reports(result(), tmp_path, ["json"])
    assert json.loads(old.read_text())["run_id"] == "r1"
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("write", "error"), [(half_a_report, OSError), (interrupted, KeyboardInterrupt)]
)
def test_what_cannot_be_finished_leaves_the_old_file_and_no_draft(
    tmp_path: Path, write: Callable[[RunResult, TextIO], None], error: type[BaseException]
) -> None:
    path = tmp_path / "finance-r1.json"
    path.write_text("old")
    with pytest.raises(error):
        write_file(path, write, result())
    assert contents(tmp_path) == ["finance-r1.json"]
    assert path.read_text() == "old"


def test_a_target_in_the_way_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "finance-r1.csv").mkdir()
    with pytest.raises(ReportError, match="directory"):
        write_reports(result(), tmp_path, ["csv"])
    assert contents(tmp_path) == ["finance-r1.csv"]


@pytest.mark.parametrize("below", ["", "below", "below/deeper"])
def test_a_folder_that_is_a_file_is_an_error_with_a_hint(tmp_path: Path, below: str) -> None:
    blocker = tmp_path / "reports"
    blocker.write_text("mine")
    with pytest.raises(ReportError, match="cannot be written") as caught:
        write_reports(result(), blocker / below, ["json"])
    assert caught.value.exit_code is ExitCode.UNEXPECTED
    assert "--report-dir" in str(caught.value.hint)
    assert blocker.read_text() == "mine"


@pytest.mark.parametrize("name", ["json", "csv", "html", "junit"])
@pytest.mark.parametrize(
    "given",
    [
        result(outcome(LONE)),
        result(outcome(detail=LONE)),
        result(outcome(None, "said", None, LONE)),
        # aiohttp turns each byte of a header that is not UTF-8 into a lone surrogate
        pytest.param(result(replace(outcome(), evidence=Evidence(request_ids=(LONE,))))),
        pytest.param(result(replace(outcome(), evidence=Evidence(location_app=AppId(LONE))))),
    ],
    ids=["label", "detail", "cause", "request id", "Location"],
)
def test_no_text_of_an_org_keeps_a_report_from_being_written(
    tmp_path: Path, given: RunResult, name: str
) -> None:
    for path in write_reports(given, tmp_path, [name]):
        path.read_text(encoding="utf-8")


def test_no_reason_to_stop_keeps_a_report_from_being_written(tmp_path: Path) -> None:
    """A missing scope is named as the org's challenge names it."""
    stop = StopRecord(cause=StopCause.ACCESS, detail=f"the token lacks the scope {LONE}")
    write_reports(replace(result(), stop=stop), tmp_path, ["json"])


def test_a_row_of_the_csv_has_a_cell_per_field(tmp_path: Path) -> None:
    tags = {"owner": "Zoë", "vendor": "a; b"}
    [row] = rows(tmp_path, result(outcome('Fin, "A"\nB', "said", tags, "one", "two")))
    assert list(row) == COLUMNS
    assert row["label"] == 'Fin, "A"\nB'
    assert row["causes"] == "one; two"
    assert row["request_ids"] == "r1; r2"
    assert row["tags"] == "owner=Zoë; vendor=a; b"
    assert (row["status"], row["reason"], row["proof"]) == ("failed", "rejected", "")
    assert (row["dry_run"], row["retryable"]) == ("false", "false")
    assert (row["http_status"], row["attempts"], row["settled_at"]) == ("400", "0", "")


def test_ids_are_written_as_they_are(tmp_path: Path) -> None:
    """A kid may start with a hyphen, and must still match the org's."""
    [row] = rows(tmp_path, result())
    assert row["kid"] == "-kid"


def test_typed_text_cannot_start_a_formula(tmp_path: Path) -> None:
    known = outcome(FORMULA, FORMULA, {FORMULA: "x"}, FORMULA)
    activation = activated(detail=FORMULA, problem=FORMULA, evidence=Evidence(causes=(FORMULA,)))
    [row] = rows(tmp_path, run_result([target_record(known, activation=activation)]))
    typed = {column for column in COLUMNS if column.removeprefix("activation_") in FREE_TEXT}
    assert len(typed) == len(FREE_TEXT) + 2  # there are details and causes of both
    for column in typed:
        assert row[column].startswith("'="), column


def test_a_row_of_the_csv_has_a_cell_per_field_of_an_activation(tmp_path: Path) -> None:
    activation = activated(previous_kid=Kid("-old"), changes=("label", "status"))
    record = target_record(outcome(), wave=3, is_acknowledged=True, activation=activation)
    [row] = rows(tmp_path, run_result([record]))
    assert (row["wave"], row["acknowledged"]) == ("3", "true")
    assert (row["activation_state"], row["activation_previous_kid"]) == ("activated", "-old")
    assert (row["activation_changes"], row["activation_problem"]) == ("label; status", "")


def test_the_csv_has_a_header_also_without_targets(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    with path.open("w", newline="") as file:
        write_csv(run_result(), file)
    assert path.read_text().strip() == ",".join(COLUMNS)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"])
@pytest.mark.parametrize("column", FREE_TEXT)
def test_every_start_of_a_formula_is_guarded(column: str, start: str) -> None:
    assert cell_text(column, f"{start}1") == f"'{start}1"
    assert cell_text(column, f"1{start}") == f"1{start}"


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("label", None, ""),
        ("label", "", ""),
        ("label", "'quoted", "'quoted"),
        ("retryable", True, "true"),
        ("retryable", False, "false"),
        ("attempts", 0, "0"),
        ("attempts", -1, "-1"),
        ("waited_seconds", 0.125, "0.125"),
        ("causes", [], ""),
        ("causes", ["=a", "=b"], "'=a; =b"),
        ("request_ids", ["-a"], "-a"),
        ("request_ids", ["a", "-b"], "a; -b"),
        ("request_ids", ["=a()"], "'=a()"),
        ("okta_code", "@SUM(1)", "'@SUM(1)"),
        ("location_app_id", "-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("previous_kid", "-Abc_9", "-Abc_9"),
        ("kid", "-1+1", "'-1+1"),
        ("tags", {}, ""),
        ("tags", {"owner": "=x"}, "owner==x"),
        ("tags", {"@owner": "x", "b": "y"}, "'@owner=x; b=y"),
    ],
)
def test_values_are_flattened_into_cells(column: str, value: object, text: str) -> None:
    assert cell_text(column, value) == text
