"""Prove calls as an OAuth service app: fetch access tokens, renew them in time, bind them (DPoP).

One fetch at a time: whoever needs a token first makes it, all others wait for what comes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe

import anyio

from orchestrator.clock import Clock
from orchestrator.errors import AccessError, CallError, Halted, NoAnswer
from orchestrator.okta.assertion import ProofKey, client_assertion, dpop_proof, proof_key
from orchestrator.okta.authorizer import Ask, Proof, Remedy
from orchestrator.okta.call import Composed, RawAnswer, read_refusal
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.pacer import Pacer
from orchestrator.okta.permissions import Caller
from orchestrator.okta.retry import ONCE
from orchestrator.okta.signing_key import SigningKey, read_signing_key
from orchestrator.okta.token_endpoint import (
    BAD_CLIENT,
    BAD_PROOF,
    TOKEN_PATH,
    USE_NONCE,
    Grant,
    Objection,
    TokenAnswer,
    compose_form,
    nonce_in,
    rejection,
    token_call,
)
from orchestrator.okta.token_life import HeldToken, held_token
from orchestrator.okta.wire import CallTrace, Meaning

log = logging.getLogger(__name__)

TOLD_APART_SECONDS = 2.0  # what is signed is backdated by more, so that less does no harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """When an attempt at a token was signed: on the monotonic clock, and as the org's time."""

    at: float
    epoch: float


