"""Decide when the next call to a rate-limit bucket may go. Pure: time comes in as numbers.

Okta counts calls per bucket in fixed windows that open with the first call after the last one
ended. Every answer names its window (`X-Rate-Limit-Reset`, whole seconds of the server's clock) and
what is left in it. From these alone the gate promises: no 429 of our own making when nobody else
uses the bucket, few when somebody does, and little time lost at the edge between two windows.

Local times are seconds of a monotonic clock; the server's clock is only ever reached through
`ServerClock`, never through the local time of day.
Source: Okta, "Rate limits overview" and "Transaction rate limits".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from orchestrator.okta.caps import LONGEST_WINDOW
from orchestrator.okta.wire import RateHeaders

USUAL_WINDOW_SECONDS = 60.0
EDGE_SLACK_SECONDS = 0.02  # on top of Reset's own rounding, which is not documented
PROBE_PATIENCE_SECONDS = 5.0  # a probe without an answer for so long no longer holds up the others
MOST_IN_FLIGHT = 30  # Okta allows one principal 37 at once by default, 17 on small plans
FIRST_IN_FLIGHT = 10
CAUTION = 50  # how much slower flight grows once the org has said that it is too much


@dataclass(slots=True)
class ServerClock:
    """Bounds on (server time - local time), narrowed by every answer's Date."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def is_known(self) -> bool:
        """Say whether any Date has been seen."""
        return self.low > -math.inf

    def observe(self, date: int, sent: float, received: float) -> None:
        """Learn from a Date (whole seconds, rounded down) of a call between two local times."""
        low, high = max(self.low, date - received), min(self.high, date + 1 - sent)
        if low >= high:  # the server's clock was stepped: start over
            low, high = date - received, date + 1 - sent
        self.low, self.high = low, high

    def earliest(self, server_second: int) -> float:
        """Return the first local time at which a rounded server second may lie."""
        return server_second - 1 - self.high

    def latest(self, server_second: int) -> float:
        """Return the last local time at which a rounded server second may lie."""
        return server_second + 1 - self.low + EDGE_SLACK_SECONDS

    def nearest(self, epoch: float, now: float) -> float:
        """Return the server time, in epoch seconds, that is nearest to `epoch` and possible now."""
        return min(max(epoch, now + self.low), now + self.high)


