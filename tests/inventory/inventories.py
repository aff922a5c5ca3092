"""Made-up inventories, for the properties of what is done with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from orchestrator.holders import OIDC, SAML_IDP, Holder
from orchestrator.inventory.record import Inventory
from orchestrator.model import AppId, Certificate, Kid, Resource

AT = datetime(2026, 10, 1, 12, tzinfo=UTC)
URL = "https://acme.okta.com"
MODES = {
    Resource.APP: ("SAML_2_0", OIDC, "BOOKMARK", None),
    Resource.IDP: (SAML_IDP, "OIDC", None),
}
KIDS = tuple(Kid(f"{start}kid{start * 38}") for start in "abc-_")

few = settings(max_examples=30, deadline=None)

texts = st.text(max_size=12) | st.sampled_from(
    ["", "=1+1", "@x", "-1", "\x1b[31mred", 'a "b"\n\\c', "[bold]x[/]", "\r\t", "名前" * 9]
)
some_texts = st.none() | texts
seconds = st.integers(0, 86_400)


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    return Certificate(
        thumbprint=draw(st.sampled_from(["t" * 43, "-" * 43])),
        not_before=AT - timedelta(seconds=draw(st.integers(1, 10**8))),
        not_after=AT + timedelta(days=draw(st.integers(-100, 400)), seconds=draw(seconds)),
        subject=draw(texts),
        signature_hash=draw(st.sampled_from(["sha1", "sha256", "none"])),
        key_bits=draw(st.sampled_from([0, 256, 1024, 2048])),
    )


@st.composite
def holders(draw: st.DrawFn, number: int) -> Holder:
    resource = draw(st.sampled_from(Resource))
    return Holder(
        id=AppId(f"0oa{number:017d}"),
        resource=resource,
        label=draw(texts),
        name=draw(some_texts),
        sign_on_mode=draw(st.sampled_from(MODES[resource])),
        status=draw(st.sampled_from([None, "ACTIVE", "INACTIVE", "odd status"])),
        kid=draw(st.none() | st.sampled_from(KIDS)),
        last_updated=draw(some_texts),
    )


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Make an inventory of up to six holders, which share five keys."""
    size = draw(st.integers(0, 6))
    everybody = tuple(draw(holders(number)) for number in range(size))
    known = draw(st.dictionaries(st.sampled_from(KIDS), certificates(), max_size=4))
    others = st.lists(st.sampled_from(KIDS), unique=True, max_size=3).map(tuple)
    ids = [holder.id for holder in everybody]
    listed = st.dictionaries(st.sampled_from(ids), others) if ids else st.just({})
    return Inventory(
        org=draw(st.sampled_from([URL, "http://127.0.0.1:4711"])),
        org_id=draw(st.sampled_from([None, "00o1", "00o2"])),
        profile=draw(st.sampled_from([None, "acme"])),
        taken_at=AT + timedelta(microseconds=draw(st.integers(0, 10**12))),
        resources=draw(st.sampled_from([tuple(Resource), (Resource.APP,)])),
        holders=everybody,
        certificates=known,
        unknown=draw(st.dictionaries(st.sampled_from(KIDS), texts, max_size=2)),
        other_keys=draw(st.none() | listed),
        notes=draw(st.lists(texts, max_size=2).map(tuple)),
    )
