"""The plan file, version 1, as frozen models: what it may say, and what it cannot say yet.

What the plan format knows but this version cannot do stands in `later`, beside the fields: remove
a line there when the field arrives. Single words and values that must wait are in fields.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    PrivateAttr,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from orchestrator.plan.fields import (
    AppIdField,
    Budget,
    Count,
    Duration,
    FilePath,
    KidField,
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
from orchestrator.plan.refusal import (
    ALREADY_SAID,
    MOST_LISTED,
    SECRET_WORDS,
    Refusal,
    closest,
    echo,
    not_yet,
    not_yet_message,
)
from orchestrator.plan.tree import START, Location, Place, place_of

ID_TAG, FILE_TAG = "<id>", "<file>"  # pydantic puts them into locations; no YAML key has them


class PlanPart(BaseModel):
    """The base of every mapping in a plan. Frozen; refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    place: ClassVar[str]  # where such a mapping stands in a plan, for hints
    later: ClassVar[Mapping[str, str]] = {}  # key: what it is for, once it is supported
    instead: ClassVar[str | None] = None  # what to write until then
    names_strays: ClassVar[bool] = True  # whether a message may show the name of an unknown key

    @model_validator(mode="before")
    @classmethod
    def mark_strays(cls, data: object) -> object:
        """Put a refusal in place of every value whose key is not known here."""
        if not isinstance(data, dict) or data.keys() <= cls.model_fields.keys():
            return data
        marked = dict(data)
        strays = [key for key in data if key not in cls.model_fields]
        for key in strays[:MOST_LISTED]:
            marked[key] = cls.refuse_key(str(key))
            meant = cls.meant_by(str(key))
            if meant in cls.model_fields:  # so it is not missing, only misspelt
                marked.setdefault(meant, ALREADY_SAID)
        return marked | dict.fromkeys(strays[MOST_LISTED:], Refusal("unknown key"))

    @classmethod
    def refuse_key(cls, key: str) -> Refusal:
        """Return what to say about a key that is not known here, never about its value."""
        if key in cls.later:
            return Refusal(not_yet_message(cls.later[key]), cls.instead)
        if not cls.names_strays:
            return Refusal("holds an unknown key", f"known here: {', '.join(cls.model_fields)}")
        return Refusal("unknown key", cls.key_hint(key))

    @classmethod
    def key_hint(cls, key: str) -> str:
        homes = [part.place for part in PlanPart.__subclasses__() if part.knows(key)]
        if homes:
            return f"it belongs {homes[0]}"
        meant = cls.meant_by(key)
        if meant is not None:
            return f"did you mean `{meant}`?"
        if SECRET_WORDS.search(key):
            return "the only secret in a plan is a reference: org: {auth: {token: env:NAME}}"
        return f"known here: {', '.join(cls.model_fields)}"

    @classmethod
    def knows(cls, key: str) -> bool:
        return key in cls.model_fields or key in cls.later

    @classmethod
    def meant_by(cls, key: str) -> str | None:
        """Return the known key that `key` stands for."""
        return closest(key, (*cls.model_fields, *cls.later))


class FileRef(PlanPart):
    """Every app that a CSV file lists in its column `app_id`."""

    place = "in a list of targets: - {file: targets.csv}"
    later = {
        "label": "selecting apps by `label`",
        "label_prefix": "selecting apps by `label_prefix`",
        "label_regex": "selecting apps by `label_regex`",
        "filter": "selecting apps by `filter`",
        "signing_with": "selecting apps by `signing_with`",
        "expiring_within": "selecting apps by `expiring_within`",
    }
    instead = "list app ids, or {file: targets.csv}"

    file: Annotated[
        FilePath,
        Field(
            description="A CSV file with a column app_id, relative to the plan. Its other "
            "columns travel into the report."
        ),
    ]

    @classmethod
    def meant_by(cls, key: str) -> str | None:
        """Return the closest known key; any selector takes the place of `file`."""
        return super().meant_by(key) if key not in cls.later else "file"


def selector_tag(value: object) -> str:
    return FILE_TAG if isinstance(value, (dict, FileRef)) else ID_TAG


Selector: TypeAlias = Annotated[
    Annotated[AppIdField, Tag(ID_TAG)] | Annotated[FileRef, Tag(FILE_TAG)],
    Discriminator(selector_tag),
]


class SourceSpec(PlanPart):
    """The app that holds the key, and the key."""

    place = "under source"
    app: Annotated[AppIdField, Field(description="Id of the app whose key is cloned.")]
    key: Annotated[KidField, Field(description="The kid of the key, as Okta shows it.")]


class JobSpec(PlanPart):
    """One source key and the apps that are to receive it."""

    place = "under a job"
    later = {
        "org": "an `org` per job",
        "activate": "activating keys (`activate`)",
        "allow_oidc": "cloning keys into OIDC apps (`allow_oidc`)",
    }

    name: Annotated[Name, Field(description="Names the job in the report; unique in the plan.")]
    resource: Annotated[
        Literal["app"],
        PlainValidator(word("app", later=("idp",))),
        WithJsonSchema({"const": "app", "default": "app"}),
        Field(description="What holds the keys."),
    ] = "app"
    source: SourceSpec
    targets: Annotated[
        tuple[Selector, ...],
        Field(
            min_length=1,
            description="The apps that receive the key: the union, in order, without duplicates. "
            "The source itself is never a target.",
            examples=[["0oa8ae0dv4RGQvjyZ0h7", {"file": "targets.csv"}]],
        ),
    ]
    exclude: Annotated[
        tuple[Selector, ...],
        Field(description="Apps that are never targets, whoever lists them."),
    ] = ()
    verify: Annotated[
        Literal["response"],
        PlainValidator(word("response", later=("read_back", "metadata"))),
        WithJsonSchema({"const": "response", "default": "response"}),
        Field(description="How a clone is proven: from the answer, at no extra call."),
    ] = "response"


class Auth(PlanPart):
    """Where the credential is found. References only, never the secret itself."""

    place = "under org.auth"
    names_strays = False
    later = {
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


def refuse_repeats(values: object) -> object:
    """Put a refusal in place of every item that an earlier one equals."""
    if not isinstance(values, (list, tuple)):
        return values
    first: dict[str, int] = {}
    return [
        Refusal("is listed twice")
        if isinstance(value, str) and first.setdefault(value, index) != index
        else value
        for index, value in enumerate(values)
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
    later = {"hooks": "running `hooks`", "notify": "sending notifications (`notify`)"}

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
