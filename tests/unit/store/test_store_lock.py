"""One run of a plan and org at a time, whoever dies."""

from __future__ import annotations

import json
import os
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import SystemClock
from orchestrator.errors import ExitCode, LockHeld, StateUnusable
from orchestrator.store.base import Session
from orchestrator.store.lock import RunLock, lock_name, state_folder
from tests.contract.stores import SESSION

ROOT = Path(__file__).parents[3]


@contextmanager
def lock(folder: Path, *, plan: str = "p", org: str = "o") -> Iterator[RunLock]:
    taken = RunLock(folder, plan, org, session=SESSION, clock=SystemClock())
    taken.take_now()
    try:
        yield taken
    finally:
        taken.free()


@contextmanager
def another_holder(folder: Path, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock; it says its id once it does."""
    command = [sys.executable, "-m", "tests.contract.child", "hold", str(folder), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == str(child.pid)
        try:
            yield child
        finally:
            child.kill()


def test_the_holder_is_named(tmp_path: Path) -> None:
    with another_holder(tmp_path) as child:
        with pytest.raises(LockHeld) as caught, lock(tmp_path):
            pass
        told = caught.value
        assert told.exit_code is ExitCode.LOCKED
        assert told.context["command"] == "okta-keys run plan.yaml"
        assert told.context["pid"] == child.pid
        assert f"ps -p {child.pid}" in (told.hint or "")
        assert "'p' on o" in told.message


def test_a_killed_holder_is_in_nobodys_way(tmp_path: Path) -> None:
    with another_holder(tmp_path) as child:
        child.kill()
        child.wait()
        assert list(tmp_path.glob("*.holder.json"))
        with lock(tmp_path) as taken:
            assert json.loads(taken.note.read_text())["pid"] == os.getpid()


async def test_waiting_for_the_holder_to_end(tmp_path: Path) -> None:
    waiting = RunLock(tmp_path, "p", "o", session=SESSION, clock=SystemClock())
    with another_holder(tmp_path, seconds=0.4):
        await waiting.take(patience_seconds=10)
    waiting.free()


async def test_waiting_ends(tmp_path: Path) -> None:
    waiting = RunLock(tmp_path, "p", "o", session=SESSION, clock=SystemClock())
    with another_holder(tmp_path):
        begin = time.monotonic()
        with pytest.raises(LockHeld):
            await waiting.take(patience_seconds=0.3)
        assert time.monotonic() - begin >= 0.3


def test_other_plans_and_orgs_are_free(tmp_path: Path) -> None:
    with lock(tmp_path), lock(tmp_path, plan="q"), lock(tmp_path, org="q"):
        pass


def test_it_is_free_again_afterwards_and_leaves_no_note(tmp_path: Path) -> None:
    for _ in range(2):
        with lock(tmp_path) as taken:
            assert taken.path.stat().st_mode & 0o777 == 0o600
        assert not taken.note.exists()


@pytest.mark.parametrize("note", ["", "{}", "[1]", "not json", '{"pid": 1e400}', None])
def test_a_note_that_tells_nothing_is_passed_over(tmp_path: Path, note: str | None) -> None:
    with lock(tmp_path) as taken:
        if note is None:
            taken.note.unlink()
        else:
            taken.note.write_text(note)
        with pytest.raises(LockHeld) as caught, lock(tmp_path):
            pass
    assert caught.value.context == {}
    assert "ps -ef" in (caught.value.hint or "")


def test_a_note_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    gone = subprocess.run(["true"], check=True)
    assert gone.returncode == 0
    with lock(tmp_path) as taken:
        note = json.loads(taken.note.read_text())
        taken.note.write_text(json.dumps({**note, "pid": 2**22 + 1}))  # beyond Linux's largest
        with pytest.raises(LockHeld) as caught, lock(tmp_path):
            pass
        assert caught.value.context == {}
        taken.note.write_text(json.dumps({**note, "pid": 2**22 + 1, "host": "elsewhere"}))
        with pytest.raises(LockHeld) as caught, lock(tmp_path):
            pass
        assert caught.value.context["host"] == "elsewhere"


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable) as caught, lock(tmp_path / "file" / "locks"):
        pass
    assert "--state" in (caught.value.hint or "")


SAFE = set(string.ascii_lowercase + string.digits + "-@")
NAMES = st.text(st.characters(), max_size=300)


@given(NAMES, NAMES)
def test_file_names_are_safe_whatever_the_names(plan: str, org: str) -> None:
    name = lock_name(plan, org)
    assert set(name) <= SAFE
    assert len(name) <= 100
    assert name == lock_name(plan, org)


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_different_plans_or_orgs_have_different_names(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (lock_name(*one) == lock_name(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("!", "!!"), ("!!", "!")), (("A", "o"), ("a", "o")), (("\ud800", "o"), ("\ud801", "o"))],
)
def test_names_that_look_alike_differ(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert lock_name(*one) != lock_name(*other)


def test_people_recognise_the_name() -> None:
    assert lock_name("Finance 2026", "https://acme.okta.com").startswith(
        "finance-2026@acme-okta-com-"
    )


def test_where_the_state_is_kept() -> None:
    named = {"OKTA_KEYS_STATE": "/srv/state"}
    assert state_folder(Path("~/here"), named) == Path.home() / "here"
    assert state_folder(None, named) == Path("/srv/state")
    assert state_folder(None, {"OKTA_KEYS_STATE": " "}).name == "okta-keys"
    assert state_folder(None, {}).is_absolute()


def test_a_session_of_this_process_is_alive(tmp_path: Path) -> None:
    session = Session(pid=os.getpid(), host=socket.gethostname(), command="c", version="0")
    first = RunLock(tmp_path, "p", "o", session=session, clock=SystemClock())
    first.take_now()
    with pytest.raises(LockHeld) as caught, lock(tmp_path):
        pass
    first.free()
    assert caught.value.context["host"] == socket.gethostname()
