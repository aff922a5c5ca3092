"""What a person sees on the terminal, all of it on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from rich import markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from orchestrator.engine.cautions import Caution
from orchestrator.engine.gates import numbered
from orchestrator.engine.result import Forecast, RunResult
from orchestrator.events import (
    ActivationSettled,
    CallPaced,
    Cautioned,
    Event,
    HookEnded,
    KeyMade,
    Noticed,
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
    Outcome,
    Reason,
    Status,
    StopCause,
)
from orchestrator.report.document import remarks_on
from orchestrator.report.wording import (
    dropped_text,
    duration,
    expect_text,
    key_text,
    limit_text,
    sharing_text,
    word_of,
)
from orchestrator.store.base import JobRecord, StopRecord, TargetRecord
from orchestrator.writing import on_one_line

MOST_ROWS = 40  # of a table; the report holds them all
MOST_NAMED = 3  # targets in a line
STYLES = {
    Status.PLANNED: "cyan",
    Status.CLONED: "green",
    Status.GENERATED: "green",
    Status.ALREADY_PRESENT: "green",
    Status.FAILED: "bold red",
    Status.SKIPPED: "yellow",
}


STATE_STYLES = {
    ActivationState.PLANNED: "cyan",
    ActivationState.INTENDED: "yellow",
    ActivationState.ACTIVATED: "green",
    ActivationState.VERIFIED: "green",
    ActivationState.FAILED: "bold red",
    ActivationState.SKIPPED: "yellow",
    ActivationState.REVERTING: "yellow",
    ActivationState.ROLLED_BACK: "magenta",
}


def escape(text: str) -> str:
    """Return text of an org or a plan as it may go to a terminal: no markup, no control codes."""
    return markup.escape(on_one_line(text))


def print_note(console: Console, text: str) -> None:
    """Tell a person what an org did not show, or what could not be done besides."""
    console.print(f"[yellow]note[/]: {escape(text)}", soft_wrap=True)


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
        self.is_dry_run = False
        self.wave_task = self.progress.add_task("activations", total=0, note="", visible=False)

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
                self.is_dry_run = event.dry_run
                if event.dry_run:
                    self.say("[bold cyan]DRY RUN[/]: nothing will be changed")
                self.say(
                    f"{escape(event.plan)} on {escape(event.org)}: "
                    f"{numbered(event.targets)}, run {event.run_id}"
                )
            case SourceRead() if event.problem:
                self.say(f"[red]job {escape(event.job)}[/]: {escape(event.problem)}")
            case CallPaced():
                seconds = round(event.wait_seconds)
                self.progress.update(self.task, note=f"waiting {seconds}s for the rate limit")
                if not self.console.is_terminal:
                    self.say(f"waiting {seconds}s for the rate limit of {escape(event.bucket)}")
            case KeyMade():
                verb = "adopted, for its call's answer was lost" if event.adopted else "made"
                self.say(f"job {escape(event.job)}: key {event.key.kid} {verb}")
            case RunStopping():
                self.say(
                    f"[yellow]stopping[/]: {escape(event.detail)}; finishing the calls in flight"
                )

            case _:
                self.notify_of_waves(event)

    def notify_of_waves(self, event: Event) -> None:
        """Show what has to do with activations, and with the plan's hooks."""
        match event:
            case WaveBegun():
                total = (self.progress.tasks[self.wave_task].total or 0) + event.targets
                self.progress.update(self.wave_task, total=total, visible=True)
                self.say(
                    f"job {escape(event.job)}: wave {event.wave} of {event.waves} begins, "
                    f"{numbered(event.targets)}"
                )
            case ActivationSettled():
                self.progress.update(self.wave_task, advance=1)
                if event.activation.is_failure:
                    self.say(f"[red]not as it should be[/] {describe_activation(event.activation)}")
            case WaveHeld():
                self.say(f"[red]held[/] job {escape(event.job)}: {escape(event.detail)}")
            case HookEnded() if not event.ok:
                about = f" for {event.app}" if event.app else ""
                self.say(
                    f"[yellow]hook[/] {escape(event.command)}{escape(about)} {escape(event.detail)}"
                )
            case Noticed():
                self.say(f"[yellow]note[/]: {escape(event.text)}")
            case Cautioned() if not self.is_dry_run:  # a preview tells of them at its end
                self.say(caution_line(event))

    def say(self, text: str) -> None:
        if not self.quiet:
            self.progress.console.print(text, soft_wrap=True)

    def show_notices(self, notices: Sequence[str]) -> None:
        """Say which run this is, unless nobody wants to know."""
        for notice in notices:
            self.say(escape(notice))

    def show_result(self, result: RunResult, paths: Sequence[Path], *, seconds: float) -> None:
        """Show what the run came to; quiet runs speak only of changes and failures."""
        if self.quiet and not (result.is_eventful or result.unstaged):
            return
        self.console.print()
        for job in result.jobs:
            self.console.print(job_line(job), soft_wrap=True)
        self.show_targets(result)
        if result.forecast:
            self.show_forecast(result.forecast)
        if result.record.dry_run:  # a run has told of them when it began
            self.show_cautions(result.cautions)
        if result.stop:
            self.show_stop(result.stop)
        self.console.print(f"{count_line(result)} in {duration(seconds)}", soft_wrap=True)
        for remark in remarks_on(result):
            self.console.print(f"[dim]{escape(remark)}[/]", soft_wrap=True)
        if result.checksum:
            how = escape(f"({expect_text(result.checksum)})")
            self.console.print(f"checksum: {result.checksum} [dim]{how}[/]", soft_wrap=True)
        for path in paths:
            self.console.print(f"report: {escape(str(path))}", soft_wrap=True)

    def show_stop(self, stop: StopRecord) -> None:
        """Say why the run has not come to its end."""
        waits = stop.cause is StopCause.WAITING
        word = "[cyan]waiting[/]" if waits else "[yellow]stopped[/]"
        for line in stop.detail.split("; "):
            self.console.print(f"{word}: {escape(line)}", soft_wrap=True)
        hint = stop.hint or "run the same plan again: what is done stays done"
        self.console.print(f"  hint: {escape(hint)}", soft_wrap=True)

    def show_waiting(self, stop: StopRecord) -> None:
        """Say of a run of which nothing is due now what it waits for."""
        if not self.quiet:
            self.show_stop(stop)

    def show_rollback(self, activations: Sequence[Activation]) -> None:
        """Show what a rollback would do."""
        self.say("[bold cyan]DRY RUN[/]: nothing will be changed")
        for activation in activations[:MOST_ROWS]:
            self.say(describe_activation(activation))
        if len(activations) > MOST_ROWS:
            self.say(f"... and {len(activations) - MOST_ROWS} more")
        number = sum(each.state is ActivationState.PLANNED for each in activations)
        self.say(f"{number} of {len(activations)} would sign again with their former key")

    def show_targets(self, result: RunResult) -> None:
        """Show every target of a small run; of a large one, those that failed.

        Targets that were not called have nothing to tell apart: their number and the job say it.
        """
        large = sum(result.counts.values()) > MOST_ROWS
        told = told_of(result, large=large)
        if rows := list(islice(told, MOST_ROWS)):
            self.console.print(target_table(rows))
        if more := sum(1 for _ in told):
            self.console.print(f"... and {more} more: see the report")

    def show_forecast(self, forecast: Forecast) -> None:
        for kid, apps in forecast.sharing.items():
            self.console.print(escape(sharing_text(kid, apps)), soft_wrap=True)
        for bucket in forecast.buckets:
            self.console.print(
                f"a run makes {bucket.calls} calls to {escape(bucket.bucket)} "
                f"{limit_text(bucket)}: {duration(bucket.seconds)}",
                soft_wrap=True,
            )

    def show_cautions(self, cautions: Iterable[Caution]) -> None:
        """Show what there is to think about, a line each."""
        for caution in cautions:
            self.console.print(caution_line(caution), soft_wrap=True)


