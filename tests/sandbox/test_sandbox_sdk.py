"""The official Okta SDK works against the sandbox."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.sandbox.peer import active_kid
from tests.sandbox.service_client import pem, rsa_key, service_app


def sdk_client(settings: Mapping[str, object]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the SDK's own modules warn about
        pytest.importorskip("okta")
        from okta.client import Client
    return Client(dict(settings))


@pytest.mark.long
async def test_the_sdk_lists_generates_clones_and_activates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    kid = active_kid(source)
    async with serve(org, limits=LimitSettings()) as served:
        client = sdk_client({"orgUrl": served.url, "token": org.token})
        apps, _, _ = await client.list_applications(limit=20)
        generated, _, _ = await client.generate_application_key(source.id, validity_years=2)
        cloned, _, _ = await client.clone_application_key(source.id, kid, target.id)
        _, _, duplicate = await client.clone_application_key(source.id, kid, target.id)
        app, _, _ = await client.get_application(target.id)
        app.credentials.signing.kid = kid
        replaced, _, _ = await client.replace_application(target.id, app)
    assert [app.id for app in apps] == [source.id, target.id]
    assert org.holds(source.id, generated.kid)
    assert cloned.kid == kid
    assert "already exists" in str(duplicate)
    assert replaced.credentials.signing.kid == target.active_kid == kid


@pytest.mark.long
@pytest.mark.parametrize("dpop", [False, True])
async def test_the_sdk_calls_as_a_service_app(monkeypatch: pytest.MonkeyPatch, dpop: bool) -> None:
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    client = service_app(org, requires_dpop=dpop)
    async with serve(org, limits=LimitSettings()) as served:
        settings = {
            "orgUrl": served.url,
            "authorizationMode": "PrivateKey",
            "clientId": client.client_id,
            "scopes": ["okta.apps.manage", "okta.apps.read"],
            "privateKey": pem(rsa_key()),
            "dpopEnabled": dpop,
        }
        sdk = sdk_client(settings)
        apps, _, problem = await sdk.list_applications(limit=20)
        assert problem is None
        cloned, _, _ = await sdk.clone_application_key(source.id, active_kid(source), target.id)
        await sdk.list_identity_providers()  # of an empty 403, the SDK makes no error
    assert [app.id for app in apps] == [source.id, target.id]
    assert cloned.kid == active_kid(source)
    fetches = [call.status for call in org.log if call.bucket == "token"]
    assert fetches == ([400, 200] if dpop else [200])
    assert org.system_log.events[0].by.person.id == client.client_id
    assert org.log[-1].status == 403
