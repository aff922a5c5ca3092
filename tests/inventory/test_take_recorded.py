"""What real orgs showed, and what Okta's document shows, passes through an inventory unharmed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import yaml

from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.inventory.take import take_inventory
from orchestrator.model import Resource
from orchestrator.okta.wire import moment_of
from orchestrator.sandbox.org import SandboxOrg
from tests.conformance.reference import OPENAPI, WIRE, needs, read_json
from tests.inventory.scene import BOTH, CLOCK, certificate, client, new_book, take
from tests.unit.okta.peer import Says, peer

Json = dict[str, Any]

NOT_HERE = Says(status=404, body={"errorCode": "E0000007", "errorSummary": "Not found: a key"})
APPS: list[Json] = list(
    {e["body"]["id"]: e["body"] for e in read_json("app_objects.json")}.values()
)
KEYS: dict[str, Json] = {
    key["kid"]: key for entry in read_json("app_key_lists.json") for key in entry["body"]
}


def kid_of(document: Json) -> str | None:
    """Return what the JSON itself says of the key that signs."""
    owner = document if "signOnMode" in document else document.get("protocol") or {}
    kid = ((owner.get("credentials") or {}).get("signing") or {}).get("kid")
    return None if document.get("type") == "APPLE" else kid


def assert_true(row: Row, document: Json) -> None:
    """Hold a row against the JSON that it was made from."""
    is_app = "signOnMode" in document
    holder = row.holder
    assert holder.id == document["id"]
    assert holder.resource is (Resource.APP if is_app else Resource.IDP)
    assert holder.label == document["label" if is_app else "name"]
    assert holder.sign_on_mode == document["signOnMode" if is_app else "type"]
    assert holder.name == (document["name"] if is_app else None)
    assert holder.status == document["status"]
    assert holder.last_updated == document["lastUpdated"]
    assert holder.kid == kid_of(document)
    assert holder.signs == (
        kid_of(document) is not None and (is_app or document["type"] == "SAML2")
    )
    assert row.certificate is None or holder.kid is not None
    assert holder.signs == (row.certificate is not None or row.unknown is not None)


def assert_all_true(inventory: Inventory, documents: Sequence[Json]) -> None:
    assert len(inventory.holders) == len(documents)
    for row, document in zip(rows_of(inventory), documents, strict=True):
        assert_true(row, document)


async def served(apps: Sequence[Json], idps: Sequence[Json] = (), *keys: Says) -> Inventory:
    """Take an inventory of an org that answers with just these documents, and then no keys."""
    script = [Says(body=apps), Says(body=idps), *keys, NOT_HERE]
    async with peer(*script) as org, client(org.url) as api:
        return await take_inventory(
            api, new_book(), org="o", profile=None, resources=BOTH, clock=CLOCK, workers=1
        )


@needs(WIRE)
async def test_recorded_apps_of_all_modes_are_told_as_they_are() -> None:
    assert {app["signOnMode"] for app in APPS} >= {
        "SAML_2_0", "SAML_1_1", "OPENID_CONNECT", "BOOKMARK", "AUTO_LOGIN", "BASIC_AUTH",
        "BROWSER_PLUGIN", "SECURE_PASSWORD_STORE", None,
    }  # fmt: skip
    inventory = await served(APPS)
    assert_all_true(inventory, APPS)
    assert set(inventory.unknown) == {kid for kid in map(kid_of, APPS) if kid}
    assert inventory.certificates == {}


@needs(WIRE)
async def test_recorded_keys_are_told_as_they_are() -> None:
    """Those apps whose keys were recorded too; the certificate is the one that the org showed."""
    apps = [app for app in APPS if kid_of(app) in KEYS]
    keys = [KEYS[kid] for kid in dict.fromkeys(map(kid_of, apps)) if kid]
    assert len(keys) >= 2
    inventory = await served(apps, (), *(Says(body=key) for key in keys))
    assert_all_true(inventory, apps)
    assert inventory.unknown == {}
    for kid, found in inventory.certificates.items():
        assert found.thumbprint == KEYS[kid]["x5t#S256"]
        assert found.not_after == moment_of(KEYS[kid]["expiresAt"])
        assert found.x5c == KEYS[kid]["x5c"][0]


@needs(WIRE)
@pytest.mark.parametrize("all_keys", [False, True])
async def test_recorded_apps_in_a_sandbox_have_the_keys_of_the_sandbox(all_keys: bool) -> None:
    org = SandboxOrg(seed=8)
    for app in APPS:
        org.add_app(document=app)
    inventory = await take(org, all_keys=all_keys)
    assert_all_true(inventory, APPS)
    assert inventory.unknown == {}
    for row in rows_of(inventory):
        kid = row.holder.kid
        assert row.certificate == (certificate(org, kid) if kid else None)


@cache
def examples() -> tuple[list[Json], list[Json]]:
    """Return the apps and IdPs in Okta's document that are answers, each with an id of its own."""
    known = yaml.load(OPENAPI.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    values = [each.get("value") for each in known["components"]["examples"].values()]
    objects = [one for value in values for one in (value if isinstance(value, list) else [value])]
    answers = [one for one in objects if isinstance(one, dict) and {"id", "status"} <= one.keys()]
    apps = [one for one in answers if "signOnMode" in one]
    idps = [one for one in answers if "protocol" in one and "signOnMode" not in one]
    return (
        [app | {"id": f"0oaApp{number}"} for number, app in enumerate(apps)],
        [idp | {"id": f"0oaIdp{number}"} for number, idp in enumerate(idps)],
    )


@needs(OPENAPI)
async def test_the_examples_of_the_document_are_told_as_they_are() -> None:
    apps, idps = examples()
    assert len({app["signOnMode"] for app in apps}) >= 8
    assert len({idp["type"] for idp in idps}) >= 10
    inventory = await served(apps, idps)
    assert_all_true(inventory, [*apps, *idps])
    assert set(inventory.unknown) == {kid for kid in map(kid_of, apps) if kid}


@needs(OPENAPI)
async def test_an_example_of_a_saml_provider_with_a_key_signs() -> None:
    _, idps = examples()
    saml = next(idp for idp in idps if idp["type"] == "SAML2")
    credentials = saml["protocol"]["credentials"] | {"signing": {"kid": "your-key-id"}}
    signing = saml | {"protocol": saml["protocol"] | {"credentials": credentials}}
    inventory = await served([], [signing])
    assert_all_true(inventory, [signing])
    assert list(inventory.unknown) == ["your-key-id"]
