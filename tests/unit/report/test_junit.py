"""The report as JUnit XML: in the shape that others read, with a true result for every target."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.result import RunResult
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    Status,
    Target,
)
from orchestrator.report.junit import OURS, junit_pieces
from orchestrator.store.base import TargetRecord
from tests.unit.results import NOON, job_record, record, run_result, target_record

KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
# what the schemas of Jenkins (junit-10.xsd) and of Ant have in common
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
    "system-err": set(),
}
CHILDREN = {
    "testsuites": r"(testsuite )*",
    "testsuite": r"properties (testcase )*(system-err )?",
    "properties": r"(property )*",
    "testcase": r"((failure|error|skipped) )?system-out ",
}
RESULTS = ("failure", "error", "skipped")


def outcome(status: Status, app: str = "0oaTarget", **fields: object) -> Outcome:
    plain = Outcome(target=Target(job="job", app=AppId(app)), key=KEY, status=status, detail="said")
    return replace(plain, **fields)  # type: ignore[arg-type]  # the tests name what they change


def activated(state: ActivationState, **fields: object) -> TargetRecord:
    staged = outcome(Status.CLONED)
    plain = Activation(target=staged.target, kid=KEY.kid, wave=1, state=state, detail="so")
    activation = replace(plain, **fields)  # type: ignore[arg-type]
    return target_record(staged, wave=1, activation=activation)


def parsed(result: RunResult) -> ET.Element:
    """Return the document, which has the shape that others read."""
    root = ET.fromstring("".join(junit_pieces(result)))  # noqa: S314 - our own
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag], element.tag
        children = "".join(f"{child.tag} " for child in element)
        assert re.fullmatch(CHILDREN.get(element.tag, ""), children), (element.tag, children)
        for name in {"tests", "failures", "errors", "skipped"} & set(element.attrib):
            assert element.attrib[name].isdigit()
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
        if "timestamp" in element.attrib:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.attrib["timestamp"])
    for suite in root:
        found = Counter(child.tag for case in suite.iter("testcase") for child in case)
        told = [int(suite.attrib[name]) for name in ("failures", "errors", "skipped")]
        assert told == [found[name] for name in RESULTS]
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    for name in ("tests", "failures", "errors"):
        assert int(root.attrib[name]) == sum(int(suite.attrib[name]) for suite in root)
    return root


def result_of(given: Outcome | TargetRecord) -> tuple[str, str]:
    """Return what the only test came to, and what is said of it."""
    [case] = parsed(run_result([given], jobs=(job_record(KEY),))).iter("testcase")
    for child in case:
        if child.tag in RESULTS:
            return child.tag, child.attrib["message"]
    return "passed", ""


@pytest.mark.parametrize("status", [status for status in Status if status.is_staged])
def test_what_is_staged_passes(status: Status) -> None:
    assert result_of(outcome(status))[0] == "passed"


def test_what_still_waits_for_its_activation_is_skipped() -> None:
    told = result_of(target_record(outcome(Status.CLONED), wave=3))
    assert told == ("skipped", "staged; its activation is still to come, in wave 3")


@pytest.mark.parametrize("reason", Reason)
def test_what_failed_is_a_failure_unless_nobody_can_blame_the_target(reason: Reason) -> None:
    told = result_of(outcome(Status.FAILED, reason=reason))
    assert told == ("error" if reason in OURS else "failure", "said")


def test_what_was_not_reached_is_skipped_but_not_what_cannot_be_done() -> None:
    assert result_of(outcome(Status.SKIPPED, reason=Reason.NOT_REACHED)) == ("skipped", "said")
    unusable = outcome(Status.SKIPPED, reason=Reason.SOURCE_UNUSABLE)
    assert result_of(unusable) == ("error", "said")


def test_what_a_preview_plans_is_not_done() -> None:
    assert result_of(outcome(Status.PLANNED)) == ("skipped", "dry run: said")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ActivationState.PLANNED, "skipped"),
        (ActivationState.INTENDED, "error"),
        (ActivationState.ACTIVATED, "passed"),
        (ActivationState.VERIFIED, "passed"),
        (ActivationState.FAILED, "failure"),
        (ActivationState.SKIPPED, "skipped"),
        (ActivationState.REVERTING, "error"),
        (ActivationState.ROLLED_BACK, "skipped"),
    ],
)
def test_activations_have_a_result(state: ActivationState, expected: str) -> None:
    assert result_of(activated(state))[0] == expected


def test_what_signs_but_has_a_problem_fails() -> None:
    wrong = activated(ActivationState.ACTIVATED, problem="look at it")
    assert result_of(wrong) == ("failure", "look at it")


def test_a_job_is_a_suite_that_says_where_it_ran() -> None:
    jobs = (
        job_record(KEY, name="empty"),
        job_record(KEY, position=1, name="job"),
        job_record(KEY, position=2, name="lost", problem="no <key>"),
    )
    targets = [target_record(outcome(Status.CLONED, app), job=1) for app in ("0oaA", "0oaB")]
    result = run_result(targets, run=record(dry_run=True), jobs=jobs)
    root = parsed(result)
    assert root.attrib["name"] == "DRY RUN finance"
    assert root.attrib["time"] == "3600.000"
    assert [suite.attrib["name"] for suite in root] == [
        "finance.empty",
        "finance.job",
        "finance.lost",
    ]
    assert [suite.attrib["tests"] for suite in root] == ["0", "2", "0"]
    facts = {each.attrib["name"]: each.attrib["value"] for each in root[1].iter("property")}
    assert facts == {
        "org": "https://acme.okta.com",
        "plan": "finance",
        "plan_sha256": "ab12",
        "run_id": "r1",
        "dry_run": "true",
        "key": "key kid of app 0oaSource",
    }
    assert root[2].findtext("system-err") == "no <key>"


def test_a_test_tells_its_evidence_and_how_long_it_waited() -> None:
    evidence = Evidence(
        http_status=201, request_ids=("r1", "r2"), attempts=2, thumbprint="t", waited_seconds=1.25
    )
    given = outcome(Status.CLONED, label="Finance", evidence=evidence, settled_at=NOON)
    root = parsed(run_result([given], jobs=(job_record(KEY),)))
    [case] = root.iter("testcase")
    assert (case.attrib["name"], case.attrib["classname"]) == ("Finance (0oaTarget)", "finance.job")
    assert (case.attrib["time"], root[0].attrib["time"]) == ("1.250", "1.250")
    said = str(case.findtext("system-out"))
    for line in ("Thumbprint: t", "Answer: HTTP 201", "Request ids: r1, r2", "Attempts: 2"):
        assert line in said.splitlines()


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=20))
def test_whatever_an_org_says_it_is_xml(text: str) -> None:
    plain = outcome(Status.FAILED, label=text, detail=text, evidence=Evidence(causes=(text,)))
    jobs = (job_record(KEY, problem=text),)
    "".join(junit_pieces(run_result([plain], jobs=jobs))).encode()
    [case] = parsed(run_result([plain], jobs=jobs)).iter("testcase")
    legal = re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    if text:
        assert case.attrib["name"] == f"{legal} (0oaTarget)"
    assert case[0].attrib["message"] == legal


def test_a_document_is_made_a_target_at_a_time() -> None:
    result = run_result([outcome(Status.CLONED)] * 50, jobs=(job_record(KEY),))
    assert max(piece.count("0oaTarget") for piece in junit_pieces(result)) == 1
