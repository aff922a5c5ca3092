"""Where a secret is, as plans and configurations write it. Never the secret itself.

    env:NAME                    an environment variable
    file:/run/secrets/okta      a file; ~ and ${CREDENTIALS_DIRECTORY} may begin the path
    cmd:[pass, show, okta]      what a program prints; or {cmd: [pass, show, okta], env: [NAME]}
    keyring:service/name        an entry of the keyring of the system

What is given may be the secret, by mistake, so a refusal never shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NoReturn, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from orchestrator.errors import PlanError
from orchestrator.plan.commands import AS_A_LIST, VARIABLE
from orchestrator.plan.refusal import closest, refused
from orchestrator.plan.yaml_events import read_tree

HINT = "write where it is: env:NAME, file:/path, cmd:[program, argument] or keyring:service/name"
FILE_HINT = "write file:/run/secrets/okta, file:~/okta-token or a path from the folder of this file"
KEYRING_HINT = "write keyring:service/name, such as keyring:okta-keys/acme"
VARIABLE_HINT = "write env:NAME: letters, digits and underscores, no digit first"
COMMAND_HINT = "write cmd:[program, argument] or {cmd: [program, argument], env: [NAME]}"
CREDENTIALS = "${CREDENTIALS_DIRECTORY}"  # of systemd: systemd.exec(5), "Credentials"
# An API token of Okta (00 and 40 more characters) that was written behind file: by mistake.
LIKE_A_TOKEN = re.compile(r"00[A-Za-z0-9_-]{40}")


class ReferenceKind(StrEnum):
    """What keeps a secret."""

    ENV = "env"
    FILE = "file"
    CMD = "cmd"
    KEYRING = "keyring"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretReference:
    """Where a secret is. It may be printed: of a command it shows the program alone."""

    kind: ReferenceKind
    words: tuple[str, ...]  # a variable; a path; program and arguments; service and name
    env: tuple[str, ...] = ()  # variables that a command gets to see besides the usual ones

    def __str__(self) -> str:
        if self.kind is ReferenceKind.CMD:
            return f"cmd:[{self.words[0]}{', ...' if self.words[1:] else ''}]"
        return f"{self.kind}:{'/'.join(self.words)}"

    def __repr__(self) -> str:
        return f"<{self}>"


def variable_reference(name: str) -> SecretReference:
    """Return the reference to an environment variable."""
    return SecretReference(kind=ReferenceKind.ENV, words=(name,))


def read_reference(value: object) -> SecretReference:
    """Return what a reference in a file says, as text or as a mapping with `cmd`."""
    if isinstance(value, SecretReference):
        return value
    if isinstance(value, Mapping):
        return read_command_mapping(value)
    if isinstance(value, str):
        kind, colon, rest = value.partition(":")
        if colon and kind in READERS:
            return READERS[kind](rest)
        meant = closest(kind, tuple(READERS)) if colon else None
        if meant:
            raise refused("is not a known kind of reference", f"did you mean {meant}:?")
    raise refused("must be a reference, never the secret itself", HINT)


def read_variable_name(text: str) -> SecretReference:
    if not re.fullmatch(VARIABLE, text):
        raise refused("does not name an environment variable", VARIABLE_HINT)
    return variable_reference(str(text))


def read_file_path(text: str) -> SecretReference:
    is_path = text.strip() == text and text.isprintable() and not text.startswith("//")
    if not text or not is_path or LIKE_A_TOKEN.fullmatch(text):
        raise refused("does not name a file", FILE_HINT)
    if text.startswith("$") and not text.startswith(f"{CREDENTIALS}/"):
        raise refused(
            "begins with a variable", f"only {CREDENTIALS}/ may begin a path; or write ~/"
        )
    return SecretReference(kind=ReferenceKind.FILE, words=(str(text),))


def read_keyring_entry(text: str) -> SecretReference:
    service, _, name = text.rpartition("/")
    if not service.strip() or not name.strip() or not text.isprintable():
        raise refused("does not name an entry of a keyring", KEYRING_HINT)
    return SecretReference(kind=ReferenceKind.KEYRING, words=(service, name))


def read_command_text(text: str) -> SecretReference:
    """Return the command of `cmd:[pass, show, okta]`: a list as YAML writes one, on one line."""
    if not text.strip().startswith("["):
        refuse_command()
    try:
        tree = read_tree(text, "")
    except PlanError:
        tree = None
    if tree is None or tree.problems:
        raise refused("is not a list that can be read", COMMAND_HINT)
    return SecretReference(kind=ReferenceKind.CMD, words=read_argv(tree.root))


def read_command_mapping(value: Mapping[object, object]) -> SecretReference:
    if "cmd" not in value or not value.keys() <= {"cmd", "env"}:
        raise refused("is a mapping that holds anything but `cmd` and `env`", COMMAND_HINT)
    names = value.get("env", ())
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise refused("has an `env` that is not a list", COMMAND_HINT)
    if not all(isinstance(name, str) and re.fullmatch(VARIABLE, name) for name in names):
        # What stands there may be the value of the variable.
        raise refused("has an `env` that does not list names of environment variables")
    argv = read_argv(value["cmd"])
    return SecretReference(kind=ReferenceKind.CMD, words=argv, env=tuple(map(str, names)))


def read_argv(listed: object) -> tuple[str, ...]:
    if not isinstance(listed, (list, tuple)):
        refuse_command()
    if not listed or not isinstance(listed[0], str) or not listed[0].strip():
        raise refused("names no program", COMMAND_HINT)
    if not listed[0].isprintable():
        raise refused("names a program that cannot be printed", COMMAND_HINT)
    if not all(isinstance(each, str) and "\0" not in each for each in listed):
        raise refused("has an argument that is not a text", COMMAND_HINT)
    return tuple(map(str, listed))


def refuse_command() -> NoReturn:
    raise refused("must have the command as a list of texts", AS_A_LIST)


READERS: Mapping[str, Callable[[str], SecretReference]] = {
    ReferenceKind.ENV: read_variable_name,
    ReferenceKind.FILE: read_file_path,
    ReferenceKind.CMD: read_command_text,
    ReferenceKind.KEYRING: read_keyring_entry,
}

TEXT = (
    rf"(?:env:{VARIABLE}|file:(?!//)(?!\$(?!\{{CREDENTIALS_DIRECTORY\}}/))(?!00[A-Za-z0-9_-]{{40}}$)\S(?:.*\S)?"
    r"|cmd:\s*\[\s*[^\s\],].*\]\s*|keyring:.*\S.*/[^/]*[^/\s][^/]*)"
)
ReferenceField: TypeAlias = Annotated[
    SecretReference,
    PlainValidator(read_reference),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{TEXT}$"},
                {
                    "type": "object",
                    "description": "What a program prints. It is never given to a shell.",
                    "required": ["cmd"],
                    "additionalProperties": False,
                    "properties": {
                        "cmd": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string"},
                            "prefixItems": [{"type": "string", "pattern": "\\S"}],
                            "description": "Program and arguments.",
                        },
                        "env": {
                            "type": "array",
                            "items": {"type": "string", "pattern": f"^{VARIABLE}$"},
                            "description": "Variables that the program gets to see, by name.",
                        },
                    },
                },
            ],
            "examples": [
                "env:OKTA_API_TOKEN",
                "file:/run/secrets/okta",
                {"cmd": ["pass", "show", "okta"]},
                "keyring:okta-keys/acme",
            ],
        }
    ),
]
