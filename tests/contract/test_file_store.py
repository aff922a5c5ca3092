"""The file store against other processes, dying ones, damage, and full disks."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ExitCode, StateError, StateUnusable
from orchestrator.model import Outcome
from orchestrator.store.base import EventRecord
from orchestrator.store.database import Database
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.contract.stores import RUN, create, open_store, outcome, settled_apps, target

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.child", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def open_path(path: Path) -> Store:
    return Store.open(path, clock=SystemClock())


def test_what_is_created_is_for_its_owner_alone(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        create(store, 1)
        folder = tmp_path / "state"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert FILE_NAME + "-wal" in {path.name for path in folder.iterdir()}


def test_what_was_written_is_there_the_next_time(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        create(store, 3)
    with open_store("file", tmp_path) as store:
        assert store.archive.counts(RUN).pending == 3


def test_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        assert store.writer.execute("PRAGMA synchronous") == [(2,)]  # FULL
        assert store.writer.execute("PRAGMA journal_mode") == [("wal",)]
        assert store.writer.execute("PRAGMA foreign_keys") == [(1,)]


def test_events_can_only_be_added(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        create(store, 1)
        for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
            with pytest.raises(StateError, match="journal") as caught:
                store.writer.execute(statement)
            assert "append-only" in caught.value.diagnostics()


def test_two_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) / FILE_NAME for number in range(20)]
    begin = time.time() + 0.7
    children = [start("open", begin, *paths) for _ in range(2)]
    for child in children:
        assert child.communicate(timeout=30)[0] == ""
        assert child.returncode == 0
    for path in paths:
        with open_path(path) as store:
            assert {run.run_id for run in store.archive.runs()} == {
                f"run-{child.pid}" for child in children
            }


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    child = start("write", path, 3000)
    assert child.stdout is not None
    child.stdout.readline()
    with open_path(path) as store:
        done = 0
        while done < 3000:
            counts = store.archive.counts(RUN)
            assert counts.total == 3000
            before, done = done, sum(counts.settled.values())
            assert done >= before
            assert len(settled_apps(store.archive)) >= done
            assert store.archive.verify(RUN).ok
        child.communicate(timeout=30)
        assert store.archive.run(RUN).exit_code == 0
    assert child.returncode == 0


def kill_while_writing(path: Path, after_rows: int, *, targets: int) -> set[str]:
    """Kill a writer at no particular moment; return the apps that it said were durable."""
    with start("write", path, targets) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(after_rows)]
        child.kill()
        said += child.stdout.readlines()
    return {line.strip() for line in said if line.endswith("\n")}


def assert_nothing_is_lost(folder: Path, rounds: int, *, targets: int) -> None:
    path, acknowledged = folder / FILE_NAME, set[str]()
    for number in range(rounds):
        acknowledged |= kill_while_writing(path, 50 + 97 * number, targets=targets)
        with open_path(path) as store:
            assert len(acknowledged) >= 50
            assert acknowledged <= set(settled_apps(store.archive))
            assert store.archive.verify(RUN).problem is None
            assert store.writer.execute("PRAGMA integrity_check") == [("ok",)]


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    assert_nothing_is_lost(tmp_path, rounds=2, targets=20_000)


@pytest.mark.long
def test_a_writer_killed_fifteen_times_loses_nothing(tmp_path: Path) -> None:
    assert_nothing_is_lost(tmp_path, rounds=15, targets=100_000)


@pytest.mark.long
def test_a_large_run_takes_little_memory(tmp_path: Path) -> None:
    said, _ = start("measure", tmp_path / FILE_NAME, 200_000).communicate(timeout=110)
    read, grown = map(int, said.split())
    assert read == 200_000
    assert grown < 60  # MB; 12 where it was written


async def test_a_journal_that_stays_locked_fails_and_stays_failed(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        create(store, 2)
    path = tmp_path / "state" / FILE_NAME
    with Store(Database(path, busy_seconds=0.1), Database(path), clock=SystemClock()) as store:
        async with store.journal(RUN) as journal:
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateError, match="locked"):
                await journal.settle(outcome(target(0)))
            other.close()
            with pytest.raises(StateError, match="locked"):
                await journal.settle(outcome(target(1)))
        assert settled_apps(store.archive) == []
        assert store.archive.verify(RUN).ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not IS_ROOT or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_journal_and_harms_nothing(small_disk: Path) -> None:
    path, acknowledged = small_disk / FILE_NAME, list[str]()
    with open_path(path) as store:
        create(store, 200)
        with pytest.raises(StateError, match="disk is full") as caught:
            asyncio.run(settle_until_it_fails(store, acknowledged))
        assert "free some space" in (caught.value.hint or "")
        assert settled_apps(store.archive) == acknowledged
        assert acknowledged
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    with open_path(path) as store:
        assert settled_apps(store.archive) == acknowledged
        assert store.archive.verify(RUN).problem is None
        asyncio.run(settle_some(store, 199, 200))


async def settle_until_it_fails(store: Store, acknowledged: list[str]) -> None:
    async with store.journal(RUN) as journal:
        for number in range(199):
            await journal.note("filler", {"text": "x" * 5000})
            await journal.settle(outcome(target(number)))
            acknowledged.append(target(number).app)


def test_a_full_disk_when_opening(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1024 * 1024 - 8192))
    with pytest.raises(StateUnusable) as caught:
        open_path(small_disk / FILE_NAME)
    assert caught.value.message in ("the disk is full", "the disk cannot be read or written")


# What is found when opening, and what the operator is told.


def no_database(path: Path) -> None:
    path.write_text("this is not a database " * 50)


def empty(path: Path) -> None:
    path.touch()


def cut_off(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\x10")


def garbage(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + random.Random(1).randbytes(9000))


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def newer(path: Path) -> None:
    open_path(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def shortened(path: Path) -> None:
    with open_path(path) as store:
        create(store, 100)
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def without_its_end(path: Path) -> None:
    with open_path(path) as store:
        create(store, 1)
        store.writer.execute("DROP TRIGGER events_are_not_removed")
        store.writer.execute("DELETE FROM events WHERE seq = 3")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (without_its_end, "damaged"),
        (no_database, "not a state file"),
        (empty, "damaged"),
        (cut_off, "damaged"),
        (garbage, "damaged"),
        (other_program, "another program"),
        (newer, "newer okta-keys (schema 99"),
        (shortened, "damaged"),
        (Path.mkdir, "a folder stands where"),
    ],
)
def test_what_cannot_be_used_is_told_with_a_way_out(
    tmp_path: Path, make: object, told: str
) -> None:
    path = tmp_path / FILE_NAME
    assert callable(make)
    make(path)
    with pytest.raises(StateUnusable) as caught:
        open_path(path)
    assert told in caught.value.message
    assert caught.value.exit_code is ExitCode.INVALID
    assert str(path) in caught.value.diagnostics()
    assert caught.value.hint
    if told == "damaged":
        assert f"mv {path}" in caught.value.hint
        assert "already present" in caught.value.hint


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable, match="file stands"):
        open_path(tmp_path / "file" / "state" / FILE_NAME)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become nobody")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_state_of_another_user(mode: int) -> None:
    folder = Path("/var/tmp") / f"okta-keys-test-{os.getpid()}"  # noqa: S108 - nobody can reach it
    path = folder / FILE_NAME
    try:
        open_path(path).close()
        folder.chmod(mode)
        said, _ = start("as-nobody", path).communicate(timeout=30)
    finally:
        shutil.rmtree(folder)
    assert said.startswith("StateUnusable")
    assert "--state" in said


# Damage: whatever opens must be the truth, or be found out by verify.

Truth = tuple[list[EventRecord], list[Outcome]]


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, Truth]:
    """Return the files of a run whose writer has died: half in the database, half in its WAL."""
    folder = tmp_path / "crashed"
    with open_store("file", tmp_path) as store:
        create(store, 40)
        asyncio.run(settle_some(store, 0, 15))
        store.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        asyncio.run(settle_some(store, 15, 25))
        shutil.copytree(tmp_path / "state", folder)
        truth = list(store.archive.events(RUN)), list(store.archive.outcomes(RUN))
    (folder / f"{FILE_NAME}-shm").unlink()
    return folder, truth


async def settle_some(store: Store, first: int, last: int) -> None:
    async with store.journal(RUN) as journal:
        for number in range(first, last):
            await journal.settle(outcome(target(number)))


def is_found_out_or_true(folder: Path, truth: Truth) -> bool:
    """Say whether the store was refused, or failed its verification, or tells a past state."""
    events, outcomes = truth
    try:
        with open_path(folder / FILE_NAME) as store:
            if not store.archive.runs():
                return True
            if not store.archive.verify(RUN).ok:
                return True
            told = list(store.archive.events(RUN))
            settled = [each for each in told if each.kind == "target_settled"]
            assert list(store.archive.outcomes(RUN)) == outcomes[: len(settled)]
            return told == events[: len(told)]
    except StateError:
        return True


def damaged_copies(folder: Path, name: str, sizes: list[int]) -> Iterator[Path]:
    for size in sizes:
        copy = folder.with_name(f"{name}-{size}")
        shutil.copytree(folder, copy)
        os.truncate(copy / name, size)
        yield copy
        shutil.rmtree(copy)


def page_ends(path: Path, page: int, header: int) -> list[int]:
    size, chance = path.stat().st_size, random.Random(7)
    ends = [header + page * number for number in range((size - header) // page)]
    return [0, *ends, *(chance.randrange(size) for _ in range(20))]


@pytest.mark.parametrize(("suffix", "page", "header"), [("", 4096, 0), ("-wal", 4096 + 24, 32)])
def test_a_truncated_file_is_never_wrong_silently(
    crashed: tuple[Path, Truth], suffix: str, page: int, header: int
) -> None:
    folder, truth = crashed
    name = FILE_NAME + suffix
    sizes = page_ends(folder / name, page, header)
    assert len(sizes) > 25
    for copy in damaged_copies(folder, name, sizes):
        assert is_found_out_or_true(copy, truth), copy


def test_a_database_cut_off_without_its_wal_is_refused(crashed: tuple[Path, Truth]) -> None:
    folder, _ = crashed
    (folder / f"{FILE_NAME}-wal").unlink()
    size = (folder / FILE_NAME).stat().st_size
    for copy in damaged_copies(folder, FILE_NAME, list(range(0, size, 4096))):
        with pytest.raises(StateUnusable):
            open_path(copy / FILE_NAME)


def test_a_database_without_its_wal_tells_a_past_state(crashed: tuple[Path, Truth]) -> None:
    folder, truth = crashed
    (folder / f"{FILE_NAME}-wal").unlink()
    with open_path(folder / FILE_NAME) as store:
        assert list(store.archive.outcomes(RUN)) == truth[1][:15]
        assert store.archive.verify(RUN).ok


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_changed_bytes_are_never_wrong_silently(crashed: tuple[Path, Truth], suffix: str) -> None:
    folder, truth = crashed
    name, chance = FILE_NAME + suffix, random.Random(11)
    size = (folder / name).stat().st_size
    for number in range(60):
        copy = folder.with_name(f"flip-{number}")
        shutil.copytree(folder, copy)
        data = bytearray((copy / name).read_bytes())
        data[chance.randrange(size)] ^= 1 << chance.randrange(8)
        (copy / name).write_bytes(data)
        assert is_found_out_or_true(copy, truth), number
        shutil.rmtree(copy)
