"""The JSON Schema says what the loader says, and the shipped plans are right by both."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.errors import PlanError
from orchestrator.plan.jsonschema import EXAMPLE, plan_schema, plan_schema_text
from orchestrator.plan.load import load_plan, load_plan_text
from orchestrator.plan.schema import PlanPart
from orchestrator.plan.targets import resolve

ROOT = Path(__file__).parents[3]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
WRONG = sorted((ROOT / "tests" / "plans_wrong").glob("*.yaml"))

# What a schema cannot see: how YAML was written, what repeats, and what other files hold.
ONLY_FOR_THE_LOADER = {
    "duplicate-key",
    "duplicate-key-deep",
    "formats-repeated",
    "merge-key",
    "repeated-job-name",
    "string-tag",
    "utf-16",
    "version-1.0",
    "workers-octal",
}

SCHEMA = Draft202012Validator(plan_schema())


def data_of(plan: Path) -> object:
    """Return what an editor sees, or None for what is not YAML."""
    try:
        return yaml.safe_load(plan.read_bytes()) or {}
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
    assert all(job.counts.targets for job in resolve(load_plan(plan)))
    SCHEMA.validate(data_of(plan))
    first_line = plan.read_text().splitlines()[0]
    named = first_line.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((plan.parent / named).read_text()) == plan_schema()


def test_the_plans_that_are_promised_are_shipped() -> None:
    assert {plan.stem for plan in PLANS} >= {"quickstart", "several-jobs", "from-csv"}


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
    if part.__name__ == "FileRef":
        job["targets"].append(home := {})
    elif part.__name__ == "Auth":
        plan["org"] = {"auth": (home := {})}
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
