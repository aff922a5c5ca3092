"""Take a secret from what a program prints: never by a shell, and for a bounded time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import IO, TypeVar, cast

import anyio.to_thread

from orchestrator.errors import ConfigError
from orchestrator.hooks import harmless, inherited_by, why_not_started
from orchestrator.plan.files import located
from orchestrator.plan.references import SecretReference

SECONDS = 30.0
MAX_BYTES = 64 * 1024  # of what it prints
KEPT_OF_ERRORS = 4 * 1024  # bytes
SHOWN_OF_ERRORS = 200  # characters
READ_SIZE = 16 * 1024
GRACE_SECONDS = 0.2  # for output that is still in the pipe when the program has exited
POLL_SECONDS = 0.02
# Where password managers find their agents and their settings: addresses, no credentials.
SESSION = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "GNUPGHOME",
        "GPG_TTY",
        "PASSWORD_STORE_DIR",
        "WAYLAND_DISPLAY",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
    }
)
BY_HAND = "run it by hand: it gets no input, no terminal, and only the variables that `env` names"


# Set once nobody waits any more for what a program prints.
asker_gone: ContextVar[Event] = ContextVar("asker_gone", default=Event())  # noqa: B039 - never set

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """Do in a thread what may wait for a program; where we are cancelled, the program ends, too."""
    gone = Event()
    token = asker_gone.set(gone)
    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    finally:
        gone.set()
        asker_gone.reset(token)


@dataclass(slots=True)
class Printed:
    """What a program has printed so far."""

    out: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)

    def take(self, stream: str, data: bytes) -> None:
        if stream == "out":
            self.out += data
        else:
            self.errors += data[: KEPT_OF_ERRORS - len(self.errors)]


def printed_by(
    reference: SecretReference,
    *,
    environ: Mapping[str, str],
    folder: Path,
    seconds: float = SECONDS,
) -> str:
    """Return what a program prints. A program with a slash in it starts from `folder`.

    When time is up, or we are interrupted, it goes with all its children.

    Raises:
        ConfigError: it cannot be started, fails, prints too much or no text, or takes too long; or
            nobody waits for it any more.
    """
    process = start(reference, environ, folder)
    printed = Printed()
    try:
        has_ended = listen(process, printed, monotonic() + seconds)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            cast("IO[bytes]", pipe).close()
    if len(printed.out) > MAX_BYTES:
        raise ConfigError(f"{reference} prints more than {MAX_BYTES // 1024} KiB", hint=BY_HAND)
    if not has_ended:
        raise ConfigError(f"{reference} does not end within {seconds:g} seconds", hint=BY_HAND)
    if process.returncode != 0:
        raise ConfigError(f"{reference} {failure_of(process.returncode, printed)}", hint=BY_HAND)
    try:
        return printed.out.decode("utf-8")
    except UnicodeDecodeError:
        pass  # the error holds the output
    raise ConfigError(f"{reference} prints what is not UTF-8 text", hint=BY_HAND)


def start(
    reference: SecretReference, environ: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Start the program, in a session of its own: it cannot ask on our terminal."""
    program = reference.words[0]
    if "/" in program:
        program = str(located(program, folder).absolute())
    try:
        return subprocess.Popen(  # noqa: S603 - an argument list, from the user's own file
            (program, *reference.words[1:]),
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment_for(reference, environ),
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = why_not_started(error, folder) if isinstance(error, OSError) else "it has no encoding"
    raise ConfigError(f"{reference} cannot be started: {why}", hint="is it on the PATH?")


def environment_for(reference: SecretReference, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the program gets to see: no other credential, unless `env` names it."""
    return inherited_by(SESSION.union(reference.env), environ)


def listen(process: subprocess.Popen[bytes], printed: Printed, deadline: float) -> bool:
    """Hear a program out, and say whether it ended in time.

    What it leaves behind, such as an agent, may hold its pipes: once the program itself has ended,
    they are not waited for.
    """
    gone = asker_gone.get()
    ended_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("out", process.stdout), ("errors", process.stderr)):
            selector.register(cast("IO[bytes]", pipe), selectors.EVENT_READ, name)
        while len(printed.out) <= MAX_BYTES and not gone.is_set():
            now = monotonic()
            if ended_at is None and process.poll() is not None:
                ended_at = now
            is_over = ended_at is not None and (
                not selector.get_map() or now > ended_at + GRACE_SECONDS
            )
            if is_over or now > deadline:
                break
            for key, _ in selector.select(POLL_SECONDS):
                data = os.read(key.fd, READ_SIZE)
                if data:
                    printed.take(key.data, data)
                else:
                    selector.unregister(key.fileobj)
    return process.returncode is not None


def failure_of(code: int, printed: Printed) -> str:
    """Say how a program failed, with the first line of its errors; never what it printed else."""
    how = f"was ended by signal {-code}" if code < 0 else f"fails with exit code {code}"
    lines = harmless(bytes(printed.errors)).strip().splitlines()
    return f"{how}: {lines[0][:SHOWN_OF_ERRORS]}" if lines else how
