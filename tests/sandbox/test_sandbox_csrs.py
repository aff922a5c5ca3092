"""CSRs over real sockets: made, read, destroyed, and answered by a certificate."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.authority import der_of, issued, pem_of, private_key, request_in
from tests.sandbox.peer import Peer, Reply, csrs_path, opened

SUBJECT = {
    "countryName": "US",
    "stateOrProvinceName": "California",
    "localityName": "San Francisco",
    "organizationName": "Okta, Inc.",
    "organizationalUnitName": "Dev",
    "commonName": "SP Issuer",
}
METADATA = {"subject": SUBJECT, "subjectAltNames": {"dnsNames": ["dev.okta.com"]}}
CER, DER, PEM = "application/x-x509-ca-cert", "application/pkix-cert", "application/x-pem-file"


def holder_in(org: SandboxOrg, resource: str) -> KeyHolder:
    return org.add_app() if resource == "app" else org.add_idp()


async def create(peer: Peer, holder: KeyHolder) -> Any:
    reply = await peer.post(csrs_path(holder), body=METADATA)
    assert reply.status == 201, reply.body
    return reply.json()


async def publish(
    peer: Peer, holder: KeyHolder, csr: Any, body: bytes, kind: str = DER, **headers: str
) -> Reply:
    named = {"Content-Type": kind} | {n.replace("_", "-"): v for n, v in headers.items()}
    path = f"{csrs_path(holder)}/{csr['id']}/lifecycle/publish"
    return await peer.post(path, data=body, headers=named)


def cause_of(reply: Reply) -> str:
    error = reply.json()
    assert (reply.status, error["errorCode"]) == (400, "E0000001")
    assert error["errorSummary"] == "Api validation failed: certificate"
    (cause,) = error["errorCauses"]
    return str(cause["errorSummary"])


@pytest.mark.parametrize("resource", ["app", "idp"])
async def test_a_csr_is_signed_for_what_was_asked(resource: str) -> None:
    org = SandboxOrg()
    holder = holder_in(org, resource)
    async with opened(org) as peer:
        reply = await peer.post(csrs_path(holder), body=METADATA)
        url = peer.url
    csr = reply.json()
    request = request_in(csr["csr"])
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert reply.status == 201
    assert list(csr) == ["id", "created", "csr", "kty", "_links"]
    assert reply.headers["Location"] == f"{url}{csrs_path(holder)}/{csr['id']}"
    assert csr["_links"]["self"]["href"] == reply.headers["Location"]
    assert csr["_links"]["publish"]["href"] == f"{reply.headers['Location']}/lifecycle/publish"
    assert request.is_signature_valid
    assert [part.value for part in request.subject] == list(SUBJECT.values())
    assert names.get_values_for_type(x509.DNSName) == ["dev.okta.com"]


async def test_a_csr_waits_outside_the_key_store() -> None:
    org = SandboxOrg()
    app = org.add_app()
    before = org.list_keys(app.id)
    async with opened(org) as peer:
        first, second = await create(peer, app), await create(peer, app)
        listed = await peer.get(csrs_path(app))
        single = await peer.get(f"{csrs_path(app)}/{first['id']}")
    assert listed.json() == [first, second]
    assert single.json() == first
    assert org.list_keys(app.id) == before
    keys = [request_in(csr["csr"]).public_key() for csr in (first, second)]
    assert keys[0] != keys[1]


async def test_a_csr_can_be_had_as_pkcs10() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        path = f"{csrs_path(app)}/{csr['id']}"
        packed = await peer.get(path, headers={"Accept": "application/pkcs10"})
        both = await peer.get(path, headers={"Accept": "application/pkcs10, application/json"})
        made = await peer.post(
            csrs_path(app), body=METADATA, headers={"Accept": "application/pkcs10"}
        )
        neither = await peer.get(path, headers={"Accept": "text/plain"})
    assert packed.body.decode() == csr["csr"]
    assert packed.headers["Content-Type"].startswith("application/pkcs10")
    assert packed.headers["Content-Transfer-Encoding"] == "base64"
    assert both.json() == csr
    assert (made.status, "Location" in made.headers) == (201, True)
    assert request_in(made.body.decode()).is_signature_valid
    assert (neither.status, neither.json()["errorCode"]) == (400, "E0000019")


async def test_a_destroyed_csr_is_gone() -> None:
    org = SandboxOrg()
    app, other = org.add_app(), org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        path = f"{csrs_path(app)}/{csr['id']}"
        elsewhere = await peer.delete(f"{csrs_path(other)}/{csr['id']}")
        gone = await peer.delete(path)
        replies = [await peer.get(path), await peer.delete(path)]
        replies.append(await publish(peer, app, csr, der_of(issued(csr["csr"]))))
        left = await peer.get(csrs_path(app))
    assert elsewhere.status == 404
    assert (gone.status, gone.body) == (204, b"")
    assert "Content-Type" not in gone.headers
    assert [(r.status, r.json()["errorCode"]) for r in replies] == [(404, "E0000007")] * 3
    assert csr["id"] in replies[0].json()["errorSummary"]
    assert left.json() == []


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"subject": {}},
        {"subject": {"commonName": ""}},
        {"subject": {"commonName": 7}},
        {"subject": {"commonName": "x", "countryName": "Utopia"}},
        {"subject": {"commonName": "x" * 65}},
        {"subject": {"commonName": "x"}, "subjectAltNames": {"dnsNames": "a.example"}},
        {"subject": {"commonName": "x"}, "subjectAltNames": {"dnsNames": [1]}},
        {"subject": {"commonName": "x"}, "subjectAltNames": {"dnsNames": ["ü.example"]}},
    ],
)
async def test_a_csr_is_refused_for_what_x509_has_no_room_for(metadata: Any) -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        reply = await peer.post(csrs_path(app), body=metadata)
        no_json = await peer.post(csrs_path(app), data=b"x", headers={"Content-Type": "text/x"})
    assert (reply.status, reply.json()["errorCode"]) == (400, "E0000001")
    assert (no_json.status, no_json.json()["errorCode"]) == (400, "E0000021")
    assert not any(call.effect for call in org.log)


def encodings() -> list[Any]:
    standard = {"Content_Transfer_Encoding": "base64"}
    return [
        pytest.param(DER, der_of, {}, id="der"),
        pytest.param(CER, der_of, {}, id="cer"),
        pytest.param(CER, pem_of, {}, id="cer-pem"),
        pytest.param(PEM, pem_of, {}, id="pem"),
        pytest.param(DER, lambda c: b64encode(der_of(c)), standard, id="der-base64"),
        pytest.param(CER, lambda c: b64encode(der_of(c)), standard, id="cer-base64"),
        pytest.param(CER, lambda c: urlsafe_b64encode(der_of(c)), standard, id="base64url"),
        pytest.param(
            DER, lambda c: urlsafe_b64encode(der_of(c)).rstrip(b"="), standard, id="no-padding"
        ),
    ]


@pytest.mark.parametrize(("kind", "encode", "headers"), encodings())
@pytest.mark.parametrize("resource", ["app", "idp"])
async def test_a_certificate_turns_the_csr_into_a_key(
    resource: str, kind: str, encode: Any, headers: dict[str, str]
) -> None:
    org = SandboxOrg()
    holder = holder_in(org, resource)
    active = holder.active_kid
    async with opened(org) as peer:
        csr = await create(peer, holder)
        certificate = issued(csr["csr"])
        reply = await publish(peer, holder, csr, encode(certificate), kind, **headers)
        left = (await peer.get(csrs_path(holder))).json()
        path = csrs_path(holder).replace("/csrs", "/keys")
        read = await peer.get(f"{path}/{reply.json()['kid']}")
        url = peer.url
    key = reply.json()
    assert reply.status == 201
    assert reply.headers["Location"] == f"{url}{path}/{key['kid']}"
    assert b64decode(key["x5c"][0]) == der_of(certificate)
    assert key["x5t#S256"] == base64url(hashlib.sha256(der_of(certificate)).digest())
    assert key["expiresAt"] == certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert int.from_bytes(urlsafe_b64decode(key["n"] + "=="), "big") == public.public_numbers().n
    assert read.json() == key
    assert left == []
    assert org.holds(holder.id, key["kid"])
    assert holder.active_kid == active


async def test_a_published_key_clones_and_activates_like_any_other() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, source)
        key = (await publish(peer, source, csr, der_of(issued(csr["csr"])))).json()
        cloned = await peer.clone(source, key["kid"], target.id)
        activated = await peer.activate(target, key["kid"])
    assert (cloned.status, activated.status) == (201, 200)
    assert cloned.json()["x5t#S256"] == key["x5t#S256"]
    assert target.active_kid == key["kid"]
    assert org.holders(key["kid"]) == {source.id, target.id}


async def test_a_certificate_for_another_key_is_refused() -> None:
    org = SandboxOrg()
    app = org.add_app()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    async with opened(org) as peer:
        csr, other = await create(peer, app), await create(peer, app)
        wrong = [
            issued(csr["csr"], key=private_key().public_key()),
            issued(csr["csr"], key=curve),
            issued(other["csr"]),
        ]
        replies = [await publish(peer, app, csr, der_of(each)) for each in wrong]
        left = (await peer.get(csrs_path(app))).json()
    assert {cause_of(reply) for reply in replies} == {"The certificate doesn't match the CSR."}
    assert left == [csr, other]
    assert len(org.list_keys(app.id)) == 1


@pytest.mark.parametrize(("days", "status"), [(-1, 400), (30, 400), (89.9, 400), (90.1, 201)])
async def test_a_certificate_must_last_ninety_days(days: float, status: int) -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        reply = await publish(peer, app, csr, der_of(issued(csr["csr"], days=days)))
    assert reply.status == status
    if status == 400:
        assert cause_of(reply) == "The certificate must be valid for more than 90 days."


async def test_ninety_days_are_counted_on_the_orgs_clock() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        org.advance(30 * 24 * 3600)
        reply = await publish(peer, app, csr, der_of(issued(csr["csr"], days=100)))
    assert "90 days" in cause_of(reply)


@pytest.mark.parametrize(
    ("kind", "body", "headers"),
    [
        (DER, b"", {}),
        (DER, b"not a certificate", {}),
        (PEM, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", {}),
        (DER, b"%%%", {"Content_Transfer_Encoding": "base64"}),
        (DER, b"A", {"Content_Transfer_Encoding": "base64"}),
        (DER, "Ünicode-".encode(), {"Content_Transfer_Encoding": "base64"}),
    ],
)
async def test_what_is_no_certificate_is_refused(
    kind: str, body: bytes, headers: dict[str, str]
) -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        reply = await publish(peer, app, csr, body, kind, **headers)
    assert cause_of(reply)
    assert app.csrs


async def test_a_certificate_of_no_known_version_is_refused() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        version_3, version_6 = bytes.fromhex("a003020102"), bytes.fromhex("a003020105")
        body = der_of(issued(csr["csr"])).replace(version_3, version_6, 1)
        reply = await publish(peer, app, csr, body)
    assert reply.status == 400
    assert cause_of(reply)
    assert app.csrs


async def test_a_certificate_of_no_known_type_is_refused() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        csr = await create(peer, app)
        reply = await publish(peer, app, csr, der_of(issued(csr["csr"])), "text/plain")
    assert (reply.status, reply.json()["errorCode"]) == (400, "E0000021")


async def test_csrs_share_the_bucket_of_the_keys() -> None:
    org = SandboxOrg()
    app, idp = org.add_app(), org.add_idp()
    async with opened(org) as peer:
        for holder in (app, idp):
            csr = await create(peer, holder)
            await peer.get(csrs_path(holder))
            await publish(peer, holder, csr, der_of(issued(csr["csr"])))
    assert [call.bucket for call in org.log] == ["apps"] * 3 + ["v1"] * 3
    assert [call.resource for call in org.log] == ["app"] * 3 + ["idp"] * 3
