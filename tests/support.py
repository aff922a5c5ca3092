"""What the tests of the engine share: a sandbox org, a job, and a run over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.engine.result import RunResult, RunSettings, result_of
from orchestrator.engine.resume import ResolvedJob
from orchestrator.engine.run import Run
from orchestrator.events import Broadcast, Event
from orchestrator.halt import Halt
from orchestrator.model import AppId, KeyRef, KeySpec, Kid, Outcome, RunId, Target
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.okta.retry import RetryPolicy
from orchestrator.rollout import JobSettings
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.sqlite import Store

SHARED = Path(__file__).parents[1].parent / "shared"
CLONE = "/api/v1/apps/{appId}/credentials/keys/{kid}/clone"
NO_LIMITS = LimitSettings(enabled=False)
QUICK_RETRY = RetryPolicy(attempts=12, first_wait=0.01, longest_wait=0.05, total=60.0)
QUICK_TIMEOUTS = Timeouts(connect=2.0, read=0.4, whole=5.0)

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is not here")


@dataclass
class PlainJob:
    """A job whose targets are a list."""

    name: str
    key: KeyRef
    targets: Sequence[AppId]
    dropped: Mapping[str, int] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    wanted: KeySpec = field(default=KeySpec())
    settings: JobSettings = field(default=JobSettings())

    @property
    def size(self) -> int:
        return len(self.targets)

    def stream(self) -> Iterator[Target]:
        return (Target(job=self.name, app=app) for app in self.targets)


@dataclass
class Recorder:
    """An observer that keeps every event."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Stage:
    """An org with a source key, ready for runs."""

    org: SandboxOrg = field(default_factory=lambda: SandboxOrg(seed=1))
    limits: LimitSettings = NO_LIMITS
    faults: Sequence[Fault] = ()
    fault_seed: int = 0

    def __post_init__(self) -> None:
        self.source = AppId(self.org.add_app(label="source").id)
        self.key = KeyRef(app=self.source, kid=Kid(self.org.add_key(self.source)))

    def apps(self, number: int, *, holding: bool = False) -> list[AppId]:
        kids = [self.key.kid] if holding else []
        return [AppId(self.org.add_app(kids=kids).id) for _ in range(number)]

    def job(self, targets: Sequence[AppId], name: str = "job") -> PlainJob:
        return PlainJob(name, self.key, targets)

    def clones(self) -> int:
        """Count the clones that changed the org."""
        return sum(call.effect for call in self.org.log if call.template == CLONE)

    def posts(self) -> int:
        return sum(call.method == "POST" for call in self.org.log)

    def refused_429(self) -> int:
        return sum(call.status == 429 for call in self.org.log)

    @asynccontextmanager
    async def run(
        self,
        *jobs: ResolvedJob,
        observer: Broadcast | None = None,
        timeouts: Timeouts = QUICK_TIMEOUTS,
        capacity: float = 0.9,
        token: str | None = None,
        store: Store | None = None,
        **settings: object,
    ) -> AsyncIterator[Run]:
        """Serve the org and yield a run that has not begun; its store is in `self.store`."""
        observer = observer or Broadcast()
        halt, clock = Halt(), SystemClock()
        self.store = store or Store.memory(clock=clock)
        given: dict[str, object] = {"run_id": RunId("r"), "plan": "p", "org": "o"} | settings
        dry_run = bool(settings.get("dry_run"))
        new = new_run(RunId("r"), "p", "o", jobs, dry_run=dry_run)
        opened = continue_or_create(self.store, new, jobs, this_session())
        opened.begin(self.store)
        script = FaultScript.of(list(self.faults), seed=self.fault_seed)
        async with (
            serve(self.org, limits=self.limits, faults=script) as served,
            self.store.journal(opened.run_id) as journal,
            open_api(
                OrgAccess(
                    url=served.url, credential=ApiToken(token=Secret(token or self.org.token))
                ),
                capacity=capacity,
                bounds=timeouts,
                clock=clock,
                halt=halt,
                random=Random(1),
                observer=observer,
                retry=QUICK_RETRY,
            ) as api,
        ):
            yield Run(
                RunSettings(**given),  # type: ignore[arg-type]  # the tests name what they change
                self.store.archive.jobs(opened.run_id),
                pending=opened.pending,
                journal=journal,
                api=api,
                clock=clock,
                halt=halt,
                observer=observer,
            )

    def result(self, run: Run) -> RunResult:
        """Read back what came of a run, as far as it has come."""
        return result_of(
            self.store.archive, RunId("r"), stop=run.stop_reason, unrecorded=run.unrecorded
        )

    async def finish(self, *jobs: ResolvedJob, **settings: object) -> RunResult:
        """Run to the end and return the result."""
        async with self.run(*jobs, **settings) as run:  # type: ignore[arg-type]
            await run.execute()
        return self.result(run)


def by_app(result: RunResult) -> dict[AppId, Outcome]:
    return {outcome.target.app: outcome for outcome in result.outcomes}


def assert_true_to_the_org(result: RunResult, org: SandboxOrg) -> None:
    """No success is claimed that the org's state does not show, and no target is lost."""
    for outcome in result.outcomes:
        if outcome.status.is_staged:
            assert org.holds(outcome.target.app, outcome.key.kid), outcome
            assert outcome.proof is not None
        else:
            assert outcome.reason is not None
