"""Decide what a new plan is to do with what was picked of an org: its jobs. Pure.

pickable(inventory, filters, wishes)            what can be a target, and how many cannot, and why
drafted(inventory, picked, wishes, filters)     the jobs, grouped by the key that is shared today

The words of the plan are written in draft_text.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from pydantic import ValidationError

from orchestrator.errors import UsageError
from orchestrator.holders import Holder, Picture, Selector, SelectorKind, selected
from orchestrator.inventory.filters import Filters
from orchestrator.inventory.record import DAY, Inventory, Row, rows_of
from orchestrator.model import AppId, KeyKind, KeySpec, Kid, Resource
from orchestrator.plan.selecting import unfit
from orchestrator.plan.selectors import SelectorSpec

VALIDITY_YEARS = 3  # shorter than the 10 of Okta's console, so that rotating stays a habit
LONGEST_SLUG = 40  # of 64 characters that a name may have
MOST_CANDIDATES = 5


class Left(StrEnum):
    """Why something that was asked for is not in the plan."""

    NOT_SIGNING = "not_signing"
    OIDC = "oidc"
    INACTIVE = "inactive"
    PROTECTED = "protected"
    OTHER_KIND = "other_kind"  # an app where the source is an identity provider, or the reverse
    HAS_KEY = "has_key"  # it signs with the key already


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWish:
    """Whose key everything is to get."""

    row: Row
    kind: KeyKind  # a kid, active, newest or generate
    kid: Kid | None = None  # of KeyKind.KID

    @property
    def known_kid(self) -> Kid | None:
        """Return the key, where it can be told today which one that is."""
        return self.row.holder.kid if self.kind is KeyKind.ACTIVE else self.kid


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a plan is to do with what is picked."""

    name: str | None = None  # of the plan; None: from the day
    source: SourceWish | None = None
    each: bool = False  # a new key for everything, and nothing is shared any more
    validity_years: int = VALIDITY_YEARS
    activates: bool = False  # the plan goes on to activate; else it only shows how it could
    allow_oidc: bool = False
    by_selectors: bool = False  # where that says the same as ids
    protected: frozenset[AppId] = frozenset()  # no run touches these
    managed: frozenset[AppId] = frozenset()  # by Terraform


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickable:
    """What of an org can be a target, in the order of its lists."""

    rows: tuple[Row, ...]
    left: Mapping[Left, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftJob:
    """One job of a plan that is being written."""

    name: str
    resource: Resource
    source: Row | None = None  # None: every target gets a key of its own
    wanted: KeySpec
    kid: Kid | None = None  # of KeyKind.KID
    shared: Kid | None = None  # what source and targets sign with today, all of them
    targets: tuple[Row, ...]
    selector: Selector | None = None  # which picks just these targets
    with_source: bool = False  # the source begins to sign with the key as well

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return all that gets a new key by the job."""
        return (self.source, *self.targets) if self.source and self.with_source else self.targets

    @property
    def has_oidc(self) -> bool:
        return any(row.holder.is_oidc for row in self.rows)

    @property
    def has_inactive(self) -> bool:
        return not all(row.holder.is_active for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A plan that is being written."""

    inventory: Inventory
    name: str
    jobs: tuple[DraftJob, ...]
    filters: Filters = field(default=Filters())
    by_hand: bool = False  # somebody has picked one by one
    left: Mapping[Left, int]
    wishes: Wishes


def pickable(
    inventory: Inventory, filters: Filters, wishes: Wishes, resources: Iterable[Resource]
) -> Pickable:
    """Return what can be a target, and count what the filters keep but a plan leaves out."""
    rows: list[Row] = []
    left: Counter[Left] = Counter()
    wanted = frozenset(resources)
    for row in rows_of(inventory):
        if row.holder.resource not in wanted or not filters.keep(row):
            continue
        reason = reason_against(row, filters, wishes)
        if reason is None:
            rows.append(row)
        else:
            left[reason] += 1
    return Pickable(rows=tuple(rows), left=left)


def reason_against(row: Row, filters: Filters, wishes: Wishes) -> Left | None:
    """Return why a row is no target. What is deactivated is one if a status is asked for."""
    if not row.holder.signs:
        return Left.NOT_SIGNING
    if row.holder.is_oidc and not wishes.allow_oidc:
        return Left.OIDC
    if not row.holder.is_active and filters.status is None:
        return Left.INACTIVE
    return Left.PROTECTED if row.holder.id in wishes.protected else None


def named(inventory: Inventory, text: str) -> Row:
    """Return the row with that id, or with exactly that label.

    Raises:
        UsageError: nothing has it, or several have that label, or it signs with no key.
    """
    rows = list(rows_of(inventory))
    found = [row for row in rows if row.holder.id == text]
    found = found or [row for row in rows if row.holder.label == text]
    if len(found) == 1 and found[0].holder.signs:
        return found[0]
    if len(found) == 1:
        raise UsageError(f"{text!r} cannot be the source: it signs with no key")
    if found:
        ids = ", ".join(row.holder.id for row in found[:MOST_CANDIDATES])
        raise UsageError(f"{len(found)} have the label {text!r}: {ids}", hint="name it by its id")
    similar = [row for row in rows if text.casefold() in row.holder.label.casefold()]
    some = ", ".join(f"{row.holder.id} ({row.holder.label!r})" for row in similar[:MOST_CANDIDATES])
    raise UsageError(
        f"nothing in the org has the id or the label {text!r}",
        hint=f"did you mean {some}?" if some else "okta-keys inventory lists what there is",
    )


def drafted(
    inventory: Inventory,
    picked: Sequence[Row],
    wishes: Wishes,
    *,
    filters: Filters = Filters(),  # noqa: B008 - frozen
    by_hand: bool = False,
    left: Mapping[Left, int] | None = None,
) -> Draft:
    """Return the plan for the rows that were picked; it may have no jobs."""
    reasons = Counter(left or {})
    targets = list(targets_for(picked, wishes.source, reasons))
    names = Names()
    jobs = [
        job
        for resource in Resource
        for job in jobs_of(
            [row for row in targets if row.holder.resource is resource], picked, wishes, names
        )
    ]
    if wishes.by_selectors:
        jobs = by_selectors(jobs, inventory, filters)
    return Draft(
        inventory=inventory,
        name=wishes.name or f"rotation-{inventory.taken_at:%Y-%m-%d}",
        jobs=tuple(jobs),
        filters=filters,
        by_hand=by_hand,
        left=reasons,
        wishes=wishes,
    )


def targets_for(
    picked: Iterable[Row], source: SourceWish | None, left: Counter[Left]
) -> Iterator[Row]:
    """Yield what a source's key is for; all that is picked where there is no source."""
    for row in picked:
        if source is None:
            yield row
        elif row.holder.id == source.row.holder.id:
            continue
        elif row.holder.resource is not source.row.holder.resource:
            left[Left.OTHER_KIND] += 1
        elif row.holder.kid == source.known_kid:
            left[Left.HAS_KEY] += 1
        else:
            yield row


def jobs_of(
    targets: Sequence[Row], picked: Sequence[Row], wishes: Wishes, names: Names
) -> Iterator[DraftJob]:
    """Yield the jobs for targets of one kind."""
    if not targets:
        return
    if wishes.source is not None:
        yield cloning(targets, picked, wishes.source, wishes, names)
        return
    groups = [[row] for row in targets] if wishes.each else by_key(targets)
    yield from (rotating(rows, wishes, names) for rows in groups if len(rows) > 1)
    alone = [rows[0] for rows in groups if len(rows) == 1]
    if alone:
        yield renewing(alone, wishes, names)


def by_key(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows by the key that they sign with, in the order given."""
    groups: dict[Kid | None, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.holder.kid, []).append(row)
    return list(groups.values())


def cloning(
    targets: Sequence[Row],
    picked: Sequence[Row],
    source: SourceWish,
    wishes: Wishes,
    names: Names,
) -> DraftJob:
    """Return the job that gives a key of one source to all targets."""
    years = wishes.validity_years if source.kind is KeyKind.GENERATE else None
    is_picked = any(row.holder.id == source.row.holder.id for row in picked)
    return DraftJob(
        name=names.of_source(source.row),
        resource=source.row.holder.resource,
        source=source.row,
        wanted=KeySpec(kind=source.kind, validity_years=years),
        kid=source.kid,
        targets=tuple(targets),
        with_source=is_picked and source.known_kid != source.row.holder.kid,
    )


def rotating(rows: Sequence[Row], wishes: Wishes, names: Names) -> DraftJob:
    """Return the job that replaces the key which all rows share by a new one that they share."""
    source = min(rows, key=lambda row: (row.holder.is_oidc, not row.holder.is_active))
    return DraftJob(
        name=names.of_source(source),
        resource=source.holder.resource,
        source=source,
        wanted=KeySpec(kind=KeyKind.GENERATE, validity_years=wishes.validity_years),
        shared=source.holder.kid,
        targets=tuple(row for row in rows if row is not source),
        with_source=True,
    )


def renewing(rows: Sequence[Row], wishes: Wishes, names: Names) -> DraftJob:
    """Return the job that gives every row a new key of its own."""
    resource = rows[0].holder.resource
    return DraftJob(
        name=names.take(f"own-{resource.value}-keys"),
        resource=resource,
        wanted=KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=wishes.validity_years),
        targets=tuple(rows),
    )


class Names:
    """Gives every job a name of its own."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def of_source(self, source: Row) -> str:
        """Return a name that a plan accepts and that no other tool takes for anything but text."""
        holder = source.holder
        return self.take(f"{slug(holder.label) or holder.resource.value}-signing")

    def take(self, base: str) -> str:
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}-{number}"
        self.taken.add(name)
        return name


def slug(label: str) -> str:
    """Return what is left of a label in small letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")


def by_selectors(
    jobs: Iterable[DraftJob], inventory: Inventory, filters: Filters
) -> list[DraftJob]:
    """Return the jobs with the selector that picks just their targets, where there is one."""
    picture = picture_of(inventory)
    found = []
    for job in jobs:
        fitting = (each for each in selectors_for(job, filters) if picks(each, job, picture))
        found.append(replace(job, selector=next(fitting, None)))
    return found


def picks(selector: Selector, job: DraftJob, picture: Picture) -> bool:
    """Say whether a plan may have the selector, and picks just the targets of the job by it."""
    try:
        selector.text.encode()
        SelectorSpec.model_validate({selector.kind.value: selector.text})
    except (UnicodeEncodeError, ValidationError):  # such as a text that is too long
        return False
    picked = {
        holder.id
        for holder in selected(selector, job.resource, picture)
        if unfit(holder, allow_oidc=job.has_oidc) is None
    }
    source = {job.source.holder.id} if job.source else set()
    return picked - source == {row.holder.id for row in job.targets}


def picture_of(inventory: Inventory) -> Picture:
    """Return the org as selectors look at it."""
    holders: dict[Resource, list[Holder]] = {}
    for holder in inventory.holders:
        holders.setdefault(holder.resource, []).append(holder)
    ends = {kid: certificate.not_after for kid, certificate in inventory.certificates.items()}
    return Picture(at=inventory.taken_at, holders=holders, ends=ends)


def selectors_for(job: DraftJob, filters: Filters) -> Iterator[Selector]:
    """Yield the selectors that may say what the job is for, the most telling first."""
    kid = job.shared or filters.signing_with
    if kid:
        yield Selector(kind=SelectorKind.SIGNING_WITH, text=kid)
    if filters.label:
        pattern = f"(?i){re.escape(filters.label)}"
        yield Selector(kind=SelectorKind.LABEL_REGEX, text=pattern)
    within = filters.expiring_within
    if within is not None:
        yield Selector(
            kind=SelectorKind.EXPIRING_WITHIN,
            text=span_text(within),
            seconds=within.total_seconds(),
        )


def span_text(span: timedelta) -> str:
    """Return a time span as plans write it: 60d, or 90s."""
    return f"{span // DAY}d" if span % DAY == timedelta() else f"{span // timedelta(seconds=1)}s"
