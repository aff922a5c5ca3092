"""The app endpoints over real sockets: list, read, replace, activate, and who may call."""

from __future__ import annotations

import asyncio
import json
import re
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import Peer, Reply, active_kid, app_path, keys_path, opened

RECORDED = Path(__file__).parents[3] / "shared" / "wire" / "app_objects.json"
APPS = "/api/v1/apps"


def next_link(reply: Reply) -> str | None:
    for value in reply.headers.getall("Link", []):
        link = re.fullmatch(r'<(.*)>; rel="(self|next)"', value)
        assert link is not None
        if link[2] == "next":
            parts = urlsplit(link[1])
            return f"{parts.path}?{parts.query}"
    return None


async def pages(peer: Peer, path: str) -> list[list[dict[str, Any]]]:
    found = []
    step: str | None = path
    while step is not None:
        reply = await peer.get(step)
        found.append(reply.json())
        step = next_link(reply)
    return found


async def test_pages_have_twenty_apps_unless_the_caller_asks_for_more() -> None:
    org = SandboxOrg()
    ids = [org.add_app().id for _ in range(45)]
    async with opened(org) as peer:
        small = await pages(peer, APPS)
        large = await pages(peer, f"{APPS}?limit=200")
    assert [len(page) for page in small] == [20, 20, 5]
    assert [app["id"] for page in small for app in page] == ids
    assert [[app["id"] for app in page] for page in large] == [ids]


async def test_the_next_link_keeps_the_search_and_drops_other_parameters() -> None:
    org = SandboxOrg()
    for number in range(3):
        org.add_app(label=f"Fin {number}")
    org.add_app(label="Sales")
    async with opened(org) as peer:
        query = {"limit": "2", "q": "fin", "useOptimization": "true"}
        first = await peer.get(APPS, query=query)
        following = next_link(first)
        assert following is not None
        second = await peer.get(following)
    assert "useOptimization" not in following
    assert [app["label"] for app in second.json()] == ["Fin 2"]
    assert next_link(second) is None


async def test_apps_removed_between_pages_do_not_shift_the_next_page() -> None:
    org = SandboxOrg()
    ids = [org.add_app().id for _ in range(4)]
    async with opened(org) as peer:
        following = next_link(await peer.get(f"{APPS}?limit=2"))
        assert following is not None
        org.remove_app(ids[0])
        rest = (await peer.get(following)).json()
    assert [app["id"] for app in rest] == ids[2:]


async def test_filters_match_one_property() -> None:
    org = SandboxOrg()
    first = org.add_app()
    second = org.add_app(status="INACTIVE", sign_on_mode="BOOKMARK")
    cloud = org.add_app(name="amazon_aws")
    org.add_key(second.id, active_kid(first))
    document = cloud.document()
    as_object(as_object(document["settings"])["signOn"])["slo"] = {"enabled": True}
    org.update_app(cloud.id, document)
    expected = {
        f'id eq "{first.id}"': [first.id],
        'status eq "INACTIVE"': [second.id],
        'name eq "bookmark"': [second.id],
        'name eq "amazon_aws"': [cloud.id],
        f'credentials.signing.kid eq "{first.active_kid}"': [first.id],
        "settings.slo.enabled eq true": [cloud.id],
        'settings.slo.enabled eq "false"': [first.id],
        'user.id eq "00u1"': [],
        'group.id eq "00g1"': [],
    }
    async with opened(org) as peer:
        for text, ids in expected.items():
            reply = await peer.get(APPS, query={"filter": text})
            assert [app["id"] for app in reply.json()] == ids


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"after": "nonsense"}, "E0000029"),
        ({"after": "é"}, "E0000029"),
        ({"filter": 'status ne "ACTIVE"'}, "E0000031"),
        ({"filter": 'label eq "x"'}, "E0000031"),
        ({"filter": "status eq ACTIVE"}, "E0000031"),
        ({"filter": 'status eq "ACTIVE'}, "E0000031"),
        ({"filter": ""}, "E0000031"),
        ({"filter": 'status eq "ACTIVE" and name eq "x"'}, "E0000031"),
        ({"limit": "201"}, "E0000001"),
        ({"limit": "0"}, "E0000001"),
        ({"expand": "user/00u1"}, "E0000001"),
    ],
)
async def test_a_bad_search_is_refused(query: dict[str, str], code: str) -> None:
    async with opened(SandboxOrg()) as peer:
        reply = await peer.get(APPS, query=query)
    assert (reply.status, reply.json()["errorCode"]) == (400, code)
    assert "X-Rate-Limit-Remaining" in reply.headers


