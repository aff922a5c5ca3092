"""Caution whoever runs a plan: gather the facts, and tell and record each caution once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from orchestrator.engine.cautions import (
    CAUTIONED,
    JobFacts,
    body_of,
    cautions_of,
    cautions_told,
    is_news,
)
from orchestrator.engine.certificates import CertificateReader
from orchestrator.engine.context import RunContext
from orchestrator.engine.forecast import name_of
from orchestrator.engine.keys import EachKey, JobKey
from orchestrator.engine.result import Forecast
from orchestrator.engine.staging import FutureKey, SourceKey
from orchestrator.errors import AccessError, Halted
from orchestrator.events import Cautioned
from orchestrator.holders import Holder
from orchestrator.model import AppId, AppSnapshot, Certificate, Kid, StopCause
from orchestrator.store.base import CertificateBook, JobRecord, TargetRecord

Seen = Mapping[AppId, AppSnapshot]


class Cautioning:
    """The cautions of a run: of a preview once all was seen, of a run before it clones a key."""

    def __init__(self, context: RunContext, seen: Seen, book: CertificateBook | None) -> None:
        self.context = context
        self.seen = seen  # by the last preview
        self.book = book
        self.known: dict[Kid, Certificate] = {}
        self.looked: set[int] = set()  # the jobs, by position, that were cautioned about
        self.told = cautions_told(context.journal.notes(CAUTIONED))

    def certificate_of(self, kid: Kid) -> Certificate | None:
        """Return the certificate of a key if it was ever read."""
        if kid not in self.known and self.book is not None:
            found = self.book.get(kid)
            if found is not None:
                self.known[kid] = found
        return self.known.get(kid)

    def note_keys(self, keys: Iterable[JobKey | str]) -> None:
        for key in keys:
            if isinstance(key, SourceKey):
                self.known[key.ref.kid] = key.certificate

    async def caution_on(self, job: JobRecord, key: JobKey) -> None:
        """Caution about a job that is about to begin, from what is known; makes no call."""
        if self.context.settings.dry_run or job.position in self.looked:
            return
        self.looked.add(job.position)
        self.note_keys([key])
        settings, source = self.context.settings, job.key.app
        size = sum(self.context.journal.wave_sizes(job.position).values())
        sharing = size + bool(source)
        targets: list[tuple[AppId, AppSnapshot | None]] = []
        if self.seen or settings.managed or sharing > settings.most_sharing:
            async for app in self.targets(job):
                sharing -= app == source  # it is to be activated as well, and counts once
                if app in self.seen or app in settings.managed:
                    targets.append((app, self.seen.get(app)))
        await self.tell([facts_of(job, key, size=size, sharing=sharing, targets=targets)])

    async def targets(self, job: JobRecord) -> AsyncGenerator[AppId, None]:
        """Yield all targets of a job, whatever their state: first those that are left."""
        async for target in self.context.journal.pending(job.position):
            yield target.app
        async for outcome in self.context.journal.staged(job.position):
            yield outcome.target.app

    async def learn(
        self,
        jobs: Sequence[JobRecord],
        keys: Iterable[JobKey | str],
        records: Iterable[TargetRecord],
        snapshots: Iterable[AppSnapshot],
    ) -> None:
        """Learn the certificates that would be replaced, once a dry run has seen its targets.

        Costs one call for every key that a target signs with and whose certificate was never
        read, unless the dry run is a quick one.
        """
        self.note_keys(keys)
        if not self.context.settings.quick:
            self.seen = {each.app: each for each in snapshots}
            await self.read_certificates({job.position: job for job in jobs}, records)

    async def caution_ahead(
        self,
        jobs: Sequence[JobRecord],
        known: Mapping[int, JobKey | str],
        records: Iterable[TargetRecord],
        forecast: Forecast | None,
    ) -> None:
        """Caution about all that a dry run has found out."""
        await self.tell(self.facts_ahead(jobs, known, records, forecast))

    def facts_ahead(
        self,
        jobs: Sequence[JobRecord],
        known: Mapping[int, JobKey | str],
        records: Iterable[TargetRecord],
        forecast: Forecast | None,
    ) -> Iterator[JobFacts]:
        """Yield the facts of every job whose key is known, or will be."""
        by_position = {job.position: job for job in jobs}
        for position, group in groupby(records, key=lambda record: record.job):
            job, key = by_position[position], known.get(position)
            if key is None or isinstance(key, str):
                continue
            apps = [record.target.app for record in group]
            sharing = len({*apps, job.key.app} - {AppId("")})
            if forecast is not None and isinstance(key, SourceKey | FutureKey):
                sharing = forecast.sharing.get(name_of(key.ref, job), sharing)
            targets = ((app, self.seen.get(app)) for app in apps)
            yield facts_of(job, key, size=len(apps), sharing=sharing, targets=targets)

    async def read_certificates(
        self, jobs: Mapping[int, JobRecord], records: Iterable[TargetRecord]
    ) -> None:
        """Read the certificates of the keys in use, each once; what cannot be read is left out."""
        context = self.context
        reader = CertificateReader(context.api, self.book, workers=context.settings.workers)
        try:
            await reader.read_active(self.signing(jobs, records))
        except AccessError as error:
            context.stop(StopCause.ACCESS, error.message, error.hint)
        except Halted:
            pass
        self.known |= reader.certificates

    def signing(
        self, jobs: Mapping[int, JobRecord], records: Iterable[TargetRecord]
    ) -> Iterator[Holder]:
        """Yield the targets that were seen to sign with a key whose certificate is not known."""
        for record in records:
            seen = self.seen.get(record.target.app)
            if seen is not None and seen.kid and seen.kid not in self.known:
                yield Holder(
                    id=seen.app,
                    resource=jobs[record.job].key.resource,
                    sign_on_mode=seen.sign_on_mode,
                    kid=seen.kid,
                )

    async def tell(self, jobs: Iterable[JobFacts]) -> None:
        """Record what there is to think about, unless it was recorded before, and say so."""
        settings = self.context.settings
        cautions = cautions_of(
            jobs,
            at=self.context.now(),
            certificate_of=self.certificate_of,
            managed=settings.managed,
            most_sharing=settings.most_sharing,
        )
        for caution in cautions:
            if is_news(caution, self.told):
                await self.context.note(CAUTIONED, body_of(caution))
                self.context.observer.notify(
                    Cautioned(
                        kind=caution.kind.value,
                        job=caution.job,
                        detail=caution.detail,
                        count=caution.count,
                        apps=caution.apps,
                    )
                )


def facts_of(
    job: JobRecord,
    key: JobKey,
    *,
    size: int,
    sharing: int,
    targets: Iterable[tuple[AppId, AppSnapshot | None]],
) -> JobFacts:
    """Return what is known of a job, as cautions want it."""
    is_made = isinstance(key, FutureKey | EachKey)
    return JobFacts(
        name=job.name,
        size=size,
        certificate=key.certificate if isinstance(key, SourceKey) else None,
        validity_years=job.wanted.validity_years if is_made else None,
        sharing=0 if isinstance(key, EachKey) else sharing,
        targets=targets,
    )
