"""A rehearsal: a plan meets a copy of the org, served as a process of its own, and its faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio

from orchestrator.inventory.saved import write_inventory
from orchestrator.sandbox.org import SandboxOrg
from tests.cli.forked import okta_keys_forked
from tests.cli.program import started
from tests.cli.site import report_in
from tests.inventory.scene import take
from tests.sandbox.originals import OIDC, SHARED, original

FAULTS = """
faults:
  - {{kind: reject, status: 403, on: clone, targets: [{refused}]}}
  - {{kind: drop, when: after, on: clone, targets: [{lost}], times: 1}}
  - {{kind: error, status: 503, when: before, on: clone, targets: [{late}], times: 1}}
"""


@asynccontextmanager
async def rehearsing(inventory: Path, *options: object) -> AsyncIterator[dict[str, str]]:
    """Serve a copy, and yield what it says of itself; it must end well."""
    arguments = ("sandbox", "--from", inventory, "--port", 0, *options)
    async with started(*arguments, cwd=inventory.parent) as process:
        assert process.stdout is not None
        text = ""
        with anyio.fail_after(30):
            while "clock: " not in text:
                text += (await process.stdout.receive()).decode()
        yield dict(line.split(": ", 1) for line in text.splitlines())
        process.terminate()
        assert await process.wait() == 0


def saved(folder: Path, document: object) -> Path:
    path = folder / "inventory.json"
    path.write_text(json.dumps(document))
    return path


async def test_a_plan_is_rehearsed_with_faults_on_a_copy_of_the_org(tmp_path: Path) -> None:
    org = SandboxOrg(seed=11)
    source = org.add_app(label="source")
    key = org.add_key(source.id)
    apps = [org.add_app(signing_kid="o" * 43).id for _ in range(6)]
    write_inventory(tmp_path / "inventory.json", await take(org, all_keys=True))
    plan, faults = tmp_path / "plan.yaml", tmp_path / "faults.yaml"
    targets = "".join(f"      - {app}\n" for app in apps)
    plan.write_text(
        f"version: 1\nname: rotation\njobs:\n  - name: all\n"
        f"    source: {{app: {source.id}, key: {key}}}\n    targets:\n{targets}"
    )
    refused, lost, late, *untouched = apps
    faults.write_text(FAULTS.format(refused=refused, lost=lost, late=late))
    async with rehearsing(tmp_path / "inventory.json", "--faults", faults) as said:
        env = {"OKTA_CLIENT_ORGURL": said["url"], "OKTA_CLIENT_TOKEN": said["token"]}
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
    assert ended.code == 3, ended.err
    rows = {row["app_id"]: row for row in report_in(tmp_path / "reports")["targets"]}
    assert (rows[refused]["status"], rows[refused]["http_status"]) == ("failed", 403)
    assert (rows[lost]["status"], rows[lost]["proof"]) == ("already_present", "cause")
    assert [rows[app]["status"] for app in (late, *untouched)] == ["cloned"] * 4
    assert (rows[late]["attempts"], rows[untouched[0]]["attempts"]) == (2, 1)


async def test_a_copy_says_what_it_consists_of_and_names_a_key_that_exists(tmp_path: Path) -> None:
    document = original()
    document["holders"].sort(key=lambda holder: holder["kid"] != OIDC)  # Okta rotates these
    async with rehearsing(saved(tmp_path, document), "--apps", 7) as said:
        assert said["copy"] == "10 apps, 3 identity providers, new certificates"
        assert said["made up"] == "the dates of 2 keys, which the inventory does not know"
        assert (said["app"], said["key"]) == (original()["holders"][0]["id"], SHARED)
        headers = {"Authorization": f"SSWS {said['token']}"}
        path = f"{said['url']}/api/v1/apps"
        async with aiohttp.ClientSession(headers=headers) as session:
            listed = await (await session.get(f"{path}?limit=200")).json()
            key = await session.get(f"{path}/{said['app']}/credentials/keys/{said['key']}")
            assert key.status == 200
    labels = {holder["label"] for holder in document["holders"] if holder["resource"] == "app"}
    assert {app["label"] for app in listed} == labels


async def test_a_file_that_is_no_inventory_is_an_input_error(tmp_path: Path) -> None:
    path = saved(tmp_path, original(schema_version="2.0"))
    ended = await okta_keys_forked("sandbox", "--from", path, cwd=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert f"{path}: its schema_version is '2.0'" in ended.err
    assert "hint: " in ended.err
