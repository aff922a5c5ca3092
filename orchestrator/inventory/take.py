"""Look at a whole org, in as few calls as can be: as a picture for selectors, or as an inventory.

A list shows what every app signs with, 200 apps a call, so nothing is asked app by app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from sys import intern

from orchestrator.clock import Clock
from orchestrator.engine.certificates import (
    CertificateReader,
    Progress,
    in_order,
    in_silence,
    short,
)
from orchestrator.errors import AccessError, CallError, Halted, Refused, ScopeMissing
from orchestrator.holders import NOUNS, Holder, Picture, Questions
from orchestrator.inventory.record import Inventory
from orchestrator.model import AppId, Kid, Resource
from orchestrator.okta.api import LARGEST_PAGE, OktaApi
from orchestrator.okta.wire import Application, CallTrace
from orchestrator.store.base import CertificateBook

WORKERS = 8


async def take_picture(
    api: OktaApi,
    questions: Questions,
    book: CertificateBook,
    *,
    clock: Clock,
    workers: int = WORKERS,
) -> Picture:
    """Find out what selectors ask about an org, and nothing else.

    Raises:
        CallError: the org does not list what is asked for.
        AccessError: the org refuses our credential.
        Halted: the program is stopping.
    """
    narrow = questions.narrow
    listed = {
        resource: await list_holders(api, resource, narrow if resource is Resource.APP else None)
        for resource in questions.resources
    }
    filtered = {asked: await ids_passing(api, asked) for asked in questions.filters}
    if narrow is not None:
        filtered[narrow] = frozenset(holder.id for holder in listed[Resource.APP])
    at = api.pacer.org_time(clock.wall())
    holders = [holder for each in listed.values() for holder in each]
    reader = CertificateReader(api, book, workers=workers)
    if questions.asks_ends:
        await reader.read_active(
            holder
            for holder in holders
            if holder.signs and (questions.asks_oidc or not holder.is_oidc)
        )
    certificates = in_order(holders, {}, reader.certificates)
    return Picture(
        at=at,
        holders=listed,
        ends={kid: certificate.not_after for kid, certificate in certificates.items()},
        unknown=in_order(holders, {}, reader.unknown),
        filtered=filtered,
        is_whole=narrow is None,
    )


async def take_inventory(
    api: OktaApi,
    book: CertificateBook,
    *,
    org: str,
    org_id: str | None = None,
    profile: str | None,
    resources: Sequence[Resource],
    all_keys: bool = False,
    clock: Clock,
    workers: int = WORKERS,
    progress: Progress | None = None,
) -> Inventory:
    """Find out what everything in an org signs with; `all_keys`: and what else it holds.

    `org_id` is what the org says it is: see `id_of_org`. Costs a list call per 200 holders, and one
    per key that the book does not know; with `all_keys` one per holder that signs. What the org
    does not let us see is told in `unknown` and `notes`, in words that may be the org's. `progress`
    is told often; it must be quick.

    Raises:
        CallError: the org does not list its apps.
        AccessError: the org refuses our credential.
        Halted: the program is stopping.
    """
    progress = progress or in_silence
    listed, notes = await list_all(api, tuple(dict.fromkeys(resources)), progress)
    holders = [holder for each in listed.values() for holder in each]
    taken_at = api.pacer.org_time(clock.wall())
    reader = CertificateReader(api, book, workers=workers, progress=progress)
    signing = [holder for holder in holders if holder.signs]
    await (reader.read_all(signing) if all_keys else reader.read_active(signing))
    others = {
        holder.id: reader.other_keys[holder.id]
        for holder in signing
        if holder.id in reader.other_keys
    }
    return Inventory(
        org=org,
        org_id=org_id,
        profile=profile,
        taken_at=taken_at,
        resources=tuple(listed),
        holders=tuple(holders),
        certificates=in_order(holders, others, reader.certificates),
        unknown=in_order(holders, others, reader.unknown),
        other_keys=others if all_keys else None,
        notes=(*notes, *notes_of(reader.unlisted)),
    )


async def list_all(
    api: OktaApi, resources: Sequence[Resource], progress: Progress
) -> tuple[dict[Resource, list[Holder]], list[str]]:
    """Return what the lists show, and notes; that the token may not see the IdPs is only a note."""
    listed: dict[Resource, list[Holder]] = {}
    notes = []
    for resource in resources:
        try:
            listed[resource] = await list_holders(api, resource, progress=progress)
        except (Refused, ScopeMissing) as error:
            if resource is Resource.APP or Resource.APP not in resources:
                raise
            notes.append(f"the {NOUNS[resource][1]} are missing: {short(error.message)}")
    return listed, notes


async def list_holders(
    api: OktaApi, resource: Resource, filter_: str | None = None, progress: Progress | None = None
) -> list[Holder]:
    """Return what a list shows, in its order, each once; of what pages repeat, the newer."""
    found: dict[AppId, Holder] = {}
    tell = progress or in_silence
    async for signer in signers(api, resource, filter_):
        holder = holder_of(signer, resource)
        found[holder.id] = holder
        if len(found) % LARGEST_PAGE == 0:
            tell(NOUNS[resource][1], len(found), None)
    tell(NOUNS[resource][1], len(found), len(found))
    return list(found.values())


def signers(api: OktaApi, resource: Resource, filter_: str | None) -> AsyncIterator[Application]:
    """Yield what a list shows, identity providers in the words of apps."""
    if resource is Resource.IDP:
        return api.list_idps(CallTrace())
    return api.list_apps(CallTrace(), filter_=filter_)


def holder_of(signer: Application, resource: Resource) -> Holder:
    """Return a holder. What many have in common is held in memory once."""
    kid = signer.active_kid
    return Holder(
        id=AppId(signer.id),
        resource=resource,
        label=signer.label or "",
        name=interned(signer.name),
        sign_on_mode=interned(signer.sign_on_mode),
        status=interned(signer.status),
        kid=Kid(intern(kid)) if kid else None,
        last_updated=signer.last_updated,
    )


def interned(text: str | None) -> str | None:
    return None if text is None else intern(text)


async def ids_passing(api: OktaApi, filter_: str) -> frozenset[AppId]:
    """Return the ids of the apps that a filter of Okta's lets through."""
    return frozenset({AppId(app.id) async for app in api.list_apps(CallTrace(), filter_=filter_)})


async def id_of_org(api: OktaApi) -> str | None:
    """Return the id that the org says it has; None where it does not say. Costs no rate limit."""
    try:
        reply = await api.organization(CallTrace())
    except Halted:
        raise
    except (CallError, AccessError):
        return None
    return reply.value.id if reply.value else None


def notes_of(unlisted: Mapping[AppId, str]) -> list[str]:
    """Return a note for each reason for which the keys of holders are not known."""
    return [
        f"the keys of {count} holder{'s' * (count != 1)} could not be listed: {why}"
        for why, count in sorted(Counter(unlisted.values()).items())
    ]
