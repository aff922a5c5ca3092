"""Say what a run will cost, from what a dry run has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.engine.machine import SourceKey
from orchestrator.engine.result import BucketForecast, Forecast, RunSettings
from orchestrator.model import AppId, KeyRef, Outcome, Status
from orchestrator.okta.api import OktaApi
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pacing import BucketView, estimated_seconds
from orchestrator.okta.wire import CallTrace

HOLDING = (Status.PLANNED, Status.CLONED, Status.ALREADY_PRESENT)


async def forecast(
    api: OktaApi,
    settings: RunSettings,
    sources: Mapping[KeyRef, SourceKey | str],
    outcomes: Iterable[Outcome],
) -> Forecast:
    """Count the run's calls, estimate its time, and count who will share each key.

    Costs one list call per 200 apps that sign with a source's key now.

    Raises:
        CallError: the org does not list its apps.
        AccessError: the org refuses our credential.
    """
    usable = {ref for ref, source in sources.items() if isinstance(source, SourceKey)}
    sharing: dict[str, int] = {}
    for ref in sorted(usable, key=str):
        sharing[ref.kid] = await sharers(api, ref, outcomes)
    # The run asks nothing before it clones: each target costs one call, whatever comes of it.
    calls = len(sources) + sum(outcome.key in usable for outcome in outcomes)
    keys = bucket_forecast(Bucket.APPS, calls, api.pacer.view(Bucket.APPS), settings.workers)
    return Forecast(buckets=(keys,), seconds=keys.seconds, sharing=sharing)


async def sharers(api: OktaApi, ref: KeyRef, outcomes: Iterable[Outcome]) -> int:
    """Count the apps that will hold the key: source, targets, and whoever signs with it now.

    Apps that hold it without using it, and are no target, cannot be found without asking each.
    """
    apps = {ref.app}
    apps.update(
        outcome.target.app
        for outcome in outcomes
        if outcome.key.kid == ref.kid and outcome.status in HOLDING
    )
    query = f'credentials.signing.kid eq "{ref.kid}"'
    async for app in api.list_apps(CallTrace(), filter_=query):
        if app.active_kid == ref.kid:  # never trust a filter alone
            apps.add(AppId(app.id))
    return len(apps)


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
