"""Confirm a wave once more, after it: by the list of apps that sign with the key, and by the log.

One list call confirms up to 200 apps. The System Log shows what no answer can: an edit by somebody
else between our read of an app and our write, which the write has undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.engine.context import RunContext
from orchestrator.engine.keys import CLOCK_SLACK
from orchestrator.errors import AccessError, CallError, Halted, ScopeMissing
from orchestrator.events import Noticed
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Kid,
    Proof,
    Reason,
    Resource,
    StopCause,
)
from orchestrator.okta.objects import LogEvent
from orchestrator.okta.wire import CallTrace, moment_of
from orchestrator.store.base import EventRecord

UPDATED = "application.lifecycle.update"
ROTATED = "app.keys.rotate"
LOG_FILTER = f'eventType eq "{UPDATED}" or eventType eq "{ROTATED}"'
WAVE_CHECKED = "wave_checked"  # a kind of event: a wave was held against the log
LOG_MARGIN = timedelta(minutes=3)  # a write that was retried has been read so long before

ByApp = dict[AppId, Activation]  # brought up to date as they are confirmed


async def confirm_by_list(context: RunContext, activations: ByApp, resource: Resource) -> None:
    """Confirm that every target still signs with its key; one that does not has drifted.

    Raises:
        AccessError: the org refuses our credential.
        Halted: the run is stopping.
    """
    kids = {activation.kid for activation in activations.values()}
    seen: set[AppId] = set()
    try:
        if len(kids) == 1:
            seen = await signers(context, kids.pop(), resource)
        for app, activation in list(activations.items()):
            if app in seen:
                await settle(context, activations, confirmed(activation, Proof.LIST))
            else:
                await settle(context, activations, await read_again(context, activation, resource))
    except (Halted, AccessError):
        raise
    except CallError as error:
        text = f"what was activated could not be confirmed: {error.message}"
        context.observer.notify(Noticed(text=text))


async def signers(context: RunContext, kid: Kid, resource: Resource) -> set[AppId]:
    """Return the apps that the org lists as signing with a key."""
    return {
        AppId(app.id) async for app in context.api.signers_with(kid, CallTrace(), resource=resource)
    }


async def read_again(context: RunContext, activation: Activation, resource: Resource) -> Activation:
    """Ask the target itself what it signs with."""
    app = activation.target.app
    reply = await context.api.get_signer(app, CallTrace(), resource=resource)
    if reply.refusal is not None:
        text = f"{app} could not be confirmed: {reply.refusal}"
        context.observer.notify(Noticed(text=text))
        return activation
    kid = reply.value.active_kid if reply.value else None
    if kid == activation.kid:
        return confirmed(activation, Proof.READ)
    return drifted(activation, kid or "no key")


def confirmed(activation: Activation, proof: Proof) -> Activation:
    return replace(
        activation,
        state=ActivationState.VERIFIED,
        proof=proof,
        detail=f"{activation.detail}, and was seen to do so after its wave",
    )


def drifted(activation: Activation, kid: str) -> Activation:
    """Return the record of a target that somebody has changed after us. It is left alone."""
    return replace(
        activation,
        state=ActivationState.FAILED,
        reason=Reason.DRIFT,
        retryable=False,
        detail=f"it was activated, but signs with {kid} now: somebody has changed it since, "
        "and it is left as it is",
    )


async def settle(context: RunContext, activations: ByApp, activation: Activation) -> None:
    """Record what more is known of a target; one failure of it counts once."""
    activation = replace(activation, at=context.now())
    app = activation.target.app
    was_failure, activations[app] = activations[app].is_failure, activation
    await context.settle_activation(activation, changed=False, was_failure=was_failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What somebody else did to a target, as the System Log tells it."""

    app: AppId
    at: datetime
    who: str
    request_id: str


async def cross_check(context: RunContext, activations: ByApp) -> None:
    """Hold a wave against the System Log; without the right to read it, say so and go on.

    Raises:
        Halted: the run is stopping.
        AccessError: the org refuses our credential altogether.
    """
    written = [each.at for each in activations.values() if each.at is not None]
    since = min(written, default=context.now()) - LOG_MARGIN
    until = context.now() + LOG_MARGIN
    try:
        events = [
            event async for event in context.api.log_events(since, until, LOG_FILTER, CallTrace())
        ]
    except Halted:
        raise
    except (ScopeMissing, CallError) as error:
        text = f"the wave could not be held against the System Log: {error.message}"
        context.observer.notify(Noticed(text=text))
        return
    except AccessError as error:
        context.stop(StopCause.ACCESS, error.message, error.hint)
        return
    late = unlogged(events, activations)
    if late:
        text = f"the System Log does not show {late} of our own writes: edits may be missing too"
        context.observer.notify(Noticed(text=text))
    for edit in overwritten(events, activations):
        activation = activations[edit.app]
        text = (
            f"{edit.who} changed it at {edit.at:%H:%M:%S} UTC (request {edit.request_id}), between "
            "our read and our write: what was changed may be lost"
        )
        await settle(context, activations, replace(activation, problem=text))


