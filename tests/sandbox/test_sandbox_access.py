"""What callers may do: tokens that end, scopes, admin roles, principals, and who the log names."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from orchestrator.sandbox.clientele import GRANTED_SCOPES
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import Peer, Reply, active_kid, opened
from tests.sandbox.service_client import (
    READ,
    ask,
    ask_with_proof,
    bearer,
    possessed,
    service_app,
    token_of,
)
from tests.support import SHARED, needs_shared

APPS, IDPS, LOGS = "/api/v1/apps", "/api/v1/idps", "/api/v1/logs"
PRINCIPALS = "/api/v1/principal-rate-limits"
SSWS_ONES = {"filter": 'principalType eq "SSWS_TOKEN"'}
CLIENTS = {"filter": 'principalType eq "OAUTH_CLIENT"'}


async def token_for(peer: Peer, scope: str = READ, **settings: Any) -> str:
    """Return a token of a new service app."""
    return await token_of(await ask(peer, service_app(peer.org, **settings), scope=scope))


def is_invalid_token(reply: Reply) -> bool:
    challenge = reply.headers.get("WWW-Authenticate", "")
    return (
        reply.status == 401
        and reply.json()["errorCode"] == "E0000011"
        and challenge.startswith("Bearer ")
        and 'error="invalid_token"' in challenge
    )


async def test_a_token_ends_when_its_time_is_up() -> None:
    org = SandboxOrg()
    org.token_lifetime_seconds = 60
    async with opened(org) as peer:
        reply = await ask(peer, service_app(org))
        token = await token_of(reply)
        org.advance(58)
        before = await peer.get(APPS, headers=bearer(token))
        org.advance(2)
        after = await peer.get(APPS, headers=bearer(token))
    assert reply.json()["expires_in"] == 60
    assert before.status == 200
    assert is_invalid_token(after)
    assert "expired" in after.headers["WWW-Authenticate"]
    assert "X-Rate-Limit-Limit" not in after.headers


async def test_revoked_and_unknown_tokens_are_invalid_and_new_ones_are_not() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        client = service_app(org)
        old = await token_of(await ask(peer, client))
        org.revoke_tokens()
        new = await token_of(await ask(peer, client))
        revoked = await peer.get(APPS, headers=bearer(old))
        unknown = await peer.get(APPS, headers=bearer("made.up.token"))
        renewed = await peer.get(APPS, headers=bearer(new))
    assert is_invalid_token(revoked)
    assert is_invalid_token(unknown)
    assert renewed.status == 200


@pytest.mark.parametrize(
    ("granted", "method", "path", "lacking"),
    [
        ("okta.apps.read", "GET", APPS, None),
        ("okta.apps.manage", "GET", APPS, None),
        ("okta.apps.read", "PUT", f"{APPS}/0oaX", "okta.apps.manage"),
        ("okta.apps.read", "POST", f"{APPS}/0oaX/credentials/keys/generate", "okta.apps.manage"),
        ("okta.idps.read", "GET", IDPS, None),
        ("okta.apps.manage", "GET", IDPS, "okta.idps.read"),
        ("okta.idps.read", "PUT", f"{IDPS}/0oaX", "okta.idps.manage"),
        ("okta.logs.read", "GET", LOGS, None),
        ("okta.apps.manage", "GET", LOGS, "okta.logs.read"),
        ("okta.apps.manage", "GET", PRINCIPALS, "okta.principalRateLimits.read"),
    ],
)
async def test_each_path_needs_its_scope(
    granted: str, method: str, path: str, lacking: str | None
) -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        token = await token_for(peer, granted)
        reply = await peer.send(method, path, headers=bearer(token), data=b"")
    if lacking is None:
        assert reply.status == 200
        return
    assert (reply.status, reply.body) == (403, b"")
    assert "Content-Type" not in reply.headers
    assert reply.headers["WWW-Authenticate"] == (
        f'Bearer authorization_uri="{peer.url}/oauth2/v1/authorize", realm="{peer.url}", '
        f'scope="{lacking}", error="insufficient_scope", '
        'error_description="The access token provided does not contain the required scopes.", '
        f'resource="{path}"'
    )
    assert org.log[-1].bucket is not None
    assert reply.rate[1] == reply.rate[0] - 1


async def test_a_missing_scope_is_told_in_the_scheme_of_the_token() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        token = await token_of(await ask_with_proof(peer, service_app(org)))
        reply = await peer.get(IDPS, headers=possessed(peer, "GET", IDPS, token))
    assert (reply.status, reply.body) == (403, b"")
    assert reply.headers["WWW-Authenticate"].startswith("DPoP ")


async def test_a_service_app_needs_an_admin_role_besides() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        client = service_app(org, has_role=False)
        token = await token_of(await ask(peer, client))
        refused = await peer.get(f"{APPS}/{app.id}", headers=bearer(token))
        client.has_role = True
        allowed = await peer.get(f"{APPS}/{app.id}", headers=bearer(token))
    assert (refused.status, refused.json()["errorCode"]) == (403, "E0000006")
    assert "WWW-Authenticate" not in refused.headers
    assert refused.rate[1] - allowed.rate[1] == 1
    assert allowed.status == 200


async def test_an_api_token_may_do_what_its_admin_may() -> None:
    org = SandboxOrg()
    app = org.add_app()
    path = f"{APPS}/{app.id}/credentials/keys"
    seen = {}
    async with opened(org) as peer:
        for role in ("admin", "read_only", "none"):
            org.token_role = role
            read = await peer.get(path)
            made = await peer.post(f"{path}/generate?validityYears=2")
            seen[role] = (read.status, made.status)
    assert seen == {"admin": (200, 201), "read_only": (200, 403), "none": (403, 403)}
    assert len(org.list_keys(app.id)) == 2
    assert made.json()["errorCode"] == "E0000006"


async def test_an_expired_api_token_is_known_before_anything_else() -> None:
    org = SandboxOrg()
    org.token_expired = True
    async with opened(org) as peer:
        reply = await peer.get(APPS, headers={"Accept": "text/plain"})
        known = await peer.get("/.well-known/okta-organization")
    assert (reply.status, reply.json()["errorCode"]) == (401, "E0000011")
    assert "X-Rate-Limit-Limit" not in reply.headers
    assert "WWW-Authenticate" not in reply.headers
    assert known.status == 200


async def test_a_fault_lets_nobody_do_more_than_they_may() -> None:
    org = SandboxOrg()
    org.token_role = "read_only"
    source, target = org.add_app(), org.add_app()
    faults = FaultScript.of([Fault(kind="lie", times=1), Fault(kind="drop", when="after", times=1)])
    async with opened(org, faults=faults) as peer:
        lied = await peer.clone(source, active_kid(source), target.id)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await peer.clone(source, active_kid(source), target.id)
    assert lied.status == 403
    assert not org.holds(target.id, active_kid(source))


async def test_the_log_names_the_service_app() -> None:
    org = SandboxOrg()
    app = org.add_app()
    path = f"{APPS}/{app.id}/credentials/keys/generate?validityYears=2"
    async with opened(org) as peer:
        client = service_app(org)
        token = await token_of(await ask(peer, client, scope="okta.apps.manage"))
        made = await peer.post(path, headers=bearer(token))
        await peer.post(path)
        events = (await peer.get(LOGS)).json()
    assert [event["actor"]["id"] for event in events] == [client.client_id, org.caller.id]
    ours = events[0]
    assert ours["actor"]["type"] == "PublicClientApp"
    assert ours["actor"]["displayName"] == client.label
    assert ours["transaction"]["id"] == made.headers["X-Okta-Request-Id"]
    assert ours["transaction"]["detail"] == {}


async def test_principals_show_their_share_of_the_limits() -> None:
    org = SandboxOrg()
    client = service_app(org)
    async with opened(org, limits=LimitSettings(share=0.3)) as peer:
        (token,) = (await peer.get(PRINCIPALS, query=SSWS_ONES)).json()
        (app,) = (await peer.get(PRINCIPALS, query=CLIENTS)).json()
        apps = await peer.get(APPS)
    assert token["principalId"] == org.caller.token_id
    assert app["principalId"] == client.client_id
    assert app["principalType"] == "OAUTH_CLIENT"
    assert token["defaultPercentage"] == app["defaultConcurrencyPercentage"] == 30
    assert apps.rate[0] == 30


async def test_principals_need_a_filter_and_a_role() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        missing = await peer.get(PRINCIPALS)
        wrong = await peer.get(PRINCIPALS, query={"filter": 'principalType eq "USER"'})
        token = await token_for(peer, "okta.principalRateLimits.read")
        allowed = await peer.get(PRINCIPALS, query=CLIENTS, headers=bearer(token))
        org.token_role = "none"
        refused = await peer.get(PRINCIPALS, query=SSWS_ONES)
    assert (missing.status, missing.json()["errorCode"]) == (400, "E0000001")
    assert (wrong.status, wrong.json()["errorCode"]) == (400, "E0000031")
    assert (refused.status, refused.json()["errorCode"]) == (403, "E0000006")
    assert allowed.status == 200


@needs_shared
async def test_principals_answer_as_recorded() -> None:
    step = json.loads((SHARED / "wire" / "principal_rate_limits.json").read_text())[0]["response"]
    org = SandboxOrg()
    async with opened(org, limits=LimitSettings()) as peer:
        reply = await peer.get(PRINCIPALS, query=SSWS_ONES)
    theirs, (ours,) = step["body"][0], reply.json()
    assert list(ours) == list(theirs)
    assert [len(str(value)) for value in ours.values()] == [len(str(v)) for v in theirs.values()]
    assert reply.rate[:2] == (int(step["headers"]["x-rate-limit-limit"]), 99)
    assert ours["defaultPercentage"] == theirs["defaultPercentage"]


async def test_service_apps_shift_no_id_and_are_granted_all_that_is_served() -> None:
    plain, served = SandboxOrg(seed=3), SandboxOrg(seed=3)
    client = service_app(served)
    assert plain.add_app().id == served.add_app().id
    assert client.scopes == set(GRANTED_SCOPES)
    assert client.client_id == service_app(SandboxOrg(seed=3)).client_id
