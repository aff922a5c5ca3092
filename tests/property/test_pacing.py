"""The promises of the pacing, in simulated worlds: no 429 of ours, no token over our share."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.pacing_world import World, simulate

seeds = st.integers(min_value=0, max_value=10_000)


@given(
    seed=seeds,
    limit=st.sampled_from([10, 20, 50, 100, 300]),
    window=st.sampled_from([5.0, 10.0, 60.0]),
    capacity=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    workers=st.integers(min_value=1, max_value=20),
    lazy=st.booleans(),
    skew=st.floats(min_value=-100, max_value=100),
    rounded_up=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_alone_there_is_no_429_and_no_use_beyond_our_share(
    seed: int,
    limit: int,
    window: float,
    capacity: float,
    workers: int,
    lazy: bool,
    skew: float,
    rounded_up: bool,
) -> None:
    share = max(1, math.floor(limit * capacity))
    story = simulate(
        World(
            seed=seed,
            calls=share * 2 + 3,
            limit=limit,
            window=window,
            capacity=capacity,
            workers=workers,
            lazy=lazy,
            skew=skew,
            reset_rounded_up=rounded_up,
        )
    )
    assert story.refused == 0
    assert max(story.ours_by_window) <= share


@given(
    seed=seeds,
    limit=st.sampled_from([10, 20, 50, 250]),
    window=st.sampled_from([5.0, 60.0]),
    capacity=st.sampled_from([0.5, 0.9, 1.0]),
    workers=st.integers(min_value=1, max_value=20),
    hold=st.sampled_from([0.05, 0.5, 4.0, 40.0]),
    unused=st.sampled_from([0.0, 0.3, 1.0]),
    rounded_up=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_slots_that_are_held_ahead_cause_no_429_and_no_use_beyond_our_share(
    seed: int,
    limit: int,
    window: float,
    capacity: float,
    workers: int,
    hold: float,
    unused: float,
    rounded_up: bool,
) -> None:
    """Held over any number of edges, used or given back: every call is made, none is refused."""
    share = max(1, math.floor(limit * capacity))
    story = simulate(
        World(
            seed=seed,
            calls=share * 2 + 3,
            limit=limit,
            window=window,
            capacity=capacity,
            workers=workers,
            reset_rounded_up=rounded_up,
            hold=hold,
            unused=unused,
        )
    )
    assert story.refused == 0
    assert max(story.ours_by_window, default=0) <= share


@pytest.mark.parametrize("limit", [10, 50, 100])
def test_alone_little_time_is_lost_per_edge(limit: int) -> None:
    edges, losses = 3, []
    for seed in range(20):
        calls = limit * edges + limit // 2
        story = simulate(World(seed=seed, calls=calls, limit=limit, window=60.0))
        last_calls = 1.0  # half a window's tokens, at ten workers and some 70 ms each
        losses.append((story.seconds - last_calls) / edges - 60.0)
    assert max(losses) < 1.5
    assert statistics.median(losses) / 60.0 < 0.03


@pytest.mark.parametrize("burst", [1, 3])
@pytest.mark.parametrize(("limit", "window"), [(120, 6.0), (50, 60.0), (100, 10.0)])
def test_with_a_rival_fewer_than_one_429_in_a_thousand(
    limit: int, window: float, burst: int
) -> None:
    stories = [
        simulate(
            World(
                seed=seed,
                calls=limit * 4,
                limit=limit,
                window=window,
                rival=0.3,
                rival_burst=burst,
            )
        )
        for seed in range(1000, 1030)
    ]
    refused = sum(story.refused for story in stories)
    sent = sum(story.sent for story in stories)
    assert 1000 * refused / sent < 1.0


def test_the_simulated_rival_does_take_its_share() -> None:
    """Without this the test above could pass for want of a rival."""
    alone = simulate(World(seed=5, calls=400, limit=100, window=10.0))
    shared = simulate(World(seed=5, calls=400, limit=100, window=10.0, rival=0.3))
    assert len(shared.ours_by_window) > len(alone.ours_by_window)
