"""Apps as they were recorded, and the account of what a PUT changes in one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.changes import differences
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import active_kid, app_path, keys_path, opened

RECORDED = Path(__file__).parents[3] / "shared" / "wire" / "app_objects.json"
STRANGE: dict[str, Any] = {
    "id": "0oaStrange00000000000",
    "orn": "orn:okta:idp:00o:apps:strange:0oaStrange00000000000",
    "name": "strange",
    "label": "Strange",
    "status": "ACTIVE",
    "lastUpdated": "2024-01-02T03:04:05.000Z",
    "created": "2020-01-02T03:04:05.000Z",
    "somethingNew": {"list": [], "nothing": None},
    "accessibility": {"selfService": False, "errorRedirectUrl": None},
    "licensing": None,
    "visibility": {"hide": {"iOS": False, "web": True}},
    "features": ["GROUP_PUSH"],
    "signOnMode": "SAML_2_0",
    "credentials": {"signing": {"kid": "k" * 43, "rotationMode": "MANUAL"}, "scheme": None},
    "settings": {
        "app": {},
        "signOn": {"acsEndpoints": [{"url": "https://sp.example/2", "index": 0}], "slo": {}},
    },
    "profile": {"owner": "me", "empty": ""},
    "_links": {"self": {"href": "https://x.okta.com/api/v1/apps/0oaStrange00000000000"}},
}


def recorded_apps() -> list[Any]:
    if not RECORDED.exists():
        return []
    return [entry["body"] for entry in json.loads(RECORDED.read_text())]


def with_kid(document: Any, kid: str) -> Any:
    changed = copy.deepcopy(document)
    changed["credentials"]["signing"]["kid"] = kid
    return changed


async def test_a_document_is_shown_verbatim() -> None:
    org = SandboxOrg()
    app = org.add_app(document=STRANGE)
    async with opened(org) as peer:
        single = await peer.get(app_path(app.id))
        listed = await peer.get("/api/v1/apps")
        by_kid = await peer.get(
            "/api/v1/apps", query={"filter": f'credentials.signing.kid eq "{"k" * 43}"'}
        )
        keys = await peer.get(keys_path(app.id))
    assert single.body == json.dumps(STRANGE, separators=(",", ":")).encode()
    assert listed.json() == by_kid.json() == [STRANGE]
    assert [key["kid"] for key in keys.json()] == ["k" * 43]
    assert (app.id, app.label, app.name) == (STRANGE["id"], "Strange", "strange")


async def test_a_whole_put_of_a_document_changes_the_key_and_nothing_else() -> None:
    org = SandboxOrg()
    app = org.add_app(document=STRANGE)
    kid = org.add_key(app.id)
    async with opened(org) as peer:
        echo = await peer.activate(app, kid)
        back = await peer.activate(app, "k" * 43)
    expected = with_kid(STRANGE, kid) | {"lastUpdated": echo.json()["lastUpdated"]}
    assert echo.json() == expected
    assert list(echo.json()) == list(STRANGE)
    assert back.json() == STRANGE | {"lastUpdated": back.json()["lastUpdated"]}
    puts = [call for call in org.log if call.method == "PUT"]
    assert [(call.kid_before, call.kid_after) for call in puts] == [
        ("k" * 43, kid),
        (kid, "k" * 43),
    ]
    assert org.collateral_changes() == 0
    assert org.holds(app.id, kid)
    assert org.holds(app.id, "k" * 43)


async def test_a_short_put_of_a_document_loses_what_recordings_show_to_be_lost() -> None:
    org = SandboxOrg()
    app = org.add_app(document=STRANGE)
    short = {"name": "strange", "label": "Strange", "signOnMode": "SAML_2_0"}
    async with opened(org) as peer:
        echo = (await peer.put(app_path(app.id), short)).json()
    assert "profile" not in echo
    assert echo["settings"]["signOn"]["acsEndpoints"] == []
    kept = ("somethingNew", "licensing", "credentials", "visibility", "features", "_links")
    assert {name: echo[name] for name in kept} == {name: STRANGE[name] for name in kept}
    assert set(org.log[0].collateral) == {
        "profile",
        "settings.signOn.acsEndpoints",
        "settings.signOn.allowMultipleAcsEndpoints",
    }
    assert org.collateral_changes() == 1


async def test_read_only_fields_of_a_document_are_ignored_and_others_are_taken() -> None:
    org = SandboxOrg()
    app = org.add_app(document=STRANGE)
    lies = {
        "id": "x",
        "orn": "y",
        "created": "z",
        "status": "INACTIVE",
        "features": [],
        "_links": {},
    }
    sent = STRANGE | lies | {"somethingNew": {"list": [1], "nothing": None}, "unheardOf": 1}
    async with opened(org) as peer:
        echo = (await peer.put(app_path(app.id), sent)).json()
    assert echo == STRANGE | {
        "somethingNew": {"list": [1], "nothing": None},
        "lastUpdated": echo["lastUpdated"],
    }
    assert org.log[0].collateral == ("somethingNew.list",)


async def test_a_document_can_serve_for_many_apps() -> None:
    org = SandboxOrg()
    org.add_app(document=STRANGE)
    second = org.add_app("0oaSecond000000000000", document=STRANGE, label="B", status="INACTIVE")
    document = second.document()
    assert STRANGE["id"] not in json.dumps(document)
    assert str(document["orn"]).endswith("0oaSecond000000000000")
    assert (document["label"], document["status"]) == ("B", "INACTIVE")
    assert org.holders("k" * 43) == {STRANGE["id"], "0oaSecond000000000000"}


def test_the_document_that_was_given_is_not_touched() -> None:
    given_document = copy.deepcopy(STRANGE)
    org = SandboxOrg()
    app = org.add_app(document=given_document)
    org.update_app(app.id, app.document() | {"label": "New"})
    org.set_status(app.id, "INACTIVE")
    assert given_document == STRANGE
    assert app.document()["label"] == "New"
    assert app.document()["status"] == "INACTIVE"


@pytest.mark.parametrize("document", recorded_apps(), ids=lambda app: f"{app['signOnMode']}")
async def test_a_recorded_app_survives_being_put_back(document: Any) -> None:
    org = SandboxOrg()
    app = org.add_app(document=document)
    async with opened(org) as peer:
        read = await peer.get(app_path(app.id))
        assert read.json() == document
        assert list(read.json()) == list(document)
        put = await peer.put(app_path(app.id), read.json())
        assert put.json() == document | {"lastUpdated": put.json()["lastUpdated"]}
        kid = org.add_key(app.id)
        changed = await peer.put(app_path(app.id), with_kid(document, kid))
    if "kid" in document["credentials"]["signing"]:
        expected = with_kid(document, kid) | {"lastUpdated": changed.json()["lastUpdated"]}
        assert changed.json() == expected
        assert app.active_kid == kid
    else:
        assert (changed.status, app.active_kid) == (400, None)
    assert org.collateral_changes() == 0


# The account


async def test_a_stale_put_undoes_the_edit_of_somebody_else() -> None:
    """The lost update that no ETag prevents: it is the caller's doing, and is accounted so."""
    org = SandboxOrg()
    app = org.add_app(label="Old")
    async with opened(org) as peer:
        stale = (await peer.get(app_path(app.id))).json()
        org.update_app(app.id, app.document() | {"label": "New"})
        await peer.put(app_path(app.id), stale)
    assert app.label == "Old"
    assert org.log[-1].collateral == ("label",)
    assert org.collateral_changes() == 1


