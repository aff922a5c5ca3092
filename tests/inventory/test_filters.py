"""Which rows are listed, and in which order."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.inventory.filters import Filters, Listed, Order, listing
from orchestrator.inventory.record import Inventory, rows_of
from tests.inventory.drafts import app, certificate, idp, inventory_of, kid
from tests.inventory.inventories import KIDS, few, inventories

filters = st.builds(
    Filters,
    expiring_within=st.none() | st.integers(0, 200).map(lambda days: timedelta(days=days)),
    sha1=st.booleans(),
    shared=st.booleans(),
    status=st.sampled_from([None, "active", "INACTIVE"]),
    label=st.sampled_from([None, "", "a", "=1"]),
    signing_with=st.none() | st.sampled_from(KIDS),
)


@few
@given(inventories(), filters, st.booleans())
def test_what_is_listed_is_what_each_filter_lets_through(
    inventory: Inventory, asked: Filters, lists_all: bool
) -> None:
    listed = {
        each.row.holder.id for each in listing([inventory], asked, Order.ORG, lists_all=lists_all)
    }
    expected = set()
    for holder in inventory.holders:
        found = inventory.certificates.get(holder.kid) if holder.kid else None
        sharing = sum(
            (each.kid, each.resource) == (holder.kid, holder.resource) for each in inventory.holders
        )
        end = None if found is None else found.not_after - inventory.taken_at
        wrong = (
            not (holder.signs or lists_all),
            asked.expiring_within is not None and (end is None or end > asked.expiring_within),
            asked.sha1 and (found is None or found.signature_hash != "sha1"),
            asked.shared and (holder.kid is None or sharing < 2),
            asked.status and (holder.status or "").lower() != asked.status.lower(),
            asked.label and asked.label.casefold() not in holder.label.casefold(),
            asked.signing_with is not None and holder.kid != asked.signing_with,
        )
        if not any(wrong):
            expected.add(holder.id)
    assert listed == expected


@few
@given(st.lists(inventories(), max_size=2), st.sampled_from(Order))
def test_every_order_has_all_rows_and_is_stable(given: list[Inventory], order: Order) -> None:
    plain = listing(given, Filters(), Order.ORG, lists_all=True)
    assert [each.row for each in plain] == [row for each in given for row in rows_of(each)]
    ordered = listing(given, Filters(), order, lists_all=True)
    places = {(id(each.inventory), each.row.holder.id): place for place, each in enumerate(plain)}

    def rank(each: Listed) -> Any:
        row = each.row
        return {
            Order.EXPIRY: (row.left is None, row.left or timedelta()),
            Order.LABEL: row.holder.label.casefold(),
            Order.SHARING: (-row.sharing, row.holder.kid or ""),
            Order.ORG: 0,
        }[order]

    def place(each: Listed) -> int:
        return places[id(each.inventory), each.row.holder.id]

    assert len(ordered) == len(plain)
    for one, next_ in pairwise(ordered):
        assert (rank(one), place(one)) < (rank(next_), place(next_))


def test_a_time_left_that_is_no_whole_day_is_compared_exactly() -> None:
    inventory = inventory_of(app(1, 1), days={1: 0.8})  # 19.2 hours
    for hours, number in ((19, 0), (20, 1), (24, 1)):
        asked = Filters(expiring_within=timedelta(hours=hours))
        assert len(listing([inventory], asked, Order.ORG)) == number


def test_days_left_are_rounded_down() -> None:
    inventory = inventory_of(app(1, 1), app(2, 2), app(3, 3), days={1: 0.8, 2: -0.2, 3: 60})
    assert [row.days_left for row in rows_of(inventory)] == [0, -1, 60]
    assert certificate(60).not_after == inventory.certificates[kid(3)].not_after


def test_an_app_and_an_identity_provider_do_not_share() -> None:
    inventory = inventory_of(app(1, 1), app(2, 1), idp(3, 1))
    assert [row.sharing for row in rows_of(inventory)] == [2, 2, 1]