@dataclass(slots=True)
class ForeignUse:
    """How much of the bucket others take, inferred from what our own calls do not explain."""

    taken: int = 0  # in this window
    since: float = 0.0  # when we first saw this window
    looked_at: float = 0.0  # when an answer last told us of it
    seen_at: float = -math.inf  # when a take was last found
    burst: int = 0  # the largest take within two round trips
    recent: list[tuple[float, int]] = field(default_factory=list)
    rate: float = 0.0  # calls a second, carried over from the window before

    def start_window(self, now: float) -> None:
        """Carry the rate over: the larger of this window's and half of the one before."""
        self.rate = max(self.current_rate(), self.rate / 2)
        if self.rate < 0.01:
            self.rate = 0.0
        self.burst = (self.burst + 1) // 2
        self.taken, self.since, self.looked_at = 0, now, now
        self.recent.clear()

    @property
    def is_seen(self) -> bool:
        """Say whether anybody else has been at the bucket lately."""
        return self.taken > 0 or self.rate > 0.0

    def current_rate(self) -> float:
        return self.taken / max(self.looked_at - self.since, 1.0)

    def observe(self, taken: int, now: float, round_trip: float) -> None:
        """Note the calls of this window that are not ours; `taken` is a running total."""
        self.looked_at = now
        increase = taken - self.taken
        if increase <= 0:
            return
        self.taken, self.seen_at = taken, now
        self.recent = [(at, n) for at, n in self.recent if now - at <= 2 * round_trip]
        self.recent.append((now, increase))
        self.burst = max(self.burst, sum(n for _, n in self.recent))

    def margin(self, now: float, limit: int, window: float, round_trip: float) -> float:
        """Return how many tokens to leave for what others take before our next call arrives.

        The expected take since the last answer plus two deviations of a compound Poisson process,
        at most an eighth of the limit; 3 % while we cannot know yet, nothing once the others have
        been seen to be quiet. Silence of our own is no such sight.
        """
        quiet_for = self.looked_at - max(self.seen_at, self.since)
        if self.taken == 0 and self.rate == 0.0:
            return 0.03 * limit if quiet_for < window / 10 else 0.0
        if quiet_for > window / 10 and self.rate == 0.0:
            return 0.0
        blind = now - self.looked_at + round_trip
        expected = max(self.rate, self.current_rate()) * blind
        spread = 2 * math.sqrt(expected * self.burst) if self.burst else 0.0
        return min(expected + spread + self.burst + 1, limit / 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketView:
    """What is known of a bucket now; used for estimates and reports."""

    limit: int  # per window, as the org announces it for our token
    share: int  # what capacity lets us use of it
    free: int  # what we may still send in this window
    window_seconds: float
    seconds_to_edge: float
    round_trip: float  # seconds, smoothed


class WindowGate:
    """One bucket's gate: ask `reserve`, send, then report with `observe` or `forget`.

    Every reservation must be given back by exactly one of the two, or by `cancel` if nothing was
    sent. One that is held for a while counts as in flight; `depart` says that it goes now.
    """

    def __init__(self, clock: ServerClock, *, capacity: float, random: Random) -> None:
        self.clock = clock
        self.capacity = capacity
        self.random = random
        self.expected = 0  # calls that are still to come, the next one included
        self.in_flight = 0
        self.limit = 0
        self.reset: int | None = None  # names the window; None: nothing known yet
        self.low = 0  # the smallest Remaining seen in this window
        self.used = 0  # our own calls in this window
        self.window = USUAL_WINDOW_SECONDS
        self.whole_window: float | None = None  # as last seen when a call of ours opened one
        self.unmetered = False  # the org sends no rate headers at all
        self.foreign = ForeignUse()
        self.round_trip = 0.1
        self.jitter = 0.05  # mean deviation of the round trip
        self.last_sent = -math.inf
        self.probe_sent: float | None = None
        self.probe_at = -math.inf
        self.early_probes = 0
        self.resume_at = -math.inf
        self.flight_cap = float(FIRST_IN_FLIGHT)
        self.flight_growth = 1.0  # a whole call more, for every round of calls answered
        self.cap_lowered_at = -math.inf

    def reserve(self, now: float) -> float:
        """Take a slot and return 0, or return how long to wait before asking again.

        `math.inf` means that only an answer can change the verdict.
        """
        delay = self.delay(now)
        if delay > 0:
            return delay
        if self.is_blind(now):
            self.probe_sent = now
        self.in_flight += 1
        self.used += 1
        self.last_sent = now
        self.expected = max(0, self.expected - 1)
        return 0.0

    def delay(self, now: float) -> float:
        """Return the seconds until a call may be sent, without taking a slot."""
        if self.in_flight >= int(self.flight_cap):
            return math.inf
        if self.resume_at > now:
            return self.resume_at - now
        if self.unmetered:
            return 0.0
        if self.is_blind(now):
            return self.probe_delay(now)
        free = self.free(now)
        if free <= 0:
            return self.closing(now) - now
        if self.expected <= free:
            return 0.0
        return max(0.0, self.last_sent + self.spacing(now, free) - now)

    def is_blind(self, now: float) -> bool:
        """Say whether no window is known to be open, so that one probe has to find out."""
        return self.reset is None or now >= self.closing(now)

    def probe_delay(self, now: float) -> float:
        if self.probe_sent is not None and now - self.probe_sent < PROBE_PATIENCE_SECONDS:
            return math.inf
        return max(0.0, self.probe_at - now)

    def closing(self, now: float) -> float:
        """Return the local time by which the window has surely ended."""
        return now if self.reset is None else self.clock.latest(self.reset)

    def free(self, now: float) -> int:
        """Return how many calls may still be sent in this window.

        Calls in flight are always subtracted, even if `low` may count them already.
        """
        unclaimed = self.low - self.in_flight
        if self.low <= self.limit / 3:
            slow = self.round_trip + 2 * self.jitter
            margin = self.foreign.margin(now, self.limit, self.window, slow)
            unclaimed -= math.ceil(margin)
        return min(unclaimed, self.share - self.used)

    @property
    def share(self) -> int:
        """Return how many calls of a whole window `capacity` lets us use; at least one."""
        return max(1, math.floor(self.limit * self.capacity + 1e-9))

    def spacing(self, now: float, free: int) -> float:
        """Return the gap that spreads the free calls over what surely remains of the window."""
        assert self.reset is not None  # noqa: S101 - only called with a window open
        return max(0.0, self.clock.earliest(self.reset) - now) / free

    def observe(self, rate: RateHeaders | None, status: int, sent: float, received: float) -> None:
        """Learn from an answer. An answer without rate headers teaches only that it came."""
        self.in_flight -= 1
        if rate is None:
            self.observe_without_headers(status, received)
            return
        self.clock.observe(rate.date, sent, received)
        if self.reset is not None and self.reset - rate.date > LONGEST_WINDOW:
            self.reset = None  # the org's clock was stepped back: that window would never end
        surprise = received - sent - self.round_trip
        self.round_trip += surprise / 8
        self.jitter += (abs(surprise) - self.jitter) / 4
        if status == 429 and rate.limit == 0:
            self.lower_flight_cap(received)
            self.end_probe(received)
            return
        if status < 400:
            grown = self.flight_cap + self.flight_growth / self.flight_cap
            self.flight_cap = min(MOST_IN_FLIGHT, grown)
        self.unmetered = False
        self.observe_window(rate, received)
        if status == 429:
            self.low = 0

    def observe_without_headers(self, status: int, received: float) -> None:
        if status < 400 and self.reset is None:
            self.unmetered = True
        if status == 429:
            self.resume_at = received + 1.0
        self.end_probe(received)

    def observe_window(self, rate: RateHeaders, received: float) -> None:
        if self.reset is None or rate.reset > self.reset:
            self.open_window(rate, received)
        elif rate.reset < self.reset:
            return
        elif self.probe_sent is not None and received >= self.closing(received):
            self.probe_at = received + 0.25 * 2**self.early_probes
            self.early_probes = min(self.early_probes + 1, 6)
        self.probe_sent = None
        self.limit = rate.limit
        self.low = min(self.low, rate.remaining)
        self.foreign.observe(self.limit - self.low - self.used, received, self.round_trip)

    def open_window(self, rate: RateHeaders, received: float) -> None:
        first = self.reset is None
        self.foreign.start_window(received)
        self.reset, self.limit, self.low = rate.reset, rate.limit, rate.remaining
        self.used = self.in_flight + 1
        if first:  # what was used before we came is not use by others while we run
            self.used = self.in_flight + max(1, rate.limit - rate.remaining)
            self.window = max(1.0, float(rate.reset - rate.date))
        else:
            self.window = max(self.window * 0.5, float(rate.reset - rate.date), 1.0)
        if rate.remaining == rate.limit - 1:
            self.whole_window = max(1.0, float(rate.reset - rate.date))
        self.early_probes = 0
        self.probe_at = -math.inf

    def end_probe(self, now: float) -> None:
        """Let another probe go soon; this one taught nothing about the window."""
        if self.probe_sent is not None:
            self.probe_sent = None
            self.probe_at = now + 0.25

    def forget(self, now: float) -> None:
        """Give back a reservation whose answer was lost; the call may have been counted."""
        self.in_flight -= 1
        self.low = max(0, self.low - 1)
        self.end_probe(now)

    def depart(self, now: float) -> None:
        """Send what was reserved earlier: a probe, if no window is known to be open now."""
        if self.is_blind(now):
            self.probe_sent = now

    def cancel(self, reserved: float) -> None:
        """Give back a reservation, made at the local time `reserved`, that was never sent.

        It is in `used` whatever window it was made in: a window that opens takes over what is in
        flight. The probe of another call stays. `expected` is not restored, since the call that
        was announced is not to come.
        """
        self.in_flight -= 1
        self.used -= 1
        if self.probe_sent == reserved:
            self.probe_sent = None

    def lower_flight_cap(self, now: float) -> None:
        """Back off from the concurrency limit; its zeros say nothing about the window."""
        if now - self.cap_lowered_at > self.round_trip:
            self.flight_cap = max(1.0, self.flight_cap * 0.7)
            self.flight_growth = 1 / CAUTION
            self.cap_lowered_at = now
        self.resume_at = now + self.random.uniform(0.1, 0.5)

    def view(self, now: float) -> BucketView | None:
        """Return what is known of the bucket, or None before the first answer."""
        if self.reset is None:
            return None
        ended = now >= self.closing(now)
        free = self.share if ended else self.free(now)
        if not ended and not self.foreign.is_seen:  # what is kept back for others is not for long
            free = min(self.low - self.in_flight, self.share - self.used)
        return BucketView(
            limit=self.limit,
            share=self.share,
            free=max(0, free),
            window_seconds=self.whole_window or max(self.window, USUAL_WINDOW_SECONDS),
            seconds_to_edge=0.0 if ended else max(0.0, self.closing(now) - now),
            round_trip=self.round_trip,
        )
