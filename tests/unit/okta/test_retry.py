"""How often a call is tried again, and how long it waits, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from tenacity import AsyncRetrying, RetryCallState

from orchestrator.clock import SystemClock
from orchestrator.errors import Transient
from orchestrator.okta.retry import ONCE, RetryBudget, RetryPolicy, failure_of

POLICY = RetryPolicy(attempts=4, rate_refusals=3, first_wait=1.0, longest_wait=5.0, total=100.0)
FAILED = Transient("500")
LIMITED = Transient("429", limited=True)


class TurnedClock(SystemClock):
    """A monotonic clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Highest(Random):
    """Draws the upper bound."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Lowest(Random):
    """Draws the lower bound."""

    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


def state_of(failure: Transient) -> RetryCallState:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.set_exception((type(failure), failure, None))
    return state


def budget(random: Random | None = None, clock: TurnedClock | None = None) -> RetryBudget:
    return RetryBudget(POLICY, clock or TurnedClock(), random or Highest())


def verdicts(failures: Sequence[Transient]) -> list[bool]:
    spending = budget()
    return [spending.is_spent(state_of(failure)) for failure in failures]


async def waits(policy: RetryPolicy, random: Random, failure: Transient) -> list[float]:
    """Return the waits that tenacity asks for when every attempt fails alike."""
    spending, slept = RetryBudget(policy, TurnedClock(), random), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def attempt() -> None:
        raise failure

    retrying = AsyncRetrying(stop=spending.is_spent, wait=spending.wait, sleep=sleep, reraise=True)
    with pytest.raises(Transient):
        await retrying(attempt)
    return slept


@pytest.mark.parametrize(
    ("failures", "spent_at"),
    [
        ([FAILED] * 4, 4),
        ([LIMITED] * 3, 3),
        ([LIMITED, FAILED, LIMITED, FAILED, FAILED, FAILED], 6),
        ([FAILED, LIMITED, FAILED, LIMITED, FAILED, LIMITED], 6),
    ],
    ids=["failures", "rate limits", "ended by failures", "ended by rate limits"],
)
def test_rate_limits_are_counted_apart(failures: Sequence[Transient], spent_at: int) -> None:
    assert verdicts(failures) == [False] * (spent_at - 1) + [True]


@pytest.mark.parametrize(("elapsed", "spent"), [(0.0, False), (99.9, False), (100.0, True)])
@pytest.mark.parametrize("failure", [FAILED, LIMITED], ids=["failure", "rate limit"])
def test_a_call_is_given_up_when_its_time_is_over(
    failure: Transient, elapsed: float, spent: bool
) -> None:
    clock = TurnedClock()
    spending = budget(clock=clock)
    clock.now += elapsed
    assert spending.is_spent(state_of(failure)) is spent


async def test_as_many_attempts_are_made_as_the_policy_says() -> None:
    assert len(await waits(POLICY, Highest(), FAILED)) == POLICY.attempts - 1
    assert len(await waits(POLICY, Highest(), LIMITED)) == POLICY.rate_refusals - 1


async def test_waits_double_from_the_first_to_the_longest() -> None:
    policy = RetryPolicy(attempts=7, first_wait=0.5, longest_wait=6.0)
    assert await waits(policy, Highest(), FAILED) == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]


async def test_waits_are_never_longer_than_the_longest() -> None:
    policy = RetryPolicy(attempts=60, first_wait=0.5, longest_wait=6.0)
    slept = await waits(policy, Highest(), FAILED)
    assert sorted(slept) == slept
    assert slept[-1] == 6.0


async def test_jitter_reaches_down_to_a_tenth() -> None:
    highest = await waits(POLICY, Highest(), FAILED)
    lowest = await waits(POLICY, Lowest(), FAILED)
    assert lowest == pytest.approx([wait / 10 for wait in highest])
    assert min(lowest) > 0


def test_after_a_rate_limit_the_pacing_alone_waits() -> None:
    spending = budget()
    for _ in range(2):
        spending.is_spent(state_of(LIMITED))
        assert spending.wait(state_of(LIMITED)) == 0.0


def test_rate_limits_do_not_lengthen_the_wait_after_a_failure() -> None:
    calm, limited = budget(), budget()
    limited.is_spent(state_of(LIMITED))
    for spending in (calm, limited):
        spending.is_spent(state_of(FAILED))
    assert limited.wait(state_of(FAILED)) == calm.wait(state_of(FAILED))


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize(
    ("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (120.0, 120.0), (99999.0, 120.0)]
)
def test_what_the_org_asks_for_comes_first(asked: float, waited: float, limited: bool) -> None:
    state = state_of(Transient("503", limited=limited, wait=asked))
    assert budget(Lowest()).wait(state) == waited
    assert budget(Highest()).wait(state) == waited + 0.5


def test_two_calls_do_not_wait_alike() -> None:
    drawn = {budget(Random(seed)).wait(state_of(FAILED)) for seed in range(20)}
    assert len(drawn) == 20


def test_the_failure_is_the_one_that_tenacity_saw() -> None:
    assert failure_of(state_of(LIMITED)) is LIMITED


def spent(repeatable: bool, *failures: Transient) -> tuple[list[bool], RetryBudget]:
    spending = RetryBudget(POLICY, TurnedClock(), Highest(), repeatable=repeatable)
    return [spending.is_spent(state_of(failure)) for failure in failures], spending


LOST = Transient("the connection broke", lost=True)
ANSWERED = Transient("500", lost=True, answered=True)


def test_what_is_not_repeatable_ends_with_the_first_attempt_that_may_have_taken_effect() -> None:
    assert spent(False, FAILED, LIMITED, LOST)[0] == [False, False, True]
    assert spent(True, FAILED, LIMITED, LOST)[0] == [False, False, False]


@pytest.mark.parametrize(
    ("failures", "lost", "under_way"),
    [
        ([FAILED, LIMITED], False, False),
        ([ANSWERED, FAILED], True, False),
        ([LOST, ANSWERED, FAILED], True, True),
    ],
)
def test_what_the_attempts_may_have_done_is_remembered(
    failures: list[Transient], lost: bool, under_way: bool
) -> None:
    _, spending = spent(True, *failures)
    assert (spending.lost, spending.under_way) == (lost, under_way)


def test_once_is_once() -> None:
    for failure in (FAILED, LIMITED, LOST):
        assert RetryBudget(ONCE, TurnedClock(), Highest()).is_spent(state_of(failure))