class ServiceAppCalls:
    """The calls of one service app. It is an `Authorizer`."""

    caller = Caller.SERVICE_APP

    def __init__(
        self,
        app: ServiceApp,
        key: SigningKey,
        *,
        pacer: Pacer,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self.app = app
        self.key = key
        self.pacer = pacer
        self.clock = clock
        self.new_id = new_id
        self.token: HeldToken | None = None
        self.uses_dpop = app.dpop  # also switched on by the org's answer, for good
        self.proof_key: ProofKey | None = None
        self.token_nonce: str | None = None  # of the token endpoint
        self.call_nonce: str | None = None  # of the API, which hardly ever asks for one
        self.turn = anyio.Lock(fast_acquire=True)
        self.failed = 0  # fetches
        self.failure: CallError | AccessError | None = None  # what came of the last of those
        self.signed = Signed(at=0.0, epoch=0.0)

    @property
    def is_ready(self) -> bool:
        """Say whether there is a token that will live through one call."""
        return self.token is not None and self.token.is_usable(self.clock.monotonic())

    async def get_ready(self, ask: Ask) -> None:
        """Have a token that is not about to end; see `Authorizer`."""
        await self.current_token(ask, in_good_time=True)

    async def prove(self, method: str, url: str, ask: Ask) -> Proof:
        """Return the headers for one attempt; see `Authorizer`."""
        token = await self.current_token(ask)
        value = token.token.reveal()
        if not token.is_bound or self.proof_key is None:
            return Proof(headers={"Authorization": f"Bearer {value}"}, token=token.token)
        nonce = self.call_nonce
        proof = dpop_proof(
            self.proof_key,
            method=method,
            url=url,
            now=self.epoch(),
            unique=self.new_id(),
            nonce=nonce,
            token=value,
        )
        headers = {"Authorization": f"DPoP {value}", "DPoP": proof}
        return Proof(headers=headers, token=token.token, nonce=nonce, is_bound=True)

    def reconsider(self, proof: Proof, answer: RawAnswer) -> Remedy | None:
        """Take up a nonce, or let go of a token that the org refuses; say what is new then."""
        if answer.status not in (400, 401):
            return None
        nonce = nonce_in(answer)
        if proof.is_bound and nonce is not None and nonce != proof.nonce:
            self.call_nonce = nonce
            if asks_for_nonce(answer):
                return Remedy.NONCE
        if answer.status != 401 or read_refusal(answer)[0] is not Meaning.TOKEN_REJECTED:
            return None
        # And not one that was fetched in the meantime.
        if self.token is not None and self.token.token is proof.token:
            self.token = None
        return Remedy.TOKEN

    # Tokens

    async def current_token(self, ask: Ask, *, in_good_time: bool = False) -> HeldToken:
        """Return a token to use now; fetch one if there is none, or in good time before it ends.

        While one is fetched in good time, everybody else goes on with the old one. Who has waited
        for a fetch that failed shares its failure.
        """
        now = self.clock.monotonic()
        token = self.token
        if token is not None and token.is_usable(now):
            is_due = in_good_time and now >= token.renew_at
            if not is_due or self.turn.locked():
                return token
        failed = self.failed
        async with self.turn:
            now = self.clock.monotonic()
            old = self.token if self.token is not None and self.token.is_usable(now) else None
            if old is not None and now < old.renew_at:
                return old
            if self.failure is not None and self.failed > failed:
                raise self.failure.with_traceback(None)
            return await self.renew(ask, old)

    async def renew(self, ask: Ask, old: HeldToken | None) -> HeldToken:
        """Fetch a token. Where the old one still lives, one failed attempt does no harm."""
        try:
            self.token = await self.fetch(ask, in_time=old is not None)
        except Halted:
            raise
        except CallError as error:
            if old is not None and self.token is old:
                self.token = old.postponed(self.clock.monotonic())
                return self.token
            if old is not None:  # the org has refused it in the meantime
                return await self.renew(ask, None)
            self.failed += 1
            self.failure = NoAnswer(
                f"no access token could be fetched, so the call was not sent: {error.message}",
                hint=error.hint,
                call=error.context.get("call", f"POST {TOKEN_PATH}"),
                request_id=error.context.get("request_id"),
            )
            raise self.failure from error
        except AccessError as error:
            self.failed += 1
            self.failure = error
            raise
        return self.token

    async def fetch(self, ask: Ask, *, in_time: bool) -> HeldToken:
        """Ask for a token, and again as the org wants to be asked: each way is tried once."""
        tried: set[str] = set()
        while True:
            if self.uses_dpop and self.proof_key is None:
                self.proof_key = await anyio.to_thread.run_sync(proof_key)
            policy = ONCE if in_time else None
            reply = await ask(token_call(self.compose), CallTrace(), policy=policy)
            answer = reply.value
            self.token_nonce = self.nonce_after(answer)
            if isinstance(answer, Grant):
                return held_token(answer, self.signed.at)
            assert isinstance(answer, Objection)  # noqa: S101 - the endpoint knows no third
            change = self.change_after(answer)
            if change is None or change in tried:
                raise rejection(answer, self.app, key_id=self.key.key_id, skew=self.skew())
            tried.add(change)

    def compose(self, address: str) -> Composed:
        """Sign one attempt at a token: assertion and proof are good for one request each."""
        self.signed = Signed(at=self.clock.monotonic(), epoch=self.epoch())
        now = self.signed.epoch
        assertion = client_assertion(
            self.key,
            client_id=self.app.client_id,
            audience=address,
            now=now,
            unique=self.new_id(),
        )
        proof = None
        if self.uses_dpop and self.proof_key is not None:
            proof = dpop_proof(
                self.proof_key,
                method="POST",
                url=address,
                now=now,
                unique=self.new_id(),
                nonce=self.token_nonce,
            )
        return compose_form(self.app.scopes, assertion, proof)

    def nonce_after(self, answer: TokenAnswer | None) -> str | None:
        return (answer.nonce if answer is not None else None) or self.token_nonce

    def change_after(self, objection: Objection) -> str | None:
        """Return the name of what a further request will have better; None: nothing."""
        if objection.error in (BAD_PROOF, USE_NONCE) and not self.uses_dpop:
            log.debug("the org asks for DPoP: %s", objection)
            self.uses_dpop = True
            return "proof"
        if objection.error == USE_NONCE and objection.nonce is not None:
            return "nonce"
        if objection.error in (BAD_CLIENT, BAD_PROOF) and self.signed_at_wrong_time():
            return "clock"
        return None

    # Time

    def epoch(self) -> float:
        """Return the org's time in epoch seconds, as far as it has been heard."""
        return self.pacer.org_time(self.clock.wall()).timestamp()

    def signed_at_wrong_time(self) -> bool:
        """Say whether, by what the org has told since, the last request bore a wrong time."""
        passed = self.clock.monotonic() - self.signed.at
        return abs(self.epoch() - self.signed.epoch - passed) > TOLD_APART_SECONDS

    def skew(self) -> float | None:
        """Return by how many seconds the local clock is ahead of the org's, if that is known."""
        if not self.pacer.has_org_time:
            return None
        return self.clock.wall().timestamp() - self.epoch()


def asks_for_nonce(answer: RawAnswer) -> bool:
    """Say whether an API answer asks for a nonce (RFC 9449 section 9)."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    return USE_NONCE in challenge or USE_NONCE.encode() in answer.body


def open_service_app(app: ServiceApp, *, pacer: Pacer, clock: Clock) -> ServiceAppCalls:
    """Return what proves calls as a service app; nothing is called yet.

    Raises:
        ConfigError: its private key cannot be used.
    """
    key = read_signing_key(app)
    return ServiceAppCalls(app, key, pacer=pacer, clock=clock, new_id=lambda: token_urlsafe(18))
