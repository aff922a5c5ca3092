"""A copy of an org equals the inventory it was made from; what is no inventory is refused."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.clock import SystemClock
from orchestrator.errors import InputError
from orchestrator.inventory.record import Inventory
from orchestrator.inventory.saved import read_inventory as read_saved
from orchestrator.inventory.saved import write_inventory
from orchestrator.sandbox.copies import inventory_in, org_name
from orchestrator.sandbox.org import SandboxOrg
from tests.inventory.scene import mixed_org, take
from tests.sandbox.originals import (
    OIDC,
    ORIGINAL,
    PARTNER,
    SHARED,
    UNREAD,
    copy_of,
    holder,
    original,
    read_copy,
)
from tests.sandbox.peer import Peer, opened

APPS, IDPS = "/api/v1/apps", "/api/v1/idps"
EVER = datetime(2000, 1, 1, tzinfo=UTC)
KIDS = tuple(letter * 43 for letter in "abcd")


class StillClock(SystemClock):
    """A clock whose time of day stands still."""

    def __init__(self, second: int) -> None:
        self.moment = datetime(2026, 10, 1, 0, 0, second, tzinfo=UTC)

    def wall(self) -> datetime:
        return self.moment


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a list shows of an app or IdP, in the words of an inventory."""
    is_app = "label" in document
    carrier = document if is_app else document.get("protocol", {})
    return {
        "id": document["id"],
        "label": document["label" if is_app else "name"],
        "name": document["name"] if is_app else None,
        "sign_on_mode": document["signOnMode" if is_app else "type"],
        "status": document["status"],
        "kid": carrier.get("credentials", {}).get("signing", {}).get("kid"),
        "last_updated": document["lastUpdated"],
    }


def saved(resource: str) -> list[dict[str, Any]]:
    """Return what the inventory says of its apps or IdPs."""
    return [each for each in ORIGINAL["holders"] if each["resource"] == resource]


async def keys_of(peer: Peer, entry: dict[str, Any]) -> dict[str, x509.Certificate]:
    """Return the keys of an app or IdP, the newest first."""
    keys = (await peer.get(f"/api/v1/{entry['resource']}s/{entry['id']}/credentials/keys")).json()
    keys.sort(key=lambda key: key["created"], reverse=True)
    assert len({key["created"] for key in keys}) == len(keys)
    return {key["kid"]: x509.load_der_x509_certificate(b64decode(key["x5c"][0])) for key in keys}


async def test_the_lists_of_a_copy_are_those_of_the_original() -> None:
    async with opened(copy_of(ORIGINAL)) as peer:
        for resource, path in ("app", APPS), ("idp", IDPS):
            listed = [shown(each) for each in (await peer.get(f"{path}?limit=200")).json()]
            assert len(listed) == len(saved(resource)) > 0
            for found, entry in zip(listed, saved(resource), strict=True):
                known = {name for name in found if name != "last_updated" or entry[name]}
                assert {n: found[n] for n in known} == {n: entry[n] for n in known}
        filter_ = {"filter": f'credentials.signing.kid eq "{SHARED}"'}
        sharing = [each["id"] for each in (await peer.get(APPS, query=filter_)).json()]
    assert sharing == [each["id"] for each in saved("app") if each["kid"] == SHARED]


async def test_the_keys_of_a_copy_are_those_of_the_original_made_new() -> None:
    async with opened(copy_of(ORIGINAL)) as peer:
        for entry in ORIGINAL["holders"]:
            held = await keys_of(peer, entry)
            others = [kid for kid in held if kid != entry["kid"]]
            assert others == (entry["other_keys"] or [])
            assert (entry["kid"] in held) == (entry["kid"] is not None)
            for kid in held.keys() & ORIGINAL["certificates"].keys():
                assert described(held[kid]) == expected(kid)


def described(certificate: x509.Certificate) -> tuple[object, ...]:
    public, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
    assert isinstance(public, rsa.RSAPublicKey)
    assert algorithm is not None
    public.verify(certificate.signature, certificate.tbs_certificate_bytes, PKCS1v15(), algorithm)
    dates = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (*dates, certificate.subject.rfc4514_string(), algorithm.name, public.key_size)


def expected(kid: str) -> tuple[object, ...]:
    of = ORIGINAL["certificates"][kid]
    dates = (datetime.fromisoformat(of[name]) for name in ("not_before", "not_after"))
    return (*dates, of["subject"], of["signature_hash"], of["key_bits"])


