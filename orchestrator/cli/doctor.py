"""Say whether a run could begin: settings, state, org, credential, limits. Changes nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import anyio
from rich.console import Console
from rich.text import Text

from orchestrator.cli.belts import check_changes, check_protected
from orchestrator.cli.opening import kept_days
from orchestrator.cli.wiring import open_api, read_faults, sandbox_for
from orchestrator.clock import SystemClock
from orchestrator.doctor.checks import Finding, Grade, failed, skipped, verdict
from orchestrator.doctor.examine import AFTER_REACH, Examination, Wanted
from orchestrator.doctor.local import (
    commands_finding,
    reports_finding,
    state_finding,
    versions_finding,
)
from orchestrator.errors import ExitCode, OrchestratorError, SafetyError
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.inventory.totals import counted
from orchestrator.model import Resource
from orchestrator.okta.network import PLAIN, tls_context
from orchestrator.okta.permissions import needs_of
from orchestrator.okta.retry import RetryPolicy
from orchestrator.plan.load import load_plan
from orchestrator.plan.resolved import ResolvedJob
from orchestrator.plan.schema import Limits, Plan
from orchestrator.plan.settings import hook_commands
from orchestrator.plan.targets import resolve
from orchestrator.scrubbing import scrub
from orchestrator.settings.access import OrgAccess, OrgSettings, org_settings
from orchestrator.settings.secret_commands import aside
from orchestrator.settings.sources import ToldSetting
from orchestrator.store.lock import state_folder
from orchestrator.writing import on_lines

SCHEMA_VERSION = "1.0"
IMPATIENT = RetryPolicy(attempts=2, rate_refusals=2, first_wait=0.2, longest_wait=1.0, total=90.0)
COLOURS = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red", Grade.SKIPPED: "dim"}
INDENT = 21  # columns of grade and check


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """The command line of `doctor`."""

    plan: Path | None = None
    profile: str | None = None
    config: Path | None = None
    state: Path | None = None
    sandbox: bool = False
    as_json: bool = False


@dataclass(slots=True)
class Diagnosis:
    """What is found, line by line, and which source supplied each setting."""

    console: Console | None  # to tell it as it comes
    findings: list[Finding]
    settings: tuple[ToldSetting, ...] = ()

    def add(self, finding: Finding) -> None:
        remedy = scrub(finding.remedy) if finding.remedy else None
        finding = replace(finding, text=scrub(finding.text), remedy=remedy)
        self.findings.append(finding)
        if self.console is not None and finding.grade is not Grade.SKIPPED:
            tell(self.console, finding)

    def end(self) -> None:
        """Tell last what could not be looked at."""
        left = [finding for finding in self.findings if finding.grade is Grade.SKIPPED]
        if self.console is not None and left:
            tell_skipped(self.console, left)


def show_diagnosis(options: DoctorOptions) -> ExitCode:
    """Look, tell, and return the code of the first failure, or DONE.

    Raises:
        PlanError: the plan itself is wrong: `validate` has more to say about that.
    """
    plan = load_plan(options.plan) if options.plan else None
    jobs = resolve(plan) if plan else ()
    console = None if options.as_json else Console(stderr=True, highlight=False)
    diagnosis = Diagnosis(console, [])
    anyio.run(diagnose, options, plan, jobs, diagnosis)
    diagnosis.end()
    code = verdict(diagnosis.findings)
    if options.as_json:
        sys.stdout.write(json.dumps(document(diagnosis, code), indent=2) + "\n")
    return code


async def diagnose(
    options: DoctorOptions,
    plan: Plan | None,
    jobs: Sequence[ResolvedJob],
    diagnosis: Diagnosis,
) -> None:
    """Look at everything, this machine first."""
    clock = SystemClock()
    diagnosis.add(versions_finding())
    diagnosis.add(state_finding(state_folder(options.state, os.environ), clock))
    if plan is not None:
        for finding in local_findings(plan, jobs):
            diagnosis.add(finding)
    async with AsyncExitStack() as stack:
        access = await access_for(options, plan, jobs, diagnosis, stack)
        if access is None:
            for check in ("reach", *AFTER_REACH):
                diagnosis.add(skipped(check, "the settings come first"))
            return
        if plan is not None:
            diagnosis.add(plan_finding(plan, jobs, access))
        async for finding in examined(access, plan, jobs, clock):
            diagnosis.add(finding)


def local_findings(plan: Plan, jobs: Sequence[ResolvedJob]) -> Iterator[Finding]:
    """Yield what this machine has for a plan."""
    yield reports_finding(Path(plan.report.dir))
    hooks = (hook for moment in hook_commands(plan).values() for hook in moment)
    rollouts = (job.settings.rollout for job in jobs)
    asked = (each.gate.acknowledge_by for each in rollouts if each is not None)
    programs = dict.fromkeys(each.argv[0] for each in (*hooks, *asked) if each is not None)
    if programs:
        yield commands_finding(tuple(programs), os.environ.get("PATH"))


def plan_finding(plan: Plan, jobs: Sequence[ResolvedJob], access: OrgAccess) -> Finding:
    """Say how much a plan is about, and whether a belt refuses it."""
    try:
        check_changes(plan.limits, jobs)
        check_protected(jobs, access.protected)
    except SafetyError as error:
        return failed("plan", error)
    size = sum(job.size for job in jobs)
    text = f"{counted(len(jobs), 'job', 'jobs')}, {counted(size, 'target', 'targets')}"
    if any(job.is_open for job in jobs):
        text += ", and those that its selectors pick: okta-keys preview tells"
    return Finding(check="plan", grade=Grade.OK, text=text, facts={"targets": size})


async def access_for(
    options: DoctorOptions,
    plan: Plan | None,
    jobs: Sequence[ResolvedJob],
    diagnosis: Diagnosis,
    stack: AsyncExitStack,
) -> OrgAccess | None:
    """Return the way to the org, after telling who says so; None: the settings are not fit."""
    if options.sandbox:
        text = "a sandbox in this process"
        diagnosis.add(Finding(check="settings", grade=Grade.OK, text=text))
        return await stack.enter_async_context(sandbox_for(jobs, read_faults(None)))
    try:
        kept_days(os.environ)  # a run asks for it when it begins
        settings = org_settings(plan, os.environ, profile=options.profile, config=options.config)
        diagnosis.settings = settings.told()
        access = await aside(settings.access)
        if access.network != PLAIN:
            tls_context(access.network)  # its files are settings, too
    except OrchestratorError as error:
        diagnosis.add(failed("settings", error))
        return None
    diagnosis.add(settings_finding(settings))
    return access


def settings_finding(settings: OrgSettings) -> Finding:
    """Say what is used, and who said so."""
    lines = [f"{each.name}: {each.value}, from {each.source}" for each in settings.told()]
    text = "\n".join(lines)
    if settings.notes:
        notes = "; ".join(settings.notes)
        return Finding(check="settings", grade=Grade.WARN, text=text, remedy=notes)
    return Finding(check="settings", grade=Grade.OK, text=text)


async def examined(
    access: OrgAccess, plan: Plan | None, jobs: Sequence[ResolvedJob], clock: SystemClock
) -> AsyncIterator[Finding]:
    """Open the org and look at it. A key that cannot be used shows when it is opened."""
    try:
        limits, bounds = plan.limits if plan else Limits(), access.bounds
        async with open_api(
            access,
            capacity=limits.capacity,
            bounds=replace(bounds, whole=bounds.connect + bounds.read),
            clock=clock,
            halt=Halt(),
            random=Random(),  # noqa: S311 - jitter
            observer=Broadcast(),
            retry=IMPATIENT,
        ) as api:
            examination = Examination(
                api,
                credential=access.credential,
                network=access.network,
                wanted=wanted_for(plan, jobs),
                capacity=limits.capacity,
                clock=clock,
            )
            async for finding in examination.findings():
                yield finding
    except OrchestratorError as error:  # a private key is of no use
        yield failed("credential", error)
        for check in ("reach", *AFTER_REACH):
            if check != "credential":
                yield skipped(check, "the credential comes first")


def wanted_for(plan: Plan | None, jobs: Sequence[ResolvedJob]) -> Wanted:
    """Return what a plan needs, or what any rotation of apps does."""
    if plan is None:
        return Wanted(needs=needs_of())
    resources = {job.resource for job in plan.jobs}
    logs = any(
        job.activate is not None and job.cross_check and job.resource is Resource.APP
        for job in plan.jobs
    )
    needs = needs_of(
        apps=Resource.APP in resources, idps=Resource.IDP in resources, cross_check=logs
    )
    sources = tuple({job.key: None for job in jobs if job.key.app})
    return Wanted(
        needs=needs,
        apps=Resource.APP in resources,
        idps=Resource.IDP in resources,
        log=logs,
        sources=sources,
    )


# Telling it


def tell(console: Console, finding: Finding) -> None:
    """Print one finding: its grade, what was looked at, what was seen, and the remedy."""
    head = Text(f"{finding.grade.value:9}", style=COLOURS[finding.grade])
    head.append(f"{finding.check:12}", style="bold")
    body = Text(on_lines(finding.text))
    if finding.remedy:
        body.append(f"\nhint: {on_lines(finding.remedy)}", style="cyan")
    for line in body.wrap(console, max(20, console.width - INDENT)):
        line.rstrip()
        console.print(head + line, soft_wrap=True)
        head = Text(" " * INDENT)


def tell_skipped(console: Console, findings: Sequence[Finding]) -> None:
    """Print in one line what was not looked at; it has one reason."""
    checks = ", ".join(finding.check for finding in findings)
    tell(console, replace(findings[0], check="", text=f"{checks}: {findings[0].text}"))


def document(diagnosis: Diagnosis, code: ExitCode) -> dict[str, object]:
    """Return the diagnosis for programs; additions only within a major version."""
    return {
        "schema_version": SCHEMA_VERSION,
        "exit_code": int(code),
        "settings": [
            {"name": each.name, "value": each.value, "source": each.source}
            for each in diagnosis.settings
        ],
        "checks": [
            {
                "check": each.check,
                "grade": each.grade.value,
                "text": each.text,
                "remedy": each.remedy,
                "facts": dict(each.facts),
            }
            for each in diagnosis.findings
        ],
    }
