"""Run the program as a user does: a process of its own, with its own environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import Process

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "plans" / "quickstart.yaml"
TOKEN = "00canary-token-Zq7x2Lw9"

numbers = count()


@cache
def states() -> TemporaryDirectory[str]:
    """Return where the states go of those who name none; `conftest` removes it at the end."""
    return TemporaryDirectory(prefix="okta-keys-tests-")


@dataclass(frozen=True)
class Ended:
    """A program that has ended, and what it said."""

    code: int
    out: str
    err: str


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without the settings, and the state, of whoever runs the tests.

    Every call names another state folder, which does not exist yet. A test of what the program
    remembers gives its own. Not even a program that ignores the variable gets to the real one.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OKTA_") and name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
    }
    ours = {
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
        "OKTA_KEYS_STATE": f"{states().name}/{next(numbers)}",
        "HOME": f"{states().name}/user",
        "XDG_STATE_HOME": f"{states().name}/home",
        "XDG_CONFIG_HOME": f"{states().name}/config",
    }
    return kept | ours | dict(given or {})


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *map(str, arguments)]


async def okta_keys(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    through: Sequence[str] = (),
) -> Ended:
    """Run to the end, at most a minute; `through` is a command that starts the program."""
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [*through, *command(*arguments)], env=environment(env), cwd=cwd, check=False
        )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def started(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[Process]:
    """Start, and make sure that it is gone at the end."""
    process = await anyio.open_process(
        command(*arguments), env=environment(env), cwd=cwd, stdin=subprocess.DEVNULL
    )
    async with process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


async def rest_of(process: Process) -> Ended:
    """Wait for the end and return what was said and not read yet."""
    said: dict[str, bytes] = {"out": b"", "err": b""}

    async def read(name: str) -> None:
        stream = process.stdout if name == "out" else process.stderr
        assert stream is not None
        async for chunk in stream:
            said[name] += chunk

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(read, "out")
            group.start_soon(read, "err")
        code = await process.wait()
    return Ended(code, said["out"].decode(), said["err"].decode())
