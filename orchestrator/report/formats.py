"""Write the report to files, whole or not at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from orchestrator.engine.result import RunResult
from orchestrator.errors import ReportError
from orchestrator.model import ActivationState, Status
from orchestrator.report.document import head_of, rows_of, stem_of
from orchestrator.report.junit import write_junit
from orchestrator.report.markdown import write_markdown
from orchestrator.report.parts import ActivationPart, TargetRow
from orchestrator.writing import cell_of, on_lines, write_whole

LIKE_AN_ID = re.compile(r"-?[A-Za-z0-9_.-]*(?:; -?[A-Za-z0-9_.-]+)*")  # no formula at all
FREE_TEXT = ("label", "detail", "causes", "tags", "problem")
SUFFIXES = {"markdown": "md", "junit": "junit.xml"}  # where it is not the name of the format
OF_ACTIVATION = tuple(ActivationPart.model_fields)


def write_reports(result: RunResult, folder: Path, formats: Iterable[str]) -> list[Path]:
    """Write the report in each format, readable by its owner only, and return the paths.

    Raises:
        ReportError: the folder or a file cannot be written.
    """
    stem = stem_of(result.record.plan, result.record.run_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [
            write_file(folder / file_name(stem, name), WRITERS[name], result) for name in formats
        ]
        return paths + write_failed_file(folder / f"{stem}.failed.csv", result)
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {folder}: {error.strerror}",
            hint="name another folder with --report-dir; the outcomes are on the terminal",
        ) from error


def complete_reports(result: RunResult, folder: Path, formats: Sequence[str]) -> None:
    """Write the reports of a run that is over, should its process have died before it could."""
    ended = result.record.updated_at.timestamp()
    stem = stem_of(result.record.plan, result.record.run_id)
    paths = [folder / file_name(stem, name) for name in formats]
    if not all(path.exists() and path.stat().st_mtime >= ended for path in paths):
        write_reports(result, folder, formats)


def file_name(stem: str, format_: str) -> str:
    """Return the name of a report's file in one format."""
    return f"{stem}.{SUFFIXES.get(format_, format_)}"


def packs_name(plan: str, run_id: str) -> str:
    """Return the folder of a run's hand-off packs, beside its reports."""
    return f"{stem_of(plan, run_id)}.handoff"


def with_packs(result: RunResult, folder: Path) -> RunResult:
    """Let the report index the hand-off packs that the run has left in the folder, if any."""
    packs = packs_name(result.record.plan, result.record.run_id)
    return replace(result, packs=packs) if (folder / packs).is_dir() else result


def write_failed_file(path: Path, result: RunResult) -> list[Path]:
    """Write the failed targets if there are any; else remove what an earlier session left."""
    if result.counts[Status.FAILED] or result.activations[ActivationState.FAILED]:
        return [write_file(path, write_failed, result)]
    path.unlink(missing_ok=True)
    return []


def write_file(path: Path, write: Callable[[RunResult, TextIO], None], result: RunResult) -> Path:
    return write_whole(path, lambda file: write(result, file))


def write_json(result: RunResult, file: TextIO) -> None:
    """Write one JSON document with a line per target, without holding it in memory."""
    file.writelines(json_pieces(result))


def json_pieces(result: RunResult) -> Iterator[str]:
    """Yield the JSON document in pieces."""
    head = head_of(result).model_dump_json(indent=2)
    yield head.removesuffix("\n}") + ',\n  "targets": ['
    separator = "\n    "
    for row in rows_of(result):
        yield separator + row.model_dump_json()
        separator = ",\n    "
    yield "\n  ]\n}\n"


def write_csv(result: RunResult, file: TextIO) -> None:
    """Write a row per target. Text that people typed cannot start a spreadsheet formula."""
    writer = csv.writer(file)
    columns = [name for name in TargetRow.model_fields if name != "activation"]
    writer.writerow(columns + [f"activation_{name}" for name in OF_ACTIVATION])
    for row in rows_of(result):
        cells = row.model_dump(mode="json")
        activation = cells.pop("activation") or {}
        flat = [cell_text(column, cells[column]) for column in columns]
        writer.writerow(flat + [cell_text(name, activation.get(name)) for name in OF_ACTIVATION])


def write_failed(result: RunResult, file: TextIO) -> None:
    """Write the targets that failed, staged or activated, for `run PLAN --targets @FILE`."""
    writer = csv.writer(file)
    writer.writerow(["app_id", "job", "reason", "detail"])
    for row in rows_of(result):
        failure = failure_of(row)
        if failure is not None:
            reason, detail = failure
            text = cell_text("detail", on_lines(detail))
            writer.writerow((row.app_id, row.job, reason or "", text))


def failure_of(row: TargetRow) -> tuple[str | None, str] | None:
    """Return reason and detail of what failed last about a target; None if nothing did."""
    if row.status is Status.FAILED:
        return row.reason, row.detail
    if row.activation is not None and row.activation.state is ActivationState.FAILED:
        return row.activation.reason, row.activation.detail
    return None


def cell_text(column: str, value: object) -> str:
    """Flatten one value of a row into a cell.

    Ids stay as they are, for a kid may start with a dash. An org may send anything for one.
    """
    text = cell_of(value, is_foreign=column in FREE_TEXT)
    return (
        text
        if column in FREE_TEXT or LIKE_AN_ID.fullmatch(text)
        else cell_of(text, is_foreign=True)
    )


def write_html(result: RunResult, file: TextIO) -> None:
    """Write one page that stands alone; only who wants it waits for its templates."""
    from orchestrator.report.html import html_pieces

    file.writelines(html_pieces(result))


WRITERS: dict[str, Callable[[RunResult, TextIO], None]] = {
    "json": write_json,
    "html": write_html,
    "csv": write_csv,
    "junit": write_junit,
    "markdown": write_markdown,
}
PRINTERS = WRITERS | {"failed": write_failed}
