"""How a drafted plan is written down: what a person reads in it, and what no label can do to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.inventory.draft import SourceWish, Wishes
from orchestrator.inventory.draft_text import plan_text
from orchestrator.inventory.filters import Filters
from orchestrator.model import KeyKind
from tests.inventory.drafts import (
    HOSTILE,
    app,
    app_id,
    certificate,
    draft_of,
    idp,
    inventory_of,
    kid,
    loaded,
    oidc,
    row_of,
)

WHOLE = """\
# yaml-language-server: $schema=./plan-v1.schema.json
#
# Written by `okta-keys plan new`, from https://acme.okta.com as it was on 2026-10-01 12:00 UTC.
# Chosen: the certificate ends within 60d.
# Left out: 1 without a key to sign with.
# Left out: 2 OpenID Connect, whose keys Okta rotates by itself (--allow-oidc takes them).
#
#   okta-keys validate 'my plan.yaml'         checks the plan, and calls nobody
#   okta-keys preview 'my plan.yaml'          says what a run would do to each target
#   okta-keys run 'my plan.yaml'              stages the keys; nothing signs with them yet
#   okta-keys schema > ./plan-v1.schema.json  lets an editor complete and check it
version: 1
name: rotation-2026-10-01
org: acme # https://acme.okta.com

jobs:
  # 2 apps sign with kid0000000000000000000000000000000000000007,
  # until 2026-10-21 (20 days left). They get a new key, and share it again.
  - name: finance-hq-signing
    source:
      app: 0oa00000000000000001 # Finance HQ
      key:
        generate: # made once; targets get clones of it
          validity_years: 3
    targets:
      - 0oa00000000000000003 # App 3: until 2026-10-21 (20 days left)
    # Until this is no comment any more, keys are staged, and nothing signs with them:
    # activate:
    #   source: true # the source too, as the last of all
    #   gate:
    #     acknowledged: true # say it with okta-keys ack, once a service provider trusts the new key
    #   waves: [1, 10%, 100%] # one to see that it works, then a tenth, then all others
    #   pause: 10m # between waves
    #   stop_after_failures: 1 # in a wave; no further wave begins after it

  # A new key for each of 1 identity provider: none is shared.
  - name: own-idp-keys
    resource: idp
    source:
      key:
        generate: # a key of its own for every target
          validity_years: 3
          each_target: true
    targets:
      - 0oa00000000000000004 # App 4: until 2026-09-30 (ended 1 day ago)
    # Until this is no comment any more, keys are staged, and nothing signs with them:
    # activate:
    #   gate:
    #     acknowledged: true # say it with okta-keys ack, once a service provider trusts the new key
    #   waves: [1, 10%, 100%] # one to see that it works, then a tenth, then all others
    #   pause: 10m # between waves
    #   stop_after_failures: 1 # in a wave; no further wave begins after it
