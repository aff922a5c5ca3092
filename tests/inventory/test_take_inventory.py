"""An inventory: what it finds, what it costs, and what it says of what it could not see."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace

import pytest

from orchestrator.errors import TokenRejected
from orchestrator.inventory.record import rows_of
from orchestrator.inventory.take import take_inventory
from orchestrator.model import AppId, Certificate, Kid, Resource
from orchestrator.okta.api import LARGEST_PAGE
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import SandboxOrg
from tests.inventory.scene import (
    BOTH,
    CLOCK,
    IDP_KEY,
    KEY,
    KEYS,
    LISTS,
    calls,
    certificate,
    client,
    mixed_org,
    new_book,
    open_org,
    rows_by_label,
    shared_org,
    take,
)
from tests.unit.okta.peer import Says, peer

BYTES_PER_APP = 1000  # at most; a page has about 2600 of them for every app


# What it finds


async def test_every_row_says_what_the_org_has() -> None:
    org = mixed_org()
    inventory = await take(org)
    assert [row.holder.label for row in rows_of(inventory)] == [
        *(app.label for app in org.apps.values()),
        *(idp.name for idp in org.idps.values()),
    ]
    for row in rows_of(inventory):
        held = org.find_holder(row.holder.id)
        assert row.holder.kid == held.active_kid
        assert row.holder.status == held.status
        assert row.certificate == (certificate(org, held.active_kid) if held.active_kid else None)
        assert row.other_keys is None
    rows = rows_by_label(inventory)
    assert [rows[label].sharing for label in ("one", "two", "fed", "link", "partner")] == [
        2, 2, 1, 0, 1,
    ]  # fmt: skip
    assert (rows["partner"].holder.resource, rows["partner"].holder.sign_on_mode) == (
        Resource.IDP,
        "SAML2",
    )
    assert rows["service"].holder.sign_on_mode is None
    assert (inventory.unknown, inventory.notes, inventory.other_keys) == ({}, (), None)
    assert (inventory.org, inventory.profile) == ("https://acme.test", "acme")
    assert inventory.org_id == org.id


async def test_it_is_taken_on_the_clock_of_the_org() -> None:
    org = shared_org(1, 1)
    org.advance(40 * 86_400)
    inventory = await take(org, resources=[Resource.APP])
    assert abs(inventory.taken_at.timestamp() - org.epoch()) < 5


async def test_only_what_is_asked_for_is_listed() -> None:
    org = mixed_org()
    assert len((await take(org, resources=[Resource.IDP])).holders) == 2
    assert LISTS not in calls(org)


@pytest.mark.parametrize("all_keys", [False, True])
async def test_the_order_is_that_of_the_lists_whenever_the_answers_come(all_keys: bool) -> None:
    """The first key is read last, as its first answer is lost."""
    org = shared_org(30, 20)
    for app in list(org.apps):
        org.add_key(app, org.derive_kid(f"spare of {app}"))
    first = (next(iter(org.apps)),)
    late = [
        Fault(kind="drop", on=endpoint, targets=first, times=1)
        for endpoint in ("get_key", "list_keys")
    ]
    inventory = await take(org, *late, all_keys=all_keys)
    assert [holder.id for holder in inventory.holders] == list(org.apps)
    active = list(dict.fromkeys(app.active_kid for app in org.apps.values()))
    assert [kid for kid in inventory.certificates if kid in active] == active
    if all_keys:
        assert list(inventory.other_keys or ()) == list(org.apps)


async def test_an_app_on_two_pages_is_one_app() -> None:
    """Pages shift while apps are made; what was read last is the newer."""
    app = {"id": "0oa1", "label": "old", "status": "ACTIVE", "signOnMode": "SAML_2_0"}
    link = [("Link", '<https://x.okta.com/api/v1/apps?after=1&limit=200>; rel="next"')]
    pages = [
        Says(body=[app, app | {"id": "0oa2"}], headers=link),
        Says(body=[app | {"label": "new"}]),
    ]
    async with peer(*pages) as org, client(org.url) as api:
        inventory = await take_inventory(
            api, new_book(), org="o", profile=None, resources=[Resource.APP], clock=CLOCK
        )
    assert [(holder.id, holder.label) for holder in inventory.holders] == [
        ("0oa1", "new"),
        ("0oa2", "old"),
    ]


# What it costs


@pytest.mark.parametrize("apps", [1000, pytest.param(5000, marks=pytest.mark.long)])
async def test_a_key_is_read_once_and_then_never_again(apps: int) -> None:
    org, book = shared_org(apps, 300), new_book()
    cold = await take(org, book=book, resources=[Resource.APP])
    assert calls(org)[LISTS] == apps // LARGEST_PAGE
    assert calls(org)[KEY] == 300
    assert len(cold.certificates) == 300
    newcomers = [org.add_app(label=f"new {number}") for number in range(4)]
    org.remove_app(next(iter(org.apps)))
    warm = await take(org, book=book, resources=[Resource.APP])
    assert (calls(org)[LISTS], calls(org)[KEY]) == (apps // LARGEST_PAGE + 1, 4)
    assert dict(warm.certificates).items() >= dict(cold.certificates).items()
    for app in newcomers:
        kid = Kid(app.active_kid or "")
        assert warm.certificates[kid] == certificate(org, kid)


async def test_keys_of_identity_providers_are_read_from_them() -> None:
    org = mixed_org()
    await take(org, resources=[Resource.IDP])
    assert calls(org)[IDP_KEY] == 1


async def test_what_was_read_is_kept_when_the_rest_is_refused() -> None:
    """The next inventory goes on where this one ended."""
    org, book = shared_org(120, 120), new_book()
    last = list(org.apps)[-1]
    fault = Fault(kind="reject", status=401, on="get_key", targets=(last,))
    with pytest.raises(TokenRejected):
        await take(org, fault, book=book, resources=[Resource.APP])
    kids = [Kid(app.active_kid or "") for app in org.apps.values()]
    known = [kid for kid in kids if book.get(kid) is not None]
    assert len(known) >= 100
    await take(org, book=book, resources=[Resource.APP])
    assert calls(org)[KEY] == 120 - len(known)


class ForgedBook:
    """A book whose entries were tampered with, one way for each kid."""

    def __init__(self, known: Mapping[Kid, Certificate]) -> None:
        self.known = dict(known)
        self.kept: list[Kid] = []

    def get(self, kid: Kid) -> Certificate | None:
        return self.known.get(kid)

    def keep(self, certificates: Mapping[Kid, Certificate]) -> None:
        self.known |= certificates
        self.kept += certificates


async def test_a_book_that_contradicts_its_certificates_is_not_believed() -> None:
    org = shared_org(3, 3)
    truth = dict((await take(org)).certificates)
    first, second, third = truth
    forged = ForgedBook(
        {
            first: replace(truth[first], not_after=truth[first].not_after.replace(year=2099)),
            second: replace(truth[second], x5c="no certificate"),
            third: truth[third],
        }
    )
    assert (await take(org, book=forged)).certificates == truth
    assert calls(org)[KEY] == 2
    assert forged.known == truth


async def test_what_the_book_knows_is_not_written_again() -> None:
    org, book = shared_org(3, 3), ForgedBook({})
    for all_keys in (False, True, True):
        await take(org, book=book, all_keys=all_keys)
    assert sorted(book.kept) == sorted(app.active_kid or "" for app in org.apps.values())


async def memory_of(org: SandboxOrg) -> tuple[int, int]:
    """Return the bytes that an inventory of an org holds, and the most that taking it needs."""
    gc.collect()
    tracemalloc.start()
    inventory = await take(org, resources=[Resource.APP])
    peak = tracemalloc.get_traced_memory()[1]
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    del inventory
    gc.collect()
    held -= tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held, peak


async def growth(few: int, many: int) -> tuple[float, float]:
    """Return how much more memory an inventory holds, and needs, for every further app."""
    await take(shared_org(few, 10))  # what is loaded and cached once
    small, large = [await memory_of(shared_org(apps, 10)) for apps in (few, many)]
    held, needed = (after - before for before, after in zip(small, large, strict=True))
    return held / (many - few), needed / (many - few)


@pytest.mark.long
async def test_memory_does_not_grow_with_the_pages() -> None:
    held, needed = await growth(1000, 5000)
    assert 100 < held < BYTES_PER_APP
    assert needed < BYTES_PER_APP


async def test_an_app_takes_little_memory() -> None:
    held, _ = await growth(200, 600)
    assert 100 < held < BYTES_PER_APP


async def test_what_apps_have_in_common_is_in_memory_once() -> None:
    one, other = (await take(mixed_org(), resources=[Resource.APP])).holders[:2]
    for shared in ("kid", "sign_on_mode"):
        assert getattr(one, shared) is getattr(other, shared)


async def test_progress_is_told() -> None:
    told: list[tuple[str, int, int | None]] = []
    org = shared_org(450, 7)
    async with open_org(org) as api:
        await take_inventory(
            api, new_book(), org="o", profile=None, resources=BOTH, clock=CLOCK,
            progress=lambda what, done, total: told.append((what, done, total)),
        )  # fmt: skip
    assert told[:4] == [
        ("apps", 200, None),
        ("apps", 400, None),
        ("apps", 450, 450),
        ("identity providers", 0, 0),
    ]
    assert told[4:] == [("keys", number + 1, 7) for number in range(7)]


# All keys


async def test_all_keys_are_listed_of_what_signs() -> None:
    org, book = mixed_org(), new_book()
    inventory = await take(org, book=book, all_keys=True)
    assert calls(org)[KEYS] == 4
    assert calls(org)[KEY] == calls(org)[IDP_KEY] == 0
    rows = rows_by_label(inventory)
    spare = org.derive_kid("spare")
    assert rows["one"].other_keys == (spare,)
    assert rows["two"].other_keys == ()
    assert rows["link"].other_keys is None  # it was not asked: it may hold keys all the same
    assert inventory.certificates[Kid(spare)] == certificate(org, spare)
    assert book.get(Kid(spare)) == certificate(org, spare)
    for row in rows_of(inventory):
        assert (row.certificate is None) == (row.holder.kid is None)


async def test_other_keys_are_told_newest_first() -> None:
    org = shared_org(1, 1)
    (app,) = org.apps
    added = []
    for _ in range(5):
        added.append(org.add_key(app))
        org.advance(3600)
    inventory = await take(org, all_keys=True)
    assert inventory.other_keys == {AppId(app): tuple(reversed(added))}
