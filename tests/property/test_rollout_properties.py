"""What holds for every gate and every division into waves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import ceil
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.rollout import Blackout, Gate, Window, failures_allowed, split

ZONES = ("UTC", "Europe/London", "America/New_York", "Africa/Cairo", "Asia/Kolkata")
MINUTE = timedelta(minutes=1)
WEEKS = timedelta(days=15)
# From a few days before the clocks change, in London or New York or Cairo, of 2026.
CHANGES = ("2026-03-06", "2026-03-27", "2026-04-22", "2026-10-23", "2026-10-28", "2026-12-30")

clock_times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
zones = st.sampled_from(ZONES)
windows = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 6), max_size=3),
    start=clock_times,
    end=clock_times,
    zone=zones,
)
moments = st.builds(
    lambda day, minutes: datetime.fromisoformat(day).replace(tzinfo=UTC) + minutes * MINUTE,
    st.sampled_from(CHANGES),
    st.integers(0, 4 * 24 * 60),
)


@st.composite
def blackouts(draw: st.DrawFn) -> Blackout:
    first = date.fromisoformat(draw(st.sampled_from(CHANGES))) + timedelta(draw(st.integers(0, 8)))
    length = timedelta(draw(st.integers(0, 4)))
    return Blackout(first=first, last=first + length, zone=draw(zones))


gates = st.builds(
    Gate,
    after_seconds=st.none() | st.integers(0, 5 * 24 * 60).map(lambda minutes: 60.0 * minutes),
    not_before=st.none() | moments,
    windows=st.lists(windows, max_size=2).map(tuple),
    blackout=st.lists(blackouts(), max_size=2).map(tuple),
)


def is_open(gate: Gate, staged: datetime, moment: datetime) -> bool:
    """Say whether time lets a wave begin: what the documentation says, in the plainest way."""
    after = timedelta(seconds=gate.after_seconds or 0)
    if gate.after_seconds is not None and moment < staged + after:
        return False
    if gate.not_before is not None and moment < gate.not_before:
        return False
    for blackout in gate.blackout:
        if blackout.first <= moment.astimezone(ZoneInfo(blackout.zone)).date() <= blackout.last:
            return False
    return not gate.windows or any(is_within(window, moment) for window in gate.windows)


def is_within(window: Window, moment: datetime) -> bool:
    """Hold what the clocks show against the window of today and that of yesterday."""
    shown = moment.astimezone(ZoneInfo(window.zone)).replace(tzinfo=None)
    for ago in (0, 1):
        day = shown.date() - timedelta(days=ago)
        begins, ends = datetime.combine(day, window.start), datetime.combine(day, window.end)
        if ends <= begins:
            ends += timedelta(days=1)
        if day.weekday() in window.days and begins <= shown < ends:
            return True
    return False


def minute_by_minute(gate: Gate, staged: datetime, now: datetime) -> datetime | None:
    for minutes in range(int(WEEKS / MINUTE)):
        if is_open(gate, staged, now + minutes * MINUTE):
            return now + minutes * MINUTE
    return None


@given(gate=gates, staged=moments, now=moments)
@settings(max_examples=40, deadline=None)
def test_a_gate_opens_when_a_search_by_the_minute_says_so(
    gate: Gate, staged: datetime, now: datetime
) -> None:
    check_opening(gate, staged, now)


@pytest.mark.long
@given(gate=gates, staged=moments, now=moments)
@settings(max_examples=120, deadline=None)
def test_every_gate_opens_when_a_search_by_the_minute_says_so(
    gate: Gate, staged: datetime, now: datetime
) -> None:
    check_opening(gate, staged, now)


def check_opening(gate: Gate, staged: datetime, now: datetime) -> None:
    found = minute_by_minute(gate, staged, now)
    opened = gate.opens_at(staged, now)
    if found is None:
        assert opened is None or opened - now >= WEEKS
    else:
        assert opened == found


any_moments = st.integers(0, 3 * 365 * 86400).map(
    lambda seconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(gate=gates, staged=any_moments, now=any_moments)
@settings(deadline=None)
def test_an_opening_is_open_not_past_and_final(gate: Gate, staged: datetime, now: datetime) -> None:
    opened = gate.opens_at(staged, now)
    if opened is None:
        assert gate.windows
        assert not any(window.days for window in gate.windows)
        return
    assert opened >= now
    assert is_open(gate, staged, opened)
    assert opened == now or not is_open(gate, staged, now)
    assert gate.opens_at(staged, opened) == opened


shares = st.integers(1, 1000).map(lambda tenths: tenths / 10 / 100)  # as a plan's 0.1% to 100%
sizes = st.lists(st.integers(1, 300) | shares, min_size=1, max_size=5)


@given(total=st.integers(0, 5000), sizes=sizes)
def test_waves_hold_every_target_once(total: int, sizes: Sequence[int | float]) -> None:
    waves = split(total, sizes)
    assert sum(waves) == total
    assert all(wave >= 1 for wave in waves)
    for number, wave in enumerate(waves):
        size = sizes[min(number, len(sizes) - 1)]
        assert wave <= exact(size, total)
        assert number == len(waves) - 1 or wave == exact(size, total)


@given(budget=st.integers(1, 300) | shares, size=st.integers(1, 5000))
def test_a_wave_stops_at_its_budget_and_when_all_of_it_fails(budget: float, size: int) -> None:
    assert failures_allowed(budget, size) == min(size, exact(budget, size))


def exact(size: float, whole: int) -> int:
    """Return what a size stands for, in whole thousandths and without rounding errors."""
    return size if isinstance(size, int) else ceil(Fraction(round(size * 1000), 1000) * whole)
