"""Plans whose targets are identity providers: the same way there and back, with their own calls."""

from __future__ import annotations

from pathlib import Path

from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import SandboxOrg
from tests.cli.rollout_site import (
    CLOCK_CALL,
    RolloutSite,
    assert_true_to_the_org,
    reasons,
    rollout_site,
    states,
)
from tests.cli.site import JOB

SOURCE = "0oa8ae1t5yev2ajDsidp"
IDPS = tuple(f"0oa8ae2q{number:012d}" for number in range(4))
SOCIAL = "0oa8ae2q000000000009"
IDP, KEYS = "/api/v1/idps/{idpId}", "/api/v1/idps/{idpId}/credentials/keys"


def idp_plan(
    idps: tuple[str, ...] = IDPS, *, activate: str = "{waves: [1, 100%]}", more: str = ""
) -> str:
    return (
        f"version: 1\nname: partners\n{more}\njobs:\n  - name: {JOB}\n    resource: idp\n"
        f"    source: {{idp: {SOURCE}, key: {{generate: {{validity_years: 2}}}}}}\n"
        f"    targets: [{', '.join(idps)}]\n    activate: {activate}\n    verify: read_back\n"
    )


async def test_idps_go_there_and_back(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=idp_plan()) as where:
        ahead = await where.preview()
        promised, before = where.foreseen()["forecast"]["buckets"], len(where.org.log)
        ran = await where.run()
        assert ran.code == 0, ran.err
        assert where.calls(before) == {
            f"GET {CLOCK_CALL}": 1,
            f"POST {KEYS}/generate": 1,
            f"POST {KEYS}/{{kid}}/clone": 4,
            f"GET {KEYS}/{{kid}}": 4,
            f"GET {IDP}": 4,
            f"PUT {IDP}": 4,
            "GET /api/v1/idps": 2,
        }
        assert [each["calls"] for each in promised if each["calls"]] == [19]
        report = assert_true_to_the_org(where)
        assert where.switched() == set(IDPS)

        before = len(where.org.log)
        back = await where.rollback()
        assert back.code == 0, back.err
        assert where.calls(before) == {f"GET {IDP}": 4, f"PUT {IDP}": 4}
        assert where.kids == where.former
        assert where.org.holders(where.made) == {SOURCE, *IDPS}
        assert where.org.collateral_changes() == 0
    assert ahead.code == 0, ahead.err
    assert {row["resource"] for row in report["targets"]} == {"idp"}
    assert set(states(report).values()) == {"verified"}
    assert set(states(where.report()).values()) == {"rolled_back"}
    assert f"key {where.made} of idp {SOURCE}" in ran.err


def org_with_a_social_idp() -> SandboxOrg:
    org = SandboxOrg(seed=1)
    for idp in (SOURCE, *IDPS[:2]):
        org.add_idp(idp)
    org.add_idp(SOCIAL, kind="GOOGLE")
    return org


async def test_an_idp_that_signs_nothing_is_refused_in_preview_and_left_alone(
    tmp_path: Path,
) -> None:
    text = idp_plan(
        (SOCIAL, *IDPS[:2]),
        activate="{gate: {acknowledged: true}, waves: [100%], stop_after_failures: 2}",
    )
    async with rollout_site(tmp_path, text=text, org=org_with_a_social_idp()) as where:
        document = where.org.idps[SOCIAL].document()
        ahead = await where.preview()
        await where.run()
        await where.keys("ack", "latest", *targets(SOCIAL, *IDPS[:2]))
        ran = await where.run()
        report = assert_true_to_the_org(where)
        assert where.switched() == set(IDPS[:2])
        assert where.org.idps[SOCIAL].document() == document
    assert (ahead.code, ran.code) == (3, 3)
    assert reasons(where.foreseen()) == reasons(report) == {SOCIAL: "not_signing"}
    assert "its sign-on mode GOOGLE signs with no key" in ahead.err


def targets(*idps: str) -> list[str]:
    return [part for idp in idps for part in ("--target", idp)]


async def test_more_than_the_key_of_an_idp_is_put_back_and_loud(tmp_path: Path) -> None:
    clumsy = Fault(kind="collateral", on="update_idp", targets=(IDPS[0],), times=1)
    async with rollout_site(tmp_path, clumsy, text=idp_plan()) as where:
        document = where.org.idps[IDPS[0]].document()
        ran = await where.run()
        assert without_time(where, IDPS[0]) == document | {"lastUpdated": ""}
        assert where.switched() == set()
        assert reasons(assert_true_to_the_org(where)) == {IDPS[0]: "collateral"}
    assert ran.code == 6
    assert "(policy.maxClockSkew); it has been put back as it was" in ran.err


def without_time(where: RolloutSite, idp: str) -> dict[str, object]:
    return where.org.idps[idp].document() | {"lastUpdated": ""}
