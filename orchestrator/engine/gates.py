"""Decide which wave of a job may go now, and what the next one waits for. Pure.

    next_step(waves, rollout, standing, now) -> Begin | Ask | Confirm | Wait | Finished

Waves go in order. A target that nobody has acknowledged holds up the waves behind it only while no
target of its own wave is active: one silent vendor must not stop the others, but the first wave is
there to be watched. A wave that has begun goes on with targets that become ready later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.model import ActivationState, StopCause
from orchestrator.rollout import Gate, JobSettings, Rollout, split
from orchestrator.store.base import WAVE_APPROVED, EventRecord, StopRecord, WaveCounts

APPROVED = WAVE_APPROVED  # kinds of events
HELD = "wave_held"


class Gating(StrEnum):
    """What a wave may wait for."""

    KEY = "key"  # it is still to be made, or a CA is to sign its certificate
    STAGING = "staging"
    TIME = "time"  # `after`, `window` and `blackout`
    PAUSE = "pause"
    ACKNOWLEDGEMENT = "acknowledgement"
    APPROVAL = "approval"
    HOOK = "hook"
    HELD = "held"  # too many of its targets failed, or the run was rolled back


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The wave may go, as far as its targets are ready."""

    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The wave may go but for its targets' acknowledgement, which a command can give."""

    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """What the wave has activated is to be confirmed before anything further goes."""

    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The wave may not go yet."""

    gating: Gating
    detail: str  # half a sentence for a person
    wave: int = 0  # 0 where it is about the whole job
    until: datetime | None = None  # where time alone will do; None where it will not


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Every target that can be activated is, but for those still waited for."""

    waiting: Wait | None = None


Step = Begin | Ask | Confirm | Wait | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What people, and failures, have said about the waves of a job."""

    approved: frozenset[int] = frozenset()
    held: Mapping[int, str] = field(default_factory=dict)  # wave -> why; 0 holds them all
    been_held: frozenset[int] = frozenset()  # also those that people have let go since


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What this execution has already attempted in one wave, not to attempt it again."""

    left: int = 0  # targets that were ready, and are not active all the same
    unconfirmed: int = 0  # active targets that could not be confirmed
    asked: int = 0  # targets whose acknowledgement was asked for in vain
    refused: str | None = None  # why a hook does not let the wave begin


NOTHING_TRIED = Tried()


def standing_of(events: Iterable[EventRecord]) -> dict[int, Standing]:
    """Return the standing of each job, by position, from the run's events in order.

    An approval lifts whatever holds the wave; a later failure holds it again.
    """
    standings: dict[int, Standing] = {}
    for event in events:
        job, wave = event.body.get("job"), event.body.get("wave")
        if not isinstance(job, int) or not isinstance(wave, int):
            continue
        standing = standings.get(job, Standing())
        held = dict(standing.held)
        approved, been_held = standing.approved, standing.been_held
        if event.kind == HELD:
            held[wave] = str(event.body.get("detail", ""))
            been_held |= {wave}
        elif event.kind == APPROVED:
            held.pop(wave, None)
            held.pop(0, None)
            approved |= {wave}
        standings[job] = Standing(approved=approved, held=held, been_held=been_held)
    return standings


def standings(notes: Callable[[str], Iterable[EventRecord]]) -> dict[int, Standing]:
    """Return the standing of each job, by position; `notes` reads a run's events of one kind."""
    events = [*notes(HELD), *notes(APPROVED)]
    return standing_of(sorted(events, key=lambda event: event.seq))


def next_step(
    waves: Sequence[WaveCounts],
    rollout: Rollout,
    standing: Standing,
    now: datetime,
    *,
    staging_is_over: bool,
    confirms: bool = False,
    tried: Mapping[int, Tried] | None = None,
) -> Step:
    """Say what is to be done about a job's waves at this moment of the org's clock.

    `confirms`: what is active counts only once it was seen to be so after its wave.
    """
    waiting: Wait | None = None
    if 0 in standing.held:
        return Wait(gating=Gating.HELD, detail=standing.held[0])
    before: WaveCounts | None = None
    for counts in waves:
        mine = (tried or {}).get(counts.wave, NOTHING_TRIED)
        step = wave_step(counts, before, rollout, standing, now, staging_is_over, mine)
        if (
            confirms
            and unconfirmed(counts) > mine.unconfirmed
            and not isinstance(step, Begin | Ask)
        ):
            return Confirm(wave=counts.wave)
        if isinstance(step, Begin | Ask):
            return step
        if isinstance(step, Wait):
            if not may_be_overtaken(step, counts):
                return step
            waiting = waiting or step
        if counts.ended_at is not None:
            before = counts
    return Finished(waiting=waiting)


def awaiting_people(
    waves: Sequence[WaveCounts], rollout: Rollout, standing: Standing
) -> int | None:
    """Return the first wave that people have to let go, also ahead of its time; None if none.

    0 stands for all waves of the job, where they are held together.
    """
    if 0 in standing.held:
        return 0
    for counts in waves:
        unfinished = counts.pending > counts.failed or left_to_do(counts)
        missing = rollout.gate.approval and counts.wave not in standing.approved
        if counts.wave in standing.held or (unfinished and missing):
            return counts.wave
    return None


def may_be_overtaken(step: Wait, counts: WaveCounts) -> bool:
    """Say whether later waves may go although this one still waits."""
    return step.gating is Gating.ACKNOWLEDGEMENT and active(counts) > 0