async def test_refused_and_undone_puts_have_no_account() -> None:
    org = SandboxOrg()
    app, other = org.add_app(), org.add_app()
    async with opened(org) as peer:
        await peer.put(app_path(app.id), {"label": "x"})
        await peer.activate(app, active_kid(other))
        await peer.get(app_path(app.id))
    for call in org.log:
        assert (call.kid_before, call.kid_after, call.collateral) == (None, None, ())
    assert org.collateral_changes() == 0


def test_differences_go_as_deep_as_objects_do() -> None:
    before: dict[str, Any] = {
        "a": {"b": {"c": 1, "d": [1]}},
        "e": None,
        "f": 1,
        "g": {},
        "h": [{"i": 1}],
    }
    after: dict[str, Any] = {
        "a": {"b": {"c": 1, "d": [2]}},
        "f": True,
        "g": [],
        "h": [{"i": 1}],
        "j": None,
    }
    found = {each.path: (each.old, each.new) for each in differences(before, after)}
    assert found == {
        "a.b.d": ([1], [2]),
        "e": (None, None),
        "f": (1, True),
        "g": ({}, []),
        "j": (None, None),
    }


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab.", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("ab.", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("abc", max_size=2), JSON_VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_there_is_a_difference_just_when_the_json_differs(before: Any, after: Any) -> None:
    alike = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (list(differences(before, after)) == []) == alike
    assert len(list(differences(before, after))) == len(list(differences(after, before)))
