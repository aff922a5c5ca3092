"""How a plan names holders of keys other than by id: by what an org says of them, or in a file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from orchestrator.holders import Selector, SelectorKind
from orchestrator.model import Kid
from orchestrator.plan.fields import (
    DURATION,
    FilePath,
    pattern_schema,
    read_duration,
    text_of,
)
from orchestrator.plan.filters import FilterField
from orchestrator.plan.part import PlanPart
from orchestrator.plan.refusal import Refusal, echo, refused

LONGEST = 1000  # characters of a label, or of a pattern of labels; Okta allows far fewer
SIGNING_KID = r"[A-Za-z0-9_-]{43}"
KID_EXAMPLE = "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"
EXAMPLES = "{label: Finance EU}, {signing_with: a kid}, {expiring_within: 60d} or {file: apps.csv}"


def read_label(value: object) -> str:
    """Return a label, or the beginning of one, as it is: spaces and capitals count."""
    text = text_of(value, "a text")
    if not text.strip():
        raise refused("is empty", "write a label as the org shows it")
    if len(text) > LONGEST:
        raise refused(f"is longer than {LONGEST} characters")
    return str(text)


def read_regex(value: object) -> str:
    """Return a regular expression of Python's; it may match anywhere in a label."""
    text = read_label(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python will read otherwise one day
            re.compile(text)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise refused(f"{echo(text)} is not a regular expression", regex_hint(error)) from None
    return text


def regex_hint(error: Exception) -> str:
    if isinstance(error, re.error):
        said = "".join(each if each.isprintable() else "?" for each in error.msg)  # it may quote
        return f"{said}, at character {(error.pos or 0) + 1}; Python's syntax"
    if isinstance(error, Warning):
        return "it can be read in two ways: escape the brackets in it"
    return "it is nested too deep, or repeats too often"


def read_signing_kid(value: object) -> Kid:
    text = text_of(value, "a kid")
    if not re.fullmatch(SIGNING_KID, text):
        hint = (
            f"kids have 43 letters, digits, dashes and underscores; this has {len(text)} characters"
        )
        raise refused(f"{echo(text)} is not a kid", hint)
    return Kid(str(text))


def read_within(value: object) -> str:
    """Return a duration as it is written."""
    text = text_of(value, "a duration such as 60d")
    read_duration(text)
    return str(text)


TEXT_SCHEMA = WithJsonSchema({"type": "string", "pattern": "\\S", "maxLength": LONGEST})

Label: TypeAlias = Annotated[str, PlainValidator(read_label), TEXT_SCHEMA]
Regex: TypeAlias = Annotated[str, PlainValidator(read_regex), TEXT_SCHEMA]


class SelectorSpec(PlanPart):
    """One way of naming many at once: exactly one of these keys."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    place = "in a list of targets: - {label: Finance EU}"

    label: Annotated[
        Label | None,
        Field(description="The whole label, of one app; of an identity provider its name."),
    ] = None
    label_prefix: Annotated[Label | None, Field(description="How labels begin.")] = None
    label_regex: Annotated[
        Regex | None,
        Field(
            description="A regular expression in Python's syntax; it matches anywhere in a label.",
            examples=["^Fin"],
        ),
    ] = None
    filter: Annotated[
        FilterField | None,
        Field(description="A filter of Okta's app list: one expression with `eq`; for apps only."),
    ] = None
    signing_with: Annotated[
        Annotated[Kid, PlainValidator(read_signing_kid), pattern_schema(SIGNING_KID, KID_EXAMPLE)]
        | None,
        Field(description="Everything that signs with the key of this kid."),
    ] = None
    expiring_within: Annotated[
        Annotated[str, PlainValidator(read_within), pattern_schema(DURATION, "60d")] | None,
        Field(description="The certificate it signs with ends within this time, or has ended."),
    ] = None
    file: Annotated[
        FilePath | None,
        Field(
            description="A CSV file with a column app_id, relative to the plan. Its other "
            "columns travel into the report."
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def require_one(cls, data: object) -> object:
        """Refuse a selector that says nothing, or two things."""
        if not isinstance(data, dict):
            return data
        if not data:
            raise refused("selects nothing", f"write {EXAMPLES}")
        first, *others = [key for key in data if key in cls.model_fields] or [""]
        more = Refusal(
            f"a selector has one key, and this one has `{first}`",
            "targets are the union of selectors: give each a line of its own",
        )
        return {**data, **dict.fromkeys(others, more)}

    @property
    def selector(self) -> Selector | None:
        """What the org has to answer; None for a file."""
        for kind in SelectorKind:
            text = getattr(self, kind.value)
            if text is not None:
                seconds = read_duration(text) if kind is SelectorKind.EXPIRING_WITHIN else 0.0
                return Selector(kind=kind, text=text, seconds=seconds)
        return None


class LabelRef(PlanPart):
    """The one app, or identity provider, that has a label."""

    place = "under source.app"
    label: Annotated[Label, Field(description="The whole label; of an identity provider its name.")]

    @classmethod
    def refuse_key(cls, key: str) -> Refusal:
        """Say of any other selector that it may pick many."""
        if SelectorSpec.knows(key):
            return Refusal("does not name one source", "write its id, or {label: Finance HQ}")
        return super().refuse_key(key)

    @classmethod
    def meant_by(cls, key: str) -> str | None:
        """Return the closest known key; any other selector takes the place of `label`."""
        return "label" if SelectorSpec.knows(key) else super().meant_by(key)


def selectors_in(listed: Iterable[object]) -> Iterator[Selector]:
    """Yield what a list of targets leaves to the org to answer, in order."""
    for item in listed:
        if isinstance(item, SelectorSpec) and item.selector is not None:
            yield item.selector
