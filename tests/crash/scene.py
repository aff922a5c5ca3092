"""A plan, an org that outlives every crash, and what must be true after each of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import anyio
from anyio.to_thread import run_sync

from orchestrator.cli.wiring import seed_apps
from orchestrator.clock import SystemClock
from orchestrator.model import Status
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.store.base import RunRecord
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.cli.program import environment
from tests.crash.child import Orders, Step, live
from tests.crash.wire import Moment, Trap, Wire
from tests.support import CLONE

KILLED = -9
WIDE = LimitSettings(org_limits={"apps": 1_000_000})  # never reached, but announced
SOURCE = "0oa00000000000000000"
KID = "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.crash.child"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a journal holds after a crash."""

    run: RunRecord | None = None
    staged: frozenset[str] = frozenset()
    is_source_known: bool = False


@dataclass
class Backdrop:
    """One plan and its org. Every program that is started here is a session."""

    folder: Path
    size: int = 4
    workers: int = 2
    wire: Wire = field(default_factory=Wire)
    org: SandboxOrg = field(default_factory=lambda: SandboxOrg(seed=1))
    url: str = ""

    def __post_init__(self) -> None:
        self.plan = self.folder / "plan.yaml"
        self.targets = [app_named(number) for number in range(1, self.size + 1)]
        self.plan.write_text(self.plan_text())
        seed_apps(self.org, resolve(load_plan(self.plan)))

    def plan_text(self) -> str:
        lines = "".join(f"      - {target}\n" for target in self.targets)
        return (
            "version: 1\nname: crash\njobs:\n  - name: job\n"
            f"    source: {{app: {SOURCE}, key: {KID}}}\n    targets:\n{lines}"
            f"limits: {{workers: {self.workers}}}\n"
        )

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Self]:
        async with (
            serve(self.org, limits=WIDE) as served,
            self.wire.laid_to(served.url) as self.url,
        ):
            yield self

    def orders(self, *arguments: str, die_at: Step | None = None) -> Orders:
        access = {"OKTA_CLIENT_ORGURL": self.url, "OKTA_CLIENT_TOKEN": self.org.token}
        return Orders(
            arguments=(*arguments, "--state", str(self.state)),
            folder=self.folder,
            environment=environment(access),
            die_at=die_at,
        )

    def run_orders(self, *more: str, die_at: Step | None = None) -> Orders:
        where = ("--report-dir", str(self.reports))
        return self.orders("run", str(self.plan), *where, *more, die_at=die_at)

    # Running

    async def run(self, *more: str, die_at: Step | None = None) -> int:
        """Run the plan in a process of its own; return the exit code, KILLED if it was killed."""
        return await self.carry_out(self.run_orders(*more, die_at=die_at))

    async def run_until(self, moment: Moment, number: int) -> int:
        """Run the plan, and kill it when its n-th call has come so far."""
        last = len(self.wire.calls)
        trap = Trap(fits=lambda call: call.number == last + number, moment=moment)
        return await self.carry_out(self.run_orders(), trap=trap)

    async def run_for(self, seconds: float) -> int:
        """Run the plan, and kill it after a while."""
        return await self.carry_out(self.run_orders(), seconds=seconds)

    async def carry_out(
        self,
        orders: Orders,
        *,
        trap: Trap | None = None,
        number: int = signal.SIGKILL,
        seconds: float | None = None,
    ) -> int:
        """Carry out a command in a process of its own; return its exit code, or KILLED.

        It gets a signal when a call goes into the trap, or is killed after so many seconds.
        """
        self.wire.session += 1
        with started(orders) as process:
            spring = partial(os.kill, process.pid or 0, number)
            self.wire.trap = replace(trap, spring=spring) if trap else None
            async with anyio.create_task_group() as group:
                if seconds is not None:
                    group.start_soon(kill_after, process, seconds)
                code = await ended(process)
                group.cancel_scope.cancel()
            self.wire.trap = None
        return code

    async def report(self) -> dict[str, object]:
        """Return the report that the program makes of the last run, once it has verified it."""
        orders = self.orders("report", "latest", "--verify", "--format", "json")
        with started(orders) as process:
            assert await ended(process) == 0, self.said()
        assert "verified: " in self.said()
        report: dict[str, object] = json.loads(orders.out.read_text())
        return report

    def steps(self) -> list[Step]:
        """Return the steps of the last program."""
        seen: Counter[str] = Counter()
        steps = []
        for name in self.orders().steps.read_text().splitlines():
            seen[name] += 1
            steps.append(Step(name, seen[name]))
        return steps

    def said(self) -> str:
        return self.orders().err.read_text()

    @contextmanager
    def copied(self) -> Iterator[Store | None]:
        """Open a copy of the journal: opening the original would repair what a crash has left."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        if not (self.state / FILE_NAME).exists():
            yield None
            return
        shutil.copytree(self.state, copy)
        (copy / f"{FILE_NAME}-shm").unlink(missing_ok=True)  # an index of the other's WAL
        with Store.open(copy / FILE_NAME, clock=SystemClock()) as store:
            yield store


@dataclass
class Scene(Backdrop):
    """A plan that clones a key, and what must be true whenever a program has died over it."""

    unsettled: set[str] = field(default_factory=set)  # called before, but not in the journal
    is_source_known: bool = False
    bound: int = 0  # of all repeated calls: those in flight at each kill

    @property
    def kid(self) -> str:
        return KID

    async def finish(self) -> None:
        """Run the plan again, and hold everything against everything."""
        code = await self.run()
        assert code == 0, self.said()
        self.check_calls()
        self.check_end(await self.report())

    async def check_crash(self) -> Known:
        """Check what is to be true between a kill and the next run."""
        await self.wire.quiet()
        self.check_calls()
        known = self.known()
        for target in known.staged:
            assert self.org.holds(target, KID), f"{target} is said to be staged"
        called = set(self.wire.clones(self.wire.session))
        assert len(called - known.staged) <= self.workers
        self.bound += len(called - known.staged)
        self.is_source_known = known.is_source_known
        self.unsettled = (self.unsettled | called) - known.staged
        return known

    def check_calls(self) -> None:
        """Check that the last session repeated nothing that the journal knew before."""
        session = self.wire.session
        calls = [call for call in self.wire.calls if call.session == session]
        clones = Counter(call.target for call in calls if call.is_clone)
        earlier = {call.target for call in self.wire.calls if call.session < session}
        assert set(clones.values()) <= {1}
        assert set(clones) & earlier <= self.unsettled
        assert len(calls) - clones.total() <= (0 if self.is_source_known else 1)

    def check_end(self, report: dict[str, object]) -> None:
        """Check that everything is done, once, and that the report says just that."""
        effects = Counter(call.target for call in self.org.log if call.effect)
        assert effects == Counter(self.targets)
        clones = sum(call.template == CLONE for call in self.org.log)
        assert clones - self.size <= self.bound, "more was repeated than was in flight"
        rows = report["targets"]
        assert isinstance(rows, list)
        assert [row["app_id"] for row in rows] == self.targets
        for row in rows:
            assert Status(row["status"]).is_staged, row
            assert row["proof"], row
            assert self.org.holds(row["app_id"], KID)

    def known(self) -> Known:
        """Return what the journal holds."""
        with self.copied() as store:
            return known_to(store) if store else Known()


def known_to(store: Store) -> Known:
    """Return what a store holds of its only run, and check that it is whole."""
    runs = store.archive.runs()
    if not runs:
        return Known()
    [run] = runs
    assert store.archive.verify(run.run_id).problem is None
    outcomes = store.archive.outcomes(run.run_id)
    return Known(
        run=run,
        staged=frozenset(each.target.app for each in outcomes if each.status.is_staged),
        is_source_known=store.archive.jobs(run.run_id)[0].certificate is not None,
    )


def app_named(number: int) -> str:
    """Return the id of a target, from 1."""
    return f"0oa{number:017d}"


@contextmanager
def started(orders: Orders) -> Iterator[BaseProcess]:
    """Start a child, and make sure that it is gone at the end."""
    process = FORKS.Process(target=live, args=(orders,))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()


async def ended(process: BaseProcess) -> int:
    """Wait for a child's end, at most half a minute. Only one task may wait for a child."""
    limit = anyio.current_time() + 30.0
    async with anyio.create_task_group() as group:
        group.start_soon(kill_after, process, 30.0)
        await run_sync(process.join)
        group.cancel_scope.cancel()
    assert anyio.current_time() < limit, "it would not end"
    code = process.exitcode
    assert code is not None
    return code


async def kill_after(process: BaseProcess, seconds: float) -> None:
    await anyio.sleep(seconds)
    process.kill()


def folder(parent: Path, name: object) -> Path:
    path = parent / str(name)
    path.mkdir()
    return path
