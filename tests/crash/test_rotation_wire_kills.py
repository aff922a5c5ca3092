"""`kill -9` at every moment of every call of a whole rotation, there and back again."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.model import Activation
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.crash.rotation_scene import (
    CSR,
    EACH_TARGET,
    GENERATE,
    HELD,
    Kind,
    RotationScene,
    app_of,
    kind_of,
    nth,
)
from tests.crash.scene import KID, KILLED, folder
from tests.crash.wire import Moment, SeenCall


def is_decisive(kind: Kind, moment: Moment) -> bool:
    return moment is Moment.TAKEN or kind in (Kind.GENERATE, Kind.WRITE)


TELLING = (Moment.ARRIVED, Moment.TAKEN, Moment.ANSWERED)
OTHERS = (Moment.ARRIVED, Moment.HEAD, Moment.HALF, Moment.ANSWERED)
MADE_ONCE = [Moment.TAKEN, *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)]
CALLS = (  # with which call of that kind it is
    (Kind.GENERATE, 1),
    (Kind.CLONE, 2),
    (Kind.READ, 1),
    (Kind.WRITE, 1),
    (Kind.LOGS, 1),
    (Kind.LIST, 1),
)
ON_THE_WIRE = [
    pytest.param(kind, number, moment, marks=() if is_decisive(kind, moment) else pytest.mark.long)
    for (kind, number), moment in product(CALLS, TELLING)
]
TAKEN_BACK = [(Kind.READ, 1, Moment.TAKEN), *((Kind.WRITE, 2, moment) for moment in TELLING)]


@pytest.mark.parametrize(("kind", "number", "moment"), ON_THE_WIRE)
async def test_killed_on_the_wire(kind: Kind, number: int, moment: Moment, tmp_path: Path) -> None:
    async with RotationScene(tmp_path).served() as scene:
        assert await scene.run_until_call(nth(kind, moment, number)) == KILLED
        known = await scene.check_crash()
        [caught] = scene.wire.caught
        assert kind_of(caught) is kind
        if kind is Kind.GENERATE:
            assert scene.made().total() == (moment is not Moment.ARRIVED)
        if kind is Kind.WRITE and moment is not Moment.ANSWERED:
            app = caught.path.split("/")[4]
            assert (app in scene.switched()) is (moment is Moment.TAKEN)
            assert app not in known.active
        await scene.finish()


@pytest.mark.parametrize(("kind", "number", "moment"), TAKEN_BACK)
async def test_killed_on_the_wire_on_the_way_back(
    kind: Kind, number: int, moment: Moment, tmp_path: Path
) -> None:
    async with RotationScene(tmp_path).served() as scene:
        await scene.rotate()
        assert await scene.roll_back(trap=nth(kind, moment, number)) == KILLED
        await scene.check_crash()
        await scene.finish_back()


async def test_a_way_back_that_was_killed_is_not_undone_by_cron(tmp_path: Path) -> None:
    async with RotationScene(tmp_path).served() as scene:
        await scene.rotate()
        assert await scene.roll_back(trap=nth(Kind.WRITE, Moment.TAKEN, 2)) == KILLED
        await scene.check_crash()
        written = scene.written()
        assert await scene.run() == HELD, scene.said()
        await scene.check_crash()
        assert scene.written() == written
        await scene.finish_back()
        await scene.check_it_stays()


@pytest.mark.parametrize("moment", TELLING)
async def test_killed_on_the_wire_and_taken_back_as_it_is(moment: Moment, tmp_path: Path) -> None:
    """Nobody has to run a plan to its end before taking it back."""
    async with RotationScene(tmp_path).served() as scene:
        assert await scene.run_until_call(nth(Kind.WRITE, moment, 2)) == KILLED
        await scene.check_crash()
        await scene.finish_back()


@pytest.mark.parametrize("moment", MADE_ONCE)
async def test_killed_while_a_target_gets_a_key_of_its_own(moment: Moment, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=EACH_TARGET).served() as scene:
        assert await scene.run_until_call(nth(Kind.GENERATE, moment, 2)) == KILLED
        await scene.check_crash()
        await scene.finish()


@pytest.mark.parametrize("moment", MADE_ONCE)
async def test_killed_while_a_csr_is_made(moment: Moment, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=CSR).served() as scene:
        assert await scene.run_until_call(nth(Kind.REQUEST, moment)) == KILLED
        await scene.check_crash()
        await scene.rotate()
        assert await scene.carry_out(scene.publish_orders()) == 0, scene.said()
        await scene.finish()


@pytest.mark.parametrize("moment", MADE_ONCE)
async def test_killed_while_a_certificate_is_published(moment: Moment, tmp_path: Path) -> None:
    async with RotationScene(tmp_path, key=CSR).served() as scene:
        await scene.rotate()
        trap = nth(Kind.PUBLISH, moment)
        assert await scene.carry_out(scene.publish_orders(), trap=trap) == KILLED
        await scene.check_crash()
        assert await scene.carry_out(scene.publish_orders()) == 0, scene.said()
        await scene.finish()


@pytest.mark.parametrize("verify", ["response", "read_back"])
@pytest.mark.parametrize("killed", [(Kind.WRITE, Moment.TAKEN), (Kind.LOGS, Moment.ARRIVED)])
async def test_an_edit_that_a_write_has_undone_is_told_by_the_next_run(
    verify: str, killed: tuple[Kind, Moment], tmp_path: Path
) -> None:
    """The program died before it had asked the System Log, in the latter case of what it knew."""
    async with RotationScene(tmp_path, verify=verify).served() as scene:
        scene.org.advance(60.0)  # the apps were last changed a while ago
        edited: list[str] = []

        def edit_first(call: SeenCall) -> None:
            if kind_of(call) is Kind.WRITE and not edited:
                edited.append(app_of(call))
                document = scene.org.apps[edited[0]].document()
                scene.org.update_app(edited[0], {**document, "label": "renamed"})

        scene.wire.witness = edit_first
        assert await scene.run_until_call(nth(*killed)) == KILLED
        await scene.wire.quiet()
        assert await scene.run() == HELD, scene.said()
        [row] = [row for row in scene.rows() if row["app_id"] == edited[0]]
        assert "between our read and our write" in row["activation"]["problem"]
        assert scene.org.administrator.login in row["activation"]["problem"]
        assert scene.switched() == set(edited), "later waves went on"


async def test_the_former_key_is_in_the_journal_when_a_write_leaves(tmp_path: Path) -> None:
    """Not only where a program dies: every write, there and back, finds its record there."""
    witnessed: list[str] = []
    async with RotationScene(tmp_path).served() as scene:

        def look(call: SeenCall) -> None:
            if kind_of(call) is Kind.WRITE:
                app = app_of(call)
                activation = activation_in(scene.state / FILE_NAME, app)
                assert activation.state.is_unknown
                assert activation.previous_kid == scene.former[app]
                witnessed.append(app)

        scene.wire.witness = look
        await scene.rotate()
        assert await scene.roll_back() == 0, scene.said()
        assert sorted(witnessed) == sorted([*scene.targets, *scene.targets])


def activation_in(path: Path, app: str) -> Activation:
    """Read an activation as anybody may read it while the run is executed."""
    with Store.open(path, clock=SystemClock()) as store:
        [record] = [each for each in store.archive.targets("latest") if each.target.app == app]
    assert record.activation is not None
    return record.activation


@pytest.mark.long
@pytest.mark.parametrize(
    ("key", "moment"),
    [
        *((GENERATE, moment) for moment in (*TELLING, Moment.HALF)),
        *((EACH_TARGET, moment) for moment in TELLING),
        (KID, Moment.TAKEN),
    ],
)
async def test_killed_at_every_call(key: str, moment: Moment, tmp_path: Path) -> None:
    async with RotationScene(folder(tmp_path, "rehearsal"), key=key).served() as scene:
        await scene.rotate()
        calls = len(scene.wire.calls)
    assert calls > 15
    for number in range(1, calls + 1):
        async with RotationScene(folder(tmp_path, number), key=key).served() as scene:
            assert await scene.run_until(moment, number) == KILLED
            await scene.check_crash()
            await scene.finish()


@pytest.mark.long
@pytest.mark.parametrize("moment", TELLING)
async def test_killed_at_every_call_on_the_way_back(moment: Moment, tmp_path: Path) -> None:
    for kind, number in product((Kind.READ, Kind.WRITE), range(1, 5)):
        async with RotationScene(folder(tmp_path, f"{kind} {number}")).served() as scene:
            await scene.rotate()
            assert await scene.roll_back(trap=nth(kind, moment, number)) == KILLED
            await scene.check_crash()
            await scene.finish_back()


@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Moment.ARRIVED, Moment.TAKEN),
        (Moment.TAKEN, Moment.ARRIVED),
        (Moment.TAKEN, Moment.TAKEN),
        (Moment.ANSWERED, Moment.TAKEN),
    ],
)
async def test_killed_twice_on_the_wire(first: Moment, second: Moment, tmp_path: Path) -> None:
    for kind in (Kind.GENERATE, Kind.CLONE, Kind.WRITE):
        async with RotationScene(folder(tmp_path, f"there {kind}")).served() as scene:
            assert await scene.run_until_call(nth(kind, first, 1)) == KILLED
            await scene.check_crash()
            if await scene.run_until_call(nth(kind, second, 1)) == KILLED:
                await scene.check_crash()
            await scene.finish()
    async with RotationScene(folder(tmp_path, "back")).served() as scene:
        await scene.rotate()
        for moment in (first, second):
            assert await scene.roll_back(trap=nth(Kind.WRITE, moment, 2)) == KILLED
            await scene.check_crash()
        await scene.finish_back()
