"""A run in this process, over a wire that can hang, ended in every way that a person can end it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from random import Random

import anyio

from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.cli.signals import Stoppable
from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.engine.result import RunResult, RunSettings, result_of
from orchestrator.engine.run import Run
from orchestrator.events import Broadcast, Event, Observer, SourceRead, TargetSettled
from orchestrator.halt import Halt
from orchestrator.model import Reason, RunId, Status, StopCause
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.okta.retry import RetryPolicy
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.database import Database
from orchestrator.store.opening import open_file
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.crash.wire import Wire
from tests.support import NO_LIMITS, QUICK_RETRY, QUICK_TIMEOUTS, Recorder, Stage

PATIENT = Timeouts(connect=60.0, read=60.0, whole=60.0)
SAFE_REASONS = (Reason.INTERRUPTED, Reason.NO_ANSWER)


class Ending(Enum):
    """How a run is ended from outside."""

    DRAIN = auto()  # one Ctrl-C: calls in flight may still be answered, or time out
    CANCEL = auto()  # as when something above fails
    DRAIN_AND_CANCEL = auto()  # two Ctrl-C

    @property
    def timeouts(self) -> Timeouts:
        return QUICK_TIMEOUTS if self is Ending.DRAIN else PATIENT

    def apply(self, run: Stoppable, work: anyio.CancelScope) -> None:
        if self is not Ending.CANCEL:
            run.stop(StopCause.INTERRUPT, "SIGINT received")
        if self is not Ending.DRAIN:
            work.cancel()


@dataclass
class Rehearsal:
    """An org, a journal in a file, and the runs of one plan."""

    folder: Path
    size: int = 6
    limits: LimitSettings = NO_LIMITS
    faults: Sequence[Fault] = ()
    retry: RetryPolicy = QUICK_RETRY
    busy_seconds: float = 30.0
    soon: float = 3.0  # seconds in which a run must end, whatever hangs
    url: str | None = None  # instead of the wire
    wire: Wire = field(default_factory=Wire)
    recorder: Recorder = field(default_factory=Recorder)
    observers: list[Observer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stage = Stage()
        self.targets = self.stage.apps(self.size)
        self.job = self.stage.job(self.targets)
        self.path = self.folder / FILE_NAME
        open_file(self.path).close()
        writer = Database(self.path, busy_seconds=self.busy_seconds)
        self.store = Store(writer, Database(self.path), clock=SystemClock())

    @asynccontextmanager
    async def run(self, timeouts: Timeouts, **settings: object) -> AsyncIterator[Run]:
        """Yield a run that has not begun."""
        halt, clock = Halt(), SystemClock()
        observer = Broadcast([self.recorder, *self.observers])
        new = new_run(RunId("r"), "p", "o", [self.job], dry_run=False)
        opened = continue_or_create(self.store, new, [self.job], this_session())
        opened.begin(self.store)
        given: dict[str, object] = {"run_id": RunId("r"), "plan": "p", "org": "o", "workers": 2}
        async with (
            serve(self.stage.org, limits=self.limits, faults=FaultScript.of(self.faults)) as org,
            self.wire.laid_to(org.url) as url,
            self.store.journal(opened.run_id) as journal,
            open_api(
                OrgAccess(
                    url=self.url or url, credential=ApiToken(token=Secret(self.stage.org.token))
                ),
                capacity=0.9,
                bounds=timeouts,
                clock=clock,
                halt=halt,
                random=Random(1),
                observer=observer,
                retry=self.retry,
            ) as api,
        ):
            yield Run(
                RunSettings(**given | settings),  # type: ignore[arg-type]  # what the tests change
                self.store.archive.jobs(opened.run_id),
                pending=opened.pending,
                journal=journal,
                api=api,
                clock=clock,
                halt=halt,
                observer=observer,
            )

    async def end(self, run: Run, ready: Callable[[], bool], ending: Ending) -> None:
        """Execute until the moment has come, end the run, and see that it ends soon."""
        with anyio.fail_after(30), anyio.CancelScope() as work:
            async with anyio.create_task_group() as group:
                group.start_soon(run.execute)
                while not ready():  # noqa: ASYNC110 - not everything announces itself
                    await anyio.sleep(0.002)
                ended = anyio.current_time()
                ending.apply(run, work)
        assert anyio.current_time() - ended < self.soon

    def check(self, run: Run) -> RunResult:
        """Check that what is said of every target is what the org shows."""
        result = result_of(
            self.store.archive, RunId("r"), stop=run.stop_reason, unrecorded=run.unrecorded
        )
        assert [each.target.app for each in result.outcomes] == self.targets
        assert sum(result.counts.values()) == self.size
        caught = {call.target for call in self.wire.caught}
        for outcome in result.outcomes:
            app = outcome.target.app
            if outcome.status.is_staged:
                assert self.stage.org.holds(app, outcome.key.kid), outcome
            elif outcome.reason is Reason.NOT_REACHED:
                assert app not in caught, outcome
                assert not self.stage.org.holds(app, outcome.key.kid), outcome
            else:
                assert outcome.reason in SAFE_REASONS, outcome
                assert outcome.retryable
        return result

    def check_told(self, result: RunResult) -> None:
        """Check that whoever watched the run saw every outcome that its report has."""
        told = {
            event.outcome.target.app
            for event in self.recorder.events
            if isinstance(event, TargetSettled)
        }
        staged = {each.target.app for each in result.outcomes if each.status.is_staged}
        assert staged <= told

    def lock_after_the_source(self) -> ExitStack:
        """Let the journal be locked once the source is in it; closing the stack unlocks it."""
        stack = ExitStack()
        self.observers.append(OnSource(lambda: stack.enter_context(locked(self.path))))
        return stack

    async def finish(self) -> None:
        """Let a later run do the rest, and see that nothing was done twice."""
        with anyio.fail_after(20):
            result = await self.stage.finish(self.job, store=self.store)
        assert result.counts[Status.FAILED] == result.counts[Status.SKIPPED] == 0
        effects = Counter(call.target for call in self.stage.org.log if call.effect)
        assert effects == Counter(self.targets)
        assert self.store.archive.verify("r").problem is None
        self.store.close()

    def told(self, kind: type[Event]) -> Callable[[], bool]:
        """Return what says whether such an event has been seen."""
        return lambda: any(isinstance(event, kind) for event in self.recorder.events)


@dataclass(frozen=True)
class OnSource:
    """An observer that acts when the source is known and no clone has been sent."""

    act: Callable[[], None]

    def notify(self, event: Event) -> None:
        if isinstance(event, SourceRead):
            self.act()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other writer out of a database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
