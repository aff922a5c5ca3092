"""What people add to a run's history while somebody else executes it."""

from __future__ import annotations

import pytest

from orchestrator.errors import ExitCode, StateError, StateUnusable, UsageError
from orchestrator.model import AppId, RunId, Status
from orchestrator.store.base import WAVE_APPROVED, Archive, EventKind
from orchestrator.store.sqlite import Store
from tests.contract.stores import (
    RUN,
    SESSION,
    assert_whole,
    create,
    job,
    new_run,
    outcome,
    settled_apps,
    target,
    targets,
)


def acknowledged(archive: Archive) -> list[bool]:
    return [each.is_acknowledged for each in archive.targets(RUN)]


def test_people_acknowledge_targets(store: Store, archive: Archive) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(2, 0), *targets(2, 1)], SESSION)
    ready = [(0, target(1).app), (1, target(0, 1).app), (0, target(1).app)]
    assert store.acknowledge(RUN, ready, "ann") == 2
    assert acknowledged(archive) == [False, True, True, False]
    (event,) = archive.events(RUN, kind=EventKind.TARGETS_ACKNOWLEDGED)
    assert event.body == {"by": "ann", "targets": [list(pair) for pair in ready[:2]]}
    assert_whole(archive)


def test_acknowledging_twice_changes_nothing(store: Store, archive: Archive) -> None:
    create(store, 3)
    assert store.acknowledge(RUN, [(0, target(0).app)], "ann") == 1
    before = archive.run(RUN)
    assert store.acknowledge(RUN, [(0, target(0).app)], "bob") == 0
    assert archive.run(RUN) == before
    both = [(0, target(0).app), (0, target(2).app)]
    assert store.acknowledge(RUN, iter(both), "bob") == 1
    bodies = [event.body for event in archive.events(RUN, kind=EventKind.TARGETS_ACKNOWLEDGED)]
    assert bodies[1:] == [{"by": "bob", "targets": [[0, target(2).app]]}]
    assert_whole(archive)


def test_many_are_acknowledged_at_once(store: Store, archive: Archive) -> None:
    create(store, 1201)
    assert store.acknowledge(RUN, [(0, each.app) for _, each in targets(1201)], "ann") == 1201
    assert all(acknowledged(archive))
    assert len(list(archive.events(RUN, kind=EventKind.TARGETS_ACKNOWLEDGED))) == 3
    assert_whole(archive)


def test_what_the_run_does_not_have_is_named_and_nothing_is_acknowledged(
    store: Store, archive: Archive
) -> None:
    create(store, 1)
    strangers = [(0, AppId(name)) for name in ("one", "two\udcff", "three", "four", "five")]
    with pytest.raises(UsageError) as caught:
        store.acknowledge(RUN, [(0, target(0).app), *strangers], "ann")
    assert r"'one', 'two\udcff', 'three' and 2 more" in caught.value.message
    assert caught.value.exit_code is ExitCode.INVALID
    assert RUN in (caught.value.hint or "")
    with pytest.raises(UsageError, match=r"no target '0oa000000'$"):
        store.acknowledge(RUN, [(1, target(0).app)], "ann")
    assert acknowledged(archive) == [False]
    assert archive.run(RUN).events == 3
    assert_whole(archive)


def test_people_need_the_whole_id_of_a_run(store: Store) -> None:
    create(store, 1)
    with pytest.raises(StateUnusable):
        store.acknowledge(RunId(RUN[:6]), [], "ann")
    with pytest.raises(StateUnusable):
        store.note(RunId("latest"), WAVE_APPROVED, {})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("intent", {}),
        ("target_settled", {}),
        ("targets_acknowledged", {}),
        (WAVE_APPROVED, {"wave": float("nan")}),
    ],
)
def test_people_note_only_what_a_run_stands(
    store: Store, archive: Archive, kind: str, body: dict[str, object]
) -> None:
    create(store, 1)
    with pytest.raises(ValueError, match=r"for people|store alone|JSON compliant"):
        store.note(RUN, kind, body)
    assert archive.run(RUN).events == 3


async def test_a_run_goes_on_behind_what_people_add(store: Store, archive: Archive) -> None:
    create(store, 3)
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 3)])
        await journal.settle(outcome(target(0)))
        assert [counts.unacknowledged for counts in journal.waves(0)] == [1]
        assert store.acknowledge(RUN, [(0, target(0).app)], "ann") == 1
        assert [counts.unacknowledged for counts in journal.waves(0)] == [0]
        assert [each.is_acknowledged async for each in journal.activatable(0, 1)] == [True]
        store.note(RUN, WAVE_APPROVED, {"by": "bob", "wave": 1})
        store.note(RUN, WAVE_APPROVED, {"by": "bob", "wave": 2})
        await journal.settle(outcome(target(1)))
        assert journal.record == archive.run(RUN)
        store.acknowledge(RUN, [(0, target(1).app)], "ann")
    store.acknowledge(RUN, [(0, target(2).app)], "ann")
    assert [event.body["wave"] for event in archive.events(RUN, kind=WAVE_APPROVED)] == [1, 2]
    assert len(settled_apps(archive)) == 2
    assert_whole(archive)


async def test_what_people_add_before_the_first_write_is_no_intrusion(
    store: Store, archive: Archive
) -> None:
    create(store, 600)
    async with store.journal(RUN) as journal:
        store.acknowledge(RUN, [(0, each.app) for _, each in targets(600)], "ann")
        await journal.settle(outcome(target(1)))
    assert_whole(archive)


async def test_an_executor_between_people_is_still_an_intrusion(
    store: Store, archive: Archive
) -> None:
    create(store, 3)
    async with store.journal(RUN) as first, store.journal(RUN) as second:
        store.acknowledge(RUN, [(0, target(0).app)], "ann")
        await first.settle(outcome(target(0)))
        store.note(RUN, WAVE_APPROVED, {"wave": 1})
        with pytest.raises(StateError, match="another process"):
            await second.settle(outcome(target(1), Status.FAILED))
        await first.settle(outcome(target(2)))
    assert settled_apps(archive) == [target(0).app, target(2).app]
    assert_whole(archive)


async def test_a_session_that_begins_meanwhile_is_an_intrusion(
    store: Store, archive: Archive
) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        store.begin_session(RUN, SESSION)
        with pytest.raises(StateError, match="another process"):
            await journal.settle(outcome(target(0)))
    assert_whole(archive)


async def test_a_forged_event_of_people_is_not_gone_behind(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        await journal.note("hello", {})
        with store.writer.transaction() as connection:
            connection.execute(
                "INSERT INTO events SELECT run, 5, at, ?, '{}', hash FROM events WHERE seq = 4",
                (WAVE_APPROVED,),
            )
            connection.execute("UPDATE runs SET events = 5")
        with pytest.raises(StateError, match="another process"):
            await journal.settle(outcome(target(0)))
    assert not archive.verify(RUN).ok


async def test_an_end_without_its_events_is_not_gone_behind(store: Store) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        store.note(RUN, WAVE_APPROVED, {})
        store.writer.execute("UPDATE runs SET head = zeroblob(32)")
        with pytest.raises(StateError, match="another process"):
            await journal.settle(outcome(target(0)))


async def test_a_run_that_is_forgotten_meanwhile_cannot_be_written(store: Store) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        store.writer.execute("DELETE FROM runs")
        with pytest.raises(StateError, match="another process"):
            await journal.settle(outcome(target(0)))
