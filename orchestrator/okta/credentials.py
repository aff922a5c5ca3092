"""What a caller proves itself with, as it was given; `auth` makes use of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.secret import Secret

# What the product as a whole calls for, besides the System Log, which a service app is asked for
# only where it was granted: an ungranted scope makes the org refuse the whole token.
STANDARD_SCOPES = ("okta.apps.manage", "okta.apps.read")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """An API token of an administrator, Okta's own scheme (SSWS)."""

    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerToken:
    """An OAuth access token that somebody else obtained; it is never renewed."""

    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceApp:
    """An OAuth service app of the org: the client credentials grant with private_key_jwt."""

    client_id: str
    private_key: Secret  # PEM, encrypted PEM or a JWK, as text
    passphrase: Secret | None = None  # of an encrypted PEM
    key_id: str | None = None  # for orgs that know several keys of the app; a JWK may name its own
    scopes: tuple[str, ...] = STANDARD_SCOPES
    dpop: bool = False  # begin with DPoP; it is taken up anyway once the org asks for it


Credential: TypeAlias = ApiToken | BearerToken | ServiceApp
