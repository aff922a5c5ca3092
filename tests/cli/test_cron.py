"""The example crontab, fired by a real cron daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from orchestrator.cli.wiring import seed_apps
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.store.sqlite import FILE_NAME
from tests.cli.program import QUICKSTART, ROOT, environment

CRON = shutil.which("cron")
CRONTAB = (ROOT / "examples" / "crontab").read_text()


def job_line(folder: Path) -> str:
    """Return the example's line, due every minute, with the paths of this test."""
    [line] = [line for line in CRONTAB.splitlines() if line.startswith("*/")]
    command = re.sub(r"^(\S+\s+){5}", "", line)
    command = command.replace("/etc/okta-keys/plan.yaml", str(QUICKSTART))
    command = command.replace("/etc/okta-keys", str(folder))
    command = command.replace("/var/lib/okta-keys", str(folder))
    command = command.replace("/opt/okta-keys/bin/okta-keys", str(folder / "okta-keys"))
    assert "/etc" not in command
    return f"* * * * * {command} > {folder}/said 2>&1"


def install(folder: Path, url: str, token: str) -> None:
    (folder / "env").write_text(
        f"export OKTA_CLIENT_ORGURL={url}\nexport OKTA_CLIENT_TOKEN={token}\n"
    )
    program = folder / "okta-keys"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m orchestrator "$@"\n')
    program.chmod(0o755)


async def test_the_example_line_runs_in_crons_bare_environment(tmp_path: Path) -> None:
    org = SandboxOrg(seed=1)
    seed_apps(org, resolve(load_plan(QUICKSTART)))
    async with serve(org, limits=LimitSettings(enabled=False)) as served:
        install(tmp_path, served.url, org.token)
        command = job_line(tmp_path).removeprefix("* * * * * ")
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": "/bin/sh"}
        done = await anyio.run_process(["/bin/sh", "-c", command], env=bare, check=False)
    assert done.returncode == 0, (tmp_path / "said").read_text()
    assert "12 cloned" in (tmp_path / "said").read_text()
    assert list((tmp_path / "reports").glob("*.json"))
    assert (tmp_path / ".local/state/okta-keys" / FILE_NAME).is_file()


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.skipif(
    CRON is None or os.geteuid() != 0 or "CI" not in os.environ,
    reason="needs cron, root, and a machine that is ours to change",
)
async def test_a_cron_daemon_fires_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    org = SandboxOrg(seed=1)
    seed_apps(org, resolve(load_plan(QUICKSTART)))
    table = Path("/etc/cron.d/okta-keys-test")
    async with serve(org, limits=LimitSettings(enabled=False)) as served:
        install(tmp_path, served.url, org.token)
        line = job_line(tmp_path).replace("* * * * * ", "* * * * * root ", 1)
        table.write_text(f"HOME={tmp_path}\n{line}\n")  # the state is kept below it
        daemon = subprocess.Popen([str(CRON), "-f"], env=environment())
        try:
            with anyio.fail_after(150):
                while not list(tmp_path.glob("reports/*.json")):  # noqa: ASYNC110 - cron announces nothing
                    await anyio.sleep(0.5)
        finally:
            table.unlink()
            daemon.terminate()
            daemon.wait(timeout=10)
    assert sum(call.effect for call in org.log) == 12
    assert "12 cloned" in (tmp_path / "said").read_text()
