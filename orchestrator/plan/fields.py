"""The smallest parts of a plan: how each kind of scalar is read, and its JSON Schema.

YAML gives every scalar as the text that was written, and the field decides what it means, so an
unquoted `00012345678901234567` or `1e5` stays an id. Numbers follow the core schema of YAML 1.2,
in decimal; in quotes they are text. `null`, `~` and nothing at all are never a value. A name that
YAML 1.1 tools read as true or false (`on`, `no`, ...) must be quoted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import PlainValidator, WithJsonSchema

from orchestrator.model import AppId
from orchestrator.plan.org_url import check_org_url
from orchestrator.plan.refusal import closest, echo, not_yet, refused
from orchestrator.plan.tree import Quoted

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
APP_ID = r"(?!00[ugo])[A-Za-z0-9]{20}"
DURATION = r"0*[1-9][0-9]{0,8}[smhd]"
PERCENT = r"(?:100(?:\.0+)?|[0-9]{1,2}(?:\.[0-9]+)?)%"

UNQUOTE = "remove the quotes: in quotes it is text, not a number"
MOST_WORKERS = 64
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OTHER_IDS = {"00u": "a user", "00g": "a group", "00o": "an org"}
TRUTHS = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
TRUTH_WORDS = frozenset({"yes", "no", "on", "off", "true", "false"})

name_pattern = re.compile(NAME)
app_id_pattern = re.compile(APP_ID)
duration_pattern = re.compile(DURATION)
percent_pattern = re.compile(PERCENT)


class Share(float):
    """A part of a whole, 0 < share <= 1, which a plan writes as a percentage."""

    __slots__ = ()


def text_of(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    raise refused(f"must be {what}, not {kind_of(value)}")


def kind_of(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else "a value of another kind"


def read_name(value: object) -> str:
    text = text_of(value, "a name")
    if text.lower() in TRUTH_WORDS and not isinstance(value, Quoted):
        raise refused(
            f"{echo(text)} is a truth value to many YAML tools, not a name",
            f'write it in quotes: "{text}"',
        )
    if not name_pattern.fullmatch(text):
        raise refused(
            f"{echo(text)} is not a name",
            "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return str(text)


def read_app_id(value: object) -> AppId:
    if isinstance(value, str) and app_id_pattern.fullmatch(value):
        return AppId(str(value))
    text = text_of(value, "an app id")
    raise refused(f"{echo(text)} is not an app id", app_id_hint(text))


def app_id_hint(text: str) -> str:
    """Say what somebody who wrote `text` for an app id probably meant."""
    owner = OTHER_IDS.get(text[:3])
    if owner:
        return f"ids that start with {text[:3]} name {owner}; those of apps start with 0oa"
    if text.strip() != text:
        return "remove the spaces around it"
    if not text.startswith("0oa") and not any(letter.isdigit() for letter in text):
        return f"it looks like a label: a plan selects by it with {{label: {echo(text)}}}"
    if len(text) != 20:
        return f"it has {len(text)} characters; app ids have 20, letters and digits"
    return "app ids have 20 letters and digits, such as 0oa8ae0dv4RGQvjyZ0h7"


def read_org_url(value: object) -> str:
    text = text_of(value, "an address such as https://acme.okta.com")
    problem = check_org_url(text)
    if problem:
        raise refused(problem)
    return str(text.removesuffix("/"))


def read_count(value: object, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number of at least `least`, and at most `most`."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None:
        number = whole_number(text_of(value, "a whole number"))
    if number < least or (most is not None and number > most):
        limits = f"from {least} to {most}" if most else f"of at least {least}"
        raise refused(f"must be a whole number {limits}, not {echo(number)}")
    return number


def whole_number(text: str) -> int:
    if isinstance(text, Quoted) and text.isascii() and text.isdigit():
        raise refused(f"must be a number, and {echo(text)} in quotes is text", UNQUOTE)
    if not re.fullmatch(r"[-+]?(?:0|[1-9][0-9]{0,14})", text):
        raise refused(f"must be a whole number, not {echo(text)}", "digits only, such as 250")
    return int(text)


def read_truth(value: object) -> bool:
    """Return true or false, in the words of the core schema of YAML 1.2."""
    if isinstance(value, bool):
        return value
    text = text_of(value, "true or false")
    if isinstance(text, Quoted) or text not in TRUTHS:
        raise refused(f"must be true or false, not {echo(text)}", truth_hint(text))
    return TRUTHS[text]


def truth_hint(text: str) -> str | None:
    if isinstance(text, Quoted) and text in TRUTHS:
        return "remove the quotes: in quotes it is text"
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower())
    return f"write {meant}" if meant else None


def is_true(value: object) -> bool:
    """Say whether a value, as a plan writes it, is true; false also if it cannot be used."""
    return value is True or (isinstance(value, str) and TRUTHS.get(value) is True)


def read_version(value: object) -> Literal[1]:
    if value == 1 and isinstance(value, int):
        return 1
    if isinstance(value, str) and value == "1" and not isinstance(value, Quoted):
        return 1
    shown = f", not {echo(value)}" if isinstance(value, str) else ""
    hint = "this program reads version 1 of the plan format"
    raise refused(f"must be 1{shown}", UNQUOTE if isinstance(value, Quoted) else hint)


def read_workers(value: object) -> int | Literal["auto"]:
    if isinstance(value, str) and value == "auto":
        return "auto"
    try:
        return read_count(value, most=MOST_WORKERS)
    except ValueError:
        shown = f", not {echo(value)}" if isinstance(value, (str, int)) else ""
        raise refused(
            f"must be auto or a whole number from 1 to {MOST_WORKERS}{shown}",
            UNQUOTE if isinstance(value, Quoted) else "auto fits them to the org's rate limit",
        ) from None


def read_duration(value: object) -> float:
    """Return seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value > 0 and math.isfinite(value):
            return float(value)
        raise refused("must be longer than 0 seconds")
    text = text_of(value, "a duration such as 90s, 10m, 2h or 14d")
    if not duration_pattern.fullmatch(text):
        raise refused(f"{echo(text)} is not a duration", duration_hint(text))
    return float(int(text[:-1]) * SECONDS[text[-1]])


