"""The checksum of a change set: the same for the same, another for whatever else would be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.checksum import checksum_of, matches_checksum
from orchestrator.model import (
    NEW_KID,
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
    Target,
    Verify,
)
from orchestrator.rollout import (
    Blackout,
    Gate,
    HookCommand,
    HookMoment,
    Inactive,
    JobSettings,
    Rollout,
    Window,
)

NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
SAMPLES: Mapping[str, object] = {  # of what may be absent, by the name of its field
    "after_seconds": 60.0,
    "not_before": NOON,
    "acknowledge_by": HookCommand(argv=("ask",)),
    "rollout": Rollout(),
    "validity_years": 3,
    "csr": CsrRequest(common_name="sso"),
}

few = settings(max_examples=30, deadline=None)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the checksum wants it."""

    name: str
    key: KeyRef
    wanted: KeySpec
    settings: JobSettings
    targets: tuple[Target, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    asks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.targets)

    def stream(self) -> Iterator[Target]:
        return iter(self.targets)


@dataclass(frozen=True, kw_only=True)
class ChangeSet:
    """All that a checksum is of."""

    plan: str
    org: str
    jobs: tuple[Job, ...]
    hooks: Mapping[HookMoment, tuple[HookCommand, ...]]

    @property
    def checksum(self) -> str:
        return checksum_of(self.plan, self.org, self.jobs, self.hooks)


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
apps = st.integers(0, 10**6).map(lambda number: AppId(f"0oa{number:017d}"))
seconds = st.floats(0, 10**7)
sizes = st.integers(1, 50) | st.floats(0.01, 1.0)
zones = st.sampled_from(["UTC", "Europe/London"])
days = st.dates(date(2026, 1, 1), date(2030, 1, 1))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
commands = st.builds(
    HookCommand,
    argv=st.lists(words, min_size=1, max_size=3).map(tuple),
    timeout=seconds,
    env=st.lists(words, max_size=2).map(tuple),
)
windows = st.builds(
    Window,
    days=st.frozensets(st.integers(0, 5)),
    start=st.times(),
    end=st.times(),
    zone=zones,
)
gates = st.builds(
    Gate,
    after_seconds=st.none() | seconds,
    not_before=st.none() | moments,
    windows=st.lists(windows, max_size=2).map(tuple),
    blackout=st.lists(st.builds(Blackout, first=days, last=days, zone=zones), max_size=2).map(
        tuple
    ),
    acknowledged=st.booleans(),
    acknowledge_by=st.none() | commands,
    approval=st.booleans(),
)
rollouts = st.builds(
    Rollout,
    gate=gates,
    waves=st.lists(sizes, min_size=1, max_size=3).map(tuple),
    pause_seconds=seconds,
    stop_after_failures=sizes,
    inactive=st.sampled_from(Inactive),
)
requests = st.builds(
    CsrRequest,
    country=st.none() | words,
    organization=st.none() | words,
    common_name=words,
    dns_names=st.lists(words, max_size=2).map(tuple),
)
jobs = st.builds(
    Job,
    name=words,
    key=st.builds(
        KeyRef,
        app=apps,
        kid=st.just(NEW_KID) | st.just(Kid("w__Yr9AElCftDtLP5CmjzZ")),
        resource=st.sampled_from(Resource),
    ),
    wanted=st.builds(
        KeySpec,
        kind=st.sampled_from(KeyKind),
        validity_years=st.none() | st.integers(2, 10),
        csr=st.none() | requests,
    ),
    settings=st.builds(
        JobSettings,
        rollout=st.none() | rollouts,
        verify=st.sampled_from(Verify),
        allow_oidc=st.booleans(),
        cross_check=st.booleans(),
    ),
    targets=st.lists(st.builds(Target, job=st.just("job"), app=apps), max_size=3).map(tuple),
)
hooks = st.dictionaries(
    st.sampled_from(HookMoment), st.lists(commands, min_size=1, max_size=2).map(tuple), max_size=3
)
change_sets = st.builds(
    ChangeSet,
    plan=words,
    org=words,
    jobs=st.lists(jobs, min_size=1, max_size=2).map(tuple),
    hooks=hooks,
)


