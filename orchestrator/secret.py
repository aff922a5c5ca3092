"""A value that will not print."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn, final
from weakref import WeakValueDictionary

MASK = "[secret]"
HASH_KEY = os.urandom(16)  # of this process alone: a hash is no means to test guesses


@final
class Secret:
    """A string that shows itself only to `reveal()`.

    It is held by a function, not by an attribute: what walks over members, as debuggers and
    reporters of errors do, finds nothing to show. What `reveal` returns is a plain string, which
    tracebacks with the values of variables would show, so this program never makes any.
    """

    __slots__ = ("__weakref__", "_tell")

    def __init__(self, value: str) -> None:
        self._tell: Callable[[], str] = lambda: value
        LIVING[id(self)] = self

    def reveal(self) -> str:
        """Return the value. Call it where it goes on the wire, nowhere else."""
        return self._tell()

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on where two values of one length differ."""
        return isinstance(other, Secret) and hmac.compare_digest(bytes_of(other), bytes_of(self))

    def __hash__(self) -> int:
        return int.from_bytes(blake2b(bytes_of(self), key=HASH_KEY, digest_size=8).digest())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


# All that there are, for `scrubbing` to know them. Not by value: equal ones die each at its time.
LIVING: WeakValueDictionary[int, Secret] = WeakValueDictionary()


def bytes_of(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
