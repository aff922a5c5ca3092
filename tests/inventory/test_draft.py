"""Which jobs a new plan has: by shared key, by source, one for each; and what is left out."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from orchestrator.errors import UsageError
from orchestrator.inventory.draft import DraftJob, Left, SourceWish, Wishes, named, slug
from orchestrator.inventory.filters import Filters
from orchestrator.inventory.record import Inventory
from orchestrator.model import KeyKind, Resource
from tests.inventory.drafts import (
    HOSTILE,
    app,
    app_id,
    draft_of,
    idp,
    inventory_of,
    kid,
    oidc,
    row_of,
)

ORG = inventory_of(
    app(1, 7), app(2, 8), app(3, 7), app(4, 9), app(5, 7),
    oidc(6, 6), app(7, None, sign_on_mode="BOOKMARK"), app(8, 10, status="INACTIVE"),
    idp(9, 7), idp(10, 11), idp(11, 11),
    days={8: 20, 9: 59.5, 10: 5},
)  # fmt: skip


def told(job: DraftJob) -> tuple[str | None, list[str]]:
    """Return a job's source and targets, by number."""
    source = str(int(job.source.holder.id[3:])) if job.source else None
    return source, [str(int(row.holder.id[3:])) for row in job.targets]


def source_of(inventory: Inventory, number: int, kind: KeyKind, key: int | None = None) -> Wishes:
    row = row_of(inventory, app_id(number))
    return Wishes(
        source=SourceWish(row=row, kind=kind, kid=None if key is None else kid(key)),
    )


def test_what_shares_a_key_rotates_together_and_the_rest_gets_keys_of_its_own() -> None:
    shared, own, idps, own_idp = draft_of(ORG).jobs
    assert told(shared) == ("1", ["3", "5"])
    assert (shared.shared, shared.with_source) == (kid(7), True)
    assert shared.wanted.kind is KeyKind.GENERATE
    assert told(own) == (None, ["2", "4"])
    assert (own.wanted.kind, own.with_source) == (KeyKind.GENERATE_EACH, False)
    assert told(idps) == ("10", ["11"])
    assert idps.resource is Resource.IDP
    assert told(own_idp) == (None, ["9"]), "apps and identity providers never share a job"


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    assert draft_of(ORG).left == {Left.OIDC: 1, Left.NOT_SIGNING: 1, Left.INACTIVE: 1}
    only = draft_of(ORG, filters=Filters(expiring_within=timedelta(days=60)))
    assert [told(job) for job in only.jobs] == [(None, ["2", "4"])]
    assert only.left == {Left.INACTIVE: 1}, "only what the filters keep is counted"


def test_what_is_deactivated_is_taken_when_it_is_asked_for() -> None:
    draft = draft_of(ORG, filters=Filters(status="inactive"))
    [job] = draft.jobs
    assert told(job) == (None, ["8"])
    assert job.has_inactive


def test_oidc_apps_are_taken_when_that_is_allowed_and_are_no_source_if_others_can_be() -> None:
    org = inventory_of(oidc(1, 7), app(2, 7), app(3, 7))
    [job] = draft_of(org, Wishes(allow_oidc=True)).jobs
    assert told(job) == ("2", ["1", "3"])
    assert job.has_oidc


def test_protected_apps_are_left_out() -> None:
    draft = draft_of(ORG, Wishes(protected=frozenset({app_id(1), app_id(9)})))
    assert told(draft.jobs[0]) == ("3", ["5"])
    assert draft.left[Left.PROTECTED] == 2


def test_an_app_of_which_none_that_share_its_key_is_picked_gets_a_key_of_its_own() -> None:
    [job] = draft_of(ORG, filters=Filters(label="App 3")).jobs
    assert told(job) == (None, ["3"])
    assert job.targets[0].sharing == 3


def test_each_gets_a_key_of_its_own_if_that_is_wished() -> None:
    apps, idps = draft_of(ORG, Wishes(each=True, validity_years=2)).jobs
    assert told(apps) == (None, ["1", "2", "3", "4", "5"])
    assert told(idps) == (None, ["9", "10", "11"])
    assert apps.wanted.validity_years == 2


@pytest.mark.parametrize(
    ("kind", "key", "left", "targets", "with_source"),
    [
        (KeyKind.ACTIVE, None, 2, ["2", "4"], False),
        (KeyKind.KID, 7, 2, ["2", "4"], False),
        (KeyKind.KID, 99, 0, ["2", "3", "4", "5"], True),
        (KeyKind.NEWEST, None, 0, ["2", "3", "4", "5"], True),
        (KeyKind.GENERATE, None, 0, ["2", "3", "4", "5"], True),
    ],
)
def test_one_source_for_all(
    kind: KeyKind, key: int | None, left: int, targets: list[str], with_source: bool
) -> None:
    draft = draft_of(ORG, source_of(ORG, 1, kind, key))
    [job] = draft.jobs
    assert told(job) == ("1", targets)
    assert job.with_source is with_source
    assert draft.left[Left.HAS_KEY] == left
    assert draft.left[Left.OTHER_KIND] == 3


def test_a_source_that_was_not_picked_stays_as_it_is() -> None:
    wishes = source_of(ORG, 1, KeyKind.GENERATE)
    [job] = draft_of(ORG, wishes, Filters(expiring_within=timedelta(days=60))).jobs
    assert told(job) == ("1", ["2", "4"])
    assert not job.with_source


def test_nothing_picked_is_a_plan_without_jobs() -> None:
    assert draft_of(ORG, filters=Filters(label="no such app")).jobs == ()
    lone = inventory_of(app(1, 7))
    assert draft_of(lone, source_of(lone, 1, KeyKind.GENERATE)).jobs == ()


def test_a_source_is_named_by_its_id_or_its_whole_label() -> None:
    assert named(ORG, app_id(4)).holder.id == app_id(4)
    assert named(ORG, "App 4").holder.id == app_id(4)
    for text, words in (
        ("App", "did you mean 0oa00000000000000001"),
        ("nothing", "okta-keys inventory"),
        ("App 7", "it signs with no key"),
    ):
        with pytest.raises(UsageError) as caught:
            named(ORG, text)
        assert words in caught.value.diagnostics()
    twins = inventory_of(app(1, 7, label="Twin"), app(2, 8, label="Twin"))
    with pytest.raises(UsageError, match=f"{app_id(1)}, {app_id(2)}"):
        named(twins, "Twin")


def test_names_of_jobs_come_from_labels_and_are_unique() -> None:
    org = inventory_of(*(app(n, n // 2, label="Ünique: Näme!") for n in range(6)))
    names = [job.name for job in draft_of(org).jobs]
    assert names == ["unique-name-signing", "unique-name-signing-2", "unique-name-signing-3"]


@pytest.mark.parametrize("label", HOSTILE)
def test_a_slug_is_letters_digits_and_dashes(label: str) -> None:
    assert re.fullmatch("(?:[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)?", slug(label))
