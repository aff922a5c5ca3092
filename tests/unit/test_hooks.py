"""Commands of a plan, as real processes: what they get, what is kept of them, how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import SystemClock
from orchestrator.hooks import (
    GRACE_SECONDS,
    KEPT,
    LONGEST_VARIABLE,
    HookRun,
    environment_of,
    harmless,
    run_hook,
)
from orchestrator.rollout import HookCommand
from orchestrator.secret import Secret

PATH = os.environ["PATH"]
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
LONG = 30.0  # seconds; whoever waits so long has hung
HARMLESS = {
    *("PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SSL_CERT_FILE"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
}
PRINT_INPUT = "import sys; sys.stdout.write(sys.stdin.read())"
PRINT_VARIABLES = "import json, os; print(json.dumps(dict(os.environ)))"


class UntilReady(SystemClock):
    """A clock on which a command's time is up once it has made a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if seconds != LONG:
            await super().wait(event, seconds)
        while seconds == LONG and not event.is_set() and not self.file.exists():
            await self.sleep(0.01)


class Patient(SystemClock):
    """A clock on which the moment after a command's end is long."""

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        await super().wait(event, LONG if seconds == GRACE_SECONDS else seconds)


class Moment(StrEnum):
    STAGED = "target_staged"


async def hook(
    *argv: str,
    context: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    env: tuple[str, ...] = (),
    cwd: Path | None = None,
    clock: SystemClock | None = None,
) -> HookRun:
    return await run_hook(
        HookCommand(argv=argv, timeout=LONG, env=env),
        context or {},
        environ={"PATH": PATH} if environ is None else environ,
        clock=clock or SystemClock(),
        cwd=cwd,
    )


async def shell(script: str, **settings: Any) -> HookRun:
    return await hook("/bin/sh", "-c", script, **settings)


async def python(script: str, **settings: Any) -> HookRun:
    return await hook(sys.executable, "-c", script, **settings)


async def variables(context: Mapping[str, object], **settings: Any) -> dict[str, str]:
    """Return the variables that a command sees."""
    ran = await python(PRINT_VARIABLES, context=context, **settings)
    assert ran.ok, ran
    return dict(json.loads(ran.output))


