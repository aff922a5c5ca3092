"""Progress of looking at orgs: a line for each on a terminal, and else only what takes long."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn

from orchestrator.cli.render import escape, print_note
from orchestrator.events import CallPaced, Event, Noticed


class Watch:
    """Shows all orgs, while its `progress` is entered."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.quiet = quiet
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def of(self, name: str | None) -> OrgWatch:
        """Return what watches one org; None: there is only one."""
        task = self.progress.add_task(escape(name or ""), total=None, note="")
        return OrgWatch(watch=self, name=name, task=task)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgWatch:
    """An observer of the calls to one org, and of how far its inventory is."""

    watch: Watch
    name: str | None
    task: TaskID

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Show how much of something is done; total None: nobody knows yet."""
        text = f"{self.name}: {what}" if self.name else what
        self.watch.progress.update(
            self.task, description=escape(text), completed=done, total=total, note=""
        )

    def notify(self, event: Event) -> None:
        """Show a wait for a rate limit, and what a list left out; a script learns of it as well."""
        if isinstance(event, Noticed) and not self.watch.quiet:
            about = f"{self.name}: " if self.name else ""
            print_note(self.watch.progress.console, f"{about}{event.text}")
        if not isinstance(event, CallPaced):
            return
        text = f"waiting {round(event.wait_seconds)}s for the rate limit"
        self.watch.progress.update(self.task, note=text)
        console = self.watch.progress.console
        if not (self.watch.quiet or console.is_terminal):
            about = f"{self.name}: " if self.name else ""
            console.print(escape(f"{about}{text} of {event.bucket}"), soft_wrap=True)
