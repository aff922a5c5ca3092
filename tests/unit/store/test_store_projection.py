"""The tables say what the events say: after anything the store does, and in every column."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.clock import SystemClock
from orchestrator.model import ActivationState, Status
from orchestrator.store.base import Journal, RunState, TargetRecord, WaveCounts
from orchestrator.store.sqlite import Store
from tests.contract.records import TEXT
from tests.contract.stores import (
    RUN,
    SESSION,
    activation,
    create,
    outcome,
    target,
    targets,
    written,
)


def columns_of(table: str) -> list[str]:
    with Store.memory(clock=SystemClock()) as store:
        return [str(row[1]) for row in store.writer.execute(f"PRAGMA table_info({table})")]


# All there are, so that a new one cannot be forgotten. The run's number is the store's alone.
COLUMNS = [
    (table, column)
    for table in ("jobs", "targets")
    for column in columns_of(table)
    if column != "run"
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_column_is_held_against_the_events(table: str, column: str) -> None:
    filled = f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1"  # noqa: S608
    change = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608
    with written() as store:
        for pragma in ("foreign_keys = OFF", "ignore_check_constraints = ON"):
            store.writer.execute(f"PRAGMA {pragma}")
        ((value,),) = store.writer.execute(filled)
        store.writer.execute(change, (77 if isinstance(value, int) else "finished", value))
        found = store.archive.verify(RUN)
    assert not found.ok
    assert found.problem


# Any sequence of what the store can do leaves the tables as the events say.

APPS = st.integers(0, 7)
STEPS = st.one_of(
    st.tuples(st.just("settle"), APPS, st.sampled_from([Status.CLONED, Status.FAILED])),
    st.tuples(st.just("resume")),
    st.tuples(st.just("add"), st.integers(8, 11)),
    st.tuples(st.just("remove"), st.integers(0, 11)),
    st.tuples(st.just("note"), TEXT),
    st.tuples(st.just("waves"), st.integers(1, 9)),
    st.tuples(st.just("ack"), APPS, st.booleans()),
    st.tuples(st.just("activate"), APPS, st.sampled_from(ActivationState), st.booleans()),
    st.tuples(st.just("end"), st.sampled_from(RunState)),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(STEPS, max_size=16))
def test_the_tables_always_say_what_the_events_say(steps: list[tuple[object, ...]]) -> None:
    with Store.memory(clock=SystemClock()) as store:
        create(store, 8)
        expected: Model = {each.app: Known() for _, each in targets(8)}
        for step in steps:
            asyncio.run(take(store, step, expected))
        told = {str(each.target.app): known(each) for each in store.archive.targets(RUN)}
        assert told == expected
        assert list(told) == list(expected)  # in order of being added
        assert store.archive.verify(RUN).problem is None
        assert store.archive.waves(RUN, 0) == counted(list(store.archive.targets(RUN)))


class Known(NamedTuple):
    """What there is to know of a target, but for evidence and times."""

    status: Status | None = None
    wave: int | None = None
    is_acknowledged: bool = False
    activation: ActivationState | None = None


Model = dict[str, Known]


def known(told: TargetRecord) -> Known:
    return Known(
        told.outcome.status if told.outcome else None,
        told.wave,
        told.is_acknowledged,
        told.activation.state if told.activation else None,
    )


async def take(store: Store, step: tuple[object, ...], expected: Model) -> None:
    """Do one step to the store and to the model of it."""
    match step:
        case ("resume",):
            store.begin_session(RUN, SESSION)
        case ("add", int(number)) if target(number).app not in expected:
            store.change_plan(RUN, plan_digest=f"+{number}", targets=[(0, target(number))])
            expected[target(number).app] = Known()
        case ("remove", int(number)):
            gone = target(number).app
            store.change_plan(RUN, plan_digest=f"-{number}", removed=[(0, gone)])
            found = expected.get(gone, Known())
            if found.status in (None, Status.FAILED, Status.SKIPPED) and not found.activation:
                expected.pop(gone, None)
        case ("ack", int(number), False) if target(number).app in expected:
            store.acknowledge(RUN, [(0, target(number).app)], "ann")
            learn(expected, number, is_acknowledged=True)
        case _:
            async with store.journal(RUN) as journal:
                await write(journal, step, expected)


async def write(journal: Journal, step: tuple[object, ...], expected: Model) -> None:
    match step:
        case ("settle", int(number), Status() as status) if target(number).app in expected:
            await journal.settle(outcome(target(number), status))
            learn(expected, number, status=status)
        case ("note", str(text)):
            await journal.note("note", {"text": text})
        case ("end", RunState() as state):
            await journal.end_session(state, stop=None, exit_code=0)
        case ("waves", int(size)):
            waves = [number // size + 1 for number in range(len(expected))]
            await journal.assign_waves(0, list(Counter(waves).items()))
            for each, wave in zip(expected, waves, strict=True):
                expected[each] = expected[each]._replace(wave=wave)
        case ("ack", int(number), True) if target(number).app in expected:
            await journal.acknowledge([(0, target(number).app)], "hook")
            learn(expected, number, is_acknowledged=True)
        case ("activate", int(number), ActivationState() as state, bool(retryable)) if (
            target(number).app in expected
        ):
            await journal.note_activation(activation(target(number), state, retryable=retryable))
            learn(expected, number, activation=state)


def learn(expected: Model, number: int, **news: Any) -> None:
    app = target(number).app
    expected[app] = expected[app]._replace(**news)


def counted(told: list[TargetRecord]) -> list[WaveCounts]:
    """Count the waves of one job by hand."""
    return [
        count_of(wave, [each for each in told if each.wave == wave])
        for wave in sorted({each.wave for each in told if each.wave})
    ]


def count_of(wave: int, told: list[TargetRecord]) -> WaveCounts:
    staged = [each for each in told if each.outcome and each.outcome.status.is_staged]
    states = Counter(each.activation and each.activation.state for each in staged)
    begun = [each.activation for each in told if each.activation]
    open_states = (None, ActivationState.INTENDED, ActivationState.FAILED)
    return WaveCounts(
        wave=wave,
        targets=len(told),
        pending=len(told) - len(staged),
        failed=sum(each.outcome is not None and each not in staged for each in told),
        unacknowledged=sum(
            not each.is_acknowledged and known(each).activation in open_states for each in staged
        ),
        activations={state: states[state] for state in (None, *ActivationState)},
        unretryable=sum(
            each.activation is not None
            and each.activation.state is ActivationState.FAILED
            and not each.activation.retryable
            for each in staged
        ),
        staged_at=newest(each.outcome.settled_at for each in staged if each.outcome),
        ended_at=newest(each.at for each in begun),
    )


def newest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time), default=None)
