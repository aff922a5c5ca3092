"""The commands that go on with a run once its keys are staged, or take it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.arguments import (
    LockTimeout,
    OutputChoice,
    OutputOption,
    Quiet,
    ReportDir,
    RunName,
    StateDir,
    Targets,
    Verbose,
)
from orchestrator.cli.logs import start_logging

commands = typer.Typer(add_completion=False, rich_markup_mode=None)
requests = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Certificate signing requests of runs whose key a CA is to sign.",
)
commands.add_typer(requests, name="csr")

By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who says so; the login name if not given.")
]
JobName = Annotated[
    str | None, typer.Option("--job", metavar="NAME", help="Only this job of the run.")
]


@commands.command()
def ack(
    run_id: RunName,
    *,
    target: Annotated[
        list[str] | None, typer.Option(metavar="APP", help="A target; may be given again.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Targets: a CSV with a column app_id.")
    ] = None,
    job: JobName = None,
    by: By = None,
    state: StateDir = None,
) -> int:
    """Say that targets trust the new certificate, so that they may be activated."""
    from orchestrator.cli.people import acknowledge

    return acknowledge(run_id, target or [], file, job=job, by=by, state=state)


@commands.command()
def approve(
    run_id: RunName,
    *,
    wave: Annotated[
        int | None, typer.Option(min=1, help="This wave; if not given, the next that waits.")
    ] = None,
    job: JobName = None,
    by: By = None,
    state: StateDir = None,
) -> int:
    """Let a wave begin that waits for approval, or go on after it was held."""
    from orchestrator.cli.people import approve_waves

    return approve_waves(run_id, wave=wave, job=job, by=by, state=state)


@commands.command()
def rollback(
    run_id: RunName,
    *,
    wave: Annotated[int | None, typer.Option(min=1, help="Only this wave.")] = None,
    targets: Targets = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, without a write.")
    ] = False,
    state: StateDir = None,
    lock_timeout: LockTimeout = 0.0,
    output: OutputOption = OutputChoice.text,
    report_dir: ReportDir = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Put back the key that each activated target signed with before. Can be run again."""
    from orchestrator.cli.rollback import RollbackOptions, roll_back

    start_logging(verbose=verbose)
    return roll_back(
        RollbackOptions(
            run_id=run_id,
            wave=wave,
            targets=targets,
            dry_run=dry_run,
            state=state,
            lock_timeout=lock_timeout,
            output=output,
            report_dir=report_dir,
            quiet=quiet,
        )
    )


@requests.command("publish")
def csr_publish(
    run_id: RunName,
    certificate: Annotated[
        Path, typer.Argument(metavar="CERT", help="The signed certificate: PEM or DER.")
    ],
    *,
    job: JobName = None,
    state: StateDir = None,
    lock_timeout: LockTimeout = 0.0,
    report_dir: ReportDir = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Publish the certificate that the CA has signed, and go on with the run."""
    from orchestrator.cli.csr import PublishOptions, publish

    start_logging(verbose=verbose)
    return publish(
        PublishOptions(
            run_id=run_id,
            certificate=certificate,
            job=job,
            state=state,
            lock_timeout=lock_timeout,
            report_dir=report_dir,
            quiet=quiet,
        )
    )
