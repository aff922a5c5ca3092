"""A job acted out target by target: its people, its clock, and what a process remembers.

`next_step` sees only how many targets there are. What may begin is worked out here from the
targets themselves, in the words of the documentation, so that the two can be held together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from random import Random

from hypothesis import strategies as st

from orchestrator.engine.gates import (
    APPROVED,
    HELD,
    Ask,
    Begin,
    Confirm,
    Gating,
    Standing,
    Step,
    Tried,
    Wait,
    assign,
    awaiting_people,
    next_step,
    standing_of,
)
from orchestrator.model import ActivationState
from orchestrator.rollout import Gate, HookCommand, Rollout, Window, failures_allowed
from orchestrator.store.base import EventRecord, WaveCounts

S = ActivationState
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
FINAL = (S.ACTIVATED, S.VERIFIED, S.SKIPPED)


@dataclass(slots=True)
class Member:
    """A target, and what is going to happen to it."""

    wave: int
    clones: int | None  # that it takes to stage it; None: it never works
    failures: int  # of its first attempts, each of which may be repeated
    then: ActivationState  # what the attempt after these comes to; FAILED for good
    command_says: bool
    looks_in_vain: int  # how often it cannot be seen whether it signs with the key
    drifts: bool  # until it is looked at
    was_tried: bool = False  # to be staged
    is_settled: bool = False  # by the staging of this execution
    staged_at: datetime | None = None
    is_acknowledged: bool = False
    state: ActivationState | None = None
    is_retryable: bool = True
    at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Say whether an activation may still be attempted."""
        return self.staged_at is not None and self.state not in FINAL and self.is_retryable

    def attempt(self, now: datetime) -> bool:
        """Try to activate it; say whether that worked."""
        self.at = now
        if self.failures:
            self.failures -= 1
            self.state = S.FAILED
        else:
            self.state = self.then
            self.is_retryable = self.then is not S.FAILED
        return self.state is not S.FAILED

    def confirm(self, now: datetime) -> bool:
        """Look whether it signs with the key; say whether it does, or nobody knows."""
        if self.looks_in_vain:
            self.looks_in_vain -= 1
            return True
        self.at = now
        self.state = S.FAILED if self.drifts else S.VERIFIED
        self.is_retryable = not self.drifts
        return not self.drifts

    def end(self, *, confirms: bool) -> ActivationState | None:
        """Return the state in which it has to be in the end."""
        if self.clones is None:
            return None
        if confirms and self.then is S.ACTIVATED:
            return S.FAILED if self.drifts else S.VERIFIED
        return self.then


@dataclass(slots=True)
class Execution:
    """What one process remembers of what it has done."""

    attempted: set[int] = field(default_factory=set)  # positions
    asked: set[int] = field(default_factory=set)  # in vain
    refused: set[int] = field(default_factory=set)  # waves that a hook did not let go
    failed: dict[int, int] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)  # were ready, and may still be attempted
    unconfirmed: dict[int, int] = field(default_factory=dict)


