"""What a preview says of activations, what it remembers, and that the run keeps to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator.sandbox.org import SandboxOrg
from tests.cli.rollout_site import (
    KEYS,
    SIX,
    assert_true_to_the_org,
    reasons,
    rollout_plan,
    rollout_site,
    states,
)
from tests.cli.site import APPS, KEY, SOURCE

FIRST, OIDC, BOOKMARK, INACTIVE, SIGNING, GONE, LAST = APPS[:7]
ACTIVE = dict.fromkeys(("planned", "activated", "verified"), "active")


def mixed_org() -> SandboxOrg:
    """Return an org with an app of every kind that preview has something to say about."""
    org = SandboxOrg(seed=1)
    org.add_app(SOURCE, label="Source")
    org.add_key(SOURCE, KEY)
    org.add_app(FIRST, sign_on_mode="SAML_1_1")
    org.add_app(OIDC, sign_on_mode="OPENID_CONNECT")
    org.add_app(BOOKMARK, sign_on_mode="BOOKMARK")
    org.add_app(INACTIVE, status="INACTIVE")
    org.add_app(SIGNING, kids=[KEY])
    document = org.apps[SIGNING].document()
    org.update_app(SIGNING, document | {"credentials": {"signing": {"kid": KEY}}})
    org.add_app(LAST, sign_on_mode="WS_FEDERATION")
    return org


def parts(report: dict[str, Any]) -> dict[str, tuple[str, str | None, str | None]]:
    """Return what a report says of each activation: its state, reason and former key."""
    found = {}
    for row in report["targets"]:
        if part := row["activation"]:
            state = ACTIVE.get(part["state"], part["state"])
            found[row["app_id"]] = (state, part["reason"], part["previous_kid"])
    return found


async def test_a_run_does_what_its_preview_has_promised(tmp_path: Path) -> None:
    text = rollout_plan(
        APPS[:7],
        key=KEY,
        activate="{waves: [2, 100%], stop_after_failures: 100%}",
        job="verify: read_back",
    )
    async with rollout_site(tmp_path, text=text, org=mixed_org()) as where:
        previewed = await where.preview()
        assert {call.method for call in where.org.log} == {"GET"}
        ahead, before = where.foreseen(), len(where.org.log)
        ran = await where.run()
        report = where.report()
        spent = where.buckets(before)
        assert where.kids[SIGNING] == where.former[SIGNING] == KEY
        assert where.switched() == {FIRST, LAST}
    assert (previewed.code, ran.code) == (3, 3), previewed.err
    assert parts(ahead) == parts(report)
    assert reasons(ahead) == {OIDC: "oidc", BOOKMARK: "not_signing", INACTIVE: "inactive"}
    assert ahead["targets"][5]["reason"] == report["targets"][5]["reason"] == "target_not_found"
    waves = [row["wave"] for row in ahead["targets"]]
    assert waves == [row["wave"] for row in report["targets"]] == [1, 1, 2, 2, 2, 2, 2]
    promised = {each["bucket"]: each["calls"] for each in ahead["forecast"]["buckets"]}
    assert promised == spent
    assert "its sign-on mode BOOKMARK signs with no key" in previewed.err


async def test_a_preview_counts_the_calls_of_a_whole_rotation(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=rollout_plan(job="verify: read_back")) as where:
        previewed = await where.preview("--detailed-exitcode")
        ahead, before = where.foreseen(), len(where.org.log)
        ran = await where.run()
        assert ran.code == 0, ran.err
        spent = where.buckets(before)
    assert previewed.code == 2
    assert {each["bucket"]: each["calls"] for each in ahead["forecast"]["buckets"]} == spent
    assert spent == {
        "/api/v1/apps": 1 + 6 + 6 + 3,
        "GET /api/v1/apps/{id}": 6,
        "PUT /api/v1/apps/{id}": 6,
        "/api/v1/logs": 3,
    }
    assert Counter(row["wave"] for row in ahead["targets"]) == {1: 1, 2: 2, 3: 3}
    assert "at least 7 apps will share the new key" in previewed.err
    for app in SIX:
        assert f"would be activated in place of {where.former[app]}" in previewed.err
    assert "6 planned; 6 to be activated" in previewed.err


async def test_what_somebody_has_changed_since_the_preview_is_left_alone(tmp_path: Path) -> None:
    text = rollout_plan(activate="{waves: [2, 100%], stop_after_failures: 2}")
    async with rollout_site(tmp_path, text=text) as where:
        await where.preview()
        theirs = where.rekey(FIRST)
        ran = await where.run()
        report = where.report()
        assert where.kids[FIRST] == theirs
        assert where.writes(FIRST) == 0
        assert where.switched() == set(SIX), "all others go on"
        looked = await where.preview()
        again = await where.run()
        assert where.kids[FIRST] == where.made
        back = await where.rollback()
        assert where.kids == where.former | {FIRST: theirs}
    assert (ran.code, looked.code, again.code, back.code) == (3, 0, 0, 0)
    assert reasons(report) == {FIRST: "drift"}
    [detail] = [row["activation"]["detail"] for row in report["targets"] if row["app_id"] == FIRST]
    assert detail.startswith(f"it signs with {theirs}, but at the preview of 20")
    assert f"it signed with {where.former[FIRST]}: somebody has changed it" in detail


async def test_a_preview_of_a_plan_that_waits_is_about_the_key_that_it_made(
    tmp_path: Path,
) -> None:
    text = rollout_plan(activate="{gate: {acknowledged: true}}")
    async with rollout_site(tmp_path, text=text) as where:
        await where.run()
        calls = len(where.org.log)
        previewed = await where.preview()
        assert {call.method for call in where.org.log[calls:]} == {"GET"}
        ahead = where.foreseen()
        await where.keys("ack", "latest", *(part for app in SIX for part in ("--target", app)))
        await where.run()
        assert parts(ahead) == parts(where.report())
        assert where.calls()[f"POST {KEYS}/generate"] == 1
    assert previewed.code == 0
    assert [job["kid"] for job in ahead["jobs"]] == [where.made]
    assert {row["status"] for row in ahead["targets"]} == {"already_present"}
    assert set(states(ahead).values()) == {"planned"}
    assert "new key" not in previewed.err
    assert where.made in previewed.err


async def test_each_target_gets_its_own_key_and_its_preview_says_so(tmp_path: Path) -> None:
    source = "{key: {generate: each_target}}"
    text = rollout_plan(SIX[:3], source=source, activate="{}")
    async with rollout_site(tmp_path, text=text) as where:
        previewed = await where.preview()
        ahead, before = where.foreseen(), len(where.org.log)
        ran = await where.run()
        assert ran.code == 0, ran.err
        report = assert_true_to_the_org(where)
        promised = {each["bucket"]: each["calls"] for each in ahead["forecast"]["buckets"]}
        assert promised == where.buckets(before)
        assert where.switched() == set(SIX[:3])
    assert len({row["kid"] for row in report["targets"]}) == 3
    assert {row["status"] for row in report["targets"]} == {"generated"}
    [detail] = {row["detail"] for row in ahead["targets"]}
    assert detail == "would get a new key of its own"
    assert "a new key for every target, for 10 years" in previewed.err
