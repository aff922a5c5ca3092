"""Find or make the run that an execution belongs to, in the store."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator import __version__
from orchestrator.engine.resume import (
    KnownJob,
    PlanChanges,
    ResolvedJob,
    changes_between,
    digest_of,
)
from orchestrator.errors import ConfigError, InputError
from orchestrator.model import RunId, Status
from orchestrator.store.base import JobRecord, NewRun, RunRecord, RunState, Session
from orchestrator.store.sqlite import Store

KEEP_VARIABLE = "OKTA_KEYS_KEEP_DAYS"
KEEP_DAYS = 400  # a year, and a month to look back


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """The run to execute, and what a person should know about it."""

    run_id: RunId
    pending: int  # targets that this execution is to settle
    is_over: bool = False  # there is nothing to do, and the run says so itself
    notices: tuple[str, ...] = ()


def this_session() -> Session:
    """Describe the present process, for the lock and the journal."""
    command = shlex.join(["okta-keys", *sys.argv[1:]])
    return Session(pid=os.getpid(), host=socket.gethostname(), command=command, version=__version__)


def create(store: Store, new: NewRun, jobs: Sequence[ResolvedJob], session: Session) -> OpenedRun:
    """Begin a run with all targets of the plan."""
    records = [
        JobRecord(position=number, name=job.name, key=job.key, dropped=job.dropped)
        for number, job in enumerate(jobs)
    ]
    targets = ((number, target) for number, job in enumerate(jobs) for target in job.stream())
    store.create_run(new, records, targets, session)
    return OpenedRun(run_id=new.run_id, pending=sum(job.size for job in jobs))


def forget_old(store: Store, *, now: datetime, environ: Mapping[str, str]) -> None:
    """Prune runs that are over for so many days that nobody will ask for them.

    Never one that is not finished, nor the last of a plan: that is what tells what is done.

    Raises:
        ConfigError: OKTA_KEYS_KEEP_DAYS is no number of days.
    """
    text = environ.get(KEEP_VARIABLE, "").strip() or str(KEEP_DAYS)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 100_000):
        raise ConfigError(f"{KEEP_VARIABLE} is no number of days", hint=f"{KEEP_VARIABLE}=400")
    last: dict[tuple[str, str], RunId] = {}
    for record in store.archive.runs():
        last.setdefault((record.plan, record.org), record.run_id)
    store.prune(
        older_than=now - timedelta(days=int(text)),
        keep=lambda record: (
            record.state is not RunState.FINISHED or last[record.plan, record.org] == record.run_id
        ),
    )


def new_run(
    run_id: RunId, plan: str, org: str, jobs: Sequence[ResolvedJob], *, dry_run: bool
) -> NewRun:
    """Describe a run that is to be created."""
    return NewRun(run_id=run_id, plan=plan, org=org, plan_digest=digest_of(jobs), dry_run=dry_run)


def continue_or_create(
    store: Store, new: NewRun, jobs: Sequence[ResolvedJob], session: Session
) -> OpenedRun:
    """Go on with the last run of the plan, or begin one where there is none to go on with.

    Call it with the plan's lock held.

    Raises:
        InputError: the plan now clones other keys, while the last run is not finished.
    """
    earlier = store.archive.runs(plan=new.plan, org=new.org)
    if not earlier:
        return create(store, new, jobs, session)
    last = earlier[0]
    notices: list[str] = []
    if last.plan_digest != new.plan_digest:
        changes = compare(store, last, jobs)
        if changes.is_another_rotation:
            return create_instead(store, new, jobs, session, last, changes)
        apply_changes(store, last, new, jobs, changes)
        if changes.lines():
            notices = [f"the plan has changed since run {last.run_id} began:", *changes.lines()]
    return take_up(store, last, session, notices)


def take_up(store: Store, last: RunRecord, session: Session, notices: Sequence[str]) -> OpenedRun:
    """Go on with a run; one whose targets all hold the key is left alone."""
    counts = store.archive.counts(last.run_id)
    due = counts.total - counts.staged
    if due == 0 and last.state is not RunState.RUNNING:
        done = f"nothing to do: all {counts.staged} targets hold the key (run {last.run_id})"
        return OpenedRun(run_id=last.run_id, pending=0, is_over=True, notices=(*notices, done))
    ended = "that did not end as it should" if last.state is RunState.RUNNING else "from before"
    failed = counts.settled[Status.FAILED]
    again = f", {failed} of them again" if failed else ""
    told = f"continuing run {last.run_id} {ended}: {counts.staged} done, {due} to do{again}"
    store.begin_session(last.run_id, session)
    return OpenedRun(run_id=last.run_id, pending=due, notices=(*notices, told))


def compare(store: Store, last: RunRecord, jobs: Sequence[ResolvedJob]) -> PlanChanges:
    """Say what is different between a run and the plan as it is now."""
    records = store.archive.jobs(last.run_id)
    unfinished = dict.fromkeys((job.name for job in records), 0)
    for _, target, outcome in store.archive.targets(last.run_id):
        unfinished[target.job] += outcome is None or not outcome.status.is_staged
    known = {
        job.name: KnownJob(name=job.name, key=job.key, unfinished=unfinished[job.name])
        for job in records
    }
    recorded = ((target, out) for _, target, out in store.archive.targets(last.run_id))
    return changes_between(known, recorded, jobs)


def create_instead(
    store: Store,
    new: NewRun,
    jobs: Sequence[ResolvedJob],
    session: Session,
    last: RunRecord,
    changes: PlanChanges,
) -> OpenedRun:
    """Begin a run for the new keys, unless that would leave old ones half staged unnoticed."""
    if changes.unfinished:
        raise InputError(
            f"the plan now clones other keys than run {last.run_id}, of which "
            f"{changes.unfinished} targets are not done:\n  " + "\n  ".join(changes.lines()),
            hint="finish it with the plan as it was, or begin a new run with --new",
        )
    opened = create(store, new, jobs, session)
    notice = f"a new run: the plan now clones other keys than run {last.run_id} did"
    return OpenedRun(run_id=opened.run_id, pending=opened.pending, notices=(notice,))


def apply_changes(
    store: Store,
    last: RunRecord,
    new: NewRun,
    jobs: Sequence[ResolvedJob],
    changes: PlanChanges,
) -> None:
    """Bring a run up to date with its plan."""
    positions = {job.name: job.position for job in store.archive.jobs(last.run_id)}
    added = [
        JobRecord(position=len(positions) + number, name=job.name, key=job.key, dropped=job.dropped)
        for number, job in enumerate(job for job in jobs if job.name not in positions)
    ]
    positions |= {job.name: job.position for job in added}
    store.change_plan(
        last.run_id,
        plan_digest=new.plan_digest,
        jobs=added,
        targets=((positions[target.job], target) for target in changes.added),
        removed=[(positions[name], app) for name, app in changes.removed],
    )
