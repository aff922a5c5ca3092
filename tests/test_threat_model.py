"""The threat model names tests that are there, and says of each threat what is done and left."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
STRIDE = (
    "Spoofing",
    "Tampering",
    "Repudiation",
    "Information disclosure",
    "Denial of service",
    "Elevation of privilege",
)
HEADER = ["threat", "mitigation", "held by", "what remains"]
REFERENCE = re.compile(r"^`(tests/[\w/]+\.py)::(test_\w+)(?:\[[^`]*\])?`$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One threat; the cells as they are written."""

    section: str
    threat: str
    mitigation: str
    held_by: tuple[str, ...]
    remains: str


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the functions in a file, without running it."""
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def sections(model: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", model, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(section: str, text: str) -> list[Row]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == HEADER, section
    return [
        Row(
            section=section,
            threat=threat,
            mitigation=mitigation,
            held_by=tuple(part.strip() for part in held_by.split("<br>") if part.strip()),
            remains=remains,
        )
        for threat, mitigation, held_by, remains in cells[2:]
    ]


def shortcomings(row: Row) -> list[str]:
    """Return what a row lacks."""
    wrong = [
        f"nothing is said of its {name}"
        for name in ("threat", "mitigation", "remains")
        if len(getattr(row, name)) < len("none known")
    ]
    if not row.held_by:
        wrong.append("no test holds it")
    for reference in row.held_by:
        found = REFERENCE.match(reference)
        if found is None:
            wrong.append(f"{reference} is no reference to a test")
        elif found[2] not in functions_of(ROOT / found[1]):
            wrong.append(f"{reference} is not there")
    return wrong


ROWS = [row for name in STRIDE for row in rows_of(name, sections(MODEL)[name])]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}: {row.threat[:50]}")
def test_a_threat_is_met_by_what_a_test_holds(row: Row) -> None:
    assert shortcomings(row) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mitigation": ""}, "nothing is said of its mitigation"),
        ({"remains": "-"}, "nothing is said of its remains"),
        ({"held_by": ()}, "no test holds it"),
        ({"held_by": ("see the tests",)}, "no reference"),
        ({"held_by": ("`tests/test_threat_model.py::test_of_nothing`",)}, "is not there"),
        ({"held_by": ("`tests/test_nowhere.py::test_of_nothing`",)}, "is not there"),
    ],
)
def test_a_row_that_lacks_something_is_noticed(change: dict[str, str], complaint: str) -> None:
    whole = {
        "section": "Spoofing",
        "threat": "somebody poses as somebody",
        "mitigation": "nobody is believed",
        "held_by": ("`tests/test_threat_model.py::test_every_letter_has_its_threats[x]`",),
        "remains": "none known",
    }
    assert shortcomings(Row(**whole)) == []  # type: ignore[arg-type]  # both kinds of values are here
    [found] = shortcomings(Row(**(whole | change)))  # type: ignore[arg-type]  # likewise
    assert complaint in found


def test_every_letter_has_its_threats() -> None:
    assert [name for name in sections(MODEL) if name in STRIDE] == list(STRIDE)
    for name in STRIDE:
        assert sum(row.section == name for row in ROWS) >= 5
    assert len({row.threat for row in ROWS}) == len(ROWS)


def test_what_is_out_of_scope_is_said() -> None:
    assert "Root on the host" in sections(MODEL)["What is out of scope"]


def test_whoever_reports_a_hole_finds_the_model_and_back() -> None:
    assert "(docs/threat-model.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "(../SECURITY.md)" in MODEL