"""


def test_a_whole_plan_as_a_person_reads_it() -> None:
    org = inventory_of(
        app(1, 7, label="Finance HQ"), app(2, 8), app(3, 7), idp(4, 9), oidc(5, 10), oidc(6, 10),
        idp(7, 11, sign_on_mode="OIDC"), days={7: 20.25, 9: -1, 10: 5, 11: 5},
        profile="acme",
    )  # fmt: skip
    draft = draft_of(org, filters=Filters(expiring_within=timedelta(days=60)))
    assert plan_text(draft, file="my plan.yaml") == WHOLE


def test_activation_is_part_of_the_plan_when_it_is_wished() -> None:
    draft = draft_of(inventory_of(app(1, 7), app(2, 7)), Wishes(activates=True))
    [job] = loaded(plan_text(draft)).jobs
    assert job.activate is not None
    assert job.activate.source
    assert job.activate.waves == (1, 0.1, 1.0)
    assert job.activate.gate.acknowledged
    assert job.activate.pause == 600


def test_what_is_special_about_a_target_stands_beside_it() -> None:
    org = inventory_of(
        app(1, 7),
        app(2, 8, status="INACTIVE"),
        oidc(3, 7, status="INACTIVE"),
        app(4, 9, status="INACTIVE"),
    )
    org = replace(org, certificates={kid(8): certificate(1, "sha1")})
    wishes = Wishes(each=True, allow_oidc=True, managed=frozenset({app_id(2)}))
    text = plan_text(draft_of(org, wishes, Filters(status="INACTIVE")))
    assert "02 # App 2: until 2026-10-02 (1 day left, SHA-1), deactivated, managed by Ter" in text
    assert "03 # App 3: the end of its certificate is not known, shares its key with 1 more" in text
    assert "    allow_oidc: true" in text
    assert "    #   inactive: activate" in text


def test_apps_with_the_key_that_are_not_in_the_job_are_told_of() -> None:
    org = inventory_of(app(1, 7, label="Fin 1"), app(2, 7, label="Fin 2"), app(3, 7))
    text = plan_text(draft_of(org, filters=Filters(label="fin")))
    assert "# 1 more of the org's apps sign with it too, and are not in this job." in text


@pytest.mark.parametrize(
    ("kind", "key", "written"),
    [
        (KeyKind.ACTIVE, None, "key: active #"),
        (KeyKind.NEWEST, None, "key: newest #"),
        (KeyKind.KID, kid(99), f"key: {kid(99)}\n"),
        (KeyKind.GENERATE, None, "generate: # made once"),
    ],
)
def test_the_key_of_a_source(kind: KeyKind, key: str | None, written: str) -> None:
    org = inventory_of(app(1, 7), app(2, 8))
    source = SourceWish(row=row_of(org, app_id(1)), kind=kind, kid=kid(99) if key else None)
    text = plan_text(draft_of(org, Wishes(source=source)))
    assert written in text
    [job] = loaded(text).jobs
    assert job.source.wanted.kind is kind


SELECTED = inventory_of(
    app(1, 7, label="Fin [1]"), app(2, 7, label="Fin [2]"), app(3, 8, label="Fin 3"),
    app(4, 9, label="x fin [4]"), oidc(5, 7), app(6, 10, label="Fin off", status="INACTIVE"),
    days={8: 20, 9: 30, 10: 10},
)  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "each", "selectors"),
    [
        (Filters(), False, ["signing_with: " + kid(7), None]),
        (Filters(), True, [None]),
        (Filters(signing_with=kid(7)), True, ["signing_with: " + kid(7)]),
        (Filters(label="fin ["), True, [r"label_regex: (?i)fin\ \["]),
        (Filters(label="fin"), True, [None]),  # it would pick one that is deactivated
        (Filters(status="INACTIVE", label="off"), True, ["label_regex: (?i)off"]),
        (Filters(expiring_within=timedelta(days=25)), True, [None]),
        (
            Filters(expiring_within=timedelta(days=25), status="INACTIVE", label="n"),
            True,
            [None],
        ),
    ],
)
def test_a_selector_is_written_where_it_picks_just_the_same(
    filters: Filters, each: bool, selectors: list[str | None]
) -> None:
    draft = draft_of(SELECTED, Wishes(by_selectors=True, each=each), filters)
    assert [job.selector and str(job.selector) for job in draft.jobs] == selectors
    loaded(plan_text(draft))


def test_a_window_of_expiry_as_a_selector() -> None:
    org = inventory_of(app(1, 7), app(2, 8), app(3, 9), days={7: 20, 8: 5})
    wishes = Wishes(by_selectors=True, each=True)
    text = plan_text(draft_of(org, wishes, Filters(expiring_within=timedelta(days=25))))
    assert "      - expiring_within: 25d\n" in text
    assert text.endswith(
        "limits:\n  max_changes: 2 # as it is today; a run that would change more does not begin\n"
    )
    loaded(text)


@pytest.mark.parametrize("label", HOSTILE)
@pytest.mark.parametrize("profile", [None, "on"])
def test_a_label_stays_in_its_comment(label: str, profile: str | None) -> None:
    org = inventory_of(
        app(1, 7, label=label), app(2, 7, label=label), app(3, 8, label=label), profile=profile
    )
    text = plan_text(draft_of(org, filters=Filters(label=label)), file=label)
    plan = loaded(text)
    assert [item for job in plan.jobs for item in job.targets] == [app_id(2), app_id(3)]
    assert all(line.isprintable() and len(line) < 4000 for line in text.split("\n"))
    assert "\x1b" not in text


def test_a_hostile_text_as_a_pattern_is_quoted_on_one_line() -> None:
    for label in HOSTILE:
        org = inventory_of(app(1, 7, label=f"a{label}"), app(2, 8, label="other"))
        wishes = Wishes(by_selectors=True)
        text = plan_text(draft_of(org, wishes, Filters(label=label or "a")))
        [job] = loaded(text).jobs
        assert len(job.targets) == 1


def test_names_that_look_like_other_things_are_quoted() -> None:
    org = inventory_of(app(1, 7))
    for name in ("yes", "2026-10-01", "1e5", "null"):
        assert loaded(plan_text(draft_of(org, Wishes(name=name)))).name == name
