"""Okta's own SDK walks Okta's guide on sharing a key, against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.sandbox.authority import request_in

SOURCE = "0oa8ae1t5yev2ajDs0h7"
TARGET = "0oa8ae0dv4RGQvjyZ0h7"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the SDK from the settings of whoever runs the tests, and let it speak HTTP."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    return tmp_path


def value_of(answer: tuple[Any, Any, Any], status: int) -> Any:
    """Return the value of an SDK answer, which is a triple of value, response and error."""
    value, response, error = answer
    assert error is None, error
    assert response.status_code == status
    return value


def thumbprint_of(key: Any) -> str:
    return str(key.x5t_s256)


@pytest.mark.usefixtures("home")
async def test_the_sdk_shares_a_key() -> None:
    okta_client = pytest.importorskip("okta.client", reason="Okta's SDK is not installed")
    org = SandboxOrg()
    source, target = org.add_app(SOURCE, label="Source"), org.add_app(TARGET, label="Target")
    async with (
        serve(org) as served,
        okta_client.Client({"orgUrl": served.url, "token": org.token}) as sdk,
    ):
        (own,) = value_of(await sdk.list_application_keys(SOURCE), 200)
        assert own.kid == source.active_kid

        key = value_of(await sdk.generate_application_key(SOURCE, 2), 201)
        assert org.holds(SOURCE, key.kid)
        assert not org.holds(TARGET, key.kid)

        cloned = value_of(await sdk.clone_application_key(SOURCE, key.kid, TARGET), 201)
        assert (cloned.kid, thumbprint_of(cloned)) == (key.kid, thumbprint_of(key))
        assert org.holds(TARGET, key.kid)

        nothing, _, error = await sdk.clone_application_key(SOURCE, key.kid, TARGET)
        assert nothing is None
        assert (error.status, error.error_code) == (400, "E0000001")
        assert "already exists" in str(error.error_causes)

        read = value_of(await sdk.get_application_key(TARGET, key.kid), 200)
        assert thumbprint_of(read) == thumbprint_of(key)
        assert target.active_kid != key.kid

        app = value_of(await sdk.get_application(TARGET), 200)
        app.credentials.signing.kid = key.kid
        replaced = value_of(await sdk.replace_application(TARGET, app), 200)
        assert replaced.credentials.signing.kid == key.kid
    assert target.active_kid == key.kid
    assert source.active_kid == own.kid
    assert [call.status for call in org.log] == [200, 201, 201, 400, 200, 200, 200]


@pytest.mark.usefixtures("home")
async def test_the_sdk_rotates_the_key_of_an_idp() -> None:
    okta_client = pytest.importorskip("okta.client", reason="Okta's SDK is not installed")
    org = SandboxOrg()
    source, target = org.add_idp(name="Source"), org.add_idp(name="Target")
    async with (
        serve(org) as served,
        okta_client.Client({"orgUrl": served.url, "token": org.token}) as sdk,
    ):
        listed = value_of(await sdk.list_identity_providers(), 200)
        assert [idp.id for idp in listed] == [source.id, target.id]

        # The SDK expects 200, as Okta's document says, and has no value for the 201 of real orgs.
        assert value_of(await sdk.generate_identity_provider_signing_key(source.id, 2), 201) is None
        *_, key = value_of(await sdk.list_identity_provider_signing_keys(source.id), 200)

        cloned = value_of(await sdk.clone_identity_provider_key(source.id, key.kid, target.id), 201)
        assert thumbprint_of(cloned) == thumbprint_of(key)
        nothing, _, error = await sdk.clone_identity_provider_key(source.id, key.kid, target.id)
        assert nothing is None
        assert "already exists" in str(error.error_causes)

        idp = value_of(await sdk.get_identity_provider(target.id), 200)
        idp.protocol.actual_instance.credentials.signing.kid = key.kid
        value_of(await sdk.replace_identity_provider(target.id, idp), 200)
        answer = await sdk.list_active_identity_provider_signing_key(target.id)
        (active,) = value_of(answer, 200)
    assert active.kid == target.active_kid == key.kid
    assert source.active_kid == source.own_kid


@pytest.mark.usefixtures("home")
async def test_the_sdk_makes_and_revokes_a_csr_and_reads_the_log() -> None:
    okta_client = pytest.importorskip("okta.client", reason="Okta's SDK is not installed")
    from okta.models import CsrMetadata, CsrMetadataSubject

    org = SandboxOrg()
    org.add_app(SOURCE)
    async with (
        serve(org) as served,
        okta_client.Client({"orgUrl": served.url, "token": org.token}) as sdk,
    ):
        metadata = CsrMetadata(subject=CsrMetadataSubject(common_name="SP Issuer"))
        made = value_of(await sdk.generate_csr_for_application(SOURCE, metadata), 201)
        csr = json.loads(made)
        (listed,) = value_of(await sdk.list_csrs_for_application(SOURCE), 200)
        assert listed.id == csr["id"]
        assert request_in(listed.csr).is_signature_valid
        value_of(await sdk.revoke_csr_from_application(SOURCE, csr["id"]), 204)
        assert value_of(await sdk.list_csrs_for_application(SOURCE), 200) == []
        events = value_of(await sdk.list_log_events(), 200)
    kinds = [event.event_type for event in events]
    assert kinds == ["app.app_instance.csr.generate", "app.app_instance.csr.revoke"]
    assert {event.target[0].id for event in events} == {SOURCE}
    assert events[0].transaction.id == org.log[0].request_id