def checked_until(events: Iterable[EventRecord], job: int) -> dict[int, datetime]:
    """Return until when, on the org's clock, each wave of a job was held against the log."""
    found: dict[int, datetime] = {}
    for event in events:
        wave, until = event.body.get("wave"), moment_of(event.body.get("until"))
        if event.body.get("job") == job and isinstance(wave, int) and until is not None:
            found[wave] = until
    return found


def unlogged(events: Iterable[LogEvent], activations: ByApp) -> int:
    """Return how many writes of ours are not in the log, or not yet. Pure."""
    events = list(events)
    logged = {event.request_id for event in events}
    lost = lost_writes(events, activations)
    return sum(
        each.proof is Proof.RESPONSE and logged.isdisjoint(each.evidence.request_ids)
        for each in activations.values()
    ) + sum(was_lost(each) and app not in lost for app, each in activations.items())


def was_lost(activation: Activation) -> bool:
    """Say whether the answer to our write was lost, so that we do not know its request id."""
    return activation.proof is Proof.READ and activation.previous_kid is not None


def lost_writes(events: Iterable[LogEvent], activations: ByApp) -> dict[AppId, str]:
    """Return the request ids of writes whose answers were lost: they were the last to set a key."""
    found: dict[AppId, tuple[datetime, str]] = {}
    for event in events:
        at, request_id = event.published_at, event.request_id
        if event.event_type != ROTATED or at is None or request_id is None or failed(event):
            continue
        for app in targets_of(event, activations):
            recorded = activations[app].at
            if recorded is None or at > recorded + CLOCK_SLACK:
                continue
            if was_lost(activations[app]):
                found[app] = max((at, request_id), found.get(app, (at, request_id)))
    return {app: request_id for app, (_, request_id) in found.items()}


def overwritten(events: Iterable[LogEvent], activations: ByApp) -> list[Edit]:
    """Return the edits that our writes may have undone, at most one for each target. Pure.

    An edit that our read has shown is no later than the `lastUpdated` we read, which Okta gives in
    whole seconds. One that came later, and before our own write, was overwritten. Of a write whose
    answer was lost, nothing is claimed unless the log shows it.
    """
    events = list(events)
    lost = lost_writes(events, activations)
    edits: dict[AppId, Edit] = {}
    ours: dict[AppId, datetime] = {}
    dated = ((event.published_at, event) for event in events if not failed(event))
    listed = sorted(
        ((at, event) for at, event in dated if at is not None),
        key=lambda pair: (pair[0], pair[1].request_id or ""),
    )
    for at, event in listed:
        for app in targets_of(event, activations):
            if is_ours(event, activations[app], lost.get(app)):
                ours[app] = max(at, ours.get(app, at))
    for at, event in listed:
        for app in targets_of(event, activations):
            activation = activations[app]
            if is_ours(event, activation, lost.get(app)):
                continue
            if was_lost(activation) and app not in lost:
                continue
            last = ours.get(app, activation.at)  # where the log lags behind, our own clock must do
            read = moment_of(activation.last_updated)
            if read is None or last is None or app in edits:
                continue
            if read < at.replace(microsecond=0) and at <= last:
                edits[app] = edit_of(app, at, event)
    return list(edits.values())


def is_ours(event: LogEvent, activation: Activation, lost: str | None) -> bool:
    """Say whether an event came of our own calls, those without an answer included."""
    known = event.request_id in activation.evidence.request_ids
    return known or (lost is not None and event.request_id == lost)


def failed(event: LogEvent) -> bool:
    """Say whether it came to nothing, so that there was nothing to undo."""
    return event.outcome is not None and event.outcome.result == "FAILURE"


def edit_of(app: AppId, at: datetime, event: LogEvent) -> Edit:
    actor = event.actor
    who = (actor.alternate_id or actor.id) if actor else None
    return Edit(app=app, at=at, who=who or "somebody", request_id=event.request_id or "unknown")


def targets_of(event: LogEvent, activations: ByApp) -> Sequence[AppId]:
    return [AppId(app) for app in event.target_ids if app in activations]
