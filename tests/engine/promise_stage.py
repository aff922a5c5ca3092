"""An org that is previewed and then run, by two programs that share nothing but the org."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random

from orchestrator.cli.closing import conclude
from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.engine.keys import CSR_CREATED
from orchestrator.engine.publish import publish
from orchestrator.engine.result import ArchivedRecords, Forecast, RunResult, RunSettings
from orchestrator.engine.resume import ResolvedJob
from orchestrator.engine.run import Run
from orchestrator.engine.staging import SourceKey
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.model import AppId, RunId
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.okta.pacer import Bucket
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.serve import Served, serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.base import TargetRecord
from orchestrator.store.sqlite import Store
from tests.sandbox.authority import der_of, issued
from tests.support import NO_LIMITS

RUN, PLAN, ORG = RunId("r"), "p", "o"
CLOCK = SystemClock()
BUCKETS = {  # the sandbox's names, in the words of the forecast
    "apps": Bucket.APPS,
    "app.read": Bucket.APP_READ,
    "app.write": Bucket.APP_WRITE,
    "v1": Bucket.IDPS,
    "logs": Bucket.LOGS,
}


def buckets_of(calls: Sequence[LoggedCall]) -> dict[Bucket, int]:
    """Count calls by bucket; those of none cost nothing."""
    # Without limits the sandbox counts nothing, so the bucket is told by the call itself.
    return Counter(bucket for call in calls if (bucket := bucket_of(call)))


def bucket_of(call: LoggedCall) -> Bucket | None:
    if call.bucket is not None:
        return BUCKETS[call.bucket]
    if call.template.startswith("/api/v1/idps"):
        return Bucket.IDPS
    named = {
        "GET /api/v1/apps/{appId}": Bucket.APP_READ,
        "PUT /api/v1/apps/{appId}": Bucket.APP_WRITE,
        "GET /api/v1/logs": Bucket.LOGS,
    }
    usual = Bucket.APPS if call.template.startswith("/api/v1/apps") else None
    return named.get(f"{call.method} {call.template}", usual)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a preview has promised, or what a run has come to."""

    result: RunResult
    records: tuple[TargetRecord, ...]
    log: Sequence[LoggedCall]
    seconds: float  # of the execution itself

    @property
    def forecast(self) -> Forecast:
        assert self.result.forecast is not None
        return self.result.forecast

    @property
    def calls(self) -> dict[Bucket, int]:
        """Return what it has cost each bucket."""
        return buckets_of(self.log)

    @property
    def promised_calls(self) -> dict[Bucket, int]:
        """Return what the run to come is to cost each bucket."""
        buckets = self.forecast.buckets
        return {Bucket(each.bucket): each.calls for each in buckets if each.calls}

    def of(self, app: AppId) -> TargetRecord:
        """Return the record of the only target that is this app."""
        [record] = (record for record in self.records if record.target.app == app)
        return record


@dataclass
class PromiseStage:
    """An org, and the plan that is previewed and run on it while it is served."""

    org: SandboxOrg = field(default_factory=lambda: SandboxOrg(seed=1))
    limits: LimitSettings = NO_LIMITS
    capacity: float = 0.9
    settings: RunSettings = field(
        default_factory=lambda: RunSettings(run_id=RUN, plan=PLAN, org=ORG, workers=10)
    )
    store: Store = field(default_factory=lambda: Store.memory(clock=CLOCK))
    site: Served = field(init=False)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve the org; the windows of its limits go on from one execution to the next."""
        async with serve(self.org, limits=self.limits, faults=FaultScript()) as self.site:
            yield

    async def preview(self, *jobs: ResolvedJob) -> Ran:
        """Look at everything without a write, and keep what was seen for the run to come."""
        settings = replace(self.settings, dry_run=True)
        with Store.memory(clock=CLOCK) as store:
            async with self.execution(store, settings, jobs) as run:
                began, before = CLOCK.monotonic(), len(self.org.log)
                await run.execute()
                await run.look_ahead(ArchivedRecords(store.archive, RUN, {}, {}))
                ran = await self.ran(run, store, before, CLOCK.monotonic() - began)
        self.store.save_snapshot(PLAN, ORG, run.snapshots)
        assert all(call.method == "GET" for call in ran.log)
        return ran

    async def run(self, *jobs: ResolvedJob) -> Ran:
        """Do all that is due of the plan."""
        async with self.execution(self.store, self.settings, jobs) as run:
            began, before = CLOCK.monotonic(), len(self.org.log)
            await run.execute()
            return await self.ran(run, self.store, before, CLOCK.monotonic() - began)

    async def ran(self, run: Run, store: Store, before: int, seconds: float) -> Ran:
        result = await conclude(run, store)
        records = tuple(ArchivedRecords(store.archive, RUN, {}, {}))
        return Ran(
            result=result, records=records, log=tuple(self.org.log[before:]), seconds=seconds
        )

    @asynccontextmanager
    async def connected(self, halt: Halt | None = None) -> AsyncIterator[OktaApi]:
        """Open a way to the org that knows nothing of it yet."""
        async with open_api(
            OrgAccess(url=self.site.url, credential=ApiToken(token=Secret(self.org.token))),
            capacity=self.capacity,
            bounds=Timeouts(),
            clock=CLOCK,
            halt=halt or Halt(),
            random=Random(1),
            observer=Broadcast(),
        ) as api:
            yield api

    @asynccontextmanager
    async def execution(
        self, store: Store, settings: RunSettings, jobs: Sequence[ResolvedJob]
    ) -> AsyncIterator[Run]:
        """Take the run up in a program of its own, and yield it before it has begun."""
        halt = Halt()
        new = new_run(RUN, PLAN, ORG, jobs, dry_run=settings.dry_run)
        opened = continue_or_create(store, new, jobs, this_session())
        opened.begin(store)
        async with store.journal(RUN) as journal, self.connected(halt) as api:
            yield Run(
                replace(settings, jobs={job.name: job.settings for job in jobs}),
                store.archive.jobs(RUN),
                pending=opened.pending,
                journal=journal,
                api=api,
                clock=CLOCK,
                halt=halt,
                observer=Broadcast(),
                seen=self.store.archive.snapshot(PLAN, ORG),
            )

    async def publish(self, *jobs: ResolvedJob) -> tuple[LoggedCall, ...]:
        """Let a CA sign whatever the run waits for, and hand it in; return the calls of that."""
        before = len(self.org.log)
        async with self.execution(self.store, self.settings, jobs) as run:
            for event in run.journal.notes(CSR_CREATED):
                [job] = (job for job in run.jobs if job.position == event.body["job"])
                der = der_of(issued(str(event.body["csr"])))
                key = await publish(run.context, job, str(event.body["id"]), der)
                assert isinstance(key, SourceKey)
                await run.sources.record(job, key.ref, key.certificate, None)
        return tuple(self.org.log[before:])
