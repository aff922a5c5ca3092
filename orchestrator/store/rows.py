"""Insert and remove the rows of runs, jobs and targets, within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from sqlite3 import Connection

from orchestrator.errors import UsageError
from orchestrator.model import AppId, RunId, Target
from orchestrator.store import entries
from orchestrator.store.base import JobRecord, NewRun
from orchestrator.store.chain import Tip
from orchestrator.store.codec import dump, is_storable
from orchestrator.store.database import QUERIES
from orchestrator.store.entries import AddedTarget, Entry

MOST_NAMED = 3  # targets in a message


def insert_run(connection: Connection, run: NewRun, start: Tip, at: str) -> int:
    values = {
        "run_id": run.run_id,
        "plan": run.plan,
        "org": run.org,
        "plan_digest": run.plan_digest,
        "dry_run": run.dry_run,
        "at": at,
        "head": start.digest,
    }
    return connection.execute(QUERIES["insert_run"], values).lastrowid or 0


def insert_jobs(connection: Connection, run: int, jobs: Iterable[JobRecord]) -> None:
    for job in jobs:
        values = {"run": run, "position": job.position, "name": job.name, "record": dump(job)}
        connection.execute(QUERIES["insert_job"], values)


def insert_targets(
    connection: Connection,
    run: int,
    targets: Iterable[tuple[int, Target]],
    following: dict[int, int],
) -> Iterator[Entry]:
    """Insert targets chunk by chunk, and yield the event of each; `following` is the next position
    of each job.
    """
    for chunk in entries.chunks(targets):
        for job, group in groupby(chunk, key=itemgetter(0)):
            first = following.get(job, 0)
            added = tuple(
                AddedTarget(position=position, app=target.app, tags=target.tags)
                for position, (_, target) in enumerate(group, first)
            )
            following[job] = first + len(added)
            rows = [(run, job, item.position, item.app, dump(item.tags)) for item in added]
            connection.executemany(QUERIES["insert_target"], rows)
            yield entries.targets_added(job, added)


def remove_targets(
    connection: Connection, run: int, targets: Iterable[tuple[int, AppId]]
) -> Iterator[Entry]:
    """Remove targets, and yield the events of it."""
    gone = (
        (job, app)
        for job, app in targets
        if connection.execute(QUERIES["remove_target"], (run, job, app)).rowcount
    )
    for chunk in entries.chunks(gone):
        for job, group in groupby(chunk, key=itemgetter(0)):
            yield entries.targets_removed(job, tuple(app for _, app in group))


def unacknowledged(
    connection: Connection, run: int, run_id: RunId, targets: Iterable[tuple[int, AppId]]
) -> list[tuple[int, AppId]]:
    """Return the targets that nobody has acknowledged yet, each once.

    Raises:
        UsageError: the run does not have all of them.
    """
    left, unknown = [], []
    for job, app in dict.fromkeys(targets):
        place = (run, job, app)
        rows = (
            connection.execute(QUERIES["find_acknowledged"], place).fetchall()
            if is_storable(app)
            else []
        )
        if not rows:
            unknown.append(app)
        elif rows[0][0] is None:
            left.append((job, app))
    if unknown:
        named = ", ".join(map(ascii, unknown[:MOST_NAMED]))
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        raise UsageError(
            f"run {run_id} has no target {named}{more}",
            hint=f"see which it has: okta-keys status {run_id}",
        )
    return left
