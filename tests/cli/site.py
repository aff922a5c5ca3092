"""An org and a folder to work in: what a user has who runs plans against it."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import jsonschema
from anyio.abc import Process

from orchestrator.cli.wiring import seed_apps
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.store.sqlite import FILE_NAME
from tests.cli.forked import okta_keys_forked
from tests.cli.program import QUICKSTART, ROOT, Ended, okta_keys, started

REPORT_SCHEMA = json.loads((ROOT / "orchestrator/schemas/report-v1.schema.json").read_text())
SOURCE = "0oa8ae1t5yev2ajDs0h7"
KEY = "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"
OTHER_KEY = "BMGyKqTa7IUVQxeQvu2UttAzsiA8R5NtJasBLPDCnE5"
APPS = tuple(f"0oa8ae2p{number:012d}" for number in range(20))
JOB = "finance-signing"


@asynccontextmanager
async def served(
    *faults: Fault, plan: Path = QUICKSTART, limits: LimitSettings | None = None
) -> AsyncIterator[tuple[SandboxOrg, dict[str, str]]]:
    """Serve an org with the plan's apps; yield it and the environment that leads to it."""
    org = SandboxOrg(seed=1)
    seed_apps(org, resolve(load_plan(plan)))
    limits = limits or LimitSettings(enabled=False)
    async with serve(org, limits=limits, faults=FaultScript.of(list(faults))) as where:
        yield org, {"OKTA_CLIENT_ORGURL": where.url, "OKTA_CLIENT_TOKEN": org.token}


def report_in(folder: Path) -> dict[str, Any]:
    """Return the only JSON report of a folder, which must keep to the schema."""
    [path] = folder.glob("*.json")
    return checked(path.read_text())


def checked(text: str) -> dict[str, Any]:
    report = json.loads(text)
    jsonschema.validate(report, REPORT_SCHEMA, format_checker=jsonschema.FormatChecker())
    assert isinstance(report, dict)
    return report


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the sandbox announces nothing
            await anyio.sleep(0.02)


@dataclass(frozen=True)
class Site:
    """A plan in a folder, an org that it is for, and a state that outlives every program."""

    org: SandboxOrg
    env: dict[str, str]
    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "plan.yaml"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def state(self) -> Path:
        return Path(self.env["OKTA_KEYS_STATE"])

    @property
    def state_file(self) -> Path:
        return self.state / FILE_NAME

    async def keys(self, *arguments: object, through: Sequence[str] = ()) -> Ended:
        """Run a command to its end; whatever becomes of it, it leaves no traceback."""
        if through:
            ended = await okta_keys(*arguments, env=self.env, cwd=self.folder, through=through)
        else:
            ended = await okta_keys_forked(*arguments, env=self.env, cwd=self.folder)
        assert "Traceback" not in ended.err, ended.err
        return ended

    async def run(self, *options: object, through: Sequence[str] = ()) -> Ended:
        return await self.keys("run", self.plan, *options, through=through)

    def starting(self, *options: object) -> AbstractAsyncContextManager[Process]:
        return started("run", self.plan, *options, env=self.env, cwd=self.folder)

    def clones(self) -> Counter[str]:
        """Count the calls that were to clone a key, by target."""
        return Counter(call.target for call in self.org.log if call.target)

    def write_plan(
        self, apps: Sequence[str] = APPS[:12], *, key: str = KEY, limits: str = "{workers: 1}"
    ) -> None:
        write_plan(self.plan, apps, key=key, limits=limits)

    def report(self) -> dict[str, Any]:
        return report_in(self.reports)

    def events(self) -> int:
        """Count the events of all runs, past the program."""
        with closing(sqlite3.connect(self.state_file)) as connection:
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])

    def remembered(self) -> list[str]:
        """Return all that the state says of runs, past the program; certificates are no part."""
        with closing(sqlite3.connect(self.state_file)) as connection:
            return [line for line in connection.iterdump() if '"certificates"' not in line]


def write_plan(path: Path, apps: Sequence[str], *, key: str = KEY, limits: str = "{}") -> None:
    listed = "".join(f"      - {app}\n" for app in apps)
    path.write_text(
        f"version: 1\nname: finance\nlimits: {limits}\njobs:\n  - name: {JOB}\n"
        f"    source: {{app: {SOURCE}, key: {key}}}\n    targets:\n{listed}"
    )


@asynccontextmanager
async def site(
    folder: Path, *faults: Fault, limits: LimitSettings | None = None, state: Path | None = None
) -> AsyncIterator[Site]:
    """Serve an org with all `APPS` and both keys, for a plan with twelve of the apps."""
    plan = folder / "plan.yaml"
    write_plan(plan, APPS)
    async with served(*faults, plan=plan, limits=limits) as (org, env):
        org.add_key(SOURCE, OTHER_KEY)
        made = Site(org, env | {"OKTA_KEYS_STATE": str(state or folder / "state")}, folder)
        made.write_plan()
        yield made
