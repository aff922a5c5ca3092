"""A whole job, acted out: no wave begins that may not, and all of it comes to its end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from orchestrator.engine.gates import (
    APPROVED,
    HELD,
    Ask,
    Begin,
    Confirm,
    Finished,
    Standing,
    assign,
    standing_of,
)
from orchestrator.rollout import Rollout
from orchestrator.store.base import EventRecord
from tests.property.gates_world import NOON, World, rollouts, worlds


@settings(max_examples=120, deadline=None)
@given(world=worlds())
def test_a_job_comes_to_its_end_and_no_wave_begins_that_may_not(world: World) -> None:
    act_out(world)


@pytest.mark.long
@settings(max_examples=400, deadline=None)
@given(world=worlds())
def test_every_job_comes_to_its_end_and_no_wave_begins_that_may_not(world: World) -> None:
    act_out(world)


def act_out(world: World) -> None:
    """Do what each step says, which must be what may be done, until there is nothing to do."""
    begun: list[int] = []
    for _ in range(100 + 40 * len(world.members)):
        step, expected = world.step(), world.expected()
        assert (step if isinstance(step, Begin | Ask | Confirm) else None) == expected
        if isinstance(step, Begin):
            begun.append(step.wave)
            world.begin(step.wave)
        elif isinstance(step, Ask):
            world.ask(step.wave)
        elif isinstance(step, Confirm):
            world.confirm(step.wave)
        elif not world.go_on(step.waiting if isinstance(step, Finished) else step):
            break
    else:
        raise AssertionError(f"it does not end: {world.step()}")
    assert world.step() == Finished()
    for member in world.members:
        assert member.state is member.end(confirms=world.confirms)
    event(f"waves that went: {len(set(begun))}")
    if begun != sorted(begun):
        event("an earlier wave went on after a later one")


@settings(max_examples=200, deadline=None)
@given(world=worlds())
def test_within_one_execution_every_beginning_attempts_something_new(world: World) -> None:
    """Whatever fails, and however often: no loop of beginnings that come to nothing."""
    world.refusals, world.confirms = 0, False
    world.rollout = Rollout(stop_after_failures=len(world.members) + 1)
    for member in world.members:
        member.failures = 99
    for member in world.members:
        member.staged_at = None if member.clones is None else world.now
    world.is_staged = True
    began = 0
    while isinstance(step := world.step(), Begin):
        before = set(world.execution.attempted)
        world.begin(step.wave)
        assert world.execution.attempted > before
        began += 1
    assert began <= len(world.members)
    tried = {n for n, member in enumerate(world.members) if member.staged_at}
    held = world.standing().held
    assert held or world.execution.attempted == tried


def as_sizes(waves: Sequence[int | None]) -> dict[int | None, int]:
    return {wave: waves.count(wave) for wave in waves}


@given(
    total=st.integers(0, 60),
    added=st.integers(0, 20),
    first=rollouts,
    second=rollouts,
    gone=st.sets(st.integers(0, 59)),
)
def test_waves_stay_as_they_are_once_one_has_begun(
    total: int, added: int, first: Rollout, second: Rollout, gone: set[int]
) -> None:
    """Targets go, others come, and the plan's waves change: what is in a wave stays in it."""
    waves = applied(assign({None: total} if total else {}, first, begun=False), total)
    if not total:
        assert waves == []
        return
    assert assign(as_sizes(waves), first, begun=False) is None
    left: list[int | None] = [wave for n, wave in enumerate(waves) if n not in gone]
    if not left:
        return
    found = assign(as_sizes([*left, *[None] * added]), second, begun=True)
    if not added:
        assert found is None
        return
    assert applied(found, len(left) + added) == [*left, *[left[-1]] * added]


@given(sizes=st.dictionaries(st.none() | st.integers(1, 9), st.integers(1, 40)), rollout=rollouts)
def test_until_then_they_are_divided_anew(sizes: dict[int | None, int], rollout: Rollout) -> None:
    total = sum(sizes.values())
    found = assign(sizes, rollout, begun=False)
    fresh = assign({None: total} if total else {}, rollout, begun=False)
    assert found == fresh if found is not None else fresh is None or dict(fresh) == sizes
    if found is not None:
        assert sum(number for _, number in found) == total
        assert [wave for wave, _ in found] == list(range(1, len(found) + 1))
        assert all(number >= 1 for _, number in found)


def applied(waves: Sequence[tuple[int, int]] | None, total: int) -> list[int]:
    """Return the wave of each target in plan order, as the journal would put them."""
    numbers = [wave for wave, number in waves or () for _ in range(number)]
    assert len(numbers) == total
    return numbers


said = st.tuples(st.sampled_from([HELD, APPROVED, "other"]), st.integers(0, 2), st.integers(0, 3))


@given(said=st.lists(said, max_size=12))
def test_the_last_word_on_a_wave_counts(said: list[tuple[str, int, int]]) -> None:
    events = [
        EventRecord(seq=n, at=NOON, kind=kind, body={"job": job, "wave": wave, "detail": f"{n}"})
        for n, (kind, job, wave) in enumerate(said, 1)
    ]
    found = standing_of(events)
    for job in range(3):
        standing = found.get(job, Standing())
        mine = [(kind, wave) for kind, at, wave in said if at == job]
        assert standing.approved == {wave for kind, wave in mine if kind == APPROVED}
        for wave in range(4):
            words = [
                kind
                for kind, of in mine
                if (kind == HELD and of == wave) or (kind == APPROVED and wave in (of, 0))
            ]
            assert (wave in standing.held) == (words[-1:] == [HELD])
        for wave, why in standing.held.items():
            assert said[int(why) - 1] == (HELD, job, wave)
