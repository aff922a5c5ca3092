"""What there is to think about, one case at a time, at the very edge of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.cautions import (
    CAUTIONED,
    LEAST_LEFT,
    MOST_NAMED,
    Caution,
    CautionKind,
    JobFacts,
    body_of,
    caution_from,
    cautions_of,
    cautions_told,
    is_news,
)
from orchestrator.model import AppId, AppSnapshot, Certificate, Kid
from orchestrator.store.base import EventRecord

NOON = datetime(2028, 2, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OLD = Kid("old")
GOOD = Certificate(
    thumbprint="t",
    not_before=NOON - DAY,
    not_after=NOON + 1000 * DAY,
    subject="CN=acme",
    signature_hash="sha256",
    key_bits=2048,
)


def app(number: int) -> AppId:
    return AppId(f"0oa{number:03d}")


def seen(number: int, *, kid: Kid | None = OLD, status: str | None = "ACTIVE") -> AppSnapshot:
    return AppSnapshot(
        app=app(number),
        kid=kid,
        sign_on_mode="SAML_2_0",
        status=status,
        last_updated=None,
        seen_at=NOON,
    )


def found(
    *snapshots: AppSnapshot | None,
    book: Mapping[Kid, Certificate] | None = None,
    managed: Sequence[AppId] = (),
    most_sharing: int = 50,
    **facts: Any,
) -> list[Caution]:
    """Return the cautions of a job with these targets; of a good key, if nothing is said."""
    job = JobFacts(
        name="job",
        size=len(snapshots),
        targets=[(app(number), each) for number, each in enumerate(snapshots)],
        **({"certificate": GOOD} | facts),
    )
    return list(
        cautions_of(
            [job],
            at=NOON,
            certificate_of=(book or {}).get,
            managed=frozenset(managed),
            most_sharing=most_sharing,
        )
    )


def kinds(cautions: Sequence[Caution]) -> list[str]:
    return [caution.kind.value for caution in cautions]


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (GOOD, []),
        (replace(GOOD, signature_hash="sha1"), ["sha1"]),
        (replace(GOOD, signature_hash="md5"), ["sha1"]),
        (replace(GOOD, signature_hash="sha512"), []),
        (replace(GOOD, key_bits=2047), ["short_key"]),
        (replace(GOOD, key_bits=1024), ["short_key"]),
        (replace(GOOD, key_bits=384), []),  # an elliptic curve
        (replace(GOOD, key_bits=0), []),  # of a kind that has no bits to count
        (replace(GOOD, not_after=NOON + LEAST_LEFT), []),
        (replace(GOOD, not_after=NOON + LEAST_LEFT - timedelta(seconds=1)), ["ends_soon"]),
        (replace(GOOD, not_after=NOON - DAY), ["ends_soon"]),
        (replace(GOOD, signature_hash="sha1", key_bits=1024), ["sha1", "short_key"]),
    ],
)
def test_a_certificate_is_cautioned_about(certificate: Certificate, expected: list[str]) -> None:
    cautions = found(seen(0), seen(1), certificate=certificate)
    assert kinds(cautions) == expected
    assert all((caution.count, caution.apps) == (2, ()) for caution in cautions)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=45, hours=3), "the certificate ends in 45 days, on 2028-04-14"),
        (timedelta(hours=30), "the certificate ends in a day or so, on 2028-03-01"),
        (timedelta(0), "the certificate has ended on 2028-02-29"),
        (-400 * DAY, "the certificate has ended on 2027-01-25"),
    ],
)
def test_the_end_is_told_as_a_person_would(left: timedelta, said: str) -> None:
    [caution] = found(seen(0), certificate=replace(GOOD, not_after=NOON + left))
    assert caution.detail == said


def test_a_certificate_that_ends_sooner_than_what_it_replaces_is_cautioned_about() -> None:
    later = replace(GOOD, not_after=GOOD.not_after + DAY)
    latest = replace(GOOD, not_after=GOOD.not_after + 100 * DAY)
    book = {OLD: later, Kid("same"): GOOD, Kid("last"): latest}
    targets = [
        seen(0, kid=Kid("same")),
        seen(1),
        seen(2, kid=Kid("never read")),
        seen(3, kid=None),
        None,
        seen(5, kid=Kid("last")),
    ]
    [caution] = found(*targets, book=book)
    assert caution.kind is CautionKind.ENDS_SOONER
    assert (caution.count, caution.apps) == (2, (app(1), app(5)))
    assert caution.detail == (
        "the certificate ends on 2030-11-25, sooner than those of 2 targets in use now, "
        "which last until 2031-03-05 at the longest"
    )
    [caution] = found(seen(0), book=book)
    assert caution.detail == (
        "the certificate ends on 2030-11-25, sooner than the one in use now, "
        "which lasts until 2030-11-26"
    )


@pytest.mark.parametrize(
    ("years", "expected"),
    [(2, ["ends_sooner"]), (3, []), (None, [])],
    ids=["ends before", "ends after", "nobody knows"],
)
def test_a_key_that_is_still_to_be_made_ends_so_many_years_from_now(
    years: int | None, expected: list[str]
) -> None:
    book = {OLD: GOOD}  # for 2.7 years
    cautions = found(seen(0), book=book, certificate=None, validity_years=years)
    assert kinds(cautions) == expected
    if cautions:  # from the 29th of February
        assert "ends on 2030-02-28" in cautions[0].detail


@pytest.mark.parametrize(("sharing", "expected"), [(50, []), (51, ["shared_widely"]), (0, [])])
def test_a_key_that_many_share_is_cautioned_about(sharing: int, expected: list[str]) -> None:
    assert kinds(found(seen(0), sharing=sharing)) == expected
    assert kinds(found(seen(0), sharing=sharing, most_sharing=100)) == []


def test_what_terraform_manages_is_told_with_what_to_do() -> None:
    [caution] = found(seen(0), None, seen(2), managed=[app(1), app(2), app(7)])
    assert (caution.kind, caution.count) == (CautionKind.TERRAFORM, 2)
    assert caution.apps == (app(1), app(2))
    assert "plan anew" in caution.detail


@pytest.mark.parametrize(
    ("status", "expected"),
    [("ACTIVE", []), (None, []), ("INACTIVE", ["inactive"]), ("DELETED", ["inactive"])],
)
def test_what_is_not_active_is_told(status: str | None, expected: list[str]) -> None:
    cautions = found(seen(0), seen(1, status=status))
    assert kinds(cautions) == expected
    assert all(caution.apps == (app(1),) for caution in cautions)


def test_only_the_first_targets_are_named() -> None:
    [caution] = found(*[seen(number, status="INACTIVE") for number in range(MOST_NAMED + 5)])
    assert caution.count == MOST_NAMED + 5
    assert caution.apps == tuple(app(number) for number in range(MOST_NAMED))


def test_cautions_stand_in_the_order_of_jobs_and_kinds() -> None:
    bad = replace(GOOD, signature_hash="sha1", key_bits=1024, not_after=NOON + DAY)
    every = JobFacts(
        name="first",
        size=1,
        certificate=bad,
        sharing=99,
        targets=[(app(0), seen(0, status="INACTIVE"))],
    )
    cautions = cautions_of(
        [every, replace(every, name="second")],
        at=NOON,
        certificate_of={OLD: GOOD}.get,
        managed=frozenset([app(0)]),
    )
    assert [(each.job, each.kind) for each in cautions] == [
        (job, kind) for job in ("first", "second") for kind in CautionKind
    ]


certificates = st.builds(
    Certificate,
    thumbprint=st.just("t"),
    not_before=st.just(NOON - DAY),
    not_after=st.integers(-10, 300).map(lambda days: NOON + days * DAY),
    subject=st.just("CN=acme"),
    signature_hash=st.sampled_from(["sha1", "sha256"]),
    key_bits=st.sampled_from([1024, 2048]),
)
snapshots = st.none() | st.builds(
    seen,
    st.just(0),
    kid=st.sampled_from([None, OLD, Kid("other")]),
    status=st.sampled_from(["ACTIVE", "INACTIVE"]),
)


@given(
    st.lists(snapshots, max_size=15),
    certificates,
    st.dictionaries(st.sampled_from([OLD, Kid("other")]), certificates),
    st.frozensets(st.integers(0, 14).map(app)),
)
def test_cautions_count_what_a_plain_reading_counts(
    targets: list[AppSnapshot | None],
    certificate: Certificate,
    book: dict[Kid, Certificate],
    managed: frozenset[AppId],
) -> None:
    cautions = found(*targets, certificate=certificate, book=book, managed=list(managed))
    pairs = [(app(number), each) for number, each in enumerate(targets)]
    sooner = [
        each
        for each, s in pairs
        if s and s.kid in book and book[s.kid].not_after > certificate.not_after
    ]
    idle = [each for each, s in pairs if s and s.status == "INACTIVE"]
    ours = [each for each, _ in pairs if each in managed]
    about = {
        CautionKind.ENDS_SOONER: sooner,
        CautionKind.INACTIVE: idle,
        CautionKind.TERRAFORM: ours,
    }
    for kind, expected in about.items():
        told = [caution for caution in cautions if caution.kind is kind]
        assert [(each.count, each.apps) for each in told] == (
            [(len(expected), tuple(expected[:MOST_NAMED]))] if expected else []
        )
    assert kinds(cautions) == [kind for kind in CautionKind if kind in kinds(cautions)]


CAUTION = Caution(
    kind=CautionKind.INACTIVE, job="job", detail="think", count=2, apps=(app(1), app(2))
)


def event(body: Mapping[str, object]) -> EventRecord:
    return EventRecord(seq=1, at=NOON, kind=CAUTIONED, body=body)


@pytest.mark.parametrize("kind", CautionKind)
def test_the_journal_gives_a_caution_back(kind: CautionKind) -> None:
    caution = replace(CAUTION, kind=kind)
    assert caution_from(body_of(caution)) == caution


@pytest.mark.parametrize(
    "wrong", [{"kind": "of tomorrow"}, {"kind": ["sha1"]}, {"apps": None}, {"count": "2"}], ids=str
)
def test_a_caution_that_nobody_understands_is_passed_over(wrong: dict[str, object]) -> None:
    assert caution_from(body_of(CAUTION) | wrong) is None


def test_of_cautions_alike_the_last_counts() -> None:
    more = replace(CAUTION, count=3)
    other = replace(CAUTION, job="other")
    events = [event(body_of(each)) for each in (CAUTION, other, more)]
    assert cautions_told([*events, event({})]) == (more, other)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([], True),
        ([CAUTION], False),
        ([replace(CAUTION, count=1)], True),
        ([replace(CAUTION, count=3)], False),
        ([replace(CAUTION, job="other"), replace(CAUTION, kind=CautionKind.SHA1)], True),
    ],
    ids=["nothing told", "told", "told of fewer", "told of more", "told of others"],
)
def test_a_caution_is_news_once(told: list[Caution], expected: bool) -> None:
    assert is_news(CAUTION, told) is expected
