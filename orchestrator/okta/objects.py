"""Further objects of Okta's: identity providers, log events, the org, and what a CSR asks for.

Read as leniently as keys and apps: what must hold is checked where it is used.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from orchestrator.model import CsrRequest
from orchestrator.okta.wire import AppCredentials, Application, moment_of

APPLE = "APPLE"  # the type of identity provider that signs with a key of Apple's, in Okta's place


class IdpProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an identity provider's protocol that we read."""

    credentials: AppCredentials | None = None


class IdentityProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an identity provider that we read. It may hold client secrets elsewhere."""

    id: str
    name: str | None = None
    type: str | None = None
    status: str | None = None
    last_updated: str | None = msgspec.field(name="lastUpdated", default=None)
    protocol: IdpProtocol | None = None

    @property
    def as_application(self) -> Application:
        """Return it in the words of an app: `label` is its name, `sign_on_mode` its type."""
        protocol = self.protocol if self.type != APPLE else None
        return Application(
            id=self.id,
            label=self.name,
            status=self.status,
            sign_on_mode=self.type,
            last_updated=self.last_updated,
            credentials=protocol.credentials if protocol else None,
        )


class LogActor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it."""

    id: str | None = None
    type: str | None = None
    alternate_id: str | None = msgspec.field(name="alternateId", default=None)


class LogTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What it was done to; look for a type, since the order is not fixed."""

    id: str | None = None
    type: str | None = None


class LogTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """The request that caused the event."""

    id: str | None = None  # its X-Okta-Request-Id


class LogOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    result: str | None = None


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the System Log. Times are ISO 8601 in UTC, on the org's clock."""

    uuid: str | None = None
    published: str | None = None
    event_type: str | None = msgspec.field(name="eventType", default=None)
    actor: LogActor | None = None
    target: list[LogTarget] | None = None  # null is recorded
    transaction: LogTransaction | None = None
    outcome: LogOutcome | None = None

    @property
    def published_at(self) -> datetime | None:
        """Return the moment of the event; None where it is not readable."""
        return moment_of(self.published)

    @property
    def request_id(self) -> str | None:
        """Return the X-Okta-Request-Id of the call that caused the event."""
        return self.transaction.id if self.transaction else None

    @property
    def target_ids(self) -> frozenset[str]:
        """Return the ids of everything it was done to."""
        return frozenset(target.id for target in self.target or () if target.id)


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """What an org says of itself to anyone who asks."""

    id: str | None = None  # stable, whatever host the org is reached at
    pipeline: str | None = None  # idx, or v1 for Classic Engine
    cell: str | None = None


class PrincipalLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the org's rate limits one token, or one service app, may use."""

    principal_id: str | None = msgspec.field(name="principalId", default=None)
    percentage: int | None = msgspec.field(name="defaultPercentage", default=None)


def csr_body(request: CsrRequest) -> bytes:
    """Return Okta's JSON for a signing request; what is not given is left out."""
    subject = {
        "countryName": request.country,
        "stateOrProvinceName": request.state,
        "localityName": request.locality,
        "organizationName": request.organization,
        "organizationalUnitName": request.organizational_unit,
        "commonName": request.common_name,
    }
    body: dict[str, object] = {
        "subject": {name: value for name, value in subject.items() if value is not None}
    }
    if request.dns_names:
        body["subjectAltNames"] = {"dnsNames": request.dns_names}
    return msgspec.json.encode(body)
