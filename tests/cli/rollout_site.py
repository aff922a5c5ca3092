"""A plan that goes the whole way, an org for it, and a clock that can be moved."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio

from orchestrator.cli.wiring import seed_apps
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.forked import okta_keys_forked
from tests.cli.program import Ended
from tests.cli.site import APPS, JOB, KEY, SOURCE, Site, checked, until

SIX = APPS[:6]
GENERATE = "{generate: {validity_years: 3}}"
CLOCK_CALL = "/.well-known/okta-organization"
KEYS = "/api/v1/apps/{appId}/credentials/keys"
READ, WRITE = "GET /api/v1/apps/{appId}", "PUT /api/v1/apps/{appId}"
BUCKET_OF = {  # the calls that have a bucket of their own
    READ: "GET /api/v1/apps/{id}",
    WRITE: "PUT /api/v1/apps/{id}",
    "GET /api/v1/logs": "/api/v1/logs",
}


def rollout_plan(
    apps: Sequence[str] = SIX,
    *,
    key: str = GENERATE,
    source: str = "",
    activate: str = "{waves: [1, 2, 100%]}",
    job: str = "",
    top: str = "",
) -> str:
    """Return a plan of one job. `job` and `top` are further lines of the job, and of the plan."""
    from_app = f"{{app: {SOURCE}, key: {key}}}"
    return (
        f"version: 1\nname: rollout\n{top}\njobs:\n  - name: {JOB}\n"
        f"    source: {source or from_app}\n"
        f"    targets: [{', '.join(apps)}]\n    activate: {activate}\n    {job}\n"
    )


@dataclass(frozen=True)
class RolloutSite(Site):
    """As `Site`, for a plan that activates."""

    former: dict[str, str | None]  # what each app signed with at first

    @property
    def port(self) -> int:
        return urlsplit(self.env["OKTA_CLIENT_ORGURL"]).port or 0

    @property
    def kids(self) -> dict[str, str | None]:
        """What each app signs with now."""
        return kids_of(self.org)

    @property
    def made(self) -> str:
        """The only key that was generated, or published."""
        [kid] = {str(row["kid"]) for row in self.report()["jobs"]}
        return kid

    def switched(self) -> set[str]:
        """Return the apps that sign with another key than at first."""
        return {app for app, _ in self.kids.items() ^ self.former.items()}

    async def keys(self, *arguments: object, through: Sequence[str] = ()) -> Ended:
        """Run a command to its end, without the time that its imports would take."""
        if through:
            return await super().keys(*arguments, through=through)
        ended = await okta_keys_forked(*arguments, env=self.env, cwd=self.folder)
        assert "Traceback" not in ended.err, ended.err
        return ended

    def rekey(self, app: str) -> str:
        """Let somebody else make a key for an app, and activate it; return its kid."""
        kid = str(self.org.generate_key(app, "2")["kid"])
        credentials = {"signing": {"kid": kid}}
        self.org.update_app(app, self.org.apps[app].document() | {"credentials": credentials})
        return kid

    def calls(self, since: int = 0) -> Counter[str]:
        """Count the calls by method and template, past so many."""
        return calls_in(self.org.log[since:])

    def buckets(self, since: int = 0) -> Counter[str]:
        """Count the calls that cost a rate limit by bucket, in the words of the report."""
        spent: Counter[str] = Counter()
        for call, number in self.calls(since).items():
            if CLOCK_CALL not in call:
                spent[BUCKET_OF.get(call, "/api/v1/apps")] += number
        return spent

    def writes(self, app: str, since: int = 0) -> int:
        """Count the PUTs of an app that took effect."""
        changed = (call for call in self.org.log[since:] if call.method == "PUT" and call.effect)
        return sum(call.app == app for call in changed)

    async def preview(self, *options: object) -> Ended:
        return await self.keys("preview", self.plan, "--report-dir", "ahead", *options)

    def foreseen(self) -> dict[str, Any]:
        """Return the report of the last preview."""
        newest = max((self.folder / "ahead").glob("*.json"), key=lambda path: path.stat().st_mtime)
        return checked(newest.read_text())

    async def rollback(self, *options: object) -> Ended:
        return await self.keys("rollback", "latest", *options)

    async def status(self) -> dict[str, Any]:
        """Return what `status --json` says of the last run."""
        ended = await self.keys("status", "latest", "--json")
        assert ended.code == 0, ended.err
        said = json.loads(ended.out)
        assert isinstance(said, dict)
        return said

    async def until_staged(self, number: int) -> None:
        """Wait until the org, and the journal of the last run, know of so many staged targets."""
        await until(lambda: len(self.clones()) >= number)
        with anyio.fail_after(30):
            while (await self.status())["done"] < number:  # noqa: ASYNC110 - a journal tells nobody
                await anyio.sleep(0.1)

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of the only CSV report."""
        [path] = (path for path in self.reports.glob("*.csv") if "failed" not in path.name)
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def org_time(self) -> datetime:
        return datetime.fromtimestamp(self.org.epoch(), UTC)


