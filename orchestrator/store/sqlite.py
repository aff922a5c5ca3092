"""The store: one SQLite file that holds every run, or one in memory for what need not last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from orchestrator.clock import Clock
from orchestrator.errors import StateUnusable
from orchestrator.model import AppId, AppSnapshot, RunId, Target
from orchestrator.store import entries, history
from orchestrator.store.archive import SqliteArchive
from orchestrator.store.base import (
    PEOPLES_KINDS,
    Archive,
    CertificateBook,
    JobRecord,
    Journal,
    NewRun,
    RunRecord,
    Session,
)
from orchestrator.store.certificates import SqliteCertificateBook
from orchestrator.store.chain import Tip, genesis
from orchestrator.store.codec import dump
from orchestrator.store.database import MEMORY, QUERIES, Database
from orchestrator.store.journal import SqliteJournal, noted
from orchestrator.store.opening import migrate, open_file
from orchestrator.store.rows import (
    insert_jobs,
    insert_run,
    insert_targets,
    remove_targets,
    unacknowledged,
)

FILE_NAME = "runs.sqlite3"  # in the state folder


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

    def certificates(self, org: str) -> CertificateBook:
        """Return the book of an org, named by what never changes of it: its id, else its URL."""
        return SqliteCertificateBook(self.writer, self.reader, org)

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
            added = chain(
                [entries.run_created(run, jobs)],
                insert_targets(connection, number, targets, {}),
                [entries.session_started(session)],
            )
            history.append(connection, number, start, added, at)

    def begin_session(self, run_id: RunId, session: Session) -> None:
        """Take up a run again."""
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            history.append(connection, number, tip, [entries.session_started(session)], self.now())

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
        each with its job's position, go unless they hold the key, or their activation was begun.
        """
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            insert_jobs(connection, number, jobs)
            last = connection.execute(QUERIES["last_positions"], (number,))
            following = {job: position + 1 for job, position in last}
            changes = chain(
                [entries.plan_changed(plan_digest, jobs)],
                insert_targets(connection, number, targets, following),
                remove_targets(connection, number, removed),
            )
            history.append(connection, number, tip, changes, self.now())

    def acknowledge(self, run_id: RunId, targets: Iterable[tuple[int, AppId]], by: str) -> int:
        """Record that people are ready for targets, each with its job's position, to be activated.

        Needs no lock, also while the run is executed. All or nothing; those that are acknowledged
        already are passed over. Return how many were not.

        Raises:
            UsageError: the run does not have all of them.
        """
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            left = unacknowledged(connection, number, run_id, targets)
            ready = entries.targets_acknowledged(left, by)
            history.append(connection, number, tip, ready, self.now())
        return len(left)

    def note(self, run_id: RunId, kind: str, body: Mapping[str, object]) -> None:
        """Record what people say to a run. Needs no lock, also while the run is executed.

        Raises:
            ValueError: `kind` is not one of `PEOPLES_KINDS`, so that whoever executes the run
                would not stand it; or `body` is not JSON.
        """
        if kind not in PEOPLES_KINDS:
            raise ValueError(f"{kind} is not for people to note")
        with self.writer.transaction() as connection:
            number, tip = self.end_of(run_id)
            history.append(connection, number, tip, [noted(kind, body)], self.now())

    def save_snapshot(self, plan: str, org: str, rows: Iterable[AppSnapshot]) -> None:
        """Keep what a preview saw in place of what an earlier one of that plan and org did.

        All or nothing, also when `rows`, which is read once, raises.
        """
        values = ((plan, org, row.app, dump(row)) for row in rows)
        with self.writer.transaction() as connection:
            connection.execute(QUERIES["delete_snapshot"], (plan, org))
            connection.executemany(QUERIES["insert_snapshot"], values)

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
