"""A job of a plan: one source key, the targets that receive it, and how far it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, PlainValidator, Tag, model_validator
from pydantic.config import JsonDict

from orchestrator.model import Resource, Verify
from orchestrator.plan.activate import ActivateSpec
from orchestrator.plan.fields import (
    AppIdField,
    Name,
    Truth,
    enum_schema,
    is_true,
    word_of,
)
from orchestrator.plan.keys import EACH_TARGET_SCHEMA, SourceSpec, is_each_target
from orchestrator.plan.part import MAPPING_TAG, TEXT_TAG, PlanPart, mapping_or_text
from orchestrator.plan.refusal import Refusal
from orchestrator.plan.selectors import SelectorSpec

HOLDERS = {"app": "an app", "idp": "an identity provider"}
ONLY_APPS_PUBLISH = Refusal(
    "`metadata` is for apps: identity providers publish none for a key",
    "write response or read_back",
)
ONLY_APPS_LOG = Refusal(
    "is for apps: Okta logs no events of the signing keys of identity providers",
    "remove the line",
)
ONLY_APPS_FILTER = Refusal(
    "is for apps: Okta filters no identity providers", "select them by label or by key"
)
NO_SOURCE = Refusal(
    "is for a key that is shared: with `each_target` there is no source", "remove the line"
)


Listed: TypeAlias = Annotated[
    Annotated[AppIdField, Tag(TEXT_TAG)] | Annotated[SelectorSpec, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]

IDP_JOB: JsonDict = {
    "if": {"properties": {"resource": {"const": "idp"}}, "required": ["resource"]},
    "then": {
        "properties": {
            "source": {"properties": {"app": False}},
            "targets": {"items": {"properties": {"filter": False}}},
            "exclude": {"items": {"properties": {"filter": False}}},
            "verify": {"not": {"const": "metadata"}},
            "cross_check": {"const": False},
        }
    },
    "else": {"properties": {"source": {"properties": {"idp": False}}}},
}
EACH_TARGET_JOB: JsonDict = {
    "if": {
        "properties": {"source": {"properties": {"key": EACH_TARGET_SCHEMA}, "required": ["key"]}},
        "required": ["source"],
    },
    "then": {"properties": {"activate": {"properties": {"source": {"const": False}}}}},
}


class JobSpec(PlanPart):
    """One source key and the apps, or identity providers, that are to receive it."""

    model_config = ConfigDict(json_schema_extra={"allOf": [IDP_JOB, EACH_TARGET_JOB]})

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
        tuple[Listed, ...],
        Field(
            min_length=1,
            description="The apps that receive the key: the union, in order, without duplicates. "
            "The source itself is never a target, but with activate: {source: true}. In a job with "
            "resource: idp, all of them are identity providers.",
            examples=[["0oa8ae0dv4RGQvjyZ0h7", {"label_prefix": "Fin"}, {"file": "targets.csv"}]],
        ),
    ]
    exclude: Annotated[
        tuple[Listed, ...],
        Field(description="Apps that are never targets, whoever lists or selects them."),
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
        source, activate = job.get("source"), job.get("activate")
        if isinstance(source, dict):
            checked["source"] = check_holder(source, is_idp=is_idp)
            if isinstance(activate, dict) and is_true(activate.get("source")):
                has_none = is_each_target(source.get("key"))
                checked["activate"] = {**activate, "source": NO_SOURCE} if has_none else activate
        return {**checked, **dict(refused_of_idps(job))} if is_idp else checked


def refused_of_idps(job: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield what replaces the values that only a job of apps may have."""
    if job.get("verify") == Verify.METADATA:
        yield "verify", ONLY_APPS_PUBLISH
    if is_true(job.get("cross_check")):
        yield "cross_check", ONLY_APPS_LOG
    for key in ("targets", "exclude"):
        listed = job.get(key)
        if isinstance(listed, list):
            yield key, [without_filter(item) for item in listed]


def without_filter(listed: object) -> object:
    """Put a refusal in place of a filter."""
    if isinstance(listed, dict) and "filter" in listed:
        return {**listed, "filter": ONLY_APPS_FILTER}
    return listed


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
