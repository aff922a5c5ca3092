"""Who may call an org: its API token, and its service apps with the tokens they were given."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import UsageError
from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.jwts import Jwk, verification_key
from orchestrator.sandbox.people import okta_id
from orchestrator.sandbox.systemlog import Person
from orchestrator.sandbox.vocabulary import Role

GRANTED_SCOPES = (
    "okta.apps.manage",
    "okta.apps.read",
    "okta.idps.manage",
    "okta.idps.read",
    "okta.logs.read",
    "okta.orgs.read",
    "okta.principalRateLimits.read",
)
TOKEN_SECONDS = 3600
NONCE_SECONDS = 24 * 3600
HEADER = base64url(b'{"alg":"RS256","typ":"application/okta-internal-at+jwt"}')


@dataclass(slots=True, kw_only=True)
class SandboxServiceApp:
    """A service app. What an administrator may change about it may be changed any time."""

    client_id: str
    label: str
    public_keys: tuple[Jwk, ...]
    scopes: frozenset[str]  # granted
    has_role: bool  # an admin role
    requires_dpop: bool

    @property
    def person(self) -> Person:
        """Return the app as the System Log shows it."""
        return Person(
            id=self.client_id, name=self.label, login=self.client_id, kind="PublicClientApp"
        )

    @property
    def role(self) -> Role:
        return "admin" if self.has_role else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """An access token of a service app."""

    app: SandboxServiceApp
    scopes: frozenset[str]
    expires: float  # epoch seconds on the org's clock
    thumbprint: str | None  # of the DPoP key that it is bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call, and what they may do."""

    person: Person
    role: Role
    scheme: str  # SSWS, Bearer or DPoP
    scopes: frozenset[str] | None = None  # None: an API token, which has none


class Once:
    """What may be used only once, remembered for as long as it could be used again."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def take(self, name: str, *, until: float, now: float) -> bool:
        """Note a use that matters until then; return whether it is the first."""
        # The oldest entry first: about the order in which they end, and cheap.
        while self.seen and next(iter(self.seen.values())) <= now:
            del self.seen[next(iter(self.seen))]
        is_first = name not in self.seen
        self.seen[name] = max(until, self.seen.get(name, until))
        return is_first


class Clientele:
    """The part of an org's state that is about its callers; all of it may be changed any time."""

    def __init__(self, seed: int, name: str) -> None:
        self.token_role: Role = "admin"  # noqa: S105 - of the API token, not a password
        self.token_expired = False  # the API token is no longer accepted
        self.token_lifetime_seconds: float = TOKEN_SECONDS  # of tokens that are still to be issued
        self.calls_need_nonce = False  # whether API calls, too, need the DPoP nonce
        self.nonce_seed = f"nonce:{seed}:{name}"
        self.service_apps: dict[str, SandboxServiceApp] = {}
        self.issued_tokens: dict[str, IssuedToken] = {}
        self.assertions_used, self.proofs_used = Once(), Once()
        # A source of its own: callers shift no id of an app.
        self.draws = random.Random(f"clientele:{seed}:{name}")  # noqa: S311 - not secret

    def add_service_app(
        self,
        *,
        client_id: str | None = None,
        public_keys: Sequence[Mapping[str, object]],
        scopes: Iterable[str] = GRANTED_SCOPES,
        has_role: bool = True,
        requires_dpop: bool = False,
        label: str = "Key rotation",
    ) -> SandboxServiceApp:
        """Add a service app with its public keys (JWK) and the scopes that are granted to it.

        Raises:
            UsageError: the client id is taken, or a key is not a public key that Okta would take.
        """
        client_id = client_id or okta_id(self.draws, "0oa")
        if client_id in self.service_apps:
            raise UsageError(f"the sandbox already has a service app {client_id}")
        for jwk in public_keys:
            if verification_key(jwk) is None:
                raise UsageError("a key of a service app must be a public RSA or EC key, as JWK")
        app = SandboxServiceApp(
            client_id=client_id,
            label=label,
            public_keys=tuple(dict(jwk) for jwk in public_keys),
            scopes=frozenset(scopes),
            has_role=has_role,
            requires_dpop=requires_dpop,
        )
        self.service_apps[client_id] = app
        return app

    def revoke_tokens(self) -> None:
        """Revoke every access token that was issued."""
        self.issued_tokens.clear()

    def issue_token(
        self,
        app: SandboxServiceApp,
        scopes: Iterable[str],
        *,
        thumbprint: str | None,
        now: float,
    ) -> str:
        """Return a new access token; it looks like one of Okta's, but says nothing."""
        claims, signature = (base64url(self.draws.randbytes(size)) for size in (300, 256))
        token = f"{HEADER}.{claims}.{signature}"
        self.issued_tokens[token] = IssuedToken(
            app=app,
            scopes=frozenset(scopes),
            expires=now + self.token_lifetime_seconds,
            thumbprint=thumbprint,
        )
        return token

    def nonces(self, now: float) -> tuple[str, str]:
        """Return the DPoP nonce of today and that of yesterday; both are accepted.

        Okta takes one for three days; here it ends sooner, for clients to be found out.
        """
        day = int(now // NONCE_SECONDS)
        return self.nonce_of(day), self.nonce_of(day - 1)

    def nonce_of(self, day: int) -> str:
        digest = hashlib.sha256(f"{self.nonce_seed}:{day}".encode()).digest()
        return base64url(digest[:24])
