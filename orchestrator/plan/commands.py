"""Commands of a plan: hooks, and whoever says that a target is ready. Never a shell string."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from orchestrator.plan.fields import Duration, enum_schema, pattern_schema, text_of, word_of
from orchestrator.plan.part import PlanPart, refuse_repeats
from orchestrator.plan.refusal import Refusal, refused
from orchestrator.rollout import HookCommand, HookMoment

VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
DEFAULT_TIMEOUT = 60.0
AS_A_LIST = "write a list such as [./upload.sh, --fast]: it is never given to a shell"


def read_argument(value: object) -> str:
    text = text_of(value, "a text")
    if "\0" in text:
        raise refused("cannot hold the control character U+0000")
    return str(text)


def read_variable(value: object) -> str:
    text = text_of(value, "the name of a variable")
    if not re.fullmatch(VARIABLE, text):
        hint = "the name alone, such as PORTAL_TOKEN: the value comes from the environment"
        raise refused("is not the name of an environment variable", hint)  # it may be its value
    return str(text)


def refuse_shell_text(value: object) -> object:
    """Refuse a command line in one text, and a list that names no program."""
    if isinstance(value, str):
        raise refused("must be a list of texts, not one text", AS_A_LIST)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
        is_blank = not value[0].strip()
        return [Refusal("names no program", AS_A_LIST), *value[1:]] if is_blank else value
    return value


Argument: TypeAlias = Annotated[
    str, PlainValidator(read_argument), WithJsonSchema({"type": "string"})
]
Argv: TypeAlias = Annotated[
    tuple[Argument, ...],
    Field(
        min_length=1,
        description="Program and arguments, never given to a shell. A program with a slash in it "
        "starts from the directory of the plan; others are looked for on the PATH.",
        examples=[["./upload.sh", "--fast"]],
        json_schema_extra={"prefixItems": [{"type": "string", "pattern": "\\S"}]},
    ),
    BeforeValidator(refuse_shell_text),
]
Timeout: TypeAlias = Annotated[
    Duration,
    Field(
        description="The command is ended after this time.", json_schema_extra={"default": "60s"}
    ),
]
Variables: TypeAlias = Annotated[
    tuple[
        Annotated[str, PlainValidator(read_variable), pattern_schema(VARIABLE, "PORTAL_TOKEN")],
        ...,
    ],
    BeforeValidator(refuse_repeats),
    Field(description="Variables of our environment that the command gets to see, by name."),
]


class HookSpec(PlanPart):
    """A command that runs whenever something has happened."""

    place = "in a list of hooks: - {on: target_staged, run: [./upload.sh]}"
    on: Annotated[
        HookMoment,
        PlainValidator(word_of(HookMoment)),
        enum_schema(HookMoment),
        Field(description="When it runs."),
    ]
    run: Argv
    timeout: Timeout = DEFAULT_TIMEOUT
    env: Variables = ()


class AcknowledgeSpec(PlanPart):
    """A command that exits 0 for a target whose service provider trusts the new key."""

    place = "under gate.acknowledged"
    run: Argv
    timeout: Timeout = DEFAULT_TIMEOUT
    env: Variables = ()


def command_of(spec: HookSpec | AcknowledgeSpec, folder: Path) -> HookCommand:
    """Return the command; a program with a slash in it starts from `folder`."""
    program = spec.run[0]
    if "/" in program:
        program = str((folder / program).absolute())  # a bare name would be looked for on the PATH
    return HookCommand(argv=(program, *spec.run[1:]), timeout=spec.timeout, env=spec.env)