class Line:
    """A pipe by name, which tells whether anybody still holds its other end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "line"
        os.mkfifo(self.path)
        self.handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def is_held(self) -> bool:
        try:
            return os.read(self.handle, 1000) != b""
        except BlockingIOError:
            return True


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    os.close(made.handle)


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(LONG):
        while not holds():  # noqa: ASYNC110 - other processes set no events
            await anyio.sleep(0.01)


async def until_dropped(line: Line) -> None:
    await until(lambda: not line.is_held())


def handles() -> int:
    """Count the open files of this process."""
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def nothing_left_open() -> Iterator[None]:
    before = handles()
    yield
    assert handles() == before


# --- what a command gets ---------------------------------------------------------------------


async def test_a_command_is_run_as_it_stands(tmp_path: Path) -> None:
    told = await hook("printf", "%s|", "$HOME", "a b", "; echo no", "*", cwd=tmp_path)
    assert (told.ok, told.exit_code, told.error) == (True, 0, None)
    assert told.output == "$HOME|a b|; echo no|*|"
    assert told.argv[0] == "printf"
    assert 0 < told.seconds < LONG


async def test_a_relative_path_is_one_of_the_folder(tmp_path: Path) -> None:
    script = tmp_path / "tell.sh"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o700)
    ran = await hook("./tell.sh", cwd=tmp_path)
    assert (ran.error, ran.output) == (None, f"{tmp_path.resolve()}\n")


async def test_the_context_is_one_line_of_json() -> None:
    context: dict[str, object] = {
        "hook": Moment.STAGED,
        "label": "Zoë\u2028\n",
        "tags": MappingProxyType({"owner": "Jo"}),
        "wave": 2,
        "at": NOON,
        "nothing": None,
        "folder": Path("packs"),
        "apps": ("a", "b"),
    }
    ran = await python(PRINT_INPUT, context=context)
    assert ran.output.count("\n") == 1
    assert ran.output.endswith("\n")
    assert ran.output.isascii()
    assert json.loads(ran.output) == {
        "hook": "target_staged",
        "label": "Zoë\u2028\n",
        "tags": {"owner": "Jo"},
        "wave": 2,
        "at": "2026-10-01T12:00:00+00:00",
        "nothing": None,
        "folder": "packs",
        "apps": ["a", "b"],
    }


async def test_the_input_can_be_opened_by_its_name() -> None:
    ran = await shell("cat /dev/stdin", context={"wave": 1})
    assert ran.output == '{"wave": 1}\n'


async def test_plain_values_are_variables_too() -> None:
    told = await variables(
        {
            "hook": Moment.STAGED,
            "app_id": "0oa",
            "wave": 2,
            "share": 0.5,
            "dry_run": False,
            "at": NOON,
            "label": None,
            "apps": ["a", "b\nc", "d"],
            "kids": (),
            "tags": {"owner": "Jo"},
            "rows": [{"app": "a"}],
            "certificate": "two\nlines\n",
        },
        environ={"PATH": PATH, "OKTA_KEYS_LABEL": "of somebody else", "OKTA_KEYS_STATE": "/s"},
    )
    ours = {name: text for name, text in told.items() if name.startswith("OKTA")}
    assert ours == {
        "OKTA_KEYS_HOOK": "target_staged",
        "OKTA_KEYS_APP_ID": "0oa",
        "OKTA_KEYS_WAVE": "2",
        "OKTA_KEYS_SHARE": "0.5",
        "OKTA_KEYS_DRY_RUN": "false",
        "OKTA_KEYS_AT": "2026-10-01T12:00:00+00:00",
        "OKTA_KEYS_APPS": "a\nb c\nd",
        "OKTA_KEYS_KIDS": "",
        "OKTA_KEYS_CERTIFICATE": "two\nlines\n",
    }


async def test_no_credential_is_inherited_unless_the_plan_names_it() -> None:
    environ = {
        "PATH": PATH,
        "HOME": "/home/jo",
        "LC_ALL": "C",
        "https_proxy": "http://proxy",
        "OKTA_CLIENT_TOKEN": "canary",
        "OKTA_API_TOKEN": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "LD_PRELOAD": "",
        "VAULT_ADDR": "https://vault",
    }
    told = await variables({}, environ=environ)
    assert told.keys() & environ.keys() == {"PATH", "HOME", "LC_ALL", "https_proxy"}
    assert "canary" not in told.values()

    asked = await variables({}, environ=environ, env=("OKTA_CLIENT_TOKEN", "VAULT_ADDR", "UNSET"))
    assert asked["OKTA_CLIENT_TOKEN"] == "canary"
    assert asked["VAULT_ADDR"] == "https://vault"
    assert asked.keys() - told.keys() == {"OKTA_CLIENT_TOKEN", "VAULT_ADDR"}


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://me:canary@proxy:3128", "http://proxy:3128"),
        ("http://me:c@nary/canary@proxy:3128/", "http://proxy:3128/"),
        ("me:canary@proxy:3128", "proxy:3128"),
        ("http://proxy:3128", "http://proxy:3128"),
    ],
)
def test_the_password_of_a_proxy_is_for_those_who_are_named(url: str, seen: str) -> None:
    environ = {"PATH": PATH, "HTTPS_PROXY": url, "https_proxy": url}
    told = environment_of(HookCommand(argv=("x",), env=("https_proxy",)), {}, environ)
    assert told["HTTPS_PROXY"] == seen
    assert told["https_proxy"] == url


async def test_a_command_begins_with_the_umask_that_it_is_given() -> None:
    ran = await run_hook(
        HookCommand(argv=("/bin/sh", "-c", "umask"), timeout=LONG),
        {},
        environ={"PATH": PATH},
        clock=SystemClock(),
        umask=0o031,
    )
    assert ran.output.strip() == "0031"


async def test_what_a_command_tells_of_our_secrets_is_not_kept() -> None:
    secret = Secret("canary-of-a-token")
    ran = await shell("echo it is $TOKEN", environ={"TOKEN": secret.reveal()}, env=("TOKEN",))
    assert ran.output == "it is [secret]\n"


NAMES = st.sampled_from(["LANG", "LC_TIME", "OKTA_CLIENT_TOKEN", "OKTA_KEYS_HOOK"]) | st.text()


@given(
    environ=st.dictionaries(NAMES, st.text()),
    env=st.lists(NAMES),
    context=st.dictionaries(st.from_regex(r"[a-z][a-z_]*", fullmatch=True), st.text()),
)
def test_every_variable_is_harmless_named_or_ours(
    environ: dict[str, str], env: list[str], context: dict[str, str]
) -> None:
    command = HookCommand(argv=("x",), env=tuple(env))
    environ |= {"OKTA_CLIENT_TOKEN": "canary", "PATH": PATH, "HOME": "/home/jo", "LC_ALL": "C"}
    ours = {f"OKTA_KEYS_{name.upper()}": text for name, text in context.items()}
    seen = environment_of(command, context, environ)
    assert {name: seen[name] for name in ours} == ours
    assert {"PATH", "HOME", "LC_ALL"} <= seen.keys()
    for name in seen.keys() - ours.keys():
        assert seen[name] == environ[name]
        assert name in {*env, *HARMLESS} or name.startswith("LC_")


async def test_what_is_too_long_for_a_variable_is_in_the_input_alone() -> None:
    """Linux would not start the command at all."""
    apps = [f"0oa{number:017}" for number in range(50_000)]
    script = "import json, os, sys; print(len(json.load(sys.stdin)['apps']), sorted(os.environ))"
    ran = await python(script, context={"apps": apps, "edge": "x" * LONGEST_VARIABLE})
    assert ran.error is None
    assert ran.output.startswith("50000 ")
    assert "OKTA_KEYS_APPS" not in ran.output
    assert "OKTA_KEYS_EDGE" in ran.output


@pytest.mark.parametrize(
    "script",
    ["exec 0<&-; sleep 0.1; echo fine", "echo fine", "head -c 5 >/dev/null; echo fine"],
    ids=["closes it", "never reads it", "reads a little"],
)
@pytest.mark.parametrize("size", [1, 5_000_000])
async def test_the_input_need_not_be_read(script: str, size: int) -> None:
    with nothing_left_open():
        ran = await shell(script, context={"rows": [["x" * size]]})
    assert (ran.ok, ran.output) == (True, "fine\n")


async def test_an_input_that_nobody_reads_costs_no_time_of_ours() -> None:
    began = time.process_time()
    ran = await shell("exec 0<&-; sleep 1", context={"rows": [["x" * 1_000_000]]})
    assert ran.ok
    assert time.process_time() - began < 0.5


# --- what is kept of it ----------------------------------------------------------------------


async def test_both_outputs_are_kept_as_they_came() -> None:
    ran = await shell("echo one; echo two >&2; echo three")
    assert ran.output == "one\ntwo\nthree\n"


async def test_what_comes_right_after_the_end_is_kept_too() -> None:
    ran = await shell("(sleep 0.1; echo late) & echo early", clock=Patient())
    assert (ran.ok, ran.output) == (True, "early\nlate\n")


async def test_a_flood_costs_no_memory_and_its_end_is_kept() -> None:
    tracemalloc.start()
    try:
        ran = await shell("head -c 300000000 /dev/zero | tr '\\0' x; echo; echo the end")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ran.ok
    assert ran.output.endswith("xxx\nthe end\n")
    assert len(ran.output) == KEPT
    assert peak < 4_000_000


async def test_output_that_is_cut_within_a_character_is_still_text() -> None:
    ran = await python(f"print('é' * {KEPT}, end='x')", environ={"PATH": PATH, "LC_ALL": "C.UTF-8"})
    assert ran.output.startswith("\ufffdé")
    assert ran.output.endswith("éx")
    assert len(ran.output.encode()) <= KEPT + 3


async def test_output_cannot_drive_a_terminal() -> None:
    script = (
        r"""printf '\033[31mred\033[0m \033]0;title\007 caf\303\251 \302\233 \377 \000 1\r2\r\n'"""
    )
    ran = await shell(script)
    assert ran.output == "red \ufffd]0;title\ufffd café \ufffd \ufffd \ufffd 1\n2\n"


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_harmless_text_has_no_controls(printed: bytes) -> None:
    text = harmless(printed)
    assert not [char for char in text if char not in "\n\t" and ord(char) < 32]
    assert not set(text) & set("\x7f\x9b\u202e\u2066")
    text.encode("utf-8")


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" \n\t\xa0")))
def test_plain_text_is_kept_as_it_is(text: str) -> None:
    assert harmless(text.encode()) == text


# --- how it ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("exit 255", 255)])
async def test_a_command_may_fail(script: str, code: int) -> None:
    ran = await shell(script)
    assert (ran.ok, ran.exit_code, ran.timed_out, ran.error) == (False, code, False, None)


async def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with nothing_left_open():
        ran = await hook("no-such-program-at-all")
    assert (ran.ok, ran.exit_code, ran.timed_out) == (False, None, False)
    assert ran.error is not None
    assert "does not exist" in ran.error
    assert (await hook(str(tmp_path / "gone"))).error == ran.error


async def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    script = tmp_path / "hook.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o600)
    ran = await hook(str(script))
    assert "not executable" in str(ran.error)
    script.chmod(0o700)
    assert (await hook(str(script))).ok


@pytest.mark.parametrize(
    ("first_line", "error"),
    [("echo hello", "first line does not name one"), ("#!/no/such/shell", "first line names")],
)
async def test_a_script_whose_first_line_is_wrong(
    tmp_path: Path, first_line: str, error: str
) -> None:
    script = tmp_path / "hook.sh"
    script.write_text(f"{first_line}\n")
    script.chmod(0o700)
    assert error in str((await hook(str(script))).error)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ran = await shell("true", cwd=tmp_path / "gone")
    assert f"the folder {tmp_path / 'gone'} cannot be entered" in str(ran.error)


@pytest.mark.parametrize(
    "settings",
    [{"context": {"label": "a\0b"}}, {"environ": {"PATH": PATH, "TZ": "a\0b"}}],
    ids=["context", "environment"],
)
async def test_a_nul_cannot_be_told(settings: dict[str, Any]) -> None:
    with nothing_left_open():
        ran = await shell("true", **settings)
    assert (ran.ok, ran.exit_code) == (False, None)
    assert "null" in str(ran.error)


async def test_a_nul_in_the_command_itself() -> None:
    assert "null" in str((await hook("echo", "a\0b")).error)


async def test_text_without_an_encoding() -> None:
    assert "surrogates" in str((await hook("echo", "\ud800")).error)


async def test_time_is_up_for_the_whole_family(tmp_path: Path, line: Line) -> None:
    script = f"(exec 3>{line.path}; echo $$ >&3; echo up; touch ready; sleep 300) & wait; echo no"
    clock = UntilReady(tmp_path / "ready")
    with nothing_left_open():
        ran = await shell(script, cwd=tmp_path, clock=clock)
    assert (ran.ok, ran.exit_code, ran.timed_out, ran.error) == (False, None, True, None)
    assert ran.output == "up\n"
    await until_dropped(line)
    assert ran.seconds < LONG


async def test_who_ignores_sigterm_is_killed(tmp_path: Path, line: Line) -> None:
    """The parent goes at once; its child does not, and the group outlives its leader."""
    child = f"trap '' TERM; exec 3>{line.path}; echo x >&3; touch ready; while :; do sleep 1; done"
    (tmp_path / "child.sh").write_text(child)
    clock = UntilReady(tmp_path / "ready")
    ran = await shell("/bin/sh ./child.sh & wait", cwd=tmp_path, clock=clock)
    assert ran.timed_out
    await until_dropped(line)
    assert 2 <= ran.seconds < 10


async def test_a_stopped_command_is_killed(tmp_path: Path) -> None:
    clock = UntilReady(tmp_path / "ready")
    ran = await shell("touch ready; kill -STOP $$", cwd=tmp_path, clock=clock)
    assert (ran.timed_out, ran.exit_code) == (True, None)


async def test_a_command_may_clean_up_when_its_time_is_up(tmp_path: Path) -> None:
    script = "trap 'echo cleaned; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    ran = await shell(script, cwd=tmp_path, clock=UntilReady(tmp_path / "ready"))
    assert ran.output.endswith("cleaned\n")  # after what the shell says of its own child
    assert (ran.ok, ran.timed_out, ran.exit_code) == (False, True, None)


async def test_the_plan_s_own_time_out_counts() -> None:
    command = HookCommand(argv=("sleep", "300"), timeout=0.2)
    ran = await run_hook(command, {}, environ={"PATH": PATH}, clock=SystemClock())
    assert ran.timed_out
    assert 0.2 <= ran.seconds < 5


async def test_cancelled_by_a_scope_the_family_is_gone(tmp_path: Path, line: Line) -> None:
    """All of it may clean up first."""
    child = f"(exec 3>{line.path}; echo x >&3; touch ready; sleep 300)"
    script = f"trap 'sleep 0.1; touch cleaned; exit' TERM; {child} & wait"
    with nothing_left_open():
        async with anyio.create_task_group() as group:
            ended: list[HookRun] = []

            async def run() -> None:
                ended.append(await shell(script, cwd=tmp_path))

            group.start_soon(run)
            await until((tmp_path / "ready").exists)
            assert line.is_held()
            group.cancel_scope.cancel()
    assert not ended
    assert (tmp_path / "cleaned").exists()
    await until_dropped(line)


@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_cancelled_by_asyncio_twice_the_family_is_gone(
    tmp_path: Path, line: Line, pause: float
) -> None:
    """The second time within the two seconds that SIGTERM has."""
    script = f"trap '' TERM; exec 3>{line.path}; echo x >&3; touch ready; sleep 300; sleep 300"
    with nothing_left_open():
        task = asyncio.ensure_future(shell(script, cwd=tmp_path))
        await until((tmp_path / "ready").exists)
        for _ in range(2):
            task.cancel()
            await anyio.sleep(pause)
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_dropped(line)


async def test_cancelled_before_it_begins_nothing_is_tried() -> None:
    ended = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        ended = await hook("no-such-program-at-all")
    assert scope.cancelled_caught
    assert ended is None


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["", "holding the input too"])
@pytest.mark.parametrize("group", ["", "setsid "], ids=["of the group", "of its own"])
async def test_a_daemon_that_keeps_the_pipes_keeps_nobody(
    tmp_path: Path, line: Line, size: int, group: str
) -> None:
    daemon = f"exec 3>{line.path}; echo x >&3; echo $$ >pid; sleep 300; true"
    (tmp_path / "daemon.sh").write_text(daemon)
    # by another number: a shell gives /dev/null to what it puts into the background
    start = f"exec 4<&0; {group}/bin/sh ./daemon.sh &"
    script = f"{start} while [ ! -s pid ]; do sleep 0.01; done; echo done"
    with nothing_left_open():
        ran = await shell(script, cwd=tmp_path, context={"rows": [["x" * size]]})
    try:
        assert (ran.ok, ran.output) == (True, "done\n")
        assert ran.seconds < 5
        assert line.is_held()  # it was left in peace
    finally:
        with suppress(ProcessLookupError):
            pid = int((tmp_path / "pid").read_text())
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        await until_dropped(line)


async def test_no_zombie_is_left() -> None:
    ran = await shell("echo $$")
    with pytest.raises(ChildProcessError):
        os.waitpid(int(ran.output), os.WNOHANG)  # noqa: ASYNC222 - it does not wait


async def test_a_command_has_a_session_of_its_own() -> None:
    """So that a Ctrl-C on our terminal is ours to pass on."""
    ran = await python("import os; print(os.getpid(), os.getsid(0), os.getpgid(0))")
    assert len(set(ran.output.split())) == 1


async def test_many_commands_run_at_once() -> None:
    outputs: list[str] = []

    async def run(number: int) -> None:
        outputs.append((await shell(f"sleep 0.1; echo {number}")).output)

    with nothing_left_open():
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(run, number)
    assert sorted(outputs, key=int) == [f"{number}\n" for number in range(20)]
