"""Prove to the org who is calling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.secret import Secret


class Authorizer(Protocol):
    """Signs one attempt; asked anew for every attempt, retries included."""

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return the headers that authorize this attempt."""
        ...


class ApiToken:
    """Okta's own scheme: an API token of an admin. It dies after 30 days without use."""

    def __init__(self, token: Secret) -> None:
        self.token = token

    async def headers(self, method: str, url: str) -> Mapping[str, str]:  # noqa: ARG002 - Authorizer
        return {"Authorization": f"SSWS {self.token.reveal()}"}
