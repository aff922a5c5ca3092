"""A certificate authority for the tests of CSRs: it signs what the sandbox asks for."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ISSUER = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def request_in(csr: str) -> x509.CertificateSigningRequest:
    """Return the PKCS#10 request in a `csr` field."""
    return x509.load_der_x509_csr(b64decode(csr, validate=True))


def issued(
    csr: str,
    *,
    days: float = 365,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None = None,
    now: datetime | None = None,
) -> x509.Certificate:
    """Sign a request; `key` instead of the request's own, valid from yesterday for some days."""
    request = request_in(csr)
    begins = (now or datetime.now(UTC)).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(ISSUER)
        .public_key(key or request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - timedelta(days=1))
        .not_valid_after(begins + timedelta(days=days))
        .sign(private_key(), hashes.SHA256())
    )


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
