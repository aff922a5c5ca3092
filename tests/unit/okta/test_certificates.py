"""Certificates inside keys: what is read, what is refused, and what is only read once."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator.errors import InputError
from orchestrator.okta.certificates import (
    certificate_of,
    certificate_of_text,
    csr_mismatch,
    der_of,
    fingerprints,
    pem_of,
    pem_of_x5c,
    read_certificate_file,
    thumbprint_of,
    x5c_in_metadata,
)
from orchestrator.okta.wire import JsonWebKey

SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
NO_ALGORITHM = bytes.fromhex("2a864886f70d01017f")

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


NAME = x509.Name.from_rfc4514_string("CN=acme,O=Okta")


def signed(
    key: Key,
    digest: hashes.SHA256 | hashes.SHA384 | None,
    *,
    begin: datetime = datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
    end: datetime = datetime(2034, 2, 28, 1, 2, 3, tzinfo=UTC),
) -> bytes:
    """Return the DER of a self-signed certificate."""
    builder = x509.CertificateBuilder(
        issuer_name=NAME,
        subject_name=NAME,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=begin,
        not_valid_after=end,
    )
    return builder.sign(key, digest).public_bytes(Encoding.DER)


@cache
def rsa_der() -> bytes:
    return signed(rsa.generate_private_key(public_exponent=65537, key_size=2048), hashes.SHA256())


def text(der: bytes) -> str:
    return base64.b64encode(der).decode()


def url_text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_a_certificate_is_read_from_its_der() -> None:
    certificate = certificate_of(JsonWebKey(x5c=[text(rsa_der())]))
    assert certificate.thumbprint == url_text(hashlib.sha256(rsa_der()).digest())
    assert certificate.not_before == datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC)
    assert certificate.not_after == datetime(2034, 2, 28, 1, 2, 3, tzinfo=UTC)
    assert certificate.subject == "CN=acme,O=Okta"
    assert certificate.x5c == text(rsa_der())
    assert (certificate.signature_hash, certificate.key_bits) == ("sha256", 2048)


@pytest.mark.parametrize(
    ("key", "digest", "name", "bits"),
    [
        (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), "sha256", 256),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), "sha384", 384),
        (ed25519.Ed25519PrivateKey.generate(), None, "none", 0),
    ],
    ids=["P-256", "P-384", "Ed25519"],
)
def test_keys_other_than_rsa_are_read_too(
    key: Key, digest: hashes.SHA256 | None, name: str, bits: int
) -> None:
    certificate = certificate_of_text(text(signed(key, digest)))
    assert (certificate.signature_hash, certificate.key_bits) == (name, bits)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\n\t ", " "])
def test_base64_may_be_wrapped(line_break: str) -> None:
    plain = text(rsa_der())
    lines = [plain[start : start + 64] for start in range(0, len(plain), 64)]
    wrapped = line_break.join(lines) + line_break
    assert wrapped != plain
    assert certificate_of_text(wrapped) == certificate_of_text(plain)


@pytest.mark.parametrize("x5c", ["a", "====", "AA==AA", "AA-_", "é", "-----BEGIN CERTIFICATE-----"])
def test_what_is_not_base64_is_a_value_error(x5c: str) -> None:
    with pytest.raises(ValueError, match=r"not base64|only ASCII"):
        der_of(x5c)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"not a certificate",
        rsa_der()[:-1],
        rsa_der() + b"\0",
        rsa_der().replace(b"240229010203Z", b"241329010203Z"),
    ],
    ids=["empty", "text", "cut short", "too long", "month 13"],
)
def test_what_is_not_a_certificate_is_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError, match="asn1"):
        certificate_of_text(text(der))


@pytest.mark.parametrize("algorithm", [SHA256_WITH_RSA, RSA_ENCRYPTION], ids=["signature", "key"])
def test_an_algorithm_that_nobody_knows_is_a_value_error(algorithm: bytes) -> None:
    der = rsa_der().replace(algorithm, NO_ALGORITHM)
    assert der != rsa_der()
    with pytest.raises(ValueError):  # noqa: PT011 - the wording is not ours
        certificate_of_text(text(der))


def of_version_six() -> bytes:
    """Return a certificate of a version that X.509 does not have: it counts from 0, and has 3."""
    return rsa_der().replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020105"))


def test_a_version_that_nobody_knows_is_a_value_error() -> None:
    assert of_version_six() != rsa_der()
    with pytest.raises(ValueError, match="version is not known"):
        certificate_of_text(text(of_version_six()))


def test_a_file_with_a_version_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="no certificate that can be read"):
        read_certificate_file(of_version_six())


def test_a_key_without_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="no certificate"):
        certificate_of(JsonWebKey(kid="k"))


def test_the_thumbprint_of_the_key_must_be_that_of_its_certificate() -> None:
    thumbprint = thumbprint_of(rsa_der())
    key = JsonWebKey(x5c=[text(rsa_der())], x5t_s256=thumbprint)
    assert certificate_of(key).thumbprint == thumbprint


@pytest.mark.parametrize(
    "thumbprint",
    [
        "",
        thumbprint_of(b"another"),
        thumbprint_of(rsa_der()) + "=",
        thumbprint_of(rsa_der()).swapcase(),
        url_text(hashlib.sha1(rsa_der(), usedforsecurity=False).digest()),
        hashlib.sha256(rsa_der()).hexdigest(),
    ],
    ids=["empty", "another's", "padded", "other case", "SHA-1", "hex"],
)
def test_any_other_thumbprint_is_refused(thumbprint: str) -> None:
    with pytest.raises(ValueError, match="not the thumbprint"):
        certificate_of(JsonWebKey(x5c=[text(rsa_der())], x5t_s256=thumbprint))


def test_only_the_leaf_of_a_chain_counts() -> None:
    key = JsonWebKey(x5c=[text(rsa_der()), "not even base64!"])
    assert certificate_of(key).thumbprint == thumbprint_of(rsa_der())


def test_thumbprints_are_base64url_without_padding() -> None:
    """See RFC 7515 appendix C for the alphabet; the digest is that of no bytes at all."""
    assert thumbprint_of(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


def test_a_certificate_is_parsed_once() -> None:
    key = JsonWebKey(x5c=[text(rsa_der())])
    assert certificate_of(key) is certificate_of(key)


# Other forms of a certificate

NO_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_pem_is_what_the_certificate_came_from() -> None:
    pem = pem_of(rsa_der())
    assert pem == pem_of_x5c(text(rsa_der()))
    assert pem.splitlines()[0] == "-----BEGIN CERTIFICATE-----"
    assert pem.endswith("-----END CERTIFICATE-----\n")
    assert max(len(line) for line in pem.splitlines()) == 64
    assert x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) == rsa_der()


def test_fingerprints_are_digests_of_the_der() -> None:
    prints = fingerprints(certificate_of_text(text(rsa_der())))
    assert prints.sha1 == hashlib.sha1(rsa_der(), usedforsecurity=False).hexdigest()
    assert prints.sha256 == hashlib.sha256(rsa_der()).hexdigest()


def test_a_file_may_be_der_or_any_number_of_certificates_in_pem() -> None:
    other = signed(elliptic(), hashes.SHA256())
    assert read_certificate_file(rsa_der()) == [rsa_der()]
    one, two = pem_of(rsa_der()), pem_of(other)
    bag = f"Bag Attributes\n  friendlyName: x\n{one}\nsubject=CN = y\r\n{two}".encode()
    assert read_certificate_file(bag) == [rsa_der(), other]
    assert read_certificate_file(one.replace("\n", "\r\n").encode()) == [rsa_der()]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a certificate",
        text(rsa_der()).encode(),
        rsa_der()[:-1],
        pem_of(rsa_der()).encode()[:-60],
        pem_of(rsa_der()).replace("A", "!", 9).encode(),
        NO_CERTIFICATE,
        pem_of(rsa_der()).encode() + NO_CERTIFICATE,
        pem_of(rsa_der()).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode(),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
    ],
    ids=["empty", "text", "bare base64", "cut DER", "cut PEM", "no base64", "no certificate",
         "second is none", "request", "private key"],
)  # fmt: skip
def test_a_file_without_a_readable_certificate_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError, match="no certificate that can be read") as caught:
        read_certificate_file(data)
    assert caught.value.hint
    assert "PRIVATE" not in caught.value.diagnostics()


# Signing requests


@cache
def elliptic() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def request() -> bytes:
    builder = x509.CertificateSigningRequestBuilder(subject_name=NAME)
    return builder.sign(elliptic(), hashes.SHA256()).public_bytes(Encoding.DER)


NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def mismatch(key: Key, begin: datetime, end: datetime) -> str | None:
    certificate = signed(key, hashes.SHA256(), begin=begin, end=end)
    return csr_mismatch(request(), certificate, NOW)


@pytest.mark.parametrize("end", [NOW + 90 * DAY + timedelta(seconds=1), NOW + 4000 * DAY])
@pytest.mark.parametrize("begin", [NOW, NOW - 400 * DAY])
def test_a_certificate_for_the_request_can_be_published(begin: datetime, end: datetime) -> None:
    assert mismatch(elliptic(), begin, end) is None


@pytest.mark.parametrize(
    ("end", "day"),
    [(NOW + 90 * DAY, "2026-08-30"), (NOW + DAY, "2026-06-02"), (NOW - DAY, "2026-05-31")],
)
def test_a_certificate_that_ends_too_soon_cannot(end: datetime, day: str) -> None:
    said = mismatch(elliptic(), NOW - 400 * DAY, end)
    assert said == f"the certificate ends on {day}, and Okta wants more than 90 days left"


def test_a_certificate_that_is_not_valid_yet_cannot() -> None:
    said = mismatch(elliptic(), NOW + DAY, NOW + 400 * DAY)
    assert said == "the certificate is not valid before 2026-06-02"


def test_a_certificate_for_another_key_cannot() -> None:
    said = mismatch(ec.generate_private_key(ec.SECP256R1()), NOW, NOW + 400 * DAY)
    assert said == "the certificate is for another public key than the signing request"


def test_what_is_no_request_or_no_certificate_is_a_value_error() -> None:
    for pair in ((rsa_der(), rsa_der()), (request(), request()), (b"", b"")):
        with pytest.raises(ValueError, match=r"asn1|parsing"):
            csr_mismatch(*pair, NOW)


# Metadata

DS = "http://www.w3.org/2000/09/xmldsig#"
METADATA = f"""<?xml version="1.0" encoding="UTF-8"?>
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="{DS}">
  <md:KeyDescriptor use="signing"><ds:X509Certificate>
    MIIA
    <!-- wrapped -->+/=	</ds:X509Certificate></md:KeyDescriptor>
  <X509Certificate>not of the namespace</X509Certificate>
  <ds:X509Certificate/><ds:X509Certificate>QUJD</ds:X509Certificate>Ökta
</md:EntityDescriptor>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_certificates_are_found_in_metadata_of_any_encoding(encoding: str) -> None:
    xml = METADATA.replace("UTF-8", encoding).encode(encoding)
    assert x5c_in_metadata(xml) == ["MIIA+/=", "", "QUJD"]


def test_what_comes_without_certificates_has_none() -> None:
    assert x5c_in_metadata(b"<a/>") == []


LAUGHS = """<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><a>&y;</a>"""
OUTSIDE = """<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("xml", [LAUGHS, OUTSIDE])
def test_a_document_type_is_refused_in_any_encoding(xml: str, encoding: str) -> None:
    with pytest.raises(ValueError, match="document type"):
        x5c_in_metadata(xml.encode(encoding))


@pytest.mark.parametrize(
    "xml",
    [b"", b"{}", b"<a>", b"<a></b>", b"<a/><b/>", b"<a>&x;</a>", b"\xff\xfe", b"<a>\xff</a>",
     b'<?xml version="1.0" encoding="no-such-thing"?><a/>',
     b'<?xml version="1.0" encoding="utf-7"?><a/>'],
)  # fmt: skip
def test_what_is_not_xml_is_a_value_error(xml: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some of it is not ours to word
        x5c_in_metadata(xml)
