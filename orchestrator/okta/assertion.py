"""What a service app signs: its client assertions, and the proofs of DPoP. Pure."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from orchestrator.okta.signing_key import SigningKey

LIFETIME_SECONDS = 300  # of an assertion; Okta takes up to an hour
# A moment in the future is refused, and one some seconds old is not: clocks may differ so far
# before the first answer tells the org's time.
BACKDATED_SECONDS = 5
PROOF_BITS = 2048
PROOF_ALGORITHM = "RS256"  # the only one that Okta documents for DPoP


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofKey:
    """The key pair that access tokens are bound to."""

    private: RSAPrivateKey = field(repr=False)
    public: dict[str, str]  # as a JWK


@lru_cache(maxsize=1)
def proof_key() -> ProofKey:
    """Return the proof key of this process; made when first asked for, in about 100 ms."""
    private = generate_private_key(public_exponent=65537, key_size=PROOF_BITS)
    jwk = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    public = {name: str(jwk[name]) for name in ("kty", "n", "e")}
    return ProofKey(private=private, public=public)


def client_assertion(
    key: SigningKey, *, client_id: str, audience: str, now: float, unique: str
) -> str:
    """Sign a client assertion (RFC 7523 section 3); `now` is in epoch seconds of the org.

    Good for one request: the org remembers `unique`, even of a request that it refused.
    """
    issued = int(now) - BACKDATED_SECONDS
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
        "jti": unique,
    }
    named = {"kid": key.key_id} if key.key_id else None
    return jwt.encode(claims, key.private, algorithm=key.algorithm, headers=named)


def dpop_proof(
    key: ProofKey,
    *,
    method: str,
    url: str,
    now: float,
    unique: str,
    nonce: str | None = None,
    token: str | None = None,
) -> str:
    """Sign a proof of possession for one attempt (RFC 9449 section 4.2).

    `now` is in epoch seconds of the org; `token` is the access token that goes with it.
    """
    claims: dict[str, object] = {
        "htm": method,
        "htu": url.partition("#")[0].partition("?")[0],
        "iat": int(now) - BACKDATED_SECONDS,
        "jti": unique,
    }
    if nonce is not None:
        claims["nonce"] = nonce
    if token is not None:
        digest = sha256(token.encode("ascii")).digest()
        claims["ath"] = urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    header = {"typ": "dpop+jwt", "jwk": key.public}
    return jwt.encode(claims, key.private, algorithm=PROOF_ALGORITHM, headers=header)
