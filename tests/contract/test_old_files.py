"""State files of earlier versions are brought up to date, and their runs go on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.model import ActivationState, KeyRef, KeySpec, Kid, Resource, Status
from orchestrator.store.base import JobRecord
from orchestrator.store.opening import migrations
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.contract import schema1
from tests.contract.stores import (
    CERTIFICATE,
    KEY,
    RUN,
    SESSION,
    activation,
    assert_whole,
    outcome,
    target,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / FILE_NAME
    schema1.make(made)
    return made


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path, clock=SystemClock()) as opened:
        yield opened


def version(path: Path) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_it_is_migrated_when_opened_and_only_then(path: Path) -> None:
    assert version(path) == 1
    for _ in range(2):
        Store.open(path, clock=SystemClock()).close()
        assert version(path) == migrations()[-1][0]


@pytest.mark.parametrize("old", range(1, migrations()[-1][0]))
def test_a_file_of_any_version_learns_to_remember_certificates(tmp_path: Path, old: int) -> None:
    path = tmp_path / f"{old}.sqlite3"
    schema1.make_later(path, old)
    assert version(path) == old
    with Store.open(path, clock=SystemClock()) as store:
        assert_whole(store.archive)
        book = store.certificates("00o1")
        assert book.get(KEY.kid) is None
        book.keep({KEY.kid: CERTIFICATE})
        assert book.get(KEY.kid) == CERTIFICATE
    assert version(path) == migrations()[-1][0]


def test_its_runs_can_be_read_and_verified(store: Store) -> None:
    archive = store.archive
    assert_whole(archive)
    assert archive.plan_file(RUN) == ""
    assert archive.jobs(RUN) == (
        JobRecord(
            position=0, name="job-0", key=KEY, certificate=CERTIFICATE, dropped={"duplicate": 2}
        ),
        JobRecord(
            position=1,
            name="job-1",
            key=KEY,
            problem="the org answered with another key",
            dropped={"duplicate": 2},
        ),
    )
    assert archive.jobs(RUN)[0].wanted == KeySpec()
    told = list(archive.targets(RUN))
    statuses = [each.outcome.status if each.outcome else None for each in told]
    assert statuses == [
        Status.CLONED,
        Status.FAILED,
        None,
        Status.ALREADY_PRESENT,
        Status.CLONED,
        None,
    ]
    assert {(each.wave, each.is_acknowledged, each.activation) for each in told} == {
        (None, False, None)
    }
    assert archive.waves(RUN, 0) == []


async def test_its_runs_go_on_to_be_activated(store: Store) -> None:
    store.begin_session(RUN, SESSION)
    key = KeyRef(app=KEY.app, kid=Kid("kid-2"), resource=Resource.IDP)
    async with store.journal(RUN) as journal:
        assert [each async for each in journal.pending(0)] == [target(1), target(2)]
        await journal.settle(outcome(target(1), Status.FAILED))
        await journal.note_source(1, CERTIFICATE, None, key=key)
        await journal.assign_waves(0, [(1, 5)])
        (counts,) = journal.waves(0)
        assert (counts.pending, counts.failed, counts.unacknowledged) == (2, 1, 3)
        assert counts.staged_at == datetime(2026, 11, 23, 4, 8, 1, 600_000, tzinfo=UTC)
        assert store.acknowledge(RUN, [(0, target(0).app)], "ann") == 1
        await journal.note_activation(activation(target(0)))
        assert [each.target.app async for each in journal.activatable(0, 1)] == [
            target(3).app,
            target(4).app,
        ]
        (counts,) = journal.waves(0)
        assert counts.activations[ActivationState.ACTIVATED] == 1
    assert store.archive.jobs(RUN)[1].key == key
    assert_whole(store.archive)


def test_two_processes_open_it_at_once(path: Path) -> None:
    command = [sys.executable, "-m", "tests.contract.child", "acknowledge", str(path)]
    children = [
        subprocess.Popen([*command, str(n), str(n + 1)], cwd=ROOT, stdout=subprocess.PIPE)
        for n in range(3)
    ]
    for child in children:
        child.communicate(timeout=30)
        assert child.returncode == 0
    with Store.open(path, clock=SystemClock()) as store:
        told = [each.is_acknowledged for each in store.archive.targets(RUN)]
        assert told == [True, True, True, False, False, False]
        assert_whole(store.archive)


def test_what_was_damaged_before_is_still_found_out(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER events_are_not_changed")
        connection.execute("UPDATE events SET body = 'no JSON' WHERE seq = 6")
        connection.commit()
    with Store.open(path, clock=SystemClock()) as store:
        found = store.archive.verify(RUN)
    assert (found.ok, found.events) == (False, 5)