@dataclass
class World:
    """One job, and the people around it."""

    rollout: Rollout
    members: list[Member]
    random: Random
    now: datetime = NOON
    is_staged: bool = False
    events: list[EventRecord] = field(default_factory=list)
    execution: Execution = field(default_factory=Execution)
    confirms: bool = False
    refusals: int = 0  # how often a hook still says no

    # What the store and the process would tell.

    def waves(self) -> list[WaveCounts]:
        numbers = sorted({member.wave for member in self.members})
        return [self.counts(number) for number in numbers]

    def of(self, wave: int) -> list[Member]:
        return [member for member in self.members if member.wave == wave]

    def counts(self, wave: int) -> WaveCounts:
        members = self.of(wave)
        staged = [member for member in members if member.staged_at is not None]
        pending = [member for member in members if member.staged_at is None]
        open_ones = [each for each in staged if each.state not in FINAL]
        return WaveCounts(
            wave=wave,
            targets=len(members),
            pending=len(pending),
            failed=sum(member.was_tried for member in pending),
            unacknowledged=sum(not member.is_acknowledged for member in open_ones),
            activations={
                state: sum(member.state is state for member in staged) for state in (None, *S)
            },
            unretryable=sum(not member.is_retryable for member in staged),
            staged_at=max((each.staged_at for each in staged if each.staged_at), default=None),
            ended_at=max((each.at for each in staged if each.at), default=None),
        )

    def standing(self) -> Standing:
        return standing_of(self.events).get(0, Standing())

    def tried(self) -> Mapping[int, Tried]:
        in_vain = [n for n in self.execution.asked if not self.members[n].is_acknowledged]
        asked = [self.members[position].wave for position in in_vain]
        left = [self.members[position].wave for position in self.execution.left]
        return {
            wave: Tried(
                left=left.count(wave),
                unconfirmed=self.execution.unconfirmed.get(wave, 0),
                asked=asked.count(wave),
                refused="no" if wave in self.execution.refused else None,
            )
            for wave in {member.wave for member in self.members}
        }

    def step(self) -> Step:
        return next_step(
            self.waves(),
            self.rollout,
            self.standing(),
            self.now,
            staging_is_over=self.is_staged,
            confirms=self.confirms,
            tried=self.tried(),
        )

    # What is right, worked out from the targets.

    def is_ready(self, position: int) -> bool:
        member = self.members[position]
        return (
            member.is_open
            and position not in self.execution.attempted
            and (member.is_acknowledged or not self.rollout.gate.acknowledged)
        )

    def ready(self, wave: int) -> list[int]:
        return [
            n for n, member in enumerate(self.members) if member.wave == wave if self.is_ready(n)
        ]

    def silent(self, wave: int) -> list[int]:
        """Return the targets that nobody has acknowledged, though somebody has to."""
        if not self.rollout.gate.acknowledged:
            return []
        return [
            position
            for position, member in enumerate(self.members)
            if member.wave == wave and member.is_open and not member.is_acknowledged
        ]

    def may_go(self, wave: int) -> bool:
        """Say whether nothing but its targets, and the waves before it, keep a wave back."""
        members = self.of(wave)
        has_begun = any(member.state is not None for member in members)
        untried = any(each.staged_at is None and not each.was_tried for each in members)
        ends = [
            max(ended)
            for earlier in range(1, wave)
            if (ended := [member.at for member in self.of(earlier) if member.at])
        ]
        pause = timedelta(seconds=self.rollout.pause_seconds)
        staged_at = max((each.staged_at for each in members if each.staged_at), default=self.now)
        standing = self.standing()
        return (
            not {0, wave} & set(standing.held)
            and (has_begun or self.is_staged or not untried)
            and (has_begun or not ends or ends[-1] + pause <= self.now)
            and self.rollout.gate.opens_at(staged_at, self.now) == self.now
            and (not self.rollout.gate.approval or wave in standing.approved)
            and wave not in self.execution.refused
        )

    def holds_up(self, wave: int) -> bool:
        """Say whether the waves after this one have to wait for it."""
        ready, silent = self.ready(wave), self.silent(wave)
        members = self.of(wave)
        has_begun = any(member.state is not None for member in members)
        untried = any(each.staged_at is None and not each.was_tried for each in members)
        if wave in self.standing().held or (untried and not (self.is_staged or has_begun)):
            return True
        if ready or (silent and not self.may_go(wave)):
            return True
        return bool(silent) and not any(each.state in (S.ACTIVATED, S.VERIFIED) for each in members)

    def unasked(self, wave: int) -> bool:
        by_command = self.rollout.gate.acknowledge_by is not None
        return by_command and bool(set(self.silent(wave)) - self.execution.asked)

    def unseen(self, wave: int) -> int:
        """Return how many active targets this execution has not yet tried to confirm."""
        active = sum(member.state is S.ACTIVATED for member in self.of(wave))
        return active - self.execution.unconfirmed.get(wave, 0) if self.confirms else 0

    def expected(self) -> Begin | Ask | Confirm | None:
        """Return what is to be done now, if anything is."""
        if 0 in self.standing().held:
            return None
        for wave in sorted({member.wave for member in self.members}):
            if self.may_go(wave) and self.unasked(wave):
                return Ask(wave=wave)
            if self.may_go(wave) and self.ready(wave):
                return Begin(wave=wave)
            if self.unseen(wave):
                return Confirm(wave=wave)
            if self.holds_up(wave):
                return None
        return None

    # What happens.

    def begin(self, wave: int) -> None:
        """Attempt what is ready, as far as the wave may fail."""
        if self.refusals and self.random.random() < 0.5:
            self.refusals -= 1
            self.execution.refused.add(wave)
            return
        most = failures_allowed(self.rollout.stop_after_failures, len(self.of(wave)))
        failed, ready = self.execution.failed.get(wave, 0), self.ready(wave)
        for position in ready:
            if failed >= most:
                break
            self.now += timedelta(seconds=1)
            self.execution.attempted.add(position)
            failed += not self.members[position].attempt(self.now)
        self.execution.left.update(n for n in ready if self.members[n].is_open)
        self.execution.failed[wave] = failed
        if failed >= most:
            self.note(HELD, wave)

    def confirm(self, wave: int) -> None:
        """Look at whatever of a wave is active and was not confirmed."""
        failed = 0
        for member in self.of(wave):
            if member.state is S.ACTIVATED:
                self.now += timedelta(seconds=1)
                failed += not member.confirm(self.now)
        self.execution.unconfirmed[wave] = self.counts(wave).activations[S.ACTIVATED]
        if failed:
            self.note(HELD, wave)

    def ask(self, wave: int) -> None:
        for position in self.silent(wave):
            if self.members[position].command_says:
                self.members[position].is_acknowledged = True
            else:
                self.execution.asked.add(position)

    def note(self, kind: str, wave: int) -> None:
        body = {"job": 0, "wave": wave, "detail": "so many failed"}
        self.events.append(EventRecord(seq=len(self.events) + 1, at=self.now, kind=kind, body=body))

    def stage_one(self) -> None:
        """Try to stage one target, if any is left."""
        pending = [each for each in self.members if each.staged_at is None and not each.is_settled]
        if not pending:
            self.is_staged = True
            return
        member = self.random.choice(pending)
        member.was_tried = member.is_settled = True
        self.now += timedelta(seconds=1)
        if member.clones is not None:
            member.clones -= 1
            member.staged_at = None if member.clones else self.now

    def acknowledge_one(self) -> bool:
        """Let one owner say that a target is ready; say whether there was one."""
        silent = [each for each in self.members if each.is_open and not each.is_acknowledged]
        if silent and self.rollout.gate.acknowledged:
            self.random.choice(silent).is_acknowledged = True
            return True
        return False

    def go_on(self, wait: Wait | None) -> bool:
        """Let somebody, or time, do what is waited for; say whether that can change anything."""
        moves = [] if self.is_staged else [self.stage_one]
        if wait is not None and wait.gating in (Gating.APPROVAL, Gating.HELD):
            moves.append(self.approve)
        if wait is not None and wait.gating is Gating.HOOK:
            moves.append(self.start_again)
        if wait is not None and (until := wait.until) is not None:
            moves.append(lambda: self.sleep_until(until))
        if moves and self.random.random() < 0.8:
            self.random.choice(moves)()
            return True
        if self.acknowledge_one():
            return True
        if moves:
            self.random.choice(moves)()
            return True
        to_retry = [S.FAILED, S.ACTIVATED] if self.confirms else [S.FAILED]
        is_over = not any(
            (each.state in to_retry and each.is_retryable)
            or (each.staged_at is None and each.clones is not None)
            for each in self.members
        )
        if not is_over:
            self.start_again()
        return not is_over

    def approve(self) -> None:
        """Say that the wave which waits for people may go on, and run the plan again."""
        wave = awaiting_people(self.waves(), self.rollout, self.standing())
        assert wave is not None
        self.note(APPROVED, wave)
        self.start_again()

    def sleep_until(self, until: datetime) -> None:
        assert until > self.now
        self.now = until

    def start_again(self) -> None:
        """Run the plan again, which also tries again to stage what was not."""
        self.execution = Execution()
        self.is_staged = False
        for member in self.members:
            member.is_settled = False


