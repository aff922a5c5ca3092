"""When to try a call again, and when to give it up. Pure but for the clock it is given."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tenacity import Future, RetryCallState

from orchestrator.clock import Clock
from orchestrator.errors import Transient


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on with one call. Waits are in seconds."""

    attempts: int = 8  # that failed other than by a rate limit
    rate_refusals: int = 20
    first_wait: float = 0.5
    longest_wait: float = 20.0
    total: float = 1800.0  # long enough for several windows of a bucket that others drain


ONCE = RetryPolicy(attempts=1, rate_refusals=1)


def failure_of(state: RetryCallState) -> Transient:
    """Return the failure that tenacity is looking at."""
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, Transient)  # noqa: S101 - the only exception that is retried
    return failure


class RetryBudget:
    """What one call may still spend. Rate limits are counted apart: they are not failures.

    A call that is not repeatable ends with the first attempt that may have taken effect.
    """

    def __init__(
        self, policy: RetryPolicy, clock: Clock, random: Random, *, repeatable: bool = True
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.random = random
        self.repeatable = repeatable
        self.started = clock.monotonic()
        self.counted: Future | None = None  # the outcome of the last attempt that was counted
        self.failures = 0
        self.rate_refusals = 0
        self.lost = False  # an attempt may have taken effect
        self.under_way = False  # and the org has not answered it, so it may still come to that

    def count(self, state: RetryCallState) -> None:
        """Count the failure at hand, once: tenacity asks for the wait before it asks to stop."""
        if state.outcome is self.counted:
            return
        self.counted = state.outcome
        failure = failure_of(state)
        self.lost |= failure.lost
        self.under_way |= failure.lost and not failure.answered
        if failure.limited:
            self.rate_refusals += 1
        else:
            self.failures += 1

    def is_spent(self, state: RetryCallState) -> bool:
        """Say whether the failure at hand was the last one allowed."""
        self.count(state)
        return (
            (self.lost and not self.repeatable)
            or self.failures >= self.policy.attempts
            or self.rate_refusals >= self.policy.rate_refusals
            or self.clock.monotonic() - self.started >= self.policy.total
        )

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait: what the org asked for, else exponential with full jitter.

        After a rate limit the pacing knows when to go on, so nothing is added here.
        """
        self.count(state)
        failure = failure_of(state)
        if failure.wait is not None:
            return min(failure.wait, 120.0) + self.random.uniform(0.0, 0.5)
        if failure.limited:
            return 0.0
        ceiling = self.policy.first_wait * 2.0 ** (self.failures - 1)
        return self.random.uniform(0.1, 1.0) * min(ceiling, self.policy.longest_wait)
