"""What holds for every plan: it round-trips, resolves as sets do, and never fails otherwise."""

from __future__ import annotations

import string
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator.errors import PlanError, Problem
from orchestrator.model import Verify
from orchestrator.plan.fields import TRUTH_WORDS
from orchestrator.plan.jsonschema import plan_schema
from orchestrator.plan.keys import is_each_target
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import resolve
from orchestrator.rollout import HookMoment

SCHEMA = Draft202012Validator(plan_schema())
FOLDER = Path(__file__).parents[2] / "plans"
SEEDS = [path.read_text() for path in sorted(FOLDER.glob("*.yaml"))]

letters = string.ascii_letters + string.digits
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: name.lower() not in TRUTH_WORDS  # they are names in quotes only
)
app_ids = st.one_of(
    st.text(letters, min_size=17, max_size=17).map(lambda tail: f"0oa{tail}"),
    st.text(string.digits, min_size=18, max_size=18).map(lambda tail: f"01{tail}"),
    st.sampled_from(["1e500000000000000000", "0x12345678901234567a"]),
)
kids = st.text(letters + "-_", min_size=20, max_size=64)
paths = st.sampled_from(["a.csv", "./b.csv", "c d.csv", "/e.csv", "1", "null", "on", "é.csv"])
labels = st.sampled_from(["Finance HQ", "on", "2026", "é: b", "- c", "#1", "'", '"quoted"', "a\\b"])
filters = st.sampled_from(
    [
        'name eq "amazon_aws"',
        'status  EQ "ACTIVE"',
        'user.id eq "00u1"',
        "settings.slo.enabled eq true",
    ]
)
asked = {
    "label": labels,
    "label_prefix": labels,
    "label_regex": st.sampled_from(["^Fin", "(EU|US)$", r"\\d+", r"[\[]", "on"]),
    "filter": filters,
    "signing_with": st.text(letters + "-_", min_size=43, max_size=43),
    "expiring_within": st.sampled_from(["60d", "1s", "999999999h"]),
    "file": paths,
}
selectors = st.one_of(
    app_ids, *(st.fixed_dictionaries({kind: texts}) for kind, texts in asked.items())
)
counts = st.integers(1, 10**9)
percents = st.integers(1, 100).map(lambda number: f"{number}%")
durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 999), st.sampled_from("smhd"))

years = st.integers(2, 10)
texts = st.sampled_from(["acme", "Acme, Inc.", "2026", "on", "é", "a: b", "- c"])
subjects = st.fixed_dictionaries(
    {"common_name": texts},
    optional={"country": st.sampled_from(["US", "NO"]), "state": texts, "organization": texts},
)
keys = st.one_of(
    kids,
    st.sampled_from(["active", "newest", {"generate": "each_target"}]),
    st.fixed_dictionaries(
        {
            "generate": st.fixed_dictionaries(
                {}, optional={"validity_years": years, "each_target": st.booleans()}
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "csr": st.fixed_dictionaries(
                {"subject": subjects},
                optional={"san": st.lists(st.sampled_from(["a.com", "b-1.c.org"]), unique=True)},
            )
        }
    ),
)
commands = st.fixed_dictionaries(
    {"run": st.lists(st.sampled_from(["./a.sh", "--fast", "1", "on", "é", "a b"]), min_size=1)},
    optional={
        "timeout": durations,
        "env": st.lists(st.sampled_from(["A", "B_2", "OKTA_API_TOKEN"]), unique=True),
    },
)
windows = st.sampled_from(
    ["Sat 02:00-06:00 Europe/London", "daily 22:00-24:00 UTC", "Mon-Fri,Sun 00:00-00:00 Etc/GMT+5"]
)
days = st.sampled_from(["2026-11-27", "2026-12-24..2027-01-02"])
waits = st.sampled_from(["1s", "90m", "14d"])
sizes = st.lists(st.one_of(counts, st.integers(1, 99).map(lambda n: f"{n}%")), min_size=1)
rollouts = st.fixed_dictionaries(
    {},
    optional={
        "gate": st.fixed_dictionaries(
            {},
            optional={
                "after": waits | st.sampled_from(["2026-12-01", "2026-12-01T02:00:00+01:00"]),
                "window": windows | st.lists(windows, min_size=1, max_size=3),
                "blackout": st.lists(days, max_size=2),
                "acknowledged": st.just(True) | commands,
                "approval": st.just("each_wave"),
            },
        ),
        "waves": sizes.map(lambda listed: [*listed, "100%"]),
        "pause": waits,
        "stop_after_failures": st.one_of(counts, percents),
        "inactive": st.sampled_from(["skip", "activate"]),
        "source": st.booleans(),
    },
)
hooks = st.builds(
    lambda on, command: {"on": on, **command}, st.sampled_from([*HookMoment]).map(str), commands
)


def activates_no_source(job: dict[str, Any]) -> bool:
    """Say whether a job is refused: it has a key for each target, and is to activate its source."""
    return is_each_target(job["source"]["key"]) and job.get("activate", {}).get("source", False)


jobs = st.fixed_dictionaries(
    {
        "name": names,
        "source": st.fixed_dictionaries(
            {"app": app_ids | st.fixed_dictionaries({"label": labels}), "key": keys}
        ),
        "targets": st.lists(selectors, min_size=1, max_size=6),
    },
    optional={
        "exclude": st.lists(selectors, max_size=3),
        "resource": st.just("app"),
        "allow_oidc": st.booleans(),
        "activate": rollouts,
        "verify": st.sampled_from([*Verify]).map(str),
        "cross_check": st.booleans(),
    },
).filter(lambda job: not activates_no_source(job))
plans = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "name": names,
        "jobs": st.lists(jobs, min_size=1, max_size=4, unique_by=lambda job: str(job["name"])),
    },
    optional={
        "org": st.fixed_dictionaries(
            {},
            optional={
                "url": st.sampled_from(["https://acme.okta.com", "http://127.0.0.1:8080"]),
                "auth": st.fixed_dictionaries({}, optional={"token": st.just("env:TOKEN")}),
            },
        ),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "workers": st.one_of(st.just("auto"), st.integers(1, 64)),
                "capacity": percents,
                "deadline": durations,
                "max_targets": counts,
                "max_changes": st.one_of(counts, percents),
                "stop_after_failures": st.one_of(counts, percents),
            },
        ),
        "hooks": st.lists(hooks, max_size=3),
        "report": st.fixed_dictionaries(
            {},
            optional={
                "dir": paths,
                "handoff": st.sampled_from(["certificates", "metadata"]),
                "formats": st.permutations(["json", "csv"]).flatmap(
                    lambda both: st.sampled_from([both, both[:1]])
                ),
            },
        ),
    },
)


