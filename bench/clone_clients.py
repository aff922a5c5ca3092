"""Ways to send the same clones: aiohttp and nothing else, our engine, Okta's own SDK.

Usage: python -m bench.clone_clients CLIENT URL CALLS. Prints CPU seconds per 1,000 calls, counted
after a warm-up, and the peak size of the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from bench.measure import cpu_seconds, peak_mebibytes
from bench.static_org import KID, SOURCE
from orchestrator.clock import SystemClock
from orchestrator.model import (
    Activation,
    AppId,
    Certificate,
    KeyRef,
    Kid,
    Outcome,
    RunId,
    Status,
    Target,
)
from orchestrator.okta.pacing import MOST_IN_FLIGHT
from orchestrator.store.base import (
    EventRecord,
    JobRecord,
    Journal,
    RunRecord,
    RunState,
    StopRecord,
    TargetRecord,
    WaveCounts,
)

WORKERS = MOST_IN_FLIGHT  # as fast as the engine ever goes
WARM_UP_CALLS = 300
TOKEN = "bench"  # noqa: S105 - the server looks at no token


@dataclass(frozen=True)
class Apps:
    """So many app ids, made as they are asked for: they are not what is to be measured."""

    number: int

    def __len__(self) -> int:
        return self.number

    def __iter__(self) -> Iterator[AppId]:
        return (AppId(f"0oa{index:014d}0h7") for index in range(self.number))


Send = Callable[[Apps], Awaitable[int]]


async def share_out(apps: Apps, clone: Callable[[AppId], Awaitable[bool]]) -> int:
    """Clone with WORKERS tasks that share one iterator; return how many clones succeeded."""
    shared = iter(apps)

    async def work() -> int:
        return sum([await clone(app) for app in shared])

    return sum(await asyncio.gather(*(work() for _ in range(WORKERS))))


@asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Send]:
    """The cheapest use of aiohttp that still is one: the floor for whatever is built on it."""
    import aiohttp
    from yarl import URL

    path = f"{url}/api/v1/apps/{SOURCE}/credentials/keys/{KID}/clone?targetAid="
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0),
        headers={
            "Authorization": f"SSWS {TOKEN}",
            "Accept": "application/json",
            "User-Agent": "bench",
            "Content-Length": "0",
        },
        skip_auto_headers=("Content-Type",),
    ) as session:

        async def clone(app: AppId) -> bool:
            address = URL(path + app, encoded=True)
            async with session.request("POST", address, allow_redirects=False) as response:
                await response.read()
                return response.status == 201

        yield lambda apps: share_out(apps, clone)


JOB = JobRecord(position=0, name="bench", key=KeyRef(app=AppId(SOURCE), kid=Kid(KID)), dropped={})

NO_OUTCOMES: tuple[Outcome, ...] = ()
NO_RECORDS: tuple[TargetRecord, ...] = ()


class Forgetful:
    """A journal that remembers nothing: what a run costs without one."""

    def __init__(self, apps: Apps, record: RunRecord) -> None:
        self.apps = apps
        self.record = record

    async def settle(self, outcome: Outcome) -> None: ...
    async def note_source(
        self,
        job: int,
        certificate: Certificate | None,
        problem: str | None,
        *,
        key: KeyRef | None = None,
    ) -> None: ...
    async def note_activation(self, activation: Activation) -> None: ...
    async def assign_waves(self, job: int, waves: Sequence[tuple[int, int]]) -> None: ...
    async def acknowledge(self, targets: Sequence[tuple[int, AppId]], by: str) -> None: ...
    async def note(self, kind: str, body: Mapping[str, object]) -> None: ...
    async def end_session(
        self, state: RunState, *, stop: StopRecord | None, exit_code: int
    ) -> None: ...

    async def pending(self, job: int) -> AsyncIterator[Target]:  # noqa: ARG002 - Journal
        for app in self.apps:
            yield Target(job=JOB.name, app=app)

    async def staged(self, job: int) -> AsyncIterator[Outcome]:  # noqa: ARG002 - Journal
        for outcome in NO_OUTCOMES:
            yield outcome

    async def activatable(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:  # noqa: ARG002
        for record in NO_RECORDS:
            yield record

    async def activated(self, job: int, wave: int) -> AsyncIterator[TargetRecord]:  # noqa: ARG002
        for record in NO_RECORDS:
            yield record

    def waves(self, job: int) -> list[WaveCounts]:  # noqa: ARG002 - Journal
        return []

    def wave_sizes(self, job: int) -> dict[int | None, int]:  # noqa: ARG002 - Journal
        return {None: len(self.apps)}

    def notes(self, kind: str) -> Iterator[EventRecord]:  # noqa: ARG002 - Journal
        return iter(())


@asynccontextmanager
async def journal_of(apps: Apps, *, is_durable: bool) -> AsyncIterator[Journal]:
    """Open a journal on disk, as a real run has it, or none to speak of."""
    from orchestrator.cli.opening import this_session
    from orchestrator.store.base import NewRun
    from orchestrator.store.sqlite import Store

    new = NewRun(run_id=RunId("bench"), plan="bench", org="bench", plan_digest="", dry_run=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(Path(folder, "runs.sqlite3"), clock=SystemClock()) as store,
    ):
        rows = ((0, Target(job=JOB.name, app=app)) for app in apps)
        store.create_run(new, [JOB], rows if is_durable else (), this_session())
        if is_durable:
            async with store.journal(new.run_id) as journal:
                yield journal
        else:
            yield Forgetful(apps, store.archive.run(new.run_id))


@asynccontextmanager
async def our_engine(url: str, *, is_durable: bool = True) -> AsyncIterator[Send]:
    """A run as `okta-keys run` executes it, proofs included, without progress and report."""
    from orchestrator.cli.wiring import open_api
    from orchestrator.engine.result import RunSettings
    from orchestrator.engine.run import Run
    from orchestrator.events import Broadcast
    from orchestrator.halt import Halt
    from orchestrator.okta.credentials import ApiToken
    from orchestrator.okta.http import Timeouts
    from orchestrator.secret import Secret
    from orchestrator.settings.access import OrgAccess

    clock, halt, observer = SystemClock(), Halt(), Broadcast()
    settings = RunSettings(run_id=RunId("bench"), plan="bench", org=url, workers=WORKERS)
    async with open_api(
        OrgAccess(url=url, credential=ApiToken(token=Secret(TOKEN))),
        capacity=0.9,
        bounds=Timeouts(),
        clock=clock,
        halt=halt,
        random=Random(1),
        observer=observer,
    ) as api:

        async def send(apps: Apps) -> int:
            async with journal_of(apps, is_durable=is_durable) as journal:
                run = Run(
                    settings,
                    [JOB],
                    pending=len(apps),
                    journal=journal,
                    api=api,
                    clock=clock,
                    halt=halt,
                    observer=observer,
                )
                await run.execute()
            return run.counts[Status.CLONED]

        yield send


@asynccontextmanager
async def okta_sdk(url: str) -> AsyncIterator[Send]:
    """Okta's SDK with one session for all calls; without one it connects anew for each."""
    from okta.client import Client

    async with Client({"orgUrl": url, "token": TOKEN}) as sdk:

        async def clone(app: AppId) -> bool:
            answer: tuple[Any, Any, Any] = await sdk.clone_application_key(SOURCE, KID, app)
            key, _, error = answer
            return error is None and key.kid == KID

        yield lambda apps: share_out(apps, clone)


CLIENTS: dict[str, Callable[[str], AbstractAsyncContextManager[Send]]] = {
    "raw aiohttp": raw_aiohttp,
    "engine": our_engine,
    "engine without journal": partial(our_engine, is_durable=False),
    "okta SDK": okta_sdk,
}


async def measure(client: str, url: str, calls: int) -> dict[str, float]:
    """Send the clones, and return what they cost.

    Raises:
        SystemExit: a clone did not succeed, so the figures would mean nothing.
    """
    async with CLIENTS[client](url) as send:
        await send(Apps(WARM_UP_CALLS))
        before = cpu_seconds()
        cloned = await send(Apps(calls))
        used = cpu_seconds() - before
    if cloned != calls:
        raise SystemExit(f"{client}: {cloned} of {calls} clones succeeded")
    return {"cpu_per_1000": 1000 * used / calls, "peak_mib": peak_mebibytes()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
