"""The key endpoints over real sockets: list, read, generate, clone, metadata."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from base64 import b64decode, urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import active_kid, app_path, keys_path, opened

RECORDED = Path(__file__).parents[3] / "shared" / "wire" / "clone_app_key.json"
FIELDS = [
    "kty", "created", "lastUpdated", "expiresAt", "kid", "use", "x5c", "x5t#S256", "e", "n",
]  # fmt: skip
OKTA_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z")


def decoded(key: dict[str, Any]) -> tuple[bytes, x509.Certificate]:
    der = b64decode(key["x5c"][0], validate=True)
    return der, x509.load_der_x509_certificate(der)


async def test_a_key_looks_like_a_recorded_one_and_describes_its_certificate() -> None:
    org = SandboxOrg(seed=1, name="acme")
    app = org.add_app()
    async with opened(org) as peer:
        key = (await peer.get(f"{keys_path(app.id)}/{app.active_kid}")).json()
    der, certificate = decoded(key)
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert list(key) == FIELDS
    assert (key["kty"], key["use"], key["e"]) == ("RSA", "sig", "AQAB")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key["kid"])
    assert key["x5t#S256"] == base64url(hashlib.sha256(der).digest())
    assert int.from_bytes(urlsafe_b64decode(key["n"] + "=="), "big") == public.public_numbers().n
    assert key["expiresAt"] == certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert OKTA_DATE.fullmatch(key["created"])
    assert key["created"] == key["lastUpdated"]


async def test_a_certificate_is_made_like_oktas() -> None:
    org = SandboxOrg(name="acme")
    certificate = decoded(org.list_keys(org.add_app().id)[0])[1]
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    assert certificate.version is x509.Version.v3
    assert len(certificate.extensions) == 0
    assert isinstance(certificate.signature_hash_algorithm, SHA256)
    assert certificate.issuer == certificate.subject
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "acme"
    certificate.verify_directly_issued_by(certificate)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded traffic is not at hand")
def test_a_certificate_has_the_subject_fields_of_a_recorded_one() -> None:
    exchanges = json.loads(RECORDED.read_text())
    recorded = next(x["response"]["body"] for x in exchanges if x["response"]["status"] == 201)
    org = SandboxOrg()
    ours = org.list_keys(org.add_app().id)[0]
    assert list(ours) == list(recorded)
    names = [decoded(key)[1].subject for key in (ours, recorded)]
    shapes = [[(part.oid, part._type) for part in name] for name in names]
    assert shapes[0] == shapes[1]


async def test_keys_are_listed_newest_first() -> None:
    org = SandboxOrg()
    app = org.add_app(kids=["a" * 43])
    newest = org.add_key(app.id)
    async with opened(org) as peer:
        listed = (await peer.get(keys_path(app.id))).json()
    assert [key["kid"] for key in listed] == [newest, "a" * 43, app.own_kid]


async def test_generate_stores_a_key_without_activating_it() -> None:
    org = SandboxOrg()
    app = org.add_app()
    before = app.active_kid
    async with opened(org) as peer:
        reply = await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        key = reply.json()
        assert reply.headers["Location"] == f"{peer.url}{keys_path(app.id)}/{key['kid']}"
    assert reply.status == 201
    assert org.holds(app.id, key["kid"])
    assert app.active_kid == before
    assert int(key["expiresAt"][:4]) - int(key["created"][:4]) == 2


@pytest.mark.parametrize("query", ["", "?validityYears=1", "?validityYears=11", "?validityYears=x"])
async def test_generate_refuses_a_validity_out_of_range(query: str) -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        reply = await peer.post(f"{keys_path(app.id)}/generate{query}")
    error = reply.json()
    assert reply.status == 400
    assert error["errorSummary"] == "Api validation failed: generateKey"
    cause = "Validity years out of range. It should be 2 - 10 years."
    assert error["errorCauses"] == [{"errorSummary": cause}]
    assert len(org.list_keys(app.id)) == 1


async def test_clone_stores_the_key_and_names_the_target_in_location() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    kid = active_kid(source)
    original = org.get_key(source.id, kid)
    async with opened(org) as peer:
        reply = await peer.clone(source, kid, target.id)
        assert reply.headers["Location"] == f"{peer.url}{keys_path(target.id)}/{kid}"
    assert reply.status == 201
    same = ("kid", "x5c", "x5t#S256", "n", "e", "expiresAt")
    assert [reply.json()[name] for name in same] == [original[name] for name in same]
    assert org.holders(kid) == {source.id, target.id}
    assert target.active_kid != kid


async def test_a_second_clone_gets_the_recorded_duplicate_answer() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    async with opened(org) as peer:
        await peer.clone(source, active_kid(source), target.id)
        reply = await peer.clone(source, active_kid(source), target.id)
    error = reply.json()
    assert reply.status == 400
    assert list(error) == ["errorCode", "errorSummary", "errorLink", "errorId", "errorCauses"]
    assert (error["errorCode"], error["errorLink"]) == ("E0000001", "E0000001")
    assert error["errorSummary"] == "Api validation failed: cloneKey"
    cause = "Key already exists in the list of key credentials for the target app."
    assert error["errorCauses"] == [{"errorSummary": cause}]
    assert [call.effect for call in org.log] == [True, False]


@pytest.mark.parametrize("mode", ["BOOKMARK", "AUTO_LOGIN", "OPENID_CONNECT"])
@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE"])
async def test_clone_looks_neither_at_sign_on_mode_nor_at_status(mode: str, status: str) -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app(sign_on_mode=mode, status=status)
    async with opened(org) as peer:
        reply = await peer.clone(source, active_kid(source), target.id)
    assert reply.status == 201


async def test_a_404_names_the_resource_that_is_missing() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    gone = org.add_app()
    org.remove_app(gone.id)
    kid = active_kid(source)
    async with opened(org) as peer:
        replies = [
            await peer.clone(source, kid, gone.id),
            await peer.clone(gone, kid, target.id),
            await peer.clone(source, "b" * 43, target.id),
            await peer.get(f"{keys_path(target.id)}/{kid}"),
        ]
    assert [reply.status for reply in replies] == [404] * 4
    assert {reply.json()["errorCode"] for reply in replies} == {"E0000007"}
    assert [reply.json()["errorSummary"] for reply in replies] == [
        f"Not found: Resource not found: {gone.id} (AppInstance)",
        f"Not found: Resource not found: {gone.id} (AppInstance)",
        f"Not found: Resource not found: {'b' * 43} (KeyCredential)",
        f"Not found: Resource not found: {kid} (KeyCredential)",
    ]
    assert all("X-Rate-Limit-Remaining" in reply.headers for reply in replies)


async def test_clone_without_a_target_is_a_validation_error() -> None:
    org = SandboxOrg()
    source = org.add_app()
    async with opened(org) as peer:
        reply = await peer.post(f"{keys_path(source.id)}/{source.active_kid}/clone")
    assert (reply.status, reply.json()["errorCode"]) == (400, "E0000001")


async def test_metadata_holds_the_certificate_of_the_key_asked_for() -> None:
    org = SandboxOrg()
    app = org.add_app()
    staged = org.add_key(app.id)
    path = f"{app_path(app.id)}/sso/saml/metadata"
    async with opened(org) as peer:
        reply = await peer.get(path, query={"kid": staged}, headers={"Accept": "application/xml"})
        as_json = await peer.get(
            path, query={"kid": staged}, headers={"Accept": "application/json"}
        )
        no_kid = await peer.get(path)
    assert reply.headers["Content-Type"] == "application/xml;charset=ISO-8859-1"
    certificates = [
        element.text
        for element in ET.fromstring(reply.body).iter()  # noqa: S314 - our own XML
        if element.tag.endswith("X509Certificate")
    ]
    assert certificates == org.get_key(app.id, staged)["x5c"]
    assert (as_json.status, as_json.json()["errorCode"]) == (400, "E0000019")
    assert "X-Rate-Limit-Limit" not in as_json.headers
    assert no_kid.status == 400
