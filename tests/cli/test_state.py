"""Where runs are remembered: one process at a time, and no call unless it can be remembered."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from orchestrator.clock import SystemClock
from orchestrator.sandbox.faults import Fault
from orchestrator.store.lock import state_folder
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.cli.disks import (
    WITHOUT_PRIVILEGE,
    disk,
    fill,
    make_read_only,
    may_drop_privilege,
    may_mount,
)
from tests.cli.forked import okta_keys_forked
from tests.cli.program import environment, rest_of
from tests.cli.site import APPS, KEY, Site, site, until
from tests.contract.stores import create

needs_mount = pytest.mark.skipif(not may_mount(), reason="needs to mount a disk")
needs_setpriv = pytest.mark.skipif(not may_drop_privilege(), reason="needs root and setpriv")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


def test_no_test_gets_to_the_state_of_whoever_runs_it() -> None:
    """Neither with the variable nor without, and never to that of another test."""
    one, other = environment(), environment()
    assert one["OKTA_KEYS_STATE"] != other["OKTA_KEYS_STATE"]
    for name in ("OKTA_KEYS_STATE", "XDG_STATE_HOME"):
        assert Path(one[name]).is_relative_to(tempfile.gettempdir())
    assert state_folder(None, one) == Path(one["OKTA_KEYS_STATE"])


async def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    async with site(tmp_path, state=tmp_path / "far" / "away") as where:
        given = tmp_path / "given" / "below"
        assert (await where.run()).code == 0
        assert (await where.run("--state", given)).code == 0
        for folder in (where.state, given):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_without_a_setting_it_is_the_users_state_folder(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        env = where.env | {"OKTA_KEYS_STATE": "", "XDG_STATE_HOME": str(tmp_path / "home")}
        assert (await okta_keys_forked("run", where.plan, env=env, cwd=tmp_path)).code == 0
    assert (tmp_path / "home" / "okta-keys" / FILE_NAME).is_file()


# ---------------------------------------------------------------- one process at a time


def stall(app: str, seconds: float) -> Fault:
    return Fault(kind="stall", on="clone", targets=(app,), seconds=seconds, times=1)


async def test_of_two_that_start_together_one_works(tmp_path: Path) -> None:
    async with site(tmp_path, stall(APPS[0], 600)) as where:
        async with where.starting() as one, where.starting() as other:
            loser = await first_to_end(one, other)
            winner = other if loser is one else one
            refused = await rest_of(loser)
            await until(lambda: where.org.log)
            assert winner.returncode is None
            assert refused.code == 11, refused.err
            assert f"pid: {winner.pid}" in refused.err
            winner.kill()
            await winner.wait()
        begin = time.monotonic()
        after = await where.run()
        assert time.monotonic() - begin < 10, "a dead holder is in nobody's way"
        assert [app for app in APPS[:12] if not where.org.holds(app, KEY)] == []
        assert len([call for call in where.org.log if call.method == "GET"]) == 1
    assert "another run of plan 'finance' on http://127.0.0.1" in refused.err
    assert f"host: {socket.gethostname()}" in refused.err
    assert f"since: {time.gmtime().tm_year}-" in refused.err
    assert f"command: okta-keys run {where.plan}" in refused.err
    assert f"ps -p {winner.pid}" in refused.err
    assert after.code == 0, after.err


async def first_to_end(*processes: Process) -> Process:
    """Wait until one of the processes has ended, and return it."""
    ended: list[Process] = []

    async def watch(process: Process) -> None:
        await process.wait()
        ended.append(process)
        group.cancel_scope.cancel()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for process in processes:
                group.start_soon(watch, process)
    return ended[0]


async def test_one_may_wait_for_the_other(tmp_path: Path) -> None:
    async with (
        site(tmp_path, stall(APPS[0], 1.5)) as where,
        where.starting() as first,
    ):
        await until(lambda: where.org.log)
        waited = await where.run("--lock-timeout", "30")
        ended = await rest_of(first)
        assert where.clones()[APPS[1]] == 1
    assert ended.code == 0, ended.err
    assert waited.code == 0, waited.err
    assert "nothing to do: all 12 targets hold the key" in waited.err


def has_open(process: Process, path: Path) -> bool:
    """Say whether a process has a file open."""
    with suppress(FileNotFoundError):  # a file that it closes meanwhile
        return any(
            handle.readlink() == path for handle in Path(f"/proc/{process.pid}/fd").iterdir()
        )
    return False


@needs_proc
async def test_who_waits_for_another_can_be_interrupted(tmp_path: Path) -> None:
    async with (
        site(tmp_path, stall(APPS[0], 600)) as where,
        where.starting() as first,
    ):
        await until(lambda: where.org.log)
        async with where.starting("--lock-timeout", "7") as second:
            await until(lambda: has_open(second, where.state_file))
            await anyio.sleep(0.3)  # the lock comes next, and nothing tells of it
            second.send_signal(signal.SIGINT)
            begin = time.monotonic()
            ended = await rest_of(second)
            assert time.monotonic() - begin < 3
        assert first.returncode is None
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err


# ---------------------------------------------------------------- no call without a journal


def as_text(path: Path) -> None:
    path.write_text("my shopping list\n" * 100)


def as_nothing(path: Path) -> None:
    path.touch()


def as_folder(path: Path) -> None:
    path.mkdir()


def real_one(path: Path) -> None:
    with Store.open(path, clock=SystemClock()) as store:
        create(store, 500)


def cut_off(path: Path) -> None:
    real_one(path)
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    real_one(path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 20_000)


def newer(path: Path) -> None:
    real_one(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (as_text, "not a state file of okta-keys"),
        (as_nothing, "the state file is damaged"),
        (as_folder, "a folder stands where the state file should be"),
        (cut_off, "damaged"),
        (overwritten, "damaged"),
        (newer, "newer okta-keys (schema 99"),
        (of_another_program, "the database of another program"),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)
async def test_a_state_file_that_cannot_be_used(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    async with site(tmp_path) as where:
        where.state.mkdir()
        make(where.state_file)
        before = where.state_file.stat()
        ended = await where.run()
        assert where.org.log == []
        assert where.state_file.stat().st_size == before.st_size, "it is left as it is"
    assert_refused(ended.code, ended.err, said, where)
    assert not where.reports.exists()


def assert_refused(code: int, text: str, said: str, where: Site) -> None:
    """The message says what is wrong, with what, and what to do; it asks for nothing else."""
    assert code == 4, text
    assert said in text
    assert str(where.state) in text
    assert "hint: " in text


async def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    async with site(tmp_path) as where:
        ended = await where.run()
        assert where.org.log == []
    assert_refused(ended.code, ended.err, "a file stands where", where)
    assert (tmp_path / "state").read_text() == "mine"


@needs_setpriv
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o400], ids=oct)
async def test_a_state_file_of_another_user(mode: int, tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        where.state.mkdir()
        real_one(where.state_file)
        os.chown(where.state_file, 65534, 65534)
        where.state_file.chmod(mode)
        ended = await where.run(through=WITHOUT_PRIVILEGE)
        assert where.org.log == []
    assert_refused(ended.code, ended.err, "", where)


@needs_setpriv
async def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    async with site(tmp_path) as where:
        where.state.mkdir(mode=0o500)
        ended = await where.run(through=WITHOUT_PRIVILEGE)
        assert where.org.log == []
    assert_refused(ended.code, ended.err, "may not be used by this user", where)


@needs_mount
@pytest.mark.parametrize(
    ("is_new", "said"),
    [(True, "the disk is read-only"), (False, "the state file")],
    ids=["new", "used before"],
)
async def test_a_read_only_disk(is_new: bool, said: str, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        async with site(tmp_path, state=folder) as where:
            if not is_new:
                real_one(where.state_file)
            make_read_only(folder)
            ended = await where.run()
            assert where.org.log == []
        assert_refused(ended.code, ended.err, said, where)


@needs_mount
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "used before"])
async def test_a_disk_that_is_full_from_the_beginning(is_new: bool, tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        async with site(tmp_path, state=folder) as where:
            if not is_new:
                real_one(where.state_file)
            ballast = fill(folder)
            ended = await where.run()
            assert where.org.log == []
            assert_refused(ended.code, ended.err, "the disk is full", where)
            ballast.unlink()
            assert (await where.run()).code == 0, "and nothing is left in the way"


@needs_mount
async def test_a_disk_that_is_full_when_a_run_is_created(tmp_path: Path) -> None:
    """There is room for the program's own files, but not for the targets of the plan."""
    many = [f"0oa8ae3p{number:012d}" for number in range(4000)]
    with disk(tmp_path / "disk") as folder:
        async with site(tmp_path, state=folder) as where:
            real_one(where.state_file)
            where.write_plan(many)
            fill(folder, leave=150_000)
            ended = await where.run()
            assert where.org.log == []
        assert_refused(ended.code, ended.err, "the disk is full", where)


@needs_mount
async def test_a_disk_that_fills_up_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as folder:
        async with site(tmp_path, state=folder) as where:
            where.write_plan(limits="{workers: 1, max_targets: 2}")
            await where.run()
            where.write_plan(APPS)
            ballast = fill(folder, leave=140_000)
            ended = await where.run()
            report, called = where.report(), where.clones()
            ballast.unlink()
            settled = recorded(where.state_file)
            again = await where.run()
            assert [app for app in APPS if not where.org.holds(app, KEY)] == []
            assert all(where.clones()[app] == 1 for app in settled)
    assert ended.code == 1, ended.err
    assert "the disk is full" in ended.err
    assert "free some space" in ended.err
    assert 2 < len(settled) < len(APPS), "the disk is to fill up in the middle"
    assert len(called) <= len(settled) + 1, "only the call in flight is not in the journal"
    assert report["stop"]["cause"] == "journal"
    held = {row["app_id"] for row in report["targets"] if row["status"] == "cloned"}
    assert held == set(called), "the report knows of what the journal could not take"
    assert again.code == 0, again.err


def recorded(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT app FROM targets WHERE status = 'cloned'").fetchall()
    return [row[0] for row in rows]
