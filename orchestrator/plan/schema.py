"""The plan file, version 1, as frozen models: the org, limits and reports, and the plan itself.

Jobs are in job.py, their keys in keys.py, and how keys become active in activate.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    PrivateAttr,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from orchestrator.plan.auth import Auth
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
    Version,
    Workers,
    kind_of,
    pattern_schema,
    read_name,
    word,
)
from orchestrator.plan.job import JobSpec
from orchestrator.plan.part import (
    MAPPING_TAG,
    TEXT_TAG,
    PlanPart,
    mapping_or_text,
    refuse_repeats,
)
from orchestrator.plan.refusal import Refusal, echo, refused
from orchestrator.plan.tree import START, Location, Place, place_of

# API tokens of Okta start with 00 and have 42 characters: one that was put into the place of a name
# is not taken for a name, and so never shown.
PROFILE = r"(?!00)[A-Za-z0-9][A-Za-z0-9._-]{0,31}"
PROFILE_HINT = (
    "names have 1 to 32 letters, digits, dots, dashes and underscores, a letter or digit first, "
    "and do not start with 00"
)

profile_pattern = re.compile(PROFILE)


class InlineOrg(PlanPart):
    """An org by its address. What is absent comes from the environment or the command line."""

    place = "under org"
    url: Annotated[
        OrgUrl | None, Field(description="https:// and the host of the org, no admin console.")
    ] = None
    auth: Auth = Auth()


def read_profile_name(value: object) -> str:
    """Return the name of a profile. Anything else may be a secret and is never shown."""
    if not isinstance(value, str):
        raise refused(f"must be the name of a profile, not {kind_of(value)}", PROFILE_HINT)
    if "://" in value:
        raise refused("is an address, not the name of a profile", "write org: {url: ...}")
    if not profile_pattern.fullmatch(value):
        raise refused("is not the name of a profile", PROFILE_HINT)
    return read_name(value)


OrgField: TypeAlias = Annotated[
    Annotated[
        str,
        PlainValidator(read_profile_name),
        pattern_schema(PROFILE, "acme"),
        Tag(TEXT_TAG),
    ]
    | Annotated[InlineOrg, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]


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
        MaxChanges | None,
        Field(
            description="Refuse to start if more apps than this would change; a percentage is of "
            "what signs in the org."
        ),
    ] = None
    stop_after_failures: Annotated[
        Budget | None, Field(description="Stop after this many failed targets, or this share.")
    ] = None


ReportFormat: TypeAlias = Annotated[
    Literal["json", "html", "csv", "junit", "markdown"],
    PlainValidator(word("json", "html", "csv", "junit", "markdown")),
    WithJsonSchema({"enum": ["json", "html", "csv", "junit", "markdown"]}),
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
        Field(min_length=1, description="The files to write; json and csv by default."),
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
        OrgField | None,
        Field(
            description="The org: the name of a profile, or its address. Absent, the command line "
            "or the environment says which."
        ),
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
