"""Signing keys of the sandbox: a small pool of RSA keys, and X.509 certificates like Okta's.

Generating an RSA key costs about a tenth of a second, so a few private keys serve every
certificate of the process. A certificate is signed when it is first read.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

POOL_SIZE = 3
EXPONENT = 65537
KEY_BITS = 2048
KEY_SIZES = range(1024, 4097)  # bits; smaller keys are refused, larger ones take too long to make
HASHES: Mapping[str, hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
SHA1 = "sha1"  # Okta's old default keys are signed with it
SIGNATURE_HASHES = (SHA1, *HASHES)
SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")  # RFC 8017 appendix C, as DER
SHA1_WITH_RSA = bytes.fromhex("06092a864886f70d010105")
BACKDATE = timedelta(seconds=60)  # Okta's notBefore lies this far before the generation

Json = dict[str, object]


@cache
def pooled_key(slot: int, bits: int = KEY_BITS) -> rsa.RSAPrivateKey:
    """Return the private key in `slot`, generated at its first use in this process."""
    del slot  # only the cache looks at it
    return rsa.generate_private_key(public_exponent=EXPONENT, key_size=bits)


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
    subject: x509.Name  # also the issuer
    serial: int  # Okta's is the generation time in epoch milliseconds
    not_before: datetime  # in whole seconds, like the end
    not_after: datetime
    signature_hash: str = "sha256"
    key_bits: int = KEY_BITS


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


@cache
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
    """Sign the certificate: X.509 v3 without extensions."""
    slot = hashlib.sha256(order.kid.encode()).digest()[0] % POOL_SIZE
    private_key = pooled_key(slot, order.key_bits)
    builder = (
        x509.CertificateBuilder()
        .subject_name(order.subject)
        .issuer_name(order.subject)
        .public_key(private_key.public_key())
        .serial_number(order.serial)
        .not_valid_before(order.not_before)
        .not_valid_after(order.not_after)
    )
    if order.signature_hash == SHA1:
        certificate = sign_with_sha1(builder, private_key)
    else:
        certificate = builder.sign(private_key, HASHES[order.signature_hash])
    return describe(certificate, private_key.public_key().public_numbers())


def sign_with_sha1(
    builder: x509.CertificateBuilder, private_key: rsa.RSAPrivateKey
) -> x509.Certificate:
    """Sign a certificate with SHA-1, which the builder itself refuses to do.

    The part to be signed is taken from a certificate with SHA-256; the name of the algorithm, which
    has the same length, stands in it once and beside it once (RFC 5280 section 4.1).
    """
    modern = builder.sign(private_key, hashes.SHA256()).tbs_certificate_bytes
    signed = modern.replace(SHA256_WITH_RSA, SHA1_WITH_RSA, 1)
    signature = private_key.sign(signed, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    algorithm = der_element(0x30, SHA1_WITH_RSA + der_element(0x05, b""))
    bits = der_element(0x03, b"\0" + signature)  # no unused bits
    return x509.load_der_x509_certificate(der_element(0x30, signed + algorithm + bits))


def der_element(tag: int, content: bytes) -> bytes:
    """Return one element of DER: tag, length, content (X.690 section 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def describe(certificate: x509.Certificate, numbers: rsa.RSAPublicNumbers) -> Material:
    """Read off what the JSON Web Key of a certificate shows."""
    der = certificate.public_bytes(Encoding.DER)
    return Material(
        x5c=b64encode(der).decode("ascii"),
        thumbprint=base64url(hashlib.sha256(der).digest()),
        modulus=base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        exponent=base64url(numbers.e.to_bytes(3, "big")),
        expires_at=timestamp(certificate.not_valid_after_utc.timestamp()),
    )
