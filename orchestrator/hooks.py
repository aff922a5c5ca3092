"""Run a command of the plan: never by a shell, with little of our environment, for a bounded time.

A hook gets what it is about twice: whole, as one JSON object on its standard input, and its plain
values also as variables `OKTA_KEYS_<NAME>`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, cast

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from orchestrator.clock import Clock
from orchestrator.rollout import HookCommand
from orchestrator.scrubbing import scrub
from orchestrator.writing import on_lines

SYSTEM = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME"})
NETWORK = frozenset({"SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"})
USER_OF_URL = re.compile(r"^(\w+://)?.*@", re.DOTALL)
PREFIX = "OKTA_KEYS_"
LONGEST_VARIABLE = 64 * 1024  # bytes; Linux refuses to start what has one of 128 KiB (execve(2))

KEPT = 16 * 1024  # bytes of the output
TERM_SECONDS = 2.0  # from SIGTERM to SIGKILL
KILL_SECONDS = 2.0  # a process that hangs in the kernel outlives even SIGKILL
GRACE_SECONDS = 0.5  # for output that is still in the pipe when the command has exited
POLL_SECONDS = 0.02
READ_SIZE = 64 * 1024  # bytes; what a pipe holds (pipe(7))

ANSI_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # colours and the like (ECMA-48, 5.4)
LINE_BREAK = re.compile(r"\r\n?")

NOT_STARTED = {
    errno.ENOENT: "it does not exist, or the program that its first line names does not",
    errno.EACCES: "it is not executable (chmod +x)",
    errno.ENOEXEC: "it is no program, and its first line does not name one (#!/bin/sh)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRun:
    """What became of a command."""

    argv: tuple[str, ...]
    exit_code: int | None = None  # minus the signal that ended it; None: not started, or timed out
    timed_out: bool = False
    output: str = ""  # the end of what it printed, stdout and stderr as they came
    seconds: float = 0.0
    error: str | None = None  # why it could not be started

    @property
    def ok(self) -> bool:
        """Say whether it ran to its end and was content."""
        return self.exit_code == 0


async def run_hook(
    command: HookCommand,
    context: Mapping[str, object],
    *,
    environ: Mapping[str, str],
    clock: Clock,
    cwd: Path | None = None,
    umask: int = -1,
) -> HookRun:
    """Run a command to its end, and return what became of it, whatever that is.

    `context` is what the command gets to know; its `hook` says at which moment it runs. `umask` is
    the one that it begins with; -1 leaves it as ours is. When time is up, or our task is cancelled,
    the command goes with all its children. What it has left behind on purpose, once it has exited
    by itself, lives on unheard.
    """
    await checkpoint_if_cancelled()
    began = clock.monotonic()
    stdin, env = input_of(context), environment_of(command, context, environ)
    try:
        child = Child(command.argv, stdin, env=env, cwd=cwd, umask=umask)
    except (OSError, ValueError) as error:  # ValueError: a NUL, or text that has no encoding
        seconds = clock.monotonic() - began
        return HookRun(argv=command.argv, seconds=seconds, error=why_not_started(error, cwd))
    try:
        await clock.wait(child.exited, command.timeout)
        timed_out = not child.exited.is_set()
    finally:
        with anyio.CancelScope(shield=True):
            await child.end(clock)
    return HookRun(
        argv=command.argv,
        exit_code=None if timed_out else child.process.returncode,
        timed_out=timed_out,
        output=scrub(harmless(bytes(child.printed[-KEPT:]))),
        seconds=clock.monotonic() - began,
    )


class Child:
    """A running command, in a process group of its own. To be ended, whatever happens.

    asyncio's own subprocesses will not do. A cancellation while one starts leaves its children
    alive; `wait` waits, in some versions of Python, for everyone who holds the pipe; and where
    standard input is a socket, as in others, a script cannot open /dev/stdin.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        stdin: bytes,
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        umask: int,
    ) -> None:
        """Start the command, without a moment at which it runs and nobody is to end it.

        Raises:
            OSError, ValueError: it cannot be started.
        """
        self.loop = asyncio.get_running_loop()
        self.unsent = memoryview(stdin)
        self.printed = bytearray()
        self.exited = anyio.Event()
        self.silent = anyio.Event()  # nothing more will be heard of it
        self.process = subprocess.Popen(  # noqa: S603 - an argument list, from the plan
            argv,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            umask=umask,
        )
        self.input = cast("IO[bytes]", self.process.stdin)
        self.output = cast("IO[bytes]", self.process.stdout)
        for pipe in (self.input, self.output):
            os.set_blocking(pipe.fileno(), False)
        self.loop.add_writer(self.input, self.feed)
        self.loop.add_reader(self.output, self.hear)
        threading.Thread(target=self.await_exit, name="hook", daemon=True).start()

    def await_exit(self) -> None:
        """Wait for the command itself, in a thread: what it started may go on."""
        self.process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self.loop.call_soon_threadsafe(self.exited.set)

    def feed(self) -> None:
        """Write as much as the command takes now; it need not take all, or anything."""
        try:
            sent = os.write(self.input.fileno(), self.unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self.unsent)
        self.unsent = self.unsent[sent:]
        if not self.unsent:
            self.close_input()

    def hear(self) -> None:
        """Read what there is, and keep the end of it."""
        try:
            data = os.read(self.output.fileno(), READ_SIZE)
        except BlockingIOError:
            return
        self.printed += data[-KEPT:]
        if len(self.printed) > 2 * KEPT:
            del self.printed[:-KEPT]
        if not data:
            self.close_output()

    def close_input(self) -> None:
        if not self.input.closed:
            self.loop.remove_writer(self.input)
            self.input.close()

    def close_output(self) -> None:
        if not self.output.closed:
            self.loop.remove_reader(self.output)
            self.output.close()
        self.silent.set()

    async def end(self, clock: Clock) -> None:
        """Stop the command if it still runs, hear its last words, and close what we hold of it.

        Takes less than five seconds. Not to be cancelled: shield it.
        """
        try:
            if not self.exited.is_set():
                await self.kill(clock)
            await clock.wait(self.silent, GRACE_SECONDS)
        finally:
            self.close_input()
            self.close_output()

    async def kill(self, clock: Clock) -> None:
        """Ask the whole group to end, and make it end when it takes its time."""
        deadline = clock.monotonic() + TERM_SECONDS
        try:
            remains = self.signal_group(signal.SIGTERM)
            while remains and clock.monotonic() < deadline:
                await clock.sleep(POLL_SECONDS)
                remains = self.signal_group(0)
        finally:
            self.signal_group(signal.SIGKILL)
        await clock.wait(self.exited, KILL_SECONDS)

    def signal_group(self, number: int) -> bool:
        """Send a signal to all of the group, and say whether there was anybody to get it."""
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def environment_of(
    command: HookCommand, context: Mapping[str, object], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return what a command gets to see: so no credential of ours that the plan does not name.

    A value of the context that is too long for a variable is only in the command's input.
    """
    inherited = inherited_by(command.env, environ)
    texts = {PREFIX + name.upper(): variable_text(value) for name, value in context.items()}
    return inherited | {
        name: text
        for name, text in texts.items()
        if text is not None and len(text.encode("utf-8", "surrogatepass")) <= LONGEST_VARIABLE
    }


def inherited_by(named: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what any command may see of our environment, beside the variables that are named.

    Not the password of a proxy: its URL comes without, unless the variable is named.
    """
    wanted = SYSTEM | set(named)
    return {
        name: value if name in wanted or name not in NETWORK else USER_OF_URL.sub(r"\1", value)
        for name, value in environ.items()
        if name in wanted | NETWORK or name.startswith("LC_")
    }


def variable_text(value: object) -> str | None:
    """Return a value as a variable holds it: a list with a line per item; None if it has parts."""
    if not isinstance(value, list | tuple):
        return scalar_text(value)
    items = [scalar_text(item) for item in value]
    # a line break within an item, such as a label that people typed, must not look like two items
    lines = [item.replace("\n", " ") for item in items if item is not None]
    return "\n".join(lines) if len(lines) == len(items) else None


def scalar_text(value: object) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case date():
            return value.isoformat()
        case _:
            return None


def input_of(context: Mapping[str, object]) -> bytes:
    """Return the context as one line of JSON, ASCII only."""
    return json.dumps(context, default=json_value).encode("ascii") + b"\n"


def json_value(value: object) -> object:
    """Return what JSON has no word for in words that it has."""
    match value:
        case Mapping():
            return dict(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def harmless(printed: bytes) -> str:
    """Return output as text that may be shown anywhere: no colours, no control codes."""
    text = ANSI_SEQUENCE.sub("", printed.decode("utf-8", "replace"))
    return on_lines(LINE_BREAK.sub("\n", text), instead="\ufffd")


def why_not_started(error: OSError | ValueError, cwd: Path | None) -> str:
    """Say why a command could not be started."""
    if not isinstance(error, OSError):
        return str(error)
    if cwd is not None and str(error.filename) == str(cwd):
        return f"the folder {cwd} cannot be entered: {error.strerror}"
    return NOT_STARTED.get(error.errno or 0, error.strerror or str(error))
