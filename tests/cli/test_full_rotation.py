"""The rotation that is shipped as an example, as shipped, there and back again."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from tests.cli.program import ROOT, Ended
from tests.cli.rollout_site import (
    CLOCK_CALL,
    KEYS,
    READ,
    WRITE,
    RolloutSite,
    assert_true_to_the_org,
    rollout_site,
    states,
)

PLAN = ROOT / "plans" / "full-rotation.yaml"
APPS = [target.app for job in resolve(load_plan(PLAN)) for target in job.stream()]
ONE_KEY_EVERYWHERE = {
    f"GET {CLOCK_CALL}": 1,
    f"POST {KEYS}/generate": 1,
    f"POST {KEYS}/{{kid}}/clone": 200,
    f"GET {KEYS}/{{kid}}": 200,  # verify: read_back
    READ: 200,
    WRITE: 200,
    "GET /api/v1/apps": 3,  # one list confirms each wave
    "GET /api/v1/logs": 3,
}


async def step(where: RolloutSite, *arguments: object) -> tuple[Ended, Counter[str]]:
    """Run a command, and return the calls that it made."""
    before = len(where.org.log)
    ended = await where.keys(*arguments)
    return ended, where.calls(before)


async def test_the_whole_rotation_there_and_back(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, plan=PLAN) as where:
        ran, calls = await step(where, "run", PLAN)
        assert ran.code == 0, ran.err
        assert calls == ONE_KEY_EVERYWHERE
        report = assert_true_to_the_org(where)
        assert set(states(report).values()) == {"verified"}
        assert where.switched() == set(APPS)
        assert Counter(row["wave"] for row in report["targets"]) == {1: 1, 2: 20, 3: 179}
        assert (report["hooks"]["ran"], report["hooks"]["failed"]) == (200, 0)
        assert_every_pack_is_whole(where, report)

        again, calls = await step(where, "run", PLAN)
        assert (again.code, calls) == (0, {})
        assert "nothing to do: all 200 targets hold the key, 200 active" in again.err

        back, calls = await step(where, "rollback", "latest")
        assert back.code == 0, back.err
        assert calls == {READ: 200, WRITE: 200}
        assert where.kids == where.former
        [job] = report["jobs"]
        assert where.org.holders(job["kid"]) == {*APPS, job["source_app_id"]}
        assert where.org.collateral_changes() == 0
        report = assert_true_to_the_org(where)
        assert set(states(report).values()) == {"rolled_back"}
        assert "the 200 apps that were given the key hold it still" in report["remarks"][0]
        assert_every_pack_is_whole(where, report)

        for last in ("run", PLAN), ("rollback", "latest"):
            ended, calls = await step(where, *last)
            assert (ended.code, calls) == (0, {}), ended.err
        verified = await where.keys("report", "latest", "--verify")
        assert verified.code == 0, verified.err
        assert where.report()["journal"]["head"] in verified.err


def assert_every_pack_is_whole(where: RolloutSite, report: dict[str, Any]) -> None:
    """Find a pack for each target by the report, with the certificate of the new key."""
    [job] = report["jobs"]
    x5c = where.org.material(job["kid"]).x5c
    folders = [where.reports / row["handoff"] for row in report["targets"]]
    assert len(set(folders)) == 200
    for folder in folders:
        pem = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        der = x509.load_der_x509_certificate((folder / "certificate.cer").read_bytes())
        assert pem == der
        assert b64encode(der.public_bytes(Encoding.DER)).decode() == x5c
        assert (folder / "message.txt").read_text().startswith("New signing certificate for ")
