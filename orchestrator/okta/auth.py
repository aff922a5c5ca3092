"""Prove to the org who is calling."""

from __future__ import annotations

from orchestrator.clock import Clock
from orchestrator.errors import ConfigError
from orchestrator.okta.authorizer import Ask, Authorizer, Proof, Remedy
from orchestrator.okta.call import RawAnswer
from orchestrator.okta.credentials import ApiToken, BearerToken, Credential
from orchestrator.okta.pacer import Pacer
from orchestrator.okta.permissions import Caller
from orchestrator.secret import Secret


class FixedToken:
    """A token that stays as it is: an API token (SSWS) or a bearer token."""

    is_ready = True

    def __init__(self, scheme: str, token: Secret, caller: Caller) -> None:
        if not fits_header(token.reveal()):
            raise ConfigError(
                f"the {caller.value} holds characters that no token has, or none at all",
                hint="was it copied whole, without quotes, spaces and line breaks?",
            )
        self.scheme = scheme
        self.token = token
        self.caller = caller

    async def get_ready(self, ask: Ask) -> None:
        """Do nothing: there is the token."""

    async def prove(self, method: str, url: str, ask: Ask) -> Proof:  # noqa: ARG002 - Authorizer
        return Proof(headers={"Authorization": f"{self.scheme} {self.token.reveal()}"})

    def reconsider(self, proof: Proof, answer: RawAnswer) -> Remedy | None:  # noqa: ARG002
        return None


def fits_header(token: str) -> bool:
    """Say whether a token can go into a header as it is: one word of visible ASCII."""
    return token.isascii() and token.isprintable() and " " not in token and bool(token)


def authorizer_for(credential: Credential, *, pacer: Pacer, clock: Clock) -> Authorizer:
    """Return what proves calls with a credential; the pacer tells the org's time.

    Raises:
        ConfigError: the token, or the private key of the service app, cannot be used.
    """
    match credential:
        case ApiToken():
            return FixedToken("SSWS", credential.token, Caller.API_TOKEN)
        case BearerToken():
            return FixedToken("Bearer", credential.token, Caller.ACCESS_TOKEN)
        case _:
            # Cryptography takes its time to load, and only a service app signs.
            from orchestrator.okta.service_app import open_service_app

            return open_service_app(credential, pacer=pacer, clock=clock)
