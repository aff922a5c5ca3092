"""An app's, or an identity provider's, whole JSON object: sent back byte for byte but for the kid.

Okta's PUT replaces the whole object, and what a typed model does not know, or writes differently,
would be lost by it. So the text itself is kept, and only the kid within it is exchanged. Nothing of
a document appears in a repr() or an error but the names of fields: it may hold client secrets.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any, NoReturn

from orchestrator.model import AppId, Kid, Resource
from orchestrator.okta.caps import LONGEST_TEXT, SIGNER_OBJECTS, SIGNER_VALUES
from orchestrator.okta.objects import APPLE
from orchestrator.okta.reading import refuse_bloat
from orchestrator.okta.wire import shortened

MOST_CHANGES = 50
LONGEST_NAME = 80  # of a field, in a list of changes
SPACE = re.compile(r"[ \t\n\r]*")
SIGNING: Mapping[Resource, tuple[str, ...]] = {
    Resource.APP: ("credentials", "signing"),
    Resource.IDP: ("protocol", "credentials", "signing"),
}
MISSING = object()

Place = tuple[str | int, ...]  # the names and indexes on the way into a document


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written: neither its size nor its precision is ours to judge."""

    text: str


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=refuse_constant, strict=True
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SignerDocument:
    """What signs: an app, or an identity provider, as Okta sent it."""

    resource: Resource
    id: AppId
    label: str | None  # of an identity provider, its name
    status: str | None
    sign_on_mode: str | None  # of an identity provider, its type, e.g. SAML2
    last_updated: str | None  # as the org wrote it
    active_kid: Kid | None  # None for what does not sign
    text: str
    kid_span: tuple[int, int] | None  # of the kid's JSON string in the text, quotes included

    @classmethod
    def parse(cls, body: bytes, resource: Resource) -> SignerDocument:
        """Read a body as Okta sent it.

        Raises:
            ValueError: it is no JSON object in UTF-8, is nested too deeply, has no id, or has the
                kid in a place that two readers may understand differently.
        """
        text, document = read_object(body)
        name, mode = ("label", "signOnMode") if resource is Resource.APP else ("name", "type")
        sign_on_mode = text_of(document, mode)
        span = None if sign_on_mode == APPLE else find_kid(text, SIGNING[resource])
        identity = text_of(document, "id")
        if not identity:
            raise ValueError("the object has no id")
        return cls(
            resource=resource,
            id=AppId(identity),
            label=text_of(document, name),
            status=text_of(document, "status"),
            sign_on_mode=sign_on_mode,
            last_updated=text_of(document, "lastUpdated"),
            active_kid=kid_at(text, span) if span else None,
            text=text,
            kid_span=span,
        )

    @property
    def body(self) -> bytes:
        """Return the very bytes that were parsed."""
        return self.text.encode()

    def with_kid(self, kid: Kid) -> bytes:
        """Return the same bytes with another kid, ready to be sent.

        Raises:
            ValueError: there is no kid to exchange.
        """
        if self.kid_span is None:
            raise ValueError("it has no signing key to exchange")
        start, end = self.kid_span
        return f"{self.text[:start]}{json.dumps(kid)}{self.text[end:]}".encode()


