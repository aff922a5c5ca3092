"""What an execution keeps in mind of its staging and its waves; the journal has the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from orchestrator.engine.gates import Tried
from orchestrator.model import Activation, AppId, Target


class StagingView:
    """How far the staging of a run is, for those who wait for it."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.changed = anyio.Event()
        self.attended: set[tuple[str, AppId]] = set()  # staged, but pack or hook are still to come
        self.refused: dict[tuple[str, AppId], str] = {}  # by their hook, and how

    @property
    def is_over(self) -> bool:
        return self.over.is_set()

    def announce(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def end(self) -> None:
        self.over.set()
        self.announce()

    def attend(self, target: Target) -> None:
        self.attended.add((target.job, target.app))

    def release(self, target: Target) -> None:
        self.attended.discard((target.job, target.app))
        self.announce()

    def attends(self, target: Target) -> bool:
        return (target.job, target.app) in self.attended and not self.is_over

    async def await_release(self, target: Target) -> None:
        """Wait until what follows the staging of a target is done, or is never to be."""
        while self.attends(target):
            await self.changed.wait()


@dataclass(slots=True)
class WaveTally:
    """What this execution has attempted in one wave."""

    attempted: set[AppId] = field(default_factory=set)
    left: set[AppId] = field(default_factory=set)  # were ready, and are not active all the same
    unconfirmed: int = 0  # that are active, and could not be confirmed
    failed: set[AppId] = field(default_factory=set)
    failed_before: int = 0  # in an execution that has died before it could hold the wave
    asked: set[AppId] = field(default_factory=set)  # for acknowledgement, in vain
    is_held: bool = False
    refused: str | None = None
    settled: dict[AppId, Activation] = field(default_factory=dict)  # to be held against the log

    @property
    def failures(self) -> int:
        """Return how many there are of those that the wave may have."""
        return len(self.failed) + self.failed_before

    @property
    def tried(self) -> Tried:
        return Tried(
            left=len(self.left),
            unconfirmed=self.unconfirmed,
            asked=len(self.asked),
            refused=self.refused,
        )
