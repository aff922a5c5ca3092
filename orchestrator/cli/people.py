"""What people say about a run: targets are ready, a wave may go. No call is made for it."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli.archives import existing_store, job_named, plan_of
from orchestrator.clock import SystemClock
from orchestrator.engine.gates import APPROVED, Standing, awaiting_people, standings
from orchestrator.errors import ExitCode, UsageError
from orchestrator.model import AppId, RunId
from orchestrator.plan.targets import read_app_ids
from orchestrator.store.base import Archive, JobRecord
from orchestrator.store.sqlite import Store


def acknowledge(
    run_id: str,
    apps: Sequence[str],
    file: Path | None,
    *,
    job: str | None,
    by: str | None,
    state: Path | None,
) -> ExitCode:
    """Record that targets are ready for the key. Saying so again changes nothing.

    Raises:
        UsageError: no target is named, or one that the run does not have.
        PlanError: the file is wrong.
    """
    named = [AppId(app) for app in apps] + (read_app_ids(file) if file else [])
    if not named:
        raise UsageError("which targets? Name them with --target APP or --file CSV")
    with existing_store(state, SystemClock()) as store:
        record = store.archive.run(run_id)
        only = job_named(store.archive.jobs(record.run_id), job).position if job else None
        places = places_of(store.archive, record.run_id, named, only)
        new = store.acknowledge(record.run_id, places, by or getpass.getuser())
    known = len(places) - new
    more = f", {known} were before" if known else ""
    noun = "target is" if new == 1 else "targets are"
    sys.stderr.write(f"run {record.run_id}: {new} {noun} acknowledged now{more}\n")
    return ExitCode.DONE


def places_of(
    archive: Archive, run_id: RunId, apps: Sequence[AppId], only: int | None
) -> list[tuple[int, AppId]]:
    """Return where a run has these apps: in every job, or in one of them.

    Raises:
        UsageError: it has one of them nowhere.
    """
    wanted = set(apps)
    places = [
        (record.job, record.target.app)
        for record in archive.targets(run_id)
        if record.target.app in wanted and only in (None, record.job)
    ]
    missing = wanted - {app for _, app in places}
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise UsageError(f"{len(missing)} of these are no targets of the run, such as {some}")
    return places


def approve_waves(
    run_id: str, *, wave: int | None, job: str | None, by: str | None, state: Path | None
) -> ExitCode:
    """Let the wave of each job go that waits for people.

    Raises:
        UsageError: no wave waits for them.
        InputError: no wave is named, and the plan that would tell cannot be loaded.
    """
    with existing_store(state, SystemClock()) as store:
        record = store.archive.run(run_id)
        jobs = store.archive.jobs(record.run_id)
        chosen = [job_named(jobs, job)] if job else list(jobs)
        waves = waves_for(store, record.run_id, chosen, wave)
        if not waves:
            raise UsageError(
                "nothing waits for approval", hint=f"okta-keys status {record.run_id} tells more"
            )
        for each, number in waves:
            body = {"job": each.position, "wave": number, "by": by or getpass.getuser()}
            store.note(record.run_id, APPROVED, body)
            which = f"wave {number}" if number else "its waves"
            sys.stderr.write(f"run {record.run_id}: job {each.name}: {which} may go on\n")
    return ExitCode.DONE


def waves_for(
    store: Store, run_id: RunId, jobs: Sequence[JobRecord], wave: int | None
) -> list[tuple[JobRecord, int]]:
    """Return which wave of each job is to be let go."""
    archive = store.archive
    if wave is not None:
        numbers = {job.name: {each.wave for each in archive.waves(run_id, job.position)}
                   for job in jobs}  # fmt: skip
        found = [(job, wave) for job in jobs if wave in numbers[job.name]]
        if not found:
            raise UsageError(f"there is no wave {wave}")
        return found
    plan = plan_of(archive, archive.run(run_id))
    rollouts = {job.name: job.settings.rollout for job in plan.jobs}
    standing = standings(lambda kind: archive.events(run_id, kind=kind))
    waves: list[tuple[JobRecord, int]] = []
    for job in jobs:
        rollout = rollouts.get(job.name)
        if rollout is None:
            continue
        said = standing.get(job.position, Standing())
        number = awaiting_people(archive.waves(run_id, job.position), rollout, said)
        if number is not None:
            waves.append((job, number))
    return waves
