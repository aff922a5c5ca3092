"""What the client asks of whatever proves who is calling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeVar

from orchestrator.okta.call import Call, RawAnswer
from orchestrator.okta.permissions import Caller
from orchestrator.okta.retry import RetryPolicy
from orchestrator.okta.wire import CallTrace, Reply
from orchestrator.secret import Secret

T = TypeVar("T")


class Ask(Protocol):
    """Makes a call that is needed for the proof itself; see `Transport.send`."""

    async def __call__(
        self, call: Call[T], trace: CallTrace, *, policy: RetryPolicy | None = None
    ) -> Reply[T]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one attempt proves its caller with."""

    headers: Mapping[str, str] = field(repr=False)
    token: Secret | None = None  # that the headers hold, if it can be renewed
    nonce: str | None = None  # that was put into it
    is_bound: bool = False  # to a key of ours (DPoP)


class Remedy(Enum):
    """What may help an attempt whose proof the org refuses. For people: what is done."""

    TOKEN = "a new access token"  # noqa: S105 - a name, not a credential
    NONCE = "a proof with the org's nonce"


class Authorizer(Protocol):
    """Proves who is calling; asked anew for every attempt, retries included."""

    caller: Caller

    @property
    def is_ready(self) -> bool:
        """Say whether a proof can be made now without a call."""
        ...

    async def get_ready(self, ask: Ask) -> None:
        """Get what proofs need, and in good time what later ones will; raises as `prove` does."""
        ...

    async def prove(self, method: str, url: str, ask: Ask) -> Proof:
        """Return the proof for one attempt; at once, if it is ready.

        Raises:
            AccessError: the org gives us nothing to prove ourselves with.
            NoAnswer: it could not be asked for it; the attempt was not sent.
            Halted: the run stops while it is asked.
        """
        ...

    def reconsider(self, proof: Proof, answer: RawAnswer) -> Remedy | None:
        """Learn from what became of a proof; say what a further attempt would have better."""
        ...
