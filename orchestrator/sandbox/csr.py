"""Certificate signing requests: what is in one, and which certificate answers it.

Source: https://developer.okta.com/docs/guides/sign-your-own-saml-csr/ and Okta's OpenAPI document.
"""

from __future__ import annotations

from base64 import b64decode, b64encode, urlsafe_b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from orchestrator.sandbox import refusals
from orchestrator.sandbox.certs import Json, Material, describe, pooled_key, timestamp
from orchestrator.sandbox.documents import child

LEAST_VALIDITY = timedelta(days=90)
SUBJECT_FIELDS = {
    "countryName": NameOID.COUNTRY_NAME,
    "stateOrProvinceName": NameOID.STATE_OR_PROVINCE_NAME,
    "localityName": NameOID.LOCALITY_NAME,
    "organizationName": NameOID.ORGANIZATION_NAME,
    "organizationalUnitName": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "commonName": NameOID.COMMON_NAME,
}
PEM_TYPE = "application/x-pem-file"
CER_TYPE = "application/x-x509-ca-cert"
DER_TYPE = "application/pkix-cert"
PEM_BEGINS = b"-----BEGIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Csr:
    """One request that waits for its certificate, and the key pair behind it."""

    id: str
    created: float  # epoch seconds
    slot: int  # of the pool of private keys
    der: bytes

    def as_json(self, address: str) -> Json:
        """Return the object as Okta shows it; `address` is the URL of the CSR."""
        return {
            "id": self.id,
            "created": timestamp(self.created),
            "csr": b64encode(self.der).decode("ascii"),
            "kty": "RSA",
            "_links": {
                "self": {"href": address, "hints": {"allow": ["GET", "DELETE"]}},
                "publish": {
                    "href": f"{address}/lifecycle/publish",
                    "hints": {"allow": ["POST"]},
                },
            },
        }


def sign_request(metadata: Json, slot: int) -> bytes:
    """Return the DER of a PKCS#10 request for what Okta's CsrMetadata describes.

    Raises:
        Refusal: the metadata has no common name, or X.509 has no room for a value.
    """
    subject = child(metadata, "subject")
    if not subject.get("commonName"):
        raise refusals.blank("subject.commonName")
    names = child(metadata, "subjectAltNames").get("dnsNames") or []
    builder = x509.CertificateSigningRequestBuilder()
    try:
        builder = builder.subject_name(subject_name(subject))
        if names:
            alternatives = x509.SubjectAlternativeName(
                [x509.DNSName(name) for name in listed(names)]
            )
            builder = builder.add_extension(alternatives, critical=False)
    except (ValueError, TypeError) as problem:
        raise refusals.invalid("csr", f"csr: {problem}") from None
    return builder.sign(pooled_key(slot), hashes.SHA256()).public_bytes(Encoding.DER)


def subject_name(subject: Json) -> x509.Name:
    """Return the X.509 name; raises ValueError or TypeError for what does not fit into one."""
    given = {oid: subject[name] for name, oid in SUBJECT_FIELDS.items() if subject.get(name)}
    texts = {oid: text for oid, text in given.items() if isinstance(text, str)}
    if len(texts) < len(given):
        raise TypeError("every field of the subject must be a text")
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in texts.items()])


def listed(value: object) -> list[str]:
    """Return a list of texts; raises TypeError for anything else."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("dnsNames must be a list of texts")
    return value


def read_certificate(body: bytes, content_type: str, transfer_encoding: str) -> x509.Certificate:
    """Return the certificate in the body of a publish call.

    DER comes as it is or, with `Content-Transfer-Encoding: base64`, as base64 of either alphabet.
    A CER file may also be PEM. The cause for a body that is none of that is our wording.

    Raises:
        Refusal: E0000021 for a type that Okta does not take, E0000001 for no certificate.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (PEM_TYPE, CER_TYPE, DER_TYPE):
        raise refusals.plain(400, "E0000021")
    try:
        if kind == PEM_TYPE or (kind == CER_TYPE and body.lstrip().startswith(PEM_BEGINS)):
            return x509.load_pem_x509_certificate(body)
        is_text = transfer_encoding.strip().lower() == "base64"
        return x509.load_der_x509_certificate(decode_base64(body) if is_text else body)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise refusals.invalid("certificate", refusals.NO_CERTIFICATE) from None


def decode_base64(text: bytes) -> bytes:
    """Decode either alphabet of base64, with line breaks or not; raises ValueError."""
    packed = b"".join(text.split())
    try:
        if b"-" in packed or b"_" in packed:
            return urlsafe_b64decode(packed + b"=" * (-len(packed) % 4))
        return b64decode(packed, validate=True)
    except Base64Error as problem:
        raise ValueError(str(problem)) from None


def answer_of(csr: Csr, certificate: x509.Certificate, now: float) -> Material:
    """Return what the certificate makes of the CSR's key pair.

    Raises:
        Refusal: with the documented cause, if it is for another key or ends within 90 days.
    """
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise refusals.invalid("certificate", refusals.OTHER_KEY) from None
    numbers = pooled_key(csr.slot).public_key().public_numbers()
    if not isinstance(public, rsa.RSAPublicKey) or public.public_numbers() != numbers:
        raise refusals.invalid("certificate", refusals.OTHER_KEY)
    if certificate.not_valid_after_utc - datetime.fromtimestamp(now, UTC) < LEAST_VALIDITY:
        raise refusals.invalid("certificate", refusals.SHORT_VALIDITY)
    return describe(certificate, numbers)
