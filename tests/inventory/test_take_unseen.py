"""What an inventory says of what it could not see: no guess, no crash, and no silence."""

from __future__ import annotations

import pytest

from orchestrator.engine.certificates import NOT_LISTED, OTHER_KEY
from orchestrator.errors import AccessError, Halted, Refused, ScopeMissing
from orchestrator.halt import Halt
from orchestrator.inventory.record import Inventory, rows_of
from orchestrator.inventory.take import take_inventory
from orchestrator.model import Kid, Resource
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.store.base import CertificateBook
from tests.inventory.scene import (
    BOTH,
    CLOCK,
    KEY,
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


async def test_a_key_that_one_app_does_not_show_is_read_from_another() -> None:
    org = shared_org(5, 1)
    apps = list(org.apps)
    kid = Kid(org.apps[apps[0]].active_kid or "")
    gone = Fault(kind="reject", status=404, on="get_key", targets=(apps[0],))
    denied = Fault(kind="reject", status=403, on="get_key", targets=(apps[1],))
    inventory = await take(org, gone, denied, resources=[Resource.APP])
    assert inventory.certificates == {kid: certificate(org, kid)}
    assert [call.app for call in org.log if call.template == KEY] == apps[:3]


async def test_a_key_that_three_apps_do_not_show_is_unknown() -> None:
    org = shared_org(5, 1)
    other = org.add_app().active_kid
    apps = list(org.apps)
    fault = Fault(kind="reject", status=404, on="get_key", targets=tuple(apps[:5]))
    inventory = await take(org, fault, resources=[Resource.APP])
    (kid,) = inventory.unknown
    assert "404 E0000007" in inventory.unknown[kid]
    assert list(inventory.certificates) == [other]
    assert calls(org)[KEY] == 3 + 1
    for row in rows_of(inventory):
        assert (row.certificate is None) == (row.unknown is not None)


async def test_a_key_of_oidc_apps_is_read_from_a_saml_app_that_shares_it() -> None:
    org = SandboxOrg(seed=5)
    kid = org.derive_kid("shared")
    for _ in range(4):
        org.add_app(signing_kid=kid, sign_on_mode="OPENID_CONNECT")
    saml = org.add_app(signing_kid=kid)
    await take(org, resources=[Resource.APP])
    assert [call.app for call in org.log if call.template == KEY] == [saml.id]


@pytest.mark.parametrize("kind", ["drop", "garbage"])
async def test_a_key_whose_answers_are_lost_is_unknown(kind: str) -> None:
    org = shared_org(3, 3)
    apps = list(org.apps)
    fault = Fault(kind=kind, on="get_key", targets=(apps[1],))  # type: ignore[arg-type]
    inventory = await take(org, fault, resources=[Resource.APP])
    assert list(inventory.unknown) == [org.apps[apps[1]].active_kid]
    assert len(inventory.certificates) == 2


LISTED = {
    "id": "0oa1",
    "label": "app",
    "status": "ACTIVE",
    "signOnMode": "SAML_2_0",
    "credentials": {"signing": {"kid": "kid-1"}},
}


def key_with(**changed: object) -> dict[str, object]:
    """Return the key of that app, or something like it."""
    org = SandboxOrg(seed=1)
    return org.material("kid-1").as_key("kid-1", "2026-01-01T00:00:00.000Z") | changed


async def answered(key: object, book: CertificateBook) -> Inventory:
    """Take an inventory of an org with one app, whose key is read as given."""
    script = [Says(body=[LISTED]), Says(body=key)]
    async with peer(*script) as org, client(org.url) as api:
        return await take_inventory(
            api, book, org="o", profile=None, resources=[Resource.APP], clock=CLOCK
        )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kid": "kid-2"}, OTHER_KEY),
        ({"kid": None}, OTHER_KEY),
        ({"x5c": []}, "the key has no certificate"),
        ({"x5c": ["AAAA"]}, ""),
        ({"x5c": ["not base64!"]}, "x5c is not base64"),
        ({"x5t#S256": "x" * 43}, "x5t#S256 is not the thumbprint of x5c"),
    ],
)
async def test_a_key_that_is_not_what_it_claims_is_unknown(
    changed: dict[str, object], told: str
) -> None:
    book = new_book()
    inventory = await answered(key_with(**changed), book)
    assert told in inventory.unknown[Kid("kid-1")]
    assert inventory.unknown[Kid("kid-1")]
    assert inventory.certificates == {}
    assert book.get(Kid("kid-1")) is None


async def test_a_key_that_is_what_it_claims_is_known() -> None:
    inventory = await answered(key_with(), new_book())
    assert list(inventory.certificates) == ["kid-1"]


