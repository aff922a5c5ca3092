"""How staged keys become active: waves, the gates before them, and the pause between. Pure.

All moments are aware datetimes on the org's clock; all durations are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from math import ceil
from typing import TypeAlias
from zoneinfo import ZoneInfo

from orchestrator.model import Verify

Size: TypeAlias = int | float  # an int is a count, a float a share of a whole: 0 < share <= 1

HORIZON = timedelta(days=731)  # how far ahead an opening is looked for: two years
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
FLOAT_SLACK = 1e-6  # targets; 7% of 100 is 7.000000000000001 as a float


class Inactive(StrEnum):
    """What to do about a deactivated app."""

    SKIP = "skip"
    ACTIVATE = "activate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Hours of some days of the week in which waves may begin. May cross midnight."""

    days: frozenset[int]  # 0 is Monday; a window that crosses midnight belongs to its first day
    start: time
    end: time  # exclusive; equal to start means the whole day
    zone: str  # IANA name

    def covers(self, moment: datetime) -> bool:
        """Say whether the clocks of the zone show a time of the window.

        Hours that clocks skip never open it; hours that they repeat open it twice.
        """
        local = moment.astimezone(ZoneInfo(self.zone))
        today, clock = local.weekday(), local.time()
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        yesterday = (today - 1) % 7
        return (today in self.days and clock >= self.start) or (
            yesterday in self.days and clock < self.end
        )

    def next_look(self, moment: datetime) -> datetime:
        """Return a later moment before which the window does not open: at most a day later."""
        zone = ZoneInfo(self.zone)
        local = wall_time(moment, zone)
        start = datetime.combine(local, self.start)
        return reached(zone, moment, start if local < start else next_midnight(local))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """Days on which no wave begins, both included, in the time zone `zone`."""

    first: date
    last: date
    zone: str = "UTC"

    def covers(self, moment: datetime) -> bool:
        """Say whether it is one of the days in the zone."""
        return self.first <= moment.astimezone(ZoneInfo(self.zone)).date() <= self.last

    def next_look(self, moment: datetime) -> datetime:
        """Return a later moment before which the day does not end: at most a day later."""
        zone = ZoneInfo(self.zone)
        return reached(zone, moment, next_midnight(wall_time(moment, zone)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HookCommand:
    """A command of the plan: an argument list, never a shell string."""

    argv: tuple[str, ...]
    timeout: float = 60.0
    env: tuple[str, ...] = ()  # variables that it gets to see besides the harmless ones


class HookMoment(StrEnum):
    """When a hook runs."""

    TARGET_STAGED = "target_staged"
    WAVE_READY = "wave_ready"
    TARGET_ACTIVATED = "target_activated"
    RUN_FAILED = "run_failed"
    RUN_FINISHED = "run_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What must hold before a wave, or one of its targets, is activated."""

    after_seconds: float | None = None  # since the last target of the wave was staged
    not_before: datetime | None = None
    windows: tuple[Window, ...] = ()  # any of them
    blackout: tuple[Blackout, ...] = ()
    acknowledged: bool = False  # per target: by people, or by the command below
    acknowledge_by: HookCommand | None = None  # exits 0 for a target that is ready
    approval: bool = False  # of each wave, by people

    def opens_at(self, staged_at: datetime, now: datetime) -> datetime | None:
        """Return when time lets the wave begin: `now` if it does already, None if never.

        The answer is in UTC. Never means: not within two years of the day from which it could.

        Raises:
            ZoneInfoNotFoundError: this machine does not know the zone of a window.
        """
        earliest = self.earliest(staged_at, now)
        moment = earliest
        while moment - earliest <= HORIZON:
            later = self.next_look(moment)
            if later is None:
                return moment
            moment = later
        return None

    def earliest(self, staged_at: datetime, now: datetime) -> datetime:
        """Return the first moment that `after_seconds` and `not_before` allow, in UTC."""
        bounds = [now.astimezone(UTC)]
        if self.after_seconds is not None:
            bounds.append(staged_at.astimezone(UTC) + timedelta(seconds=self.after_seconds))
        if self.not_before is not None:
            bounds.append(self.not_before.astimezone(UTC))
        return max(bounds)

    def next_look(self, moment: datetime) -> datetime | None:
        """Return a later moment before which no wave begins, or None if one may begin now."""
        for blackout in self.blackout:
            if blackout.covers(moment):
                return blackout.next_look(moment)
        if not self.windows or any(window.covers(moment) for window in self.windows):
            return None
        return min(window.next_look(moment) for window in self.windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a job's staged keys are activated."""

    gate: Gate = field(default_factory=Gate)
    waves: tuple[Size, ...] = (1.0,)  # shares are of all targets
    pause_seconds: float = 0.0  # between the end of a wave and the beginning of the next
    stop_after_failures: Size = 1  # in one wave; shares are of the wave
    inactive: Inactive = Inactive.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """What a plan says about a job besides its key and targets; may change between sessions."""

    rollout: Rollout | None = None  # None: stage only
    verify: Verify = Verify.RESPONSE
    allow_oidc: bool = False
    cross_check: bool = True  # hold each wave against the System Log

    @property
    def confirms(self) -> bool:
        """Say whether what is active is to be seen once more after its wave."""
        return self.verify is not Verify.RESPONSE


def split(total: int, sizes: Sequence[Size]) -> list[int]:
    """Return how many targets each wave has, in order; every target is in exactly one.

    A share is one of all targets, rounded up. The last size repeats until all are in a wave.
    """
    waves: list[int] = []
    left = total
    while left > 0:
        size = sizes[min(len(waves), len(sizes) - 1)]
        waves.append(min(left, number_of(size, total)))
        left -= waves[-1]
    return waves


def failures_allowed(budget: Size, size: int) -> int:
    """Return the number of failures at which a wave of that size stops; at least 1.

    It is at most the size of the wave: one in which everything fails always stops.
    """
    return max(1, min(size, number_of(budget, size)))


def number_of(size: Size, whole: int) -> int:
    """Return the count that a size stands for: itself, or a share rounded up; at least 1."""
    if isinstance(size, int):
        return max(1, size)
    return max(1, ceil(size * whole - FLOAT_SLACK))


def wall_time(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what the clocks of a zone show, as a naive datetime."""
    return moment.astimezone(zone).replace(tzinfo=None)


def next_midnight(local: datetime) -> datetime:
    return datetime.combine(local.date() + DAY, time.min)


def reached(zone: ZoneInfo, moment: datetime, wall: datetime) -> datetime:
    """Return when the clocks show `wall`, or when they are changed, whichever comes first.

    `moment` is in UTC, and `wall` at most a day ahead of it; no zone changes its clocks twice in
    a day.
    """
    ahead = moment + (wall - wall_time(moment, zone))
    before = moment.astimezone(zone).utcoffset()
    if ahead.astimezone(zone).utcoffset() == before:
        return ahead
    while ahead - moment > SECOND:
        middle = moment + (ahead - moment) / 2
        if middle.astimezone(zone).utcoffset() == before:
            moment = middle
        else:
            ahead = middle
    return ahead.replace(microsecond=0)  # clocks change on a whole second