windows = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 6), min_size=1, max_size=3),
    start=st.just(time(2)),
    end=st.just(time(6)),
    zone=st.sampled_from(["UTC", "Europe/London"]),
)
gates = st.builds(
    Gate,
    after_seconds=st.sampled_from([None, 0.0, 3.0, 3600.0]),
    not_before=st.sampled_from([None, NOON + timedelta(hours=5)]),
    windows=st.lists(windows, max_size=1).map(tuple),
    acknowledged=st.booleans(),
    acknowledge_by=st.sampled_from([None, HookCommand(argv=("ask",))]),
    approval=st.booleans(),
)
sizes = st.sampled_from([1, 2, 3, 0.1, 0.5, 1.0])
rollouts = st.builds(
    Rollout,
    gate=gates,
    waves=st.lists(sizes, min_size=1, max_size=4).map(tuple),
    pause_seconds=st.sampled_from([0.0, 2.0, 600.0]),
    stop_after_failures=st.sampled_from([1, 2, 0.5, 1.0]),
)
members = st.builds(
    Member,
    wave=st.just(0),
    clones=st.sampled_from([1, 1, 1, 2, None]),
    failures=st.sampled_from([0, 0, 0, 1, 2]),
    then=st.sampled_from([S.ACTIVATED, S.ACTIVATED, S.ACTIVATED, S.SKIPPED, S.FAILED]),
    command_says=st.booleans(),
    looks_in_vain=st.sampled_from([0, 0, 1]),
    drifts=st.sampled_from([False, False, False, True]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    rollout, targets = draw(rollouts), draw(st.lists(members, min_size=1, max_size=9))
    waves = assign({None: len(targets)}, rollout, begun=False) or []
    numbers = [wave for wave, number in waves for _ in range(number)]
    for target, number in zip(targets, numbers, strict=True):
        target.wave = number
    return World(
        rollout,
        targets,
        draw(st.randoms(use_true_random=False)),
        confirms=draw(st.booleans()),
        refusals=draw(st.integers(0, 2)),
    )
