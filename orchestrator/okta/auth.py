"""Prove to the org who is calling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.okta.credentials import ApiToken, BearerToken, Credential
from orchestrator.secret import Secret


class Authorizer(Protocol):
    """Signs one attempt; asked anew for every attempt, retries included."""

    async def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return the headers that authorize this attempt."""
        ...


class FixedToken:
    """A token that stays as it is: an API token (SSWS) or a bearer token."""

    def __init__(self, scheme: str, token: Secret) -> None:
        self.scheme = scheme
        self.token = token

    async def headers(self, method: str, url: str) -> Mapping[str, str]:  # noqa: ARG002 - Authorizer
        return {"Authorization": f"{self.scheme} {self.token.reveal()}"}


def authorizer_for(credential: Credential) -> Authorizer:
    """Return what signs calls with a credential."""
    match credential:
        case ApiToken():
            return FixedToken("SSWS", credential.token)
        case BearerToken():
            return FixedToken("Bearer", credential.token)
        case _:
            raise NotImplementedError("to come with this step")
