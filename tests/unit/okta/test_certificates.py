"""Certificates inside keys: what is read, what is refused, and what is only read once."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.okta.certificates import (
    certificate_of,
    certificate_of_text,
    der_of,
    thumbprint_of,
)
from orchestrator.okta.wire import JsonWebKey

SHA256_WITH_RSA = bytes.fromhex("2a864886f70d01010b")
RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")
NO_ALGORITHM = bytes.fromhex("2a864886f70d01017f")

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def signed(key: Key, digest: hashes.SHA256 | hashes.SHA384 | None) -> bytes:
    """Return the DER of a self-signed certificate."""
    name = x509.Name.from_rfc4514_string("CN=acme,O=Okta")
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC),
        not_valid_after=datetime(2034, 2, 28, 1, 2, 3, tzinfo=UTC),
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
