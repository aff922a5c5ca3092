"""The arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputChoice(StrEnum):
    """What goes to stdout."""

    text = "text"
    json = "json"
    ndjson = "ndjson"


class PlanOutputChoice(StrEnum):
    """What `run` and `preview` put on stdout."""

    text = "text"
    json = "json"
    ndjson = "ndjson"
    markdown = "markdown"


class InventoryChoice(StrEnum):
    """How an inventory is printed."""

    text = "text"
    json = "json"
    csv = "csv"


class DiffChoice(StrEnum):
    """How the changes between two inventories are printed."""

    text = "text"
    json = "json"


class ReportChoice(StrEnum):
    """How a report is printed."""

    text = "text"
    json = "json"
    html = "html"
    csv = "csv"
    junit = "junit"
    markdown = "markdown"
    failed = "failed"


class SchemaChoice(StrEnum):
    """Which JSON Schema to print."""

    plan = "plan"
    report = "report"


PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan file (YAML).")]
Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="Use a sandbox org in this process, not the real one.")
]
Faults = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Faults for the sandbox to make.")
]
PlanOutput = Annotated[
    PlanOutputChoice,
    typer.Option("--output", "--format", help="Data on stdout; text for people is on stderr."),
]
Copied = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Make the sandbox a copy of a saved inventory."),
]
Terraform = Annotated[
    Path | None,
    typer.Option(
        "--terraform-state", metavar="FILE", help="Warn of targets that this state manages."
    ),
]
OutputOption = Annotated[
    OutputChoice, typer.Option("--output", help="Data on stdout; text for people is on stderr.")
]
ReportDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where reports go, instead of the plan's dir.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing unless something changed or failed.")
]
Detailed = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Dry run without a read per target: cheaper, less exact.")
]
Fresh = Annotated[
    bool, typer.Option("--new", help="Begin a new run, also where one could be continued.")
]
Targets = Annotated[
    str | None, typer.Option(metavar="@FILE", help="Only these targets: a CSV, such as failed.csv.")
]
Waits = Annotated[
    bool, typer.Option("--wait", help="Stay until every gate that can open by itself has opened.")
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run, the start of its id, or `latest`.")
]
StateDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where runs are remembered. [OKTA_KEYS_STATE]")
]
LockTimeout = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="Wait so long for another run to end.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log every call to stderr; never a secret.")
]
Profile = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The org, by its profile: see `okta-keys orgs`."),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where profiles are. [OKTA_KEYS_CONFIG]"),
]
