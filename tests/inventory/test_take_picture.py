"""A picture of an org for selectors: it holds what was asked, and costs no more."""

from __future__ import annotations

import pytest

from orchestrator.errors import Refused
from orchestrator.holders import Picture, Questions, Selector, SelectorKind, matches, questions_of
from orchestrator.inventory.take import take_picture
from orchestrator.model import Kid, Resource
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.store.base import CertificateBook
from tests.inventory.scene import CLOCK, KEY, LISTS, calls, client, new_book, open_org, shared_org
from tests.unit.okta.peer import Says, peer

APPS = (Resource.APP,)
SLO = 'settings.slo.enabled eq "true"'  # only Okta itself can answer it


async def picture(
    org: SandboxOrg, questions: Questions, *faults: Fault, book: CertificateBook | None = None
) -> Picture:
    async with open_org(org, *faults) as api:
        return await take_picture(api, questions, book or new_book(), clock=CLOCK)


async def test_without_questions_nothing_is_asked() -> None:
    org = shared_org(3, 1)
    assert (await picture(org, Questions())).holders == {}
    assert org.log == []


async def test_labels_cost_one_pass_over_the_list() -> None:
    org = shared_org(450, 3)
    org.add_idp(name="partner")
    found = await picture(org, Questions(resources=APPS))
    assert [holder.label for holder in found.of(Resource.APP)] == [
        app.label for app in org.apps.values()
    ]
    assert found.of(Resource.IDP) == ()
    assert (found.ends, found.filtered, found.is_whole) == ({}, {}, True)
    assert len(org.log) == calls(org)[LISTS] == 3


async def test_ends_cost_a_call_for_every_key_that_is_new() -> None:
    org, book = shared_org(30, 4), new_book()
    org.add_app(sign_on_mode="BOOKMARK")
    questions = Questions(resources=APPS, asks_ends=True)
    found = await picture(org, questions, book=book)
    assert calls(org)[KEY] == 4
    assert found.ends == {
        Kid(kid): org.mint.order_of(kid).not_after
        for kid in dict.fromkeys(app.active_kid for app in org.apps.values())
        if kid
    }
    assert (await picture(org, questions, book=book)).ends == found.ends
    assert calls(org)[KEY] == 0


async def test_ends_of_oidc_apps_are_read_when_they_are_asked_for() -> None:
    org = SandboxOrg(seed=2)
    oidc = org.add_app(sign_on_mode="OPENID_CONNECT")
    without = await picture(org, Questions(resources=APPS, asks_ends=True))
    assert (without.ends, calls(org)[KEY]) == ({}, 0)
    with_them = await picture(org, Questions(resources=APPS, asks_ends=True, asks_oidc=True))
    assert list(with_them.ends) == [oidc.active_kid]


async def test_an_end_that_cannot_be_read_is_told() -> None:
    """Else what ends tomorrow would not be picked, and nobody would know."""
    org = shared_org(2, 2)
    first, second = (Kid(app.active_kid or "") for app in org.apps.values())
    fault = Fault(kind="reject", status=403, on="get_key", targets=(next(iter(org.apps)),))
    found = await picture(org, Questions(resources=APPS, asks_ends=True), fault)
    assert list(found.ends) == [second]
    assert list(found.unknown) == [first]


async def test_a_lone_filter_narrows_the_list() -> None:
    org = shared_org(450, 3)
    kid = next(iter(org.apps.values())).active_kid or ""
    selector = Selector(kind=SelectorKind.SIGNING_WITH, text=kid)
    found = await picture(org, questions_of([(Resource.APP, selector)]))
    assert {holder.kid for holder in found.of(Resource.APP)} == {kid}
    assert len(found.of(Resource.APP)) == 150
    assert not found.is_whole
    assert len(org.log) == 1


async def test_what_only_okta_can_answer_is_asked_once() -> None:
    listed = [{"id": f"0oa{number}", "label": str(number)} for number in range(3)]
    asks = [
        (Resource.APP, Selector(kind=SelectorKind.FILTER, text=SLO)),
        (Resource.APP, Selector(kind=SelectorKind.LABEL, text="0")),
    ]
    questions = questions_of([*asks, asks[0]])
    async with peer(Says(body=listed), Says(body=listed[1:2])) as org, client(org.url) as api:
        found = await take_picture(api, questions, new_book(), clock=CLOCK)
    assert org.lines[1:] == [
        "GET /api/v1/apps?limit=200&filter=settings.slo.enabled%20eq%20%22true%22"
    ]
    assert found.filtered == {SLO: {"0oa1"}}
    assert found.is_whole
    picked = [holder.id for holder in found.of(Resource.APP) if matches(asks[0][1], holder, found)]
    assert picked == ["0oa1"]


async def test_a_lone_filter_that_only_okta_can_answer_picks_all_that_it_lists() -> None:
    selector = Selector(kind=SelectorKind.FILTER, text=SLO)
    listed = [{"id": "0oa1"}, {"id": "0oa2"}]
    async with peer(Says(body=listed)) as org, client(org.url) as api:
        questions = questions_of([(Resource.APP, selector)])
        found = await take_picture(api, questions, new_book(), clock=CLOCK)
    assert len(org.lines) == 1
    assert all(matches(selector, holder, found) for holder in found.of(Resource.APP))


async def test_a_filter_that_okta_does_not_take_is_named() -> None:
    asks = Questions(resources=APPS, filters=('profile.colour eq "red"',))
    with pytest.raises(Refused, match="E0000031") as caught:
        await picture(shared_org(1, 1), asks)
    assert caught.value.context["filter"] == 'profile.colour eq "red"'
