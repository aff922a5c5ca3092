"""The store: one SQLite file that holds every run, or one in memory for what need not last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import Self, TypeVar

import anyio

from orchestrator.clock import Clock
from orchestrator.errors import StateUnusable
from orchestrator.model import AppId, RunId, Target
from orchestrator.store import entries
from orchestrator.store.archive import SqliteArchive
from orchestrator.store.base import Archive, JobRecord, Journal, NewRun, RunRecord, Session
from orchestrator.store.chain import Tip, genesis
from orchestrator.store.codec import dump
from orchestrator.store.database import MEMORY, QUERIES, Database
from orchestrator.store.entries import AddedTarget, Entry
from orchestrator.store.journal import SqliteJournal
from orchestrator.store.opening import migrate, open_file

FILE_NAME = "runs.sqlite3"  # in the state folder
CHUNK = 500  # targets to an event

T = TypeVar("T")


class Store:
    """Opens, creates and prunes runs. Close it, or use it as a context manager.

    Raises, from every method:
        StateError: the database cannot be read or written.
    """

    def __init__(self, writer: Database, reader: Database, *, clock: Clock) -> None:
        self.writer = writer
        self.reader = reader
        self.clock = clock

    @classmethod
    def open(cls, path: Path, *, clock: Clock) -> Store:
        """Open a state file; what is missing is created, for its owner alone.

        Raises:
            StateUnusable: it cannot be used, and why, and what to do.
        """
        return cls(open_file(path), Database(path), clock=clock)

    @classmethod
    def memory(cls, *, clock: Clock) -> Store:
        """Return an empty store that is forgotten with the process."""
        database = Database(MEMORY)
        migrate(database)
        return cls(database, database, clock=clock)

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def archive(self) -> Archive:
        return SqliteArchive(self.reader)

    def create_run(
        self,
        run: NewRun,
        jobs: Sequence[JobRecord],
        targets: Iterable[tuple[int, Target]],
        session: Session,
    ) -> None:
        """Write a new run with its targets, each with its job's position, and its first session.

        All or nothing, also when `targets`, which is read once, raises. Within a job the order is
        that of `targets`.
        """
        start, at = genesis(run.run_id), self.now()
        with self.writer.transaction() as connection:
            number = insert_run(connection, run, start, at)
            insert_jobs(connection, number, jobs)
            history = chain(
                [entries.run_created(run, jobs)],
                insert_targets(connection, number, targets, {}),
                [entries.session_started(session)],
            )
            entries.append(connection, number, start, history, at)

    def begin_session(self, run_id: RunId, session: Session) -> None:
        """Take up a run again."""
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            history = [entries.session_started(session)]
            entries.append(connection, number, tip, history, self.now())

    def change_plan(
        self,
        run_id: RunId,
        *,
        plan_digest: str,
        jobs: Sequence[JobRecord] = (),
        targets: Iterable[tuple[int, Target]] = (),
        removed: Iterable[tuple[int, AppId]] = (),
    ) -> None:
        """Bring a run up to date with its plan, all or nothing.

        New jobs come behind the others, new targets at the end of their job. Removed targets,
        each with its job's position, go unless they hold the key.
        """
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            insert_jobs(connection, number, jobs)
            last = connection.execute(QUERIES["last_positions"], (number,))
            following = {job: position + 1 for job, position in last}
            history = chain(
                [entries.plan_changed(plan_digest, jobs)],
                insert_targets(connection, number, targets, following),
                remove_targets(connection, number, removed),
            )
            entries.append(connection, number, tip, history, self.now())

    def prune(self, *, older_than: datetime, keep: Callable[[RunRecord], bool]) -> list[RunId]:
        """Forget runs whose last event is older, unless `keep` says otherwise; return their ids.

        Keep the unfinished ones, and those under way. The file does not shrink: new runs use the
        room.
        """
        old = [
            record
            for record in self.archive.runs()
            if record.updated_at < older_than and not keep(record)
        ]
        for record in old:
            with self.writer.transaction() as connection:
                connection.execute(QUERIES["delete_run"], (self.end_of(record.run_id)[0],))
        return [record.run_id for record in old]

    @asynccontextmanager
    async def journal(self, run_id: RunId) -> AsyncIterator[Journal]:
        """Open a run for writing. Leaving makes durable what was handed over, also when cancelled.

        Hold the run's lock. An exception leaves as it is, not wrapped in a group.
        """
        number, record = SqliteArchive(self.writer).find(run_id)
        archive = SqliteArchive(self.reader)
        jobs = archive.jobs_of(number)
        journal = SqliteJournal(self.writer, archive, number, record, jobs, clock=self.clock)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            await group.start(journal.flush, name="journal")
            try:
                yield journal
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
                failure = error
            finally:
                journal.close()
        if failure is not None:
            raise failure

    def end_of(self, run_id: RunId) -> tuple[int, Tip]:
        """Return a run's number and its tip, as the writer sees them within its transaction."""
        number, record = SqliteArchive(self.writer).find(run_id)
        if record.run_id != run_id:
            raise StateUnusable(f"there is no run {run_id!r}")
        return number, Tip(record.events, bytes.fromhex(record.head))

    def now(self) -> str:
        return self.clock.wall().isoformat()


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
    for chunk in chunks(targets):
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
    for chunk in chunks(gone):
        for job, group in groupby(chunk, key=itemgetter(0)):
            yield entries.targets_removed(job, tuple(app for _, app in group))


def chunks(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while chunk := tuple(islice(rest, CHUNK)):
        yield chunk
