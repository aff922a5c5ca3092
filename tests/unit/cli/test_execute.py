"""From the plan's limits to the numbers of one run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.cli.belts import check_changes
from orchestrator.cli.bounds import (
    AUTO_WORKERS,
    chosen_targets,
    failure_budget,
    run_settings,
)
from orchestrator.cli.execute import new_run_id
from orchestrator.cli.options import Options
from orchestrator.clock import SystemClock
from orchestrator.engine.result import RunSettings
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import ExitCode, InputError, PlanError, SafetyError, UsageError
from orchestrator.model import AppId, RunId
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.schema import Plan
from orchestrator.plan.targets import resolve

ORG = "https://acme.okta.com"
RUN = RunId("r")


class TurnedClock(SystemClock):
    """A wall clock that shows what the test says."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def wall(self) -> datetime:
        return self.now


def app(number: int) -> AppId:
    return AppId(f"0oa{number:017d}")


def text_of(targets: Sequence[int] = (1,), limits: str = "{}", more: str = "") -> str:
    """Return a plan with a job for each number of targets; `more` goes into each job."""
    numbers = iter(range(1, sum(targets) + 1))
    text = f"version: 1\nname: finance\nlimits: {limits}\njobs:\n"
    for index, size in enumerate(targets):
        apps = ", ".join(app(next(numbers)) for _ in range(size))
        text += f"  - name: job{index}\n    targets: [{apps}]\n{more}"
        text += f"    source: {{app: {app(0)}, key: {'k' * 43}}}\n"
    return text


def plan_of(targets: Sequence[int] = (1,), limits: str = "{}") -> Plan:
    text = text_of(targets, limits)
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


def settings_of(plan: Plan, pending: int | None = None, **options: Any) -> RunSettings:
    """Return the settings for the plan, of which so many targets are still to do."""
    jobs = jobs_of(plan)
    due = sum(job.size for job in jobs) if pending is None else pending
    return run_settings(plan, jobs, run_id=RUN, org=ORG, pending=due, **options)


def settled(
    targets: Sequence[int] = (1,),
    limits: str = "{}",
    pending: int | None = None,
    **options: bool,
) -> RunSettings:
    return settings_of(plan_of(targets, limits), pending, **options)


def jobs_of(plan: Plan) -> Sequence[ResolvedJob]:
    return resolve(plan)


@pytest.mark.parametrize(
    ("budget", "targets", "failures"),
    [
        (None, 100, None),
        (1, 100, 1),
        (5, 100, 5),
        (500, 100, 500),
        (5, 0, 5),
        (0.05, 100, 5),
        (0.05, 101, 6),
        (0.05, 20, 1),
        (0.05, 21, 2),
        (0.05, 1, 1),
        (0.05, 0, 1),
        (1.0, 7, 7),
        (0.07, 100, 7),
        (0.29, 100, 29),
        (0.01, 100_000, 1000),
        (0.01, 100_001, 1001),
    ],
)
def test_the_failure_budget_is_a_number_or_a_share_rounded_up(
    budget: float | None, targets: int, failures: int | None
) -> None:
    assert failure_budget(budget, targets) == failures


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_share_of_a_hundred_targets_is_its_percentage(percent: int) -> None:
    """Binary fractions must not add a failure: 0.07 * 100 is a little more than 7."""
    assert failure_budget(percent / 100, 100) == percent


@pytest.mark.parametrize(
    ("workers", "targets", "used"),
    [
        ("auto", [100], AUTO_WORKERS),
        ("auto", [2, 1], 3),
        ("1", [100], 1),
        ("4", [100], 4),
        ("4", [2], 2),
        ("4", [2, 1], 3),
    ],
)
def test_there_are_never_more_workers_than_targets(
    workers: str, targets: list[int], used: int
) -> None:
    assert settled(targets, f"{{workers: {workers}}}").workers == used


def test_a_plan_whose_targets_are_all_left_out_still_has_a_worker() -> None:
    text = f"""
        version: 1
        name: empty
        jobs:
          - name: job
            source: {{app: {app(0)}, key: {"k" * 43}}}
            targets: [{app(1)}]
            exclude: [{app(1)}]
    """
    plan = load_plan_text(text.encode(), file="plan.yaml", folder=Path())
    assert settings_of(plan).workers == 1


def test_what_is_done_needs_no_worker_but_counts_for_the_failure_budget() -> None:
    given = settled([100], "{stop_after_failures: 10%}", pending=3)
    assert (given.workers, given.stop_after_failures) == (3, 10)


@pytest.mark.parametrize(("activate", "used"), [("", 1), ("    activate: {}\n", 10)])
def test_what_is_staged_may_still_have_to_be_activated(activate: str, used: int) -> None:
    plan = load_plan_text(
        text_of([100], "{workers: 10}", activate).encode(), file="plan.yaml", folder=Path()
    )
    assert settings_of(plan, pending=0).workers == used


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_dry_run_runs_no_hooks(dry_run: bool) -> None:
    hooks = "hooks: [{on: target_staged, run: [./upload.sh]}]\n"
    plan = load_plan_text((text_of() + hooks).encode(), file="plan.yaml", folder=Path())
    assert bool(settings_of(plan, dry_run=dry_run).hooks) is not dry_run


