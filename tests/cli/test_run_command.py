"""`run` and `preview` as a user meets them."""

from __future__ import annotations

import csv
import json
import signal
import sys
from pathlib import Path
from textwrap import dedent

import anyio
import pytest

from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from tests.cli.forked import okta_keys_forked
from tests.cli.program import QUICKSTART, ROOT, TOKEN, environment, okta_keys, rest_of, started
from tests.cli.site import report_in, served, until


async def test_the_demo_proves_every_target(tmp_path: Path) -> None:
    ended = await okta_keys("run", QUICKSTART, "--sandbox", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out == ""
    report = report_in(tmp_path / "reports")
    rows = report["targets"]
    assert isinstance(rows, list)
    assert len(rows) == 12
    for row in rows:
        assert row["status"] == "cloned"
        assert row["proof"] == "response"
        assert row["location_app_id"] == row["app_id"]
        assert row["thumbprint"] == report["jobs"][0]["certificate"]["thumbprint"]
        assert row["app_id"] in ended.err
    assert "12 cloned" in ended.err


async def test_the_csv_report_has_the_same_rows_and_the_tags(tmp_path: Path) -> None:
    ended = await okta_keys_forked("run", ROOT / "plans/from-csv.yaml", "--sandbox", cwd=tmp_path)
    assert ended.code == 0, ended.err
    report = report_in(tmp_path / "reports")
    [path] = (tmp_path / "reports").glob("*.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["app_id"] for row in rows] == [row["app_id"] for row in report["targets"]]
    assert all("owner=" in row["tags"] for row in rows)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_preview_writes_nothing_and_says_what_it_costs(tmp_path: Path) -> None:
    async with served(limits=LimitSettings()) as (org, env):
        ended = await okta_keys_forked("preview", QUICKSTART, env=env, cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert {call.method for call in org.log} == {"GET"}
    report = report_in(tmp_path / "reports")
    assert report["dry_run"] is True
    assert {row["status"] for row in report["targets"]} == {"planned"}
    assert all(row["dry_run"] is True for row in report["targets"])
    forecast = report["forecast"]
    assert isinstance(forecast, dict)
    assert forecast["buckets"][0]["calls"] == 13
    assert forecast["buckets"][0]["limit_per_window"] == 50
    assert list(forecast["sharing"].values()) == [13]
    assert "DRY RUN" in ended.err
    assert "13 apps will share" in ended.err


async def test_preview_promises_what_run_does(tmp_path: Path) -> None:
    async with served() as (org, env):
        [job] = resolve(load_plan(QUICKSTART))
        apps = [target.app for target in job.stream()]
        org.add_key(apps[0], job.key.kid)
        org.remove_app(apps[1])
        await okta_keys_forked("preview", QUICKSTART, "--report-dir", "a", env=env, cwd=tmp_path)
        await okta_keys_forked("run", QUICKSTART, "--report-dir", "b", env=env, cwd=tmp_path)
    promised, done = report_in(tmp_path / "a"), report_in(tmp_path / "b")
    pairs = zip(promised["targets"], done["targets"], strict=True)
    for before, after in pairs:
        assert before["app_id"] == after["app_id"]
        assert before["status"].replace("planned", "cloned") == after["status"]
        assert before["reason"] == after["reason"]


async def test_a_quick_preview_reads_no_target(tmp_path: Path) -> None:
    async with served() as (org, env):
        await okta_keys_forked("preview", QUICKSTART, "--quick", env=env, cwd=tmp_path)
        assert len(org.log) == 2  # the source key, and who signs with it


async def test_a_second_run_changes_nothing_and_quiet_says_nothing(tmp_path: Path) -> None:
    async with served() as (_, env):
        first = await okta_keys_forked("run", QUICKSTART, "--quiet", env=env, cwd=tmp_path)
        again = await okta_keys_forked("run", QUICKSTART, "--quiet", env=env, cwd=tmp_path)
    assert (first.code, again.code) == (0, 0)
    assert "12 cloned" in first.err
    assert again.err == again.out == ""


async def test_detailed_exit_codes_tell_changes_from_none(tmp_path: Path) -> None:
    async with served() as (_, env):
        ended = [
            await okta_keys_forked(verb, QUICKSTART, "--detailed-exitcode", env=env, cwd=tmp_path)
            for verb in ("preview", "run", "run", "preview")
        ]
    assert [each.code for each in ended] == [2, 2, 0, 0]


async def test_failures_make_exit_code_3_and_are_shown(tmp_path: Path) -> None:
    [job] = resolve(load_plan(QUICKSTART))
    unlucky = next(job.stream()).app
    async with served(Fault(kind="reject", on="clone", targets=(unlucky,))) as (_, env):
        ended = await okta_keys_forked("run", QUICKSTART, env=env, cwd=tmp_path)
    assert ended.code == 3
    assert "11 cloned, 1 failed" in ended.err
    assert unlucky in ended.err


async def test_json_on_stdout_is_the_report(tmp_path: Path) -> None:
    ended = await okta_keys_forked("run", QUICKSTART, "--sandbox", "--output", "json", cwd=tmp_path)
    assert json.loads(ended.out) == report_in(tmp_path / "reports")


async def test_every_ndjson_line_says_what_it_is(tmp_path: Path) -> None:
    ended = await okta_keys_forked(
        "preview", QUICKSTART, "--sandbox", "--output", "ndjson", cwd=tmp_path
    )
    lines = [json.loads(line) for line in ended.out.splitlines()]
    types = [line["type"] for line in lines if line["type"] != "caution"]
    assert types == ["plan", "source", *["target"] * 12, "summary"]
    assert len({line["run_id"] for line in lines}) == 1
    assert all(line["dry_run"] is True and line["schema_version"] == "1.2" for line in lines)
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert lines[-1]["exit_code"] == 0


async def test_a_fatal_error_is_the_last_ndjson_line(tmp_path: Path) -> None:
    ended = await okta_keys_forked("run", QUICKSTART, "--output", "ndjson", cwd=tmp_path)
    assert ended.code == 4
    last = json.loads(ended.out.splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("exit_error", 4)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "OKTA_CLIENT_ORGURL"),
        ({"OKTA_CLIENT_ORGURL": "https://acme.okta.com"}, "OKTA_CLIENT_TOKEN is not set"),
        ({"OKTA_CLIENT_ORGURL": "http://acme.okta.com", "OKTA_CLIENT_TOKEN": TOKEN}, "http"),
        (
            {"OKTA_CLIENT_ORGURL": "https://acme-admin.okta.com", "OKTA_CLIENT_TOKEN": TOKEN},
            "admin",
        ),
        (
            {
                "OKTA_CLIENT_ORGURL": "https://acme.okta.com",
                "OKTA_CLIENT_TOKEN": TOKEN,
                "OKTA_CLIENT_REQUESTTIMEOUT": "soon",
            },
            "OKTA_CLIENT_REQUESTTIMEOUT",
        ),
    ],
)
async def test_settings_that_cannot_work_are_named(
    env: dict[str, str], said: str, tmp_path: Path
) -> None:
    ended = await okta_keys_forked("run", QUICKSTART, env=env, cwd=tmp_path)
    assert ended.code == 4
    assert said in ended.err
    assert TOKEN not in ended.err
    assert "Traceback" not in ended.err


async def test_a_refused_token_is_exit_code_5_with_a_report(tmp_path: Path) -> None:
    async with served() as (org, env):
        env |= {"OKTA_CLIENT_TOKEN": TOKEN}
        ended = await okta_keys_forked("run", QUICKSTART, env=env, cwd=tmp_path)
        assert len(org.log) == 1
    assert ended.code == 5
    assert "does not accept the API token" in ended.err
    assert report_in(tmp_path / "reports")["exit_code"] == 5


async def test_no_secret_anywhere_in_a_debug_run(tmp_path: Path) -> None:
    async with served(
        Fault(kind="error", on="clone", status=500, times=2),
        Fault(kind="drop", on="clone", when="after", times=2),
    ) as (org, env):
        ended = await okta_keys_forked(
            "run", QUICKSTART, "--verbose", "--output", "ndjson", env=env, cwd=tmp_path
        )
        refused = await okta_keys_forked(
            "run", QUICKSTART, "--verbose", env=env | {"OKTA_CLIENT_TOKEN": TOKEN}, cwd=tmp_path
        )
        secrets = (org.token, TOKEN)
    assert "DEBUG" in ended.err, "the log was not on"
    texts = [ended.out, ended.err, refused.out, refused.err]
    texts += [path.read_text() for path in (tmp_path / "reports").iterdir()]
    for secret in secrets:
        assert not [text for text in texts if secret in text]
    assert "SSWS" not in "".join(texts)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
async def test_a_signal_drains_and_writes_the_report(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    slow = LimitSettings(window_seconds=10.0, org_limits={"apps": 20})
    async with served(limits=slow) as (org, env):
        async with started("run", QUICKSTART, env=env, cwd=tmp_path) as process:
            await until(lambda: len(org.log) >= 2)
            process.send_signal(number)
            ended = await rest_of(process)
        cloned = sum(call.effect for call in org.log)
    assert ended.code == code, ended.err
    report = report_in(tmp_path / "reports")
    assert report["stop"] is not None
    assert report["summary"]["cloned"] == cloned
    assert report["summary"]["skipped"] == 12 - cloned


async def test_a_second_ctrl_c_does_not_wait_for_a_hanging_call(tmp_path: Path) -> None:
    async with (
        served(Fault(kind="stall", on="clone", seconds=600)) as (org, env),
        started("run", QUICKSTART, env=env, cwd=tmp_path) as process,
    ):
        await until(lambda: len(org.log) >= 1)
        await anyio.sleep(0.5)
        process.send_signal(signal.SIGINT)
        await anyio.sleep(0.5)
        assert process.returncode is None, "the first signal waits for calls in flight"
        process.send_signal(signal.SIGINT)
        ended = await rest_of(process)
    assert ended.code == 130, ended.err
    report = report_in(tmp_path / "reports")
    reasons = {row["reason"] for row in report["targets"]}
    assert "interrupted" in reasons
    assert reasons <= {"interrupted", "not_reached"}


async def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    async with served() as (org, env):
        line = f"{sys.executable} -m orchestrator run {QUICKSTART} --output ndjson | head -n 1"
        done = await anyio.run_process(line, env=environment(env), cwd=tmp_path, check=False)
        assert b'"plan"' in done.stdout
        assert sum(call.effect for call in org.log) == 12
    assert report_in(tmp_path / "reports")["summary"]["cloned"] == 12
    assert b"Traceback" not in done.stderr


async def test_max_changes_refuses_before_any_call(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(QUICKSTART.read_text() + "\nlimits: {max_changes: 5}\n")
    async with served() as (org, env):
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
        assert org.log == []
    assert ended.code == 6
    assert "12 targets" in ended.err


async def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    ended = await okta_keys_forked("run", QUICKSTART, "--sandbox", cwd=tmp_path)
    assert ended.code == 1
    assert "report cannot be written" in ended.err


async def test_a_narrow_terminal_keeps_ids_whole(tmp_path: Path) -> None:
    env = {"COLUMNS": "50"}
    ended = await okta_keys_forked("run", QUICKSTART, "--sandbox", env=env, cwd=tmp_path)
    report = report_in(tmp_path / "reports")
    assert all(row["app_id"] in ended.err for row in report["targets"])


async def test_wrong_plans_exit_with_4_and_their_place(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        dedent("""\
            version: 1
            name: x
            jobs:
              - name: a
                source: {app: 0oa8ae1t5yev2ajDs0h7, key: newst}
                targts: []
            """)
    )
    ended = await okta_keys_forked("run", plan, "--sandbox", cwd=tmp_path)
    assert ended.code == 4
    assert f"{plan}:5:" in ended.err
    assert f"{plan}:6:" in ended.err
    assert "did you mean `targets`" in ended.err
    assert not (tmp_path / "reports").exists()