def load(text: str | bytes) -> Plan:
    data = text.encode() if isinstance(text, str) else text
    return load_plan_text(data, file="plan.yaml", folder=FOLDER)


def problems_of(data: str | bytes) -> tuple[Problem, ...]:
    """Return why a plan is refused; nothing if it is not."""
    try:
        load(data)
    except PlanError as error:
        return error.problems
    return ()


@given(plan=plans, flow=st.booleans(), unicode=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_survives_dumping_and_loading(
    plan: dict[str, object], flow: bool, unicode: bool
) -> None:
    text = yaml.safe_dump(plan, default_flow_style=flow, allow_unicode=unicode, sort_keys=flow)
    # Pydantic warns of references, which it turns into mappings.
    read, given_ = load(text), Plan.model_validate(plan)
    assert read.model_dump(warnings=False) == given_.model_dump(warnings=False)
    SCHEMA.validate(plan)


@given(plan=plans, data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_place_points_at_the_text_that_is_named(
    plan: dict[str, object], data: st.DataObject
) -> None:
    """Break one target; its problem must stand where the broken text stands."""
    listed = plan["jobs"]
    assert isinstance(listed, list)
    job = data.draw(st.integers(0, len(listed) - 1))
    target = data.draw(st.integers(0, len(listed[job]["targets"]) - 1))
    listed[job]["targets"][target] = "broken id"
    text = yaml.safe_dump(plan, default_flow_style=data.draw(st.booleans()), allow_unicode=True)
    [problem] = problems_of(text)
    assert problem.path == f"jobs[{job}].targets[{target}]"
    assert text.splitlines()[problem.line - 1][problem.column - 1 :].startswith("broken")


@given(plan=plans, stray=st.text(string.ascii_lowercase, min_size=12, max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_unknown_key_is_named_where_it_stands(plan: dict[str, object], stray: str) -> None:
    plan[stray] = "hunter2"
    text = yaml.safe_dump(plan)
    [problem] = problems_of(text)
    assert problem.path == stray
    assert text.splitlines()[problem.line - 1].startswith(stray)
    assert "hunter2" not in str(problem)


def must_load_or_refuse(data: str | bytes) -> None:
    for problem in problems_of(data):
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message.isprintable()


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@settings(max_examples=300, deadline=None)
def test_whatever_bytes_only_a_plan_error(data: str | bytes) -> None:
    must_load_or_refuse(data)


@given(st.text("{}[]&*!|>'\"%@`:,-? \t\n#<~ab1.", max_size=60))
@settings(max_examples=400, deadline=None)
def test_whatever_yaml_only_a_plan_error(text: str) -> None:
    must_load_or_refuse(text)
    must_load_or_refuse(f"version: 1\nname: x\njobs: {text}")


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_plan_only_a_plan_error(data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS))
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, min(len(seed), start + 40)))
    filler = data.draw(st.text("{}[]&*!:-' \t\n\0é\u2028a1", max_size=8))
    must_load_or_refuse(seed[:start] + filler + seed[end:])


few_ids = st.sampled_from([f"0oa{letter * 17}" for letter in "abcdef"])


@given(
    wanted=st.lists(
        st.tuples(st.lists(few_ids, max_size=8), st.lists(few_ids, max_size=3), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    source=few_ids,
)
@settings(max_examples=150, deadline=None)
def test_resolving_is_union_minus_exclude_minus_source_minus_earlier(
    wanted: list[tuple[list[str], list[str], bool]], source: str
) -> None:
    """Every job shares the key, so what an earlier job has, a later one does not get again."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        listed = []
        for index, (targets, exclude, in_file) in enumerate(wanted):
            (folder / f"{index}.csv").write_text("\n".join(["app_id", *targets]) + "\n")
            in_list = [{"file": f"{index}.csv"}] if in_file or not targets else targets
            spec = {"app": source, "key": "k" * 43}
            listed.append(
                {"name": f"j{index}", "source": spec, "targets": in_list, "exclude": exclude}
            )
        text = yaml.safe_dump({"version": 1, "name": "x", "jobs": listed})
        resolved = resolve(load_plan_text(text.encode(), file="p", folder=folder))
        streamed = [[str(target.app) for target in job.stream()] for job in resolved]
    earlier: set[str] = set()
    for job, found, (targets, exclude, _) in zip(resolved, streamed, wanted, strict=True):
        unique = dict.fromkeys(targets)
        expected = [app for app in unique if app not in {source, *exclude, *earlier}]
        assert found == expected
        assert job.counts.targets == len(expected)
        assert job.counts.source == targets.count(source)
        assert job.counts.excluded == sum(app in exclude and app != source for app in targets)
        total = job.counts.targets + job.counts.source + job.counts.excluded
        assert total + job.counts.duplicates == len(targets)
        earlier |= set(found)
