"""What a person reads: times, counts, proofs, and a screen that keeps quiet when told to."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console
from rich.text import Text

from orchestrator.cli.render import (
    MOST_ROWS,
    STATE_STYLES,
    STYLES,
    Screen,
    count_line,
    describe,
    job_line,
    proof_text,
    target_table,
)
from orchestrator.engine.cautions import Caution, CautionKind
from orchestrator.engine.result import BucketForecast, Forecast, RunResult
from orchestrator.events import (
    ActivationSettled,
    CallPaced,
    CallRetried,
    Cautioned,
    Event,
    HookEnded,
    KeyMade,
    Noticed,
    RunFinished,
    RunStarted,
    RunStopping,
    SourceRead,
    TargetSettled,
    WaveBegun,
    WaveHeld,
)
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    RunId,
    Status,
    StopCause,
    Target,
)
from orchestrator.report.wording import duration
from orchestrator.store.base import JobRecord, StopRecord
from tests.unit.results import certificate, job_record, record, run_result, target_record

KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
CERTIFICATE = certificate("thumb")
JOB = job_record(KEY, certificate=CERTIFICATE)
WAITING = StopRecord(cause=StopCause.WAITING, detail="job job, wave 1 waits for window")
MARKUP = "[red]Fin[/red] [/] [link=x]"
FORECAST = Forecast(
    buckets=(
        BucketForecast(
            bucket="/api/v1/apps",
            calls=120,
            limit_per_window=50,
            share_per_window=45,
            window_seconds=60.0,
            seconds=125.0,
        ),
    ),
    seconds=125.0,
    sharing={"kid": 7},
)


def outcome(
    status: Status = Status.CLONED,
    *,
    app: str = "0oaTarget",
    detail: str = "said",
    **fields: object,
) -> Outcome:
    plain = Outcome(target=Target(job="job", app=AppId(app)), key=KEY, status=status, detail=detail)
    return replace(plain, **fields)  # type: ignore[arg-type]  # the tests name what they change


def activation(
    state: ActivationState = ActivationState.ACTIVATED, *, detail: str = "said", **fields: object
) -> Activation:
    target = outcome().target
    plain = Activation(target=target, kid=KEY.kid, wave=1, state=state, detail=detail)
    return replace(plain, **fields)  # type: ignore[arg-type]  # the tests name what they change


def many(number: int, status: Status = Status.CLONED) -> list[Outcome]:
    return [outcome(status, app=f"0oa{index:05d}") for index in range(number)]


def result(*outcomes: Outcome, dry_run: bool = False, stop: StopRecord | None = None) -> RunResult:
    """Return the result of a run in one session."""
    return run_result(
        outcomes,
        run=record(dry_run=dry_run),
        jobs=(JOB,),
        stop=stop,
        changed=sum(each.status is Status.CLONED for each in outcomes),
    )


def activated(*activations: Activation) -> RunResult:
    """Return the result of a run whose targets are staged and came to this."""
    records = [target_record(outcome(), activation=each, wave=1) for each in activations]
    return run_result(records, jobs=(JOB,))


def screen(*, quiet: bool = False, terminal: bool = False) -> tuple[Screen, io.StringIO]:
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=200, highlight=False, color_system=None
    )
    return Screen(quiet=quiet, console=console), file


def said(*events: Event, quiet: bool = False) -> str:
    shown, file = screen(quiet=quiet)
    with shown:
        for event in events:
            shown.notify(event)
    return file.getvalue()


def shown_result(given: RunResult, *, quiet: bool = False, paths: Sequence[Path] = ()) -> str:
    shown, file = screen(quiet=quiet)
    shown.show_result(given, paths, seconds=61.0)
    return file.getvalue()


EVENTS: dict[type, tuple[Event, str]] = {
    RunStarted: (
        RunStarted(run_id=RunId("r1"), plan="finance", org="o", dry_run=False, targets=1),
        "finance on o: 1 target, run r1\n",
    ),
    SourceRead: (
        SourceRead(job="job", key=KEY, certificate=None, problem="the source key is gone"),
        "job job: the source key is gone\n",
    ),
    TargetSettled: (
        TargetSettled(outcome=outcome(Status.FAILED, detail="app is not in the org")),
        "failed 0oaTarget: app is not in the org\n",
    ),
    CallRetried: (CallRetried(call="POST /x", attempt=1, cause="500", wait_seconds=1.0), ""),
    CallPaced: (
        CallPaced(bucket="/api/v1/apps", wait_seconds=31.4),
        "waiting 31s for the rate limit of /api/v1/apps\n",
    ),
    RunStopping: (
        RunStopping(cause=StopCause.INTERRUPT, detail="SIGINT received"),
        "stopping: SIGINT received; finishing the calls in flight\n",
    ),
    RunFinished: (RunFinished(counts={}, exit_code=0), ""),
    KeyMade: (KeyMade(job="job", key=KEY, adopted=False), "job job: key kid made\n"),
    WaveBegun: (
        WaveBegun(job="job", wave=1, waves=3, targets=7),
        "job job: wave 1 of 3 begins, 7 targets\n",
    ),
    WaveHeld: (
        WaveHeld(job="job", wave=1, detail="2 targets of wave 1 failed"),
        "held job job: 2 targets of wave 1 failed\n",
    ),
    ActivationSettled: (
        ActivationSettled(activation=activation(ActivationState.FAILED, detail="it is gone")),
        "not as it should be 0oaTarget: it is gone\n",
    ),
    HookEnded: (
        HookEnded(
            moment="target_staged",
            command="./upload.sh",
            job="job",
            app="0oaTarget",
            ok=False,
            detail="failed with exit code 1",
        ),
        "hook ./upload.sh for 0oaTarget failed with exit code 1\n",
    ),
    Noticed: (Noticed(text="no System Log"), "note: no System Log\n"),
    Cautioned: (
        Cautioned(
            kind="inactive",
            job="job",
            detail="4 targets are not active",
            count=4,
            apps=tuple(AppId(f"0oa{number}") for number in range(4)),
        ),
        "caution: job job: 4 targets are not active (0oa0, 0oa1, 0oa2, ...)\n",
    ),
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "less than a second"),
        (0.99, "less than a second"),
        (1.0, "1.0 s"),
        (59.94, "59.9 s"),
        (89.9, "89.9 s"),
        (90.0, "1 min 30 s"),
        (119.6, "2 min 0 s"),
        (5399.0, "89 min 59 s"),
        (5399.6, "1 h 30 min"),
        (5400.0, "1 h 30 min"),
        (86_400.0, "24 h 0 min"),
    ],
)
def test_a_time_span_as_a_person_would_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_status_has_a_style() -> None:
    assert set(STYLES) == set(Status)
    assert set(STATE_STYLES) == set(ActivationState)


def test_counts_name_only_what_there_is() -> None:
    given = result(*many(2), outcome(Status.ALREADY_PRESENT), outcome(Status.FAILED))
    line = Text.from_markup(count_line(given)).plain
    assert line == "2 cloned, 1 already present, 1 failed"


def test_counts_name_what_became_of_the_activations() -> None:
    states = [ActivationState.VERIFIED, ActivationState.FAILED, ActivationState.ROLLED_BACK]
    given = activated(*map(activation, states), activation(problem="its hook failed"))
    assert Text.from_markup(count_line(given)).plain == (
        "4 cloned; 1 activated, 1 verified, 1 failed to activate, 1 rolled back, 1 with a problem"
    )


def test_a_run_without_targets_says_so() -> None:
    assert count_line(result()) == "no targets"


def test_the_counts_of_a_dry_run_begin_with_the_word() -> None:
    line = count_line(result(outcome(Status.PLANNED), dry_run=True))
    assert Text.from_markup(line).plain == "DRY RUN 1 planned"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (outcome(), "said"),
        (outcome(label="Finance"), "Finance: said"),
        (outcome(evidence=Evidence(http_status=201)), "said (201)"),
        (outcome(Status.PLANNED, evidence=Evidence(http_status=404)), "said"),
        (
            outcome(
                Status.FAILED,
                reason=Reason.NO_ANSWER,
                evidence=Evidence(http_status=504, request_ids=("req1", "req2")),
            ),
            "said (504) (request req2)",
        ),
        (outcome(Status.FAILED, reason=Reason.NO_ANSWER), "said"),
        (
            outcome(
                Status.FAILED, reason=Reason.REJECTED, evidence=Evidence(request_ids=("req1",))
            ),
            "said",
        ),
    ],
)
def test_a_proof_is_one_line(given: Outcome, text: str) -> None:
    assert proof_text(given) == text


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (
            JOB,
            "job job: key kid of app 0oaSource, sha256 2048 bits, until 2036-10-01, x5t#S256 thumb",
        ),
        (replace(JOB, certificate=None), "job job: key kid of app 0oaSource"),
        (
            replace(JOB, certificate=None, dropped={"duplicate": 2, "excluded": 0, "source": 1}),
            "job job: key kid of app 0oaSource (left out: 2 duplicate, 1 source)",
        ),
        (
            replace(JOB, certificate=None, problem=f"gone {MARKUP}"),
            f"job job: key kid of app 0oaSource\n  gone {MARKUP}",
        ),
    ],
    ids=["certificate", "none", "left out", "problem"],
)
def test_a_job_is_one_line_and_its_problem_another(job: JobRecord, line: str) -> None:
    assert Text.from_markup(job_line(job)).plain == line


def test_every_kind_of_event_is_tried_here() -> None:
    assert set(EVENTS) == set(get_args(Event))


@pytest.mark.parametrize(("event", "text"), EVENTS.values(), ids=[k.__name__ for k in EVENTS])
def test_what_is_said_of_an_event_without_a_terminal(event: Event, text: str) -> None:
    assert said(event) == text


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_quiet_screen_says_nothing_of_any_event(kind: type) -> None:
    assert said(EVENTS[kind][0], quiet=True) == ""


@pytest.mark.parametrize("state", ActivationState)
@pytest.mark.parametrize("problem", [None, "its hook failed"])
def test_only_activations_that_are_not_as_they_should_be_are_told_one_by_one(
    state: ActivationState, problem: str | None
) -> None:
    text = said(ActivationSettled(activation=activation(state, problem=problem)))
    assert bool(text) is (state is ActivationState.FAILED or problem is not None)
    assert (problem or "") in text


def test_a_hook_that_succeeded_is_not_worth_a_word() -> None:
    event = EVENTS[HookEnded][0]
    assert isinstance(event, HookEnded)
    assert said(replace(event, ok=True)) == ""


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.FAILED])
def test_only_failures_are_told_one_by_one(status: Status) -> None:
    assert said(TargetSettled(outcome=outcome(status))) == ""


def test_a_dry_run_is_announced_first() -> None:
    event = RunStarted(run_id=RunId("r1"), plan="finance", org="o", dry_run=True, targets=2)
    assert said(event).splitlines() == [
        "DRY RUN: nothing will be changed",
        "finance on o: 2 targets, run r1",
    ]


def test_text_of_an_org_is_never_taken_for_markup() -> None:
    failed = outcome(Status.FAILED, detail=MARKUP, label=MARKUP)
    assert MARKUP in said(TargetSettled(outcome=failed))
    assert Text.from_markup(describe(failed)).plain == f"0oaTarget: {MARKUP}"
    stop = StopRecord(cause=StopCause.ACCESS, detail=MARKUP, hint=MARKUP)
    text = shown_result(result(failed, stop=stop), paths=[Path(MARKUP)])
    assert f"{MARKUP}: {MARKUP}" in text
    assert f"stopped: {MARKUP}\n  hint: {MARKUP}\n" in text
    assert f"report: {Path(MARKUP)}" in text


@pytest.mark.parametrize(
    ("given", "speaks"),
    [
        (result(), False),
        (result(outcome(Status.ALREADY_PRESENT)), False),
        (result(outcome(Status.PLANNED), dry_run=True), False),
        (result(outcome(Status.CLONED)), True),
        (replace(result(outcome(Status.CLONED)), changed=0), False),
        (result(outcome(Status.FAILED)), True),
        (result(outcome(Status.SKIPPED)), True),
        (result(stop=StopRecord(cause=StopCause.DEADLINE, detail="late")), True),
        (result(stop=WAITING), False),
        (result(outcome(Status.SKIPPED, reason=Reason.NOT_REACHED), stop=WAITING), False),
        (result(outcome(Status.SKIPPED, reason=Reason.SOURCE_UNUSABLE), stop=WAITING), True),
        (result(outcome(Status.FAILED), stop=WAITING), True),
        (replace(result(stop=WAITING), changed=1), True),
        (replace(result(stop=WAITING), failed=1), True),
    ],
    ids=[
        "no targets",
        "all present",
        "planned",
        "cloned",
        "cloned before",
        "failed",
        "skipped",
        "stopped",
        "waiting",
        "waiting for the key",
        "waiting, and a source is gone",
        "waiting, and failed",
        "waiting, and changed",
        "waiting, and failed to activate",
    ],
)
def test_a_quiet_result_speaks_only_of_changes_and_failures(given: RunResult, speaks: bool) -> None:
    assert bool(shown_result(given, quiet=True)) is speaks
    assert shown_result(given)


def test_the_result_ends_with_counts_and_reports() -> None:
    text = shown_result(result(*many(3)), paths=[Path("reports/a.json"), Path("reports/a.csv")])
    assert text.splitlines()[-3:] == [
        "3 cloned in 61.0 s",
        "report: reports/a.json",
        "report: reports/a.csv",
    ]


def test_a_stop_comes_with_a_hint_in_any_case() -> None:
    stop = StopRecord(cause=StopCause.INTERRUPT, detail="SIGINT received")
    text = shown_result(result(stop=stop))
    assert "stopped: SIGINT received\n  hint: run the same plan again" in text


@pytest.mark.parametrize(
    ("outcomes", "shown"),
    [
        ([*many(MOST_ROWS - 1), outcome(Status.FAILED, app="0oaFAILED")], MOST_ROWS),
        ([*many(MOST_ROWS), outcome(Status.FAILED, app="0oaFAILED")], 1),
        ([*many(5, Status.SKIPPED), *many(2)], 2),
        (many(MOST_ROWS + 1), 0),
        (many(MOST_ROWS + 5, Status.FAILED), MOST_ROWS),
    ],
    ids=["small", "large", "skipped", "large and well", "all failed"],
)
def test_a_large_run_shows_only_its_failures(outcomes: list[Outcome], shown: int) -> None:
    lines = [line for line in shown_result(result(*outcomes)).splitlines() if line[:3] == "0oa"]
    assert len(lines) == shown


def test_rows_that_do_not_fit_are_counted() -> None:
    assert "... and 5 more: see the report" in shown_result(
        result(*many(MOST_ROWS + 5, Status.FAILED))
    )


def test_a_table_names_app_outcome_and_proof() -> None:
    table = target_table([target_record(outcome(Status.ALREADY_PRESENT))])
    assert [column.header for column in table.columns] == ["app", "outcome", "proof"]
    assert [str(cell) for column in table.columns for cell in column.cells] == [
        "0oaTarget",
        "already present",
        "said",
    ]


def test_a_table_says_what_an_activated_target_signs_with_and_did_before() -> None:
    failed = activation(ActivationState.FAILED, detail="somebody has changed it", label="Finance")
    given = activated(activation(detail="signs with kid", previous_kid=Kid("old")), failed)
    table = target_table(given.records)
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[1] == ["activated", "failed"]
    assert cells[2] == ["signs with kid, before with old", "Finance: somebody has changed it"]


def test_what_is_waited_for_is_told_without_alarm() -> None:
    text = shown_result(result(stop=WAITING))
    assert "waiting: job job, wave 1 waits for window\n  hint: " in text
    assert "stopped" not in text


def test_a_forecast_tells_calls_limits_and_time() -> None:
    text = shown_result(replace(result(dry_run=True), forecast=FORECAST))
    assert "at least 7 apps will share key kid" in text
    line = "a run makes 120 calls to /api/v1/apps at 45 of 50 every 60 s: 2 min 5 s"
    assert line in text


def test_a_forecast_without_limits_says_so() -> None:
    bucket = replace(FORECAST.buckets[0], limit_per_window=None)
    forecast = replace(FORECAST, buckets=(bucket,), sharing={"kid": 1})
    text = shown_result(replace(result(dry_run=True), forecast=forecast))
    assert "at least 1 app shares key kid" in text
    assert "120 calls to /api/v1/apps without a known limit: 2 min 5 s" in text


def test_a_preview_tells_its_cautions_and_its_checksum_at_the_end() -> None:
    cautions = (
        Caution(kind=CautionKind.SHA1, job="job", detail="it is signed with SHA-1", count=3),
        Caution(
            kind=CautionKind.TERRAFORM,
            job=MARKUP,
            detail="1 target is managed by Terraform",
            count=1,
            apps=(AppId("0oaTarget"),),
        ),
    )
    given = replace(result(dry_run=True), cautions=cautions, checksum="5e" * 32)
    lines = shown_result(given).splitlines()
    assert lines[-4:] == [
        "caution: job job: it is signed with SHA-1",
        f"caution: job {MARKUP}: 1 target is managed by Terraform (0oaTarget)",
        "DRY RUN no targets in 61.0 s",
        f"checksum: {'5e' * 32} (okta-keys run PLAN --expect {'5e' * 8})",
    ]
    began = RunStarted(run_id=RunId("r1"), plan="p", org="o", dry_run=True, targets=1)
    told, _ = EVENTS[Cautioned]
    assert "caution" not in said(began, told), "it would be told twice"


def test_the_result_of_a_run_does_not_repeat_what_it_was_cautioned_about() -> None:
    caution = Caution(kind=CautionKind.SHA1, job="job", detail="it is signed with SHA-1", count=3)
    assert "caution" not in shown_result(replace(result(), cautions=(caution,)))


def test_what_the_org_calls_a_key_is_never_markup() -> None:
    key = replace(KEY, kid=Kid(MARKUP))
    job = replace(JOB, key=key)
    assert f"job job: key {MARKUP} of app" in shown_result(replace(result(), jobs=(job,)))


def test_on_a_terminal_a_wait_moves_into_the_progress_bar() -> None:
    shown, _ = screen(terminal=True)
    with shown:
        shown.notify(CallPaced(bucket="/api/v1/apps", wait_seconds=31.4))
        task, waves = shown.progress.tasks
        assert not waves.visible
        assert task.fields["note"] == "waiting 31s for the rate limit"
        shown.notify(TargetSettled(outcome=outcome()))
        assert (task.completed, task.fields["note"]) == (1, "")


@pytest.mark.parametrize("quiet", [False, True])
def test_notices_are_one_a_line_and_never_markup(quiet: bool) -> None:
    shown, file = screen(quiet=quiet)
    shown.show_notices(["continuing run r1", f"targets added: {MARKUP}"])
    lines = file.getvalue().splitlines()
    assert lines == ([] if quiet else ["continuing run r1", f"targets added: {MARKUP}"])
