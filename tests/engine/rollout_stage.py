"""A whole rotation in this process: an org, one run in a store, and its executions, back and forth.

All of it, the org included, lives by a clock that runs faster than ours, so that the waits between
waves are real and yet short.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import anyio

from orchestrator.cli.closing import conclude
from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.cli.wiring import hook_runner, open_api
from orchestrator.engine.context import Packs, RunContext
from orchestrator.engine.gates import APPROVED
from orchestrator.engine.result import RunResult, RunSettings, exit_code, result_of
from orchestrator.engine.resume import ResolvedJob
from orchestrator.engine.rollback import Rollback
from orchestrator.engine.run import Run
from orchestrator.errors import ExitCode
from orchestrator.events import Broadcast, Event, Noticed
from orchestrator.halt import Halt
from orchestrator.model import (
    NEW_KID,
    Activation,
    AppId,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
    RunId,
    StopCause,
    Target,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken, Credential
from orchestrator.okta.http import Timeouts
from orchestrator.rollout import HookCommand, HookMoment, JobSettings, Rollout
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.base import CertificateBook, RunState, TargetRecord
from orchestrator.store.sqlite import Store
from tests.support import NO_LIMITS, QUICK_RETRY, QUICK_TIMEOUTS, PlainJob, Recorder

RUN, PLAN, ORG = RunId("r"), "p", "o"
SPEED = 20.0
PATIENT = Timeouts(connect=30.0, read=30.0, whole=30.0)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0  # the org's clock is known to a second or so


class FastClock:
    """A clock whose seconds are short."""

    def __init__(self, speed: float = SPEED) -> None:
        self.speed = speed
        self.began, self.origin = time.monotonic(), datetime.now(UTC)

    def wall(self) -> datetime:
        return self.origin + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self.began) * self.speed

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(max(0.0, seconds) / self.speed)

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        with anyio.move_on_after(max(0.0, seconds) / self.speed):
            await event.wait()


class WatchedLog(list[LoggedCall]):
    """A sandbox's log, and somebody who looks at every call as it is written."""

    def __init__(self, look: Callable[[LoggedCall], None]) -> None:
        super().__init__()
        self.look = look

    def append(self, call: LoggedCall) -> None:
        super().append(call)
        self.look(call)


