"""The gate's rules one by one, in numbers."""

from __future__ import annotations

import math
from random import Random

import pytest

from orchestrator.okta.outlook import estimated_seconds
from orchestrator.okta.pacing import (
    FIRST_IN_FLIGHT,
    BucketView,
    ServerClock,
    WindowGate,
)
from orchestrator.okta.wire import RateHeaders

EPOCH = 1_700_000_000


def gate(capacity: float = 1.0) -> WindowGate:
    return WindowGate(ServerClock(), capacity=capacity, random=Random(1))


def answer(remaining: int, *, limit: int = 50, reset: int = 60, date: int = 0) -> RateHeaders:
    return RateHeaders(limit=limit, remaining=remaining, reset=EPOCH + reset, date=EPOCH + date)


def opened(remaining: int = 49, **given: float) -> WindowGate:
    """Return a gate whose probe was answered at local time 0.1."""
    opened_gate = gate(**given)
    assert opened_gate.reserve(0.0) == 0.0
    opened_gate.observe(answer(remaining), 200, 0.0, 0.1)
    return opened_gate


def test_without_knowledge_exactly_one_probe_goes() -> None:
    fresh = gate()
    assert fresh.reserve(0.0) == 0.0
    assert fresh.reserve(0.0) == math.inf
    assert fresh.reserve(4.9) == math.inf
    assert fresh.reserve(5.1) == 0.0  # a probe that is never answered does not block for ever


