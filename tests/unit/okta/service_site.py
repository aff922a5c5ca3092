"""Service apps for tests: their keys, an org that has them, and our client that calls as them."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from orchestrator.cli.wiring import open_api
from orchestrator.clock import Clock, SystemClock
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import Credential, ServiceApp
from orchestrator.okta.http import Timeouts
from orchestrator.okta.retry import RetryPolicy
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from tests.unit.okta.peer import FEW_ATTEMPTS, SHORT, Asked

CLIENT_ID = "0oaserviceAppOfTests"
SCOPES = ("okta.apps.manage", "okta.apps.read")
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(getattr(ec, curve.upper())())


def pem_of(
    key: PrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    *,
    passphrase: str | None = None,
) -> str:
    shut = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, shut).decode()


def jwk_of(key: PrivateKey, **more: str) -> dict[str, Any]:
    """Return the private JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key, as_dict=True) | more
    return ECAlgorithm.to_jwk(key, as_dict=True) | more


def public_jwk_of(key: PrivateKey, **more: str) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return RSAAlgorithm.to_jwk(public, as_dict=True) | more
    return ECAlgorithm.to_jwk(public, as_dict=True) | more


def credential(
    key: PrivateKey | str | None = None,
    *,
    passphrase: str | None = None,
    key_id: str | None = None,
    scopes: tuple[str, ...] = SCOPES,
    dpop: bool = False,
) -> ServiceApp:
    """Return a service app's credential; a quick key unless one is given."""
    text = key if isinstance(key, str) else pem_of(key or ec_key())
    return ServiceApp(
        client_id=CLIENT_ID,
        private_key=Secret(text),
        passphrase=Secret(passphrase) if passphrase is not None else None,
        key_id=key_id,
        scopes=scopes,
        dpop=dpop,
    )


def enrolled(org: SandboxOrg | None = None, **more: Any) -> SandboxOrg:
    """Return an org that has the service app of these tests."""
    org = org or SandboxOrg(seed=1)
    given: dict[str, Any] = {"public_keys": [public_jwk_of(ec_key())], "scopes": SCOPES} | more
    org.add_service_app(client_id=CLIENT_ID, **given)
    return org


@asynccontextmanager
async def calling(
    url: str,
    who: Credential | None = None,
    *,
    clock: Clock | None = None,
    halt: Halt | None = None,
    retry: RetryPolicy = FEW_ATTEMPTS,
    bounds: Timeouts = SHORT,
) -> AsyncIterator[OktaApi]:
    """Open our client as the command line does, with little patience."""
    async with open_api(
        OrgAccess(url=url, credential=who or credential()),
        capacity=1.0,
        bounds=bounds,
        clock=clock or SystemClock(),
        halt=halt or Halt(),
        random=Random(0),
        observer=Broadcast(),
        retry=retry,
    ) as api:
        yield api


@dataclass
class MovableClock:
    """The real clock, plus what was waited: whoever sleeps moves it on instead."""

    moved: float = 0.0  # seconds
    wrong_by: float = 0.0  # of the time of day alone
    real: SystemClock = field(default_factory=SystemClock)

    def wall(self) -> datetime:
        now = self.real.wall().timestamp() + self.moved + self.wrong_by
        return datetime.fromtimestamp(now, UTC)

    def monotonic(self) -> float:
        return self.real.monotonic() + self.moved

    async def sleep(self, seconds: float) -> None:
        self.moved += max(0.0, seconds)
        await anyio.lowlevel.checkpoint()

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if seconds == float("inf"):
            await event.wait()
        else:
            await self.sleep(seconds)


def form_of(asked: Asked) -> dict[str, str]:
    """Return the form that the token endpoint was sent."""
    return dict(parse_qsl(asked.body.decode("ascii"), strict_parsing=True))


def claims_in(text: str, key: Any, algorithm: str) -> dict[str, Any]:
    """Verify a JWT and return what it claims; its times are not looked at."""
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
    claims: dict[str, Any] = jwt.decode(text, key, algorithms=[algorithm], options=options)
    return claims


def proof_of(asked: Asked) -> dict[str, Any] | None:
    """Verify the DPoP proof of a request by the key in it, and return what it claims."""
    text = asked.headers.get("DPoP")
    if text is None:
        return None
    header = jwt.get_unverified_header(text)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "RS256")
    assert set(header["jwk"]) == {"kty", "n", "e"}, "the public half and nothing else"
    return claims_in(text, RSAAlgorithm.from_jwk(header["jwk"]), "RS256")


def granted(**more: object) -> dict[str, object]:
    """Return the body of a success of the token endpoint."""
    usual = {"token_type": "Bearer", "expires_in": 3600, "scope": " ".join(SCOPES)}
    return usual | {"access_token": secrets.token_urlsafe(24)} | more


def told(error: str, description: str = "") -> dict[str, str]:
    """Return the body of a failure of the token endpoint."""
    return {"error": error, "error_description": description}


def bearer(asked: Asked) -> str:
    return asked.headers["Authorization"]


def written(document: Mapping[str, object] | Sequence[object]) -> str:
    return json.dumps(document)
