"""What the program closes before it holds any secret, seen from outside of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.forked import okta_keys_forked
from tests.cli.program import QUICKSTART, ROOT, environment
from tests.cli.site import served

LOCKED = "from orchestrator.cli.lockdown import lock_down; lock_down();"
TELL = """\
import ctypes, os, resource
from orchestrator.cli.lockdown import callers_umask
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
umask = os.umask(0)
print(resource.getrlimit(resource.RLIMIT_CORE), dumpable, oct(umask), oct(callers_umask()))
"""
HEAVY = (
    "ctypes",
    "hashlib",
    "orchestrator.scrubbing",
    "rich",
    "aiohttp",
    "pydantic",
    "jinja2",
    "jwt",
)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


def python(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, check=True
    )
    return done.stdout.decode()


@on_linux
def test_no_core_no_attaching_and_nothing_for_others() -> None:
    assert python(f"import os; os.umask(0o027)\n{LOCKED}\n{TELL}") == "(0, 0) 0 0o77 0o27\n"


def dumps_core(script: str, folder: Path) -> bool:
    """Say whether a process that aborts leaves a core dump, as the kernel tells its parent."""
    unlimited = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (-1, -1));"
    argv = [sys.executable, "-c", f"{unlimited}{script}import os; os.abort()"]
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, argv, environment())  # noqa: S606 - no shell is wanted
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


@on_linux
def test_a_crash_of_the_interpreter_leaves_no_core(tmp_path: Path) -> None:
    if not dumps_core("", tmp_path):
        pytest.skip("this system dumps no cores at all")
    assert not dumps_core(LOCKED, tmp_path)


def test_a_system_that_knows_no_such_thing_is_no_reason_to_fail() -> None:
    script = "import sys; sys.modules['resource'] = sys.modules['ctypes'] = None;"
    assert python(f"{script}{LOCKED} import os; print(oct(os.umask(0)))") == "0o77\n"


def test_help_waits_for_nothing_that_it_does_not_need() -> None:
    script = f"import sys, orchestrator.cli.main; print([n for n in {HEAVY} if n in sys.modules])"
    assert python(script) == "[]\n"


async def test_a_run_leaves_files_for_its_owner_alone_and_hooks_as_they_are_used_to(
    tmp_path: Path,
) -> None:
    plan = tmp_path / "plan.yaml"
    hook = "umask > umask.txt; ulimit -c > core.txt; : > made.txt"
    plan.write_text(
        QUICKSTART.read_text()
        + dedent(f"""
        hooks: [{{on: run_finished, run: [/bin/sh, -c, {hook!r}]}}]
        report: {{dir: new/reports, formats: [json, csv, markdown], handoff: certificates}}
        """)
    )
    async with served(plan=plan) as (_, env):
        env |= {"OKTA_KEYS_STATE": str(tmp_path / "state" / "deep")}
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
    assert ended.code == 0, ended.err
    os.umask(usual := os.umask(0o077))
    assert usual != 0o077, "else nothing is proven: run the tests with a usual umask"
    assert int((tmp_path / "umask.txt").read_text(), 8) == usual
    assert (tmp_path / "core.txt").read_text().strip() == "0"
    made = [*(tmp_path / "state").rglob("*"), *(tmp_path / "new").rglob("*"), tmp_path / "new"]
    assert len(made) > 20
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