def kids_of(org: SandboxOrg) -> dict[str, str | None]:
    return {holder.id: holder.active_kid for holder in (*org.apps.values(), *org.idps.values())}


def calls_in(log: Sequence[LoggedCall]) -> Counter[str]:
    return Counter(f"{call.method} {call.template}" for call in log)


def events_of(ended: Ended) -> list[dict[str, Any]]:
    """Return the lines of NDJSON on a program's stdout."""
    return [json.loads(line) for line in ended.out.splitlines()]


def states(report: Mapping[str, Any]) -> dict[str, str | None]:
    """Return where the activation of each target stands, by a report."""
    return {
        row["app_id"]: row["activation"] and row["activation"]["state"] for row in report["targets"]
    }


def reasons(report: Mapping[str, Any]) -> dict[str, str]:
    """Return why targets are not activated, by a report."""
    rows = ((row["app_id"], row["activation"]) for row in report["targets"])
    return {app: part["reason"] for app, part in rows if part and part["reason"]}


def assert_true_to_the_org(where: RolloutSite) -> dict[str, Any]:
    """Return the report, of which everything that it claims is so in the org."""
    report, kids = where.report(), where.kids
    for row in report["targets"]:
        app, part = row["app_id"], row["activation"]
        if row["status"] in ("cloned", "generated", "already_present"):
            assert where.org.holds(app, row["kid"]), row
        if part and part["state"] in ("activated", "verified"):
            assert kids[app] == row["kid"], row
            assert part["previous_kid"] in (where.former[app], None), row
        else:
            assert kids[app] == where.former[app], row
    return report


@asynccontextmanager
async def rollout_site(
    folder: Path,
    *faults: Fault,
    text: str = "",
    plan: Path | None = None,
    org: SandboxOrg | None = None,
    port: int = 0,
    limits: LimitSettings | None = None,
) -> AsyncIterator[RolloutSite]:
    """Serve an org for a plan, which is `text` in the folder, or is there, or lies elsewhere.

    To go on with an org that was served before, give it with its port: a run knows its org by URL.
    """
    path = plan or folder / "plan.yaml"
    if text:
        path.write_text(text)
    if org is None:
        org = SandboxOrg(seed=1)
        seed_apps(org, resolve(load_plan(path)))
        if SOURCE in org.apps:
            org.add_key(SOURCE, KEY)
    limits = limits or LimitSettings(enabled=False)
    async with serve(org, limits=limits, faults=FaultScript.of(list(faults)), port=port) as served:
        env = {
            "OKTA_CLIENT_ORGURL": served.url,
            "OKTA_CLIENT_TOKEN": org.token,
            "OKTA_KEYS_STATE": str(folder / "state"),
        }
        yield RolloutSite(org, env, folder, kids_of(org))