def read_object(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return a body as text and as the object it is, numbers as they are written.

    Raises:
        ValueError: it is not a JSON object in UTF-8, or has very many values. The error holds
            nothing of the body.
    """
    refuse_bloat(body, SIGNER_OBJECTS, SIGNER_VALUES)
    document: object = None
    problem = ""
    try:
        text = body.decode()
        document = DECODER.decode(text)
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:  # its own error carries the whole text, and so may a traceback
        problem = "not JSON"
    if isinstance(document, dict):
        return text, document
    raise ValueError(problem or "not a JSON object")


def text_of(document: Mapping[str, Any], name: str) -> str | None:
    """Return a string field, fit for records: half a surrogate pair becomes a question mark."""
    value = document.get(name)
    return shortened(value.encode("utf-8", "replace").decode()) if isinstance(value, str) else None


def find_kid(text: str, path: tuple[str, ...]) -> tuple[int, int] | None:
    """Return where the kid's string begins and ends; None where it is absent or null.

    Raises:
        ValueError: something on the way to it is given twice, or is of another type.
    """
    span = SPACE.match(text).end(), len(text)  # type: ignore[union-attr]  # it matches anything
    for depth, name in enumerate((*path, "kid")):
        place = ".".join(path[:depth])
        if text[span[0]] != "{":
            raise ValueError(f"{place} is not an object")
        found = [value for key, value in members(text, span[0]) if key == name]
        if len(found) > 1:
            raise ValueError(f"{place}.{name} is given twice".lstrip("."))
        if not found or text.startswith("null", found[0][0]):
            return None
        span = found[0]
    if text[span[0]] != '"':
        raise ValueError(f"{'.'.join(path)}.kid is not a string")
    return span


def members(text: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names of the object that begins at `at`, and where their values begin and end.

    The text is known to be JSON, so nothing is checked again.
    """
    at = skip_space(text, at + 1)
    while text[at] != "}":
        name, at = DECODER.raw_decode(text, at)
        start = skip_space(text, skip_space(text, at) + 1)
        _, end = DECODER.raw_decode(text, start)
        yield name, (start, end)
        at = skip_space(text, end)
        if text[at] == ",":
            at = skip_space(text, at + 1)


def skip_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def kid_at(text: str, span: tuple[int, int]) -> Kid:
    """Return the kid in a span.

    Raises:
        ValueError: it is empty, endless, or holds half of a surrogate pair: nobody could name it.
    """
    kid, _ = DECODER.raw_decode(text, span[0])
    is_odd = any("\ud800" <= character <= "\udfff" for character in kid)
    if not kid or len(kid) > LONGEST_TEXT or is_odd:
        raise ValueError("the kid is not a name")
    return Kid(kid)


def changes_between(before: bytes, after: bytes, resource: Resource) -> tuple[str, ...]:
    """Return the fields that differ, sorted, e.g. `settings.signOn.acsEndpoints[0].url`.

    What an exchange of the key changes anyway is left out: `lastUpdated` and all of the signing
    credentials. A number written differently counts as changed. Of more than 50 fields the first
    ones are returned, and `...`.

    Raises:
        ValueError: one of the two is not a JSON object, or is nested too deeply.
    """
    old, new = comparable(before, resource), comparable(after, resource)
    try:
        found = list(islice(differences(old, new, ()), MOST_CHANGES + 1))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    more = ("...",) if len(found) > MOST_CHANGES else ()
    return (*sorted(dotted(place) for place in found[:MOST_CHANGES]), *more)


def fingerprint(body: bytes, resource: Resource) -> str:
    """Return a digest of all that `changes_between` compares, to compare with in a later run.

    Raises:
        ValueError: it is not a JSON object, or is nested too deeply.
    """
    document = comparable(body, resource)
    try:
        text = json.dumps(document, sort_keys=True, default=lambda number: {"number": number.text})
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return hashlib.sha256(text.encode()).hexdigest()


def comparable(body: bytes, resource: Resource) -> Mapping[str, Any]:
    """Return an object without what an exchange of the key changes anyway."""
    _, document = read_object(body)
    return without(without(document, ("lastUpdated",)), SIGNING[resource])


def without(document: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a copy that lacks one field, given by the names on the way to it."""
    name, *rest = path
    inner = document.get(name)
    if not rest:
        return {key: value for key, value in document.items() if key != name}
    return {**document, name: without(inner, tuple(rest))} if isinstance(inner, dict) else document


def differences(before: object, after: object, place: Place) -> Iterator[Place]:
    """Yield the places at which two values differ, and nothing below what only one of them has."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name, MISSING), after.get(name, MISSING)
            yield from differences(old, new, (*place, name))
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=MISSING)):
            yield from differences(old, new, (*place, index))
    elif type(before) is not type(after) or before != after:
        yield place


def dotted(place: Place) -> str:
    """Return a place as a path, with the names of fields made fit for a line of a report."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = "".join(c if c.isprintable() else "?" for c in step[:LONGEST_NAME])
            path += f".{name}" if path else name
    return path
