"""A rotation, and its way back, are ended at each of their awaits, and while each call hangs."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from signal import SIGINT
from typing import Any

import anyio
import pytest

from orchestrator.cli.closing import conclude
from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.cli.wiring import open_api
from orchestrator.engine.result import ArchivedRecords, exit_code
from orchestrator.engine.rollback import Rollback
from orchestrator.engine.run import Run
from orchestrator.errors import ExitCode
from orchestrator.events import ActivationSettled, Broadcast
from orchestrator.halt import Halt
from orchestrator.model import (
    ActivationState,
    KeyKind,
    KeySpec,
    Kid,
    Verify,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.rollout import Rollout
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.base import RunState, TargetRecord
from tests.crash.awaits import Awaits
from tests.crash.rehearsal import Ending
from tests.crash.rotation_scene import Kind, RotationScene, nth
from tests.crash.wire import Moment, Wire
from tests.engine.rollout_stage import ORG, PLAN, RUN, RolloutStage
from tests.support import QUICK_RETRY

GENERATE = KeySpec(kind=KeyKind.GENERATE, validity_years=3)
EACH = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=3)
SOON = 3.0  # seconds in which an execution must end, whatever hangs
TASKS = ("execute", "worker-", "waves-")
endings = pytest.mark.parametrize("ending", Ending)
CASES = [
    pytest.param(GENERATE, 23, id="some"),
    pytest.param(GENERATE, 1, id="all", marks=pytest.mark.long),
    pytest.param(EACH, 31, id="each-some"),
    pytest.param(EACH, 2, id="each-many", marks=pytest.mark.long),
]


@dataclass
class Rotation(RolloutStage):
    """One whole rotation over a wire that can hang, and what must be true whenever it ends."""

    wanted: KeySpec = GENERATE
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.targets = self.holders(3)
        self.former = self.kids_of(self.targets)
        self.plan = self.job(
            self.targets, Rollout(waves=(1, 1.0)), wanted=self.wanted, verify=Verify.READ_BACK
        )

    @asynccontextmanager
    async def connected(self, halt: Halt, timeouts: Timeouts | None) -> AsyncIterator[OktaApi]:
        async with (
            serve(self.org, limits=self.limits, port=self.port) as served,
            self.wire.laid_to(served.url) as url,
            open_api(
                OrgAccess(url=url, credential=ApiToken(token=Secret(self.org.token))),
                capacity=1.0,
                bounds=timeouts or Ending.CANCEL.timeouts,
                clock=self.clock,
                halt=halt,
                random=Random(1),
                observer=Broadcast([self.recorder]),
                retry=QUICK_RETRY,
            ) as api,
        ):
            self.port = int(served.url.rpartition(":")[2])
            yield api

    # Ending early

    async def end_run(self, end: Ender, ending: Ending) -> None:
        """Execute the run until it is ended, then record that as the program does."""
        async with self.run(self.plan, timeouts=ending.timeouts, workers=2) as run:
            await end(run)
            self.check(run)
            await conclude(run, self.store)

    async def end_way_back(self, end: Ender, ending: Ending) -> None:
        """Take the run back until that is ended, then record it as the program does."""
        async with self.way_back(timeouts=ending.timeouts, workers=2) as back:
            await end(back)
            self.check(back)
            stop = back.stop_reason
            await back.context.journal.end_session(RunState.STOPPED, stop=stop, exit_code=0)

    # Checking

    def check(self, ended: Run | Rollback) -> None:
        """Check that what is said of every target is what the org shows, and was told."""
        context = ended.context
        records = ArchivedRecords(
            self.store.archive, RUN, context.unrecorded, context.unrecorded_activations
        )
        for record in records:
            self.check_record(record)
        assert set(Counter(self.made()).values()) <= {1}
        assert self.org.collateral_changes() == 0
        told = {
            (event.activation.target.app, event.activation.state)
            for event in self.told(ActivationSettled)
        }
        for record in records:
            activation = record.activation
            if activation is not None and not activation.state.is_unknown:
                assert (record.target.app, activation.state) in told, activation

    def check_record(self, record: TargetRecord) -> None:
        app, outcome, activation = record.target.app, record.outcome, record.activation
        assert outcome is not None
        if outcome.status.is_staged:
            assert self.org.holds(app, outcome.key.kid), outcome
        kid, former = self.kid_of(app), self.former[app]
        if activation is None:
            assert kid == former
            return
        assert activation.previous_kid == former, activation
        state = activation.state
        allowed: set[Kid | None] = {activation.kid} if state.is_active else {former}
        if state.is_unknown:
            allowed = {activation.kid, former}
        assert kid in allowed, activation

    def made(self) -> list[str | None]:
        return [call.app for call in self.calls("POST", "/keys/generate") if call.effect]

    # Going on

    async def go_on(self) -> None:
        """Do the rest, and see that nothing was done twice."""
        if not self.is_over():
            result = await self.finish(self.plan)
            assert exit_code(result) is ExitCode.DONE, self.notices()
        assert set(self.states()) == {ActivationState.VERIFIED}
        assert sorted(self.written()) == sorted(self.targets)
        assert len(self.made()) == (len(self.targets) if self.wanted is EACH else 1)
        self.check_history()

    def is_over(self) -> bool:
        """Say whether the program would find nothing to do."""
        new = new_run(RUN, PLAN, ORG, [self.plan], dry_run=False)
        return continue_or_create(self.store, new, [self.plan], this_session()).is_over

    async def go_back(self) -> None:
        """Take all of it back, and see that it stays so."""
        await self.roll_back()
        assert self.kids_of(self.targets) == self.former
        assert set(self.states()) == {ActivationState.ROLLED_BACK}
        assert sorted(self.written()) == sorted([*self.targets, *self.targets])
        puts = len(self.puts())
        await self.finish(self.plan)
        assert len(self.puts()) == puts
        self.check_history()

    def states(self) -> Iterable[ActivationState]:
        assert set(self.activations()) == set(self.targets)
        return (each.state for each in self.activations().values())


Ender = Callable[[Any], Any]


def is_decisive(kind: Kind, moment: Moment) -> bool:
    return moment is Moment.TAKEN and kind in (Kind.GENERATE, Kind.WRITE)


async def at_await(awaits: Awaits, ending: Ending, ended: Run | Rollback) -> None:
    """Execute, and end it at one of its awaits."""
    with anyio.fail_after(5), anyio.CancelScope() as work, awaits.counted():
        awaits.act = partial(ending.apply, ended, work)
        async with anyio.create_task_group() as group:
            group.start_soon(ended.execute, name="execute")


async def while_it_hangs(wire: Wire, ending: Ending, ended: Run | Rollback) -> None:
    """Execute until a call hangs, end it, and see that it ends soon."""
    caught = len(wire.caught)
    with anyio.fail_after(30), anyio.CancelScope() as work:
        async with anyio.create_task_group() as group:
            group.start_soon(ended.execute)
            while len(wire.caught) == caught:  # noqa: ASYNC110 - traps announce nothing
                await anyio.sleep(0.002)
            since = anyio.current_time()
            ending.apply(ended, work)
    assert anyio.current_time() - since < SOON
    wire.trap = None


@pytest.mark.parametrize(("wanted", "stride"), CASES)
@endings
async def test_a_rotation_ended_at_every_await(
    ending: Ending, wanted: KeySpec, stride: int
) -> None:
    for number in count(1, stride):
        awaits = Awaits(tasks=TASKS, at=number)
        stage = Rotation(wanted=wanted)
        await stage.end_run(partial(at_await, awaits, ending), ending)
        await stage.go_on()
        if not awaits.are_reached:
            break
    assert number > 100


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.long)])
@endings
async def test_a_way_back_ended_at_every_await(ending: Ending, stride: int) -> None:
    for number in count(1, stride):
        awaits = Awaits(tasks=TASKS, at=number)
        stage = Rotation()
        await stage.go_on()
        await stage.end_way_back(partial(at_await, awaits, ending), ending)
        await stage.go_back()
        if not awaits.are_reached:
            break
    assert number > 20


HANGING = [
    pytest.param(kind, moment, marks=() if is_decisive(kind, moment) else pytest.mark.long)
    for kind in (Kind.GENERATE, Kind.CLONE, Kind.READ, Kind.WRITE, Kind.LOGS, Kind.LIST)
    for moment in (Moment.ARRIVED, Moment.TAKEN, Moment.HALF)
]


@endings
@pytest.mark.parametrize(("kind", "moment"), HANGING)
async def test_a_rotation_ended_while_a_call_hangs(
    ending: Ending, kind: Kind, moment: Moment
) -> None:
    stage = Rotation()
    stage.wire.trap = nth(kind, moment)
    await stage.end_run(partial(while_it_hangs, stage.wire, ending), ending)
    await stage.go_on()


@endings
@pytest.mark.parametrize(
    ("kind", "moment"),
    [each for each in HANGING if each.values[0] in (Kind.READ, Kind.WRITE)],
)
async def test_a_way_back_ended_while_a_call_hangs(
    ending: Ending, kind: Kind, moment: Moment
) -> None:
    stage = Rotation()
    await stage.go_on()
    stage.wire.trap = nth(kind, moment)
    await stage.end_way_back(partial(while_it_hangs, stage.wire, ending), ending)
    await stage.go_back()


async def test_an_interrupt_that_came_when_all_was_done_is_not_told_for_ever(
    tmp_path: Path,
) -> None:
    async with RotationScene(tmp_path).served() as scene:
        last = replace(nth(Kind.LIST, Moment.TAKEN, 2), holds=False)
        code = await scene.carry_out(scene.run_orders(), trap=last, number=SIGINT)
        assert code == ExitCode.INTERRUPTED, scene.said()
        await scene.finish()
