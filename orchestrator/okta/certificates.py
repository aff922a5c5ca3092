"""Read the X.509 certificate inside a key, and compare keys by it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orchestrator.model import Certificate
from orchestrator.okta.wire import JsonWebKey


def der_of(x5c: str) -> bytes:
    """Decode one x5c element: standard base64, white space allowed (RFC 7517 section 4.7).

    Raises:
        ValueError: it is not base64.
    """
    try:
        return base64.b64decode("".join(x5c.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("x5c is not base64") from error


def thumbprint_of(der: bytes) -> str:
    """Return x5t#S256 of a certificate: base64url SHA-256 of its DER (RFC 7517 section 4.9)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


@lru_cache(maxsize=256)
def certificate_of_text(x5c: str) -> Certificate:
    """Parse a certificate. Cached: all targets of a key answer with the same text.

    Raises:
        ValueError: it is not a certificate.
    """
    der = der_of(x5c)
    try:
        parsed = x509.load_der_x509_certificate(der)
        public_key = parsed.public_key()
        digest = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        raise ValueError("the certificate's algorithm is not known") from error
    bits = (
        public_key.key_size
        if isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        else 0
    )
    return Certificate(
        thumbprint=thumbprint_of(der),
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        subject=parsed.subject.rfc4514_string(),
        signature_hash=digest.name if digest else "none",
        key_bits=bits,
    )


def certificate_of(key: JsonWebKey) -> Certificate:
    """Return the leaf certificate of a key, after checking the key's own thumbprint against it.

    Raises:
        ValueError: no certificate, not a certificate, or `x5t#S256` is of another one.
    """
    if not key.x5c:
        raise ValueError("the key has no certificate")
    certificate = certificate_of_text(key.x5c[0])
    if key.x5t_s256 is not None and key.x5t_s256 != certificate.thumbprint:
        raise ValueError("x5t#S256 is not the thumbprint of x5c")
    return certificate
