"""A job of a plan: one source key, the targets that receive it, and how far it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, PlainValidator, Tag, model_validator
from pydantic.config import JsonDict

from orchestrator.model import Resource, Verify
from orchestrator.plan.activate import ActivateSpec
from orchestrator.plan.fields import (
    AppIdField,
    FilePath,
    Name,
    Truth,
    enum_schema,
    is_true,
    word_of,
)
from orchestrator.plan.keys import SourceSpec, is_each_target
from orchestrator.plan.part import MAPPING_TAG, TEXT_TAG, PlanPart, mapping_or_text
from orchestrator.plan.refusal import Refusal

HOLDERS = {"app": "an app", "idp": "an identity provider"}
ONLY_APPS_PUBLISH = Refusal(
    "`metadata` is for apps: identity providers publish none for a key",
    "write response or read_back",
)
ONLY_APPS_LOG = Refusal(
    "is for apps: Okta logs no events of the signing keys of identity providers",
    "remove the line",
)


class FileRef(PlanPart):
    """Every app that a CSV file lists in its column `app_id`."""

    place = "in a list of targets: - {file: targets.csv}"
    later: ClassVar[Mapping[str, str]] = {
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


Selector: TypeAlias = Annotated[
    Annotated[AppIdField, Tag(TEXT_TAG)] | Annotated[FileRef, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]

IDP_SCHEMA: JsonDict = {
    "if": {"properties": {"resource": {"const": "idp"}}, "required": ["resource"]},
    "then": {
        "properties": {
            "source": {"properties": {"app": False}},
            "verify": {"not": {"const": "metadata"}},
            "cross_check": {"const": False},
        }
    },
    "else": {"properties": {"source": {"properties": {"idp": False}}}},
}


class JobSpec(PlanPart):
    """One source key and the apps, or identity providers, that are to receive it."""

    model_config = ConfigDict(json_schema_extra=IDP_SCHEMA)

    place = "under a job"
    later: ClassVar[Mapping[str, str]] = {"org": "an `org` per job"}

    name: Annotated[Name, Field(description="Names the job in the report; unique in the plan.")]
    resource: Annotated[
        Resource,
        PlainValidator(word_of(Resource)),
        enum_schema(Resource),
        Field(description="What holds the keys: apps, or identity providers."),
    ] = Resource.APP
    source: SourceSpec
    targets: Annotated[
        tuple[Selector, ...],
        Field(
            min_length=1,
            description="The apps that receive the key: the union, in order, without duplicates. "
            "The source itself is never a target. In a job with resource: idp, the ids are those "
            "of identity providers.",
            examples=[["0oa8ae0dv4RGQvjyZ0h7", {"file": "targets.csv"}]],
        ),
    ]
    exclude: Annotated[
        tuple[Selector, ...],
        Field(description="Apps that are never targets, whoever lists them."),
    ] = ()
    allow_oidc: Annotated[
        Truth,
        Field(description="Also for OpenID Connect apps, whose keys Okta rotates by itself."),
    ] = False
    activate: Annotated[
        ActivateSpec | None,
        Field(description="How targets begin to sign with the key; absent, it is only staged."),
    ] = None
    verify: Annotated[
        Verify,
        PlainValidator(word_of(Verify)),
        enum_schema(Verify),
        Field(
            description="How a change is proven: from the answer, at no extra call; by reading "
            "it back; or by the SAML metadata that the app publishes."
        ),
    ] = Verify.RESPONSE
    cross_check: Annotated[
        Truth,
        Field(description="Hold every wave against the org's System Log."),
    ] = True

    @model_validator(mode="before")
    @classmethod
    def check_together(cls, job: object) -> object:
        """Put refusals where two keys of a job contradict each other."""
        if not isinstance(job, dict):
            return job
        is_idp = job.get("resource") == Resource.IDP
        checked = dict(job)
        if isinstance(job.get("source"), dict):
            checked["source"] = check_holder(job["source"], is_idp=is_idp)
        if is_idp and job.get("verify") == Verify.METADATA:
            checked["verify"] = ONLY_APPS_PUBLISH
        if is_idp and is_true(job.get("cross_check")):
            checked["cross_check"] = ONLY_APPS_LOG
        return checked


def check_holder(source: Mapping[object, object], *, is_idp: bool) -> dict[object, object]:
    """Require the id of what the job is about, and refuse the id of anything else."""
    needed, other = ("idp", "app") if is_idp else ("app", "idp")
    checked = dict(source)
    if other in source:
        instead = f"write {needed}: and its id, or resource: {other} beside the source"
        message = f"names {HOLDERS[other]}, and the job is about {HOLDERS[needed]}"
        checked[other] = Refusal(message, instead)
        return checked
    misspelt = {SourceSpec.meant_by(str(key)) for key in source if not SourceSpec.knows(str(key))}
    if needed not in source and needed not in misspelt and not is_each_target(source.get("key")):
        checked[needed] = Refusal("is missing", f"the id of {HOLDERS[needed]} that holds the key")
    return checked
