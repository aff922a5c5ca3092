"""The System Log: what happened in the org, by whom, and in which request.

Event types: https://developer.okta.com/docs/reference/api/event-types/. There is none for signing
keys and CSRs of identity providers. The shape of an event follows Okta's OpenAPI document.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from orchestrator.sandbox.certs import Json
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.vocabulary import Resource

Deed = Literal[
    "generate", "clone", "rotate", "update", "activate", "deactivate", "csr_generate",
    "csr_publish", "csr_revoke",
]  # fmt: skip
EVENTS: Mapping[tuple[Resource, Deed], tuple[str, str]] = {  # type, and what a person reads
    ("app", "generate"): ("app.keys.generate", "Generate application keys"),
    ("app", "clone"): ("app.keys.clone", "Clone application keys"),
    ("app", "rotate"): ("app.keys.rotate", "Rotate application keys"),
    ("app", "update"): ("application.lifecycle.update", "Update application"),
    ("app", "activate"): ("application.lifecycle.activate", "Activate application"),
    ("app", "deactivate"): ("application.lifecycle.deactivate", "Deactivate application"),
    ("app", "csr_generate"): ("app.app_instance.csr.generate", "Generate CSR"),
    ("app", "csr_publish"): ("app.app_instance.csr.publish", "Publish CSR"),
    ("app", "csr_revoke"): ("app.app_instance.csr.revoke", "Revoke CSR"),
    ("idp", "update"): ("system.idp.lifecycle.update", "Update identity provider"),
}
TARGET_TYPES: Mapping[Resource, str] = {"app": "AppInstance", "idp": "IdentityProvider"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who acts in the org: a person, or a service app. A token is the person who made it."""

    id: str
    name: str
    login: str
    token_id: str | None = None
    kind: str = "User"  # a service app is a PublicClientApp

    def as_actor(self) -> Json:
        """Return the actor of an event."""
        return {
            "id": self.id,
            "type": self.kind,
            "alternateId": self.login,
            "displayName": self.name,
            "detailEntry": None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Somebody, in one request."""

    person: Person
    transaction: str  # the X-Okta-Request-Id of the request
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, kept small: its JSON is written when it is asked for."""

    number: int  # from 1, in the order of recording
    uuid: str
    at: float  # epoch seconds on the org's clock
    type: str
    message: str
    by: Author
    target_id: str
    target_type: str
    target_title: str
    details: Mapping[str, object] = field(default_factory=dict)
    change: Json | None = None  # changeDetails, for those events that have them

    @property
    def published(self) -> datetime:
        """Return when it happened, in whole milliseconds."""
        return datetime.fromtimestamp(int(self.at * 1000) / 1000, UTC)

    def as_json(self) -> Json:
        """Return the LogEvent."""
        token = self.by.person.token_id
        target: Json = {
            "id": self.target_id,
            "type": self.target_type,
            "alternateId": self.target_title,
            "displayName": self.target_title,
            "detailEntry": None,
        }
        if self.change is not None:
            target["changeDetails"] = self.change
        debug = {"requestId": self.by.transaction, "requestUri": self.by.uri, "url": self.by.uri}
        return {
            "actor": self.by.person.as_actor(),
            "client": {"ipAddress": "127.0.0.1"},
            "displayMessage": self.message,
            "eventType": self.type,
            "outcome": {"result": "SUCCESS", "reason": None},
            "published": moment(self.published),
            "severity": "INFO",
            "debugContext": {"debugData": debug | dict(self.details)},
            "transaction": {
                "type": "WEB",
                "id": self.by.transaction,
                "detail": {} if token is None else {"requestApiTokenId": token},
            },
            "uuid": self.uuid,
            "version": "0",
            "target": [target],
        }


class SystemLog:
    """All events of an org, in the order in which they happened."""

    def __init__(self, *, seed: int) -> None:
        self.events: list[Event] = []
        self.random = random.Random(f"systemlog:{seed}")  # noqa: S311 - repeatable, not secret

    def record(
        self,
        deed: Deed,
        holder: KeyHolder,
        *,
        by: Author,
        at: float,
        details: Mapping[str, object] | None = None,
        change: Json | None = None,
    ) -> None:
        """Append what somebody did to an app or IdP, if Okta has an event for it."""
        if (holder.resource, deed) not in EVENTS:
            return
        kind, message = EVENTS[holder.resource, deed]
        self.events.append(
            Event(
                number=len(self.events) + 1,
                uuid=str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
                at=at,
                type=kind,
                message=message,
                by=by,
                target_id=holder.id,
                target_type=TARGET_TYPES[holder.resource],
                target_title=holder.title,
                details=details or {},
                change=change,
            )
        )

    def visible(self, now: float, lag_seconds: float) -> Iterator[Event]:
        """Yield the events that the log shows at `now`, in order."""
        return (event for event in self.events if event.at + lag_seconds <= now)


def moment(when: datetime) -> str:
    """Return a time as the log writes it: ISO 8601 in UTC with milliseconds."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
