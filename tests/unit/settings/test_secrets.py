"""From references to secrets: where each kind is found, and why it is refused."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

from orchestrator.errors import ConfigError, ExitCode
from orchestrator.plan.references import read_reference
from orchestrator.settings.secret_commands import aside, printed_by
from orchestrator.settings.secret_files import FileFacts, objection
from orchestrator.settings.secrets import resolve, resolve_token

VALUE = "00hunter2-Qx7_token"
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def resolved(written: object, folder: Path, environ: Mapping[str, str] | None = None) -> str:
    environ = {"PATH": os.environ["PATH"]} if environ is None else environ
    return resolve(read_reference(written), environ=environ, folder=folder).reveal()


def refusal_of(
    written: object, folder: Path, environ: Mapping[str, str] | None = None
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolved(written, folder, environ)
    error = caught.value
    assert error.exit_code == ExitCode.INVALID
    assert error.hint
    shown = "".join(traceback.format_exception(error)) + error.diagnostics()
    assert "hunter2" not in shown
    assert error.__cause__ is None
    return error


def secret_file(folder: Path, data: bytes = VALUE.encode(), mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_variable(tmp_path: Path) -> None:
    assert resolved("env:TOKEN", tmp_path, {"TOKEN": f" {VALUE}\n"}) == VALUE
    for environ in ({}, {"TOKEN": ""}, {"TOKEN": "  "}):
        error = refusal_of("env:TOKEN", tmp_path, environ)
        assert error.message == "the environment variable TOKEN is not set"
        assert error.hint == "export TOKEN=..."


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret_file(tmp_path, f"{VALUE}\r\n\n".encode())
    assert resolved(f"file:{path}", Path("/nowhere")) == VALUE
    assert resolved("file:token", tmp_path) == VALUE
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolved("file:~/token", Path("/nowhere")) == VALUE
    path.write_bytes(b"\xef\xbb\xbf-----BEGIN\n  x \n")
    assert resolved("file:token", tmp_path) == "-----BEGIN\n  x "
    link = tmp_path / "link"
    link.symlink_to("token")
    assert resolved("file:link", tmp_path).startswith("-----BEGIN")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601])
def test_a_file_that_others_get_at(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    error = refusal_of("file:token", tmp_path)
    verb = "changed" if mode & 0o022 else "read"
    assert error.message == (
        f"file:token is refused: the file can be {verb} by others (its mode is {mode:04o})"
    )
    assert error.hint == f"chmod 600 {path}"
    link = tmp_path / "link"
    link.symlink_to("token")
    assert "can be" in refusal_of("file:link", tmp_path).message


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    assert "there is no such file" in refusal_of("file:gone", tmp_path).message
    assert "a named pipe" in refusal_of("file:pipe", tmp_path).message
    assert "a directory" in refusal_of("file:folder", tmp_path).message
    assert "a device" in refusal_of("file:/dev/zero", tmp_path).message
    assert refusal_of("file:gone", tmp_path).hint == f"looked for at {tmp_path / 'gone'}"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "file:token is empty"),
        (b" \n\n", "file:token is empty"),
        (b"hunter2\xff", "file:token is not UTF-8 text"),
        ("hunter2".encode("utf-16"), "file:token is not UTF-8 text"),
        (b"x" * (64 * 1024 + 1), "file:token is larger than 64 KiB"),
    ],
)
def test_files_without_a_secret(tmp_path: Path, data: bytes, said: str) -> None:
    secret_file(tmp_path, data)
    assert refusal_of("file:token", tmp_path).message == said


@is_root
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    os.chown(secret_file(tmp_path), 12345, 12345)
    error = refusal_of("file:token", tmp_path)
    assert error.message == "file:token is refused: the file belongs to another user"


def test_a_credential_of_systemd(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    path = secret_file(credentials, mode=0o440)
    written = "file:${CREDENTIALS_DIRECTORY}/token"
    assert resolved(written, tmp_path, environ) == VALUE
    assert resolved(f"file:{path}", tmp_path, environ) == VALUE
    for mode in (0o460, 0o444, 0o602):
        path.chmod(mode)
        assert "by others" in refusal_of(written, tmp_path, environ).message
    error = refusal_of(written, tmp_path, {})
    assert "CREDENTIALS_DIRECTORY is not set" in error.message
    secret_file(tmp_path, mode=0o440)  # beside it, not below
    assert (
        "by others"
        in refusal_of("file:${CREDENTIALS_DIRECTORY}/../token", tmp_path, environ).message
    )


def kubernetes_mount(folder: Path) -> Path:
    """Write what the kubelet's atomic writer leaves behind."""
    version = folder / "..2026_01_31_10_00_00.123456789"
    version.mkdir()
    secret_file(version, mode=0o644)
    (folder / "..data").symlink_to(version.name)
    (folder / "token").symlink_to("..data/token")
    return version / "token"


