"""The estimate of a bucket's time: reasonable in itself, and true to the gate that it foretells."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.okta.outlook import Outlook, estimated_seconds
from orchestrator.okta.pacing import BucketView
from tests.property.pacing_world import Simulation, World

ROUND_TRIP = 0.07  # of the simulated world, on average
shares = st.integers(1, 300)
call_counts = st.integers(0, 2000)
costs = st.sampled_from([0.0, 0.001, 0.02, 0.5, 7.0])


@st.composite
def views(draw: st.DrawFn) -> BucketView:
    share, window = draw(shares), draw(st.sampled_from([1.0, 4.0, 60.0]))
    has_ended = draw(st.booleans())
    return BucketView(
        limit=share * 2,
        share=share,
        free=share if has_ended else draw(st.integers(0, share)),
        window_seconds=window,
        seconds_to_edge=0.0 if has_ended else draw(st.floats(0.0, window + 1.0)),
        round_trip=0.1,
    )


@given(view=st.none() | views(), cost=costs)
def test_no_calls_cost_no_time(view: BucketView | None, cost: float) -> None:
    assert estimated_seconds(0, view, seconds_per_call=cost) == 0.0


@given(view=st.none() | views(), calls=call_counts, more=call_counts, cost=costs)
def test_more_calls_take_no_less_time(
    view: BucketView | None, calls: int, more: int, cost: float
) -> None:
    few = estimated_seconds(calls, view, seconds_per_call=cost)
    many = estimated_seconds(calls + more, view, seconds_per_call=cost)
    assert few <= many + 1e-9
    assert many >= more * cost * (1 - 1e-9), "no call is faster than it is without a limit"


@given(view=views(), calls=call_counts)
def test_no_window_lets_more_through_than_its_share(view: BucketView, calls: int) -> None:
    seconds = estimated_seconds(calls, view, seconds_per_call=0.0)
    first = view.free if view.seconds_to_edge else view.share
    windows = math.ceil(max(0, calls - first) / view.share)  # besides the one that is open
    assert seconds >= (windows - 1) * view.window_seconds
    assert seconds <= (windows + 1) * (view.window_seconds + 1.1)


@given(view=views(), parts=st.lists(st.integers(1, 50), max_size=20), cost=costs)
def test_calls_in_parts_take_as_long_as_all_of_them_at_once(
    view: BucketView, parts: list[int], cost: float
) -> None:
    outlook = Outlook(view)
    outlook.expect(sum(parts))
    done = 0.0
    for calls in parts:
        done = outlook.spend(calls, done, seconds_per_call=cost)
    whole = estimated_seconds(sum(parts), view, seconds_per_call=cost)
    # Where calls are slower than their window, each part may end one in another window.
    assert done == pytest.approx(whole) or cost * max(parts) > view.window_seconds / 4


@given(view=views(), idle=st.floats(0.0, 500.0))
def test_what_is_planned_later_is_done_later(view: BucketView, idle: float) -> None:
    assert Outlook(view).spend(1, idle, seconds_per_call=0.1) >= idle + 0.1 - 1e-9


@given(
    seed=st.integers(0, 10_000),
    limit=st.sampled_from([20, 50, 100, 300]),
    window=st.sampled_from([5.0, 10.0, 60.0]),
    capacity=st.sampled_from([0.5, 0.9, 1.0]),
    workers=st.integers(2, 20),
    before=st.floats(0.0, 2.5),
    windows=st.floats(3.0, 8.0),
    pause=st.sampled_from([0.0, 0.3, 2.0]),
)
@example(seed=1, limit=50, window=60.0, capacity=0.9, workers=10, before=2.0, windows=3.0, pause=0)
@settings(max_examples=60, deadline=None)
def test_the_estimate_is_within_a_tenth_of_the_gate_that_it_foretells(
    seed: int,
    limit: int,
    window: float,
    capacity: float,
    workers: int,
    before: float,
    windows: float,
    pause: float,
) -> None:
    """One program looks, as a preview does, and stops; another has the calls to make, and no idea.

    `before` and `windows` are how many windows' worth of calls each of them makes. Where the last
    window is just full, or just not, a few calls that the gate keeps back for others, or sends to
    find out how things are, make a whole window; so as few more or less are as good an estimate.
    """
    share = max(1, math.floor(limit * capacity))
    looking = Simulation(
        World(
            seed=seed,
            calls=1 + int(before * share),
            limit=limit,
            window=window,
            capacity=capacity,
            workers=workers,
        )
    )
    looking.run()
    started = looking.now + pause * window
    view = looking.gate.view(started)
    assert view is not None
    calls = int(windows * share)
    few = 1 + math.ceil(0.03 * limit)
    least, most = (
        estimated_seconds(number, view, seconds_per_call=ROUND_TRIP / workers)
        for number in (calls - few, calls + few)
    )
    going = Simulation(
        World(
            seed=seed + 1,
            calls=calls,
            limit=limit,
            window=window,
            capacity=capacity,
            workers=workers,
        )
    )
    going.server, going.now = looking.server, started
    took = going.run().seconds - started
    assert 0.9 * least <= took <= 1.1 * most
