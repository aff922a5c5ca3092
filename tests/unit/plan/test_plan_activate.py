"""What a plan says about activation and commands, and what the engine gets of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError

from orchestrator.model import Verify
from orchestrator.plan.commands import read_variable
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.moments import days_of, is_zone, read_after, read_blackout, read_window
from orchestrator.plan.schema import Plan
from orchestrator.plan.settings import hook_commands, job_settings
from orchestrator.rollout import (
    Blackout,
    Gate,
    HookCommand,
    HookMoment,
    Inactive,
    JobSettings,
    Rollout,
    Window,
)

JOB = """\
version: 1
name: plan
jobs:
  - name: one
    source: {app: 0oa8ae1t5yev2ajDs0h7, key: newest}
    targets: [0oa8ae0dv4RGQvjyZ0h7]
"""
FOLDER = Path("/plans")


def load(more: str = "", folder: Path = FOLDER) -> Plan:
    return load_plan_text(f"{JOB}{more}".encode(), file="plan.yaml", folder=folder)


def settings_of(more: str, folder: Path = FOLDER) -> JobSettings:
    return job_settings(load(more, folder).jobs[0], folder)


def rollout_of(more: str) -> Rollout:
    rollout = settings_of(f"    activate: {{{more}}}\n").rollout
    assert rollout is not None
    return rollout


def gate_of(more: str) -> Gate:
    return rollout_of(f"gate: {{{more}}}").gate


def test_a_job_that_says_nothing_only_stages() -> None:
    assert settings_of("") == JobSettings()


def test_an_empty_activate_has_all_defaults() -> None:
    assert rollout_of("") == Rollout()


def test_all_of_a_rollout() -> None:
    rollout = rollout_of(
        "waves: [1, 10%, 100%], pause: 10m, stop_after_failures: 5%, inactive: activate"
    )
    assert rollout == Rollout(
        waves=(1, 0.1, 1.0),
        pause_seconds=600.0,
        stop_after_failures=0.05,
        inactive=Inactive.ACTIVATE,
    )
    assert [type(size) for size in rollout.waves] == [int, float, float]
    assert type(rollout.stop_after_failures) is float


def test_what_a_job_says_besides() -> None:
    settings = settings_of("    verify: metadata\n    allow_oidc: true\n    cross_check: false\n")
    assert settings == JobSettings(verify=Verify.METADATA, allow_oidc=True, cross_check=False)


def test_nothing_of_idps_is_held_against_the_log() -> None:
    idps = JOB.replace("app:", "idp:") + "    resource: idp\n"
    plan = load_plan_text(idps.encode(), file="plan.yaml", folder=FOLDER)
    assert not job_settings(plan.jobs[0], FOLDER).cross_check


def test_an_empty_gate_is_open() -> None:
    assert gate_of("") == Gate()


def test_people_or_a_command_acknowledge() -> None:
    assert gate_of("acknowledged: true, approval: each_wave") == Gate(
        acknowledged=True, approval=True
    )
    gate = gate_of("acknowledged: {run: [./ready.sh, -q], timeout: 5s, env: [OKTA_API_TOKEN]}")
    command = HookCommand(argv=("/plans/ready.sh", "-q"), timeout=5.0, env=("OKTA_API_TOKEN",))
    assert gate == Gate(acknowledged=True, acknowledge_by=command)


@pytest.mark.parametrize(
    ("written", "seconds", "moment"),
    [
        ("14d", 1209600.0, None),
        ("731d", 63158400.0, None),
        ("2026-12-01", None, datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T02:00:00+01:00", None, datetime(2026, 12, 1, 1, tzinfo=UTC)),
        ("2026-12-01T02:00Z", None, datetime(2026, 12, 1, 2, tzinfo=UTC)),
        ("'2026-12-01 02:00:07-05:30'", None, datetime(2026, 12, 1, 7, 30, 7, tzinfo=UTC)),
    ],
)
def test_after(written: str, seconds: float | None, moment: datetime | None) -> None:
    assert gate_of(f"after: {written}") == Gate(after_seconds=seconds, not_before=moment)


def test_windows_and_blackouts_in_the_zone_of_the_first() -> None:
    gate = gate_of(
        "window: [Sat 02:00-06:00 Europe/London, daily 23:00-24:00 UTC], "
        "blackout: [2026-12-24..2027-01-02, 2026-11-27]"
    )
    assert gate.windows == (
        Window(days=frozenset({5}), start=time(2), end=time(6), zone="Europe/London"),
        Window(days=frozenset(range(7)), start=time(23), end=time(), zone="UTC"),
    )
    assert gate.blackout == (
        Blackout(first=date(2026, 12, 24), last=date(2027, 1, 2), zone="Europe/London"),
        Blackout(first=date(2026, 11, 27), last=date(2026, 11, 27), zone="Europe/London"),
    )


def test_a_blackout_without_a_window_is_in_utc() -> None:
    assert [days.zone for days in gate_of("blackout: [2026-11-27]").blackout] == ["UTC"]


def test_a_window_alone_and_in_a_list_are_the_same() -> None:
    alone, listed = (
        gate_of(f"window: {text}") for text in ("Sat 02:00-06:00 UTC", "[Sat 02:00-06:00 UTC]")
    )
    assert alone == listed


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("Mon", {0}),
        ("Sat,Sun", {5, 6}),
        ("Mon-Fri", {0, 1, 2, 3, 4}),
        ("Fri-Mon", {4, 5, 6, 0}),
        ("Wed-Wed", {2}),
        ("Mon,Wed-Thu,Sun", {0, 2, 3, 6}),
        ("daily", set(range(7))),
    ],
)
def test_days(written: str, days: set[int]) -> None:
    assert days_of(written) == days


@pytest.mark.parametrize(
    "zone", ["Europe/London", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]
)
def test_a_zone(zone: str) -> None:
    assert is_zone(zone)


@pytest.mark.parametrize(
    "zone",
    ["Europe", "Europe/", "PST", "+01:00", "../UTC", "right/UTC", "localtime", "x" * 5000, "é"],
)
def test_no_zone(zone: str) -> None:
    assert not is_zone(zone)


@pytest.mark.parametrize(
    ("read", "written"),
    [
        (read_after, ["", "0d", "732d", "14", "14 d", "tomorrow", "01.12.2026", "2026-13-01"]),
        (read_after, ["2026-02-29", "1999-12-01", "2026-12-01T02:00", "2026-12-01T25:00Z"]),
        (read_after, ["2026-02-29T02:00Z", "2026-12-01T02:00:00+01", True, None, []]),
        (read_after, [datetime(2026, 12, 1), 0.0, float("nan")]),  # noqa: DTZ001 - that is the test
        (read_blackout, ["", "2026-12", "2026-12-24..", "..2026-12-24", "2026-12-24-2026-12-25"]),
        (read_blackout, ["2026-12-25..2026-12-24", "2026-06-31", "24.12.2026", None, {}]),
        (read_window, ["", "Sat", "02:00-06:00", "Sat 02:00-06:00", "Sat 02:00-06:00 UTC now"]),
        (read_window, ["sat 02:00-06:00 UTC", "Sat, Sun 02:00-06:00 UTC", "Sat- 02:00-06:00 UTC"]),
        (read_window, ["Sat 2:00-6:00 UTC", "Sat 02:00-24:30 UTC", "Sat 24:00-02:00 UTC", None]),
        (read_window, ["Sat 02:00 UTC", "Sat 02:00-06:00 Mars/Base", "Sat 02:00-06:00 Europe", []]),
        (read_variable, ["", "1A", "A=b", "A B", "$A", "A\n", None, {}]),
    ],
)
def test_refused(read: Callable[[object], object], written: list[object]) -> None:
    for value in written:
        with pytest.raises(PydanticCustomError) as caught:
            read(value)
        assert str(caught.value)


def test_hooks_by_moment_in_order() -> None:
    plan = load(
        "hooks:\n"
        "  - {on: target_staged, run: [./first.sh]}\n"
        "  - {on: run_failed, run: [mail, -s, failed], timeout: 2m}\n"
        "  - {on: target_staged, run: [second], env: [PORTAL_TOKEN]}\n"
    )
    assert hook_commands(plan) == {
        HookMoment.TARGET_STAGED: (
            HookCommand(argv=("/plans/first.sh",)),
            HookCommand(argv=("second",), env=("PORTAL_TOKEN",)),
        ),
        HookMoment.RUN_FAILED: (HookCommand(argv=("mail", "-s", "failed"), timeout=120.0),),
    }


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("./a.sh", "/plans/a.sh"),
        ("bin/a.sh", "/plans/bin/a.sh"),
        ("/usr/bin/true", "/usr/bin/true"),
        ("true", "true"),
        ("../a.sh", "/plans/../a.sh"),
    ],
)
def test_where_a_program_is(program: str, found: str) -> None:
    [command] = hook_commands(load(f"hooks: [{{on: run_failed, run: [{program}, ./x]}}]\n"))[
        HookMoment.RUN_FAILED
    ]
    assert command.argv == (found, "./x")


def test_a_program_beside_a_plan_in_the_working_directory_is_not_looked_for_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = load("hooks: [{on: run_failed, run: [./a.sh]}]\n", folder=Path())
    [command] = hook_commands(plan)[HookMoment.RUN_FAILED]
    assert command.argv == (str(tmp_path / "a.sh"),)


def test_no_hooks_and_no_handoff() -> None:
    plan = load()
    assert hook_commands(plan) == {}
    assert plan.report.handoff is None
    assert load("report: {handoff: metadata}\n").report.handoff == "metadata"
