"""The domain's records as JSON and back, without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

import msgspec

from orchestrator.errors import StateError
from orchestrator.store.chain import canonical

T = TypeVar("T")


def plain_mapping(value: object) -> dict[object, object]:
    if isinstance(value, MappingProxyType | Mapping):
        return dict(value)
    raise NotImplementedError


ENCODER = msgspec.json.Encoder(enc_hook=plain_mapping, order="sorted")


def to_json(record: object) -> object:
    """Return a record as plain JSON values."""
    return msgspec.to_builtins(record, enc_hook=plain_mapping)


def dump(record: object) -> str:
    """Return a record as canonical JSON text."""
    try:
        text = ENCODER.encode(record)
    except UnicodeEncodeError:  # a lone surrogate, which only ASCII can hold
        return canonical(to_json(record))
    return text.decode() if text.isascii() else canonical(to_json(record))


def is_storable(text: str) -> bool:
    """Say whether SQLite takes a text; lone surrogates, as of odd arguments, it does not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(at: datetime | None) -> str | None:
    """Return an aware time as text that sorts as time does: UTC, always with microseconds."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds")


def from_json(value: object, kind: type[T]) -> T:
    """Return the record that `to_json` was given; unknown fields are passed over.

    Raises:
        StateError: the value is not such a record.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise StateError(f"the journal holds an unreadable {kind.__name__}: {error}") from error


def load(text: str, kind: type[T]) -> T:
    """Return the record that `dump` was given.

    Raises:
        StateError: the text is not such a record.
    """
    return from_json(parse(text), kind)


def parse(text: str) -> object:
    """Return the JSON value of a text.

    Raises:
        StateError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise StateError(f"the journal holds an entry that is not JSON: {error}") from error
