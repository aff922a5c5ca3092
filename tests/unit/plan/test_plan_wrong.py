"""Every wrong plan in tests/plans_wrong says what is wrong, where, and what to do.

A plan expects its problems in its first comments, `# expect: [FILE:]LINE:COLUMN PATH: TEXT`, or in
a file NAME.expect beside it; the path `-` means the file as a whole. All problems are expected: one
more or one less fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.errors import PlanError, Problem
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve

FOLDER = Path(__file__).parents[2] / "plans_wrong"
WRONG = sorted(FOLDER.glob("*.yaml"))
EXPECT = re.compile(r"# expect: (?:([^:\s]+\.csv):)?(\d+):(\d+) (\S+): (.+)")


def expectations(plan: Path) -> list[tuple[str, int, int, str, str]]:
    sidecar = plan.with_suffix(".expect")
    text = (sidecar if sidecar.exists() else plan).read_bytes().decode("utf-8", "replace")
    return [
        (file or plan.name, int(line), int(column), "" if path == "-" else path, said)
        for file, line, column, path, said in EXPECT.findall(text)
    ]


def problems_of(plan: Path) -> tuple[Problem, ...]:
    with pytest.raises(PlanError) as caught:
        resolve(load_plan(plan))
    assert caught.value.hidden == 0
    return caught.value.problems


def test_there_are_at_least_fifty() -> None:
    assert len(WRONG) >= 50
    assert len({plan.stem[4:] for plan in WRONG}) == len(WRONG)


@pytest.mark.parametrize("plan", WRONG, ids=lambda plan: plan.stem)
def test_wrong_plan_says_what_is_wrong_and_where(plan: Path) -> None:
    expected = expectations(plan)
    assert expected, "a wrong plan says what it expects"
    found = {
        (Path(problem.file).name, problem.line, problem.column, problem.path): problem
        for problem in problems_of(plan)
    }
    assert sorted(found) == sorted(entry[:4] for entry in expected)
    for *where, said in expected:
        problem = found[tuple(where)]  # type: ignore[index] # four fields, as the key
        assert said in f"{problem.message} ({problem.hint})"


@pytest.mark.parametrize("plan", WRONG, ids=lambda plan: plan.stem)
def test_wrong_plan_is_told_in_sentences(plan: Path) -> None:
    for problem in problems_of(plan):
        told = f"{problem.message} {problem.hint or ''}"
        assert len(problem.message.split()) >= 2
        assert len(str(problem)) < 400
        assert told.isprintable()
        assert "hunter2" not in str(problem)
        assert not re.search(r"pydantic|Traceback|None|<(id|file)>|ScalarEvent|Refusal", told)
