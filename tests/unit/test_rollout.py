"""When gates open, by the clock, and how targets divide into waves."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest

from orchestrator.rollout import Blackout, Gate, Window, failures_allowed, split

LONDON, NEW_YORK = "Europe/London", "America/New_York"
SAT, SUN = 5, 6
STAGED = datetime(2026, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(hours: str, *days: int, zone: str = LONDON) -> Window:
    start, end = map(time.fromisoformat, hours.split("-"))
    return Window(days=frozenset(days), start=start, end=end, zone=zone)


def blackout(first: str, last: str, zone: str = "UTC") -> Blackout:
    return Blackout(first=date.fromisoformat(first), last=date.fromisoformat(last), zone=zone)


def opens(gate: Gate, now: str, staged: datetime = STAGED) -> datetime | None:
    return gate.opens_at(staged, utc(now))


@pytest.mark.parametrize(
    ("gate", "now", "opened"),
    [
        (Gate(), "2026-03-01 12:00", "2026-03-01 12:00"),
        (Gate(after_seconds=86400), "2026-01-01 12:00", "2026-01-02 00:00"),
        (Gate(after_seconds=86400), "2026-01-02 00:00", "2026-01-02 00:00"),
        (Gate(not_before=utc("2026-12-01 00:00")), "2026-03-01 12:00", "2026-12-01 00:00"),
        (Gate(not_before=utc("2026-12-01 00:00")), "2027-03-01 12:00", "2027-03-01 12:00"),
        (
            Gate(after_seconds=86400 * 400, not_before=utc("2026-12-01 00:00")),
            "2026-03-01 12:00",
            "2027-02-05 00:00",
        ),
    ],
)
def test_waiting_for_a_time(gate: Gate, now: str, opened: str) -> None:
    assert opens(gate, now) == utc(opened)


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ("2026-01-07 12:00", "2026-01-10 02:00"),  # Wednesday; London is on UTC
        ("2026-01-10 01:59", "2026-01-10 02:00"),
        ("2026-01-10 02:00", "2026-01-10 02:00"),
        ("2026-01-10 05:59", "2026-01-10 05:59"),
        ("2026-01-10 06:00", "2026-01-17 02:00"),  # the end is no part of it
        ("2026-07-08 12:00", "2026-07-11 01:00"),  # London is an hour ahead of UTC
    ],
)
def test_a_window(now: str, opened: str) -> None:
    assert opens(Gate(windows=(window("02:00-06:00", SAT),)), now) == utc(opened)


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ("2026-01-10 21:59", "2026-01-10 22:00"),
        ("2026-01-10 23:00", "2026-01-10 23:00"),
        ("2026-01-11 03:59", "2026-01-11 03:59"),  # Sunday, and Saturday's window still
        ("2026-01-11 04:00", "2026-01-17 22:00"),
        ("2026-01-10 01:00", "2026-01-10 22:00"),  # the early hours are those of Friday's
    ],
)
def test_a_window_over_midnight_belongs_to_its_first_day(now: str, opened: str) -> None:
    assert opens(Gate(windows=(window("22:00-04:00", SAT),)), now) == utc(opened)


@pytest.mark.parametrize(
    ("hours", "now", "opened"),
    [
        ("00:00-00:00", "2026-01-10 13:00", "2026-01-10 13:00"),
        ("00:00-00:00", "2026-01-11 00:00", "2026-01-17 00:00"),
        ("06:00-06:00", "2026-01-11 05:59", "2026-01-11 05:59"),
        ("06:00-06:00", "2026-01-11 06:00", "2026-01-17 06:00"),
    ],
)
def test_a_window_of_a_whole_day(hours: str, now: str, opened: str) -> None:
    assert opens(Gate(windows=(window(hours, SAT),)), now) == utc(opened)


def test_the_first_of_several_windows_opens() -> None:
    gate = Gate(
        windows=(window("02:00-06:00", SAT), window("20:00-21:00", 3, zone="America/New_York"))
    )
    assert opens(gate, "2026-01-07 12:00") == utc("2026-01-09 01:00")


@pytest.mark.parametrize(
    ("hours", "now", "opened"),
    [
        # London, Sunday 29 March 2026: 01:00 UTC is 02:00, and there is no 01:30
        ("01:30-03:00", "2026-03-28 12:00", "2026-03-29 01:00"),
        ("01:00-02:00", "2026-03-28 12:00", "2026-04-05 00:00"),
        ("00:30-01:30", "2026-03-29 00:59", "2026-03-29 00:59"),
        ("00:30-01:30", "2026-03-29 01:00", "2026-04-04 23:30"),
        # London, Sunday 25 October 2026: 01:00 UTC is 01:00 for the second time
        ("01:00-01:30", "2026-10-24 12:00", "2026-10-25 00:00"),
        ("01:00-01:30", "2026-10-25 00:30", "2026-10-25 01:00"),
        ("01:15-01:30", "2026-10-25 00:30", "2026-10-25 01:15"),
        ("01:15-01:30", "2026-10-25 01:30", "2026-11-01 01:15"),
    ],
)
def test_when_clocks_change(hours: str, now: str, opened: str) -> None:
    assert opens(Gate(windows=(window(hours, SUN),)), now) == utc(opened)


@pytest.mark.parametrize(
    ("zone", "day", "skipped"),
    [
        ("Africa/Cairo", "2026-04-24", "2026-04-23 22:00"),  # 00:00 is 01:00
        ("America/Santiago", "2026-09-06", "2026-09-06 04:00"),
        ("America/Nuuk", "2026-03-29", "2026-03-29 01:00"),  # 23:00 on the 28th is 00:00
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03 13:30"),
    ],
)
def test_days_begin_where_midnight_is_skipped(zone: str, day: str, skipped: str) -> None:
    before = date.fromisoformat(day) - timedelta(days=1)
    gate = Gate(blackout=(Blackout(first=before, last=before, zone=zone),))
    opened = gate.opens_at(STAGED, utc(skipped) - timedelta(hours=3))
    assert opened == utc(skipped)
    assert opened.astimezone(ZoneInfo(zone)).date() == date.fromisoformat(day)


def test_a_blackout_ends_where_its_zone_says() -> None:
    for zone, opened in ((NEW_YORK, "2027-01-03 05:00"), ("Asia/Tokyo", "2027-01-02 15:00")):
        gate = Gate(blackout=(blackout("2026-12-24", "2027-01-02", zone),))
        assert opens(gate, "2026-12-25 12:00") == utc(opened)


def test_a_blackout_over_all_clock_changes_of_a_year() -> None:
    gate = Gate(blackout=(blackout("2026-01-01", "2026-06-30", LONDON),))
    assert opens(gate, "2026-01-05 12:00") == utc("2026-06-30 23:00")


def test_a_blackout_within_a_window_and_another_behind_it() -> None:
    gate = Gate(
        windows=(window("22:00-04:00", SAT),),
        blackout=(blackout("2026-01-10", "2026-01-10"), blackout("2026-01-17", "2026-01-18")),
    )
    assert opens(gate, "2026-01-10 12:00") == utc("2026-01-11 00:00")
    assert opens(gate, "2026-01-11 04:00") == utc("2026-01-24 22:00")


@pytest.mark.parametrize(
    "gate",
    [
        Gate(windows=(window("02:00-06:00"),)),
        Gate(
            windows=(window("02:00-06:00", SAT),), blackout=(blackout("2026-01-01", "2029-12-31"),)
        ),
        Gate(blackout=(blackout("2026-01-01", "2029-12-31", NEW_YORK),)),
    ],
)
def test_never(gate: Gate) -> None:
    assert opens(gate, "2026-03-01 12:00") is None


def test_a_window_far_ahead_is_found() -> None:
    gate = Gate(
        windows=(window("02:00-06:00", SAT),), blackout=(blackout("2026-01-01", "2027-12-31"),)
    )
    assert opens(gate, "2026-03-01 12:00") == utc("2028-01-01 02:00")


def test_any_zone_will_do_for_now_and_the_answer_is_in_utc() -> None:
    gate = Gate(windows=(window("02:00-06:00", SAT),))
    now = datetime(2026, 1, 7, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
    opened = gate.opens_at(now, now)
    assert opened == utc("2026-01-10 02:00")
    assert opened.tzinfo is UTC


def test_seconds_and_less_are_kept() -> None:
    gate = Gate(after_seconds=0.25)
    staged = utc("2026-01-01 12:00:07.5")
    assert gate.opens_at(staged, staged) == utc("2026-01-01 12:00:07.750")


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        opens(Gate(windows=(window("02:00-06:00", SAT, zone="Mars/Base"),)), "2026-01-07 12:00")


@pytest.mark.parametrize(
    ("total", "sizes", "waves"),
    [
        (0, [1, 0.1], []),
        (1, [1, 0.1, 1.0], [1]),
        (200, [1, 0.1, 1.0], [1, 20, 179]),
        (200, [1.0], [200]),
        (100, [0.07], [7] * 14 + [2]),  # 0.07 * 100 is 7.000000000000001
        (1000, [0.001], [1] * 1000),
        (10, [3], [3, 3, 3, 1]),
        (10, [1, 4], [1, 4, 4, 1]),
        (3, [0.1], [1, 1, 1]),
        (21, [0.1, 1.0], [3, 18]),
        (5, [1000], [5]),
    ],
)
def test_split(total: int, sizes: list[int | float], waves: list[int]) -> None:
    assert split(total, sizes) == waves


@pytest.mark.parametrize(
    ("budget", "size", "allowed"),
    [
        (1, 20, 1),
        (5, 20, 5),
        (5, 2, 2),
        (0.05, 200, 10),
        (0.05, 201, 11),
        (0.05, 1, 1),
        (1.0, 7, 7),
    ],
)
def test_failures_allowed(budget: float, size: int, allowed: int) -> None:
    assert failures_allowed(budget, size) == allowed


def test_the_module_is_light() -> None:
    """Whoever tells when a gate opens need not load what reads plans, or anything of the kind."""
    heavy = "{'pydantic', 'yaml', 'asyncio', 'anyio', 'cryptography'}"
    script = f"import sys, orchestrator.rollout; print({heavy} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
