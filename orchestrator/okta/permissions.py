"""What a credential has to be allowed to do, and what an admin does where it is not. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from orchestrator.okta.credentials import ApiToken, BearerToken, Credential
from orchestrator.okta.wire import FEATURE_FORBIDDEN, Refusal

NOT_PERMITTED = "E0000006"

APPS_READ, APPS_MANAGE = "okta.apps.read", "okta.apps.manage"
IDPS_READ, IDPS_MANAGE = "okta.idps.read", "okta.idps.manage"
LOGS_READ = "okta.logs.read"

APP_ROLE = "Application Administrator"
ORG_ROLE = "Organization Administrator"
READ_ROLE = "Read-Only Administrator"


class Caller(Enum):
    """What a credential is to people."""

    API_TOKEN = "API token"  # noqa: S105 - a name, not a credential
    ACCESS_TOKEN = "access token"  # noqa: S105 - a name, not a credential
    SERVICE_APP = "service app"

    @property
    def token_name(self) -> str:
        """Return what its calls carry."""
        return "access token of the service app" if self is Caller.SERVICE_APP else self.value


def caller_of(credential: Credential) -> Caller:
    """Return the kind of a credential."""
    match credential:
        case ApiToken():
            return Caller.API_TOKEN
        case BearerToken():
            return Caller.ACCESS_TOKEN
        case _:
            return Caller.SERVICE_APP


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that a piece of work has to be allowed to do."""

    scope: str  # the smallest that allows it
    included_in: tuple[str, ...] = ()  # larger scopes that allow it as well
    work: str  # for people: "to ..."
    role: str  # a standard admin role that allows it
    is_optional: bool = False  # without it the work is done, and says what it leaves out

    def is_met_by(self, scopes: Collection[str]) -> bool:
        """Say whether granted scopes allow it."""
        return self.scope in scopes or any(scope in scopes for scope in self.included_in)


def needs_of(
    *, apps: bool = True, idps: bool = False, writes: bool = True, cross_check: bool = False
) -> tuple[Need, ...]:
    """Return what work on apps or identity providers needs, the essential first.

    `writes` covers staging, which adds a key, as well as activating. `cross_check` is that of the
    System Log. Source: Okta, "OAuth 2.0 scopes" and "Standard administrator roles".
    """
    needs: list[Need] = []
    if apps:
        role = APP_ROLE if writes else READ_ROLE
        needs.append(Need(scope=APPS_READ, included_in=(APPS_MANAGE,), work="read apps", role=role))
        if writes:
            needs.append(Need(scope=APPS_MANAGE, work="add keys to apps, and use them", role=role))
    if idps:
        role = ORG_ROLE if writes else READ_ROLE
        work = "read identity providers"
        needs.append(Need(scope=IDPS_READ, included_in=(IDPS_MANAGE,), work=work, role=role))
        if writes:
            work = "add keys to identity providers, and use them"
            needs.append(Need(scope=IDPS_MANAGE, work=work, role=role))
    if cross_check:
        work = "hold what was written against the System Log"
        needs.append(Need(scope=LOGS_READ, work=work, role=READ_ROLE, is_optional=True))
    return tuple(needs)


def unmet(needs: Collection[Need], scopes: Collection[str]) -> tuple[Need, ...]:
    """Return the needs that granted scopes do not meet."""
    return tuple(need for need in needs if not need.is_met_by(scopes))


def rejected_remedy(caller: Caller, challenge: str = "") -> str:
    """Say what to do where the org does not accept the token (401).

    `challenge` is the WWW-Authenticate of the answer: its scheme is DPoP where the token is bound
    to a key (RFC 9449 section 7.1).
    """
    if caller is Caller.ACCESS_TOKEN and challenge.lower().startswith("dpop"):
        return (
            "the org demands DPoP for it, a proof by the key that the token was issued to: give "
            "the service app itself, with client_id and private_key"
        )
    match caller:
        case Caller.API_TOKEN:
            return "create a new token; tokens end after 30 days unused or with their admin"
        case Caller.ACCESS_TOKEN:
            return "obtain a new access token; it lives for an hour and is never renewed here"
        case Caller.SERVICE_APP:
            return (
                "a new access token was refused as well: is the service app still active, and was "
                "its access not revoked?"
            )


def scope_remedy(caller: Caller, scope: str | None) -> str:
    """Say what to do where the token lacks a scope (403 insufficient_scope)."""
    named = scope or "the scope"
    match caller:
        case Caller.ACCESS_TOKEN:
            return f"obtain an access token that has {named}; it is never renewed here"
        case _:
            return (
                f"a super admin grants {named} to the service app in Okta, under its Okta API "
                "Scopes tab; then name it among the scopes of the credential"
            )


def role_for(template: str) -> str:
    """Return a standard admin role that allows what is done at a path."""
    if template.startswith("/api/v1/idps"):
        return ORG_ROLE
    return APP_ROLE if template.startswith("/api/v1/apps") else READ_ROLE


def remedy_for(refusal: Refusal, caller: Caller, template: str) -> str | None:
    """Say what to do about a refusal that concerns permissions; None for any other.

    Other refusals with a 403 are about the app: some are Okta's own, and nobody may change them.
    """
    if refusal.code == FEATURE_FORBIDDEN:
        return "the org does not have this feature; that is not a matter of the credential"
    if refusal.status != 403 or refusal.code not in (None, NOT_PERMITTED):
        return None
    role = role_for(template)
    match caller:
        case Caller.API_TOKEN:
            return (
                f"the admin who made the API token lacks a role for it, such as {role}, or the "
                "role is limited to other resources"
            )
        case Caller.ACCESS_TOKEN:
            return (
                f"whoever the access token was issued to lacks an admin role for it, such as {role}"
            )
        case Caller.SERVICE_APP:
            return (
                f"scopes alone are not enough: assign an admin role to the service app, such as "
                f"{role}, under its Admin roles tab"
            )
