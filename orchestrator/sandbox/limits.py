"""Okta's rate limits: buckets with fixed windows, the principal's share, and a concurrency cap.

Windows open with the first request after the last one ended, last a fixed time, and are not aligned
to the minute. Source: https://developer.okta.com/docs/reference/rate-limits/ and recorded headers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.errors import UsageError

WORKFORCE: Mapping[str, int] = {
    "apps": 100,  # /api/v1/apps*: the app list and all of /apps/{id}/credentials
    "app.read": 500,  # GET /api/v1/apps/{id}
    "app.write": 500,  # PUT /api/v1/apps/{id}
    "v1": 1200,
    "token": 300,  # as recorded, in a smaller org; Workforce has 2000
    "logs": 120,
    "principals": 200,  # recorded: a principal sees 100 of them
}
RIVAL_MEMORY_WINDOWS = 2  # what a rival did before that cannot matter any more
BURST_EVERY = 5  # one in so many takes of a rival is a burst


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Other consumers of the same counters."""

    share: float = 0.3  # of the limit, per window, on average; from 0 to 1
    burst: int = 5  # the most calls at one moment


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How the sandbox limits its caller."""

    enabled: bool = True  # False: no counting, no X-Rate-Limit headers, no concurrency cap
    window_seconds: float = 60.0
    org_limits: Mapping[str, int] = field(default_factory=lambda: WORKFORCE)
    # calls per window for the whole org; buckets that are not named keep their Workforce limit
    share: float = 0.5  # of each limit, and of the concurrency, that one principal may use
    concurrency: int = 75  # simultaneous calls for the whole org
    rival: Rival | None = None
    clock_skew_seconds: float = 0.0  # the server's clock minus ours
    latency_seconds: tuple[float, float] | None = None  # least and most time of one answer

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises:
            UsageError: with the name of the setting.
        """
        limits = self.org_limits.values()
        low, high = self.latency_seconds or (0.0, 0.0)
        demands = {
            "latency_seconds must be two numbers, least first": 0 <= low <= high,
            "window_seconds must be above 0": self.window_seconds > 0,
            "org_limits must be 1 or more": all(limit >= 1 for limit in limits),
            "org_limits names a bucket that does not exist": set(self.org_limits) <= set(WORKFORCE),
            "share must be above 0 and at most 1": 0 < self.share <= 1,
            "concurrency must be 1 or more": self.concurrency >= 1,
        }
        for text, met in demands.items():
            if not met:
                raise UsageError(f"sandbox limits: {text}")

    def ceiling(self, bucket: str) -> int:
        """Return the principal's calls per window."""
        return max(1, int(self.org_limits.get(bucket, WORKFORCE[bucket]) * self.share))

    @property
    def concurrency_ceiling(self) -> int:
        """Return how many calls of the principal may be in flight."""
        return max(1, int(self.concurrency * self.share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a bucket says about one call, as the X-Rate-Limit headers show it."""

    accepted: bool
    limit: int
    remaining: int
    reset: int  # epoch seconds, rounded down


class Bucket:
    """One counter. Pure: time comes in as an argument and must not step back."""

    def __init__(self, limit: int, window_seconds: float, rival: RivalTenant | None = None) -> None:
        self.limit = limit
        self.window_seconds = window_seconds
        self.rival = rival
        self.used = 0
        self.ends = -math.inf  # epoch seconds; the window is over at this moment

    def take(self, now: float) -> Verdict:
        """Count one call at `now` (epoch seconds), or refuse it."""
        if self.rival is not None:
            self.rival.catch_up(self, now)
        accepted = self.spend(1, now) == 1
        return Verdict(
            accepted=accepted,
            limit=self.limit,
            remaining=self.limit - self.used,
            reset=math.floor(self.ends),
        )

    def spend(self, calls: int, now: float) -> int:
        """Use up to `calls` of the window at `now`, opening one if needed; return how many."""
        if now >= self.ends:
            self.used = 0
            self.ends = now + self.window_seconds
        granted = min(calls, self.limit - self.used)
        self.used += granted
        return granted


class RivalTenant:
    """Other consumers as a random process, applied when somebody looks at the bucket."""

    def __init__(
        self, settings: Rival, *, limit: int, window_seconds: float, rng: random.Random
    ) -> None:
        self.burst = max(1, settings.burst)
        self.memory_seconds = RIVAL_MEMORY_WINDOWS * window_seconds
        self.window_seconds = window_seconds
        self.rng = rng
        mean_calls = ((BURST_EVERY - 1) + (1 + self.burst) / 2) / BURST_EVERY
        self.takes_per_second = settings.share * limit / window_seconds / mean_calls
        self.next_take: float | None = None

    def catch_up(self, bucket: Bucket, now: float) -> None:
        """Do what the rival did since the last look, at the moments when it did it."""
        if self.takes_per_second <= 0:
            return
        if self.next_take is None:
            self.next_take = now - self.rng.random() * self.window_seconds
        self.next_take = max(self.next_take, now - self.memory_seconds)
        while self.next_take <= now:
            bucket.spend(self.calls(), self.next_take)
            self.next_take += self.rng.expovariate(self.takes_per_second)

    def calls(self) -> int:
        """Return the size of one take: mostly a single call, now and then a burst."""
        return self.rng.randint(1, self.burst) if self.rng.randrange(BURST_EVERY) == 0 else 1


class Limiter:
    """All buckets of one principal, and its calls in flight."""

    def __init__(self, settings: LimitSettings, *, seed: int) -> None:
        self.settings = settings
        self.in_flight = 0
        self.buckets = {name: self.new_bucket(name, seed) for name in WORKFORCE}

    def new_bucket(self, name: str, seed: int) -> Bucket:
        """Return a bucket with the principal's ceiling, and a rival of its own if there is one."""
        limit, window = self.settings.ceiling(name), self.settings.window_seconds
        if self.settings.rival is None:
            return Bucket(limit, window)
        rng = random.Random(f"rival:{seed}:{name}")  # noqa: S311 - repeatable, not secret
        rival = RivalTenant(self.settings.rival, limit=limit, window_seconds=window, rng=rng)
        return Bucket(limit, window, rival)

    def enter(self) -> bool:
        """Let a call in unless the principal has as many in flight as it may; pair with leave."""
        if self.settings.enabled and self.in_flight >= self.settings.concurrency_ceiling:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Note that a call which was let in is over."""
        self.in_flight -= 1

    def judge(self, bucket: str, now: float, *, entered: bool) -> Verdict | None:
        """Count a call and say whether it may pass; None when limits are off.

        A call over the concurrency cap is refused with limit 0, and no bucket counts it.
        """
        if not self.settings.enabled:
            return None
        if not entered:
            return Verdict(accepted=False, limit=0, remaining=0, reset=math.floor(now) + 60)
        return self.buckets[bucket].take(now)
