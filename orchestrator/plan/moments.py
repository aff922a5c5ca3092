"""Moments of a plan: when gates open, the windows of a week, and days on which nothing begins."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, NoReturn, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from orchestrator.plan.fields import (
    DURATION,
    duration_pattern,
    pattern_schema,
    read_duration,
    text_of,
)
from orchestrator.plan.refusal import closest, echo, refused
from orchestrator.rollout import HORIZON, Blackout, Window

DATE = r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
OFFSET = r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
DATE_TIME = rf"{DATE}[T ]{CLOCK}(?::[0-5][0-9])?"
AFTER = rf"(?:{DURATION}|{DATE}|{DATE_TIME}{OFFSET})"
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = f"(?:{'|'.join(DAY_NAMES)})"
DAYS = rf"(?:daily|{DAY}(?:-{DAY})?(?:,{DAY}(?:-{DAY})?)*)"
HOURS = rf"{CLOCK}-(?:{CLOCK}|24:00)"
ZONE = r"[A-Za-z][A-Za-z0-9_+/-]*"
MACHINE_ZONES = ("localtime", "posix/", "posixrules", "right/")  # files, but no names of zones
LONGEST_DAYS = HORIZON.days  # what lies further ahead is a mistake in the plan
WINDOW_EXAMPLE = "Sat 02:00-06:00 Europe/London"


def read_wait(value: object) -> float:
    """Return seconds, up to two years."""
    seconds = read_duration(value)
    if seconds > HORIZON.total_seconds():
        raise refused(f"must be at most {LONGEST_DAYS}d", "is the unit the one that is meant?")
    return seconds


def read_after(value: object) -> float | datetime:
    """Return seconds to wait, or the moment, in UTC, to wait for."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, (int, float)):
        return read_wait(value)
    text = text_of(value, "a duration such as 14d, a date, or a time with its offset")
    if duration_pattern.fullmatch(text) or re.fullmatch("[0-9]{1,9}", text):
        return read_wait(text)
    if re.fullmatch(DATE, text):
        return datetime.combine(read_date(text), time(), tzinfo=UTC)
    if re.fullmatch(DATE_TIME, text):
        raise refused(f"{echo(text)} does not say in which time zone", f"{text}Z is UTC")
    if not re.fullmatch(DATE_TIME + OFFSET, text):
        raise refused(
            f"{echo(text)} is neither a duration nor a date",
            "write 14d, 2026-12-01 or 2026-12-01T02:00:00+01:00",
        )
    read_date(text[:10])
    return datetime.fromisoformat(text).astimezone(UTC)


def read_date(text: str) -> date:
    try:
        if re.fullmatch(DATE, text):
            return date.fromisoformat(text)
    except ValueError:  # the 31st of June
        pass
    raise refused(f"{echo(text)} is not a date", "write year, month and day: 2026-12-24")


def read_blackout(value: object) -> Blackout:
    """Return a day, or days from the first to the last."""
    if isinstance(value, Blackout):
        return value
    text = text_of(value, "a day such as 2026-12-24, or days: 2026-12-24..2027-01-02")
    first, dots, last = text.partition("..")
    days = Blackout(first=read_date(first), last=read_date(last if dots else first))
    if days.last < days.first:
        raise refused(f"{echo(text)} ends before it begins", f"did you mean {last}..{first}?")
    return days


def read_window(value: object) -> Window:
    """Return the window that `Sat 02:00-06:00 Europe/London` stands for."""
    if isinstance(value, Window):
        return value
    text = text_of(value, f"a window such as {WINDOW_EXAMPLE}")
    parts = text.split()
    if len(parts) == 2 and re.fullmatch(HOURS, parts[1]):
        raise refused(
            f"{echo(text)} does not say in which time zone",
            f"write {text} and an IANA name such as Europe/London",
        )
    if len(parts) != 3:
        raise refused(f"{echo(text)} is not a window", f"days, hours and zone: {WINDOW_EXAMPLE}")
    days, hours, zone = parts
    if not re.fullmatch(DAYS, days):
        hint = "Mon to Sun: one, a list such as Sat,Sun, a range such as Mon-Fri, or daily"
        raise refused(f"{echo(days)} does not say which days", hint)
    if not re.fullmatch(HOURS, hours):
        hint = "two times of the day, such as 02:00-06:00 or 22:00-04:00"
        raise refused(f"{echo(hours)} does not say which hours", hint)
    start, _, end = hours.partition("-")
    return Window(
        days=days_of(days),
        start=time.fromisoformat(start),
        end=time() if end == "24:00" else time.fromisoformat(end),
        zone=zone if is_zone(zone) else refuse_zone(zone),
    )


def read_one_window(value: object) -> tuple[Window, ...]:
    return (read_window(value),)


def days_of(text: str) -> frozenset[int]:
    """Return the days of the week, 0 is Monday; a range may go over Sunday."""
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        begin = DAY_NAMES.index(first)
        length = (DAY_NAMES.index(last or first) - begin) % 7
        found |= {(begin + step) % 7 for step in range(length + 1)}
    return frozenset(found)


def is_zone(name: str) -> bool:
    """Say whether this machine knows the time zone."""
    if not re.fullmatch(ZONE, name) or name.startswith(MACHINE_ZONES):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such file, no name of a file, a directory
        return False
    return True


def refuse_zone(name: str) -> NoReturn:
    known = {zone.lower(): zone for zone in sorted(available_timezones())}
    meant = known.get(closest(name, tuple(known)) or "")
    hint = f"did you mean {meant}?" if meant else "write an IANA name such as Europe/London"
    raise refused(f"{echo(name)} is no known time zone", hint)


AS_IT_IS = PlainSerializer(lambda value: value)  # dumping a plan leaves the words of rollout.py
WINDOW_SCHEMA = {
    "type": "string",
    "pattern": f"^{DAYS} +{HOURS} +{ZONE}$",
    "examples": [WINDOW_EXAMPLE, "daily 22:00-04:00 UTC"],
}

After: TypeAlias = Annotated[
    float | datetime,
    PlainValidator(read_after),
    pattern_schema(AFTER, "14d", "2026-12-01", "2026-12-01T02:00:00+01:00"),
]
Wait: TypeAlias = Annotated[float, PlainValidator(read_wait), pattern_schema(DURATION, "10m", "2h")]
WindowField: TypeAlias = Annotated[
    Window, PlainValidator(read_window), AS_IT_IS, WithJsonSchema(WINDOW_SCHEMA)
]
OneWindow: TypeAlias = Annotated[
    tuple[Window, ...], PlainValidator(read_one_window), AS_IT_IS, WithJsonSchema(WINDOW_SCHEMA)
]
BlackoutField: TypeAlias = Annotated[
    Blackout,
    PlainValidator(read_blackout),
    AS_IT_IS,
    pattern_schema(rf"{DATE}(?:\.\.{DATE})?", "2026-12-24..2027-01-02", "2026-11-27"),
]