async def test_a_reason_is_short_whatever_the_org_says() -> None:
    refusal = {"errorCode": "E0000007", "errorSummary": "no\nsuch " + "key " * 5000}
    script = [Says(body=[LISTED]), Says(status=404, body=refusal)]
    async with peer(*script) as org, client(org.url) as api:
        inventory = await take_inventory(
            api, new_book(), org="o", profile=None, resources=[Resource.APP], clock=CLOCK
        )
    (reason,) = inventory.unknown.values()
    assert reason.startswith("404 E0000007: no such key")
    assert len(reason) <= 200


async def test_an_org_that_does_not_say_who_it_is_has_no_id() -> None:
    org = mixed_org()
    inventory = await take(org, Fault(kind="reject", status=404, on="organization"))
    assert inventory.org_id is None
    assert len(inventory.holders) == 8


# Without the right to see everything


async def test_without_the_right_to_see_idps_the_apps_are_there_and_a_note() -> None:
    org = mixed_org()
    inventory = await take(org, Fault(kind="reject", status=403, on="list_idps"))
    assert [holder.resource for holder in inventory.holders] == [Resource.APP] * 6
    (note,) = inventory.notes
    assert note.startswith("the identity providers are missing")
    assert inventory.resources == (Resource.APP,)  # a list that was not shown is not an empty one
    assert "E0000006" in note


async def test_a_token_without_the_scope_of_idps_still_lists_apps() -> None:
    challenge = [("WWW-Authenticate", 'Bearer error="insufficient_scope", scope="okta.idps.read"')]
    script = [Says(body=[LISTED]), Says(status=403, headers=challenge)]
    key = [Says(body=key_with())]
    async with peer(*script, *key) as org, client(org.url) as api:
        inventory = await take_inventory(
            api, new_book(), org="o", profile=None, resources=BOTH, clock=CLOCK
        )
    assert "okta.idps.read" in inventory.notes[0]
    assert len(inventory.certificates) == 1
    async with peer(script[1]) as org, client(org.url) as api:
        with pytest.raises(ScopeMissing):
            await take_inventory(
                api, new_book(), org="o", profile=None, resources=[Resource.IDP], clock=CLOCK
            )


async def test_without_the_list_of_apps_there_is_no_inventory() -> None:
    with pytest.raises(Refused):
        await take(mixed_org(), Fault(kind="reject", status=403, on="list_apps"))
    with pytest.raises(AccessError):
        await take(mixed_org(), Fault(kind="reject", status=401, on="list_apps"))


async def test_a_halt_ends_it_and_what_was_read_stays_known() -> None:
    org, book, halt = shared_org(60, 60), new_book(), Halt()
    async with open_org(org, halt=halt) as api:
        with pytest.raises(Halted):
            await take_inventory(
                api, book, org="o", profile=None, resources=[Resource.APP], clock=CLOCK,
                progress=lambda what, *_: halt.set() if what == "keys" else None,
            )  # fmt: skip
    read = [call.kid for call in org.log if call.template == KEY]
    assert 1 <= len(read) < 60
    assert all(book.get(Kid(kid or "")) for kid in read)


# All keys


async def test_keys_that_cannot_be_listed_are_told_and_not_taken_for_none() -> None:
    org, book = mixed_org(), new_book()
    ids = {app.label: app.id for app in org.apps.values()}
    await take(org, book=book)
    denied = Fault(kind="reject", status=403, on="list_keys", targets=(ids["fed"], ids["two"]))
    rows = rows_by_label(inventory := await take(org, denied, book=book, all_keys=True))
    assert rows["fed"].other_keys is None
    assert rows["fed"].certificate is not None  # the book knows it
    assert rows["two"].certificate is not None  # as it is the one of another app
    (note,) = inventory.notes
    assert note.startswith("the keys of 2 holders could not be listed: 403")
    rows = rows_by_label(await take(org, denied, all_keys=True))
    assert rows["fed"].certificate is None
    assert "403" in (rows["fed"].unknown or "")


async def test_a_key_that_its_app_does_not_list_is_unknown() -> None:
    script = [Says(body=[LISTED]), Says(body=[key_with(kid="kid-2")])]
    async with peer(*script) as org, client(org.url) as api:
        inventory = await take_inventory(
            api, new_book(), org="o", profile=None, resources=[Resource.APP], clock=CLOCK,
            all_keys=True,
        )  # fmt: skip
    assert inventory.unknown == {"kid-1": NOT_LISTED}
    assert inventory.other_keys == {"0oa1": ("kid-2",)}
