"""Scripted misbehaviour: what may go wrong, how often, and on which calls."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.sandbox.faultfile import places_of, read_script
from orchestrator.sandbox.vocabulary import Edit, EndpointName, FaultKind, Lie, When

DEFAULT_STATUS: dict[FaultKind, int] = {
    "error": 503,
    "gateway": 502,
    "reject": 400,
    "redirect": 302,
}
DEFAULT_STALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave. Of the faults that fit a call, the first whose die falls strikes."""

    kind: FaultKind
    rate: float = 1.0  # chance per call that fits, from 0 to 1
    on: EndpointName | Literal["any"] = "any"
    targets: tuple[str, ...] = ()  # app or IdP ids, of a clone the target's; empty for all
    times: int | None = None  # strike at most so often
    when: When = "before"  # error, drop, stall, gateway, edit
    status: int | None = None  # error, gateway, reject
    code: str | None = None  # error, reject: the Okta code, if not the usual one of the status
    cause: str = "Policy forbids this change."  # reject
    seconds: float = DEFAULT_STALL_SECONDS  # stall
    lie: Lie = "kid"  # lie, which concerns a clone or, as an echo, a PUT
    edit: Edit = "label"  # edit, which concerns an app or IdP
    host: str = "login.elsewhere.example"  # redirect

    @property
    def answer_status(self) -> int:
        """Return the status that the fault answers with."""
        return self.status or DEFAULT_STATUS.get(self.kind, 500)

    def fits(self, endpoint: EndpointName, holder_id: str | None) -> bool:
        """Say whether the fault may strike a call that concerns an app or IdP, or none."""
        return (
            self.on in ("any", endpoint)
            and endpoint in places_of(self.kind, self.lie)
            and (not self.targets or holder_id in self.targets)
            and not (self.kind == "edit" and holder_id is None)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScript:
    """The faults of a rehearsal, in order of precedence."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, faults: Sequence[Fault], *, seed: int = 0) -> FaultScript:
        """Return the script with these faults."""
        return cls(faults=tuple(faults), seed=seed)

    @classmethod
    def parse(cls, text: str, *, file: str) -> FaultScript:
        """Read a script from YAML; `file` is its name in messages.

        Raises:
            FaultScriptError: the text is not such a script; the message names the field.
        """
        seed, entries = read_script(text, file=file)
        return cls.of([Fault(**entry) for entry in entries], seed=seed)


class FaultPicker:
    """Draws the fault for each call. The same seed and calls give the same faults."""

    def __init__(self, script: FaultScript) -> None:
        self.faults = script.faults
        self.dice = [dice(script.seed, index) for index in range(len(script.faults))]
        self.struck = [0] * len(script.faults)

    def pick(self, endpoint: EndpointName, holder_id: str | None) -> Fault | None:
        """Return the fault that strikes this call, if any, and count it."""
        for index, fault in enumerate(self.faults):
            if fault.fits(endpoint, holder_id) and self.falls(index, fault):
                self.struck[index] += 1
                return fault
        return None

    def falls(self, index: int, fault: Fault) -> bool:
        """Throw the fault's own die, unless it has struck often enough."""
        spent = fault.times is not None and self.struck[index] >= fault.times
        return not spent and self.dice[index].random() < fault.rate


def dice(seed: int, index: int) -> random.Random:
    """Return the random numbers of one fault, so that faults do not disturb each other."""
    return random.Random(f"fault:{seed}:{index}")  # noqa: S311 - repeatable, not secret
