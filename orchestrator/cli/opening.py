"""Find or make the run that an execution belongs to, in the store."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator import __version__
from orchestrator.engine.gates import still_due
from orchestrator.engine.keys import CSR_CREATED
from orchestrator.engine.resume import (
    KnownJob,
    PlanChanges,
    ResolvedJob,
    changes_between,
    digest_of,
)
from orchestrator.errors import ConfigError, InputError
from orchestrator.model import ActivationState, KeyKind, RunId, Status
from orchestrator.store.base import (
    Archive,
    JobRecord,
    NewRun,
    RunRecord,
    RunState,
    Session,
)
from orchestrator.store.sqlite import Store

KEEP_VARIABLE = "OKTA_KEYS_KEEP_DAYS"
KEEP_DAYS = 400  # a year, and a month to look back


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """The run to execute, and what a person should know about it."""

    run_id: RunId
    pending: int  # targets that this execution is to settle
    is_over: bool = False  # there is nothing to do, and the run says so itself
    is_waiting: bool = False  # nothing is to be staged, and what is left may wait for its gates
    takes_up: Session | None = None  # it was begun before: this is the next session of it
    notices: tuple[str, ...] = ()

    def begin(self, store: Store) -> None:
        """Record that this process goes on with the run, where it was begun before."""
        if self.takes_up is not None:
            store.begin_session(self.run_id, self.takes_up)


def this_session() -> Session:
    """Describe the present process, for the lock and the journal."""
    command = shlex.join(["okta-keys", *sys.argv[1:]])
    return Session(pid=os.getpid(), host=socket.gethostname(), command=command, version=__version__)


def create(
    store: Store,
    new: NewRun,
    jobs: Sequence[ResolvedJob],
    session: Session,
    *,
    known: Mapping[str, JobRecord] | None = None,
) -> OpenedRun:
    """Begin a run with all targets of the plan. `known` has the keys of jobs that have one."""
    records = [
        record_of(number, job, (known or {}).get(job.name)) for number, job in enumerate(jobs)
    ]
    targets = ((number, target) for number, job in enumerate(jobs) for target in job.stream())
    store.create_run(new, records, targets, session)
    return OpenedRun(run_id=new.run_id, pending=sum(job.size for job in jobs))


def record_of(position: int, job: ResolvedJob, known: JobRecord | None = None) -> JobRecord:
    """Return what a run keeps of a job that it is given."""
    return JobRecord(
        position=position,
        name=job.name,
        key=known.key if known else job.key,
        wanted=job.wanted,
        certificate=known.certificate if known else None,
        dropped=job.dropped,
    )


def made_keys(
    store: Store, plan: str, org: str, jobs: Sequence[ResolvedJob]
) -> dict[str, JobRecord]:
    """Return the jobs whose key the last run of the plan has made, or looked up, already.

    A preview shows what a run would do, and that run would go on with these keys.
    """
    wanted = {job.name: job.wanted for job in jobs if not names_its_key(job)}
    earlier = store.archive.runs(plan=plan, org=org) if wanted else []
    if not earlier:
        return {}
    return {
        job.name: job
        for job in store.archive.jobs(earlier[0].run_id)
        if job.key.is_known and wanted.get(job.name) == job.wanted
    }


def names_its_key(job: ResolvedJob) -> bool:
    """Say whether the plan names the kid of a job's key."""
    return job.wanted.kind is KeyKind.KID


def kept_days(environ: Mapping[str, str]) -> int:
    """Return how long finished runs are remembered.

    Raises:
        ConfigError: OKTA_KEYS_KEEP_DAYS is no number of days.
    """
    text = environ.get(KEEP_VARIABLE, "").strip() or str(KEEP_DAYS)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 100_000):
        raise ConfigError(f"{KEEP_VARIABLE} is no number of days", hint=f"{KEEP_VARIABLE}=400")
    return int(text)


def forget_old(store: Store, *, now: datetime, environ: Mapping[str, str]) -> None:
    """Prune runs that are over for so many days that nobody will ask for them.

    Never one that is not finished, nor the last of a plan: that is what tells what is done.

    Raises:
        ConfigError: OKTA_KEYS_KEEP_DAYS is no number of days.
    """
    days = kept_days(environ)
    last: dict[tuple[str, str], RunId] = {}
    for record in store.archive.runs():
        last.setdefault((record.plan, record.org), record.run_id)
    store.prune(
        older_than=now - timedelta(days=days),
        keep=lambda record: (
            record.state is not RunState.FINISHED or last[record.plan, record.org] == record.run_id
        ),
    )


def new_run(
    run_id: RunId,
    plan: str,
    org: str,
    jobs: Sequence[ResolvedJob],
    *,
    dry_run: bool,
    plan_file: str = "",
) -> NewRun:
    """Describe a run that is to be created."""
    return NewRun(
        run_id=run_id,
        plan=plan,
        org=org,
        plan_digest=digest_of(jobs),
        dry_run=dry_run,
        plan_file=plan_file,
    )


def continue_or_create(
    store: Store,
    new: NewRun,
    jobs: Sequence[ResolvedJob],
    session: Session,
    known: Mapping[str, JobRecord] | None = None,
) -> OpenedRun:
    """Go on with the last run of the plan, or begin one where there is none to go on with.

    Call it with the plan's lock held. `known` is as for `create`.

    Raises:
        InputError: the plan now clones other keys, while the last run is not finished.
    """
    earlier = store.archive.runs(plan=new.plan, org=new.org)
    if not earlier:
        return create(store, new, jobs, session, known=known)
    last = earlier[0]
    notices: list[str] = []
    if last.plan_digest != new.plan_digest:
        changes = compare(store, last, jobs)
        if changes.is_another_rotation:
            return create_instead(store, new, jobs, session, last, changes, known)
        apply_changes(store, last, new, jobs, changes)
        if changes.lines():
            notices = [f"the plan has changed since run {last.run_id} began:", *changes.lines()]
    return take_up(store, last, jobs, session, notices)


