"""The verdict: what a run came to in one sentence, and what is left to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.engine.result import RunResult
from orchestrator.errors import ExitCode
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.report.survey import survey_of
from orchestrator.report.verdict import CAUSES, Tone, exit_text, remains_of, verdict_of
from orchestrator.store.base import RunState, StopRecord, TargetRecord
from tests.unit.results import job_record, record, run_result, target_record

KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))


def target(
    status: Status, state: ActivationState | None = None, problem: str | None = None
) -> TargetRecord:
    named = Target(job="job", app=AppId("0oaTarget"))
    reason = Reason.NOT_REACHED if status is Status.SKIPPED else None
    outcome = Outcome(target=named, key=KEY, status=status, detail="said", reason=reason)
    if state is None:
        return target_record(outcome)
    activation = Activation(
        target=named, kid=KEY.kid, wave=1, state=state, detail="so", problem=problem
    )
    return target_record(outcome, wave=1, activation=activation)


CLONED, FAILED, SKIPPED = (target(each) for each in (Status.CLONED, Status.FAILED, Status.SKIPPED))
PLANNED = target(Status.PLANNED, ActivationState.PLANNED)
ACTIVE = target(Status.CLONED, ActivationState.VERIFIED)
BACK = target(Status.CLONED, ActivationState.ROLLED_BACK)
DOUBT = target(Status.CLONED, ActivationState.INTENDED)
PROBLEM = target(Status.CLONED, ActivationState.ACTIVATED, "look at it")
WAIT = StopRecord(cause=StopCause.WAITING, detail="job a waits; job b waits")
FAILURES = StopRecord(cause=StopCause.FAILURES, detail="too much")
DEADLINE = StopRecord(cause=StopCause.DEADLINE, detail="late", hint="take longer")


def given(
    *targets: TargetRecord,
    stop: StopRecord | None = None,
    dry: bool = False,
    state: RunState = RunState.FINISHED,
) -> RunResult:
    run = replace(record(dry_run=dry), state=state)
    return run_result(targets, run=run, jobs=(job_record(KEY),), stop=stop)


@pytest.mark.parametrize(
    ("result", "tone", "headline"),
    [
        (given(CLONED, CLONED), "good", "Done: all 2 targets hold the key"),
        (given(ACTIVE, ACTIVE), "good", "Done: all 2 targets hold the key, and all sign with it"),
        (
            given(ACTIVE, SKIPPED),
            "warning",
            "Done: 1 of 2 targets holds the key, and 1 signs with it",
        ),
        (given(CLONED, SKIPPED), "warning", "Done: 1 of 2 targets holds the key"),
        (given(CLONED, FAILED), "bad", "Not all is well: 1 of 2 targets failed, or is in doubt"),
        (given(PROBLEM), "bad", "Not all is well: 1 of 1 target failed, or is in doubt"),
        (given(DOUBT, FAILED), "bad", "Not all is well: 2 of 2 targets failed, or are in doubt"),
        (given(CLONED, stop=WAIT), "neutral", "Waiting, and nothing is wrong so far"),
        (given(FAILED, stop=WAIT), "bad", "Not all is well: 1 of 1 target failed, or is in doubt"),
        (
            given(CLONED, stop=DEADLINE),
            "warning",
            "Stopped before its end: its deadline has passed",
        ),
        (
            given(FAILED, stop=FAILURES),
            "bad",
            "Stopped before its end: too many targets failed; 1 of 1 target failed, or is in doubt",
        ),
        (given(BACK), "warning", "Taken back: the only target signs again with its former key"),
        (
            given(DOUBT, state=RunState.RUNNING),
            "warning",
            "Not over: the run is under way, or its process has died",
        ),
        (
            given(PLANNED, dry=True),
            "neutral",
            "Nothing was changed. 1 target would get the key, 1 would be activated",
        ),
        (
            given(PLANNED, FAILED, dry=True),
            "bad",
            (
                "Nothing was changed. 1 target would get the key, 1 would be activated; "
                "1 of 2 would fail"
            ),
        ),
        (given(), "warning", "Done: there are no targets"),
    ],
)
def test_a_run_is_told_in_a_sentence(result: RunResult, tone: str, headline: str) -> None:
    verdict = verdict_of(result, survey_of(result).wrongs)
    assert (verdict.headline, verdict.tone) == (headline, Tone(tone))


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (given(ACTIVE), []),
        (
            given(CLONED, stop=WAIT),
            [
                "Waiting: job a waits.",
                "Waiting: job b waits.",
                "What to do: run the same plan again: what is done stays done.",
            ],
        ),
        (
            given(FAILED, SKIPPED, stop=DEADLINE),
            [
                "Stopped: late.",
                "What to do: take longer.",
                (
                    "1 target failed. Once the cause is mended: "
                    "okta-keys run PLAN --targets @finance-r1.failed.csv"
                ),
                "Not reached: 1 target.",
            ],
        ),
        (
            given(PROBLEM, replace(CLONED, wave=2)),
            [
                "1 target signs with the key, but something is wrong: see below.",
                "Staged, and still to be activated: 1 target.",
            ],
        ),
        (
            given(DOUBT),
            [
                (
                    "1 target may sign with either key, for the answer to a write was not seen: "
                    "run the plan, or the rollback, again and it will look."
                )
            ],
        ),
    ],
)
def test_what_remains_is_said_with_what_to_do(result: RunResult, lines: list[str]) -> None:
    assert list(remains_of(result)) == lines


def test_every_cause_and_every_exit_code_has_words() -> None:
    assert set(CAUSES) == set(StopCause)
    for code in set(ExitCode) - {ExitCode.INVALID, ExitCode.LOCKED}:  # those end before any run
        assert exit_text(code)
    assert exit_text(99) == ""
