"""The safety belts: what refuses a run before it has changed anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from orchestrator.cli.opening import record_of
from orchestrator.cli.options import Execution
from orchestrator.engine.checksum import checksum_of, matches_checksum
from orchestrator.engine.keys import look_up
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import SafetyError
from orchestrator.model import NEW_KID, AppId, KeyKind, KeyRef
from orchestrator.okta.api import OktaApi
from orchestrator.plan.schema import Limits
from orchestrator.plan.settings import hook_commands
from orchestrator.store.base import JobRecord

MOST_NAMED = 10
LOOKED_UP = (KeyKind.ACTIVE, KeyKind.NEWEST)


def check_changes(limits: Limits, jobs: Sequence[ResolvedJob], signing: int | None = None) -> None:
    """Refuse a run that could change more apps than the plan allows.

    `signing`: how many of the org sign with a key. A percentage is not checked without it.

    Raises:
        SafetyError: there are more targets than `limits.max_changes`.
    """
    targets, most = sum(job.size for job in jobs), limits.max_changes
    allowed = f"{most}"
    if isinstance(most, float):
        if signing is None:
            return
        allowed = f"{most:.4%}".rstrip("0%").rstrip(".") + f"% of {signing}"
        most = int(most * signing + 1e-9)
    if most is not None and targets > most:
        raise SafetyError(
            f"the plan has {targets} targets, but limits.max_changes allows {allowed} changes",
            hint="look at `okta-keys preview`, then raise max_changes or split the plan",
        )


def check_protected(jobs: Sequence[ResolvedJob], protected: Collection[AppId]) -> None:
    """Refuse a run that would touch what the org's profile protects.

    Raises:
        SafetyError: a target is protected.
    """
    if not protected:
        return
    found = (target.app for job in jobs for target in job.stream() if target.app in protected)
    if named := list(dict.fromkeys(islice(found, MOST_NAMED))):
        raise SafetyError(
            f"the plan has targets that its profile protects: {', '.join(named)}",
            hint="exclude them, or take them off `protected` in the profile",
        )


def refusals(execution: Execution, protected: Collection[AppId]) -> Iterator[SafetyError]:
    """Yield why a run would refuse to begin."""
    checks = (
        partial(check_changes, execution.plan.limits, execution.jobs, execution.signing),
        partial(check_protected, execution.jobs, protected),
    )
    for check in checks:
        try:
            check()
        except SafetyError as error:
            yield error


async def keys_looked_up(
    api: OktaApi, jobs: Sequence[ResolvedJob], known: Mapping[str, JobRecord]
) -> dict[str, JobRecord]:
    """Return the jobs that name their key as `active` or `newest`, with what these words mean now.

    `known` has those that the run of the plan has found out already.
    """
    found: dict[str, JobRecord] = {}
    for position, job in enumerate(jobs):
        if job.wanted.kind not in LOOKED_UP:
            continue
        record = record_of(position, job, known.get(job.name))
        key = record.key if record.key.is_known else await look_up(api, record)
        if isinstance(key, KeyRef):
            found[job.name] = replace(record, key=key)
    return found


def checksum(execution: Execution, org: str, found: Mapping[str, JobRecord]) -> str:
    """Return the checksum over everything that a run of the plan would do.

    `found` has the keys that were looked up. One that the run has made meanwhile still counts by
    how it was to be made: what the plan asks for has not changed.
    """
    keys = {
        job.name: found[job.name].key if job.name in found else replace(job.key, kid=NEW_KID)
        for job in execution.jobs
        if job.wanted.kind is not KeyKind.KID
    }
    hooks = hook_commands(execution.plan)
    return checksum_of(execution.plan.name, org, execution.jobs, hooks, keys=keys)


def check_expected(execution: Execution, org: str, found: Mapping[str, JobRecord]) -> None:
    """Refuse a run that would do something else than the preview whose checksum was given.

    Raises:
        SafetyError: it would.
    """
    expected = execution.options.expect
    if expected is None:
        return
    actual = checksum(execution, org, found)
    if not matches_checksum(expected, actual):
        raise SafetyError(
            f"the plan would now do something else than expected: its checksum is {actual}",
            hint="look at `okta-keys preview` again, and give the checksum that it shows",
        )
