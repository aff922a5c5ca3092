"""Say what a run will cost, from what a dry run has found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.engine.keys import JobKey
from orchestrator.engine.result import BucketForecast, Forecast, RunSettings
from orchestrator.engine.staging import FutureKey, SourceKey
from orchestrator.engine.timetable import Timetable
from orchestrator.engine.workload import SignerList, announced_calls, workload_of
from orchestrator.model import NEW_KID, AppId, KeyRef, Resource, Status
from orchestrator.okta.api import OktaApi
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.okta.outlook import estimated_seconds
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pacing import BucketView
from orchestrator.okta.wire import CallTrace
from orchestrator.store.base import JobRecord, TargetRecord

HOLDING = (Status.PLANNED, Status.CLONED, Status.ALREADY_PRESENT)


async def forecast(
    api: OktaApi,
    settings: RunSettings,
    jobs: Sequence[JobRecord],
    known: Mapping[int, JobKey | str],
    records: Iterable[TargetRecord],
) -> Forecast:
    """Count the run's calls, estimate its time, and count who will share each key.

    Costs one list call per 200 apps that sign with a source's key now, besides `learn_limits`.

    Raises:
        CallError: the org does not list its apps.
        AccessError: the org refuses our credential.
    """
    usable = {position: key for position, key in known.items() if not isinstance(key, str)}
    keys = {
        job.position: (name_of(key.ref, job), key.ref)
        for job in jobs
        if isinstance(key := usable.get(job.position), SourceKey | FutureKey)
    }
    shared = dict(sorted(keys.values()))
    lists = {name: await list_signers(api, ref) for name, ref in shared.items()}
    sharing = {name: sharers(ref, lists[name], records) for name, ref in shared.items()}
    of_jobs = {position: lists[name] for position, (name, _) in keys.items()}
    load = workload_of(settings, jobs, usable, records, of_jobs)
    await learn_limits(api, jobs, records, asked={ref.resource for ref in shared.values()})
    timetable = Timetable(views_of(api), workers=settings.workers)
    pending = sum(wave.targets for job in load for wave in job.waves)
    timetable.play(load, announced_calls(replace(settings, dry_run=False), jobs, pending))
    return Forecast(
        buckets=tuple(timetable_of(timetable)),
        seconds=timetable.seconds,
        sharing=sharing,
    )


def name_of(ref: KeyRef, job: JobRecord) -> str:
    """Return the kid of a key, or what stands for one that is still to be made."""
    return ref.kid if ref.is_known else f"{NEW_KID} ({job.name})"


async def learn_limits(
    api: OktaApi,
    jobs: Sequence[JobRecord],
    records: Iterable[TargetRecord],
    *,
    asked: Collection[Resource],
) -> None:
    """Let each bucket of keys tell its limit, where nothing that was looked at has done so.

    Costs at most one call each: of the keys of a target, whatever the org says to that. `asked`:
    whose bucket was called already; one that tells nothing then has nothing to tell.
    """
    resources = {job.position: job.key.resource for job in jobs}
    unknown = {
        each
        for each in resources.values()
        if each not in asked and api.pacer.view(ENDPOINTS[each].bucket) is None
    }
    for record in records:
        if not unknown:
            return
        resource = resources[record.job]
        if resource in unknown:
            unknown.remove(resource)
            await api.list_keys(record.target.app, CallTrace(), resource=resource)


def views_of(api: OktaApi) -> dict[Bucket, BucketView | None]:
    """Return what is known of every bucket now.

    A preview writes no app, so that bucket is taken to be like the one of reads, as Okta's own
    tables have it, and unused.
    """
    views = {bucket: api.pacer.view(bucket) for bucket in Bucket}
    reads = views[Bucket.APP_READ]
    if views[Bucket.APP_WRITE] is None and reads is not None:
        views[Bucket.APP_WRITE] = replace(reads, free=reads.share, seconds_to_edge=0.0)
    return views


async def list_signers(api: OktaApi, ref: KeyRef) -> SignerList | None:
    """List what signs with a key now; of one that is still to be made, there is nothing to list."""
    if not ref.is_known:
        return None
    trace = CallTrace()
    listed = api.signers_with(ref.kid, trace, resource=ref.resource)
    apps = frozenset([AppId(app.id) async for app in listed])
    return SignerList(apps=apps, calls=trace.attempts)


def sharers(ref: KeyRef, listed: SignerList | None, records: Iterable[TargetRecord]) -> int:
    """Count the apps that will hold the key: source, targets, and whoever signs with it now.

    Apps that hold it without using it, and are no target, cannot be found without asking each.
    """
    apps = {ref.app, *(listed.apps if listed else ())}
    apps.update(
        record.target.app
        for record in records
        if record.outcome and record.outcome.status in HOLDING and is_same(record.outcome.key, ref)
    )
    return len(apps)


def is_same(key: KeyRef, ref: KeyRef) -> bool:
    """Say whether two are one key, wherever it is held; new keys are told apart by their app."""
    return key.kid == ref.kid if ref.is_known else key == ref


def timetable_of(timetable: Timetable) -> Iterator[BucketForecast]:
    """Yield what the run costs each bucket, with the time that its calls would take alone."""
    for bucket in Bucket:
        calls, view = timetable.calls[bucket], timetable.views.get(bucket)
        if not calls and bucket is not Bucket.APPS:
            continue
        each = timetable.round_trip(bucket) / timetable.workers
        yield BucketForecast(
            bucket=bucket.value,
            calls=calls,
            limit_per_window=view.limit if view else None,
            share_per_window=view.share if view else None,
            window_seconds=view.window_seconds if view else None,
            seconds=estimated_seconds(calls, view, seconds_per_call=each),
        )
