"""Run the program on a terminal, and type into it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from anyio import to_thread

from tests.cli.program import command, environment

SECONDS = 60.0  # at most, for one command


async def typed(
    arguments: Sequence[object],
    lines: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    prompt: str = "to stop) ",
) -> tuple[str, int]:
    """Type a line at each prompt; return all that the terminal shows, and the exit code."""
    return await to_thread.run_sync(
        lambda: type_into(command(*arguments), list(lines), environment(env), cwd, prompt)
    )


def type_into(
    argv: Sequence[str], lines: list[str], env: Mapping[str, str], cwd: Path, prompt: str
) -> tuple[str, int]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        argv, env=dict(env), cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    said = b""
    answered = 0
    end = time.monotonic() + SECONDS
    try:
        while (piece := read_some(ours, end)) != b"":
            said += piece
            if said.count(prompt.encode()) > answered and lines:
                answered += 1
                os.write(ours, lines.pop(0).encode() + b"\n")
        return said.decode(), process.wait(timeout=5)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_some(terminal: int, end: float) -> bytes:
    """Return what the terminal shows next; nothing once the program has left it."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    if not ready:
        raise TimeoutError("the program waits for more than was typed")
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that nobody has the other end any more
        return b""
