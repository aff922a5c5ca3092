"""Make calls wait for their rate-limit bucket: the awaiting shell around `pacing`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import anyio

from orchestrator.clock import Clock
from orchestrator.events import CallPaced, Observer
from orchestrator.halt import Halt
from orchestrator.okta.pacing import BucketView, ServerClock, WindowGate
from orchestrator.okta.wire import CallTrace, RateHeaders

WORTH_TELLING_SECONDS = 1.0


class Bucket(StrEnum):
    """Okta's rate-limit buckets that we call into, named as in Okta's dashboard."""

    APPS = "/api/v1/apps"  # lists, and everything below an app, keys included
    APP_READ = "GET /api/v1/apps/{id}"
    APP_WRITE = "PUT /api/v1/apps/{id}"


@dataclass(slots=True)
class Lane:
    """A gate with the calls that queue for it; the first in line does the waiting."""

    gate: WindowGate
    turn: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    changed: anyio.Event = field(default_factory=anyio.Event)


class Pacer:
    """All buckets of one org."""

    def __init__(
        self, *, clock: Clock, halt: Halt, capacity: float, random: Random, observer: Observer
    ) -> None:
        self.clock = clock
        self.halt = halt
        self.observer = observer
        server = ServerClock()
        self.lanes = {
            bucket: Lane(WindowGate(server, capacity=capacity, random=random)) for bucket in Bucket
        }

    def expect(self, bucket: Bucket, calls: int) -> None:
        """Announce calls that are still to come, or with a negative number that they are not.

        As soon as what is left fits into the window, the gate stops spreading calls over it.
        """
        gate = self.lanes[bucket].gate
        gate.expected = max(0, gate.expected + calls)

    def view(self, bucket: Bucket) -> BucketView | None:
        """Return what is known of a bucket now."""
        return self.lanes[bucket].gate.view(self.clock.monotonic())

    async def acquire(self, bucket: Bucket, trace: CallTrace) -> None:
        """Wait for a slot; give it back with `learn` or `lose`.

        Raises:
            Halted: the run is stopping.
        """
        self.halt.check()
        lane = self.lanes[bucket]
        started = self.clock.monotonic()
        if not lane.turn.locked() and lane.gate.reserve(started) <= 0:
            return
        with self.halt.interruptible():
            async with lane.turn:
                await self.wait_in_turn(bucket, lane)
        trace.waited_seconds += self.clock.monotonic() - started

    async def wait_in_turn(self, bucket: Bucket, lane: Lane) -> None:
        told = False
        while (delay := lane.gate.reserve(self.clock.monotonic())) > 0:
            if not told and WORTH_TELLING_SECONDS < delay < float("inf"):
                self.observer.notify(CallPaced(bucket=bucket, wait_seconds=delay))
                told = True
            await self.clock.wait(lane.changed, delay)

    def learn(self, bucket: Bucket, rate: RateHeaders | None, status: int, sent: float) -> None:
        """Give the slot back with what the answer said; `sent` is the local time of sending."""
        lane = self.lanes[bucket]
        lane.gate.observe(rate, status, sent, self.clock.monotonic())
        self.announce_change(lane)

    def lose(self, bucket: Bucket) -> None:
        """Give the slot of a call back whose answer never came."""
        lane = self.lanes[bucket]
        lane.gate.forget(self.clock.monotonic())
        self.announce_change(lane)

    def announce_change(self, lane: Lane) -> None:
        if lane.turn.locked():
            lane.changed.set()
            lane.changed = anyio.Event()
