"""Read X.509 certificates: inside keys, in files, in SAML metadata; and compare keys by them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.errors import InputError
from orchestrator.model import Certificate
from orchestrator.okta.caps import LONGEST_X5C
from orchestrator.okta.wire import JsonWebKey

LEAST_VALIDITY = timedelta(days=90)  # that Okta wants a certificate to have left when published
NOT_KNOWN = (UnsupportedAlgorithm, x509.InvalidVersion, InternalError)  # which are no ValueErrors
X509_CERTIFICATE = "{http://www.w3.org/2000/09/xmldsig#}X509Certificate"


def der_of(x5c: str) -> bytes:
    """Decode one x5c element: standard base64, white space allowed (RFC 7517 section 4.7).

    Raises:
        ValueError: it is not base64, or larger than any certificate of a signing key.
    """
    if len(x5c) > LONGEST_X5C:
        raise ValueError("x5c is too large")
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
    except NOT_KNOWN as error:
        raise ValueError("the certificate's algorithm or version is not known") from error
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
        x5c="".join(x5c.split()),
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


def pem_of(der: bytes) -> str:
    """Return a certificate as PEM (RFC 7468), with a line break at its end."""
    return ssl.DER_cert_to_PEM_cert(der)


def pem_of_x5c(x5c: str) -> str:
    """Return the certificate of an x5c element as PEM.

    Raises:
        ValueError: it is not base64.
    """
    return pem_of(der_of(x5c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """What service providers show of a certificate: digests of its DER, in small hex digits."""

    sha1: str
    sha256: str


def fingerprints(certificate: Certificate) -> Fingerprints:
    """Return the fingerprints of a certificate."""
    der = der_of(certificate.x5c)
    return Fingerprints(
        sha1=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(der).hexdigest(),
    )


def read_certificate_file(data: bytes) -> list[bytes]:
    """Return the DER of every certificate in a file, which is PEM or one certificate in DER.

    Raises:
        InputError: it holds no certificate, or one that cannot be read.
    """
    try:
        if b"-----BEGIN" in data:
            parsed = x509.load_pem_x509_certificates(data)
        else:
            parsed = [x509.load_der_x509_certificate(data)]
    except (ValueError, *NOT_KNOWN) as error:
        raise InputError(
            "the file holds no certificate that can be read",
            hint="give the certificate as PEM, or as DER; not a key, a request or a PKCS #7 file",
        ) from error
    return [certificate.public_bytes(Encoding.DER) for certificate in parsed]


def csr_mismatch(csr_der: bytes, certificate_der: bytes, now: datetime) -> str | None:
    """Say in one sentence why Okta would not publish a certificate for a signing request.

    `now` is on the org's clock. None means that nothing speaks against it.

    Raises:
        ValueError: one of the two cannot be read.
    """
    try:
        request = x509.load_der_x509_csr(csr_der)
        certificate = x509.load_der_x509_certificate(certificate_der)
        keys = [
            part.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for part in (request, certificate)
        ]
    except NOT_KNOWN as error:
        raise ValueError("the algorithm of a public key, or a version, is not known") from error
    if keys[0] != keys[1]:
        return "the certificate is for another public key than the signing request"
    if certificate.not_valid_before_utc > now:
        return f"the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    if certificate.not_valid_after_utc - now <= LEAST_VALIDITY:
        end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        return f"the certificate ends on {end}, and Okta wants more than 90 days left"
    return None


class CertificateTexts:
    """Collects the text of certificates from an XML parser; refuses a document type."""

    def __init__(self) -> None:
        self.found: list[list[str]] = []  # each in the pieces that the parser gives
        self.is_open = False

    def start(self, tag: str, _: dict[str, str]) -> None:
        self.is_open = tag == X509_CERTIFICATE
        if self.is_open:
            self.found.append([])

    def data(self, text: str) -> None:
        if self.is_open:
            self.found[-1].append(text)

    def end(self, _: str) -> None:
        self.is_open = False

    def doctype(self, *_: str | None) -> None:
        """Refuse entities before any is declared, in whatever encoding the document is."""
        raise ValueError("the XML has a document type")

    def close(self) -> list[str]:
        return ["".join("".join(pieces).split()) for pieces in self.found]


def x5c_in_metadata(xml: bytes) -> list[str]:
    """Return the certificates in SAML metadata, in order, as standard base64 of their DER.

    The bytes are parsed, since Okta's Content-Type contradicts the prolog.

    Raises:
        ValueError: it is no XML, or has a document type.
    """
    texts = CertificateTexts()
    parser = ET.XMLParser(target=texts)  # noqa: S314 - no entities without a doctype
    try:
        parser.feed(xml)
        parser.close()
    except (ET.ParseError, LookupError) as error:  # unknown encodings are LookupErrors
        raise ValueError("not XML") from error
    return texts.close()
