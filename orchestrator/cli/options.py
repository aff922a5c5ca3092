"""What `run` and `preview` were asked for, and what one execution is made of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from orchestrator.cli.arguments import PlanOutputChoice
from orchestrator.cli.render import Screen
from orchestrator.clock import Clock
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import UsageError
from orchestrator.events import Broadcast
from orchestrator.model import AppId, RunId
from orchestrator.plan.resolved import ResolvedJob as PlannedJob
from orchestrator.plan.schema import Plan
from orchestrator.report.stream import EventStream
from orchestrator.store.base import CertificateBook
from orchestrator.store.lock import state_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `run` and `preview`, for the rest of the program."""

    plan: Path
    dry_run: bool = False
    quick: bool = False
    profile: str | None = None
    config: Path | None = None
    sandbox: bool = False
    copy_of: Path | None = None  # a saved inventory: the sandbox is a copy of that org
    faults: Path | None = None
    fresh: bool = False
    waits: bool = False
    expect: str | None = None  # the checksum of a preview: do that, or nothing
    limit: int | None = None  # of targets that this execution may settle
    terraform_state: Path | None = None
    targets: str | None = None
    state: Path | None = None
    lock_timeout: float = 0.0
    output: PlanOutputChoice = PlanOutputChoice.text
    report_dir: Path | None = None
    quiet: bool = False
    detailed: bool = False

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            UsageError: as the message says.
        """
        wrong = [
            (self.quick and not self.dry_run, "--quick goes with --dry-run"),
            (
                self.waits and self.dry_run,
                "--wait does not go with --dry-run: nothing is waited for",
            ),
            (
                self.expect is not None and self.dry_run,
                "--expect is for a run: a preview shows the checksum",
            ),
            (self.faults is not None and not self.sandbox, "--faults goes with --sandbox"),
            (self.copy_of is not None and not self.sandbox, "--from goes with --sandbox"),
            (self.profile is not None and self.sandbox, "--profile does not go with --sandbox"),
        ]
        for is_wrong, text in wrong:
            if is_wrong:
                raise UsageError(text)

    @property
    def is_durable(self) -> bool:
        """Say whether the run is worth remembering: it changes a real org."""
        return not (self.dry_run or self.sandbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What one execution is made of."""

    options: Options
    plan: Plan
    asked: Sequence[PlannedJob]  # the jobs as the plan alone tells them: what its digest is of
    jobs: Sequence[ResolvedJob]  # with what their selectors pick
    run_id: RunId  # for a run that is begun
    signing: int | None = None  # how many of the org sign with a key; None: nobody counted
    only: frozenset[AppId] | None = None  # the targets to which the execution is restricted
    managed: frozenset[AppId] = frozenset()  # by Terraform
    book: CertificateBook | None = None  # of the org, where certificates may be looked at
    clock: Clock
    random: Random
    screen: Screen
    stream: EventStream | None
    observer: Broadcast

    @property
    def is_open(self) -> bool:
        """Say whether only the org can answer what some of the targets are."""
        return any(job.is_open for job in self.asked)

    @property
    def report_folder(self) -> Path:
        return self.options.report_dir or Path(self.plan.report.dir)

    @property
    def state_folder(self) -> Path:
        return state_folder(self.options.state, os.environ)