def duration_hint(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text):
        return f"say the unit: {text}s, {text}m, {text}h or {text}d"
    return "one whole number above 0 and one unit: 90s, 10m, 2h or 14d"


def read_share(value: object) -> Share:
    """Return the share that a percentage such as `90%` stands for."""
    if isinstance(value, float):
        if 0 < value <= 1:
            return Share(value)
        raise refused("must be above 0 and at most 1")
    text = text_of(value, "a percentage such as 90%")
    if not percent_pattern.fullmatch(text) or float(text[:-1]) == 0:
        raise refused(f"{echo(text)} is not a percentage", share_hint(text))
    return Share(float(text[:-1]) / 100)


def share_hint(text: str) -> str:
    if re.fullmatch(r"[1-9][0-9]?|100", text):
        return f"write {text}%"
    return "above 0% and up to 100%, such as 90%"


def read_budget(value: object) -> int | Share:
    is_share = isinstance(value, float) or (isinstance(value, str) and value.endswith("%"))
    return read_share(value) if is_share else read_count(value)


def read_path(value: object) -> str:
    text = text_of(value, "a path")
    if not text.strip() or "\0" in text:
        raise refused(f"{echo(text)} is not a path")
    return str(text)


def word(*known: str, later: tuple[str, ...] = ()) -> Callable[[object], str]:
    """Return a reader of one word out of a few; the words `later` are not supported yet."""

    def read(value: object) -> str:
        text = text_of(value, "one word")
        if text in known:
            return str(text)
        if text in later:
            raise not_yet(f"`{text}`", f"write {' or '.join(known)}")
        meant = closest(text, (*known, *later))
        hint = f"did you mean {meant}?" if meant else f"write {' or '.join(known)}"
        raise refused(f"{echo(text)} is not known here", hint)

    return read


E = TypeVar("E", bound=StrEnum)


def word_of(kind: type[E], *, later: tuple[str, ...] = ()) -> Callable[[object], E]:
    """Return a reader of the words of an enum, as `word`."""
    read = word(*kind, later=later)
    return lambda value: kind(read(value))


def enum_schema(kind: type[StrEnum]) -> WithJsonSchema:
    return WithJsonSchema({"enum": [member.value for member in kind]})


def pattern_schema(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "examples": list(examples)})


COUNT_SCHEMA = {"type": "integer", "minimum": 1}
PERCENT_SCHEMA = {"type": "string", "pattern": f"^(?!0+(?:\\.0+)?%){PERCENT}$"}

Version: TypeAlias = Annotated[
    Literal[1], PlainValidator(read_version), WithJsonSchema({"type": "integer", "const": 1})
]
Name: TypeAlias = Annotated[str, PlainValidator(read_name), pattern_schema(NAME, "finance-2026-q4")]
AppIdField: TypeAlias = Annotated[
    AppId, PlainValidator(read_app_id), pattern_schema(APP_ID, "0oa8ae0dv4RGQvjyZ0h7")
]
OrgUrl: TypeAlias = Annotated[
    str,
    PlainValidator(read_org_url),
    pattern_schema(
        r"(?:https://(?![^/]*-admin\.)|http://(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?=[:/]|$))"
        r"[A-Za-z0-9.:\[\]-]+/?",
        "https://acme.okta.com",
    ),
]
Count: TypeAlias = Annotated[int, PlainValidator(read_count), WithJsonSchema(COUNT_SCHEMA)]
Workers: TypeAlias = Annotated[
    int | Literal["auto"],
    PlainValidator(read_workers),
    WithJsonSchema(
        {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_WORKERS}]}
    ),
]
Duration: TypeAlias = Annotated[
    float, PlainValidator(read_duration), pattern_schema(DURATION, "90s", "10m", "2h", "14d")
]
Percent: TypeAlias = Annotated[
    Share, PlainValidator(read_share), WithJsonSchema({**PERCENT_SCHEMA, "examples": ["90%"]})
]
Budget: TypeAlias = Annotated[
    int | Share,
    PlainValidator(read_budget),
    WithJsonSchema({"anyOf": [COUNT_SCHEMA, PERCENT_SCHEMA], "examples": [5, "5%"]}),
]
OF_THE_ORG = "A share of what signs with a key in the org: of its apps, or identity providers."
MaxChanges: TypeAlias = Annotated[
    int | Share,
    PlainValidator(read_budget),
    WithJsonSchema(
        {
            "anyOf": [COUNT_SCHEMA, {**PERCENT_SCHEMA, "description": OF_THE_ORG}],
            "examples": [250, "30%"],
        }
    ),
]
Truth: TypeAlias = Annotated[bool, PlainValidator(read_truth), WithJsonSchema({"type": "boolean"})]
FilePath: TypeAlias = Annotated[
    str,
    PlainValidator(read_path),
    WithJsonSchema({"type": "string", "pattern": "\\S"}),
]