def others(value: Any, name: str) -> Iterator[Any]:
    """Yield values that differ from one in a single ingredient; `name` is that of its field."""
    match value:
        case None:
            yield SAMPLES.get(name, "x")
        case Enum():
            yield next(each for each in type(value) if each is not value)
        case bool():
            yield not value
        case int() | float():
            yield value + 1
        case str():
            yield f"{value}x"
        case datetime() | date():
            yield value + timedelta(days=1)
        case time():
            yield value.replace(microsecond=(value.microsecond + 1) % 1_000_000)
        case frozenset():
            yield value | {6}
        case dict():
            yield from others_of_hooks(value)
        case tuple():
            yield from others_of_tuple(value, name)
        case _:
            assert is_dataclass(value)
            yield from others_of_record(value)


def others_of_tuple(value: tuple[Any, ...], name: str) -> Iterator[tuple[Any, ...]]:
    """Yield tuples that lack an item, have one twice, have two exchanged, or one changed."""
    for index, item in enumerate(value):
        yield (*value[:index], *value[index + 1 :])
        yield (*value, item)
        for other in others(item, name):
            yield (*value[:index], other, *value[index + 1 :])
    if value[::-1] != value:
        yield value[::-1]


def others_of_hooks(value: Mapping[HookMoment, tuple[HookCommand, ...]]) -> Iterator[Any]:
    """Yield hooks of which one runs at no moment, or at another, or is changed."""
    for moment in HookMoment:
        rest = {each: commands for each, commands in value.items() if each is not moment}
        if moment not in value:
            yield rest | {moment: (HookCommand(argv=("x",)),)}
            continue
        yield rest
        for elsewhere in set(HookMoment) - value.keys():
            yield rest | {elsewhere: value[moment]}
        for other in others(value[moment], ""):
            yield rest | ({moment: other} if other else {})


def others_of_record(value: Any) -> Iterator[Any]:
    """Yield records with another value in one field, but for what is not a change."""
    for each in fields(value):
        inert = {"dropped", "asks", "tags"} | ({"job"} if isinstance(value, Target) else set())
        if isinstance(value, Job) and value.key.is_known:
            inert.add("wanted")  # there is nothing to be made or found
        if each.name in inert:
            continue
        for other in others(getattr(value, each.name), each.name):
            yield replace(value, **{each.name: other})


@settings(max_examples=15, deadline=None)
@given(change_sets)
def test_whatever_else_would_be_done_has_another_checksum(changes: ChangeSet) -> None:
    mine = changes.checksum
    for other in others(changes, ""):
        assert other.checksum != mine, other


@few
@given(change_sets, change_sets)
def test_two_change_sets_have_two_checksums(one: ChangeSet, two: ChangeSet) -> None:
    def told(changes: ChangeSet) -> object:
        bare = [
            (
                job.name,
                job.key,
                None if job.key.is_known else job.wanted,
                job.settings,
                [target.app for target in job.targets],
            )
            for job in changes.jobs
        ]
        return changes.plan, changes.org, bare, changes.hooks

    assert (one.checksum == two.checksum) is (told(one) == told(two))


@few
@given(change_sets, words)
def test_what_changes_nothing_is_not_in_it(changes: ChangeSet, text: str) -> None:
    there = timezone(timedelta(hours=5, minutes=30))

    def elsewhere(settings: JobSettings) -> JobSettings:
        """Write the same moment in another time zone."""
        rollout = settings.rollout
        if rollout is None or rollout.gate.not_before is None:
            return settings
        gate = replace(rollout.gate, not_before=rollout.gate.not_before.astimezone(there))
        return replace(settings, rollout=replace(rollout, gate=gate))

    same = replace(
        changes,
        hooks=dict(reversed(changes.hooks.items())),  # type: ignore[call-overload]  # a dict it is
        jobs=tuple(
            replace(
                job,
                dropped={"duplicates": len(text)},
                targets=tuple(replace(each, tags={text: text}) for each in job.targets),
                settings=elsewhere(job.settings),
            )
            for job in changes.jobs
        ),
    )
    assert same.checksum == changes.checksum