@pytest.mark.parametrize("all_keys", [False, True])
async def test_the_inventory_of_a_copy_is_the_one_it_was_made_from(
    tmp_path: Path, *, all_keys: bool
) -> None:
    org = mixed_org()
    for number, kid in enumerate(sorted(kids_in(org)), start=1):
        end = datetime(2026 + number, 1, number, 2, 3, 4, tzinfo=UTC)
        org.mint.order(kid, not_after=end, signature_hash=["sha1", "sha256"][number % 2])
    path = tmp_path / "inventory.json"
    write_inventory(path, await take(org, all_keys=all_keys))
    first = read_saved(path)
    second = await take(read_copy(path), all_keys=all_keys)
    assert second.org_id != first.org_id
    assert len(first.certificates) >= 4
    assert comparable(second) == comparable(first)


def kids_in(org: SandboxOrg) -> set[str]:
    return {
        kid for each in (*org.apps.values(), *org.idps.values()) for kid, _ in each.memberships()
    }


def comparable(inventory: Inventory) -> Inventory:
    """Return an inventory without what a copy cannot, or must not, have in common with it."""
    bare = {
        kid: replace(each, thumbprint="", x5c="") for kid, each in inventory.certificates.items()
    }
    return replace(inventory, org_id=None, taken_at=EVER, certificates=bare)


async def test_what_is_not_known_of_a_certificate_is_made_up_and_counted() -> None:
    assert inventory_in(ORIGINAL).made_up == 2
    org = copy_of(ORIGINAL)
    for kid in UNREAD, OIDC:
        expires = datetime.fromisoformat(org.material(kid).expires_at)
        assert expires > datetime.now(UTC)


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["app", "idp"]),
        st.sampled_from(["SAML_2_0", "SAML2", "OPENID_CONNECT", "BOOKMARK", "GOOGLE"]),
        st.none() | st.sampled_from(KIDS),
        st.none() | st.lists(st.sampled_from(KIDS), unique=True),
        st.text(max_size=5),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(ENTRIES)
def test_any_org_is_copied_with_all_who_share_a_key(
    entries: list[tuple[str, str, str | None, list[str] | None, str]],
) -> None:
    holders = []
    for number, (resource, mode, kid, others, label) in enumerate(entries):
        more = None if others is None else [other for other in others if other != kid]
        holders.append(
            holder(number, kid, resource=resource, sign_on_mode=mode, label=label, other_keys=more)
        )
    org = copy_of(original(holders=holders, certificates={}))
    found = {each.id: each for each in (*org.apps.values(), *org.idps.values())}
    assert len(found) == len(holders)
    for entry in holders:
        copied = found[entry["id"]]
        held = dict(copied.memberships())
        newest_first = sorted(held, key=lambda kid: held[kid], reverse=True)
        assert copied.active_kid == entry["kid"]
        assert [kid for kid in newest_first if kid != entry["kid"]] == (entry["other_keys"] or [])
        title = copied.document()["label" if entry["resource"] == "app" else "name"]
        assert title == entry["label"]
    for kid in KIDS:
        holding = {e["id"] for e in holders if kid in (e["kid"], *(e["other_keys"] or ()))}
        assert org.holders(kid) == holding


def test_no_two_orgs_have_one_id() -> None:
    first, same, later, other = (
        copy_of(document, seed=0, clock=StillClock(second))
        for document, second in [
            (ORIGINAL, 0),
            (ORIGINAL, 0),
            (ORIGINAL, 1),
            (original(org={"url": "https://b.okta.com", "id": None}), 0),
        ]
    )
    assert first.id == same.id == first.site.org_id
    assert len({first.id, later.id, other.id, ORIGINAL["org"]["id"], SandboxOrg().id}) == 5
    assert first.token == later.token, "a shell that knows the token need not be told again"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://acme.okta.com", "acme-copy"),
        ("https://acme.okta.com:8443/x", "acme-copy"),
        ("http://127.0.0.1:8080", "sandbox-copy"),
        ("http://[::1]:8080", "sandbox-copy"),
        ("http://localhost:8080", "sandbox-copy"),
        ("https://[acme.okta.com", "sandbox-copy"),
        ("https://a\u001b[31m.okta.com", "sandbox-copy"),
        (f"https://{'a' * 63}.okta.com", f"{'a' * 50}-copy"),
        ("", "sandbox-copy"),
    ],
)
def test_the_certificates_of_a_copy_name_a_copy(url: str, name: str) -> None:
    assert org_name(url) == name
    org = copy_of(original(org={"url": url}))
    kid = str(org.generate_key(ORIGINAL["holders"][0]["id"], "2")["kid"])
    certificate = x509.load_der_x509_certificate(b64decode(org.material(kid).x5c))
    assert f"CN={name}," in certificate.subject.rfc4514_string()


