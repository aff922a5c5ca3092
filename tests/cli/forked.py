"""Run the program in a process that is forked from one which has imported it already.

A command then costs a twentieth of a second in place of a whole one, and is a process of its own
all the same: own arguments, environment, folder, output and exit code. Tests that send signals
start the program as a user does, with `program.started`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from anyio import to_thread

from tests.cli.program import ROOT, Ended, environment, states

LARGEST = 1024 * 1024  # bytes of a request
SECONDS = 60.0  # at most, for one command
COMMANDS = (
    "csr",
    "doctor",
    "drafting",
    "drift",
    "execute",
    "history",
    "inventories",
    "main",
    "offline",
    "people",
    "profiles",
    "rollback",
)


async def okta_keys_forked(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path
) -> Ended:
    """Run a command to its end, as `program.okta_keys` does."""
    asked = {"argv": list(map(str, arguments)), "env": environment(env), "cwd": str(cwd)}
    return await to_thread.run_sync(run, asked)


def run(asked: Mapping[str, object]) -> Ended:
    """Have a command run, and wait for its end."""
    with (
        TemporaryFile() as out,
        TemporaryFile() as err,
        Path(os.devnull).open() as nothing,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as talk,
    ):
        talk.settimeout(SECONDS)
        talk.connect(server())
        files = [nothing.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(talk, [json.dumps(asked).encode()], files)
        talk.shutdown(socket.SHUT_WR)
        code = int(talk.recv(16))
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return Ended(code, *said)


@cache
def server() -> str:
    """Start the process to fork from, and return the path of its socket.

    It ends when we do: nobody holds its standard input open any more.
    """
    path = f"{states().name}/forked-{os.getpid()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.forked", path],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    running.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return path


running: list[subprocess.Popen[bytes]] = []  # lest its standard input be closed


def serve(path: str) -> None:
    """Import the program, then fork for every request, until standard input is closed."""
    for name in COMMANDS:
        import_module(f"orchestrator.cli.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            talk, _ = listener.accept()
            with talk:
                if os.fork() == 0:
                    listener.close()
                    answer(talk)


def answer(talk: socket.socket) -> None:
    """Fork once more for the command, and tell how it has ended; does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files, _, _ = socket.recv_fds(talk, LARGEST, 3)
    while part := talk.recv(LARGEST):
        request += part
    child = os.fork()
    if child == 0:
        talk.close()
        become_the_program(json.loads(request), files)
    _, status = os.waitpid(child, 0)
    talk.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def become_the_program(asked: Mapping[str, Any], files: Sequence[int]) -> None:
    """Run the command in this process, and end it."""
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = ["okta-keys", *asked["argv"]]
        main_and_exit: Callable[[], None] = import_module("orchestrator.cli.main").main_and_exit
        main_and_exit()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
