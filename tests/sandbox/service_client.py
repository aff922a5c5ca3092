"""A service app's side of OAuth for the tests of the sandbox, written with PyJWT alone."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from multidict import CIMultiDict

from orchestrator.sandbox.clientele import SandboxServiceApp
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import Peer, Reply

TOKEN_PATH = "/oauth2/v1/token"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
READ = "okta.apps.read"
ABSENT = object()  # in place of a claim or field: leave it out

numbers = count()


@cache
def rsa_key(slot: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a private key, made at its first use; `slot` tells several apart."""
    del slot  # only the cache looks at it
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(algorithm: str) -> ec.EllipticCurvePrivateKey:
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])


def public_jwk(key: Any, **extra: str) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    jwk: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    jwk.pop("key_ops", None)
    return jwk | extra


def private_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    jwk: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key))
    return jwk


def pem(key: rsa.RSAPrivateKey) -> str:
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode("ascii")


def service_app(org: SandboxOrg, **settings: Any) -> SandboxServiceApp:
    """Add a service app whose only key is the one that everything here signs with."""
    return org.add_service_app(**{"public_keys": [public_jwk(rsa_key())]} | settings)


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are there; what costs time to make is given as a function."""
    kept = {name: value for name, value in fields.items() if value is not ABSENT}
    return {name: value() if callable(value) else value for name, value in kept.items()}


def assertion(
    peer: Peer,
    app: SandboxServiceApp,
    *,
    key: Any = None,
    algorithm: str = "RS256",
    kid: str | None = None,
    **changes: Any,
) -> str:
    now = int(peer.org.epoch())
    claims = {
        "iss": app.client_id,
        "sub": app.client_id,
        "aud": peer.url + TOKEN_PATH,
        "iat": now,
        "exp": now + 300,
        "jti": f"assertion-{next(numbers)}",
    }
    key = key() if callable(key) else key or rsa_key()
    header = {"kid": kid} if kid else None
    return jwt.encode(given(claims | changes), key, algorithm, headers=header)


def proof(
    peer: Peer,
    method: str,
    path: str,
    *,
    token: str | None = None,
    key: Any = None,
    header: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """Return a DPoP proof for one request, with the claims changed as told."""
    key = key() if callable(key) else key or rsa_key(1)
    claims = {
        "htm": method,
        "htu": peer.url + path.partition("?")[0],
        "iat": int(peer.org.epoch()),
        "jti": f"proof-{next(numbers)}",
        "ath": ABSENT if token is None else fingerprint(token),
    }
    headers = given({"typ": "dpop+jwt", "jwk": public_jwk(key)} | dict(header or {}))
    return jwt.encode(given(claims | changes), key, "RS256", headers=headers)


def fingerprint(token: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


async def ask(
    peer: Peer,
    app: SandboxServiceApp,
    *,
    scope: Any = READ,
    proofs: tuple[str, ...] = (),
    signed: str | None = None,
    **fields: Any,
) -> Reply:
    """Ask for a token, with the fields of the form changed as told."""
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": JWT_BEARER,
        "client_assertion": signed or assertion(peer, app),
    }
    headers = CIMultiDict([*FORM.items(), *(("DPoP", text) for text in proofs)])
    body = urlencode(given(form | fields)).encode()
    return await peer.post(TOKEN_PATH, headers=headers, data=body)


async def ask_with_proof(
    peer: Peer, app: SandboxServiceApp, *, key: Any = None, scope: str = READ, **changes: Any
) -> Reply:
    changes = {"nonce": peer.org.nonces(peer.org.epoch())[0]} | changes
    signed = proof(peer, "POST", TOKEN_PATH, key=key, **changes)
    return await ask(peer, app, scope=scope, proofs=(signed,))


async def token_of(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    token: str = reply.json()["access_token"]
    return token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def possessed(peer: Peer, method: str, path: str, token: str, **changes: Any) -> dict[str, str]:
    """Return the headers of an API call with a bound token and its proof."""
    signed = proof(peer, method, path, token=token, **changes)
    return {"Authorization": f"DPoP {token}", "DPoP": signed}
