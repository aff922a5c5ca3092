"""What every store must do, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from orchestrator.errors import ExitCode, InputError, StateError, StateUnusable
from orchestrator.model import AppId, RunId, Status, StopCause, Target
from orchestrator.store.base import Archive, EventKind, RunState, StopRecord, TargetRecord
from orchestrator.store.sqlite import Store
from tests.contract.stores import (
    CERTIFICATE,
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

STOP = StopRecord(cause=StopCause.DEADLINE, detail="the deadline has passed \ud800", hint="again")


def test_a_new_run_is_there_with_all_it_was_given(store: Store, archive: Archive) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(3, 1), *targets(2, 0)], SESSION)
    run = archive.run(RUN)
    assert (run.plan, run.org, run.plan_digest) == ("finance", "https://acme.test", "d" * 64)
    assert (run.state, run.sessions, run.stop, run.exit_code) == (RunState.RUNNING, 1, None, None)
    assert run.dry_run is False
    assert archive.jobs(RUN) == (job(0), job(1))
    assert list(archive.targets(RUN)) == [
        *(TargetRecord(job=0, target=target(number, 0)) for number in range(2)),
        *(TargetRecord(job=1, target=target(number, 1)) for number in range(3)),
    ]
    counts = archive.counts(RUN)
    assert (counts.pending, counts.total) == (5, 5)
    assert set(counts.settled) == set(Status)
    assert list(archive.outcomes(RUN)) == []
    assert_whole(archive)


def test_a_run_whose_targets_cannot_be_read_is_not_created(store: Store, archive: Archive) -> None:
    def broken() -> Iterator[tuple[int, Target]]:
        yield from targets(1200)
        raise InputError("targets.csv has changed")

    with pytest.raises(InputError, match="has changed"):
        store.create_run(new_run(), [job()], broken(), SESSION)
    assert archive.runs() == []
    create(store, 1)
    assert_whole(archive)


def test_a_run_has_each_target_once_and_each_id_once(store: Store, archive: Archive) -> None:
    with pytest.raises(StateError):
        store.create_run(new_run(), [job()], [(0, target(1)), (0, target(1))], SESSION)
    create(store, 1)
    with pytest.raises(StateError):
        create(store, 2)
    assert len(archive.runs()) == 1


async def test_outcomes_come_back_as_they_went_in_and_in_plan_order(
    store: Store, archive: Archive
) -> None:
    create(store, 4)
    settled = [outcome(target(n), s) for n, s in ((3, Status.CLONED), (0, Status.FAILED))]
    async with store.journal(RUN) as journal:
        for each in settled:
            await journal.settle(each)
            assert each in list(archive.outcomes(RUN))
    assert list(archive.outcomes(RUN)) == [settled[1], settled[0]]
    told = [found.outcome for found in archive.targets(RUN)]
    assert told == [settled[1], None, None, settled[0]]
    counts = archive.counts(RUN)
    assert (counts.settled[Status.CLONED], counts.settled[Status.FAILED]) == (1, 1)
    assert (counts.pending, counts.total) == (2, 4)
    assert_whole(archive)


async def test_the_last_outcome_of_a_target_counts(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        await journal.settle(outcome(target(0), Status.FAILED))
        await journal.settle(outcome(target(0), Status.CLONED))
    assert [found.status for found in archive.outcomes(RUN)] == [Status.CLONED]
    assert len(list(archive.events(RUN, kind=EventKind.TARGET_SETTLED))) == 2
    assert_whole(archive)


async def test_many_waiters_share_few_commits(store: Store, archive: Archive) -> None:
    create(store, 50)
    async with store.journal(RUN) as journal:
        await asyncio.gather(*(journal.settle(outcome(target(n))) for n in range(50)))
        assert archive.counts(RUN).settled[Status.CLONED] == 50
    commits = {event.at for event in archive.events(RUN, kind=EventKind.TARGET_SETTLED)}
    assert len(commits) <= 3  # a commit has one time for all its events
    assert_whole(archive)


async def test_pending_targets_come_in_order_while_others_are_settled(
    store: Store, archive: Archive
) -> None:
    create(store, 1203)
    async with store.journal(RUN) as journal:
        for number in (0, 499, 500, 777):
            await journal.settle(outcome(target(number)))
        seen = []
        async with anyio.create_task_group() as group:
            async for each in journal.pending(0):
                seen.append(each)
                group.start_soon(journal.settle, outcome(each))
        left = [n for n in range(1203) if n not in (0, 499, 500, 777)]
        assert seen == [target(number) for number in left]
        assert [each async for each in journal.pending(0)] == []
    assert archive.counts(RUN).pending == 0
    assert_whole(archive)


async def test_each_job_has_its_own_pending_targets(store: Store) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(2, 0), *targets(3, 1)], SESSION)
    async with store.journal(RUN) as journal:
        await journal.settle(outcome(target(1, 1)))
        assert [each async for each in journal.pending(0)] == [target(0, 0), target(1, 0)]
        assert [each async for each in journal.pending(1)] == [target(0, 1), target(2, 1)]


async def test_a_cancelled_waiter_does_not_lose_its_outcome(store: Store, archive: Archive) -> None:
    create(store, 2)
    async with store.journal(RUN) as journal:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await journal.settle(outcome(target(0)))
        await journal.settle(outcome(target(1)))
    assert scope.cancelled_caught
    assert settled_apps(archive) == [target(0).app, target(1).app]
    assert_whole(archive)


async def test_leaving_writes_what_was_handed_over(store: Store, archive: Archive) -> None:
    create(store, 20)
    with anyio.CancelScope() as scope:
        async with store.journal(RUN) as journal, anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(journal.settle, outcome(target(number)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            scope.cancel()
    assert archive.counts(RUN).settled[Status.CLONED] == 20
    assert_whole(archive)


async def test_an_exception_leaves_the_journal_as_it_is(store: Store, archive: Archive) -> None:
    create(store, 1)

    async def fail() -> None:
        async with store.journal(RUN) as journal:
            await journal.settle(outcome(target(0)))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()
    assert settled_apps(archive) == [target(0).app]
    assert archive.run(RUN).state is RunState.RUNNING
    assert_whole(archive)


async def test_a_closed_journal_takes_nothing_more(store: Store) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        pass
    with pytest.raises(StateError, match="closed"):
        await journal.settle(outcome(target(0)))


async def test_a_failed_commit_takes_its_neighbours_along_and_ends_the_journal(
    store: Store, archive: Archive
) -> None:
    create(store, 3)
    async with store.journal(RUN) as journal:
        await journal.settle(outcome(target(0)))
        stranger = outcome(Target(job="job-0", app=AppId("0oaStranger")))
        answers = await asyncio.gather(
            journal.settle(outcome(target(1))), journal.settle(stranger), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StateError, StateError]
        with pytest.raises(StateError):
            await journal.settle(outcome(target(2)))
    assert settled_apps(archive) == [target(0).app]
    assert_whole(archive)


async def test_a_second_writer_is_shut_out(store: Store, archive: Archive) -> None:
    create(store, 2)
    async with store.journal(RUN) as first, store.journal(RUN) as second:
        await first.settle(outcome(target(0)))
        with pytest.raises(StateError, match="another process"):
            await second.settle(outcome(target(1)))
    assert settled_apps(archive) == [target(0).app]
    assert_whole(archive)


async def test_notes_are_kept_and_given_back(store: Store, archive: Archive) -> None:
    create(store, 1)
    body = {"kid": "k\ud800", "nested": {"none": None, "list": [1, 2.5, True]}}
    async with store.journal(RUN) as journal:
        await journal.note("intent", body)
        await journal.note("stopping", {})
    (event,) = archive.events(RUN, kind="intent")
    assert event.body == body
    assert [found.seq for found in archive.events(RUN)] == [1, 2, 3, 4, 5]
    assert_whole(archive)


async def test_notes_are_found_among_many_other_events(store: Store, archive: Archive) -> None:
    create(store, 1100)
    async with store.journal(RUN) as journal:
        for number in range(3):
            await journal.note("intent", {"number": number})
            await journal.note(f"intent {number}", {})
            await asyncio.gather(*(journal.settle(outcome(target(n))) for n in range(1100)))
        assert [event.body["number"] for event in journal.notes("intent")] == [0, 1, 2]
        assert list(journal.notes("intent")) == list(archive.events(RUN, kind="intent"))
        assert list(journal.notes("nothing")) == []
        assert len(list(journal.notes(EventKind.TARGET_SETTLED))) == 3300
        kinds = {event.kind for event in archive.events(RUN)}
        told = [event for kind in kinds for event in archive.events(RUN, kind=kind)]
    assert sorted(told, key=lambda event: event.seq) == list(archive.events(RUN))


@pytest.mark.parametrize(
    ("kind", "body"), [("target_settled", {}), ("intent", {"seconds": float("nan")})]
)
async def test_what_is_no_note_is_refused_and_harms_nothing(
    store: Store, archive: Archive, kind: str, body: dict[str, object]
) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        with pytest.raises(ValueError, match=r"store alone|JSON compliant"):
            await journal.note(kind, body)
        await journal.settle(outcome(target(0)))
    assert_whole(archive)


async def test_what_a_source_is_stays_with_its_job(store: Store, archive: Archive) -> None:
    store.create_run(new_run(), [job(0), job(1)], [], SESSION)
    async with store.journal(RUN) as journal:
        await journal.note_source(0, CERTIFICATE, None)
        await journal.note_source(1, None, "the org answered with another key")
    good, bad = archive.jobs(RUN)
    assert (good.certificate, good.problem) == (CERTIFICATE, None)
    assert (bad.certificate, bad.problem) == (None, "the org answered with another key")
    assert_whole(archive)


async def test_a_session_ends_with_its_reason(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        await journal.end_session(RunState.STOPPED, stop=STOP, exit_code=ExitCode.UNFINISHED)
        assert journal.record == archive.run(RUN)
    run = archive.run(RUN)
    assert (run.state, run.stop, run.exit_code) == (RunState.STOPPED, STOP, 7)
    assert_whole(archive)


async def test_a_resume_tries_again_what_did_not_work_out(store: Store, archive: Archive) -> None:
    create(store, 5)
    statuses = (Status.CLONED, Status.FAILED, Status.ALREADY_PRESENT, Status.SKIPPED)
    async with store.journal(RUN) as journal:
        for number, status in enumerate(statuses):
            await journal.settle(outcome(target(number), status))
        await journal.end_session(RunState.STOPPED, stop=STOP, exit_code=7)
    store.begin_session(RUN, SESSION)
    run = archive.run(RUN)
    assert (run.state, run.sessions, run.stop, run.exit_code) == (RunState.RUNNING, 2, None, None)
    async with store.journal(RUN) as journal:
        pending = [each async for each in journal.pending(0)]
        assert pending == [target(1), target(3), target(4)]
        await journal.settle(outcome(target(1), Status.CLONED))
    assert settled_apps(archive) == [target(number).app for number in range(4)]
    assert archive.counts(RUN).settled[Status.SKIPPED] == 1  # what it was, until it is tried
    assert len(list(archive.events(RUN, kind=EventKind.TARGET_SETTLED))) == 5
    assert_whole(archive)


async def test_a_changed_plan_adds_at_the_end_and_removes_what_is_not_staged(
    store: Store, archive: Archive
) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(3, 0), *targets(1, 1)], SESSION)
    async with store.journal(RUN) as journal:
        await journal.settle(outcome(target(1)))
        await journal.settle(outcome(target(0, 1), Status.FAILED))
    gone = [(0, target(1).app), (0, target(2).app), (0, AppId("?")), (1, target(0, 1).app)]
    store.change_plan(RUN, plan_digest="other", removed=gone)
    added = [(0, target(9)), (1, target(8, 1)), (0, target(2)), (2, target(7, 2))]
    store.change_plan(RUN, plan_digest="third", jobs=[job(2)], targets=added)
    assert archive.run(RUN).plan_digest == "third"
    assert [each.name for each in archive.jobs(RUN)] == [job(number).name for number in range(3)]
    assert [(each.job, each.target.app) for each in archive.targets(RUN)] == [
        (0, target(0).app),
        (0, target(1).app),
        (0, target(9).app),
        (0, target(2).app),
        (1, target(8, 1).app),
        (2, target(7, 2).app),
    ]
    assert settled_apps(archive) == [target(1).app]
    assert len(list(archive.events(RUN, kind=EventKind.TARGETS_REMOVED))) == 2
    assert_whole(archive)


def test_targets_of_a_job_that_the_run_does_not_have_are_refused(
    store: Store, archive: Archive
) -> None:
    create(store, 1)
    with pytest.raises(StateError):
        store.change_plan(RUN, plan_digest="d", targets=[(0, target(5)), (7, target(6))])
    assert archive.counts(RUN).total == 1
    assert_whole(archive)


@pytest.mark.parametrize("name", ["", "nothing", "a", "\udcff"])
def test_a_run_that_is_not_there_or_not_the_only_one(
    store: Store, archive: Archive, name: str
) -> None:
    with pytest.raises(StateUnusable, match="no runs yet"):
        archive.run("latest")
    create(store, 0, "abc")
    create(store, 0, "abd")
    with pytest.raises(StateUnusable) as caught:
        archive.run(name)
    assert "abd" in caught.value.diagnostics()


def test_runs_are_found_by_id_beginning_and_age(store: Store, archive: Archive) -> None:
    for run_id in ("ab", "abc", "b%"):
        create(store, 0, run_id)
    store.create_run(new_run("z", plan="other", org="https://other.test"), [], [], SESSION)
    assert [run.run_id for run in archive.runs()] == ["z", "b%", "abc", "ab"]
    assert [run.run_id for run in archive.runs(plan="finance")] == ["b%", "abc", "ab"]
    assert [run.run_id for run in archive.runs(plan="other", org="https://acme.test")] == []
    found = {name: archive.run(name).run_id for name in ("latest", "ab", "abc", "b", "b%")}
    assert found == {"latest": "z", "ab": "ab", "abc": "abc", "b": "b%", "b%": "b%"}
    with pytest.raises(StateUnusable):
        archive.run("%")


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.begin_session(RunId("ab"), SESSION),
        lambda store: store.change_plan(RunId("latest"), plan_digest="d"),
    ],
)
def test_a_run_is_written_to_by_its_whole_id_only(
    store: Store, use: Callable[[Store], object]
) -> None:
    create(store, 0, "abc")
    with pytest.raises(StateUnusable):
        use(store)


def test_old_runs_are_forgotten_unless_kept(store: Store, archive: Archive) -> None:
    for run_id in ("a", "b", "c"):
        create(store, 600, run_id)
    now = datetime.now(UTC)
    assert store.prune(older_than=now - timedelta(days=1), keep=lambda _: False) == []
    later = now + timedelta(days=1)
    assert store.prune(older_than=later, keep=lambda run: run.run_id == "b") == ["c", "a"]
    assert [run.run_id for run in archive.runs()] == ["b"]
    assert_whole(archive, "b")
    create(store, 3, "c")
    assert archive.counts("c").total == 3
    assert_whole(archive, "c")


async def test_reading_goes_on_while_the_run_is_written(store: Store, archive: Archive) -> None:
    create(store, 1100)
    reading = archive.targets(RUN)
    first = next(reading)
    async with store.journal(RUN) as journal:
        await asyncio.gather(*(journal.settle(outcome(target(n))) for n in range(1100)))
        rest = list(reading)
    assert [each.target for each in (first, *rest)] == [target(n) for n in range(1100)]
    assert rest[-1].outcome is not None  # a later page knows more
    assert_whole(archive)


async def test_runs_in_one_store_do_not_mix(store: Store, archive: Archive) -> None:
    create(store, 3, "a")
    create(store, 3, "b")
    async with store.journal(RunId("a")) as one, store.journal(RunId("b")) as other:
        await asyncio.gather(
            *(journal.settle(outcome(target(n))) for n in range(2) for journal in (one, other))
        )
        await other.settle(outcome(target(2)))
    assert (archive.counts("a").pending, archive.counts("b").pending) == (1, 0)
    assert_whole(archive, "a")
    assert_whole(archive, "b")
