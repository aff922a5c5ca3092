"""The official Okta SDK works against the sandbox."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.sandbox.peer import active_kid


def sdk_client(url: str, token: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the SDK's own modules warn about
        pytest.importorskip("okta")
        from okta.client import Client
    return Client({"orgUrl": url, "token": token})


@pytest.mark.long
async def test_the_sdk_lists_generates_clones_and_activates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    kid = active_kid(source)
    async with serve(org, limits=LimitSettings()) as served:
        client = sdk_client(served.url, org.token)
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