def caution_line(caution: Caution | Cautioned) -> str:
    """Return one line about what there is to think about."""
    text = f"{caution.detail}{named(caution)}"
    return f"[yellow]caution[/]: job {escape(caution.job)}: {escape(text)}"


def named(caution: Caution | Cautioned) -> str:
    """Name the first of the targets that a caution is about."""
    if not caution.apps:
        return ""
    more = ", ..." if caution.count > MOST_NAMED else ""
    return f" ({', '.join(caution.apps[:MOST_NAMED])}{more})"


def describe(outcome: Outcome) -> str:
    return f"{escape(outcome.target.app)}: {escape(outcome.detail)}"


def job_line(job: JobRecord) -> str:
    """Return one line about a job's source."""
    line = f"job {escape(job.name)}: {escape(key_text(job))}"
    if job.certificate:
        certificate = job.certificate
        line += (
            f", {certificate.signature_hash} {certificate.key_bits} bits,"
            f" until {certificate.not_after:%Y-%m-%d}, x5t#S256 {certificate.thumbprint}"
        )
    if dropped := dropped_text(job):
        line += f" [dim](left out: {dropped})[/]"
    if job.problem:
        line += f"\n  [red]{escape(job.problem)}[/]"
    return line


def told_of(result: RunResult, *, large: bool) -> Iterator[TargetRecord]:
    """Yield the targets that a person is told of one by one."""
    for record in result.records:
        outcome, activation = record.outcome, record.activation
        if outcome is None or outcome.status is Status.SKIPPED:
            continue
        wrong = activation is not None and activation.is_failure
        if not large or wrong or outcome.status is Status.FAILED:
            yield record


def target_table(records: Iterable[TargetRecord]) -> Table:
    """Return a table with a row per target: what became of it, and how that is known."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("app", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("proof", overflow="fold")
    for record in records:
        outcome, activation = record.outcome, record.activation
        if outcome is None:
            continue
        word, style = outcome.status.value, STYLES[outcome.status]
        proof = proof_text(outcome)
        if activation is not None and outcome.status is not Status.FAILED:
            word, style = activation.state.value, STATE_STYLES[activation.state]
            proof = activation_text(activation)
            if activation.state is ActivationState.PLANNED:
                proof = f"wave {record.wave}: {proof}"
        if activation is not None and activation.is_failure:
            style = STATE_STYLES[ActivationState.FAILED]
        table.add_row(
            Text(outcome.target.app),
            Text(word.replace("_", " "), style=style),
            Text(on_one_line(proof)),
        )
    return table


def describe_activation(activation: Activation) -> str:
    return f"{escape(activation.target.app)}: {escape(activation_text(activation))}"


def activation_text(activation: Activation) -> str:
    """Return how an activation stands, and how that is known, in one line."""
    text = activation.detail
    if activation.label:
        text = f"{activation.label}: {text}"
    if activation.state.is_active and activation.previous_kid:
        text += f", before with {activation.previous_kid}"
    return f"{text}; {activation.problem}" if activation.problem else text


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
    line = f"{prefix}{', '.join(parts) or 'no targets'}"
    states = [
        f"[{STATE_STYLES[state]}]{number} {word_of(state)}[/]"
        for state, number in result.activations.items()
        if number
    ]
    if result.problems:
        states.append(f"[bold red]{result.problems} with a problem[/]")
    return f"{line}; {', '.join(states)}" if states else line