def wave_step(
    counts: WaveCounts,
    before: WaveCounts | None,
    rollout: Rollout,
    standing: Standing,
    now: datetime,
    staging_is_over: bool,  # noqa: FBT001 - passed on
    tried: Tried,
) -> Step | None:
    """Say what is to be done about one wave; None when nothing is left to do in it."""
    wave = counts.wave
    if wave in standing.held:
        return Wait(gating=Gating.HELD, detail=standing.held[wave], wave=wave)
    unready = unready_of(counts, rollout)
    ready = max(0, left_to_do(counts) - unready - tried.left)
    if not staging_is_over and counts.pending > counts.failed and not has_begun(counts):
        detail = f"{numbered(counts.pending - counts.failed)} to be staged"
        return Wait(gating=Gating.STAGING, detail=detail, wave=wave)
    if ready + unready == 0:
        return None
    blocked = time_gate(counts, before, rollout, now)
    if blocked is None and tried.refused is not None:
        blocked = Wait(gating=Gating.HOOK, detail=tried.refused, wave=wave)
    if blocked is None and rollout.gate.approval and wave not in standing.approved:
        blocked = Wait(gating=Gating.APPROVAL, detail="approval (okta-keys approve)", wave=wave)
    if blocked is not None:
        return blocked
    if rollout.gate.acknowledge_by is not None and unready > tried.asked:
        return Ask(wave=wave)
    if ready > 0:
        return Begin(wave=wave)
    detail = f"acknowledgement of {numbered(unready)}"
    return Wait(gating=Gating.ACKNOWLEDGEMENT, detail=detail, wave=wave)


def time_gate(
    counts: WaveCounts, before: WaveCounts | None, rollout: Rollout, now: datetime
) -> Wait | None:
    """Return what time still keeps the wave from, the pause after the last one included."""
    if before is not None and before.ended_at is not None and not has_begun(counts):
        until = before.ended_at + timedelta(seconds=rollout.pause_seconds)
        if until > now:
            detail = f"the pause after wave {before.wave}"
            return Wait(gating=Gating.PAUSE, detail=detail, wave=counts.wave, until=until)
    opens = rollout.gate.opens_at(counts.staged_at or now, now)
    if opens is None:
        return Wait(gating=Gating.TIME, detail="a time that never comes", wave=counts.wave)
    if opens > now:
        detail = " and ".join(time_gates(rollout.gate))
        return Wait(gating=Gating.TIME, detail=detail, wave=counts.wave, until=opens)
    return None


def time_gates(gate: Gate) -> list[str]:
    """Return the names of the gates of time that a plan has set."""
    named = {
        "after": gate.after_seconds is not None or gate.not_before is not None,
        "window": bool(gate.windows),
        "blackout": bool(gate.blackout),
    }
    return [name for name, is_set in named.items() if is_set]


def active(counts: WaveCounts) -> int:
    """Return how many targets of a wave sign with the key."""
    return sum(number for state, number in counts.activations.items() if state and state.is_active)


def has_begun(counts: WaveCounts) -> bool:
    """Say whether any target of the wave has got as far as an activation."""
    return any(number for state, number in counts.activations.items() if state is not None)


def unready_of(counts: WaveCounts, rollout: Rollout) -> int:
    """Return how many targets of a wave wait for somebody to say that they are ready."""
    return counts.unacknowledged if rollout.gate.acknowledged else 0


def left_to_do(counts: WaveCounts) -> int:
    """Return how many staged targets of a wave an activation could still be attempted on."""
    numbers = counts.activations
    open_ones = numbers.get(None, 0) + numbers.get(ActivationState.INTENDED, 0)
    return open_ones + numbers.get(ActivationState.FAILED, 0) - counts.unretryable


def unconfirmed(counts: WaveCounts) -> int:
    """Return how many targets of a wave are active, and were not seen to be so after it."""
    return counts.activations.get(ActivationState.ACTIVATED, 0)


def still_due(counts: WaveCounts, settings: JobSettings) -> int:
    """Return how many targets of a wave a later execution has anything to do about."""
    return left_to_do(counts) + (unconfirmed(counts) if settings.confirms else 0)


def assign(
    sizes: Mapping[int | None, int], rollout: Rollout, *, begun: bool
) -> list[tuple[int, int]] | None:
    """Return which wave takes how many of a job's targets, in plan order; None for no change.

    `sizes` is how many targets each wave has now, None those that are in none: they are new, and
    stand at the end. Until a wave has begun the plan's sizes hold; then what is, stays.
    """
    new = sizes.get(None, 0)
    if begun:
        now = sorted((wave, number) for wave, number in sizes.items() if wave is not None)
        return [*now, (now[-1][0], new)] if new else None
    wanted = list(enumerate(split(sum(sizes.values()), rollout.waves), 1))
    return None if dict(wanted) == dict(sizes) else wanted


def numbered(targets: int) -> str:
    return "1 target" if targets == 1 else f"{targets} targets"


def told(job: str, wait: Wait) -> str:
    """Say what a job waits for."""
    where = f"job {job}, wave {wait.wave}" if wait.wave else f"job {job}"
    if wait.gating is Gating.HELD:
        return f"{where} is held: {wait.detail}"
    until = f", until {wait.until:%Y-%m-%d %H:%M:%S} UTC" if wait.until else ""
    return f"{where} waits for {wait.detail}{until}"


def stop_of(waits: Mapping[str, Wait]) -> StopRecord | None:
    """Return what keeps a run from going on: a wave that is held, or gates that are not open."""
    if not waits:
        return None
    detail = "; ".join(told(job, wait) for job, wait in waits.items())
    if any(wait.gating is Gating.HELD for wait in waits.values()):
        hint = "see what went wrong, then let it go on: okta-keys approve RUN"
        return StopRecord(cause=StopCause.WAVE, detail=detail, hint=hint)
    hint = "run the plan again from then on, or stay with --wait"
    return StopRecord(cause=StopCause.WAITING, detail=detail, hint=hint)
