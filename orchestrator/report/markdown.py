"""The report as Markdown, for a pull request: what a plan would do, or has done.

GitHub takes 65,536 characters to a comment, so what does not fit is counted and left out. Text of
an org is foreign: nothing in it may be rendered, lead anywhere or notify anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TextIO

from orchestrator.engine.cautions import Caution
from orchestrator.engine.result import Forecast, RunResult, exit_code
from orchestrator.model import Status
from orchestrator.report.document import remarks_on
from orchestrator.report.wording import (
    counted,
    dropped_text,
    duration,
    expect_text,
    key_text,
    limit_text,
    sharing_text,
    word_of,
)
from orchestrator.store.base import JobRecord, TargetRecord
from orchestrator.writing import as_words

LONGEST = 65_536  # characters of a comment, as UTF-16 counts them
RESERVE = 1_000  # of them, for the lines that count what is left out
MOST_ROWS = 1_000  # targets
MOST_LINES = 50  # of anything else
MANY = 20  # rows that are folded up
LONGEST_NAME, LONGEST_TEXT = 100, 300

PLAIN = re.compile(r"[A-Za-z0-9_.,:/+=()-]+(?: [A-Za-z0-9_.,:/+=()-]+)*")  # literal in a code span
ACTIVE = re.compile(r"[!#$&*<>@\[\\\]^_`{|}~]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
# GitHub looks for mentions, issues and emoji in the text that was rendered, where an entity is the
# character itself. An invisible joiner (U+2060) keeps it from finding any.
ALIVE = re.compile(r"&#(?:64|35|58);(?=\S)|\bGH-(?=\d)", re.IGNORECASE)
JOINER = "&#8288;"


class Room:
    """What is left of a comment."""

    def __init__(self, characters: int) -> None:
        self.left = characters

    def fits(self, text: str) -> bool:
        """Say whether there is room for a text, and take it if so."""
        size = len(text.encode("utf-16-le")) // 2
        if size > self.left:
            return False
        self.left -= size
        return True


def write_markdown(result: RunResult, file: TextIO) -> None:
    """Write the report as one comment."""
    file.writelines(markdown_pieces(result))


def markdown_pieces(result: RunResult) -> Iterator[str]:
    """Yield the report in pieces of whole lines, in all no longer than a comment may be."""
    room = Room(LONGEST - RESERVE)
    yield from listed(head_lines(result), room)
    if result.cautions:
        yield "\n### Cautions\n\n"
        yield from listed(map(caution_line, result.cautions), room)
    if result.jobs:
        rows = (key_cells(job) for job in result.jobs)
        columns = ("Job", "Key", "Hash", "Bits", "Ends", "SHA-256 thumbprint")
        yield from table("Keys", columns, rows, len(result.jobs), room)
        yield from listed(job_lines(result.jobs), room)
    if result.forecast is not None:
        yield from forecast_pieces(result.forecast, room)
    yield from target_pieces(result, room)


def head_lines(result: RunResult) -> Iterator[str]:
    """Yield what the reader is to know first."""
    record = result.record
    what = "DRY RUN" if record.dry_run else "Run"
    yield f"## {what} of plan {code(record.plan)}\n\n"
    yield f"Org {code(record.org)}, run {code(record.run_id)}, exit code {exit_code(result):d}.\n\n"
    yield f"**{prose(', '.join(counted(result)) or 'no targets')}**\n"
    if result.stop is not None:
        yield f"\nStopped: {prose(result.stop.detail)}\n"
    if result.checksum is not None:
        yield f"\nChecksum: {code(result.checksum)}\n"
        yield f"\nTo do exactly this: {code(expect_text(result.checksum))}\n"
    for remark in remarks_on(result):
        yield f"\n{prose(remark)}\n"


def caution_line(caution: Caution) -> str:
    kind = caution.kind.value.replace("_", " ")
    apps = ", ".join(map(code, caution.apps))
    more = ", ..." if caution.count > len(caution.apps) > 0 else ""
    about = f" ({apps}{more})" if apps else ""
    return f"- **{kind}**, job {code(caution.job)}: {prose(caution.detail)}{about}\n"


def key_cells(job: JobRecord) -> Sequence[str]:
    """Return the row of a job: its key, as far as it is known."""
    certificate = job.certificate
    key = code(job.key.kid) if job.key.is_known else prose(key_text(job))
    if certificate is None:
        return code(job.name), key, "", "", "", ""
    return (
        code(job.name),
        key,
        prose(certificate.signature_hash),
        f"{certificate.key_bits}",
        f"{certificate.not_after:%Y-%m-%d}",
        code(certificate.thumbprint),
    )


def job_lines(jobs: Iterable[JobRecord]) -> Iterator[str]:
    """Yield what is wrong with jobs, and what of their targets was never meant."""
    for job in jobs:
        if job.problem:
            yield f"\n**job {code(job.name)} cannot be done**: {prose(job.problem)}\n"
        if dropped := dropped_text(job):
            yield f"\nLeft out of job {code(job.name)}: {prose(dropped)}\n"


def forecast_pieces(forecast: Forecast, room: Room) -> Iterator[str]:
    """Yield the calls of the run to come, and who will share a key."""
    rows = (
        (
            code(bucket.bucket),
            f"{bucket.calls}",
            prose(limit_text(bucket)),
            duration(bucket.seconds),
        )
        for bucket in forecast.buckets
    )
    columns = ("Bucket", "Calls", "Limit", "Time")
    yield from table("Calls of a run", columns, rows, len(forecast.buckets), room)
    lines = [f"\nTogether: {duration(forecast.seconds)}.\n"]
    lines += [f"\n{prose(sharing_text(*pair))}\n" for pair in forecast.sharing.items()]
    yield from listed(lines, room)


def target_pieces(result: RunResult, room: Room) -> Iterator[str]:
    """Yield the targets in the order of the plan; of many, those that failed stand first."""
    total = sum(result.counts.values())
    with_job = len(result.jobs) > 1
    happens = "What would happen" if result.record.dry_run else "Outcome"
    columns = (*(("Job",) if with_job else ()), "App", "Label", happens, "Wave", "Detail")
    if total > MANY:
        failed = [*islice(filter(is_failure, result.records), MOST_LINES + 1)]
        if failed:
            rows = (target_cells(record, with_job=with_job) for record in failed[:MOST_LINES])
            title = "Failed" if len(failed) <= MOST_LINES else f"The first {MOST_LINES} that failed"
            yield from table(title, columns, rows, min(len(failed), MOST_LINES), room, fold=False)
    if total:
        rows = (target_cells(record, with_job=with_job) for record in result.records)
        yield from table("Targets", columns, rows, total, room)


def is_failure(record: TargetRecord) -> bool:
    outcome, activation = record.outcome, record.activation
    failed = outcome is not None and outcome.status is Status.FAILED
    return failed or (activation is not None and activation.is_failure)


def target_cells(record: TargetRecord, *, with_job: bool) -> Sequence[str]:
    """Return the row of a target."""
    outcome, activation = record.outcome, record.activation
    target = record.target
    words, details, label = [], [], None
    if outcome is not None:
        words.append(outcome.status.value.replace("_", " "))
        details.append(outcome.detail)
        label = outcome.label
    if activation is not None:
        words.append(word_of(activation.state))
        details += [activation.detail, activation.problem or ""]
        label = label or activation.label
    cells = (
        code(target.app),
        code(label or ""),
        prose(", ".join(words)),
        "" if record.wave is None else f"{record.wave}",
        prose("; ".join(filter(None, details))),
    )
    return (code(target.job), *cells) if with_job else cells


def listed(lines: Iterable[str], room: Room) -> Iterator[str]:
    """Yield lines as far as they fit, and count the others."""
    every = list(lines)
    yield from fitting(every, MOST_LINES, len(every), room)


def fitting(lines: Iterable[str], most: int, total: int, room: Room) -> Iterator[str]:
    """Yield so many lines at most, as far as they fit, and count the others."""
    shown = 0
    for line in islice(lines, most):
        if not room.fits(line):
            break
        shown += 1
        yield line
    if shown < total:
        yield f"\n... and {total - shown} more: see the JSON or CSV report\n"


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    total: int,
    room: Room,
    *,
    fold: bool = True,
) -> Iterator[str]:
    """Yield a table as far as it fits, folded up when it is long, and count the other rows."""
    folds = fold and total > MANY
    head = f"\n### {title}\n\n"
    if folds:
        head += f"<details>\n<summary>{total} rows</summary>\n\n"
    head += row_line(columns) + row_line(["---"] * len(columns))
    most = MOST_ROWS if room.fits(head) else 0
    if most:
        yield head
    yield from fitting(map(row_line, rows), most, total, room)
    if folds and most:
        yield "\n</details>\n"


def row_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def code(text: str) -> str:
    """Return a foreign name, as it is and nothing but text, in a code span."""
    text = as_words(text, LONGEST_NAME)
    if not text:
        return ""
    if PLAIN.fullmatch(text):
        return f"`{text}`"
    return f"<code>{inert(text)}</code>"


def prose(text: str) -> str:
    """Return a sentence, which may hold foreign text, as nothing but text."""
    return inert(as_words(text, LONGEST_TEXT))


def inert(text: str) -> str:
    """Return a text without anything that Markdown, HTML or GitHub would act on."""
    quoted = ACTIVE.sub(lambda match: f"&#{ord(match[0])};", text)
    return ALIVE.sub(lambda match: match[0] + JOINER, quoted)
