"""Every command that the README and the guide show is one that works."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import indent

import anyio
import pytest

from orchestrator.plan.load import load_plan_text
from orchestrator.plan.profiles import load_profiles
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.forked import okta_keys_forked
from tests.cli.program import ROOT, environment, started

README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
CI = (ROOT / ".ci" / "run").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[str]:
    lines = [
        line.split("#")[0].strip() for block in blocks(text, "sh") for line in block.splitlines()
    ]
    return [line for line in lines if line]


def test_the_shown_plan_is_valid(tmp_path: Path) -> None:
    [plan] = blocks(README, "yaml")
    shutil.copy(ROOT / "plans" / "from-csv.csv", tmp_path / "targets.csv")
    loaded = load_plan_text(plan.encode(), file="README.md", folder=tmp_path)
    assert loaded.name == "finance-2026"


@pytest.mark.parametrize("fragment", blocks(GUIDE, "yaml"))
def test_the_guides_fragments_are_valid(fragment: str, tmp_path: Path) -> None:
    """Put each into a plan, at its top or into its job, but for the one with profiles."""
    job = (
        "version: 1\nname: guide\njobs:\n  - name: job\n    source: {app: 0oa8ae1t5yev2ajDs0h7, "
        "key: w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI}\n    targets: [0oa8ae0dv4RGQvjyZ0h7]\n"
    )
    if fragment.startswith("profiles:"):
        path = tmp_path / "config.yaml"
        path.write_text(fragment)
        assert load_profiles(path).by_name
        return
    is_of_the_plan = fragment.startswith("hooks:")
    plan = job + (fragment if is_of_the_plan else indent(fragment, "    "))
    load_plan_text(plan.encode(), file="guide.md", folder=tmp_path)


def test_make_commands_are_targets_and_run_in_ci() -> None:
    shown = [line for line in commands(README) if line.startswith("make ")]
    assert shown == ["make demo", "make test"]
    for line in shown:
        assert f"\n{line.split()[1]}:" in MAKEFILE
        assert f"\n{line}\n" in CI


def test_the_demo_runs_what_the_tests_run() -> None:
    assert "okta-keys run plans/quickstart.yaml --sandbox" in MAKEFILE


async def test_five_lines_for_a_real_org(tmp_path: Path) -> None:
    """Run the README's lines in a shell, with an org that is ours."""
    [plan] = blocks(README, "yaml")
    (tmp_path / "plan.yaml").write_text(plan)
    shutil.copy(ROOT / "plans" / "from-csv.csv", tmp_path / "targets.csv")
    (tmp_path / "okta-keys").write_text('#!/bin/sh\nexec "$PYTHON" -m orchestrator "$@"\n')
    (tmp_path / "okta-keys").chmod(0o755)
    org = SandboxOrg(seed=4)
    org.add_app("0oa8ae1t5yev2ajDs0h7", kids=["w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"])
    org.add_app("0oa8ae0dv4RGQvjyZ0h7")
    lines = (tmp_path / "targets.csv").read_text().splitlines()
    for line in lines[1:]:
        if line.split(",")[0] not in org.apps:
            org.add_app(line.split(",")[0])
    async with serve(org, limits=LimitSettings(enabled=False)) as served:
        script = "\n".join(
            line for line in commands(README) if not line.startswith(("make", "pip"))
        )
        script = script.replace("https://your-org.okta.com", served.url)
        script = script.replace("TOKEN=...", f"TOKEN={org.token}")
        script = script.replace("60d", "3660d").replace("new plan.yaml", "new other.yaml")
        env = environment({"PYTHON": sys.executable})
        env["PATH"] = f"{tmp_path}:{env['PATH']}"
        done = await anyio.run_process(["sh", "-euc", script], env=env, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert sum(call.effect for call in org.log) == 13


@asynccontextmanager
async def guides_sandbox(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Serve what the guide serves; yield the environment that leads there."""
    [line] = [line for line in commands(GUIDE) if line.startswith("okta-keys sandbox --plan")]
    words = line.replace("--port 8765", "--port 0").split()[1:]
    words = [str(ROOT / word) if word.startswith("plans/") else word for word in words]
    # Few apps, and no windows to wait for.
    async with started(*words, "--apps", "0", "--no-limits", cwd=folder) as process:
        assert process.stdout is not None
        text = ""
        with anyio.fail_after(30):
            while "token: " not in text:
                text += (await process.stdout.receive()).decode()
        said = dict(line.split(": ", 1) for line in text.splitlines())
        yield {
            "OKTA_CLIENT_ORGURL": said["url"],
            "OKTA_CLIENT_TOKEN": said["token"],
            "OKTA_KEYS_STATE": str(folder / "state"),
        }
        process.terminate()
        assert await process.wait() == 0


async def test_the_guides_sandbox_serves_the_plan(tmp_path: Path) -> None:
    async with guides_sandbox(tmp_path) as env:
        ended = await okta_keys_forked("run", ROOT / "plans/quickstart.yaml", env=env, cwd=tmp_path)
        assert ended.code == 0, ended.err
        for line in commands(GUIDE):
            if line.startswith(("okta-keys status", "okta-keys report")):
                told = await okta_keys_forked(*line.split()[1:], env=env, cwd=tmp_path)
                assert told.code == 0, told.err
                assert "quickstart" in told.err


@pytest.mark.parametrize("name", ["config.yaml", "crontab", "faults.yaml", "walk-the-api.sh"])
def test_examples_exist_and_are_mentioned(name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    assert name in README + GUIDE or "okta-keys" in text


async def test_the_example_faults_are_survived(tmp_path: Path) -> None:
    ended = await okta_keys_forked(
        "run",
        ROOT / "plans/quickstart.yaml",
        "--sandbox",
        "--faults",
        ROOT / "examples/faults.yaml",
        cwd=tmp_path,
    )
    assert ended.code == 0, ended.err


async def test_the_example_walk_meets_the_400(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    org = SandboxOrg(seed=2)
    org.add_app()
    org.add_app()
    async with serve(org, limits=LimitSettings(enabled=False)) as served:
        env = environment({"OKTA_CLIENT_ORGURL": served.url, "OKTA_CLIENT_TOKEN": org.token})
        done = await anyio.run_process(
            ["sh", str(ROOT / "examples/walk-the-api.sh")], env=env, cwd=tmp_path
        )
    assert "clone again: Key already exists" in done.stdout.decode()


async def test_the_guides_lines_about_an_org_are_commands_that_work(tmp_path: Path) -> None:
    """Run them in the order of the guide, on an org whose certificates all last ten years."""
    shown = [
        line
        for line in commands(GUIDE)
        if re.match(r"okta-keys (inventory|diff|plan new|run rotation.yaml|doctor)", line)
    ]
    assert len(shown) == 9
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    async with guides_sandbox(tmp_path) as env:
        for line in shown:
            words = shlex.split(line.replace("60d", "3660d"))[1:]
            if "diff" in words:
                shutil.copy(tmp_path / "org.json", tmp_path / "old.json")
            told = await okta_keys_forked(*words, env=env, cwd=tmp_path)
            found = "--expiring-within" in words and "--detailed-exitcode" in words
            wanted = {2} if found else {0, 3} if "--faults" in words else {0}
            assert told.code in wanted, (line, told.err)
