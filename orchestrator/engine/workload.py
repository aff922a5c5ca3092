"""Count what a run has to do, job by job and wave by wave, from what a dry run has found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engine.keys import JobKey
from orchestrator.engine.result import RunSettings
from orchestrator.engine.staging import SourceKey
from orchestrator.model import (
    ActivationState,
    AppId,
    KeyKind,
    KeyRef,
    Reason,
    Resource,
    Status,
    Verify,
)
from orchestrator.okta.endpoints import ENDPOINTS, Endpoints
from orchestrator.okta.pacer import Bucket
from orchestrator.rollout import Rollout, failures_allowed
from orchestrator.store.base import JobRecord, TargetRecord

WOULD_SIGN = (ActivationState.PLANNED, ActivationState.ACTIVATED)
EXISTING = (KeyKind.KID, KeyKind.ACTIVE, KeyKind.NEWEST)  # keys that a dry run knows, too
SOURCE_CALLS = {  # in the bucket of keys, besides the read of a key that exists already
    KeyKind.KID: 0,
    KeyKind.ACTIVE: 0,  # but one read of the app
    KeyKind.NEWEST: 1,
    KeyKind.GENERATE: 1,
    KeyKind.GENERATE_EACH: 0,
    KeyKind.CSR: 2,
}


@dataclass(slots=True, kw_only=True)
class WaveLoad:
    """What one wave of a job costs; jobs that only stage have a single one, with no activation."""

    targets: int = 0
    failing: int = 0  # that will not be activated
    staging: int = 0  # calls in the bucket of keys
    reads: int = 0  # of whole apps, before anything is decided about them
    writes: int = 0
    signing: int = 0  # targets that are to sign with the key after it, written or not


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLoad:
    """What one job costs. Waves stand in their order, which is that of the plan, too."""

    endpoints: Endpoints
    source: Mapping[Bucket, int]  # calls to come by the key
    confirms: bool
    cross_checks: bool
    each_its_own: bool  # every target gets a key of its own
    signers: int = 0  # what signs with the key now, targets or not
    pages: int | None = None  # of the list that shows who signs with a key; None: as many as needed
    waves: Sequence[WaveLoad] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerList:
    """What signs with a key now, as one list of the org shows it."""

    apps: frozenset[AppId] = frozenset()
    calls: int = 1  # that the list has taken


def calls_per_target(job: JobRecord, settings: RunSettings) -> int:
    """Return what staging one target of a job costs in the bucket of its keys."""
    verify = settings.of_job(job.name).verify
    if job.wanted.kind is KeyKind.GENERATE_EACH:
        verify = Verify.RESPONSE  # the answer that holds a new key says all there is to know
    further = verify is not Verify.RESPONSE
    reads_metadata = verify is Verify.METADATA
    packs = settings.handoff_metadata and job.key.resource is Resource.APP and not reads_metadata
    return 1 + further + packs


def announced_calls(
    settings: RunSettings, jobs: Sequence[JobRecord], pending: int
) -> Mapping[Bucket, int]:
    """Return what a run tells the pacing of at its beginning, lest it hurry, by bucket.

    Too little said is no harm; too much makes the last window of a run as long as all the others.
    """
    resources = {job.key.resource for job in jobs}
    if len(resources) != 1 or (settings.dry_run and settings.quick):
        return {}
    endpoints = ENDPOINTS[resources.pop()]
    if not settings.dry_run:
        return {endpoints.bucket: pending * min(calls_per_target(job, settings) for job in jobs)}
    reads_keys = all(job.key.is_known or job.wanted.kind in EXISTING for job in jobs)
    calls = Counter({endpoints.bucket: pending * reads_keys})
    calls[endpoints.read_bucket] += pending
    return calls


def is_source(job: JobRecord, app: AppId) -> bool:
    """Say whether a target is what the job's key comes from, so that it is never cloned into."""
    return job.wanted.kind is not KeyKind.GENERATE_EACH and app == job.key.app


