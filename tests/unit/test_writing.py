"""Files are whole or not there, their owner's alone, and never somewhere else than named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import StateUnusable
from orchestrator.inventory.prometheus import write_metrics
from orchestrator.store.base import Session
from orchestrator.store.lock import RunLock
from orchestrator.store.sqlite import FILE_NAME, Store
from orchestrator.writing import on_one_line, write_pieces, write_whole

PRECIOUS = "a file of somebody else"


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Let the system take away no permission: what is missing, we have not given."""
    former = os.umask(0)
    yield
    os.umask(former)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text(PRECIOUS)
    path.chmod(0o644)
    return path


def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "folder" / "report.json"
    path.parent.mkdir()
    path.symlink_to(victim)
    write_pieces(path, ["new"])
    assert not path.is_symlink()
    assert path.read_text() == "new"
    assert victim.read_text() == PRECIOUS
    assert (mode(path), mode(victim)) == (0o600, 0o644)


def test_nobody_else_can_read_it_at_any_moment_or_know_its_name_before(tmp_path: Path) -> None:
    drafts: list[str] = []

    def write(file: TextIO) -> None:
        [draft] = tmp_path.iterdir()
        assert mode(draft) == 0o600
        drafts.append(draft.name)
        file.write("text")

    for published in (0o600, 0o644):
        path = write_whole(tmp_path / "file", write, mode=published)
        assert mode(path) == published
        path.unlink()
    assert len(set(drafts)) == 2, "the name of a draft cannot be foreseen"
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(file: TextIO) -> None:
        file.write("half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_metrics_are_for_others_and_replace_a_link_too(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "metrics.prom"
    path.symlink_to(victim)
    write_metrics(path, [])
    assert mode(path) == 0o644
    assert not path.is_symlink()
    assert victim.read_text() == PRECIOUS


def test_the_state_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with Store.open(folder / FILE_NAME, clock=SystemClock()):
        lock = RunLock(folder, "p", "o", session=session(), clock=SystemClock())
        lock.take_now()
        modes = {path.name: mode(path) for path in folder.iterdir()}
        lock.free()
    assert lock.note.name in modes
    assert f"{FILE_NAME}-wal" in modes
    assert set(modes.values()) == {0o600}
    assert mode(folder) == 0o700


def test_links_in_the_state_folder_lead_nowhere(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    lock = RunLock(folder, "p", "o", session=session(), clock=SystemClock())
    lock.note.symlink_to(victim)
    (folder / f"{FILE_NAME}.new").symlink_to(victim)
    with Store.open(folder / FILE_NAME, clock=SystemClock()):
        lock.take_now()
        lock.free()
    lock.path.unlink(missing_ok=True)
    lock.path.symlink_to(victim)
    with pytest.raises(StateUnusable):
        lock.take_now()
    assert victim.read_text() == PRECIOUS
    assert mode(victim) == 0o644


@pytest.mark.parametrize("folder_mode", [0o777, 0o773, 0o702])
def test_a_state_folder_that_everybody_may_write_to_is_refused(
    folder_mode: int, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(folder_mode)
    with pytest.raises(StateUnusable, match="everybody may write") as caught:
        Store.open(folder / FILE_NAME, clock=SystemClock())
    assert f"chmod o-w {folder}" in str(caught.value.hint)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("folder_mode", [0o700, 0o755, 0o775, 0o2775, 0o1777])
def test_a_state_folder_in_which_nobody_can_replace_our_files_will_do(
    folder_mode: int, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(folder_mode)
    for _ in range(2):
        Store.open(folder / FILE_NAME, clock=SystemClock()).close()


@pytest.mark.parametrize("name", [FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}.new"])
def test_where_everybody_may_put_files_those_of_others_are_refused(
    name: str, tmp_path: Path, victim: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / name).symlink_to(victim)
    with pytest.raises(StateUnusable, match="everybody may write"):
        Store.open(folder / FILE_NAME, clock=SystemClock())
    assert victim.read_text() == PRECIOUS


def session() -> Session:
    return Session(pid=os.getpid(), host="here", command="okta-keys run", version="1")


@pytest.mark.parametrize(
    "mark", ["\x1b[2J", "\r", "\n", "\x85", "\u2028", "\u202e", "\u2066", "\x9b"]
)
def test_a_label_cannot_move_the_cursor_or_turn_the_text(mark: str) -> None:
    assert on_one_line(f"a{mark}b").isprintable()
