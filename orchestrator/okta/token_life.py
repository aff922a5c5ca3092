"""How long an access token is used. Pure; times are seconds on the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.okta.token_endpoint import Grant
from orchestrator.secret import Secret

LONGEST_MARGIN = 300.0  # of an hour; a shorter life is renewed after nine tenths of it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldToken:
    """An access token and when it ends. Told apart by identity."""

    token: Secret
    is_bound: bool  # to the proof key (DPoP)
    scopes: tuple[str, ...] = field(default=())
    renew_at: float
    last_use: float  # after which it may not live through a call

    def is_usable(self, now: float) -> bool:
        """Say whether a call that is sent now will be over before it ends."""
        return now < self.last_use

    def postponed(self, now: float) -> HeldToken:
        """Return it after a failed renewal: the next is tried halfway to its last use."""
        return replace(self, renew_at=now + max(1.0, (self.last_use - now) / 2))


def margin(lifetime: float) -> float:
    """Return how long before its end a token is renewed."""
    return min(LONGEST_MARGIN, lifetime / 10)


def held_token(grant: Grant, asked: float) -> HeldToken:
    """Return a token with its times; its life is counted from before it was asked for."""
    ends = asked + grant.lifetime
    return HeldToken(
        token=grant.token,
        is_bound=grant.is_bound,
        scopes=grant.scopes,
        renew_at=ends - margin(grant.lifetime),
        last_use=ends - margin(grant.lifetime) / 3,
    )