def test_whatever_the_id_of_an_org_is_its_copy_has_another() -> None:
    org = copy_of(original(org={"url": "https://acme.okta.com", "id": "00o\ud800"}))
    assert org.id.isascii()
    assert org.id.startswith("00o")


def test_a_key_made_in_a_copy_is_new_also_in_the_copy_of_a_copy() -> None:
    document = original()
    made = set()
    for _ in range(3):
        org = copy_of(document)
        kid = str(org.generate_key(document["holders"][0]["id"], "2")["kid"])
        assert kid not in made
        made.add(kid)
        document["holders"][0]["other_keys"] = sorted(made)


def test_a_subject_that_cannot_be_remade_is_oktas_own() -> None:
    document = original()
    document["certificates"][SHARED]["subject"] = f"CN={'x' * 65}"
    org = copy_of(document)
    certificate = x509.load_der_x509_certificate(b64decode(org.material(SHARED).x5c))
    assert "OU=SSOProvider" in certificate.subject.rfc4514_string()


def test_a_large_org_is_copied_in_no_time_and_nothing_is_signed() -> None:
    kids = [f"{number:043d}" for number in range(10_000)]
    dates = ORIGINAL["certificates"][SHARED]
    document = original(
        holders=[holder(number, kid) for number, kid in enumerate(kids)],
        certificates=dict.fromkeys(kids, dates),
    )
    started = time.process_time()
    org = copy_of(document)
    assert time.process_time() - started < 2
    assert len(org.apps) == 10_000
    assert not org.mint.materials
    prints = Counter(org.material(kid).thumbprint for kid in kids[:20])
    assert max(prints.values()) == 1, "alike in everything, and yet not the same"


def damaged(number: int = 0, **changes: Any) -> str:
    """Return an inventory with one holder changed."""
    document = original()
    document["holders"][number] |= changes
    return json.dumps(document)


def with_certificate(**changes: Any) -> str:
    document = original()
    document["certificates"][PARTNER] |= changes
    return json.dumps(document)


def without(name: str) -> str:
    return json.dumps({n: value for n, value in ORIGINAL.items() if n != name})


WRONG = [
    ("{", "this is not JSON"),
    ("[" * 100_000, "this is not JSON"),
    ("\udcff", "this is not JSON"),
    ("[]", "this is no saved inventory"),
    ("{}", "this is no saved inventory"),
    (without("schema_version"), "this is no saved inventory"),
    (without("holders"), "missing required field `holders`"),
    (without("certificates"), "missing required field `certificates`"),
    (json.dumps(original(schema_version="2.0")), "schema_version is '2.0'"),
    (json.dumps(original(schema_version=None)), "schema_version is None"),
    (json.dumps(original(whole=False)), "only a part of an inventory"),
    (json.dumps(original(holders={})), r"`$.holders`"),
    (damaged(2, id="\ud800"), "this is no saved inventory"),
    (damaged(2, kid=7), r"`$.holders[2].kid`"),
    (damaged(2, kid="a/b"), r"`$.holders[2].kid`"),
    (damaged(2, id=""), r"`$.holders[2].id`"),
    (damaged(2, id="0oa\n"), r"`$.holders[2].id`"),
    (damaged(2, resource="\u001b[31mgroup"), r"`$.holders[2].resource`"),
    (damaged(2, last_updated="yesterday"), r"`$.holders[2].last_updated`"),
    (damaged(2, id=ORIGINAL["holders"][1]["id"]), ORIGINAL["holders"][1]["id"]),
    (damaged(11, sign_on_mode=None), "has no type"),
    (with_certificate(not_after="2024-06-01T10:20:30Z"), f"certificate of {PARTNER} cannot run"),
    (with_certificate(not_after="2034-06-01T10:20:30"), "certificates"),
    (with_certificate(not_before="1931-06-01T10:20:30Z"), f"certificate of {PARTNER} cannot run"),
    (with_certificate(signature_hash="md5"), "cannot be made: 'md5', 2048 bits"),
    (with_certificate(key_bits=512), "cannot be made: 'sha1', 512 bits"),
    (with_certificate(key_bits=1_000_000), "cannot be made: 'sha1', 1000000 bits"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_inventory_is_refused_and_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "inventory.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError) as caught:
        read_copy(path)
    said = caught.value.diagnostics()
    assert message in said
    assert str(path) in said
    assert said.replace("\n", "").isprintable()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json: it cannot be read: No such file"):
        read_copy(tmp_path / "nowhere.json")


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(original(schema_version="1.7", moon={"phase": 1})))
    assert len(read_copy(path).apps) == len(saved("app"))
