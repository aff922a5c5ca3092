"""End every wait of a run at once, while leaving the calls on the wire alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from anyio import CancelScope

from orchestrator.errors import Halted

is_overruled: ContextVar[bool] = ContextVar("is_overruled", default=False)  # each task has its own


class Halt:
    """A switch that turns waiting, present and future, into `Halted`.

    Draining a run must not sit out a rate-limit window of a minute, yet must let a request that
    was sent be answered: so waits are wrapped in `interruptible()`, requests are not.
    """

    def __init__(self) -> None:
        self.is_set = False
        self.scopes: set[CancelScope] = set()

    def set(self) -> None:
        """Halt; idempotent."""
        self.is_set = True
        for scope in self.scopes:
            scope.cancel()

    def check(self) -> None:
        """Raise `Halted` if the switch is set."""
        if self.is_set and not is_overruled.get():
            raise Halted("the run is stopping")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Run a wait that `set()` may end.

        Raises:
            Halted: the switch is set, before or during the wait.
        """
        self.check()
        if is_overruled.get():
            yield
            return
        with CancelScope() as scope:
            self.scopes.add(scope)
            try:
                yield
            finally:
                self.scopes.discard(scope)
        if scope.cancelled_caught:
            raise Halted("the run is stopping")

    @contextmanager
    def overruled(self) -> Iterator[None]:
        """Let this task make calls and wait for them all the same: to undo what must not stay."""
        token = is_overruled.set(True)
        try:
            yield
        finally:
            is_overruled.reset(token)