def is_refused(record: TargetRecord) -> bool:
    """Say whether the one call to stage a target will fail, and nothing can follow it.

    What is rejected is cloned, and then cannot be proven as the plan asks.
    """
    outcome = record.outcome
    if outcome is None or outcome.status is not Status.FAILED or outcome.retryable:
        return False
    return outcome.reason is not Reason.REJECTED


def workload_of(
    settings: RunSettings,
    jobs: Sequence[JobRecord],
    usable: Mapping[int, JobKey],
    records: Iterable[TargetRecord],
    lists: Mapping[int, SignerList | None] | None = None,
) -> list[JobLoad]:
    """Count the calls of every job; `usable` are the keys of those that have one, by position.

    Gates, and what fails without being foreseen, cost nothing. `lists`: what the org says now of
    who signs with a job's key.
    """
    waves = waves_of(settings, jobs, usable, records)
    due = [job for job in jobs if job.position in waves]  # of the others nothing is asked
    sources = sources_of(due, usable)
    return [
        job_load(settings, job, source, waves[job.position], (lists or {}).get(job.position))
        for job, source in zip(due, sources, strict=True)
    ]


def job_load(
    settings: RunSettings,
    job: JobRecord,
    source: Mapping[Bucket, int],
    waves: Mapping[int, WaveLoad],
    listed: SignerList | None,
) -> JobLoad:
    given, is_app = settings.of_job(job.name), job.key.resource is Resource.APP
    if given.rollout is not None:
        leave_out_held(waves, given.rollout)
    signing = sum(wave.signing - wave.writes for wave in waves.values())  # targets that do already
    return JobLoad(
        endpoints=ENDPOINTS[job.key.resource],
        source=source,
        confirms=given.verify is not Verify.RESPONSE,
        cross_checks=given.cross_check and is_app,
        each_its_own=job.wanted.kind is KeyKind.GENERATE_EACH,
        signers=max(signing, len(listed.apps) if listed else 0),
        pages=listed.calls if listed and not is_app else None,  # that of IdPs names them all
        waves=tuple(waves[number] for number in sorted(waves)),
    )


def leave_out_held(waves: Mapping[int, WaveLoad], rollout: Rollout) -> None:
    """Activate nothing after a wave in which as much will fail as holds a job."""
    is_held = False
    for _, wave in sorted(waves.items()):
        if is_held:
            wave.reads = wave.writes = wave.signing = 0
        is_held |= wave.failing >= failures_allowed(rollout.stop_after_failures, wave.targets)


def sources_of(
    jobs: Iterable[JobRecord], usable: Mapping[int, JobKey]
) -> Iterator[Counter[Bucket]]:
    """Yield what it costs to come by the key of each job; a key is read once for all of them."""
    read: set[KeyRef] = set()
    for job in jobs:
        kind, endpoints, key = (
            job.wanted.kind,
            ENDPOINTS[job.key.resource],
            usable.get(job.position),
        )
        calls = Counter({endpoints.bucket: SOURCE_CALLS[kind]})
        calls[endpoints.read_bucket] += kind is KeyKind.ACTIVE
        ref = key.ref if isinstance(key, SourceKey) else job.key
        if kind in EXISTING and ref not in read:
            calls[endpoints.bucket] += 1
            read.add(ref)
        yield calls


def waves_of(
    settings: RunSettings,
    jobs: Sequence[JobRecord],
    usable: Mapping[int, JobKey],
    records: Iterable[TargetRecord],
) -> dict[int, dict[int, WaveLoad]]:
    """Add the targets of every job up, by position and wave, in the order of the plan."""
    by_position = {job.position: job for job in jobs}
    found: dict[int, dict[int, WaveLoad]] = {}
    for record in records:
        job, activation = by_position[record.job], record.activation
        wave = found.setdefault(record.job, {}).setdefault(record.wave or 0, WaveLoad())
        if record.job in usable:  # nothing is asked before, so each costs a call at least
            each = calls_per_target(job, settings) - is_source(job, record.target.app)
            wave.staging += 1 if is_refused(record) else each
        wave.targets += 1
        if activation is not None:
            wave.reads += 1
            wave.failing += activation.is_failure
            wave.writes += activation.state is ActivationState.PLANNED
            wave.signing += activation.state in WOULD_SIGN
    return found
