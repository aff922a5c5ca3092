"""A value that will not print, and references that say where to find one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from orchestrator.errors import ConfigError

MASK = "[secret]"


class Secret:
    """A string that shows itself only to `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value. Call it where it goes on the wire, nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


def resolve_reference(reference: str, environ: Mapping[str, str]) -> Secret:
    """Return the secret that `env:NAME` points to.

    Raises:
        ConfigError: the variable is not set or is empty.
    """
    name = reference.removeprefix("env:")
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"the environment variable {name} is not set", hint=f"export {name}=...")
    return Secret(value)
