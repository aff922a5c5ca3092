"""The bucket as a pure object, and the settings around it."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.sandbox.limits import (
    Bucket,
    Limiter,
    LimitSettings,
    Rival,
    RivalTenant,
    Verdict,
)

START = 1_700_000_000.25
GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 200)), max_size=150)
LIMITS = st.integers(1, 20)
WINDOWS = st.sampled_from([0.5, 6.0, 60.0])
RIVALS = st.one_of(st.none(), st.builds(Rival, share=st.floats(0, 2), burst=st.integers(1, 30)))


def bucket_of(limit: int, window: float, rival: Rival | None) -> Bucket:
    if rival is None:
        return Bucket(limit, window)
    rng = random.Random(0)
    return Bucket(limit, window, RivalTenant(rival, limit=limit, window_seconds=window, rng=rng))


def taken(bucket: Bucket, gaps: list[float]) -> list[tuple[float, float, Verdict]]:
    """Take at each moment; return the moments, the window ends and the verdicts."""
    found = []
    for now in accumulate(gaps, initial=START):
        verdict = bucket.take(now)
        found.append((now, bucket.ends, verdict))
    return found


@given(limit=LIMITS, window=WINDOWS, rival=RIVALS, gaps=GAPS)
def test_a_window_never_accepts_more_than_the_limit(
    limit: int, window: float, rival: Rival | None, gaps: list[float]
) -> None:
    history = taken(bucket_of(limit, window, rival), gaps)
    accepted = Counter(ends for _, ends, verdict in history if verdict.accepted)
    assert all(count <= limit for count in accepted.values())


@given(limit=LIMITS, window=WINDOWS, rival=RIVALS, gaps=GAPS)
def test_reset_is_constant_and_remaining_only_falls_within_a_window(
    limit: int, window: float, rival: Rival | None, gaps: list[float]
) -> None:
    history = taken(bucket_of(limit, window, rival), gaps)
    for now, ends, verdict in history:
        assert now < ends <= now + window
        assert verdict.reset == math.floor(ends)
        assert 0 <= verdict.remaining < limit or not verdict.accepted
    for (_, ends, before), (_, later_ends, after) in pairwise(history):
        if ends == later_ends:
            assert before.reset == after.reset
            assert after.remaining <= before.remaining - after.accepted


@given(limit=LIMITS, window=WINDOWS, gaps=GAPS)
def test_without_a_rival_a_call_is_refused_only_in_a_spent_window(
    limit: int, window: float, gaps: list[float]
) -> None:
    used: Counter[float] = Counter()
    for _, ends, verdict in taken(Bucket(limit, window), gaps):
        assert verdict.accepted == (used[ends] < limit)
        used[ends] += verdict.accepted
        assert verdict.remaining == limit - used[ends]


def test_a_window_opens_with_the_first_call_after_the_last_one_ended() -> None:
    bucket = Bucket(2, 60.0)
    assert bucket.take(1000.5).reset == 1060
    assert bucket.take(1060.4) == Verdict(accepted=True, limit=2, remaining=0, reset=1060)
    assert bucket.take(1060.45).accepted is False
    assert bucket.take(1075.9) == Verdict(accepted=True, limit=2, remaining=1, reset=1135)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("burst", [1, 17])
def test_a_rival_takes_its_share_on_average(share: float, burst: int) -> None:
    limit, window, windows = 1000, 60.0, 100
    rng = random.Random(1)
    settings = Rival(share=share, burst=burst)
    rival = RivalTenant(settings, limit=limit, window_seconds=window, rng=rng)
    endless = Bucket(10**9, 10**9)
    for number in range(2 * windows):
        rival.catch_up(endless, START + number * window / 2)
    assert endless.used / (windows * limit) == pytest.approx(share, rel=0.1)


def test_a_long_idle_rival_is_caught_up_with_in_no_time() -> None:
    bucket = bucket_of(50, 60.0, Rival(share=0.9, burst=3))
    bucket.take(START)
    verdict = bucket.take(START + 3600 * 24 * 365 * 10)
    assert verdict.reset > START + 3600 * 24 * 365 * 10 - 1


def test_a_principal_gets_its_share_of_the_workforce_numbers() -> None:
    settings = LimitSettings()
    assert [settings.ceiling(name) for name in ("apps", "app.read", "app.write")] == [50, 250, 250]
    assert settings.concurrency_ceiling == 37
    assert LimitSettings(org_limits={"apps": 20}).ceiling("apps") == 10
    assert LimitSettings(org_limits={"apps": 20}).ceiling("app.read") == 250


def test_calls_in_flight_are_capped_apart_from_the_buckets() -> None:
    limiter = Limiter(LimitSettings(concurrency=4), seed=0)
    assert [limiter.enter() for _ in range(3)] == [True, True, False]
    verdict = limiter.judge("apps", START, entered=False)
    assert verdict is not None
    assert (verdict.accepted, verdict.limit, verdict.remaining) == (False, 0, 0)
    assert verdict.reset > START
    assert limiter.buckets["apps"].used == 0
    limiter.leave()
    assert limiter.enter()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"window_seconds": 0}, "window_seconds"),
        ({"org_limits": {"apps": 0}}, "org_limits"),
        ({"org_limits": {"app": 5}}, "bucket"),
        ({"share": 1.5}, "share"),
        ({"concurrency": 0}, "concurrency"),
        ({"latency_seconds": (0.3, 0.1)}, "latency_seconds"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        LimitSettings(**settings)
