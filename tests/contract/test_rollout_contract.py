"""What every store must remember of waves, acknowledgements and activations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from orchestrator.errors import ExitCode, StateError
from orchestrator.model import (
    NEW_KID,
    ActivationState,
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.store.base import Archive, EventKind, RunState, StopRecord, WaveCounts
from orchestrator.store.sqlite import Store
from tests.contract.stores import (
    CERTIFICATE,
    KEY,
    RUN,
    SESSION,
    activation,
    assert_whole,
    create,
    job,
    new_run,
    outcome,
    target,
    targets,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def waves_told(archive: Archive, run_id: str = RUN) -> list[int | None]:
    return [each.wave for each in archive.targets(run_id)]


async def assign(store: Store, waves: Sequence[tuple[int, int]]) -> None:
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, waves)


async def test_targets_go_into_waves_in_plan_order(store: Store, archive: Archive) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(6, 0), *targets(2, 1)], SESSION)
    gone = [(0, target(number).app) for number in (1, 4)]
    store.change_plan(RUN, plan_digest="d", removed=gone, targets=[(0, target(9))])
    assert waves_told(archive) == [None] * 7
    await assign(store, [(1, 1), (2, 2), (3, 2)])
    assert waves_told(archive) == [1, 2, 2, 3, 3, None, None]
    (event,) = archive.events(RUN, kind=EventKind.WAVES_ASSIGNED)
    assert event.body == {"job": 0, "waves": [[1, 1], [2, 2], [3, 2]]}
    store.change_plan(RUN, plan_digest="e", targets=[(0, target(7))])
    assert waves_told(archive) == [1, 2, 2, 3, 3, None, None, None]
    assert [counts.targets for counts in archive.waves(RUN, 0)] == [1, 2, 2]
    assert archive.waves(RUN, 1) == []
    assert_whole(archive)


async def test_waves_can_be_assigned_anew(store: Store, archive: Archive) -> None:
    create(store, 5)
    await assign(store, [(1, 5)])
    await assign(store, [(2, 1), (4, 2), (2, 2)])
    assert waves_told(archive) == [2, 4, 4, 2, 2]
    assert [(counts.wave, counts.targets) for counts in archive.waves(RUN, 0)] == [(2, 3), (4, 2)]
    assert_whole(archive)


async def test_there_may_be_as_many_waves_as_targets(store: Store, archive: Archive) -> None:
    create(store, 1203)
    await assign(store, [(wave, 1) for wave in range(1, 1204)])
    assert waves_told(archive) == list(range(1, 1204))
    assert_whole(archive)


async def test_how_many_targets_each_wave_has(store: Store) -> None:
    create(store, 5)
    async with store.journal(RUN) as journal:
        assert journal.wave_sizes(0) == {None: 5}
        await journal.assign_waves(0, [(1, 1), (2, 3), (2, 1)])
        assert journal.wave_sizes(0) == {1: 1, 2: 4}
    store.change_plan(RUN, plan_digest="d", targets=[(0, target(9))])
    async with store.journal(RUN) as journal:
        assert journal.wave_sizes(0) == {1: 1, 2: 4, None: 1}
        assert journal.wave_sizes(9) == {}


async def test_a_job_without_targets_has_no_waves(store: Store, archive: Archive) -> None:
    create(store, 0)
    await assign(store, [])
    assert archive.waves(RUN, 0) == []
    assert_whole(archive)


@pytest.mark.parametrize("waves", [[], [(1, 2)], [(1, 1), (2, 1)], [(1, 4)], [(1, 3), (2, 1)]])
async def test_waves_name_every_target_once(
    store: Store, archive: Archive, waves: list[tuple[int, int]]
) -> None:
    create(store, 3)
    with pytest.raises(StateError, match="waves_assigned"):
        await assign(store, waves)
    assert waves_told(archive) == [None, None, None]
    assert_whole(archive)


@pytest.mark.parametrize("waves", [[(0, 3)], [(1, 3), (2, 0)], [(1, 4), (2, -1)]])
async def test_what_are_no_waves_harms_nothing(
    store: Store, archive: Archive, waves: list[tuple[int, int]]
) -> None:
    create(store, 3)
    async with store.journal(RUN) as journal:
        with pytest.raises(ValueError, match="waves"):
            await journal.assign_waves(0, waves)
        await journal.assign_waves(0, [(1, 3)])
    assert_whole(archive)


async def test_an_activation_comes_back_as_it_went_in_and_the_last_counts(
    store: Store, archive: Archive
) -> None:
    create(store, 2)
    intended = activation(target(1), ActivationState.INTENDED)
    verified = replace(activation(target(1), ActivationState.VERIFIED), problem="odd")
    async with store.journal(RUN) as journal:
        await journal.settle(outcome(target(1)))
        for noted in (intended, verified):
            await journal.note_activation(noted)
            assert [each.activation for each in archive.targets(RUN)] == [None, noted]
    assert len(list(archive.events(RUN, kind=EventKind.ACTIVATION_NOTED))) == 2
    assert_whole(archive)


async def test_an_activation_of_a_stranger_is_refused(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        with pytest.raises(StateError, match="activation_noted"):
            await journal.note_activation(activation(Target(job="job-0", app=AppId("0oaStranger"))))
    assert list(archive.events(RUN, kind=EventKind.ACTIVATION_NOTED)) == []
    assert_whole(archive)


def counts_of(waves: list[WaveCounts]) -> WaveCounts:
    (counts,) = waves
    return counts


async def test_how_a_wave_stands(store: Store, archive: Archive) -> None:
    create(store, 12)
    states = [None, *ActivationState]
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 12)])
        empty = counts_of(journal.waves(0))
        assert (empty.targets, empty.pending, empty.failed) == (12, 12, 0)
        assert (empty.staged_at, empty.ended_at) == (None, None)
        assert empty.activations == dict.fromkeys(states, 0)
        for number, state in enumerate(states):
            settled = replace(outcome(target(number)), settled_at=NOON + timedelta(minutes=number))
            await journal.settle(settled)
            if state is not None:
                at = NOON + timedelta(hours=number)
                await journal.note_activation(activation(target(number), state, at=at))
        await journal.settle(outcome(target(9), Status.FAILED))
        await journal.settle(outcome(target(10), Status.SKIPPED))
        counts = counts_of(journal.waves(0))
    assert counts == counts_of(archive.waves(RUN, 0))
    assert (counts.wave, counts.targets, counts.pending, counts.failed) == (1, 12, 3, 2)
    assert counts.activations == dict.fromkeys(states, 1)
    assert counts.unacknowledged == 3  # not begun, intended, failed
    assert counts.unretryable == 1
    assert counts.staged_at == NOON + timedelta(minutes=8)
    assert counts.ended_at == NOON + timedelta(hours=8)
    assert_whole(archive)


async def test_what_is_counted_changes_with_the_targets(store: Store, archive: Archive) -> None:
    create(store, 2)
    failed = activation(target(0), ActivationState.FAILED, retryable=True)
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 2)])
        await journal.settle(outcome(target(0)))
        await journal.note_activation(failed)
        counts = counts_of(journal.waves(0))
        assert (counts.unacknowledged, counts.unretryable, counts.pending) == (1, 0, 1)
        await journal.note_activation(replace(failed, retryable=False))
        assert counts_of(journal.waves(0)).unretryable == 1
        await journal.acknowledge([(0, target(0).app)], "ann")
        assert counts_of(journal.waves(0)).unacknowledged == 0
        await journal.settle(outcome(target(0), Status.FAILED))  # it was read anew: the key is gone
        counts = counts_of(journal.waves(0))
        assert (counts.pending, counts.failed, counts.staged_at) == (2, 1, None)
        assert counts.activations[ActivationState.FAILED] == 0  # of the staged
        assert counts.unretryable == 0
    assert_whole(archive)


async def test_the_planned_of_a_dry_run_have_not_failed(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 1)])
        await journal.settle(outcome(target(0), Status.PLANNED))
        await journal.note_activation(activation(target(0), ActivationState.PLANNED))
        counts = counts_of(journal.waves(0))
    assert (counts.pending, counts.failed, counts.unacknowledged) == (1, 0, 0)
    assert_whole(archive)


async def test_the_last_of_times_in_different_forms(store: Store) -> None:
    create(store, 3)
    times = [
        NOON,
        NOON + timedelta(microseconds=5),
        NOON.astimezone(timezone(timedelta(hours=9))),
    ]
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 3)])
        for number, at in enumerate(times):
            await journal.settle(replace(outcome(target(number)), settled_at=at))
            await journal.note_activation(activation(target(number), at=at))
        counts = counts_of(journal.waves(0))
    assert counts.staged_at == counts.ended_at == NOON + timedelta(microseconds=5)


async def test_what_may_be_activated_comes_in_order_while_it_is(
    store: Store, archive: Archive
) -> None:
    create(store, 1300)
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 50), (2, 1203), (3, 47)])
        await asyncio.gather(
            *(journal.settle(outcome(target(n))) for n in range(1300) if n not in (60, 61))
        )
        await journal.settle(outcome(target(61), Status.FAILED))
        seen = []
        async with anyio.create_task_group() as group:
            async for each in journal.activatable(0, 2):
                seen.append(each)
                group.start_soon(journal.note_activation, activation(each.target))
        left = [n for n in range(50, 1253) if n not in (60, 61)]
        assert [each.target for each in seen] == [target(n) for n in left]
        assert {each.wave for each in seen} == {2}
        assert all(each.outcome and each.activation is None for each in seen)
        assert [each async for each in journal.activatable(0, 2)] == []
        assert [each async for each in journal.activatable(0, 9)] == []
        assert len([each async for each in journal.activatable(0, 3)]) == 47
    assert_whole(archive)


async def test_what_is_staged_comes_in_order(store: Store) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(1203, 0), *targets(2, 1)], SESSION)
    settled = [outcome(target(n), Status.CLONED) for n in range(1203)]
    settled[7] = outcome(target(7), Status.ALREADY_PRESENT)
    settled[8] = outcome(target(8), Status.FAILED)
    async with store.journal(RUN) as journal:
        await asyncio.gather(*map(journal.settle, settled[:-1]))
        await journal.settle(outcome(target(1, 1)))
        assert [each async for each in journal.staged(0)] == settled[:8] + settled[9:-1]
        assert [each.target async for each in journal.staged(1)] == [target(1, 1)]


@pytest.mark.parametrize("state", ActivationState)
async def test_what_was_begun_or_failed_may_be_activated_again(
    store: Store, state: ActivationState
) -> None:
    create(store, 1)
    noted = activation(target(0), state)
    async with store.journal(RUN) as journal:
        await journal.assign_waves(0, [(1, 1)])
        await journal.settle(outcome(target(0)))
        await journal.note_activation(noted)
        found = [each.activation async for each in journal.activatable(0, 1)]
    again = state in (ActivationState.INTENDED, ActivationState.FAILED)
    assert found == ([noted] if again else [])


async def test_a_target_whose_activation_was_begun_stays(store: Store, archive: Archive) -> None:
    create(store, 3)
    async with store.journal(RUN) as journal:
        await journal.note_activation(activation(target(0), ActivationState.INTENDED))
        await journal.settle(outcome(target(1), Status.FAILED))
    gone = [(0, target(number).app) for number in range(3)]
    store.change_plan(RUN, plan_digest="d", removed=gone)
    assert [each.target for each in archive.targets(RUN)] == [target(0)]
    assert_whole(archive)


async def test_the_run_itself_acknowledges(store: Store, archive: Archive) -> None:
    store.create_run(new_run(), [job(0), job(1)], [*targets(601, 0), *targets(1, 1)], SESSION)
    ready = [(0, target(number).app) for number in range(600)]
    async with store.journal(RUN) as journal:
        await journal.acknowledge(ready, "hook \ud800")
        await journal.acknowledge([(0, target(0).app), (1, target(0, 1).app)], "ann")
        await journal.acknowledge([], "nobody")
    told = [each.is_acknowledged for each in archive.targets(RUN)]
    assert told == [True] * 600 + [False, True]
    bodies = [event.body for event in archive.events(RUN, kind=EventKind.TARGETS_ACKNOWLEDGED)]
    assert [body["by"] for body in bodies] == ["hook \ud800", "hook \ud800", "ann"]
    assert bodies[-1]["targets"] == [[0, target(0).app], [1, target(0, 1).app]]
    assert_whole(archive)


async def test_the_run_cannot_acknowledge_a_stranger(store: Store, archive: Archive) -> None:
    create(store, 1)
    async with store.journal(RUN) as journal:
        with pytest.raises(StateError, match="targets_acknowledged"):
            await journal.acknowledge([(0, target(0).app), (0, AppId("0oaStranger"))], "ann")
    assert [each.is_acknowledged for each in archive.targets(RUN)] == [False]
    assert_whole(archive)


async def test_a_key_that_was_made_replaces_that_of_the_job(store: Store, archive: Archive) -> None:
    asked = CsrRequest(common_name="sso.acme.test", dns_names=("sso.acme.test",))
    wanted = KeySpec(kind=KeyKind.CSR, validity_years=3, csr=asked)
    new = KeyRef(app=KEY.app, kid=NEW_KID, resource=Resource.IDP)
    made = replace(new, kid=Kid("kid-made"))
    store.create_run(new_run(), [replace(job(), key=new, wanted=wanted)], [], SESSION)
    certificate = replace(CERTIFICATE, x5c="MIIB")
    async with store.journal(RUN) as journal:
        await journal.note_source(0, certificate, None, key=made)
        (known,) = archive.jobs(RUN)
        assert (known.key, known.certificate, known.wanted) == (made, certificate, wanted)
        await journal.note_source(0, None, "gone")
    (known,) = archive.jobs(RUN)
    assert (known.key, known.certificate, known.problem) == (made, None, "gone")
    assert_whole(archive)
    async with store.journal(RUN) as journal:
        await journal.note_source(0, certificate, None)
    assert archive.jobs(RUN)[0].key == made
    assert_whole(archive)


def test_a_run_knows_where_its_plan_is(store: Store, archive: Archive) -> None:
    plan_file = "/plans/\udcff/finance.yaml"  # a name that is no UTF-8
    store.create_run(replace(new_run(), plan_file=plan_file), [job()], targets(1), SESSION)
    create(store, 1, "other")
    assert archive.plan_file(RUN) == plan_file
    assert archive.plan_file("latest") == ""
    assert_whole(archive)


async def test_a_session_may_end_to_wait(store: Store, archive: Archive) -> None:
    create(store, 1)
    stop = StopRecord(cause=StopCause.WAITING, detail="wave 2 of finance waits for approval")
    async with store.journal(RUN) as journal:
        await journal.end_session(RunState.STOPPED, stop=stop, exit_code=ExitCode.UNFINISHED)
    assert archive.run(RUN).stop == stop
    assert_whole(archive)


def test_runs_do_not_mix(store: Store, archive: Archive) -> None:
    for run_id in ("a", "b"):
        create(store, 2, run_id)

    async def roll_out() -> None:
        async with store.journal(RunId("a")) as journal:
            await journal.assign_waves(0, [(1, 2)])
            await journal.settle(outcome(target(0)))
            await journal.note_activation(activation(target(0)))
            await journal.acknowledge([(0, target(1).app)], "ann")

    asyncio.run(roll_out())
    assert archive.waves("b", 0) == []
    assert {each.activation for each in archive.targets("b")} == {None}
    assert not any(each.is_acknowledged for each in archive.targets("b"))
    assert_whole(archive, "a")
    assert_whole(archive, "b")