@few
@given(change_sets, apps)
def test_a_key_that_was_looked_up_counts_by_its_kid(changes: ChangeSet, app: AppId) -> None:
    found = KeyRef(app=app, kid=Kid("3QPkg8jrI"))
    first, *rest = changes.jobs
    named = replace(changes, jobs=(replace(first, key=found), *rest))
    unique = [replace(job, name=f"{number}") for number, job in enumerate(named.jobs)]
    asked = [replace(job, name=f"{number}") for number, job in enumerate(changes.jobs)]
    looked_up = checksum_of(changes.plan, changes.org, asked, changes.hooks, keys={"0": found})
    assert looked_up == checksum_of(changes.plan, changes.org, unique, changes.hooks)


@few
@given(change_sets, st.integers(0, 70), st.sampled_from(["", "sha256:", "SHA256:"]), st.booleans())
def test_a_checksum_is_known_by_twelve_digits_or_more(
    changes: ChangeSet, digits: int, prefix: str, shout: bool
) -> None:
    whole = changes.checksum
    text = whole[:digits]
    text = f" {prefix}{text.upper() if shout else text}\n"
    assert matches_checksum(text, whole) is (digits >= 12)


@few
@given(change_sets, st.integers(0, 63))
def test_a_digit_that_is_wrong_is_seen(changes: ChangeSet, place: int) -> None:
    whole = changes.checksum
    other = "0" if whole[place] != "0" else "f"
    assert not matches_checksum(whole[:place] + other + whole[place + 1 :], whole)
    assert not matches_checksum(whole + "0", whole)


@few
@given(change_sets)
def test_a_wave_of_one_is_not_a_wave_of_all(changes: ChangeSet) -> None:
    def with_waves(size: float) -> str:
        rollout = JobSettings(rollout=Rollout(waves=(size,)))
        jobs_ = tuple(replace(job, settings=rollout) for job in changes.jobs)
        return replace(changes, jobs=jobs_).checksum

    assert with_waves(1) != with_waves(1.0)


def test_the_checksum_of_a_plan_stays_what_it_is() -> None:
    """People keep checksums: whoever changes this one changes `VERSION`, and says so."""
    settings_ = JobSettings(
        rollout=Rollout(
            gate=Gate(
                after_seconds=14 * 86400,
                not_before=NOON,
                windows=(
                    Window(
                        days=frozenset({5, 2}), start=time(2), end=time(6), zone="Europe/London"
                    ),
                ),
                blackout=(Blackout(first=date(2026, 12, 20), last=date(2027, 1, 3)),),
                acknowledged=True,
                acknowledge_by=HookCommand(argv=("./ask.sh", "Zoë")),
            ),
            waves=(1, 0.1, 1.0),
            pause_seconds=600,
        ),
    )
    job = Job(
        name="finance-signing",
        key=KeyRef(app=AppId("0oa8ae1t5yev2ajDs0h7"), kid=NEW_KID),
        wanted=KeySpec(kind=KeyKind.GENERATE, validity_years=3),
        settings=settings_,
        targets=(Target(job="finance-signing", app=AppId("0oa8ae0dv4RGQvjyZ0h7")),),
    )
    changes = ChangeSet(
        plan="finance",
        org="https://acme.okta.com",
        jobs=(job,),
        hooks={HookMoment.TARGET_STAGED: (HookCommand(argv=("./upload.sh",), timeout=5),)},
    )
    assert changes.checksum == "60c8f0087293e567505f61e564f6af72acbc8da8fd74fa255ab407b9012996aa"
