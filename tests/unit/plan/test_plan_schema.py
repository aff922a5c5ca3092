"""The JSON Schema says what the loader says, and the shipped plans are right by both."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.errors import PlanError
from orchestrator.plan.jsonschema import EXAMPLE, plan_schema, plan_schema_text
from orchestrator.plan.load import load_plan, load_plan_text
from orchestrator.plan.part import PlanPart
from orchestrator.plan.targets import resolve
from orchestrator.rollout import split

ROOT = Path(__file__).parents[3]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
WRONG = sorted((ROOT / "tests" / "plans_wrong").glob("*.yaml"))

# What a schema cannot see: how YAML was written, what repeats, what other files hold, and whether
# a date, a time zone or a regular expression is one.
ONLY_FOR_THE_LOADER = {
    "after-day-that-is-none",
    "after-in-years",
    "blackout-backwards",
    "duplicate-key",
    "duplicate-key-deep",
    "formats-repeated",
    "job-name-no",
    "merge-key",
    "name-on",
    "regex",
    "repeated-job-name",
    "string-tag",
    "two-jobs-activate-a-source",
    "two-jobs-activate-an-app",
    "utf-16",
    "version-1.0",
    "waves-after-all",
    "window-unknown-zone",
    "workers-octal",
}

SCHEMA = Draft202012Validator(plan_schema())


class EditorLoader(yaml.SafeLoader):
    """Reads scalars as YAML 1.2 does, and editors with it: `on` is a word, and a date is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [
            (tag, regexp) for tag, regexp in resolvers if not tag.endswith(("bool", "timestamp"))
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


EditorLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF")
)


def data_of(plan: Path) -> object:
    """Return what an editor sees, or None for what is not YAML."""
    try:
        return yaml.load(plan.read_bytes(), EditorLoader) or {}  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def test_the_shipped_schema_is_the_generated_one() -> None:
    shipped = files("orchestrator").joinpath("schemas/plan-v1.schema.json").read_text("utf-8")
    assert shipped == plan_schema_text(), (
        "run: python -m orchestrator.plan.jsonschema > orchestrator/schemas/plan-v1.schema.json"
    )


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(plan_schema())


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.stem)
def test_a_shipped_plan_is_right(plan: Path) -> None:
    assert all(job.counts.targets or job.is_open for job in resolve(load_plan(plan)))
    SCHEMA.validate(data_of(plan))
    first_line = plan.read_text().splitlines()[0]
    named = first_line.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((plan.parent / named).read_text()) == plan_schema()


def test_the_plans_that_are_promised_are_shipped() -> None:
    promised = {"quickstart", "several-jobs", "from-csv", "full-rotation"}
    assert {plan.stem for plan in PLANS} >= promised


def test_the_full_rotation_is_one_of_two_hundred_apps_in_three_waves() -> None:
    plan = load_plan(ROOT / "plans" / "full-rotation.yaml")
    [job] = resolve(plan)
    targets = list(job.stream())
    assert len({target.app for target in targets}) == len(targets) == 200
    assert all(target.tags.keys() == {"owner", "vendor"} for target in targets)
    rollout = job.settings.rollout
    assert rollout is not None
    assert split(job.size, rollout.waves) == [1, 20, 179]
    assert rollout.gate.acknowledge_by is not None
    assert plan.report.handoff == "certificates"


@pytest.mark.parametrize(("listed", "code"), [(None, 0), ("0oa1\n", 1), ("0oa\n0oa12\n", 0)])
def test_its_script_accepts_what_is_not_listed(
    tmp_path: Path, listed: str | None, code: int
) -> None:
    command = resolve(load_plan(ROOT / "plans" / "full-rotation.yaml"))[0].settings.rollout
    assert command is not None
    assert command.gate.acknowledge_by is not None
    script = shutil.copy(command.gate.acknowledge_by.argv[0], tmp_path)
    if listed is not None:
        (tmp_path / "not-ready.txt").write_text(listed)
    environment = {"PATH": os.environ["PATH"], "OKTA_KEYS_APP_ID": "0oa1"}
    done = subprocess.run([script], input=b"{}", env=environment, check=False, capture_output=True)
    assert done.returncode == code, done.stderr


def test_the_example_of_the_schema_is_right() -> None:
    SCHEMA.validate(EXAMPLE)
    load_plan_text(json.dumps(EXAMPLE).encode(), file="example", folder=Path())


@pytest.mark.parametrize("plan", WRONG, ids=lambda plan: plan.stem)
def test_the_schema_refuses_what_is_wrong_by_structure(plan: Path) -> None:
    data, name = data_of(plan), plan.stem.partition("-")[2]
    is_for_the_loader = data is None or name in ONLY_FOR_THE_LOADER or name.startswith("csv-")
    assert SCHEMA.is_valid(data) == (is_for_the_loader and data is not None) or (
        name == "csv-without-value"
    )


def plan_with(part: type[PlanPart], key: str) -> dict[str, object]:
    """Return the example plan with one more key in a mapping of that kind."""
    plan = json.loads(json.dumps(EXAMPLE))
    job = plan["jobs"][0]
    home = {"Plan": plan, "JobSpec": job, "SourceSpec": job["source"]}.get(part.__name__)
    assert home is not None
    home[key] = "x"
    return dict(plan)


LATER = [(part, key) for part in PlanPart.__subclasses__() for key in part.later]


@pytest.mark.parametrize(("part", "key"), LATER, ids=str)
def test_what_must_wait_is_refused_by_schema_and_loader(part: type[PlanPart], key: str) -> None:
    plan = plan_with(part, key)
    assert not SCHEMA.is_valid(plan)
    with pytest.raises(PlanError) as caught:
        load_plan_text(json.dumps(plan).encode(), file="plan", folder=Path())
    [problem] = caught.value.problems
    assert f"`{key}`" in problem.message
    assert "is not supported yet" in problem.message


def test_every_part_of_the_schema_is_explained() -> None:
    schema = plan_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    for part in (schema, *definitions.values()):
        assert part["description"]
        assert part["additionalProperties"] is False
        for value in part["properties"].values():
            assert "description" in value or "$ref" in value
