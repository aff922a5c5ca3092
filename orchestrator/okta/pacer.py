"""Make calls wait for their rate-limit bucket: the awaiting shell around `pacing`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from random import Random

import anyio

from orchestrator.clock import Clock
from orchestrator.events import CallPaced, Observer
from orchestrator.halt import Halt
from orchestrator.okta.pacing import BucketView, ServerClock, WindowGate
from orchestrator.okta.wire import CallTrace, RateHeaders

WORTH_TELLING_SECONDS = 1.0
LAST_SECOND = 253_402_300_799  # of the year 9999, where datetime ends


class Bucket(StrEnum):
    """Okta's rate-limit buckets that we call into, named as in Okta's dashboard."""

    APPS = "/api/v1/apps"  # lists, and everything below an app, keys included
    APP_READ = "GET /api/v1/apps/{id}"
    APP_WRITE = "PUT /api/v1/apps/{id}"
    IDPS = "/api/v1"  # what has no bucket of its own: all calls to do with identity providers
    LOGS = "/api/v1/logs"
    TOKEN = "/oauth2/v1/token"  # noqa: S105 - a path, not a credential
    ORG = "/"  # the public description of the org
    PRINCIPALS = "/api/v1/principal-rate-limits"


@dataclass(slots=True)
class Slot:
    """A place in a bucket, taken ahead of the call that is to use it."""

    bucket: Bucket
    reserved: float  # local time
    is_used: bool = False


@dataclass(slots=True)
class Lane:
    """A gate with the calls that queue for it; the first in line does the waiting."""

    gate: WindowGate
    turn: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    changed: anyio.Event = field(default_factory=anyio.Event)


class Pacer:
    """All buckets of one org, and its clock."""

    def __init__(
        self, *, clock: Clock, halt: Halt, capacity: float, random: Random, observer: Observer
    ) -> None:
        self.clock = clock
        self.halt = halt
        self.observer = observer
        # Apart from the clock that the gates compute window edges with: that one learns only from
        # answers that speak of windows, lest the Date of a gateway move an edge by an hour.
        self.org_clock = ServerClock()
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

    @property
    def has_org_time(self) -> bool:
        """Say whether any answer has told the org's time yet."""
        return self.org_clock.is_known

    def org_time(self, wall: datetime) -> datetime:
        """Return the time on the org's clock, given the local time of day.

        That is `wall` itself where the dates of the org's answers allow it, else the nearest time
        that they allow: right to a second or so even where the local clock is wrong.
        """
        given = wall.timestamp()
        nearest = self.org_clock.nearest(given, self.clock.monotonic())
        if nearest == given:
            return wall
        return datetime.fromtimestamp(min(max(nearest, 0), LAST_SECOND), UTC)

    def hear_date(self, date: int, sent: float) -> None:
        """Learn from the Date of an answer to a call that was sent at the local time `sent`."""
        self.org_clock.observe(date, sent, self.clock.monotonic())

    async def acquire(self, bucket: Bucket, trace: CallTrace) -> float:
        """Wait for a slot, and return the local time it was taken; see `learn` and `lose`.

        Raises:
            Halted: the run is stopping.
        """
        self.halt.check()
        lane = self.lanes[bucket]
        started = self.clock.monotonic()
        if not lane.turn.locked() and lane.gate.reserve(started) <= 0:
            return started
        with self.halt.interruptible():
            async with lane.turn:
                reserved = await self.wait_in_turn(bucket, lane)
        trace.waited_seconds += reserved - started
        return reserved

    async def wait_in_turn(self, bucket: Bucket, lane: Lane) -> float:
        told = False
        while (delay := lane.gate.reserve(now := self.clock.monotonic())) > 0:
            if not told and WORTH_TELLING_SECONDS < delay < float("inf"):
                self.observer.notify(CallPaced(bucket=bucket, wait_seconds=delay))
                told = True
            await self.clock.wait(lane.changed, delay)
        return now

    @asynccontextmanager
    async def slot(self, bucket: Bucket, trace: CallTrace) -> AsyncIterator[Slot]:
        """Wait for a slot now, for a call to be made later inside the block.

        Unused at the end of the block, it is given back. Calls made meanwhile must be of other
        buckets: while all slots are held, a call that waits for one more waits for ever.

        Raises:
            Halted: the run is stopping.
        """
        held = Slot(bucket, await self.acquire(bucket, trace))
        try:
            yield held
        finally:
            if not held.is_used:
                self.give_back(held)

    def give_back(self, slot: Slot) -> None:
        """Give a slot back for which nothing was sent."""
        lane = self.lanes[slot.bucket]
        lane.gate.cancel(slot.reserved)
        self.announce_change(lane)

    def use(self, slot: Slot, bucket: Bucket) -> None:
        """Turn a slot into a call that is sent now; give it back with `learn` or `lose`.

        Raises:
            Halted: the run is stopping; the slot stays unused.
            ValueError: the slot is of another bucket, or was used before.
        """
        if slot.is_used or slot.bucket is not bucket:
            raise ValueError("this slot is not for this call")
        self.halt.check()
        slot.is_used = True
        self.lanes[slot.bucket].gate.depart(self.clock.monotonic())

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