@contextmanager
def as_user(user: int) -> Iterator[None]:
    """Act as another user for a while."""
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user can enter, unlike those of pytest."""
    folder = Path("/tmp") / f"okta-keys-mount-{os.getpid()}"  # noqa: S108 - a name of our own
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@is_root
def test_a_mounted_secret_of_kubernetes(open_folder: Path) -> None:
    real = kubernetes_mount(open_folder)
    with as_user(12345):
        assert resolved(f"file:{open_folder}/token", open_folder) == VALUE
        # Without the links it is the same file, and nothing speaks for it.
        error = refusal_of(f"file:{real}", open_folder)
    assert "can be read by others (its mode is 0644)" in error.message
    # We are root, and the mount can be written to: so we could mend it.
    error = refusal_of(f"file:{open_folder}/token", open_folder)
    assert "can be read by others" in error.message
    assert "defaultMode: 0400" in str(error.hint)


def test_what_looks_mounted_and_is_ours_is_refused(tmp_path: Path) -> None:
    """Whoever owns the files, or is root on a mount that can be written to, could mend them."""
    kubernetes_mount(tmp_path)
    assert "can be read by others" in refusal_of("file:token", tmp_path).message


def test_who_is_let_in_is_decided_by_all_the_facts() -> None:
    """A file that others can write to never is one, and one they can read is only of two kinds."""
    flags = (False, True)
    for mode, owner, us, credential, mounted, fixed in itertools.product(
        range(0o1000), (0, 7, 8), (0, 7), flags, flags, flags
    ):
        facts = FileFacts(
            mode=mode,
            owner=owner,
            us=us,
            is_credential=credential,
            is_mounted_secret=mounted,
            is_read_only=fixed,
        )
        if objection(facts) is None:
            assert owner in (us, 0)
            assert not mode & 0o022
            assert not mode & 0o077 or credential or (mounted and owner == 0 and (us or fixed))
    assert objection(FileFacts(mode=0o600, owner=7, us=7)) is None
    assert objection(FileFacts(mode=0o444, owner=0, us=7, is_mounted_secret=True)) is None
    assert objection(FileFacts(mode=0o444, owner=0, us=7)) is not None


def test_what_a_mode_of_0600_would_take_from_us_is_to_become_ours() -> None:
    _, remedy = objection(FileFacts(mode=0o640, owner=0, us=7)) or ("", "")
    assert remedy == "chown it to the user that runs okta-keys, and chmod 600"
    assert objection(FileFacts(mode=0o640, owner=7, us=7)) == (
        "can be read by others (its mode is 0640)",
        "chmod 600",
    )


def test_a_command(tmp_path: Path) -> None:
    assert resolved(f"cmd:[printf, '{VALUE}\\n\\n']", tmp_path) == VALUE
    script = tmp_path / "get.sh"
    script.write_text(f"#!/bin/sh\necho noise >&2\necho '{VALUE}' \"$1\"; pwd\n")
    script.chmod(0o700)
    told = resolved({"cmd": ["./get.sh", "$HOME; x"]}, tmp_path)
    assert told.splitlines() == [f"{VALUE} $HOME; x", str(tmp_path)]


def test_a_command_sees_little_of_our_environment(tmp_path: Path) -> None:
    environ = dict.fromkeys(("OKTA_CLIENT_TOKEN", "VAULT_TOKEN", "VAULT_ADDR"), "hunter2")
    environ |= {"PATH": os.environ["PATH"], "LC_ALL": "C", "XDG_RUNTIME_DIR": "/run/user/7"}
    environ["HTTPS_PROXY"] = "http://me:hunter2@proxy.acme.com:8080"
    told = resolved({"cmd": ["env"], "env": ["VAULT_ADDR"]}, tmp_path, environ)
    seen = dict(line.split("=", 1) for line in told.splitlines())
    assert seen.pop("HTTPS_PROXY") == "http://proxy.acme.com:8080"
    assert seen.keys() - {"PWD", "SHLVL", "_"} == {
        "LC_ALL",
        "PATH",
        "VAULT_ADDR",
        "XDG_RUNTIME_DIR",
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["true"], "cmd:[true] is empty"),
        (["no-such-program-here"], "cannot be started: it does not exist"),
        (["./no-such"], "cannot be started: it does not exist"),
        (["./token"], "cannot be started: it is not executable"),
        (["sh", "-c", "echo hunter2; exit 3"], "cmd:[sh, ...] fails with exit code 3"),
        (
            ["sh", "-c", "printf '\\033[31mno \\007entry\\nhunter2' >&2; exit 1"],
            "fails with exit code 1: no \ufffdentry",
        ),
        (["sh", "-c", "kill -9 $$"], "was ended by signal 9"),
        (["printf", "\\377hunter2"], "prints what is not UTF-8 text"),
        (["head", "-c", "70000", "/dev/zero"], "prints more than 64 KiB"),
        (["yes", "hunter2"], "prints more than 64 KiB"),
        (["cat"], "cmd:[cat] is empty"),  # nothing to read, and nobody to wait for
    ],
)
def test_a_command_that_tells_no_secret(tmp_path: Path, argv: list[str], said: str) -> None:
    secret_file(tmp_path)
    assert said in refusal_of({"cmd": argv}, tmp_path).message


def children_in(folder: Path) -> list[str]:
    """Return the processes that were started in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has ended
            if link.readlink() == folder:
                found.append(link.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="there is no /proc")
