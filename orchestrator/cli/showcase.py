"""A sandbox org with something to see in it, for `inventory --sandbox`."""

from __future__ import annotations

from datetime import datetime, timedelta

from orchestrator.clock import Clock, SystemClock
from orchestrator.sandbox.org import SandboxOrg

OWN_KEYS = 8  # apps with a key of their own that lasts
SHARING = 6  # apps with one key
LAST_DAYS = (-20, 12, 25, 50, 80, 200)  # until the certificates of some more apps end

A_MOMENT = timedelta(hours=1)  # so that the days left are whole when somebody looks


def showcase_org(clock: Clock | None = None) -> SandboxOrg:
    """Return an org of twenty SAML apps whose certificates end at various times.

    Some share a key, one has ended and was signed with SHA-1, one app is inactive, one does not
    sign at all, and there is an identity provider.
    """
    clock = clock or SystemClock()
    org, now = SandboxOrg(clock=clock), clock.wall().replace(microsecond=0) + A_MOMENT
    for days in LAST_DAYS:
        kid = key_that_ends(org, now + timedelta(days=days), "sha256" if days > 0 else "sha1")
        org.add_app(label=f"{days} days left" if days > 0 else "Ended", signing_kid=kid)
    shared = key_that_ends(org, now + timedelta(days=40), "sha256")
    for number in range(SHARING):
        org.add_app(label=f"Sharing {number + 1}", signing_kid=shared)
    for number in range(OWN_KEYS):
        status = "INACTIVE" if number == 0 else "ACTIVE"
        org.add_app(label=f"On its own {number + 1}", status=status)
    org.add_app(label="A bookmark", sign_on_mode="BOOKMARK")
    org.add_idp(name="An identity provider")
    return org


def key_that_ends(org: SandboxOrg, end: datetime, signature_hash: str) -> str:
    """Return the kid of a key whose certificate ends then."""
    kid = org.mint.new_kid()
    org.mint.order(kid, not_after=end, signature_hash=signature_hash)
    return kid
