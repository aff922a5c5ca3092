"""The org without a network: seeding, determinism, size."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from base64 import b64decode, urlsafe_b64decode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from orchestrator.errors import UsageError
from orchestrator.sandbox.certs import SIGNATURE_HASHES, years_later
from orchestrator.sandbox.documents import SIGNING_MODES
from orchestrator.sandbox.holders import NO_KEY
from orchestrator.sandbox.org import SandboxOrg


def test_ids_kids_and_token_follow_from_the_seed() -> None:
    first, same, other = SandboxOrg(seed=5), SandboxOrg(seed=5), SandboxOrg(seed=6)
    apps = [org.add_app() for org in (first, same, other)]
    assert apps[0].id == apps[1].id != apps[2].id
    assert apps[0].active_kid == apps[1].active_kid != apps[2].active_kid
    assert first.token == same.token != other.token
    assert re.fullmatch(r"0oa[0-9A-Za-z]{17}", apps[0].id)
    assert re.fullmatch(r"00[0-9A-Za-z_-]{40}", first.token)
    assert first.add_key(apps[0].id) == same.add_key(apps[1].id)


def test_a_hundred_thousand_apps_are_added_in_no_time() -> None:
    org = SandboxOrg()
    started = time.process_time()
    for _ in range(100_000):
        org.add_app()
    assert time.process_time() - started < 2
    assert len(org.apps) == 100_000
    assert not org.mint.orders


def test_a_kid_means_one_certificate_in_the_whole_org() -> None:
    org = SandboxOrg()
    first, second = org.add_app(), org.add_app()
    own = first.own_kid
    assert own is not None
    assert org.add_key(second.id, own, validity_years=2) == own
    keys = [org.get_key(app.id, own) for app in (first, second)]
    assert keys[0]["x5t#S256"] == keys[1]["x5t#S256"]
    assert len({str(key["x5t#S256"]) for key in org.list_keys(second.id)}) == 2


def test_the_validity_of_a_seeded_key_can_be_chosen() -> None:
    org = SandboxOrg()
    app = org.add_app()
    short = org.get_key(app.id, org.add_key(app.id, validity_years=2))
    long = org.get_key(app.id, org.add_key(app.id, "k" * 43))
    assert int(str(long["expiresAt"])[:4]) - int(str(short["expiresAt"])[:4]) in range(7, 10)


def test_seeding_with_kids_shares_the_key() -> None:
    org = SandboxOrg()
    kid = "s" * 43
    apps = [org.add_app(kids=[kid]) for _ in range(3)]
    outsider = org.add_app()
    assert org.holders(kid) == {app.id for app in apps}
    assert all(org.holds(app.id, kid) for app in apps)
    assert not org.holds(outsider.id, kid)
    org.remove_app(apps[0].id)
    assert org.holders(kid) == {app.id for app in apps[1:]}
    assert not org.holds(apps[0].id, kid)


def test_apps_can_sign_with_one_key() -> None:
    org = SandboxOrg()
    kid = "s" * 43
    apps = [org.add_app(signing_kid=kid), org.add_app(signing_kid=kid, kids=["t" * 43])]
    idp, other = org.add_idp(signing_kid=kid), org.add_app()
    assert {each.active_kid for each in (*apps, idp)} == {kid} != {other.active_kid}
    assert org.holders(kid) == {apps[0].id, apps[1].id, idp.id}
    assert [key["kid"] for key in org.list_keys(apps[1].id)] == ["t" * 43, kid]
    spare = org.add_key(apps[0].id)
    document = apps[0].document()
    document["credentials"] = {"signing": {"kid": spare}}
    org.update_app(apps[0].id, document)
    assert [app.active_kid for app in apps] == [spare, kid]
    assert org.holds(apps[0].id, kid), "the key it was created with is still in its store"


def test_what_signs_with_no_key_has_none_of_its_own() -> None:
    org = SandboxOrg()
    for holder in (org.add_app(signing_kid=NO_KEY), org.add_idp(signing_kid=NO_KEY)):
        assert holder.active_kid is None
        assert org.list_keys(holder.id) == []


@pytest.mark.parametrize("hash_name", SIGNATURE_HASHES)
@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_certificate_can_be_ordered(hash_name: str, bits: int) -> None:
    org = SandboxOrg()
    kid = "s" * 43
    app = org.add_app(signing_kid=kid)
    start, end = datetime(2011, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2021, 5, 6, tzinfo=UTC)
    org.mint.order(kid, not_before=start, not_after=end, signature_hash=hash_name, key_bits=bits)
    certificate = x509.load_der_x509_certificate(b64decode(org.material(kid).x5c))
    public, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
    assert isinstance(public, rsa.RSAPublicKey)
    assert algorithm is not None
    assert (public.key_size, algorithm.name) == (bits, hash_name)
    public.verify(certificate.signature, certificate.tbs_certificate_bytes, PKCS1v15(), algorithm)
    assert (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == (start, end)
    shown = org.get_key(app.id, kid)
    assert shown["expiresAt"] == "2021-05-06T00:00:00.000Z"
    modulus = urlsafe_b64decode(f"{shown['n']}==")
    assert int.from_bytes(modulus, "big") == public.public_numbers().n


def test_openssl_believes_a_certificate_with_sha1(tmp_path: Path) -> None:
    org = SandboxOrg()
    org.mint.order("s" * 43, not_after=datetime(2099, 1, 1, tzinfo=UTC), signature_hash="sha1")
    path = tmp_path / "certificate.der"
    path.write_bytes(b64decode(org.material("s" * 43).x5c))
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here")
    said = subprocess.run(
        [openssl, "x509", "-inform", "DER", "-in", path, "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.count("Signature Algorithm: sha1WithRSAEncryption") == 2


def test_a_certificate_that_was_seen_stays_as_it_is() -> None:
    org = SandboxOrg()
    kid = "s" * 43
    first, later = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    org.mint.order(kid, not_after=first)
    org.mint.order(kid, not_after=later)
    assert org.material(kid).expires_at.startswith("2031-01-01")
    with pytest.raises(UsageError, match="is known already"):
        org.mint.order(kid, not_after=first)


def test_adding_a_key_again_changes_nothing() -> None:
    org = SandboxOrg()
    app = org.add_app()
    kid = org.add_key(app.id)
    org.add_key(app.id, kid)
    assert [key["kid"] for key in org.list_keys(app.id)] == [kid, app.own_kid]


@pytest.mark.parametrize("mode", ["SAML_2_0", "SAML_1_1", "BOOKMARK", "AUTO_LOGIN"])
def test_only_signing_apps_have_a_key_of_their_own(mode: str) -> None:
    org = SandboxOrg()
    app = org.add_app(sign_on_mode=mode)
    assert (app.active_kid is not None) == (mode in SIGNING_MODES)
    assert len(org.list_keys(app.id)) == (mode in SIGNING_MODES)


def test_an_id_cannot_be_used_twice() -> None:
    org = SandboxOrg()
    org.add_app("0oa1gjh63g214q0Hq0g4")
    with pytest.raises(UsageError, match="0oa1gjh63g214q0Hq0g4"):
        org.add_app("0oa1gjh63g214q0Hq0g4")


def test_a_document_is_a_copy() -> None:
    org = SandboxOrg()
    app = org.add_app()
    app.document()["settings"] = None
    assert isinstance(app.document()["settings"], dict)
    org.update_app(app.id, app.document() | {"profile": {"list": [1]}})
    profile = app.document()["profile"]
    assert isinstance(profile, dict)
    profile["list"].append(2)
    assert app.document()["profile"] == {"list": [1]}


def test_a_leap_day_has_an_anniversary() -> None:
    leap = datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert years_later(leap, 2) == datetime(2030, 2, 28, 12, tzinfo=UTC)
    assert years_later(leap, 4) == datetime(2032, 2, 29, 12, tzinfo=UTC)
