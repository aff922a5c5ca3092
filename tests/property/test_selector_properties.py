"""What selectors pick equals a plain reading of the org, whatever the org and the plan."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import PlanError
from orchestrator.holders import Holder, Picture, Questions
from orchestrator.model import AppId, Kid, Resource
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.resolved import ResolvedJob
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import questions_of_plan, resolve

NOW = datetime(2026, 7, 1, tzinfo=UTC)
KIDS = [letter * 43 for letter in "abc"]
IDS = [f"0oa{number:017d}" for number in range(9)]
LABELS = ["Finance EU", "Finance US", "Fin", "finance eu", "HR (EU)", "é|HR"]
NAMES = ["amazon_aws", "salesforce"]
MODES = {
    "app": ["SAML_2_0", "SAML_1_1", "OPENID_CONNECT", "BOOKMARK"],
    "idp": ["SAML2", "OIDC", "GOOGLE"],
}
BY_OKTA = 'user.id eq "00u1"'  # which only Okta can answer

Thing = Mapping[str, Any]  # an app or identity provider, in the words of a list
Job = dict[str, Any]  # as a plan writes it
FILTERS: dict[str, Callable[[Thing], bool]] = {
    'name eq "amazon_aws"': lambda thing: thing["name"] == "amazon_aws",
    'status eq "INACTIVE"': lambda thing: thing["status"] == "INACTIVE",
    f'id eq "{IDS[0]}"': lambda thing: thing["id"] == IDS[0],
    BY_OKTA: lambda thing: bool(thing["of_user"]),
}


def has_kid(kid: str) -> Callable[[Thing], bool]:
    return lambda thing: bool(thing["kid"] == kid)


FILTERS |= {f'credentials.signing.kid eq "{kid}"': has_kid(kid) for kid in KIDS}
TEXTS: dict[str, Sequence[str]] = {
    "label": LABELS,
    "label_prefix": ["Fin", "Finance ", "HR (", "é", "f"],
    "label_regex": ["^Fin", "EU", r"\(EU\)$", "HR", "(?i)^finance eu$"],
    "signing_with": KIDS,
    "expiring_within": ["1s", "5d", "720h"],
    "filter": [*FILTERS],
}


@dataclass(frozen=True)
class Org:
    """An org as plain data, in the order of its lists."""

    things: Mapping[str, Sequence[Thing]]
    ends: Mapping[str, int]  # days from now


@dataclass
class Reading:
    """What a plan comes to: the targets of its jobs, or where it is wrong."""

    targets: list[list[str]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)  # selectors
    contested: set[str] = field(default_factory=set)


@st.composite
def things(draw: st.DrawFn, resource: str) -> list[Thing]:
    ids = draw(st.permutations(IDS))[: draw(st.integers(3, 8))]
    return [
        {
            "id": one,
            "label": draw(st.sampled_from(LABELS)),
            "name": draw(st.sampled_from(NAMES)),
            "mode": draw(st.sampled_from(MODES[resource])),
            "status": draw(st.sampled_from(["ACTIVE", "INACTIVE"])),
            "kid": draw(st.sampled_from([*KIDS, None])),
            "of_user": draw(st.booleans()),
        }
        for one in ids
    ]


orgs = st.builds(
    lambda apps, idps, ends: Org(things={"app": apps, "idp": idps}, ends=ends),
    things("app"),
    things("idp"),
    st.dictionaries(st.sampled_from(KIDS), st.integers(-5, 40), max_size=3),
)


def selectors(job: Job, org: Org) -> st.SearchStrategy[Any]:
    """Draw mostly what picks something, lest nearly all plans are wrong."""
    every = [
        {kind: text}
        for kind, texts in TEXTS.items()
        for text in texts
        if kind != "filter" or job["resource"] == "app"
    ]
    fitting = [one for one in every if named_by(one, job, org) and not is_twin(one, job, org)]
    return st.sampled_from(fitting * 8 + every)


@st.composite
def jobs(draw: st.DrawFn, name: str, org: Org) -> Job:
    resource = draw(st.sampled_from(["app", "app", "idp"]))
    job: Job = {"name": name, "resource": resource, "allow_oidc": draw(st.booleans())}
    listed = st.sampled_from(IDS) | selectors(job, org)
    sources = [{"label": text} for text in LABELS if len(picked({"label": text}, job, org)) == 1]
    holder = draw(st.sampled_from([*IDS, *sources, *sources, {"label": LABELS[0]}]))
    job["source"] = {resource: holder, "key": draw(st.sampled_from(["n" * 43, "m" * 43]))}
    job["targets"] = draw(st.lists(listed, min_size=1, max_size=4))
    job["exclude"] = draw(st.lists(listed, max_size=2))
    activate = draw(st.sampled_from([None, None, {}, {"source": True}]))
    return job if activate is None else {**job, "activate": activate}


worlds = st.tuples(orgs, st.integers(1, 3)).flatmap(
    lambda drawn: st.tuples(
        st.just(drawn[0]), st.tuples(*(jobs(f"job{i}", drawn[0]) for i in range(drawn[1])))
    )
)


def load(listed: Iterable[Job]) -> Plan:
    text = yaml.safe_dump({"version": 1, "name": "p", "jobs": list(listed)}, allow_unicode=True)
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


def picture_of(org: Org, questions: Questions | None = None) -> Picture:
    """Return all that is known of an org, or no more than what is asked."""
    holders = {
        resource: [holder_of(one, resource) for one in org.things[resource]]
        for resource in Resource
    }
    ends = {Kid(kid): NOW + timedelta(days=days) for kid, days in org.ends.items()}
    passing = {
        text: frozenset(AppId(one["id"]) for one in org.things["app"] if lets_through(one))
        for text, lets_through in FILTERS.items()
    }
    if questions is None:
        return Picture(at=NOW, holders=holders, ends=ends, filtered=passing)
    narrow = questions.narrow
    if narrow:
        holders[Resource.APP] = [one for one in holders[Resource.APP] if one.id in passing[narrow]]
    read = {
        holder.kid
        for listed in holders.values()
        for holder in listed
        if holder.signs and (questions.asks_oidc or not holder.is_oidc)
    }
    return Picture(
        at=NOW,
        holders={resource: holders[resource] for resource in questions.resources},
        ends={kid: end for kid, end in ends.items() if questions.asks_ends and kid in read},
        filtered={
            text: passing[text] for text in (*questions.filters, *([narrow] if narrow else []))
        },
        is_whole=narrow is None,
    )


def holder_of(one: Thing, resource: Resource) -> Holder:
    return Holder(
        id=AppId(one["id"]),
        resource=resource,
        label=one["label"],
        name=one["name"],
        sign_on_mode=one["mode"],
        status=one["status"],
        kid=one["kid"],
    )


def is_picked(one: Thing, kind: str, text: str, org: Org) -> bool:
    kid = one["kid"]
    match kind:
        case "label":
            return bool(one["label"] == text)
        case "label_prefix":
            return bool(one["label"][: len(text)] == text)
        case "label_regex":
            return bool(re.findall(text, one["label"]))
        case "signing_with":
            return bool(kid == text)
        case "filter":
            return FILTERS[text](one)
    days = {"1s": 0, "5d": 5, "720h": 30}[text]  # ends are whole days from now
    return kid in org.ends and org.ends[kid] <= days


def can_be_target(one: Thing, job: Job) -> bool:
    if one["kid"] is None or (job["resource"] == "idp" and one["mode"] != "SAML2"):
        return False
    return bool(job["allow_oidc"] or one["mode"] != "OPENID_CONNECT")


def picked(item: Any, job: Job, org: Org) -> list[Thing]:
    [(kind, text)] = item.items()
    return [one for one in org.things[job["resource"]] if is_picked(one, kind, text, org)]


def source_of(job: Job, where: str, org: Org, reading: Reading) -> str:
    named = job["source"][job["resource"]]
    if isinstance(named, str):
        return named
    found = [one["id"] for one in picked(named, job, org)]
    if len(found) != 1:
        reading.wrong.add(f"{where}.source.{job['resource']}.label")
        return ""
    return str(found[0])


def is_twin(item: Any, job: Job, org: Org) -> bool:
    """Say whether it is a label that does not name one thing."""
    return not isinstance(item, str) and "label" in item and len(picked(item, job, org)) > 1


def named_by(item: Any, job: Job, org: Org) -> list[str]:
    if isinstance(item, str):
        return [item]
    return [one["id"] for one in picked(item, job, org) if can_be_target(one, job)]


def read(listed: Sequence[Job], org: Org) -> Reading:
    """Read a plan by the letter of its documentation, one job after the other."""
    reading, activated = Reading(), dict[tuple[str, str], int]()
    claimed: dict[str, set[str]] = {}
    for number, job in enumerate(listed):
        where = f"jobs[{number}]"
        source = source_of(job, where, org, reading)
        union: list[str] = []
        for place, item in enumerate(job["targets"]):
            named = named_by(item, job, org)
            if not named or is_twin(item, job, org):
                [kind] = item
                reading.wrong.add(f"{where}.targets[{place}].{kind}")
            union += named
        if job.get("activate", {}).get("source"):
            union = [app for app in union if app != source] + [source]
        elif source in union:
            union = [app for app in union if app != source]
        excluded = {
            app
            for item in job["exclude"]
            for app in (
                [item] if isinstance(item, str) else [t["id"] for t in picked(item, job, org)]
            )
        }
        same = json.dumps([job["resource"], source, job["source"]["key"], "activate" in job])
        mine: list[str] = []
        for app in union:
            if app and app not in excluded and app not in mine and app not in claimed.get(same, ()):
                mine.append(app)
        claimed[same] = claimed.get(same, set()) | set(mine)
        reading.targets.append(mine)
        for app in mine if "activate" in job else ():
            if activated.setdefault((job["resource"], app), number) != number:
                reading.contested.add(place_of(app, where, job, org))
    return reading


def place_of(app: str, where: str, job: Job, org: Org) -> str:
    for place, item in enumerate(job["targets"]):
        if app in named_by(item, job, org):
            return f"{where}.targets[{place}]"
    return f"{where}.activate.source"


def outcome(plan: Plan, picture: Picture) -> Reading:
    try:
        resolved = resolve(plan, picture)
    except PlanError as error:
        paths = {problem.path for problem in error.problems}
        contested = {path for path in paths if path.endswith(("]", ".activate.source"))}
        return Reading(wrong=paths - contested, contested=contested)
    return Reading(targets=[ids_of(job) for job in resolved])


def ids_of(job: ResolvedJob) -> list[str]:
    return [str(target.app) for target in job.stream()]


@given(world=worlds)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_targets_are_those_of_a_plain_reading(world: tuple[Org, Sequence[Job]]) -> None:
    org, listed = world
    expected, found = read(listed, org), outcome(load(listed), picture_of(org))
    assert found.wrong == expected.wrong
    if not expected.wrong:
        assert found.contested == expected.contested
    if not (expected.wrong or expected.contested):
        assert found.targets == expected.targets


@given(world=worlds)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_asked_of_an_org_is_enough(world: tuple[Org, Sequence[Job]]) -> None:
    org, listed = world
    plan = load(listed)
    enough = picture_of(org, questions_of_plan(plan))
    assert outcome(plan, enough) == outcome(plan, picture_of(org))


@given(org=orgs, data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_narrowed_list_loses_no_match(org: Org, data: st.DataObject) -> None:
    """Only a plan with one selector has its list narrowed; it may stand in it more than once."""
    narrowing = [{"filter": text} for text in FILTERS] + [{"signing_with": kid} for kid in KIDS]
    selector = data.draw(st.sampled_from(narrowing))
    job = data.draw(jobs("one", org)) | {
        "resource": "app",
        "source": {"app": IDS[0], "key": "n" * 43},
    }
    job["targets"] = [*data.draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3))]
    job["exclude"] = [*data.draw(st.lists(st.sampled_from(IDS), max_size=2))]
    job[data.draw(st.sampled_from(["targets", "exclude"]))].append(selector)
    plan = load([job])
    questions = questions_of_plan(plan)
    assert questions.narrow is not None
    assert outcome(plan, picture_of(org, questions)) == outcome(plan, picture_of(org))


@given(world=worlds)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_entry_has_one_fate_and_streams_repeat(world: tuple[Org, Sequence[Job]]) -> None:
    org, listed = world
    try:
        resolved = resolve(load(listed), picture_of(org))
    except PlanError:
        return
    for job, spec in zip(resolved, listed, strict=True):
        first, again = list(job.stream()), list(job.stream())
        ids = [target.app for target in first]
        assert first == again
        assert len(set(ids)) == len(ids) == job.size == job.counts.targets
        assert not job.is_open
        assert not set(ids) & job.excluded
        entries = sum(
            1 if isinstance(item, str) else len(picked(item, spec, org)) for item in spec["targets"]
        )
        is_extra = job.activates_source and job.key.app not in (
            job.excluded | {app for item in spec["targets"] for app in all_named(item, spec, org)}
        )
        assert job.size + sum(job.dropped.values()) == entries + is_extra


def all_named(item: Any, job: Job, org: Org) -> set[str]:
    return {item} if isinstance(item, str) else {one["id"] for one in picked(item, job, org)}


@given(world=worlds)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_offline_a_plan_asks_for_what_it_does_not_say(world: tuple[Org, Sequence[Job]]) -> None:
    """What is listed by id is the same with and without the org, and so is what is asked."""
    org, listed = world
    plan = load(listed)
    try:
        offline, online = resolve(plan), resolve(plan, picture_of(org))
    except PlanError:
        return
    for before, after in zip(offline, online, strict=True):
        assert before.asks == after.asks
        assert before.is_open == bool(before.asks)
        assert not after.is_open
