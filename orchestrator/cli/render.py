"""What a person sees on the terminal, all of it on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from rich import markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from orchestrator.engine.result import Forecast, RunResult
from orchestrator.events import (
    CallPaced,
    Event,
    RunStarted,
    RunStopping,
    SourceRead,
    TargetSettled,
)
from orchestrator.model import Outcome, Reason, Status
from orchestrator.store.base import JobRecord

MOST_ROWS = 40  # of a table; the report holds them all
STYLES = {
    Status.PLANNED: "cyan",
    Status.CLONED: "green",
    Status.ALREADY_PRESENT: "green",
    Status.FAILED: "bold red",
    Status.SKIPPED: "yellow",
}


CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")


def escape(text: str) -> str:
    """Return text of an org or a plan as it may go to a terminal: no markup, no control codes."""
    return markup.escape(text.translate(CONTROLS))


class Screen:
    """An observer that shows progress while the run goes on, and its result at the end."""

    def __init__(self, *, quiet: bool, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.quiet = quiet
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.progress.add_task("targets", total=None, note="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def notify(self, event: Event) -> None:
        match event:
            case TargetSettled():
                self.progress.update(self.task, advance=1, note="")
                if event.outcome.status is Status.FAILED:
                    self.say(f"[red]failed[/] {describe(event.outcome)}")
            case RunStarted():
                self.progress.update(self.task, total=event.targets)
                if event.dry_run:
                    self.say("[bold cyan]DRY RUN[/]: nothing will be changed")
                noun = "target" if event.targets == 1 else "targets"
                self.say(
                    f"{escape(event.plan)} on {escape(event.org)}: "
                    f"{event.targets} {noun}, run {event.run_id}"
                )
            case SourceRead() if event.problem:
                self.say(f"[red]job {escape(event.job)}[/]: {escape(event.problem)}")
            case CallPaced():
                seconds = round(event.wait_seconds)
                self.progress.update(self.task, note=f"waiting {seconds}s for the rate limit")
                if not self.console.is_terminal:
                    self.say(f"waiting {seconds}s for the rate limit of {escape(event.bucket)}")
            case RunStopping():
                self.say(
                    f"[yellow]stopping[/]: {escape(event.detail)}; finishing the calls in flight"
                )

    def say(self, text: str) -> None:
        if not self.quiet:
            self.progress.console.print(text, soft_wrap=True)

    def show_notices(self, notices: Sequence[str]) -> None:
        """Say which run this is, unless nobody wants to know."""
        for notice in notices:
            self.say(escape(notice))

    def show_result(self, result: RunResult, paths: Sequence[Path], *, seconds: float) -> None:
        """Show what the run came to; quiet runs speak only of changes and failures."""
        counts = result.counts
        eventful = result.stop or result.changed or counts[Status.FAILED]
        if self.quiet and not (eventful or counts[Status.SKIPPED]):
            return
        self.console.print()
        for job in result.jobs:
            self.console.print(job_line(job), soft_wrap=True)
        self.show_targets(result)
        if result.forecast:
            self.show_forecast(result.forecast)
        if result.stop:
            self.console.print(f"[yellow]stopped[/]: {escape(result.stop.detail)}", soft_wrap=True)
            hint = result.stop.hint or "run the same plan again: what is done stays done"
            self.console.print(f"  hint: {escape(hint)}", soft_wrap=True)
        self.console.print(f"{count_line(result)} in {duration(seconds)}", soft_wrap=True)
        for path in paths:
            self.console.print(f"report: {escape(str(path))}", soft_wrap=True)

    def show_targets(self, result: RunResult) -> None:
        """Show every target of a small run; of a large one, those that failed.

        Targets that were not called have nothing to tell apart: their number and the job say it.
        """
        large = sum(result.counts.values()) > MOST_ROWS
        told = (Status.FAILED,) if large else tuple(set(Status) - {Status.SKIPPED})
        number = sum(result.counts[status] for status in told)
        rows = (outcome for outcome in result.outcomes if outcome.status in told)
        if number:
            self.console.print(target_table(islice(rows, MOST_ROWS)))
        if number > MOST_ROWS:
            self.console.print(f"... and {number - MOST_ROWS} more: see the report")

    def show_forecast(self, forecast: Forecast) -> None:
        for kid, apps in forecast.sharing.items():
            noun = "app shares" if apps == 1 else "apps will share"
            self.console.print(f"at least {apps} {noun} key {kid}", soft_wrap=True)
        for bucket in forecast.buckets:
            limit = "without a known limit"
            if bucket.limit_per_window is not None:
                limit = (
                    f"at {bucket.share_per_window} of {bucket.limit_per_window} "
                    f"every {bucket.window_seconds:.0f} s"
                )
            self.console.print(
                f"a run makes {bucket.calls} calls to {escape(bucket.bucket)} {limit}: "
                f"{duration(bucket.seconds)}",
                soft_wrap=True,
            )


def describe(outcome: Outcome) -> str:
    return f"{escape(outcome.target.app)}: {escape(outcome.detail)}"


def job_line(job: JobRecord) -> str:
    """Return one line about a job's source."""
    line = f"job {escape(job.name)}: key {job.key.kid} of app {job.key.app}"
    if job.certificate:
        certificate = job.certificate
        line += (
            f", {certificate.signature_hash} {certificate.key_bits} bits,"
            f" until {certificate.not_after:%Y-%m-%d}, x5t#S256 {certificate.thumbprint}"
        )
    dropped = ", ".join(f"{number} {why}" for why, number in job.dropped.items() if number)
    if dropped:
        line += f" [dim](left out: {dropped})[/]"
    if job.problem:
        line += f"\n  [red]{escape(job.problem)}[/]"
    return line


def target_table(outcomes: Iterable[Outcome]) -> Table:
    """Return a table with a row per target: what became of it, and how that is known."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("app", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("proof", overflow="fold")
    for outcome in outcomes:
        table.add_row(
            Text(outcome.target.app),
            Text(outcome.status.value, style=STYLES[outcome.status]),
            Text(proof_text(outcome).translate(CONTROLS)),
        )
    return table


def proof_text(outcome: Outcome) -> str:
    """Return how the outcome is known, in one line."""
    evidence = outcome.evidence
    text = f"{outcome.label}: {outcome.detail}" if outcome.label else outcome.detail
    if evidence.http_status and outcome.status is not Status.PLANNED:
        text += f" ({evidence.http_status})"
    if outcome.reason is Reason.NO_ANSWER and evidence.request_ids:
        text += f" (request {evidence.request_ids[-1]})"
    return text


def count_line(result: RunResult) -> str:
    """Return how many targets came to what."""
    parts = [
        f"[{STYLES[status]}]{number} {status.value.replace('_', ' ')}[/]"
        for status, number in result.counts.items()
        if number
    ]
    prefix = "[bold cyan]DRY RUN[/] " if result.record.dry_run else ""
    return f"{prefix}{', '.join(parts) or 'no targets'}"


def duration(seconds: float) -> str:
    """Return a time span as a person would say it."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
