"""Read the private key that a service app signs its assertions with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from orchestrator.errors import ConfigError
from orchestrator.okta.credentials import ServiceApp
from orchestrator.secret import Secret
from orchestrator.writing import on_one_line

LEAST_RSA_BITS = 2048
LARGEST_TEXT = 64 * 1024
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")  # the first is taken where nothing is said
EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
READERS: Mapping[str, type[RSAAlgorithm | ECAlgorithm]] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm}
NOT_PRIVATE = ("PUBLIC KEY", "CERTIFICATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key, ready to sign with."""

    private: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    algorithm: str  # of JWS, e.g. RS256
    key_id: str | None = None  # under which the org knows its public half


class KeyFields(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a JWK that we read ourselves."""

    kty: str
    alg: str | None = None
    kid: str | None = None
    d: str | None = None


def read_signing_key(app: ServiceApp) -> SigningKey:
    """Read the key of a service app: PEM (PKCS#1, PKCS#8, SEC 1), encrypted PEM, or a JWK.

    The cause of a failure is never kept with the error: it may quote the key.

    Raises:
        ConfigError: it cannot be read or used, or its passphrase is wrong.
    """
    text = app.private_key.reveal().strip()
    try:
        key = read_jwk(text) if text.startswith("{") else read_pem(text, app.passphrase)
        return checked(key, app.key_id)
    except Unusable as problem:
        hint = problem.hint
        message = f"the private key of the service app {shown(app.client_id)}: {problem.message}"
    raise ConfigError(message, hint=hint)


class Unusable(ConfigError):
    """Why a private key cannot be used; said before it is known whose it is."""


def encoded(text: str) -> bytes:
    """Return the bytes of what may be a key."""
    if not text or len(text) > LARGEST_TEXT:
        raise Unusable("it is empty" if not text else "it is too large to be a key")
    return text.encode("utf-8", "surrogatepass")


def read_jwk(text: str) -> SigningKey:
    """Read a private JWK (RFC 7517, RFC 7518 section 6)."""
    raw = encoded(text)
    try:
        fields = msgspec.json.decode(raw, type=KeyFields)
    except (ValueError, RecursionError):
        raise Unusable("it is no JWK", hint='a JWK is JSON, such as {"kty": ...}') from None
    if fields.d is None and fields.kty in ("RSA", "EC"):
        raise Unusable("this JWK holds the public half alone", hint="take the private key")
    reader = READERS.get(fields.kty)
    if reader is None:
        raise Unusable(f"its kind {shown(fields.kty)} cannot sign", hint="use an RSA or EC key")
    try:
        private = reader.from_jwk(text)
    except (InvalidKeyError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise Unusable("its JWK cannot be read", hint="copy it anew, whole") from None
    if not isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey):
        raise Unusable("this JWK holds the public half alone", hint="take the private key")
    return SigningKey(private=private, algorithm=fields.alg or "", key_id=fields.kid)


def read_pem(text: str, passphrase: Secret | None) -> SigningKey:
    """Read a private key in PEM; a passphrase that turns out not to be needed is no problem."""
    # An environment variable or a YAML value often holds a PEM with its line breaks written out.
    raw = encoded(text.replace("\\n", "\n"))
    if any(f"-----BEGIN {label}" in text for label in NOT_PRIVATE) and "PRIVATE" not in text:
        raise Unusable("this PEM holds no private key", hint="take the private key")
    password = passphrase.reveal().encode("utf-8", "surrogatepass") if passphrase else None
    is_encrypted = "ENCRYPTED" in text
    if is_encrypted and not password:
        raise Unusable("it is encrypted", hint="give its passphrase with the credential")
    try:
        private = load_pem_private_key(raw, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if is_encrypted:
            raise Unusable("the passphrase does not open it", hint="check both") from None
        if "OPENSSH" in text:
            hint = "convert a copy of it: ssh-keygen -p -m PKCS8 -f COPY"
            raise Unusable("it is in the format of OpenSSH", hint=hint) from None
        hint = "it begins with -----BEGIN PRIVATE KEY----- or is a JWK"
        raise Unusable("it cannot be read", hint=hint) from None
    if not isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey):
        raise Unusable("it is neither RSA nor EC", hint="use an RSA or EC key")
    return SigningKey(private=private, algorithm="")


def checked(key: SigningKey, key_id: str | None) -> SigningKey:
    """Return the key with its algorithm, if Okta takes keys like it.

    Source: Okta, "Implement OAuth for Okta with a service app".
    """
    if isinstance(key.private, RSAPrivateKey):
        bits = key.private.key_size
        if bits < LEAST_RSA_BITS:
            raise Unusable(f"{bits} bits are too few", hint="use RSA with 2048 bits or more, or EC")
        allowed: tuple[str, ...] = RSA_ALGORITHMS
    else:
        curve = key.private.curve.name
        if curve not in EC_ALGORITHMS:
            hint = "use P-256, P-384 or P-521"
            raise Unusable(f"Okta does not take the curve {curve}", hint=hint)
        allowed = (EC_ALGORITHMS[curve],)
    if key.algorithm and key.algorithm not in allowed:
        told = f"it says alg {shown(key.algorithm)}, which does not go with it"
        raise Unusable(told, hint=f"use {' or '.join(allowed)}")
    if key_id and key.key_id and key.key_id != key_id:
        told = f"its JWK has the kid {shown(key.key_id)}, not {shown(key_id)}"
        raise Unusable(told, hint="leave the key id away, or take the key that it names")
    return SigningKey(
        private=key.private,
        algorithm=key.algorithm or allowed[0],
        key_id=key_id or key.key_id,
    )


def shown(text: str) -> str:
    """Return a short foreign text for people."""
    return on_one_line(text[:80])
