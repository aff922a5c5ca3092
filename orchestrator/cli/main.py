"""The command line. Every command parses, calls and returns; the work is elsewhere.

Only light imports here: `--help` must not wait for libraries that no help text needs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from orchestrator import __version__
from orchestrator.cli import inventory, orgs, plan_new, rotation
from orchestrator.cli.arguments import (
    Config,
    Copied,
    Detailed,
    Faults,
    Fresh,
    LockTimeout,
    PlanOutput,
    PlanOutputChoice,
    PlanPath,
    Profile,
    Quick,
    Quiet,
    ReportChoice,
    ReportDir,
    RunName,
    Sandbox,
    SchemaChoice,
    StateDir,
    Targets,
    Terraform,
    Verbose,
    Waits,
)
from orchestrator.cli.crash import crash_text, tell_crashes
from orchestrator.cli.lockdown import lock_down
from orchestrator.cli.logs import start_logging
from orchestrator.errors import ExitCode, OrchestratorError, PlanError

EPILOG = """
\b
Exit codes:
  0 done, also when nothing was due      6 safety belt or failure budget
  1 unexpected                           7 deadline or per-run cap, work remains
  2 changes (only --detailed-exitcode)   11 another run holds the lock
  3 some targets failed                  130 interrupted
  4 plan, settings or usage invalid      143 terminated
  5 authentication or scope              any other: a failure

\b
Examples:
  okta-keys run plans/quickstart.yaml --sandbox
  okta-keys preview rotation.yaml
  okta-keys run rotation.yaml --output json > result.json
  okta-keys ack latest --target 0oa8ae0dv4RGQvjyZ0h7
  okta-keys rollback latest --dry-run
