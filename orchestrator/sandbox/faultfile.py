"""Reads a fault script from YAML.

seed: 7
faults:
  - {kind: drop, when: after, rate: 5%, on: clone}
  - {kind: reject, targets: [0oa1gjh63g214q0Hq0g4], times: 1}
  - {kind: edit, edit: label, on: get_app, when: after}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

import yaml

from orchestrator.errors import FaultScriptError
from orchestrator.sandbox.vocabulary import (
    CLONES,
    ENDPOINT_NAMES,
    UPDATES,
    Edit,
    EndpointName,
    FaultKind,
    Lie,
    When,
)

COMMON_FIELDS = ("kind", "rate", "on", "targets", "times")
FIELDS_OF_KIND: dict[FaultKind, tuple[str, ...]] = {
    "error": ("when", "status", "code"),
    "drop": ("when",),
    "stall": ("when", "seconds"),
    "truncate": (),
    "garbage": (),
    "gateway": ("when", "status"),
    "lie": ("lie",),
    "reject": ("status", "code", "cause"),
    "redirect": ("host",),
    "edit": ("when", "edit"),
    "collateral": (),
}
STATUSES_OF_KIND: dict[FaultKind, range] = {
    "error": range(400, 600),
    "gateway": range(500, 600),
    "reject": range(400, 500),
}

TRUTH_TAG = "tag:yaml.org,2002:bool"

Reader = Callable[[object], Any]


class ScriptLoader(yaml.SafeLoader):
    """Safe YAML in which only `true` and `false` are truth values.

    By YAML 1.1 the field name `on` would be read as true.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML copies it before changing it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != TRUTH_TAG]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


ScriptLoader.add_implicit_resolver(TRUTH_TAG, re.compile(r"(?:true|false)\Z"), ["t", "f"])


class Unfit(FaultScriptError):
    """A value does not fit its field; the text says what would."""


def read_script(text: str, *, file: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the seed, and the fields of each fault with their values checked.

    Raises:
        FaultScriptError: with the file, the place and the field.
    """
    document = load_document(text, file)
    complain_of_unknown(document, ("seed", "faults"), file)
    seed = read_field(document, "seed", whole_number, file, default=0)
    entries = document.get("faults") or []
    if not isinstance(entries, list):
        raise FaultScriptError(f"{file}: faults: must be a list")
    return seed, [read_fault(entry, f"{file}: faults[{i}]") for i, entry in enumerate(entries)]


def load_document(text: str, file: str) -> dict[object, object]:
    """Return the mapping at the top of the YAML text."""
    try:
        document = yaml.load(text, Loader=ScriptLoader)  # noqa: S506 - a safe loader
    except (KeyError, AttributeError, TypeError) as problem:  # of PyYAML, for `!!bool maybe`
        raise FaultScriptError(f"{file}: a value does not fit its tag") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        reason = " ".join(str(problem).split())
        raise FaultScriptError(f"{file}: this is not valid YAML: {reason}") from problem
    if not isinstance(document, dict):
        hint = "write `faults:` and below it a list like `- {kind: drop, rate: 5%}`"
        raise FaultScriptError(f"{file}: a fault script is a mapping with `faults`", hint=hint)
    return document


def read_fault(entry: object, place: str) -> dict[str, Any]:
    """Read one fault; every field is checked against its kind."""
    if not isinstance(entry, dict):
        raise FaultScriptError(f"{place}: must be a mapping such as {{kind: drop, rate: 5%}}")
    if "kind" not in entry:
        raise FaultScriptError(f"{place}: kind: is missing; use {listed(get_args(FaultKind))}")
    kind: FaultKind = read_field(entry, "kind", one_of(get_args(FaultKind)), place)
    allowed = COMMON_FIELDS + FIELDS_OF_KIND[kind]
    complain_of_unknown(entry, allowed, place, of=f" of a `{kind}` fault")
    readers = readers_for(kind, places_of(kind, "echo" if entry.get("lie") == "echo" else "kid"))
    return {name: read_field(entry, name, readers[name], place) for name in entry}


def places_of(kind: FaultKind, lie: Lie) -> tuple[EndpointName, ...]:
    """Return the endpoints where a fault of this kind makes sense."""
    if kind == "lie":
        return UPDATES if lie == "echo" else CLONES
    return UPDATES if kind == "collateral" else ENDPOINT_NAMES


def readers_for(kind: FaultKind, places: tuple[EndpointName, ...]) -> dict[str, Reader]:
    """Return how to read each field of a fault of this kind."""
    return {
        "kind": one_of(get_args(FaultKind)),
        "rate": share,
        "on": one_of(("any", *places)),
        "targets": id_list,
        "times": positive,
        "when": one_of(get_args(When)),
        "status": status_in(STATUSES_OF_KIND.get(kind, range(0))),
        "code": text_value,
        "cause": text_value,
        "seconds": duration,
        "lie": one_of(get_args(Lie)),
        "host": text_value,
        "edit": one_of(get_args(Edit)),
    }


def complain_of_unknown(
    given: dict[object, object], known: Iterable[str], place: str, *, of: str = ""
) -> None:
    """Raise for the first field that is not known, naming the closest that is."""
    known = list(known)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"fields: {', '.join(known)}"
            raise FaultScriptError(f"{place}: {name}: is not a field{of}", hint=hint)


def read_field(
    given: dict[object, object], name: str, reader: Reader, place: str, default: object = None
) -> Any:  # noqa: ANN401 - the reader of each field decides its type
    """Return the value of a field, or raise with its place and what would fit."""
    if name not in given:
        return default
    try:
        return reader(given[name])
    except Unfit as problem:
        raise FaultScriptError(f"{place}: {name}: {problem}, not {given[name]!r}") from None


def one_of(choices: tuple[str, ...]) -> Reader:
    """Return a reader that takes one of the words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise Unfit(f"must be {listed(choices)}")

    return read


def listed(words: Iterable[str]) -> str:
    """Return the words as a person would list them."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def share(value: object) -> float:
    """Read a chance: 5% or 0.05."""
    number = value
    if isinstance(value, str) and value.endswith("%"):
        number = percentage(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise Unfit("must be from 0% to 100%, or from 0 to 1")
    return float(number)


def percentage(value: str) -> float | None:
    """Return the fraction that a text like 5% stands for."""
    try:
        return float(value[:-1]) / 100
    except ValueError:
        return None


def whole_number(value: object) -> int:
    """Read an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit("must be a whole number")
    return value


def positive(value: object) -> int:
    """Read a count."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unfit("must be a whole number, 1 or more")
    return value


def status_in(allowed: range) -> Reader:
    """Return a reader for an HTTP status in a range."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise Unfit(f"must be an HTTP status from {allowed.start} to {allowed.stop - 1}")
        return value

    return read


def duration(value: object) -> float:
    """Read seconds, up to an hour."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise Unfit("must be seconds, above 0 and at most 3600")
    return float(value)


def text_value(value: object) -> str:
    """Read a text that is not empty and stays on one line."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise Unfit("must be a text on one line")
    return value


def id_list(value: object) -> tuple[str, ...]:
    """Read a list of ids of apps or IdPs."""
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise Unfit("must be a list of ids of apps or IdPs")
    return tuple(value)