async def test_a_listed_app_is_the_same_as_the_app_itself() -> None:
    org = SandboxOrg()
    app = org.add_app(label="Finance HQ")
    async with opened(org) as peer:
        listed = (await peer.get(APPS)).json()
        single = (await peer.get(app_path(app.id))).json()
    assert listed == [single]
    assert single["label"] == "Finance HQ"
    assert single["credentials"]["signing"] == {"kid": app.active_kid}


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded traffic is not at hand")
def test_a_saml_app_has_the_fields_of_recorded_ones_in_their_order() -> None:
    bodies = [entry["body"] for entry in json.loads(RECORDED.read_text())]
    custom = next(b for b in bodies if b["signOnMode"] == "SAML_2_0" and "testacc" in b["name"])
    ours = SandboxOrg().add_app().document()
    assert list(ours) == list(custom)
    for part in ("accessibility", "visibility", "credentials", "settings"):
        assert list(as_object(ours[part])) == list(custom[part])
    assert list(as_object(as_object(ours["settings"])["signOn"])) == list(
        custom["settings"]["signOn"]
    )


def as_object(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


async def test_a_put_activates_a_staged_key_and_changes_nothing_else() -> None:
    org = SandboxOrg()
    app = org.add_app()
    kid = org.add_key(app.id)
    async with opened(org) as peer:
        before = (await peer.get(app_path(app.id))).json()
        sent = json.loads(json.dumps(before))
        sent["credentials"]["signing"]["kid"] = kid
        reply = await peer.put(app_path(app.id), sent)
        after = (await peer.get(app_path(app.id))).json()
    assert reply.status == 200
    assert reply.json() == after
    assert app.active_kid == kid
    assert after["lastUpdated"] > before["lastUpdated"]
    assert after == sent | {"lastUpdated": after["lastUpdated"]}


async def test_a_put_ignores_read_only_fields() -> None:
    org = SandboxOrg()
    app = org.add_app()
    lies = {"id": "x", "name": "y", "status": "INACTIVE", "created": "z", "_links": {}}
    async with opened(org) as peer:
        before = (await peer.get(app_path(app.id))).json()
        after = (await peer.put(app_path(app.id), before | lies)).json()
    assert after == before | {"lastUpdated": after["lastUpdated"]}


async def test_a_short_put_keeps_the_key_but_loses_profile_and_endpoints() -> None:
    org = SandboxOrg()
    app = org.add_app()
    endpoints = [{"url": "https://sp.example.com/2", "index": 0}]
    short = {"label": "New", "signOnMode": "SAML_2_0", "name": app.name}
    async with opened(org) as peer:
        full = (await peer.get(app_path(app.id))).json() | {"profile": {"owner": "me"}}
        full["settings"]["signOn"] |= {
            "acsEndpoints": endpoints,
            "allowMultipleAcsEndpoints": True,
        }
        rich = (await peer.put(app_path(app.id), full)).json()
        poor = (await peer.put(app_path(app.id), short)).json()
    assert rich["profile"] == {"owner": "me"}
    assert rich["settings"]["signOn"]["acsEndpoints"] == endpoints
    assert "profile" not in poor
    assert poor["settings"]["signOn"]["acsEndpoints"] == []
    assert poor["credentials"] == rich["credentials"]
    assert poor["settings"]["notifications"] == rich["settings"]["notifications"]
    assert poor["visibility"] == rich["visibility"]
    assert poor["label"] == app.label == "New"


async def test_a_put_is_refused_for_what_it_lacks() -> None:
    org = SandboxOrg()
    app, foreign = org.add_app(), org.add_app()
    bookmark, login = org.add_app(sign_on_mode="BOOKMARK"), org.add_app(sign_on_mode="AUTO_LOGIN")
    org.add_key(bookmark.id, active_kid(app))
    signing = {"credentials": {"signing": {"kid": foreign.active_kid}}}
    minimal = {"label": "x", "signOnMode": "SAML_2_0"}
    async with opened(org) as peer:
        replies = [
            await peer.put(app_path(app.id), {"signOnMode": "SAML_2_0"}),
            await peer.put(app_path(app.id), {"label": "x"}),
            await peer.put(app_path(app.id), minimal | signing),
            await peer.put(
                app_path(bookmark.id),
                {
                    "label": "x",
                    "signOnMode": "BOOKMARK",
                    "credentials": {"signing": {"kid": app.active_kid}},
                },
            ),
            await peer.put(app_path(login.id), {"label": "x", "signOnMode": "AUTO_LOGIN"}),
            await peer.put(app_path(app.id), ["not an object"]),
            await peer.put(app_path("0oaunknown"), minimal),
        ]
    found = [(reply.status, reply.json()["errorCode"]) for reply in replies]
    invalid = (400, "E0000001")
    assert found == [*[invalid] * 4, (400, "E0000024"), (400, "E0000003"), (404, "E0000007")]
    assert not any(call.effect for call in org.log)


async def test_lifecycle_calls_switch_the_status() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        down = await peer.post(f"{app_path(app.id)}/lifecycle/deactivate")
        inactive = (await peer.get(app_path(app.id))).json()
        up = await peer.post(f"{app_path(app.id)}/lifecycle/activate")
    assert (down.status, down.json(), up.json()) == (200, {}, {})
    assert (inactive["status"], app.status) == ("INACTIVE", "ACTIVE")
    assert "activate" in inactive["_links"]
    assert "deactivate" not in inactive["_links"]


async def test_the_org_describes_itself_to_anybody() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        reply = await peer.get("/.well-known/okta-organization", headers={"Authorization": ""})
        assert reply.json()["_links"] == {"organization": {"href": peer.url}}
    assert reply.json()["id"] == org.id
    assert "X-Rate-Limit-Limit" not in reply.headers


@pytest.mark.parametrize(
    "credential", ["", "SSWS wrong", "Bearer {token}", "{token}", "SSWS {token}x"]
)
async def test_any_other_credential_is_refused(credential: str) -> None:
    org = SandboxOrg()
    headers = {"Authorization": credential.format(token=org.token)}
    async with opened(org) as peer:
        reply = await peer.get(APPS, headers=headers)
    assert (reply.status, reply.json()["errorCode"]) == (401, "E0000011")
    assert "X-Rate-Limit-Limit" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "E0000008"),
        ("GET", "/api/v1/apps/", 404, "E0000008"),
        ("DELETE", APPS, 405, "E0000022"),
        ("GET", "/api/v1/apps/0oa1/lifecycle/activate", 405, "E0000022"),
    ],
)
async def test_unknown_paths_and_methods(method: str, path: str, status: int, code: str) -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        reply = await peer.send(method, path)
    if path.endswith("apps/"):
        assert reply.status == 404
    else:
        assert (reply.status, reply.json()["errorCode"]) == (status, code)