@dataclass
class RolloutStage:
    """An org with a source key, a store with at most one run, and what happened on the way."""

    faults: Sequence[Fault] = ()
    limits: LimitSettings = NO_LIMITS
    hooks: Mapping[HookMoment, Sequence[HookCommand]] = field(default_factory=dict)
    packs: Packs | None = None
    folder: Path = Path()  # where hooks run
    speed: float = SPEED
    resource: Resource = Resource.APP
    book: CertificateBook | None = None
    credential: Credential | None = None  # other than the org's API token

    def __post_init__(self) -> None:
        self.clock = FastClock(self.speed)
        self.org = SandboxOrg(seed=1, clock=self.clock)
        self.source = self.holders(1)[0]
        self.key = self.new_key()
        self.store = Store.memory(clock=self.clock)
        self.recorder = Recorder()
        self.port = 0  # any that is free

    # The org

    def holders(self, number: int, **given: Any) -> list[AppId]:
        """Add apps, or identity providers."""
        add = self.org.add_app if self.resource is Resource.APP else self.org.add_idp
        return [AppId(add(**given).id) for _ in range(number)]

    def new_key(self, **given: Any) -> KeyRef:
        """Give the source one more key, which it does not sign with."""
        kid = Kid(self.org.add_key(self.source, **given))
        return KeyRef(app=self.source, kid=kid, resource=self.resource)

    def kid_of(self, app: AppId) -> Kid | None:
        """Return what an app signs with."""
        kid = self.org.find_holder(app).active_kid
        return Kid(kid) if kid else None

    def kids_of(self, apps: Sequence[AppId]) -> dict[AppId, Kid | None]:
        return {app: self.kid_of(app) for app in apps}

    def document(self, app: AppId) -> Any:
        """Return the whole object, as the org would show it."""
        return self.org.find_holder(app).document()

    def sign_with(self, app: AppId, kid: str | None = None) -> Kid:
        """Let an administrator activate a key, by default one that is new to the app."""
        kid = self.org.add_key(app, kid)
        document = self.document(app)
        whole = document if self.resource is Resource.APP else document["protocol"]
        whole["credentials"]["signing"]["kid"] = kid
        self.org.update(self.org.find_holder(app), document)
        return Kid(kid)

    def now(self) -> datetime:
        """Return the time on the org's clock."""
        return datetime.fromtimestamp(self.org.epoch(), UTC)

    def watch(self, look: Callable[[LoggedCall], None]) -> None:
        """Let somebody look at each call from now on, when the org has done it and not answered."""
        self.org.log = WatchedLog(look)

    def puts(self) -> list[LoggedCall]:
        return [call for call in self.org.log if call.method == "PUT"]

    def written(self) -> list[AppId]:
        """Return the apps that calls of ours have changed as a whole, in order."""
        return [AppId(str(call.app)) for call in self.puts() if call.effect]

    def calls(self, method: str, end: str) -> list[LoggedCall]:
        """Return the calls of a kind, given by the end of its path template."""
        return [
            call for call in self.org.log if call.method == method and call.template.endswith(end)
        ]

    # The run

    def job(
        self,
        targets: Sequence[AppId],
        rollout: Rollout | None = None,
        *,
        name: str = "job",
        key: KeyRef | None = None,
        wanted: KeySpec | None = None,
        **settings: Any,
    ) -> PlainJob:
        """Return a job that rolls out: by default all at once, of the source's new key."""
        if wanted is not None:
            key = key or KeyRef(app=self.source, kid=NEW_KID, resource=self.resource)
        return PlainJob(
            name,
            key or self.key,
            targets,
            wanted=wanted or KeySpec(),
            settings=JobSettings(rollout=rollout or Rollout(), **settings),
        )

    @asynccontextmanager
    async def connected(self, halt: Halt, timeouts: Timeouts | None) -> AsyncIterator[OktaApi]:
        """Serve the org, always at the same address: its objects tell of that."""
        stalls = any(fault.kind == "stall" for fault in self.faults)
        script = FaultScript.of(list(self.faults))
        async with (
            serve(self.org, limits=self.limits, faults=script, port=self.port) as served,
            open_api(
                OrgAccess(
                    url=served.url,
                    credential=self.credential or ApiToken(token=Secret(self.org.token)),
                ),
                capacity=1.0,
                bounds=timeouts or (QUICK_TIMEOUTS if stalls else PATIENT),
                clock=self.clock,
                halt=halt,
                random=Random(1),
                observer=Broadcast([self.recorder]),
                retry=QUICK_RETRY,
            ) as api,
        ):
            self.port = int(served.url.rpartition(":")[2])
            yield api

    @asynccontextmanager
    async def run(
        self,
        *jobs: PlainJob,
        only: Sequence[AppId] | None = None,
        timeouts: Timeouts | None = None,
        store: Store | None = None,
        **given: Any,
    ) -> AsyncIterator[Run]:
        """Serve the org, take the run up, and yield an execution that has not begun."""
        halt, store = Halt(), store or self.store
        settings = self.settings(jobs, **given)
        new = new_run(RUN, PLAN, ORG, jobs, dry_run=settings.dry_run)
        opened = continue_or_create(store, new, jobs, this_session())
        opened.begin(store)
        async with self.connected(halt, timeouts) as api, store.journal(RUN) as journal:
            yield Run(
                settings,
                store.archive.jobs(RUN),
                pending=opened.pending,
                journal=journal,
                api=api,
                clock=self.clock,
                halt=halt,
                observer=Broadcast([self.recorder]),
                only=None if only is None else frozenset(only),
                hooks=hook_runner(os.environ, self.folder, self.clock),
                packs=self.packs,
                seen=self.store.archive.snapshot(PLAN, ORG),
                book=self.book,
            )

    def settings(self, jobs: Sequence[ResolvedJob] = (), **given: Any) -> RunSettings:
        settings = RunSettings(
            run_id=RUN,
            plan=PLAN,
            org=ORG,
            workers=4,
            jobs={job.name: job.settings for job in jobs},
            hooks={moment: tuple(commands) for moment, commands in self.hooks.items()},
        )
        return replace(settings, **given)

    async def finish(self, *jobs: PlainJob, **given: Any) -> RunResult:
        """Execute until nothing is due, and record how that ended, as the program does."""
        with anyio.fail_after(30):
            async with self.run(*jobs, **given) as run:
                await run.execute()
                return await conclude(run, self.store)

    async def preview(self, *jobs: PlainJob) -> Run:
        """Look at everything without a write, and keep what was seen for the run to come."""
        with Store.memory(clock=self.clock) as store:
            async with self.run(*jobs, store=store, dry_run=True) as run:
                await run.execute()
                self.foreseen = list(store.archive.targets(RUN))
        self.store.save_snapshot(PLAN, ORG, run.snapshots)
        return run

    async def abandon(self, when: Callable[[], object], *jobs: PlainJob, **given: Any) -> None:
        """Execute until the moment has come, then die without a word, as by SIGKILL."""
        async with self.run(*jobs, timeouts=PATIENT, **given) as run:
            await cut_short(run.execute, when)

    # The way back

    @asynccontextmanager
    async def way_back(
        self,
        *,
        wave: int | None = None,
        only: Sequence[AppId] | None = None,
        timeouts: Timeouts | None = None,
        **given: Any,
    ) -> AsyncIterator[Rollback]:
        """Yield a rollback that has not begun."""
        halt, settings = Halt(), self.settings(**given)
        if not settings.dry_run:
            self.store.begin_session(RUN, this_session())
        async with self.connected(halt, timeouts) as api, self.store.journal(RUN) as journal:
            context = RunContext(
                settings,
                journal=journal,
                api=api,
                clock=self.clock,
                halt=halt,
                observer=Broadcast([self.recorder]),
            )
            yield Rollback(
                context,
                self.store.archive,
                self.store.archive.jobs(RUN),
                wave=wave,
                only=None if only is None else frozenset(only),
            )

    async def roll_back(self, **given: Any) -> Rollback:
        """Take back to the end."""
        with anyio.fail_after(30):
            async with self.way_back(**given) as rollback:
                await rollback.execute()
                if not rollback.context.settings.dry_run:
                    stop = rollback.stop_reason
                    state = RunState.STOPPED if stop else RunState.FINISHED
                    await rollback.context.journal.end_session(state, stop=stop, exit_code=0)
        return rollback

    # People, and what there is to see

    def approve(self, wave: int, *, job: int = 0) -> None:
        body = {"job": job, "wave": wave, "by": "anna"}
        self.store.note(RUN, APPROVED, body)

    def acknowledge(self, *apps: AppId, job: int = 0) -> None:
        self.store.acknowledge(RUN, [(job, app) for app in apps], "anna")

    def records(self) -> dict[AppId, TargetRecord]:
        return {record.target.app: record for record in self.store.archive.targets(RUN)}

    def activations(self) -> dict[AppId, Activation]:
        """Return the activations as the journal has them, by app."""
        found = {app: record.activation for app, record in self.records().items()}
        return {app: activation for app, activation in found.items() if activation is not None}

    def signers(self) -> set[AppId]:
        """Return the targets that sign with the key now, as the org has it."""
        return {app for app in self.records() if self.kid_of(app) == self.key.kid}

    def active(self) -> set[AppId]:
        """Return the targets that sign with the key, as the journal has it and as the org does."""
        claimed = {app for app, each in self.activations().items() if each.state.is_active}
        assert claimed == self.signers()
        return claimed

    def notes(self, kind: str) -> list[Mapping[str, object]]:
        return [event.body for event in self.store.archive.events(RUN, kind=kind)]

    def told(self, kind: type[Event]) -> list[Any]:
        """Return the events of a kind that whoever watched has seen."""
        return [event for event in self.recorder.events if isinstance(event, kind)]

    def notices(self) -> list[str]:
        return [event.text for event in self.told(Noticed)]

    def result(self) -> RunResult:
        return result_of(self.store.archive, RUN)

    def check_history(self) -> None:
        assert self.store.archive.verify(RUN).problem is None


def assert_waits(result: RunResult, *words: str) -> None:
    """Check that the run waits for its gates, which is no failure."""
    assert result.stop is not None
    assert result.stop.cause is StopCause.WAITING
    assert exit_code(result) is ExitCode.DONE
    for word in words:
        assert word in result.stop.detail


async def cut_short(execute: Callable[[], Any], when: Callable[[], object]) -> None:
    """Execute until the moment has come, then cancel at once."""
    with anyio.fail_after(30), anyio.CancelScope() as work:
        async with anyio.create_task_group() as group:
            group.start_soon(execute)
            await until(when)
            work.cancel()


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - neither sandbox nor journal announce anything
            await anyio.sleep(0.002)


def script(folder: Path, name: str, text: str) -> HookCommand:
    """Write a program for a hook."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return HookCommand(argv=(f"./{name}",))


def target_of(app: AppId, job: str = "job") -> Target:
    return Target(job=job, app=app)
