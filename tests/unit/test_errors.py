"""Errors say what happened and what to do, and keep their exit codes."""

from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.errors import (
    AccessError,
    CallError,
    ExitCode,
    InputError,
    NoAnswer,
    OrchestratorError,
    PlanError,
    Problem,
    SafetyError,
)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (OrchestratorError, 1),
        (CallError, 1),
        (InputError, 4),
        (errors.ConfigError, 4),
        (errors.UsageError, 4),
        (errors.FaultScriptError, 4),
        (AccessError, 5),
        (errors.TokenRejected, 5),
        (errors.ClientRejected, 5),
        (errors.ScopeMissing, 5),
        (SafetyError, 6),
    ],
)
def test_exit_codes_do_not_move(kind: type[OrchestratorError], code: int) -> None:
    assert kind.exit_code == code


def test_all_exit_codes() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "UNEXPECTED": 1,
        "CHANGED": 2,
        "PARTIAL": 3,
        "INVALID": 4,
        "ACCESS": 5,
        "SAFETY": 6,
        "UNFINISHED": 7,
        "LOCKED": 11,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


def test_diagnostics_give_message_context_and_hint() -> None:
    error = NoAnswer("nobody answered", hint="try later", call="GET /x", request_id=None)
    assert error.diagnostics().splitlines() == [
        "nobody answered",
        "  call: GET /x",
        "  hint: try later",
    ]


def test_a_plan_error_lists_every_problem() -> None:
    problems = [
        Problem(file="p.yaml", line=3, column=5, path="jobs[0].name", message="is missing"),
        Problem(file="p.yaml", line=9, column=1, path="", message="is odd", hint="mend it"),
    ]
    text = PlanError(problems, hidden=2).diagnostics()
    assert "p.yaml:3:5: jobs[0].name: is missing" in text
    assert "p.yaml:9:1: is odd (mend it)" in text
    assert "... and 2 more" in text
    assert "4 problems" in text
