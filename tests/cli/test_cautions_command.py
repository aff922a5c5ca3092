"""Cautions as people meet them: on the screen, in reports, and in a comment on a pull request."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.site import APPS, JOB, checked, site

MANAGED = APPS[:2]
CAUTION = f"caution: job {JOB}: 2 targets are managed by Terraform: plan anew"


def terraform_state(folder: Path) -> Path:
    """Write a state that manages two of the targets, and an app of no interest."""
    instances = [{"attributes": {"id": each, "secret": "x"}} for each in (*MANAGED, APPS[19])]
    resource = {"mode": "managed", "type": "okta_app_saml", "name": "x", "instances": instances}
    path = folder / "terraform.tfstate"
    path.write_text(json.dumps({"version": 4, "resources": [resource]}))
    return path


async def test_what_terraform_manages_is_told_wherever_somebody_looks(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        given = ("--terraform-state", terraform_state(tmp_path))
        comment = await where.keys("preview", where.plan, *given, "--output", "markdown")
        assert {call.method for call in where.org.log} == {"GET"}
        first = await where.run(*given, "--output", "json")
        again = await where.run(*given)
        told = await where.keys("report", "latest")
    assert (comment.code, first.code, again.code, told.code) == (0, 0, 0, 0)
    assert comment.out.startswith("## DRY RUN of plan `finance`\n")
    assert f"- **terraform**, job `{JOB}`: 2 targets are managed by Terraform" in comment.out
    for ended in (comment, first, told):
        assert CAUTION in ended.err, ended.err
    assert "caution" not in again.err
    report = checked(first.out)
    [caution] = [each for each in report["cautions"] if each["kind"] == "terraform"]
    assert (caution["count"], caution["app_ids"]) == (2, list(MANAGED))
    assert report["checksum"] is None, "a checksum is of a preview"


async def test_a_state_that_cannot_be_read_stops_a_run_before_any_call(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        (tmp_path / "state").mkdir()
        encrypted = tmp_path / "encrypted.tfstate"
        encrypted.write_text('{"meta": {}, "encrypted_data": "c2VjcmV0"}')
        ended = await where.run("--terraform-state", encrypted)
        assert not where.org.log
    assert ended.code == 4
    assert "is encrypted" in ended.err
    assert "tofu show -json" in ended.err
