"""What has changed between two inventories of an org."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.inventory.compare import Change, ChangeKind, compare, is_other_org
from orchestrator.inventory.record import Inventory
from orchestrator.model import AppId, Kid, Resource
from tests.inventory.drafts import app, certificate, idp, inventory_of, kid
from tests.inventory.inventories import KIDS, few, inventories

WITHIN = timedelta(days=90)
OF_TIME = (ChangeKind.ENDED, ChangeKind.EXPIRING)
MIRRORED = {
    ChangeKind.ADDED: ChangeKind.GONE,
    ChangeKind.GONE: ChangeKind.ADDED,
    ChangeKind.KEY_ADDED: ChangeKind.KEY_GONE,
    ChangeKind.KEY_GONE: ChangeKind.KEY_ADDED,
}
Said = tuple[ChangeKind, AppId | None, str | None, str | None, Kid | None]


def said(change: Change) -> Said:
    holder = change.holder.id if change.holder else None
    return (change.kind, holder, change.before, change.after, change.kid)


def of_holders(changes: list[Change]) -> Counter[Said]:
    return Counter(said(change) for change in changes if change.kind not in OF_TIME)


def mirrored(entry: Said) -> Said:
    """Return what the change is when it is taken back."""
    kind, holder, before, after, about = entry
    if kind is ChangeKind.ACTIVATED:
        about = None if before is None else Kid(before)
    return (MIRRORED.get(kind, kind), holder, after, before, about)


@few
@given(inventories(), st.integers(0, 400))
def test_nothing_has_changed_in_an_inventory_itself(inventory: Inventory, days: int) -> None:
    assert compare(inventory, inventory, within=timedelta(days=days)) == []


@few
@given(inventories(), inventories())
def test_the_other_way_round_is_the_reverse(old: Inventory, new: Inventory) -> None:
    there, back = compare(old, new, within=WITHIN), compare(new, old, within=WITHIN)
    assert of_holders(there) == Counter(mirrored(entry) for entry in of_holders(back).elements())
    kinds = list(ChangeKind)
    ranks = [kinds.index(change.kind) for change in there]
    assert ranks == sorted(ranks)


@st.composite
def edited(draw: st.DrawFn) -> tuple[Inventory, Inventory, Counter[Said]]:
    """Make an inventory, a later one with some edits, and say what the edits are."""
    old = replace(draw(inventories()), resources=tuple(Resource))
    holders, others = [], dict(old.other_keys or {})
    told: list[Said] = []
    for holder in old.holders:
        after = holder
        match draw(st.sampled_from(["leave", "remove", "rename", "status", "activate", "key"])):
            case "remove":
                told.append((ChangeKind.GONE, holder.id, None, None, holder.kid))
                others.pop(holder.id, None)
                continue
            case "rename":
                after = replace(holder, label=f"{holder.label}!", last_updated="later")
                told.append((ChangeKind.RENAMED, holder.id, holder.label, after.label, None))
            case "status":
                after = replace(holder, status="DELETED")
                told.append((ChangeKind.STATUS, holder.id, holder.status, "DELETED", None))
            case "activate" if holder.kid is not None:
                # As an activation does it: the new key is held, and the former one is kept.
                kid_, held = Kid("newly active"), others.get(holder.id)
                after = replace(holder, kid=kid_)
                told.append((ChangeKind.ACTIVATED, holder.id, holder.kid, kid_, kid_))
                if held is not None:
                    others[holder.id] = tuple(dict.fromkeys((holder.kid, *held)))
                    told.append((ChangeKind.KEY_ADDED, holder.id, None, None, kid_))
            case "key" if holder.id in others:
                others[holder.id] = (Kid("newly held"), *others[holder.id])
                told.append((ChangeKind.KEY_ADDED, holder.id, None, None, Kid("newly held")))
        holders.append(after)
    for number in range(draw(st.integers(0, 2))):
        added = app(900 + number, None, kid=draw(st.sampled_from(KIDS)))
        holders.insert(draw(st.integers(0, len(holders))), added)
        told.append((ChangeKind.ADDED, added.id, None, None, added.kid))
    listed = None if old.other_keys is None else others
    return old, replace(old, holders=tuple(holders), other_keys=listed), Counter(told)


@few
@given(edited())
def test_every_edit_is_told_and_nothing_else(
    given: tuple[Inventory, Inventory, Counter[Said]],
) -> None:
    old, new, told = given
    assert of_holders(compare(old, new, within=WITHIN)) == told


@few
@given(inventories(), inventories(), st.integers(0, 200))
def test_certificates_that_end_are_those_that_did_not_before(
    old: Inventory, new: Inventory, days: int
) -> None:
    within = timedelta(days=days)
    common = set(old.resources) & set(new.resources)

    def ending(inventory: Inventory, time: timedelta) -> set[tuple[Resource, Kid]]:
        return {
            (holder.resource, holder.kid)
            for holder in inventory.holders
            if holder.kid and holder.signs and holder.resource in common
            and holder.kid in inventory.certificates
            and inventory.certificates[holder.kid].not_after - inventory.taken_at <= time
        }  # fmt: skip

    moment = timedelta(microseconds=1)
    ended = ending(new, -moment) - ending(old, -moment)
    soon = ending(new, within) - ending(new, -moment) - ending(old, within)
    found = [change for change in compare(old, new, within=within) if change.kind in OF_TIME]
    assert {(c.resource, c.kid) for c in found if c.kind is ChangeKind.ENDED} == ended
    assert {(c.resource, c.kid) for c in found if c.kind is ChangeKind.EXPIRING} == soon
    assert len(found) == len(ended) + len(soon)


def test_a_key_with_an_older_certificate_is_a_way_back() -> None:
    older = replace(certificate(100), not_before=certificate(0).not_before - timedelta(days=9))
    one = replace(inventory_of(app(1, 1)), certificates={kid(1): older, kid(2): certificate(100)})
    two = replace(one, holders=(app(1, 2),))
    [there], [back] = compare(one, two, within=WITHIN), compare(two, one, within=WITHIN)
    assert (there.before, there.after, there.is_back) == (kid(1), kid(2), False)
    assert (back.before, back.after, back.is_back) == (kid(2), kid(1), True)


def test_what_only_one_of_them_has_looked_at_is_not_compared() -> None:
    both = inventory_of(app(1, 1), idp(2, 2), days={1: 10, 2: 10})
    apps = replace(both, resources=(Resource.APP,), holders=both.holders[:1])
    listed = replace(both, other_keys={app(1, 1).id: (kid(3),)})
    for old, new in ((both, apps), (apps, both), (both, listed), (listed, both)):
        assert compare(old, new, within=WITHIN) == []


def test_a_certificate_that_nobody_signs_with_any_more_is_no_news() -> None:
    old = inventory_of(app(1, 1), app(2, 2), days={1: 100, 2: 800})
    new = replace(old, holders=(app(1, 2), app(2, 2)), taken_at=old.taken_at + WITHIN)
    assert [change.kind for change in compare(old, new, within=WITHIN)] == [ChangeKind.ACTIVATED]
    unused = replace(new, holders=old.holders)
    [change] = compare(old, unused, within=WITHIN)
    assert (change.kind, change.kid, change.sharing) == (ChangeKind.EXPIRING, kid(1), 1)


@pytest.mark.parametrize(
    ("ids", "urls", "other"),
    [
        (("00o1", "00o1"), ("https://a.okta.com", "https://b.example"), False),
        (("00o1", "00o2"), ("https://a.okta.com", "https://a.okta.com"), True),
        ((None, "00o2"), ("https://a.okta.com", "https://A.okta.com:443"), False),
        ((None, None), ("https://a.okta.com", "https://b.okta.com"), True),
    ],
)
def test_orgs_are_told_apart_by_id_else_by_url(
    ids: tuple[str | None, str | None], urls: tuple[str, str], other: bool
) -> None:
    one, two = (
        replace(inventory_of(), org_id=id_, org=url) for id_, url in zip(ids, urls, strict=True)
    )
    assert is_other_org(one, two) is other
    assert is_other_org(two, one) is other
