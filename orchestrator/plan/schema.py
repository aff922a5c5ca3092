"""The plan file, version 1, as frozen models: the org, limits and reports, and the plan itself.

Jobs are in job.py, their keys in keys.py, and how keys become active in activate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from orchestrator.plan.commands import HookSpec
from orchestrator.plan.fields import (
    Budget,
    Count,
    Duration,
    FilePath,
    MaxChanges,
    Name,
    OrgUrl,
    Percent,
    Share,
    TokenReference,
    Version,
    Workers,
    word,
)
from orchestrator.plan.job import JobSpec
from orchestrator.plan.part import PlanPart, refuse_repeats
from orchestrator.plan.refusal import Refusal, echo, not_yet
from orchestrator.plan.tree import START, Location, Place, place_of


class Auth(PlanPart):
    """Where the credential is found. References only, never the secret itself."""

    place = "under org.auth"
    names_strays = False
    later: ClassVar[Mapping[str, str]] = {
        "client_id": "an OAuth service app (`client_id`)",
        "private_key": "an OAuth service app (`private_key`)",
        "scopes": "an OAuth service app (`scopes`)",
        "dpop": "an OAuth service app (`dpop`)",
        "bearer": "a bearer token (`bearer`)",
        "access_token": "a bearer token (`access_token`)",
    }
    instead = "write token: env:NAME"

    token: Annotated[
        TokenReference | None,
        Field(description="The API token by reference: env:NAME reads an environment variable."),
    ] = None


class InlineOrg(PlanPart):
    """An org by its address. What is absent comes from the environment or the command line."""

    place = "under org"
    url: Annotated[
        OrgUrl | None, Field(description="https:// and the host of the org, no admin console.")
    ] = None
    auth: Auth = Auth()


def refuse_profile(value: object) -> object:
    if isinstance(value, str):
        raise not_yet("an org by the name of a profile", "write org: {url: ..., auth: {...}}")
    return value


class Limits(PlanPart):
    """How fast, how long and how far a run may go."""

    place = "under limits"
    workers: Annotated[Workers, Field(description="Clones in flight at a time.")] = "auto"
    capacity: Annotated[
        Percent,
        Field(
            description="Share of the org's rate limit that the run may use.",
            json_schema_extra={"default": "90%"},
        ),
    ] = Share(0.9)
    deadline: Annotated[
        Duration | None, Field(description="Start no further target after this time.")
    ] = None
    max_targets: Annotated[
        Count | None, Field(description="Settle at most this many targets in one run.")
    ] = None
    max_changes: Annotated[
        MaxChanges | None, Field(description="Refuse to start if more apps than this would change.")
    ] = None
    stop_after_failures: Annotated[
        Budget | None, Field(description="Stop after this many failed targets, or this share.")
    ] = None


ReportFormat: TypeAlias = Annotated[
    Literal["json", "csv"],
    PlainValidator(word("json", "csv", later=("html", "junit", "markdown"))),
    WithJsonSchema({"enum": ["json", "csv"]}),
]


Handoff: TypeAlias = Annotated[
    Literal["certificates", "metadata"],
    PlainValidator(word("certificates", "metadata")),
    WithJsonSchema({"enum": ["certificates", "metadata"]}),
]


class ReportSpec(PlanPart):
    """What is written about a run, and where."""

    place = "under report"
    dir: Annotated[
        FilePath, Field(description="Directory of the reports; it is made if need be.")
    ] = "reports"
    formats: Annotated[
        tuple[ReportFormat, ...],
        Field(min_length=1, description="The files to write: json, csv or both (the default)."),
        BeforeValidator(refuse_repeats),
    ] = ("json", "csv")
    handoff: Annotated[
        Handoff | None,
        Field(
            description="Also write what the owners of targets need to trust the new key: its "
            "certificate, or with it the SAML metadata of every app. Absent: nothing."
        ),
    ] = None


def refuse_repeated_names(jobs: object) -> object:
    """Put a refusal in place of every job name that an earlier job has."""
    if not isinstance(jobs, (list, tuple)):
        return jobs
    first: dict[str, int] = {}
    checked: list[object] = []
    for index, job in enumerate(jobs):
        name = job.get("name") if isinstance(job, dict) else None
        if isinstance(job, dict) and isinstance(name, str):
            earlier = first.setdefault(name, index)
            if earlier != index:
                refusal = Refusal(f"{echo(name)} already names jobs[{earlier}]", "names are unique")
                checked.append({**job, "name": refusal})
                continue
        checked.append(job)
    return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a plan came from, for messages about it after it was read."""

    file: str = "plan"
    folder: Path = Path()
    digest: str = ""  # SHA-256 of the file's bytes, in hex
    tree: object = None  # the placed data, to find places in

    def place(self, location: Location) -> Place:
        return place_of(self.tree, location) if self.tree is not None else START


class Plan(PlanPart):
    """A whole plan file: which keys go to which apps, how fast, and what is reported."""

    place = "at the top of the plan"
    later: ClassVar[Mapping[str, str]] = {"notify": "sending notifications (`notify`)"}

    version: Annotated[Version, Field(description="The version of the plan format.")]
    name: Annotated[Name, Field(description="Names the plan in locks, reports and history.")]
    org: Annotated[
        InlineOrg | None,
        BeforeValidator(refuse_profile),
        Field(description="The org; absent, the environment or the command line says which."),
    ] = None
    jobs: Annotated[
        tuple[JobSpec, ...],
        Field(min_length=1, description="At least one job; they run in this order."),
        BeforeValidator(refuse_repeated_names),
    ]
    limits: Limits = Limits()
    hooks: Annotated[
        tuple[HookSpec, ...],
        Field(description="Commands that run when something has happened, in this order."),
    ] = ()
    report: ReportSpec = ReportSpec()

    _origin: Origin = PrivateAttr(default=Origin())

    @model_validator(mode="after")
    def keep_origin(self, info: ValidationInfo) -> Self:
        """Keep the origin that the loader passes as the context of the validation."""
        if isinstance(info.context, Origin):
            self._origin = info.context
        return self

    @property
    def origin(self) -> Origin:
        return self._origin

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes of the plan file, in hex; empty for a plan made in code."""
        return self._origin.digest

    @property
    def folder(self) -> Path:
        """The directory that paths in the plan are relative to."""
        return self._origin.folder
