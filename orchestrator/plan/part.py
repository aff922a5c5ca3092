"""The base of every mapping in a plan or a configuration, and what tells a mapping from a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.plan.refusal import (
    ALREADY_SAID,
    MOST_LISTED,
    SECRET_WORDS,
    Refusal,
    closest,
    not_yet_message,
)

# Tags of unions: pydantic puts them into locations; no YAML key has them.
TEXT_TAG, LIST_TAG, MAPPING_TAG = "<text>", "<list>", "<mapping>"


class Part(BaseModel):
    """The base of every mapping in a file. Frozen; refuses keys that it does not know.

    What the format knows but this version cannot do stands in `later`, beside the fields: remove a
    line there when the field arrives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    place: ClassVar[str]  # where such a mapping stands in its file, for hints
    secrets: ClassVar[str]  # what to write in such a file instead of a secret
    later: ClassVar[Mapping[str, str]] = {}  # key: what it is for, once it is supported
    instead: ClassVar[str | None] = None  # what to write until then
    names_strays: ClassVar[bool] = True  # whether a message may show the name of an unknown key

    @classmethod
    def kin(cls) -> Iterable[type[Part]]:
        """Return the mappings of the same kind of file: a key may belong into one of them."""
        return (cls,)

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
        homes = [part.place for part in cls.kin() if part.knows(key)]
        if homes:
            return f"it belongs {' or '.join(homes[:3])}"
        meant = cls.meant_by(key)
        if meant is not None:
            return f"did you mean `{meant}`?"
        if SECRET_WORDS.search(key):
            return cls.secrets
        return f"known here: {', '.join(cls.model_fields)}"

    @classmethod
    def knows(cls, key: str) -> bool:
        return key in cls.model_fields or key in cls.later

    @classmethod
    def meant_by(cls, key: str) -> str | None:
        """Return the known key that `key` stands for."""
        return closest(key, (*cls.model_fields, *cls.later))


class PlanPart(Part):
    """The base of every mapping in a plan."""

    secrets = "the only secret in a plan is a reference: org: {auth: {token: env:NAME}}"

    @classmethod
    def kin(cls) -> Iterable[type[Part]]:
        return PlanPart.__subclasses__()


def mapping_or_text(value: object) -> str:
    """Return the tag of a value in the unions of a plan. Asked for every target, so texts first."""
    is_mapping = not isinstance(value, str) and isinstance(value, (dict, PlanPart))
    return MAPPING_TAG if is_mapping else TEXT_TAG


def list_or_text(value: object) -> str:
    return LIST_TAG if isinstance(value, (list, tuple)) else TEXT_TAG


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
