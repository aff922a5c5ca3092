"""The keys of a run's jobs: each come by once, and recorded before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.engine.context import RunContext
from orchestrator.engine.keys import (
    KEY_INTENDED,
    AwaitedKey,
    EachKey,
    JobKey,
    KeyMaker,
    Requests,
    intents_of,
    look_up,
    read_source,
    why_not_made,
)
from orchestrator.engine.staging import FutureKey, SourceKey, Verdict
from orchestrator.errors import AccessError, CallError, Halted, StateError
from orchestrator.events import KeyMade, SourceRead
from orchestrator.model import Certificate, KeyKind, KeyRef, Proof, StopCause
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import JobRecord

MADE_KINDS = (KeyKind.GENERATE, KeyKind.GENERATE_EACH, KeyKind.CSR)


class Sources:
    """What is known of the jobs' keys. A text says why a job cannot be done."""

    def __init__(self, context: RunContext, jobs: Sequence[JobRecord]) -> None:
        self.context = context
        self.api = context.api
        self.jobs = {job.position: job for job in jobs}
        self.known: dict[int, JobKey | str] = {}
        self.makers: dict[int, KeyMaker] = {}

    async def of(self, job: JobRecord) -> JobKey | str | None:
        """Return the job's key; None when the run is stopping."""
        if job.position not in self.known:
            try:
                found = await self.obtain(job)
                self.known[job.position] = found
                await self.note(job, found)
            except AccessError as error:
                self.context.stop(StopCause.ACCESS, error.message, error.hint)
                return None
            except StateError as error:
                self.context.stop_for_journal(error)
                return None
            except Halted:
                return None
        return self.known[job.position]

    async def obtain(self, job: JobRecord) -> JobKey | str:
        """Come by the key in the way that the plan says."""
        wanted = job.wanted
        if wanted.kind is KeyKind.GENERATE_EACH:
            self.makers[job.position] = self.maker(job)
            years = wanted.validity_years or 0
            return EachKey(validity_years=years, resource=job.key.resource)
        if job.key.is_known:
            return await self.read(job, job.key)
        if wanted.kind in MADE_KINDS and self.context.settings.dry_run:
            return await self.foresee(job)
        if wanted.kind is KeyKind.GENERATE:
            return await self.generate(job)
        if wanted.kind is KeyKind.CSR:
            assert wanted.csr is not None  # noqa: S101 - the plan sees to it
            try:
                return await Requests(self.context, job).make(wanted.csr)
            except CallError as error:
                return failure(error)
        found = await look_up(self.api, job)
        return found if isinstance(found, str) else await self.read(job, found)

    def maker(self, job: JobRecord) -> KeyMaker:
        intents = intents_of(self.context.journal.notes(KEY_INTENDED))
        taken = {each.key.kid for each in self.jobs.values() if each.key.is_known}
        return KeyMaker(self.context, job, intents, taken)

    async def read(self, job: JobRecord, ref: KeyRef) -> SourceKey | str:
        """Return a key that exists, read once for all jobs and executions."""
        if job.certificate is not None and job.key == ref:
            # A kid means one certificate, so nothing can have changed.
            is_made = job.wanted.kind in MADE_KINDS  # and then the answer to that has shown it
            proof = Proof.RESPONSE if is_made else Proof.READ
            return SourceKey(ref=ref, certificate=job.certificate, proof=proof)
        for known in self.known.values():
            if isinstance(known, SourceKey) and known.ref == ref:
                return known
        return await read_source(self.api, ref)

    async def foresee(self, job: JobRecord) -> FutureKey | str:
        """Look, in a dry run, whether the source of a key that is to be made is there at all.

        The call is one of the bucket in which the key will be made: it shows its limit, too.
        """
        try:
            source = job.key
            reply = await self.api.list_keys(source.app, CallTrace(), resource=source.resource)
        except CallError as error:
            return failure(error)
        if reply.refusal is not None:
            return why_not_made(job.wanted.kind, reply.refusal)
        return FutureKey(ref=job.key)

    async def generate(self, job: JobRecord) -> SourceKey | str:
        years = job.wanted.validity_years or 0
        try:
            made = await self.maker(job).make(job.key.app, years, CallTrace())
        except CallError as error:
            return failure(error)
        if isinstance(made, Verdict):
            return f"the key could not be made: {made.detail}"
        self.context.observer.notify(
            KeyMade(job=job.name, key=made.source.ref, adopted=made.adopted)
        )
        return replace(made.source, proof=made.proof)

    async def note(self, job: JobRecord, found: JobKey | str) -> None:
        """Record what is known of a job's key, if that is new, and tell whoever watches."""
        if isinstance(found, FutureKey | EachKey | AwaitedKey):
            return
        key, certificate, problem = job.key, None, None
        if isinstance(found, SourceKey):
            key, certificate = found.ref, found.certificate
        else:
            problem = found
        if (key, certificate, problem) != (job.key, job.certificate, job.problem):
            await self.record(job, key, certificate, problem)
        self.context.observer.notify(
            SourceRead(job=job.name, key=key, certificate=certificate, problem=problem)
        )

    async def record(
        self,
        job: JobRecord,
        key: KeyRef,
        certificate: Certificate | None,
        problem: str | None,
    ) -> None:
        await self.context.journal.note_source(
            job.position, certificate, problem, key=None if key == job.key else key
        )
        self.jobs[job.position] = replace(job, key=key, certificate=certificate, problem=problem)

    async def lose(self, source: SourceKey, why: str) -> None:
        """Spare the other targets of a key that has vanished under us."""
        for position, known in list(self.known.items()):
            if known is source or (isinstance(known, SourceKey) and known.ref == source.ref):
                self.known[position] = why
                await self.note(self.jobs[position], why)


def failure(error: CallError) -> str:
    """Return why a job cannot be done whose call failed for good.

    Raises:
        Halted: the run is stopping, which is no failure.
    """
    if isinstance(error, Halted):
        raise error
    return error.message