def test_calls_in_flight_are_subtracted_from_what_remains() -> None:
    lane = opened(remaining=3)
    lane.foreign.seen_at = -math.inf
    lane.foreign.looked_at = 100.0  # seen to be alone: no margin
    assert [lane.reserve(0.2) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert lane.reserve(0.2) > 50


def test_capacity_bounds_our_calls_in_a_window() -> None:
    lane = opened(capacity=0.5)
    assert lane.share == 25
    granted = 0
    for step in range(100):
        now = 0.2 + step * 0.01
        if lane.reserve(now) == 0.0:
            granted += 1
            lane.observe(answer(48 - granted), 201, now, now + 0.005)
    assert granted == 24  # and the probe


def test_work_that_fits_is_not_spread() -> None:
    lane = opened()
    lane.expected = 10
    assert [lane.reserve(0.2) for _ in range(10)] == [0.0] * 10


def test_work_that_does_not_fit_is_spread_over_the_window() -> None:
    lane = opened()
    lane.expected = 500
    assert lane.reserve(0.2) > 0
    assert lane.reserve(2.0) == 0.0
    assert 0.5 < lane.reserve(2.0) < 2.0  # some 58 seconds for 48 calls


def test_the_edge_is_taken_as_late_as_rounding_allows() -> None:
    lane = opened(remaining=0)
    closing = lane.closing(1.0)
    assert 61.0 <= closing <= 62.2
    assert lane.reserve(closing - 0.01) > 0
    assert lane.reserve(closing) == 0.0
    assert lane.reserve(closing) == math.inf  # a probe again


def test_a_probe_that_met_the_old_window_waits_longer_each_time() -> None:
    lane = opened(remaining=5)
    pauses = []
    now = lane.closing(1.0)
    for _ in range(3):
        assert lane.reserve(now) == 0.0
        lane.observe(answer(4, date=math.floor(now + 0.5)), 200, now, now + 0.01)
        pauses.append(round(lane.delay(now + 0.01), 2))
        now += 0.01 + pauses[-1]
    assert pauses == [0.25, 0.5, 1.0]


def test_answers_of_an_older_window_change_nothing() -> None:
    lane = opened(remaining=40)
    assert lane.reserve(0.2) == 0.0
    lane.observe(answer(0, reset=10), 200, 0.2, 0.3)
    assert lane.low == 40


def test_a_newer_window_replaces_the_state() -> None:
    lane = opened(remaining=30)
    assert lane.reserve(0.2) == 0.0
    lane.observe(answer(49, reset=120, date=60), 200, 60.5, 60.6)
    assert lane.low == 49
    assert lane.used == 1


def test_429_empties_the_window() -> None:
    lane = opened()
    lane.reserve(0.2)
    lane.observe(answer(0), 429, 0.2, 0.3)
    assert lane.low == 0
    assert lane.reserve(1.0) > 50


def test_the_concurrency_limit_lowers_flight_and_leaves_the_window_alone() -> None:
    lane = opened()
    lane.reserve(0.2)
    lane.observe(RateHeaders(limit=0, remaining=0, reset=EPOCH + 9, date=EPOCH), 429, 0.2, 0.3)
    assert (lane.low, lane.limit) == (49, 50)
    assert lane.flight_cap == pytest.approx(FIRST_IN_FLIGHT * 0.7, rel=0.05)
    assert 0.0 < lane.reserve(0.3) <= 0.5
    lowered = lane.flight_cap
    lane.lower_flight_cap(0.31)  # the rest of the same crowd
    assert lane.flight_cap == lowered


def test_flight_grows_fast_until_the_org_objects_and_slowly_after() -> None:
    lane = opened()
    before = lane.flight_cap
    lane.reserve(0.2)
    lane.observe(answer(40), 201, 0.2, 0.3)
    fast = lane.flight_cap - before
    lane.lower_flight_cap(1.0)
    before = lane.flight_cap
    lane.reserve(2.0)
    lane.observe(answer(39), 201, 2.0, 2.1)
    assert 0 < lane.flight_cap - before < fast / 10


def test_a_lost_answer_gives_the_slot_back_and_counts_the_token() -> None:
    lane = opened(remaining=10)
    lane.reserve(0.2)
    lane.forget(0.3)
    assert (lane.in_flight, lane.low) == (0, 9)


def test_a_cancelled_reservation_leaves_no_mark() -> None:
    lane = opened(remaining=10)
    before = (lane.in_flight, lane.used, lane.low)
    lane.reserve(0.2)
    lane.cancel(0.2)
    assert (lane.in_flight, lane.used, lane.low) == before


def test_a_cancelled_probe_makes_way_for_another() -> None:
    fresh = gate()
    assert fresh.reserve(0.0) == 0.0
    assert fresh.reserve(0.1) == math.inf
    fresh.cancel(0.0)
    assert fresh.reserve(0.1) == 0.0


def test_cancelling_leaves_the_probe_of_another_call_alone() -> None:
    """A slot from before the edge is given back while the probe of the new window is out."""
    lane = opened(remaining=10)
    assert lane.reserve(0.2) == 0.0
    edge = lane.closing(0.3)
    assert lane.reserve(edge) == 0.0  # the probe
    lane.cancel(0.2)
    assert lane.reserve(edge + 0.1) == math.inf


def test_a_slot_held_over_the_edge_counts_in_the_new_window_until_it_is_cancelled() -> None:
    lane = opened(remaining=40)
    assert lane.reserve(0.2) == 0.0  # held from here on
    edge = lane.closing(0.3)
    assert lane.reserve(edge) == 0.0
    lane.observe(answer(49, reset=122, date=62), 200, edge, edge + 0.1)
    assert (lane.used, lane.in_flight) == (2, 1)
    assert lane.free(edge + 0.2) <= 48
    lane.cancel(0.2)
    assert (lane.used, lane.in_flight) == (1, 0)


def test_a_slot_held_while_the_first_window_opens_is_counted_apart_from_earlier_use() -> None:
    lane = gate()
    assert lane.reserve(0.0) == 0.0
    assert lane.reserve(5.1) == 0.0  # another, since the first gives no sign of life
    lane.observe(answer(20), 200, 5.1, 5.2)
    assert lane.used == 31  # what was used before us, and the one that is held
    lane.cancel(0.0)
    assert lane.used == 30
    assert lane.free(5.3) <= 20


def test_a_cancelled_call_is_not_to_come_any_more() -> None:
    lane = opened()
    lane.expected = 3
    lane.reserve(0.2)
    lane.cancel(0.2)
    assert lane.expected == 2


def test_a_held_slot_that_goes_where_no_window_is_open_is_the_probe() -> None:
    lane = opened(remaining=40)
    assert lane.reserve(0.2) == 0.0
    edge = lane.closing(0.3)
    lane.depart(edge)
    assert lane.reserve(edge + 0.1) == math.inf
    lane.observe(answer(49, reset=122, date=62), 200, edge, edge + 0.2)
    assert lane.reserve(edge + 0.3) == 0.0


def test_a_held_slot_that_goes_in_an_open_window_is_no_probe() -> None:
    lane = opened(remaining=40)
    lane.reserve(0.2)
    lane.depart(1.0)
    assert lane.probe_sent is None
    assert lane.reserve(1.1) == 0.0


def test_an_org_without_rate_headers_is_not_paced() -> None:
    lane = gate()
    lane.reserve(0.0)
    lane.observe(None, 200, 0.0, 0.1)
    assert [lane.reserve(0.1) for _ in range(FIRST_IN_FLIGHT)] == [0.0] * FIRST_IN_FLIGHT
    assert lane.reserve(0.1) == math.inf


def test_an_error_without_headers_teaches_nothing() -> None:
    lane = gate()
    lane.reserve(0.0)
    lane.observe(None, 502, 0.0, 0.1)
    assert not lane.unmetered
    assert lane.reserve(0.1) == pytest.approx(0.25)


def test_the_server_clock_starts_over_when_it_is_stepped() -> None:
    clock = ServerClock()
    clock.observe(1000, 0.0, 0.1)
    clock.observe(1010, 10.0, 10.1)
    assert clock.low <= 1000 <= clock.high
    clock.observe(5000, 20.0, 20.1)
    assert clock.low <= 4980 <= clock.high


def test_the_server_clock_corrects_a_time_only_as_far_as_it_must() -> None:
    clock = ServerClock()
    assert clock.nearest(7.0, 100.0) == 7.0  # nothing is known
    clock.observe(1000, 0.0, 0.5)  # at the local time 0 it is from 999.5 to 1001
    assert clock.is_known
    assert clock.nearest(1010.2, 10.0) == 1010.2
    assert clock.nearest(5.0, 10.0) == 1009.5
    assert clock.nearest(9e9, 10.0) == 1011.0
    clock.observe(5000, 20.0, 20.5)  # stepped
    assert clock.nearest(1020.0, 20.0) == 4999.5


@pytest.mark.parametrize(
    ("calls", "seconds"),
    [(0, 0.0), (40, 4.0), (45, 31.02 + 0.5), (90, 31.02 + 5.0), (95, 31.02 + 61.0 + 0.5)],
)
def test_estimates_count_windows(calls: int, seconds: float) -> None:
    view = BucketView(
        limit=50, share=50, free=40, window_seconds=60.0, seconds_to_edge=31.02, round_trip=0.1
    )
    estimate = estimated_seconds(calls, view, seconds_per_call=0.1)
    assert estimate == pytest.approx(seconds)


def view_of(lane: WindowGate, now: float) -> BucketView:
    view = lane.view(now)
    assert view is not None
    return view


def test_what_is_kept_back_for_others_counts_as_free_until_one_is_seen() -> None:
    lane = opened(remaining=49)
    lane.reserve(0.2)
    lane.observe(answer(10), 200, 0.2, 0.3)  # 38 calls that are not ours
    assert lane.foreign.is_seen
    assert view_of(lane, 0.4).free < 10
    alone = opened(remaining=10)
    assert not alone.foreign.is_seen
    assert alone.free(0.2) < 10
    assert view_of(alone, 0.2).free == 10


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [(49, 12.0), (48, 60.0)],  # we have opened it, and so see it whole; somebody else has
)
def test_a_window_is_as_long_as_it_was_when_we_opened_it(remaining: int, seconds: float) -> None:
    lane = gate()
    lane.reserve(0.0)
    lane.observe(answer(remaining, reset=12), 200, 0.0, 0.1)
    assert view_of(lane, 0.2).window_seconds == seconds
