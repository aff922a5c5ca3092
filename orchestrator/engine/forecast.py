"""Say what a run will cost, from what a dry run has found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from orchestrator.engine.keys import JobKey
from orchestrator.engine.result import BucketForecast, Forecast, RunSettings
from orchestrator.engine.staging import FutureKey, SourceKey
from orchestrator.model import (
    NEW_KID,
    ActivationState,
    AppId,
    KeyKind,
    KeyRef,
    Resource,
    Status,
    Verify,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pacing import BucketView, estimated_seconds
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import JobRecord, TargetRecord

HOLDING = (Status.PLANNED, Status.CLONED, Status.ALREADY_PRESENT)
WOULD_SIGN = (ActivationState.PLANNED, ActivationState.ACTIVATED)
PAGE = 200  # apps to a list call
SOURCE_CALLS = {  # what it costs to come by a job's key
    KeyKind.KID: 1,
    KeyKind.ACTIVE: 1,  # besides one read of the app
    KeyKind.NEWEST: 2,
    KeyKind.GENERATE: 1,
    KeyKind.GENERATE_EACH: 0,
    KeyKind.CSR: 2,
}


def calls_per_target(job: JobRecord, settings: RunSettings) -> int:
    """Return what staging one target of a job costs in the bucket of its keys."""
    verify = settings.of_job(job.name).verify
    if job.wanted.kind is KeyKind.GENERATE_EACH:
        verify = Verify.RESPONSE  # the answer that holds a new key says all there is to know
    further = verify is not Verify.RESPONSE
    reads_metadata = verify is Verify.METADATA
    packs = settings.handoff_metadata and job.key.resource is Resource.APP and not reads_metadata
    return 1 + further + packs


async def forecast(
    api: OktaApi,
    settings: RunSettings,
    jobs: Sequence[JobRecord],
    known: Mapping[int, JobKey | str],
    records: Iterable[TargetRecord],
) -> Forecast:
    """Count the run's calls, estimate its time, and count who will share each key.

    Costs one list call per 200 apps that sign with a source's key now.

    Raises:
        CallError: the org does not list its apps.
        AccessError: the org refuses our credential.
    """
    usable = {position: key for position, key in known.items() if not isinstance(key, str)}
    shared = {
        name_of(key.ref, job): key.ref
        for job in jobs
        if isinstance(key := usable.get(job.position), SourceKey | FutureKey)
    }
    sharing = {name: await sharers(api, ref, records) for name, ref in sorted(shared.items())}
    calls = calls_of(settings, jobs, usable, records)
    buckets = tuple(
        bucket_forecast(bucket, calls[bucket], api.pacer.view(bucket), settings.workers)
        for bucket in Bucket
        if calls[bucket] or bucket is Bucket.APPS
    )
    # A wave is activated once its targets are staged, so the times mostly add up.
    return Forecast(buckets=buckets, seconds=sum(each.seconds for each in buckets), sharing=sharing)


def name_of(ref: KeyRef, job: JobRecord) -> str:
    """Return the kid of a key, or what stands for one that is still to be made."""
    return ref.kid if ref.is_known else f"{NEW_KID} ({job.name})"


def calls_of(
    settings: RunSettings,
    jobs: Sequence[JobRecord],
    usable: Mapping[int, JobKey],
    records: Iterable[TargetRecord],
) -> Counter[Bucket]:
    """Count the calls that a run will make, by bucket. Gates, and what fails, cost nothing."""
    calls: Counter[Bucket] = Counter()
    by_position = {job.position: job for job in jobs}
    for job in jobs:
        calls[ENDPOINTS[job.key.resource].bucket] += SOURCE_CALLS[job.wanted.kind]
        if job.wanted.kind is KeyKind.ACTIVE:
            calls[ENDPOINTS[job.key.resource].read_bucket] += 1
    in_waves: Counter[tuple[int, int]] = Counter()
    for record in records:
        job = by_position[record.job]
        endpoints = ENDPOINTS[job.key.resource]
        if record.job in usable:  # nothing is asked before, so each costs a call at least
            refused = is_refused(record)
            calls[endpoints.bucket] += 1 if refused else calls_per_target(job, settings)
        if record.activation is not None:  # each is read before anything is decided about it
            calls[endpoints.read_bucket] += 1
            calls[endpoints.write_bucket] += record.activation.state is ActivationState.PLANNED
            if record.activation.state in WOULD_SIGN:
                in_waves[record.job, record.wave or 0] += 1
    return calls + confirming_calls(settings, by_position, in_waves)


def is_refused(record: TargetRecord) -> bool:
    """Say whether the one call to stage a target will fail, and nothing can follow it."""
    outcome = record.outcome
    return outcome is not None and outcome.status is Status.FAILED and not outcome.retryable


def confirming_calls(
    settings: RunSettings,
    jobs: Mapping[int, JobRecord],
    in_waves: Mapping[tuple[int, int], int],
) -> Counter[Bucket]:
    """Count the calls that confirm waves, given how many targets of each are to sign.

    A list names all that sign with the key: those of the waves before, too.
    """
    calls: Counter[Bucket] = Counter()
    signing: Counter[int] = Counter()
    for (position, _), number in sorted(in_waves.items()):
        job = jobs[position]
        wanted, endpoints = settings.of_job(job.name), ENDPOINTS[job.key.resource]
        signing[position] += number
        if wanted.cross_check and job.key.resource is Resource.APP:
            calls[Bucket.LOGS] += 1
        if wanted.verify is Verify.RESPONSE:
            continue
        if job.wanted.kind is not KeyKind.GENERATE_EACH:
            calls[endpoints.bucket] += ceil(signing[position] / PAGE)
        elif number > 1:
            calls[endpoints.read_bucket] += number
        else:
            calls[endpoints.bucket] += 1  # the list of its one key
    return calls


async def sharers(api: OktaApi, ref: KeyRef, records: Iterable[TargetRecord]) -> int:
    """Count the apps that will hold the key: source, targets, and whoever signs with it now.

    Apps that hold it without using it, and are no target, cannot be found without asking each.
    """
    apps = {ref.app}
    apps.update(
        record.target.app
        for record in records
        if record.outcome and record.outcome.status in HOLDING and is_same(record.outcome.key, ref)
    )
    if ref.is_known:
        async for app in api.signers_with(ref.kid, CallTrace(), resource=ref.resource):
            apps.add(AppId(app.id))
    return len(apps)


def is_same(key: KeyRef, ref: KeyRef) -> bool:
    """Say whether two are one key, wherever it is held; new keys are told apart by their app."""
    return key.kid == ref.kid if ref.is_known else key == ref


def bucket_forecast(
    bucket: Bucket, calls: int, view: BucketView | None, workers: int
) -> BucketForecast:
    """Estimate the time of so many calls at the bucket's live limit."""
    each = (view.round_trip if view else 0.2) / workers
    seconds = estimated_seconds(calls, view, seconds_per_call=each)
    return BucketForecast(
        bucket=bucket.value,
        calls=calls,
        limit_per_window=view.limit if view else None,
        share_per_window=view.share if view else None,
        window_seconds=view.window_seconds if view else None,
        seconds=seconds,
    )
