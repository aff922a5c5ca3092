"""Whatever an org is like and whatever is chosen, the plan that is written is one, and means it."""

from __future__ import annotations

from datetime import timedelta
from itertools import compress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.belts import check_changes
from orchestrator.holders import OIDC, SAML_IDP, Holder
from orchestrator.inventory.draft import (
    Draft,
    SourceWish,
    Wishes,
    drafted,
    pickable,
    picture_of,
)
from orchestrator.inventory.draft_text import plan_text
from orchestrator.inventory.filters import Filters
from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.model import KeyKind, Resource
from orchestrator.plan.schema import InlineOrg, Plan
from orchestrator.plan.targets import resolve
from tests.inventory.drafts import (
    AT,
    BOTH,
    HOSTILE,
    URL,
    app_id,
    certificate,
    kid,
    loaded,
    uncommented,
)

labels = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.sampled_from(["Fin", "Ops"]))
modes = st.sampled_from(["SAML_2_0", "WS_FEDERATION", OIDC, "BOOKMARK", None])
keys = st.one_of(st.none(), st.integers(0, 4).map(kid))
KEYS = [kid(number) for number in range(5)]


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Draw an org in which a few keys are shared by many."""
    holders = []
    for number in range(draw(st.integers(1, 12))):
        resource = draw(st.sampled_from(Resource))
        mode = (
            draw(modes) if resource is Resource.APP else draw(st.sampled_from([SAML_IDP, "OIDC"]))
        )
        holder = Holder(
            id=app_id(number),
            resource=resource,
            label=draw(labels),
            sign_on_mode=mode,
            status=draw(st.sampled_from(["ACTIVE", "ACTIVE", "INACTIVE", None])),
            kid=draw(keys),
        )
        holders.append(holder)
    known = draw(st.dictionaries(st.sampled_from(KEYS), st.floats(-900, 900), max_size=5))
    hashes = st.sampled_from(["sha1", "sha256"])
    return Inventory(
        org=URL,
        profile=draw(st.sampled_from([None, "acme", "on"])),
        taken_at=AT,
        holders=tuple(holders),
        certificates={each: certificate(days, draw(hashes)) for each, days in known.items()},
    )


filters = st.builds(
    Filters,
    expiring_within=st.none() | st.integers(1, 500).map(lambda days: timedelta(days=days)),
    sha1=st.booleans(),
    shared=st.booleans(),
    status=st.sampled_from([None, None, "ACTIVE", "INACTIVE"]),
    label=st.none() | labels,
    signing_with=st.none() | st.sampled_from(KEYS),
)
no_filters = st.just(Filters())
kinds = st.sampled_from([KeyKind.KID, KeyKind.ACTIVE, KeyKind.NEWEST, KeyKind.GENERATE])


@st.composite
def wishes(draw: st.DrawFn, inventory: Inventory) -> Wishes:
    signing = [row for row in rows_of(inventory) if row.holder.signs]
    source = None
    if draw(st.booleans()) and signing:
        kind = draw(kinds)
        source = SourceWish(
            row=draw(st.sampled_from(signing)),
            kind=kind,
            kid=draw(st.sampled_from(KEYS)) if kind is KeyKind.KID else None,
        )
    ids = [row.holder.id for row in signing]
    some = st.frozensets(st.sampled_from(ids or [app_id(99)]))
    return Wishes(
        name=draw(st.sampled_from([None, "yes", "1e5", "2026-10-01", "fine"])),
        source=source,
        each=source is None and draw(st.booleans()),
        validity_years=draw(st.integers(2, 10)),
        activates=draw(st.booleans()),
        allow_oidc=draw(st.booleans()),
        by_selectors=draw(st.booleans()),
        protected=draw(some),
        managed=draw(some),
    )


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """Draw a plan that has something to do: of all that can be picked, or of a few of it."""
    inventory = draw(inventories())
    chosen = draw(st.one_of(filters, no_filters))
    wished = draw(wishes(inventory))
    found = pickable(inventory, chosen, wished, draw(st.sampled_from([BOTH, (Resource.APP,)])))
    picked: tuple[Row, ...] = found.rows
    by_hand = draw(st.booleans())
    if by_hand:
        keep = draw(st.lists(st.booleans(), min_size=len(picked), max_size=len(picked)))
        picked = tuple(compress(picked, keep))
    return drafted(inventory, picked, wished, filters=chosen, by_hand=by_hand, left=found.left)


def assert_means(plan: Plan, draft: Draft, *, activates: bool) -> None:
    """The plan, resolved in the org it was drafted from, is what was drafted."""
    jobs = resolve(plan, picture_of(draft.inventory))
    check_changes(plan.limits, jobs)
    assert [job.name for job in jobs] == [job.name for job in draft.jobs]
    for job, meant in zip(jobs, draft.jobs, strict=True):
        assert job.key.resource is meant.resource
        assert job.key.app == (meant.source.holder.id if meant.source else "")
        assert (job.wanted.kind, job.wanted.validity_years) == (
            meant.wanted.kind,
            meant.wanted.validity_years,
        )
        assert job.key.kid == (meant.kid or "new")
        rows = [*meant.targets, *([meant.source] if activates and meant.with_source else [])]
        assert [target.app for target in job.stream()] == [row.holder.id for row in rows if row]


def assert_shown_activation_is_a_plan(text: str, draft: Draft) -> None:
    """What stands in comments means what it says, once it is none."""
    plan = loaded(uncommented(text))
    assert_means(plan, draft, activates=True)
    for job, meant in zip(plan.jobs, draft.jobs, strict=True):
        assert job.activate is not None
        assert job.activate.source is meant.with_source
        assert job.activate.gate.acknowledged


def assert_nothing_gets_out_of_its_place(text: str, draft: Draft) -> None:
    """No label adds to the plan, to a terminal, or to what any other tool reads."""
    assert all(line.isprintable() for line in text.split("\n"))
    tree = yaml.safe_load(text)
    assert tree["name"] == draft.name
    assert [job["name"] for job in tree["jobs"]] == [job.name for job in draft.jobs]
    has_selectors = any(job.selector for job in draft.jobs)
    assert set(tree) == {"version", "name", "org", "jobs"} | (
        {"limits"} if has_selectors else set()
    )
    known = {"name", "resource", "source", "targets", "allow_oidc", "activate"}
    assert all(set(job) <= known for job in tree["jobs"])


def assert_picked_once(draft: Draft) -> None:
    """Nothing is in two jobs, and nothing is in one that must not be."""
    targets = [row.holder.id for job in draft.jobs for row in job.targets]
    sources = {job.source.holder.id for job in draft.jobs if job.source}
    assert len(set(targets)) == len(targets)
    assert not sources & set(targets)
    for holder in (row.holder for job in draft.jobs for row in job.rows):
        assert holder.signs
        assert holder.is_active or draft.filters.status
        assert draft.wishes.allow_oidc or not holder.is_oidc
        assert holder.id not in draft.wishes.protected


def check(draft: Draft) -> None:
    assert_picked_once(draft)
    if not draft.jobs:
        return
    text = plan_text(draft)
    assert text == plan_text(draft)
    plan = loaded(text)
    assert_means(plan, draft, activates=draft.wishes.activates)
    named = plan.org.url if isinstance(plan.org, InlineOrg) else plan.org
    assert named == (draft.inventory.profile or URL)
    for job, meant in zip(plan.jobs, draft.jobs, strict=True):
        assert (job.activate is not None) is draft.wishes.activates
        assert job.allow_oidc is meant.has_oidc
    assert_shown_activation_is_a_plan(text, draft)
    assert_nothing_gets_out_of_its_place(text, draft)


@settings(max_examples=200, deadline=None)
@given(drafts())
def test_a_draft_is_a_plan_that_means_what_was_drafted(draft: Draft) -> None:
    check(draft)


@pytest.mark.long
@settings(max_examples=2000, deadline=None)
@given(drafts())
def test_every_draft_is_a_plan_that_means_what_was_drafted(draft: Draft) -> None:
    check(draft)
