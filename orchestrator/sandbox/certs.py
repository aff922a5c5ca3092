"""Signing keys of the sandbox: a small pool of RSA keys, and X.509 certificates like Okta's.

Generating an RSA key costs about a tenth of a second, so a few private keys serve every
certificate of the process. A certificate is signed when it is first read.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

POOL_SIZE = 3
EXPONENT = 65537
KEY_BITS = 2048
BACKDATE = timedelta(seconds=60)  # Okta's notBefore lies this far before the generation

Json = dict[str, object]


@cache
def pooled_key(slot: int) -> rsa.RSAPrivateKey:
    """Return the private key in `slot`, generated at its first use in this process."""
    del slot  # only the cache looks at it
    return rsa.generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS)


def fill_pool() -> None:
    """Generate every key of the pool; takes some tenths of a second the first time."""
    for slot in range(POOL_SIZE):
        pooled_key(slot)


def base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def timestamp(epoch_seconds: float) -> str:
    """Return an Okta date: ISO 8601 in UTC, whole seconds, always with `.000Z`."""
    moment = datetime.fromtimestamp(int(epoch_seconds), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def years_later(moment: datetime, years: int) -> datetime:
    """Return the same day `years` later; 29 February becomes 28 February."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, day=28)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateOrder:
    """All that determines a certificate, so that a kid always means the same one."""

    kid: str
    org_name: str
    born_ms: int  # generation time, epoch milliseconds; Okta's serial number is the same
    validity_years: int

    @property
    def not_after(self) -> datetime:
        """Return the end of validity, in whole seconds."""
        return years_later(datetime.fromtimestamp(self.born_ms // 1000, UTC), self.validity_years)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The public half of a key as Okta writes it."""

    x5c: str  # standard base64 of the DER, with padding
    thumbprint: str  # base64url of SHA-256 over the DER
    modulus: str  # base64url of the big-endian modulus
    exponent: str
    expires_at: str

    def as_key(self, kid: str, created: str) -> Json:
        """Return the key with the ten fields, in the order, that Okta sends."""
        return {
            "kty": "RSA",
            "created": created,
            "lastUpdated": created,
            "expiresAt": self.expires_at,
            "kid": kid,
            "use": "sig",
            "x5c": [self.x5c],
            "x5t#S256": self.thumbprint,
            "e": self.exponent,
            "n": self.modulus,
        }


def subject_of(org_name: str) -> x509.Name:
    """Return the name in Okta's certificates: subject and issuer are the same."""
    fields = [
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.STATE_OR_PROVINCE_NAME, "California"),
        (NameOID.LOCALITY_NAME, "San Francisco"),
        (NameOID.ORGANIZATION_NAME, "Okta"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "SSOProvider"),
        (NameOID.COMMON_NAME, org_name),
        (NameOID.EMAIL_ADDRESS, "info@okta.com"),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in fields])


def sign_certificate(order: CertificateOrder) -> Material:
    """Sign the certificate: X.509 v3 without extensions, RSA-2048 with SHA-256."""
    slot = hashlib.sha256(order.kid.encode()).digest()[0] % POOL_SIZE
    private_key = pooled_key(slot)
    name = subject_of(order.org_name)
    generated = datetime.fromtimestamp(order.born_ms // 1000, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(order.born_ms)
        .not_valid_before(generated - BACKDATE)
        .not_valid_after(order.not_after)
        .sign(private_key, hashes.SHA256())
    )
    return describe(certificate, private_key.public_key().public_numbers())


def describe(certificate: x509.Certificate, numbers: rsa.RSAPublicNumbers) -> Material:
    """Read off what the JSON Web Key of a certificate shows."""
    der = certificate.public_bytes(Encoding.DER)
    return Material(
        x5c=b64encode(der).decode("ascii"),
        thumbprint=base64url(hashlib.sha256(der).digest()),
        modulus=base64url(numbers.n.to_bytes(KEY_BITS // 8, "big")),
        exponent=base64url(numbers.e.to_bytes(3, "big")),
        expires_at=timestamp(certificate.not_valid_after_utc.timestamp()),
    )
