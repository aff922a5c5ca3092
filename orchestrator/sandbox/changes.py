"""What a call changed: the signing key that it was for, and everything else that it was not for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.sandbox.certs import Json
from orchestrator.sandbox.documents import is_object
from orchestrator.sandbox.holders import KeyHolder

EXPECTED = {
    "app": ("credentials.signing.", "lastUpdated."),
    "idp": ("protocol.credentials.signing.", "lastUpdated."),
}  # with the dot that ends a field's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a call did to the org's state."""

    happened: bool = False
    kid_before: str | None = None  # of a PUT: what it signed with
    kid_after: str | None = None
    collateral: tuple[str, ...] = ()  # of a PUT: what changed besides the signing key


NOTHING = Effect()
SOMETHING = Effect(happened=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as it was; None stands for no value."""

    path: str  # dotted
    old: object
    new: object


class Watch:
    """Looks at an app or IdP before a PUT, and says afterwards what the PUT has done."""

    def __init__(self, holder: KeyHolder) -> None:
        self.holder = holder
        self.kid = holder.active_kid
        self.document = holder.document()

    def differences(self) -> list[Difference]:
        """Return all that has changed since."""
        return list(differences(self.document, self.holder.document()))

    def effect(self) -> Effect:
        """Return what the PUT did: whatever is not the signing key is collateral."""
        expected = EXPECTED[self.holder.resource]
        return Effect(
            happened=True,
            kid_before=self.kid,
            kid_after=self.holder.active_kid,
            collateral=tuple(
                each.path for each in self.differences() if not f"{each.path}.".startswith(expected)
            ),
        )


def differences(before: Json, after: Json, prefix: str = "") -> Iterator[Difference]:
    """Yield every value that differs, as deep as there are objects on both sides.

    Lists are compared as a whole; a field on one side only is one difference.
    """
    for name in dict.fromkeys([*before, *after]):
        path = f"{prefix}{name}"
        old, new = before.get(name), after.get(name)
        if is_object(old) and is_object(new):
            yield from differences(old, new, f"{path}.")
        elif (name in before) != (name in after) or not same(old, new):
            yield Difference(path, old, new)


def same(old: object, new: object) -> bool:
    """Say whether two JSON values are equal; unlike in Python, 1 is not true."""
    if is_object(old) and is_object(new):
        return next(differences(old, new), None) is None
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    return isinstance(old, bool) == isinstance(new, bool) and old == new