def take_up(
    store: Store,
    last: RunRecord,
    jobs: Sequence[ResolvedJob],
    session: Session,
    notices: Sequence[str],
) -> OpenedRun:
    """Go on with a run; one of which nothing is left to do is left alone."""
    counts = store.archive.counts(last.run_id)
    due = counts.total - counts.staged
    to_stage = due - awaiting_key(store.archive, last, jobs)
    left = to_activate(store.archive, last, jobs)
    if due == 0 and left == 0 and last.state is not RunState.RUNNING:
        done = f"nothing to do: {what_is_done(store.archive, last, jobs)} (run {last.run_id})"
        return OpenedRun(run_id=last.run_id, pending=0, is_over=True, notices=(*notices, done))
    is_quiet = not notices and not has_waves_to_lay(store.archive, last, jobs)
    is_waiting = to_stage == 0 and last.state is not RunState.RUNNING and is_quiet
    ended = "that did not end as it should" if last.state is RunState.RUNNING else "from before"
    failed = counts.settled[Status.FAILED]
    again = f", {failed} of them again" if failed else ""
    more = f", {left} to activate" if left else ""
    told = f"continuing run {last.run_id} {ended}: {counts.staged} done, {due} to do{again}{more}"
    return OpenedRun(
        run_id=last.run_id,
        pending=due,
        is_waiting=is_waiting,
        takes_up=session,
        notices=(*notices, told),
    )


def has_waves_to_lay(archive: Archive, run: RunRecord, jobs: Sequence[ResolvedJob]) -> bool:
    """Say whether `activate` is new in the plan for a job: its waves are still to be made."""
    rolls_out = {job.name for job in jobs if job.settings.rollout is not None and job.size}
    return any(
        job.name in rolls_out and not archive.waves(run.run_id, job.position)
        for job in archive.jobs(run.run_id)
    )


def what_is_done(archive: Archive, run: RunRecord, jobs: Sequence[ResolvedJob]) -> str:
    """Say of a run that is over what it has come to."""
    text = f"all {archive.counts(run.run_id).staged} targets hold the key"
    rolls_out = {job.name for job in jobs if job.settings.rollout is not None}
    states: Counter[ActivationState | None] = Counter()
    for job in archive.jobs(run.run_id):
        if job.name in rolls_out:
            for counts in archive.waves(run.run_id, job.position):
                states.update(counts.activations)
    told = [
        (sum(number for state, number in states.items() if state and state.is_active), "active"),
        (states[ActivationState.ROLLED_BACK], "rolled back (--new begins another rotation)"),
        (states[ActivationState.FAILED], "could not be activated"),
        (states[ActivationState.SKIPPED], "left out"),
    ]
    return ", ".join([text, *(f"{number} {what}" for number, what in told if number)])


def awaiting_key(archive: Archive, run: RunRecord, jobs: Sequence[ResolvedJob]) -> int:
    """Count the targets whose key a CA still has to sign; nothing can be done for them."""
    sizes = {job.name: job.size for job in jobs}
    asked = {event.body.get("job") for event in archive.events(run.run_id, kind=CSR_CREATED)}
    return sum(
        sizes.get(job.name, 0)
        for job in archive.jobs(run.run_id)
        if job.wanted.kind is KeyKind.CSR and not job.key.is_known and job.position in asked
    )


def to_activate(archive: Archive, run: RunRecord, jobs: Sequence[ResolvedJob]) -> int:
    """Count the staged targets whose activation is still to come."""
    wanted = {job.name: job.settings for job in jobs if job.settings.rollout is not None}
    left = 0
    for job in archive.jobs(run.run_id):
        if job.name not in wanted:
            continue
        waves = archive.waves(run.run_id, job.position)
        left += sum(still_due(counts, wanted[job.name]) for counts in waves)
        if not waves:  # `activate` is new in the plan
            left += archive.counts(run.run_id).staged
    return left


def compare(store: Store, last: RunRecord, jobs: Sequence[ResolvedJob]) -> PlanChanges:
    """Say what is different between a run and the plan as it is now."""
    records = store.archive.jobs(last.run_id)
    unfinished = dict.fromkeys((job.name for job in records), 0)
    for record in store.archive.targets(last.run_id):
        outcome = record.outcome
        unfinished[record.target.job] += outcome is None or not outcome.status.is_staged
    known = {
        job.name: KnownJob(
            name=job.name, key=job.key, wanted=job.wanted, unfinished=unfinished[job.name]
        )
        for job in records
    }
    recorded = ((each.target, each.outcome) for each in store.archive.targets(last.run_id))
    return changes_between(known, recorded, jobs)


def create_instead(
    store: Store,
    new: NewRun,
    jobs: Sequence[ResolvedJob],
    session: Session,
    last: RunRecord,
    changes: PlanChanges,
    known: Mapping[str, JobRecord] | None = None,
) -> OpenedRun:
    """Begin a run for the new keys, unless that would leave old ones half staged unnoticed."""
    if changes.unfinished:
        raise InputError(
            f"the plan now clones other keys than run {last.run_id}, of which "
            f"{changes.unfinished} targets are not done:\n  " + "\n  ".join(changes.lines()),
            hint="finish it with the plan as it was, or begin a new run with --new",
        )
    opened = create(store, new, jobs, session, known=known)
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
        record_of(len(positions) + number, job)
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
