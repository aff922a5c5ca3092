"""What a run leaves for the owners of its targets, and that it makes up for what is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from orchestrator.sandbox.faults import Fault
from tests.cli.rollout_site import SIX, RolloutSite, rollout_plan, rollout_site
from tests.cli.site import JOB

METADATA = "GET /api/v1/apps/{appId}/sso/saml/metadata"
CERTIFICATE = "{http://www.w3.org/2000/09/xmldsig#}X509Certificate"
FIRST, SECOND, THIRD = SIX[:3]
WITH_METADATA = "report: {handoff: metadata}"
WAITING = "{gate: {acknowledged: true}}"


def csv_plan(folder: Path, *, activate: str = WAITING) -> str:
    """Return a plan whose targets have owners and vendors."""
    rows = [f"{app},{app[-1]}@acme.example,[red]Vendor {app[-1]}[/]" for app in SIX[:3]]
    (folder / "owners.csv").write_text("\n".join(["app_id,owner,vendor", *rows, ""]))
    text = rollout_plan([], activate=activate, top=WITH_METADATA)
    return text.replace("targets: []", "targets: [{file: owners.csv}]")


def pack_of(where: RolloutSite, app: str) -> Path:
    """Return the folder of an app's pack, as the report names it."""
    [row] = [row for row in where.report()["targets"] if row["app_id"] == app]
    return where.reports / str(row["handoff"])


def facts_in(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / "pack.json").read_text())
    assert isinstance(facts, dict)
    return facts


async def test_a_pack_holds_what_an_owner_needs_and_nothing_else(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=csv_plan(tmp_path)) as where:
        ran = await where.run()
        assert ran.code == 0, ran.err
        assert where.calls()[METADATA] == 3
        material, folder = where.org.material(where.made), pack_of(where, FIRST)
        made = where.made
    files = {path.name: path for path in folder.iterdir()}
    assert set(files) == {
        "certificate.pem", "certificate.cer", "metadata.xml", "message.txt", "pack.json",
    }  # fmt: skip
    der = b64decode(material.x5c)
    assert files["certificate.cer"].read_bytes() == der
    metadata = ET.fromstring(files["metadata.xml"].read_bytes())  # noqa: S314 - the sandbox's
    assert [each.text for each in metadata.iter(CERTIFICATE)] == [material.x5c]
    facts, message = facts_in(folder), files["message.txt"].read_text()
    assert (facts["kid"], facts["app_id"], facts["job"]) == (made, FIRST, JOB)
    assert facts["tags"] == {"owner": f"{FIRST[-1]}@acme.example", "vendor": "[red]Vendor 0[/]"}
    for digest in (hashlib.sha1(der), hashlib.sha256(der)):  # noqa: S324 - as vendors show it
        assert digest.digest().hex(":").upper() in message
    assert f"Id in Okta:  {FIRST}\n" in message
    assert "Vendor:      [red]Vendor 0[/]\n" in message
    assert message.replace("\n", "").isprintable()
    for listed in facts["files"]:
        data = files[listed["name"]].read_bytes()
        assert (listed["size"], listed["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_a_pack_that_is_missing_is_made_up_for(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=csv_plan(tmp_path)) as where:
        await where.run()
        lost, kept = pack_of(where, FIRST), pack_of(where, SECOND)
        before = (kept / "pack.json").stat().st_mtime_ns
        shutil.rmtree(lost)
        (pack_of(where, THIRD) / "certificate.cer").write_bytes(b"half")
        await where.keys("ack", "latest", "--target", THIRD)
        ended = await where.run()
        assert ended.code == 0, ended.err
        material = where.org.material(where.made)
        for app in (FIRST, THIRD):
            pack = pack_of(where, app)
            assert (pack / "certificate.cer").read_bytes() == b64decode(material.x5c)
            assert (pack / "metadata.xml").is_file()
    assert (kept / "pack.json").stat().st_mtime_ns == before, "what is whole is left alone"


async def test_a_pack_can_do_without_metadata(tmp_path: Path) -> None:
    broken = Fault(kind="reject", on="metadata", targets=(SECOND,))
    async with rollout_site(tmp_path, broken, text=csv_plan(tmp_path, activate="{}")) as where:
        ended = await where.run()
        assert where.switched() == set(SIX[:3])
        with_it, without = pack_of(where, FIRST), pack_of(where, SECOND)
    assert ended.code == 0, ended.err
    assert f"note: the pack of {SECOND} has no metadata: " in ended.err
    assert (with_it / "metadata.xml").is_file()
    assert not (without / "metadata.xml").exists()
    assert "metadata" not in (without / "message.txt").read_text()
    assert (without / "certificate.pem").is_file()


async def test_hooks_get_the_certificate_without_a_shell(tmp_path: Path) -> None:
    hook = tmp_path / "upload.py"
    hook.write_text(
        "#!/usr/bin/env python3\nimport json, os, pathlib, sys\n"
        "told = json.load(sys.stdin)\n"
        "told['argv'], told['env'] = sys.argv[1:], dict(os.environ)\n"
        "pathlib.Path(told['app_id'] + '.json').write_text(json.dumps(told))\n"
        "print('\\x1b[31muploaded\\x1b[0m')\n"
        f"sys.exit(told['app_id'] == '{SECOND}')\n"
    )
    hook.chmod(0o755)
    top = "hooks: [{on: target_staged, run: [./upload.py, '$HOME; `id`']}]"
    text = rollout_plan(SIX[:2], activate=WAITING, top=top)
    async with rollout_site(tmp_path, text=text) as where:
        ended = await where.run()
        report, made = where.report(), where.made
        token = where.org.token
        assert (await where.run("--quiet")).err == ""
    told = {app: json.loads((tmp_path / f"{app}.json").read_text()) for app in SIX[:2]}
    assert ended.code == 0, ended.err
    assert told[FIRST]["argv"] == ["$HOME; `id`"]
    assert told[FIRST]["kid"] == told[FIRST]["env"]["OKTA_KEYS_KID"] == made
    assert told[FIRST]["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert token not in json.dumps(told)
    [failure] = report["hooks"]["failures"]
    assert (report["hooks"]["ran"], failure["app"], failure["exit_code"]) == (2, SECOND, 1)
    assert failure["output"] == "uploaded\n"
    assert f"upload.py for {SECOND} failed with exit code 1" in ended.err
