"""The org without a network: seeding, determinism, size."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from orchestrator.errors import UsageError
from orchestrator.sandbox.certs import years_later
from orchestrator.sandbox.documents import SIGNING_MODES
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
