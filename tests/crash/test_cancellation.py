"""A run is ended at each of its awaits, with a peer that hangs there; the truth is kept."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import pytest

from orchestrator.engine.result import exit_code
from orchestrator.engine.run import LAST_WORDS_SECONDS
from orchestrator.errors import ExitCode
from orchestrator.events import CallPaced, CallRetried
from orchestrator.model import Reason, Status
from orchestrator.okta.retry import RetryPolicy
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.vocabulary import When
from tests.crash.awaits import Awaits
from tests.crash.rehearsal import Ending, Rehearsal, locked
from tests.crash.wire import Moment, SeenCall, Trap
from tests.support import Stage, assert_true_to_the_org

HALFWAY = (Moment.HEAD, Moment.HALF)  # of the answer
HANGING = (
    Moment.ARRIVED,
    Moment.TAKEN,
    *(pytest.param(each, marks=pytest.mark.long) for each in HALFWAY),
)
ONCE = RetryPolicy(attempts=1)
endings = pytest.mark.parametrize("ending", Ending)
strides = pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.long)])


@endings
@pytest.mark.parametrize("moment", HANGING)
async def test_ended_while_the_source_is_read(
    ending: Ending, moment: Moment, tmp_path: Path
) -> None:
    rehearsal = Rehearsal(tmp_path)
    rehearsal.wire.trap = Trap(fits=lambda call: not call.is_clone, moment=moment)
    async with rehearsal.run(ending.timeouts) as run:
        await rehearsal.end(run, lambda: bool(rehearsal.wire.caught), ending)
    assert rehearsal.check(run).left == rehearsal.size
    await rehearsal.finish()


@endings
@pytest.mark.parametrize("moment", HANGING)
@pytest.mark.parametrize("limits", [{}, {"max_targets": 2, "deadline_seconds": 60.0}], ids=str)
async def test_ended_while_clones_hang(
    ending: Ending, moment: Moment, limits: dict[str, object], tmp_path: Path
) -> None:
    rehearsal = Rehearsal(tmp_path)
    rehearsal.wire.trap = Trap(fits=lambda call: call.is_clone, moment=moment)
    async with rehearsal.run(ending.timeouts, **limits) as run:
        await rehearsal.end(run, lambda: len(rehearsal.wire.caught) == 2, ending)
    result = rehearsal.check(run)
    assert result.counts[Status.CLONED] == 0
    assert [each.reason for each in result.outcomes].count(Reason.INTERRUPTED) == 2
    assert all(
        each.evidence.lost_answers for each in result.outcomes if each.reason is Reason.INTERRUPTED
    )
    await rehearsal.finish()


@endings
@pytest.mark.parametrize("moment", HANGING)
async def test_ended_while_an_unclear_clone_is_read_back(
    ending: Ending, moment: Moment, tmp_path: Path
) -> None:
    lost = Fault(kind="drop", on="clone", when="after")
    rehearsal = Rehearsal(tmp_path, faults=[lost], retry=ONCE)
    rehearsal.wire.trap = Trap(fits=is_read_back, moment=moment)
    async with rehearsal.run(ending.timeouts) as run:
        await rehearsal.end(run, lambda: len(rehearsal.wire.caught) == 2, ending)
    result = rehearsal.check(run)
    assert result.counts[Status.FAILED] == 2
    assert rehearsal.stage.clones() == 2
    await rehearsal.finish()


def is_read_back(call: SeenCall) -> bool:
    return call.number > 1 and not call.is_clone


@endings
async def test_ended_while_calls_are_paced(ending: Ending, tmp_path: Path) -> None:
    limits = LimitSettings(window_seconds=60.0, org_limits={"apps": 10})
    rehearsal = Rehearsal(tmp_path, size=20, limits=limits)
    async with rehearsal.run(ending.timeouts) as run:
        await rehearsal.end(run, rehearsal.told(CallPaced), ending)
    result = rehearsal.check(run)
    assert result.counts[Status.CLONED] == rehearsal.stage.clones()
    assert result.left == 20 - result.counts[Status.CLONED] > 0
    await rehearsal.finish()


@endings
@pytest.mark.parametrize("when", ["before", "after"])
async def test_ended_between_two_attempts(ending: Ending, when: When, tmp_path: Path) -> None:
    retry = RetryPolicy(first_wait=60.0, longest_wait=60.0)
    fault = Fault(kind="error", on="clone", when=when)
    rehearsal = Rehearsal(tmp_path, faults=[fault], retry=retry)
    async with rehearsal.run(ending.timeouts) as run:
        await rehearsal.end(run, rehearsal.told(CallRetried), ending)
    rehearsal.check(run)
    await rehearsal.finish()


@endings
async def test_ended_while_a_connection_is_made(ending: Ending, tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    async with rehearsal.run(ending.timeouts, max_targets=1) as run:
        await run.execute()  # so that the source is known
    assert run.stop_reason is not None
    with ExitStack() as stack:
        rehearsal.url = stack.enter_context(Blackhole())
        rehearsal.wire.session = 1
        async with rehearsal.run(ending.timeouts) as run:
            await rehearsal.end(run, lambda: run.fed == rehearsal.size - 1, ending)
    result = rehearsal.check(run)
    assert result.counts[Status.CLONED] == 1
    await rehearsal.finish()


@endings
async def test_ended_while_the_source_is_being_recorded(ending: Ending, tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    async with rehearsal.run(ending.timeouts) as run, anyio.create_task_group() as group:
        lock = ExitStack()
        lock.enter_context(locked(rehearsal.path))
        group.start_soon(unlock_later, lock)
        await rehearsal.end(run, lambda: rehearsal.wire.is_still(1), ending)
    assert rehearsal.check(run).left == rehearsal.size
    await rehearsal.finish()


@endings
async def test_ended_while_outcomes_are_being_recorded(ending: Ending, tmp_path: Path) -> None:
    """What is known by then is recorded, however impatient the person is."""
    rehearsal = Rehearsal(tmp_path)
    lock = rehearsal.lock_after_the_source()
    async with rehearsal.run(ending.timeouts) as run, anyio.create_task_group() as group:
        group.start_soon(unlock_later, lock)
        await rehearsal.end(run, lambda: rehearsal.wire.is_still(3), ending)
    result = rehearsal.check(run)
    assert result.counts[Status.CLONED] == rehearsal.stage.clones() == 2
    rehearsal.check_told(result)
    await rehearsal.finish()


@endings
async def test_ended_while_the_journal_cannot_be_written(ending: Ending, tmp_path: Path) -> None:
    """What is known by then is in the report all the same."""
    rehearsal = Rehearsal(tmp_path, busy_seconds=0.5)
    with rehearsal.lock_after_the_source():
        async with rehearsal.run(ending.timeouts) as run:
            await rehearsal.end(run, lambda: rehearsal.wire.is_still(3), ending)
        result = rehearsal.check(run)
        assert result.counts[Status.CLONED] == rehearsal.stage.clones() == 2
        rehearsal.check_told(result)
    await rehearsal.finish()


@pytest.mark.long
async def test_the_journal_gives_up_later_than_the_last_words(tmp_path: Path) -> None:
    """A journal that stays locked is given up after 30 seconds, an interrupted target after 10."""
    rehearsal = Rehearsal(tmp_path, busy_seconds=LAST_WORDS_SECONDS + 2, soon=20.0)
    rehearsal.wire.trap = Trap(fits=lambda call: call.is_clone, moment=Moment.TAKEN)
    with rehearsal.lock_after_the_source():
        async with rehearsal.run(Ending.CANCEL.timeouts) as run:
            await rehearsal.end(run, lambda: len(rehearsal.wire.caught) == 2, Ending.CANCEL)
        rehearsal.check(run)
    await rehearsal.finish()


@strides
@endings
@pytest.mark.parametrize("unclear", [False, True])
async def test_ended_at_every_await(ending: Ending, unclear: bool, stride: int) -> None:
    """The feeder and the workers are ended at their first await, at their second, and so on."""
    left = []
    for number in count(1, stride):
        awaits = Awaits(tasks=("execute", "worker-"), at=number)
        left.append(await left_after(awaits, ending, unclear=unclear))
        if not awaits.are_reached:
            break
    assert number > 20
    assert {0, 3} <= set(left)


async def left_after(awaits: Awaits, ending: Ending, *, unclear: bool) -> int:
    """End a run at an await, check it, finish it; return how many targets were not reached."""
    stage = Stage()
    targets = stage.apps(3)
    if unclear:  # then the key is read back
        stage.faults = [Fault(kind="reject", on="clone", times=2)]
    async with stage.run(stage.job(targets), workers=2) as run:
        with anyio.fail_after(5), anyio.CancelScope() as work, awaits.counted():
            awaits.act = lambda: ending.apply(run, work)
            async with anyio.create_task_group() as group:
                group.start_soon(run.execute, name="execute")
    result = stage.result(run)
    assert_true_to_the_org(result, stage.org)
    for outcome in result.outcomes:
        if outcome.reason is Reason.NOT_REACHED:
            assert not stage.org.holds(outcome.target.app, outcome.key.kid)
    stage.faults = ()
    again = await stage.finish(stage.job(targets), store=stage.store)
    assert exit_code(again) is ExitCode.DONE
    assert stage.clones() == 3
    return result.left


@strides
@endings
async def test_ended_at_every_await_of_clones_that_prove_nothing(
    ending: Ending, stride: int, tmp_path: Path
) -> None:
    """A 201 without Location says that something was done, and is read back."""
    for number in count(1, stride):
        folder = tmp_path / str(number)
        folder.mkdir()
        rehearsal = Rehearsal(folder, size=2)
        rehearsal.wire.hidden = b"location"
        awaits = Awaits(tasks=("execute", "worker-"), at=number)
        async with rehearsal.run(ending.timeouts) as run:
            with anyio.fail_after(5), anyio.CancelScope() as work, awaits.counted():
                awaits.act = partial(ending.apply, run, work)
                async with anyio.create_task_group() as group:
                    group.start_soon(run.execute, name="execute")
        rehearsal.check(run)
        await rehearsal.finish()
        if not awaits.are_reached:
            break
    assert number > 15


async def unlock_later(lock: ExitStack) -> None:
    await anyio.sleep(0.7)
    lock.close()


class Blackhole:
    """An address at which a connection is neither made nor refused."""

    def __enter__(self) -> str:
        self.stack = ExitStack()
        server = self.stack.enter_context(closing(socket.socket()))
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):  # more than the queue takes
            filler = self.stack.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    def __exit__(self, *raised: object) -> None:
        self.stack.close()