async def test_every_answer_has_oktas_headers() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        reply = await peer.get(app_path(app.id))
        other = await peer.get(app_path("0oaunknown"))
    for each in (reply, other):
        assert each.headers["Content-Type"] == "application/json"
        assert re.fullmatch(r"[0-9a-f]{32}", each.headers["X-Okta-Request-Id"])
        assert "no-store" in each.headers["Cache-Control"]
        assert each.headers["Set-Cookie"].startswith("JSESSIONID=")
        assert abs(parsedate_to_datetime(each.headers["Date"]).timestamp() - org.epoch()) < 5
    assert reply.headers["X-Okta-Request-Id"] != other.headers["X-Okta-Request-Id"]


async def test_large_reads_are_compressed_for_a_caller_that_takes_it() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        packed = await peer.get(APPS)
        plain = await peer.get(APPS, headers={"Accept-Encoding": "identity"})
        created = await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in created.headers
    assert packed.body == plain.body


async def test_a_post_without_content_length_is_refused() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        where = urlsplit(peer.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        path = f"{keys_path(app.id)}/generate?validityYears=2"
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: SSWS {org.token}\r\n\r\n"
        writer.write(head.encode())
        status_line = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert b" 411 " in status_line
    assert not any(call.effect for call in org.log)


async def test_the_log_tells_what_was_called_and_no_credential() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    kid = active_kid(source)
    async with opened(org) as peer:
        await peer.clone(source, kid, target.id)
        await peer.get("/elsewhere")
    cloned, unmatched = org.log
    assert cloned.template == "/api/v1/apps/{appId}/credentials/keys/{kid}/clone"
    assert (cloned.app, cloned.kid, cloned.target) == (source.id, kid, target.id)
    assert (cloned.status, cloned.bucket, cloned.effect) == (201, "apps", True)
    assert (unmatched.template, unmatched.status, unmatched.bucket) == ("unmatched", 404, None)
    assert org.token not in repr(org.log)