def test_limits_of_the_plan_become_settings_of_the_run() -> None:
    limits = "{workers: 2, deadline: 90s, max_targets: 7, stop_after_failures: 5%}"
    given = settled([30, 31], limits)
    assert given.deadline_seconds == 90
    assert given.max_targets == 7
    assert given.stop_after_failures == 4  # 5 % of all 61 targets
    assert (given.run_id, given.plan, given.org) == (RUN, "finance", ORG)


def test_without_limits_nothing_stops_a_run() -> None:
    given = settled()
    assert given.deadline_seconds is None
    assert given.max_targets is None
    assert given.stop_after_failures is None


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("dry_run", [False, True])
def test_options_become_settings_of_the_run(dry_run: bool, quick: bool, waits: bool) -> None:
    given = settled(dry_run=dry_run, quick=quick, waits=waits)
    assert (given.dry_run, given.quick, given.waits) == (dry_run, quick, waits)


@pytest.mark.parametrize(
    ("targets", "most", "refused"),
    [([5], 5, False), ([6], 5, True), ([3, 3], 5, True), ([2, 3], 5, False), ([6], None, False)],
)
def test_the_belt_counts_the_targets_of_all_jobs(
    targets: list[int], most: int | None, refused: bool
) -> None:
    plan = plan_of(targets, f"{{max_changes: {most}}}" if most else "{}")
    if not refused:
        check_changes(plan.limits, jobs_of(plan))
        return
    with pytest.raises(SafetyError, match=f"{sum(targets)} targets.* allows {most} ") as caught:
        check_changes(plan.limits, jobs_of(plan))
    assert caught.value.exit_code is ExitCode.SAFETY


def test_a_percentage_is_of_what_signs_in_the_org() -> None:
    plan = plan_of([3], "{max_changes: 30%}")
    check_changes(plan.limits, jobs_of(plan), 10)
    check_changes(plan.limits, jobs_of(plan))  # nobody counted
    with pytest.raises(SafetyError, match=r"3 targets.* allows 30% of 9 changes"):
        check_changes(plan.limits, jobs_of(plan), 9)


def moments() -> Iterator[datetime]:
    start = datetime(2026, 9, 30, 23, 59, 58, tzinfo=UTC)
    for step in (0, 1, 2, 3600, 86_400, 40_000_000):
        yield start + timedelta(seconds=step)


def test_run_ids_sort_by_time() -> None:
    random = Random(1)
    ids = [new_run_id(TurnedClock(moment), random) for moment in moments()]
    assert sorted(ids) == ids
    assert ids[0].startswith("20260930T235958Z-")


def test_run_ids_are_safe_names_of_files() -> None:
    clock, random = TurnedClock(datetime(2026, 10, 1, tzinfo=UTC)), Random(1)
    ids = {new_run_id(clock, random) for _ in range(500)}
    assert len(ids) == 500  # of the same second
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", each) for each in ids)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("sandbox", [False, True])
def test_only_what_changes_a_real_org_is_remembered(dry_run: bool, sandbox: bool) -> None:
    options = Options(plan=Path("plan.yaml"), dry_run=dry_run, sandbox=sandbox)
    assert options.is_durable is (not dry_run and not sandbox)


def choose(folder: Path, text: str, targets: Sequence[int] = (3,)) -> frozenset[AppId] | None:
    """Restrict a plan to the targets that a file lists."""
    path = folder / "some.csv"
    path.write_text(text)
    return chosen_targets(f"@{path}", jobs_of(plan_of(targets)))


def test_all_targets_are_chosen_unless_a_file_says_otherwise() -> None:
    assert chosen_targets(None, jobs_of(plan_of())) is None


@pytest.mark.parametrize("header", ["app_id", "job,app_id", "app_id,job,reason,detail"])
def test_a_file_chooses_targets_of_any_job(tmp_path: Path, header: str) -> None:
    names = header.split(",")
    rows = [
        ",".join(app(number) if name == "app_id" else "x" for name in names) for number in (3, 1, 3)
    ]
    chosen = choose(tmp_path, "\n".join([header, *rows]), targets=[2, 2])
    assert chosen == frozenset({app(1), app(3)})


def test_the_file_is_marked_as_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--targets @failed\.csv"):
        chosen_targets(str(tmp_path / "some.csv"), jobs_of(plan_of()))


@pytest.mark.parametrize("strangers", [[9], [0], [9, 8]], ids=["stranger", "source", "two"])
def test_apps_that_are_no_targets_are_refused(tmp_path: Path, strangers: list[int]) -> None:
    text = "\n".join(["app_id", app(1), *map(app, strangers)])
    with pytest.raises(UsageError, match=f"lists {len(strangers)} app.*{app(min(strangers))}"):
        choose(tmp_path, text)


@pytest.mark.parametrize("text", ["", "id\n0oa1\n", "app_id\n../x\n"], ids=["empty", "id", "path"])
def test_a_file_that_is_no_list_of_apps_is_refused_with_its_place(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(PlanError) as caught:
        choose(tmp_path, text)
    assert f"{tmp_path / 'some.csv'}:" in caught.value.diagnostics()
    assert isinstance(caught.value, InputError)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        chosen_targets(f"@{tmp_path}/none.csv", jobs_of(plan_of()))
    assert "none.csv" in caught.value.diagnostics()
