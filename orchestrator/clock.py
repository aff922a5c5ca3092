"""Time as an interface, so that nothing else reads a clock or sleeps by itself."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the program needs of time."""

    def wall(self) -> datetime:
        """Return the time of day in UTC. Only for records: never subtract two of them."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a cancellation point even for zero seconds."""
        ...

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        """Wait for the event, at most so long; `math.inf` waits for the event alone."""
        ...


class SystemClock:
    """The real clock."""

    def wall(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds))

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        with anyio.move_on_after(None if seconds == math.inf else max(0.0, seconds)):
            await event.wait()
