"""Reads what service apps sign: client assertions, and DPoP proofs. Pure: time comes in.

Sources: https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/, the guide on
DPoP beside it, RFC 7523 and RFC 9449. The texts are those of Okta's list of OAuth errors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.refusals import OAuthRefusal

ASSERTION_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
PROOF_ALGORITHM = "RS256"  # the only one that Okta documents
LONGEST_ASSERTION_SECONDS = 3600
OLDEST_PROOF_SECONDS = 300
LEAST_RSA_BITS = 2048
ALGORITHM_OF_KEYS: Mapping[str, type[RSAAlgorithm | ECAlgorithm]] = {
    "RSA": RSAAlgorithm,
    "EC": ECAlgorithm,
}
BROKEN = (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, RecursionError)

Jwk = Mapping[str, object]
PublicKey = RSAPublicKey | EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A JWT taken apart, its signature not yet looked at."""

    text: str
    header: Mapping[str, object]
    claims: Mapping[str, object]

    def is_signed_by(self, key: PublicKey, algorithm: str) -> bool:
        try:
            # The claims are looked at elsewhere, by the org's clock and in Okta's words.
            jwt.PyJWS().decode(self.text, key, algorithms=[algorithm])
        except BROKEN:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A DPoP proof that holds for one request."""

    jti: str
    thumbprint: str  # of the key that signed it, RFC 7638
    nonce: object
    ends: float  # epoch seconds; it is too old from then on


def open_letter(text: str) -> Letter | None:
    """Take a JWT apart, or return None if it is none."""
    try:
        whole = jwt.decode_complete(text, options={"verify_signature": False})
    except BROKEN:
        return None
    return Letter(text=text, header=whole["header"], claims=whole["payload"])


def verification_key(jwk: object) -> PublicKey | None:
    """Return the public key in a JWK, or None if it is private, too short, or no key at all."""
    if not isinstance(jwk, Mapping):
        return None
    algorithm = ALGORITHM_OF_KEYS.get(str(jwk.get("kty")))
    try:
        key = algorithm.from_jwk(dict(jwk)) if algorithm else None
    except BROKEN:
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size >= LEAST_RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey) else None


def is_time(value: object) -> TypeGuard[int | float]:
    """Say whether a claim is a time."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# Client assertions


def bad_client(description: str) -> OAuthRefusal:
    return OAuthRefusal(401, "invalid_client", description)


def check_assertion(letter: Letter, keys: tuple[Jwk, ...], *, url: str, now: float) -> None:
    """Refuse a client assertion that Okta would refuse; whether it is new is not looked at.

    `url` is where it was sent to, which must be its audience to the letter.
    """
    algorithm = letter.header.get("alg")
    if algorithm not in ASSERTION_ALGORITHMS:
        raise bad_client("The client_assertion JWT signature algorithm is invalid.")
    key = verification_key(key_named(letter, keys))
    if key is None or not letter.is_signed_by(key, str(algorithm)):
        raise bad_client("The client_assertion signature is invalid.")
    if letter.claims.get("aud") != url:
        raise bad_client(
            "The audience claim for client_assertion must be the endpoint invoked for the request."
        )
    expires, issued = letter.claims.get("exp"), letter.claims.get("iat")
    if not is_time(expires):
        raise bad_client(
            "The client_assertion must contain the 'exp' claim as seconds since epoch."
        )
    if expires <= now:
        raise bad_client("The client_assertion token is expired.")
    if expires > now + LONGEST_ASSERTION_SECONDS:
        raise bad_client("The client_assertion token has an expiration too far into the future.")
    if issued is not None and (not is_time(issued) or issued > now):
        raise bad_client("The client_assertion token must be issued before the current time.")


def key_named(letter: Letter, keys: tuple[Jwk, ...]) -> Jwk:
    """Return the registered key that the header names; an only key need not be named."""
    kid = letter.header.get("kid")
    if kid is None and len(keys) == 1:
        return keys[0]
    for jwk in keys:
        if kid is not None and jwk.get("kid", kid if len(keys) == 1 else None) == kid:
            return jwk
    raise bad_client("The client_assertion JWT kid is invalid.")


# DPoP proofs


def bad_proof(description: str) -> OAuthRefusal:
    return OAuthRefusal(400, "invalid_dpop_proof", description)


def check_proof(
    proofs: tuple[str, ...], *, method: str, url: str, now: float, token: str | None = None
) -> Proof:
    """Return the proof of one request; whether it is new, and its nonce, is not looked at.

    `proofs` are all headers of that name, `token` the access token that it must be made for.
    """
    if not proofs:
        raise bad_proof("The DPoP proof JWT header is missing.")
    if len(proofs) > 1:
        raise bad_proof("Multiple DPoP proof JWT headers are not allowed.")
    letter = open_letter(proofs[0])
    if letter is None:
        raise bad_proof("The DPoP proof JWT cannot be parsed.")
    thumbprint = check_signature(letter)
    claims = letter.claims
    if claims.get("htm") != method:
        raise bad_proof("'htm' claim in the DPoP proof JWT is invalid.")
    if claims.get("htu") != url:
        raise bad_proof("'htu' claim in the DPoP proof JWT is invalid.")
    issued = check_age(claims.get("iat"), now)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise bad_proof("'jti' claim in the DPoP proof JWT is invalid.")
    if token is not None and claims.get("ath") != hash_of(token):
        raise bad_proof("'ath' claim in the DPoP proof does not match the presented access_token.")
    return Proof(
        jti=jti,
        thumbprint=thumbprint,
        nonce=claims.get("nonce"),
        ends=issued + OLDEST_PROOF_SECONDS,
    )


def check_signature(letter: Letter) -> str:
    """Refuse a proof whose header or signature is wrong; return the thumbprint of its key."""
    jwk = letter.header.get("jwk")
    if letter.header.get("typ") != "dpop+jwt":
        raise bad_proof("'typ' must be 'dpop+jwt' in the DPoP proof JWT.")
    if letter.header.get("alg") != PROOF_ALGORITHM:
        raise bad_proof("The DPoP proof JWT signature algorithm is invalid.")
    key = verification_key(jwk)
    if not isinstance(key, RSAPublicKey) or not isinstance(jwk, Mapping):
        raise bad_proof("The DPoP proof JWT is invalid.")
    if not letter.is_signed_by(key, PROOF_ALGORITHM):
        raise bad_proof("The DPoP proof JWT signature is invalid.")
    named = {name: jwk[name] for name in ("e", "kty", "n")}
    return base64url(hashlib.sha256(json.dumps(named, separators=(",", ":")).encode()).digest())


def check_age(issued: object, now: float) -> float:
    """Refuse a proof from the future, or from more than five minutes ago."""
    if not is_time(issued):
        raise bad_proof("'iat' claim in the DPoP proof JWT is invalid.")
    if issued > now:
        raise bad_proof("The DPoP proof JWT is issued in the future.")
    if issued <= now - OLDEST_PROOF_SECONDS:
        raise bad_proof("The DPoP proof JWT is issued more than five minutes in the past.")
    return issued


def hash_of(token: str) -> str:
    """Return what a proof says of the access token (RFC 9449 section 4.2)."""
    return base64url(hashlib.sha256(token.encode()).digest())
