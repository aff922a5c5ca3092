"""Fault scripts: what is read, and what is said about a wrong one."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import FaultScriptError
from orchestrator.sandbox.faults import Fault, FaultPicker, FaultScript
from orchestrator.sandbox.vocabulary import Edit, EndpointName, FaultKind, Lie, When

CLONE_LIES = [lie for lie in get_args(Lie) if lie != "echo"]
WHENS = st.sampled_from(get_args(When))
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "rate": st.floats(0, 1),
    "on": st.sampled_from(["any", *get_args(EndpointName)]),
    "targets": st.lists(
        st.from_regex(r"0oa[0-9a-zA-Z]{17}", fullmatch=True), min_size=1, max_size=3
    ),
    "times": st.integers(1, 1000),
}
BY_KIND: dict[FaultKind, dict[str, st.SearchStrategy[Any]]] = {
    "error": {"when": WHENS, "status": st.integers(400, 599), "code": st.just("E0000009")},
    "drop": {"when": WHENS},
    "stall": {"when": WHENS, "seconds": st.floats(0.001, 3600)},
    "truncate": {},
    "garbage": {},
    "gateway": {"when": WHENS, "status": st.integers(500, 599)},
    "lie": {"lie": st.sampled_from(CLONE_LIES), "on": st.sampled_from(["clone", "any"])},
    "reject": {"status": st.integers(400, 499), "cause": st.just("No.")},
    "redirect": {"host": st.just("evil.example")},
    "edit": {"when": WHENS, "edit": st.sampled_from(get_args(Edit))},
    "collateral": {"on": st.sampled_from(["update_app", "update_idp", "any"])},
}


def entries(kind: FaultKind) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"kind": st.just(kind)}, optional=COMMON | BY_KIND[kind])


ENTRIES = st.sampled_from(get_args(FaultKind)).flatmap(entries)


def parse(text: str) -> FaultScript:
    return FaultScript.parse(text, file="faults.yaml")


def test_a_script_is_read_with_percentages_and_fractions() -> None:
    script = parse(
        """
        seed: 7
        faults:
          - {kind: drop, when: after, rate: 5%, on: clone}
          - {kind: error, status: 500, rate: 0.25, times: 3}
          - {kind: lie, lie: location, targets: [0oa1gjh63g214q0Hq0g4]}
          - {kind: stall, seconds: 1.5}
          - {kind: lie, lie: echo, on: update_app}
          - {kind: edit, edit: revert, on: update_app, when: after}
          - {kind: collateral, times: 1}
        """
    )
    assert script.seed == 7
    assert script.faults == (
        Fault(kind="drop", when="after", rate=0.05, on="clone"),
        Fault(kind="error", status=500, rate=0.25, times=3),
        Fault(kind="lie", lie="location", targets=("0oa1gjh63g214q0Hq0g4",)),
        Fault(kind="stall", seconds=1.5),
        Fault(kind="lie", lie="echo", on="update_app"),
        Fault(kind="edit", edit="revert", on="update_app", when="after"),
        Fault(kind="collateral", times=1),
    )


@given(st.lists(ENTRIES, max_size=5), st.integers())
def test_every_valid_script_is_read_as_it_is_written(
    written: list[dict[str, Any]], seed: int
) -> None:
    script = parse(yaml.safe_dump({"seed": seed, "faults": written}))
    expected = [Fault(**entry | {"targets": tuple(entry.get("targets", ()))}) for entry in written]
    assert script == FaultScript.of(expected, seed=seed)


@pytest.mark.parametrize(
    ("text", "named", "hint"),
    [
        ("faults: [{kind: drop, wen: after}]", "faults[0]: wen", "`when`"),
        ("faults: [{kind: dorp}]", "faults[0]: kind", "drop"),
        ("faults: [{kind: drop}, {rate: 5%}]", "faults[1]: kind: is missing", "drop"),
        ("faults: [{kind: drop, rate: 5}]", "rate", "0% to 100%"),
        ("faults: [{kind: drop, rate: 120%}]", "rate", "0% to 100%"),
        ("faults: [{kind: drop, rate: true}]", "rate", "0% to 100%"),
        ("faults: [{kind: drop, rate: .nan}]", "rate", "0% to 100%"),
        ("faults: [{kind: drop, status: 500}]", "status", "of a `drop` fault"),
        ("faults: [{kind: error, status: 200}]", "status", "400 to 599"),
        ("faults: [{kind: lie, on: get_key}]", "on", "clone"),
        ("faults: [{kind: lie, lie: colour}]", "lie", "thumbprint"),
        ("faults: [{kind: lie, lie: echo, on: clone}]", "on", "update_app"),
        ("faults: [{kind: lie, lie: kid, on: update_app}]", "on", "clone_idp_key"),
        ("faults: [{kind: collateral, on: clone}]", "on", "update_idp"),
        ("faults: [{kind: edit, edit: name}]", "edit", "revert"),
        ("faults: [{kind: drop, edit: kid}]", "edit", "of a `drop` fault"),
        ("faults: [{kind: drop, on: clones}]", "on", "clone"),
        ("faults: [{kind: drop, times: 0}]", "times", "1 or more"),
        ("faults: [{kind: drop, targets: 0oa1}]", "targets", "list of ids"),
        ("faults: [{kind: stall, seconds: -1}]", "seconds", "above 0"),
        ("faults: [drop]", "faults[0]", "kind: drop"),
        ("faults: {kind: drop}", "faults", "list"),
        ("sede: 7", "sede", "`seed`"),
        ("seed: x", "seed", "whole number"),
        ("- kind: drop", "mapping", "faults"),
        ("faults: [", "YAML", "line"),
        ("", "mapping", "faults"),
        ("faults: [{kind: drop, [1]: 2}]", "YAML", "unhashable"),
        ("faults: [{kind: drop, 1: 2}]", "faults[0]: 1", "fields"),
    ],
)
def test_a_wrong_script_names_the_field_and_what_would_fit(
    text: str, named: str, hint: str
) -> None:
    with pytest.raises(FaultScriptError) as caught:
        parse(text)
    said = caught.value.diagnostics()
    assert said.startswith("faults.yaml: ")
    assert named in said
    assert hint in said


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_the_right_error(text: str) -> None:
    try:
        script = parse(text)
    except FaultScriptError:
        return
    assert isinstance(script, FaultScript)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=4)
FIELDS = st.sampled_from(["kind", "rate", "on", "targets", "times", "when", "status", "seconds"])


@given(st.dictionaries(FIELDS, VALUES), st.sampled_from(get_args(FaultKind)))
def test_any_value_is_read_or_refused_with_the_right_error(
    entry: dict[str, Any], kind: str
) -> None:
    text = yaml.safe_dump({"faults": [{"kind": kind} | entry]}, allow_unicode=True)
    try:
        fault = parse(text).faults[0]
    except FaultScriptError as problem:
        said = problem.message
    else:
        check_bounds(fault)
        return
    assert "faults[0]" in said


def check_bounds(fault: Fault) -> None:
    assert 0 <= fault.rate <= 1
    assert fault.times is None or fault.times >= 1


@given(rate=st.sampled_from([0.0, 1.0]), times=st.one_of(st.none(), st.integers(1, 5)))
def test_a_fault_strikes_at_its_rate_and_no_more_than_its_times(
    rate: float, times: int | None
) -> None:
    picker = FaultPicker(FaultScript.of([Fault(kind="drop", rate=rate, times=times)]))
    struck = sum(picker.pick("clone", "0oa1") is not None for _ in range(10))
    assert struck == (0 if rate == 0 else min(10, times or 10))


def test_the_first_fitting_fault_wins_and_faults_draw_apart() -> None:
    first, second = Fault(kind="drop", times=1), Fault(kind="stall", rate=0.5)
    both = FaultPicker(FaultScript.of([first, second], seed=5))
    picks = [both.pick("clone", None) for _ in range(20)]
    again = FaultPicker(FaultScript.of([Fault(kind="drop", rate=0), second], seed=5))
    assert picks[0] is first
    assert picks[1:] == [again.pick("clone", None) for _ in range(19)]


def test_a_fault_strikes_only_where_it_makes_sense() -> None:
    def struck(fault: Fault) -> set[EndpointName]:
        return {name for name in get_args(EndpointName) if fault.fits(name, "0oa1")}

    assert struck(Fault(kind="lie")) == {"clone", "clone_idp_key"}
    assert struck(Fault(kind="lie", lie="echo")) == {"update_app", "update_idp"}
    assert struck(Fault(kind="lie", lie="echo", on="update_idp")) == {"update_idp"}
    assert struck(Fault(kind="collateral")) == {"update_app", "update_idp"}
    assert struck(Fault(kind="edit")) == struck(Fault(kind="drop")) == set(get_args(EndpointName))


def test_an_edit_needs_something_to_edit() -> None:
    assert not Fault(kind="edit").fits("list_apps", None)
    assert Fault(kind="drop").fits("list_apps", None)
