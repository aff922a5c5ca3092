"""Whether a run may go on with a plan that has changed: decided purely, tried on any pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.resume import (
    BY_KID,
    KnownJob,
    PlanChanges,
    ResolvedJob,
    changes_between,
    digest_of,
    some,
)
from orchestrator.model import (
    NEW_KID,
    AppId,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Outcome,
    Reason,
    Resource,
    Status,
    Target,
)
from orchestrator.rollout import JobSettings, Rollout

SOURCE = AppId("0oaSource")
KEY = KeyRef(app=SOURCE, kid=Kid("k1"))
OTHER_KEY = KeyRef(app=SOURCE, kid=Kid("k2"))
NEW_KEY = KeyRef(app=SOURCE, kid=NEW_KID)
NEWEST = KeySpec(kind=KeyKind.NEWEST)
GENERATED = KeySpec(kind=KeyKind.GENERATE, validity_years=3)
Recorded = Sequence[tuple[Target, Outcome | None]]


@dataclass(frozen=True)
class Job:
    """A job of a plan, as a test wants it."""

    apps: Sequence[str] = ("a", "b")
    name: str = "job"
    key: KeyRef = KEY
    tags: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    asks: tuple[str, ...] = ()
    wanted: KeySpec = BY_KID
    settings: JobSettings = field(default=JobSettings())

    @property
    def size(self) -> int:
        return len(self.apps)

    def stream(self) -> Iterator[Target]:
        return (Target(job=self.name, app=AppId(app), tags=self.tags) for app in self.apps)


def recorded(jobs: Sequence[ResolvedJob], status_of: Callable[[str], Status | None]) -> Recorded:
    """Return the targets of a run that began with these jobs, and what became of them."""
    return [
        (target, outcome_of(target, job.key, status_of(target.app)))
        for job in jobs
        for target in job.stream()
    ]


def outcome_of(target: Target, key: KeyRef, status: Status | None) -> Outcome | None:
    if status is None:
        return None
    reason = None if status.is_staged else Reason.REJECTED
    return Outcome(target=target, key=key, status=status, detail="", reason=reason)


def known(jobs: Sequence[Job], targets: Recorded) -> dict[str, KnownJob]:
    undone = [target.job for target, out in targets if out is None or not out.status.is_staged]
    return {
        job.name: KnownJob(
            name=job.name, key=job.key, wanted=job.wanted, unfinished=undone.count(job.name)
        )
        for job in jobs
    }


def changes(
    before: Sequence[Job],
    after: Sequence[Job],
    status_of: Callable[[str], Status | None] = lambda _: None,
) -> PlanChanges:
    targets = recorded(before, status_of)
    return changes_between(known(before, targets), targets, after)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [Job(["a"])],
        [Job(["b", "a"])],
        [Job(["a", "b", "c"])],
        [Job(name="another")],
        [Job(key=OTHER_KEY)],
        [Job(key=replace(KEY, app=AppId("0oaOther")))],
        [Job(tags={"owner": "Zoë"})],
        [Job(["a"]), Job(["b"], name="second")],
        [Job(), Job([], name="second")],
        [Job(key=replace(KEY, resource=Resource.IDP))],
        [Job(wanted=NEWEST)],
        [Job(key=NEW_KEY, wanted=NEWEST)],
        [Job(key=NEW_KEY, wanted=GENERATED)],
        [Job(asks=("target label: c",))],
        [Job(asks=("exclude label: c",))],
    ],
    ids=lambda jobs: repr([(job.name, job.apps) for job in jobs]),
)
def test_another_rotation_has_another_digest(other: Sequence[Job]) -> None:
    assert digest_of(other) != digest_of([Job()])


def test_the_same_rotation_has_the_same_digest() -> None:
    assert digest_of([Job()]) == digest_of([Job(["a", "b"], dropped={"duplicates": 3})])
    assert digest_of([Job()]) == digest_of([Job(settings=JobSettings(rollout=Rollout()))])


def test_no_two_ways_to_name_a_key_have_one_digest() -> None:
    ways = [NEWEST, GENERATED, replace(GENERATED, validity_years=4), KeySpec(kind=KeyKind.ACTIVE)]
    assert len({digest_of([Job(key=NEW_KEY, wanted=wanted)]) for wanted in ways}) == len(ways)


def test_no_two_lists_of_selectors_have_one_digest() -> None:
    asks = [
        ("target label: c",),
        ("target label: c", "target label: d"),
        ("target label: c\nask d",),
    ]
    assert len({digest_of([Job(asks=each)]) for each in asks}) == len(asks)


TAGS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2)


@given(TAGS, TAGS)
def test_no_two_sets_of_tags_are_taken_for_one(
    one: Mapping[str, str], other: Mapping[str, str]
) -> None:
    same = list(one.items()) == list(other.items())
    assert (digest_of([Job(["a"], tags=one)]) == digest_of([Job(["a"], tags=other)])) == same


def test_an_unchanged_plan_has_no_changes() -> None:
    found = changes([Job()], [Job()])
    assert found == PlanChanges(added=[], removed=[], new_jobs=[], rekeyed=[])
    assert found.lines() == []


def test_targets_come_and_go() -> None:
    found = changes([Job(["a", "b", "c"])], [Job(["c", "d", "a"])])
    assert [target.app for target in found.added] == ["d"]
    assert found.removed == [("job", "b")]
    assert found.lines() == ["1 targets added: d", "1 targets removed: b"]
    assert not found.is_another_rotation


@pytest.mark.parametrize("status", [None, *Status], ids=str)
def test_a_target_that_holds_the_key_is_kept_and_others_go(status: Status | None) -> None:
    found = changes([Job(["a", "b"])], [Job(["a"])], lambda _: status)
    holds = status in (Status.CLONED, Status.GENERATED, Status.ALREADY_PRESENT)
    assert found.kept == (1 if holds else 0)
    assert found.removed == ([] if holds else [("job", "b")])
    assert ("keep it" in "".join(found.lines())) is holds


def test_a_new_job_brings_its_targets() -> None:
    found = changes([Job()], [Job(), Job(["a", "z"], name="second")])
    assert found.new_jobs == ["second"]
    assert [(target.job, target.app) for target in found.added] == [
        ("second", "a"),
        ("second", "z"),
    ]
    assert not found.is_another_rotation


def test_a_job_that_is_gone_takes_its_targets_along() -> None:
    found = changes([Job(), Job(["z"], name="second")], [Job()])
    assert found.removed == [("second", "z")]
    assert not found.is_another_rotation


@pytest.mark.parametrize("key", [OTHER_KEY, replace(KEY, app=AppId("0oaOther"))], ids=str)
@pytest.mark.parametrize(
    ("status", "unfinished"),
    [
        (None, 2),
        (Status.FAILED, 2),
        (Status.SKIPPED, 2),
        (Status.CLONED, 0),
        (Status.GENERATED, 0),
        (Status.ALREADY_PRESENT, 0),
    ],
    ids=str,
)
def test_another_key_is_another_rotation(
    key: KeyRef, status: Status | None, unfinished: int
) -> None:
    found = changes([Job()], [Job(key=key)], lambda _: status)
    assert found.is_another_rotation
    assert (found.rekeyed, found.unfinished) == (["job"], unfinished)
    assert found.lines()[0] == "1 jobs with another key: job"


@pytest.mark.parametrize("wanted", [NEWEST, GENERATED], ids=str)
def test_a_key_that_the_run_came_by_is_the_one_that_its_plan_asks_for(wanted: KeySpec) -> None:
    """The plan still says `newest`, the run knows which key that was when it began."""
    before, after = Job(wanted=wanted), Job(key=NEW_KEY, wanted=wanted)
    assert not changes([before], [after]).is_another_rotation
    assert changes([before], [replace(after, key=replace(NEW_KEY, app=AppId("0oaOther")))]).rekeyed
    assert changes([before], [replace(after, wanted=replace(wanted, validity_years=9))]).rekeyed
    assert changes([before], [Job()]).rekeyed


def test_only_jobs_with_another_key_are_held_against_the_plan() -> None:
    before = [Job(["a"]), Job(["b", "c"], name="second")]
    after = [Job(["a"], key=OTHER_KEY), Job(["b", "c"], name="second")]
    assert changes(before, after).unfinished == 1


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), ("abcde", "a, b, c and 2 more")],
)
def test_of_many_names_a_few_are_told(names: Sequence[str], text: str) -> None:
    assert some(names) == text


JOBS = st.lists(
    st.builds(
        Job,
        st.lists(st.sampled_from("abcdef"), unique=True),
        st.sampled_from(["one", "two", "three"]),
    ),
    unique_by=lambda job: job.name,
    max_size=3,
)
STATUSES = st.fixed_dictionaries({app: st.none() | st.sampled_from(Status) for app in "abcdef"})


@given(JOBS, JOBS, STATUSES)
def test_the_changes_lead_from_the_run_to_the_plan(
    before: list[Job], after: list[Job], statuses: Mapping[str, Status | None]
) -> None:
    """Applied, they give what the plan says and what cannot be undone; nothing staged is lost."""
    targets = recorded(before, statuses.__getitem__)
    found = changes_between(known(before, targets), targets, after)
    had = {(target.job, target.app) for target, _ in targets}
    holding = {(target.job, target.app) for target, out in targets if out and out.status.is_staged}
    planned = {(target.job, target.app) for job in after for target in job.stream()}
    added = {(target.job, target.app) for target in found.added}
    removed = set(found.removed)
    assert not added & had
    assert removed <= had - holding
    assert (had | added) - removed == planned | holding
    assert found.kept == len(holding - planned)
    assert len(added) == len(found.added)
    assert not found.is_another_rotation