"""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog=EPILOG,
    help="Rotate Okta signing keys across many apps: paced, repeatable, proven, reversible.",
)
app.add_typer(rotation.commands)
app.add_typer(inventory.commands)
app.add_typer(plan_new.commands)
app.add_typer(orgs.commands)


def version_asked(value: bool) -> None:  # noqa: FBT001 - Typer's callback
    if value:
        typer.echo(f"okta-keys {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=version_asked, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


@app.command()
def run(
    plan: PlanPath,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Same as `preview`.")] = False,
    quick: Quick = False,
    profile: Profile = None,
    config: Config = None,
    sandbox: Sandbox = False,
    copy_of: Copied = None,
    faults: Faults = None,
    new: Fresh = False,
    wait: Waits = False,
    expect: Annotated[
        str | None,
        typer.Option(metavar="CHECKSUM", help="Do what the preview with it showed, or nothing."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Settle at most N targets this time.")
    ] = None,
    targets: Targets = None,
    terraform_state: Terraform = None,
    state: StateDir = None,
    lock_timeout: LockTimeout = 0.0,
    output: PlanOutput = PlanOutputChoice.text,
    report_dir: ReportDir = None,
    quiet: Quiet = False,
    detailed_exitcode: Detailed = False,
    verbose: Verbose = False,
) -> int:
    """Do what is due of a plan, and write the report. Goes on where it stopped."""
    from orchestrator.cli.execute import execute
    from orchestrator.cli.options import Options

    start_logging(verbose=verbose)
    options = Options(
        plan=plan,
        dry_run=dry_run,
        quick=quick,
        profile=profile,
        config=config,
        sandbox=sandbox,
        copy_of=copy_of,
        faults=faults,
        fresh=new,
        waits=wait,
        expect=expect,
        limit=limit,
        targets=targets,
        terraform_state=terraform_state,
        state=state,
        lock_timeout=lock_timeout,
        output=output,
        report_dir=report_dir,
        quiet=quiet,
        detailed=detailed_exitcode,
    )
    options.check()
    return execute(options)


@app.command()
def preview(
    plan: PlanPath,
    *,
    quick: Quick = False,
    profile: Profile = None,
    config: Config = None,
    sandbox: Sandbox = False,
    copy_of: Copied = None,
    faults: Faults = None,
    new: Fresh = False,
    terraform_state: Terraform = None,
    state: StateDir = None,
    output: PlanOutput = PlanOutputChoice.text,
    report_dir: ReportDir = None,
    quiet: Quiet = False,
    detailed_exitcode: Detailed = False,
    verbose: Verbose = False,
) -> int:
    """Say what `run` would do to each target, what it would cost and how long it would take."""
    return run(
        plan,
        dry_run=True,
        quick=quick,
        profile=profile,
        config=config,
        sandbox=sandbox,
        copy_of=copy_of,
        faults=faults,
        new=new,
        terraform_state=terraform_state,
        state=state,
        output=output,
        report_dir=report_dir,
        quiet=quiet,
        detailed_exitcode=detailed_exitcode,
        verbose=verbose,
    )


@app.command()
def status(
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run, the start of its id, or `latest`.")
    ] = None,
    *,
    state: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> int:
    """Show the runs, or where one of them stands; also while it is under way elsewhere."""
    from orchestrator.cli.history import show_run, show_runs

    if run_id is None:
        return show_runs(state, as_json=as_json)
    return show_run(run_id, state, as_json=as_json)


@app.command()
def report(
    run_id: RunName,
    *,
    format_: Annotated[ReportChoice, typer.Option("--format")] = ReportChoice.text,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove first that the journal was not edited.")
    ] = False,
    state: StateDir = None,
) -> int:
    """Print the report of any run, at any time, from its journal."""
    from orchestrator.cli.history import print_report

    return print_report(run_id, state, format_=format_.value, verify=verify)


@app.command()
def validate(
    plans: Annotated[list[Path], typer.Argument(metavar="PLAN...", help="The plan files.")],
) -> int:
    """Check plan files, and the CSV files they name, without any call."""
    from orchestrator.cli.offline import validate_plans

    return validate_plans(plans)


@app.command()
def schema(
    of: Annotated[SchemaChoice, typer.Argument(help="Of which document.")] = SchemaChoice.plan,
) -> int:
    """Print the JSON Schema of the plan file, or of the report."""
    from orchestrator.cli.offline import print_schema

    return print_schema(of.value)


@app.command()
def sandbox(
    *,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    apps: Annotated[int, typer.Option(min=0, max=100_000, help="How many SAML apps.")] = 20,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add the apps and keys of this plan.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same org.")] = 0,
    window: Annotated[
        float, typer.Option(min=1.0, max=60.0, help="Seconds of a rate-limit window.")
    ] = 60.0,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="No rate limits.")] = False,
    copy_of: Copied = None,
    faults: Faults = None,
    oauth: Annotated[
        bool, typer.Option("--oauth", help="Add an OAuth service app, and write its private key.")
    ] = False,
    dpop: Annotated[
        bool, typer.Option("--dpop", help="As --oauth; the service app requires DPoP.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The new file for that key; ./sandbox-key.pem if not given."
        ),
    ] = None,
    verbose: Verbose = False,
) -> int:
    """Serve an in-memory org that behaves like Okta on the wire, until Ctrl-C."""
    from orchestrator.cli.sandbox import SandboxOptions, serve_sandbox

    start_logging(verbose=verbose)
    return serve_sandbox(
        SandboxOptions(
            port=port,
            apps=apps,
            plan=plan,
            seed=seed,
            window_seconds=window,
            limited=not no_limits,
            faults=faults,
            copy_of=copy_of,
            oauth=oauth or dpop,
            dpop=dpop,
            key_file=key_file,
        )
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: the only boundary for errors."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except OrchestratorError as error:
        print_error(error)
        return error.exit_code
    except BaseExceptionGroup as group:
        return tell_group(group)
    except TyperException as error:
        sys.stderr.write(f"error: {error.format_message()}\n  hint: see okta-keys --help\n")
        return ExitCode.INVALID
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # whoever read our stdout has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.UNEXPECTED
    except Exception as error:  # noqa: BLE001 - a mistake of ours: no boundary is above this one
        sys.stderr.write(crash_text(error))
        return ExitCode.UNEXPECTED


def tell_group(group: BaseExceptionGroup[BaseException]) -> ExitCode:
    """Tell of what has left a task group, and return the exit code for it."""
    expected = expected_error(group)
    if expected is not None:
        print_error(expected)
        return expected.exit_code
    _, others = group.split(KeyboardInterrupt)
    if others is None:
        sys.stderr.write("interrupted\n")
        return ExitCode.INTERRUPTED
    sys.stderr.write(crash_text(others))
    return ExitCode.UNEXPECTED


def expected_error(group: BaseException) -> OrchestratorError | None:
    """Return our error out of the task groups around it, unless there is anything else."""
    leaf = group
    while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
        leaf = leaf.exceptions[0]
    return leaf if isinstance(leaf, OrchestratorError) else None


def print_error(error: OrchestratorError) -> None:
    from orchestrator.scrubbing import scrub
    from orchestrator.writing import on_lines

    prefix = "" if isinstance(error, PlanError) else "error: "
    sys.stderr.write(on_lines(scrub(f"{prefix}{error.diagnostics()}\n")))


def main_and_exit() -> None:
    """Serve as the console script."""
    lock_down()
    tell_crashes()
    start_logging(verbose=False)
    raise SystemExit(main())