def test_a_command_is_not_waited_for_without_end(tmp_path: Path) -> None:
    reference = read_reference({"cmd": ["sh", "-c", "sleep 60 & sleep 60; echo hunter2"]})
    began = monotonic()
    with pytest.raises(ConfigError, match=r"does not end within 0\.3 seconds"):
        printed_by(reference, environ=os.environ, folder=tmp_path, seconds=0.3)
    assert monotonic() - began < 5
    while children_in(tmp_path):  # a moment passes from the signal to the end
        assert monotonic() - began < 5
        sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="there is no /proc")
async def test_a_command_ends_with_the_wait_for_it(tmp_path: Path) -> None:
    reference = read_reference({"cmd": ["sh", "-c", "sleep 60; echo hunter2"]})
    look = partial(resolve, reference, environ=os.environ, folder=tmp_path)
    began = monotonic()
    waiting = asyncio.create_task(aside(look))
    while not await asyncio.to_thread(children_in, tmp_path):
        assert monotonic() - began < 5
    waiting.cancel()  # as asyncio does at the first Ctrl-C
    with pytest.raises(asyncio.CancelledError):
        await waiting
    while await asyncio.to_thread(children_in, tmp_path):
        assert monotonic() - began < 5


def test_an_agent_that_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = monotonic()
    assert resolved({"cmd": ["sh", "-c", f"sleep 3 & echo '{VALUE}'"]}, tmp_path) == VALUE
    assert monotonic() - began < 2


class Ring(keyring.backend.KeyringBackend):
    """A keyring of one entry, which fails as it is told."""

    priority = 1

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    def get_password(self, service: str, username: str) -> str | None:
        if self.failure:
            raise self.failure
        return VALUE if (service, username) == ("okta-keys", "acme") else None

    def set_password(self, *_: str) -> None:
        raise AssertionError("nothing is ever written to a keyring")


@pytest.fixture
def ring() -> Iterator[Ring]:
    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_an_entry_of_a_keyring(ring: Ring, tmp_path: Path) -> None:
    assert keyring.get_keyring() is ring
    assert resolved("keyring:okta-keys/acme", tmp_path) == VALUE
    error = refusal_of("keyring:okta-keys/globex", tmp_path)
    assert error.message == "keyring:okta-keys/globex: the keyring has no such entry"
    assert error.hint == "keyring set okta-keys globex"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (keyring.errors.KeyringLocked("hunter2"), "the keyring is locked"),
        (keyring.errors.InitError("hunter2"), "the keyring cannot be opened"),
        (keyring.errors.NoKeyringError("hunter2"), "there is no keyring on this system"),
        (keyring.errors.KeyringError("hunter2"), "the keyring fails with KeyringError"),
        (RuntimeError("hunter2"), "the keyring fails with RuntimeError"),
    ],
)
def test_a_keyring_that_fails(ring: Ring, tmp_path: Path, failure: Exception, said: str) -> None:
    ring.failure = failure
    assert said in refusal_of("keyring:okta-keys/acme", tmp_path).message


def test_a_system_without_a_keyring(ring: Ring, tmp_path: Path) -> None:
    assert ring.failure is None
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    error = refusal_of("keyring:okta-keys/acme", tmp_path)
    assert "there is no keyring on this system" in error.message


def test_without_the_package_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    error = refusal_of("keyring:okta-keys/acme", tmp_path)
    assert "needs the package keyring" in error.message
    assert "pip install 'okta-key-orchestrator[keyring]'" in str(error.hint)


@pytest.mark.parametrize("text", ["two words", "two\nlines", "caf\u00e9", "tab\tbed"])
def test_a_token_is_one_word(tmp_path: Path, text: str) -> None:
    secret_file(tmp_path, f"hunter2-{text}\n".encode())
    reference = read_reference("file:token")
    with pytest.raises(ConfigError, match="file:token is not a token") as caught:
        resolve_token(reference, environ={}, folder=tmp_path)
    assert "hunter2" not in caught.value.diagnostics()
    secret_file(tmp_path, f"{VALUE}\n".encode())
    assert resolve_token(reference, environ={}, folder=tmp_path).reveal() == VALUE
