"""What a rotation costs in calls, by the sandbox's own log: they are what is scarce."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import accumulate
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.cli.bounds import chosen_targets
from orchestrator.cli.execute import carry_out
from orchestrator.cli.options import Execution, Options
from orchestrator.cli.render import Screen
from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import Broadcast
from orchestrator.model import ActivationState, AppId, KeyKind, KeySpec, Resource, RunId, Verify
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.rollout import Rollout
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.serve import serve
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.engine.rollout_stage import MINUTE, RolloutStage

BUCKETS = {  # of each endpoint, as the sandbox counts them
    "GET /api/v1/apps": "apps",
    "GET /api/v1/apps/{appId}": "app.read",
    "PUT /api/v1/apps/{appId}": "app.write",
    "GET /api/v1/apps/{appId}/credentials/keys/{kid}": "apps",
    "POST /api/v1/apps/{appId}/credentials/keys/{kid}/clone": "apps",
    "POST /api/v1/apps/{appId}/credentials/keys/generate": "apps",
    "GET /api/v1/logs": "logs",
}
CLONE = "POST /api/v1/apps/{appId}/credentials/keys/{kid}/clone"
READ, WRITE = "GET /api/v1/apps/{appId}", "PUT /api/v1/apps/{appId}"
LIST, LOG = "GET /api/v1/apps", "GET /api/v1/logs"
SOURCE = "GET /api/v1/apps/{appId}/credentials/keys/{kid}"
ORG = "GET /.well-known/okta-organization"


def calls_in(stage: RolloutStage, since: int = 0) -> Counter[str]:
    """Count the calls by method and path template."""
    return Counter(f"{call.method} {call.template}" for call in stage.org.log[since:])


async def test_a_target_costs_one_clone_one_read_and_one_write() -> None:
    stage = RolloutStage()
    targets = stage.holders(60)
    result = await stage.finish(stage.job(targets, Rollout(waves=(1, 10, 1.0))), workers=10)
    assert exit_code(result) is ExitCode.DONE
    for template in (CLONE, READ, WRITE):
        of_each = Counter(
            call.target or call.app
            for call in stage.org.log
            if f"{call.method} {call.template}" == template
        )
        assert of_each == dict.fromkeys(targets, 1), template
    assert calls_in(stage) == {CLONE: 60, READ: 60, WRITE: 60, SOURCE: 1, LOG: 3, ORG: 1}


async def test_each_kind_of_call_is_of_its_own_bucket() -> None:
    stage = RolloutStage()
    stage.limits = type(stage.limits)(org_limits=dict.fromkeys(("apps", "logs"), 1000))
    wanted = KeySpec(kind=KeyKind.GENERATE, validity_years=2)
    job = stage.job(stage.holders(3), wanted=wanted, verify=Verify.READ_BACK)
    await stage.finish(job)
    counted = {f"{call.method} {call.template}": call.bucket for call in stage.org.log}
    assert counted == {name: BUCKETS.get(name) for name in [*BUCKETS, ORG]}


@pytest.mark.parametrize(
    "number", [1, 200, 201, *(pytest.param(each, marks=pytest.mark.long) for each in (199, 450))]
)
async def test_a_wave_is_verified_by_a_list_of_200_a_call_and_a_look_at_the_log(
    number: int,
) -> None:
    stage = RolloutStage()
    targets = stage.holders(number)
    result = await stage.finish(stage.job(targets, verify=Verify.READ_BACK), workers=20)
    assert exit_code(result) is ExitCode.DONE
    assert result.activations[ActivationState.VERIFIED] == number
    spent = calls_in(stage)
    assert (spent[LIST], spent[LOG]) == (ceil(number / 200), 1)
    assert (spent[READ], spent[WRITE]) == (number, number)


@pytest.mark.long
@pytest.mark.parametrize("waves", [(1, 0.1, 1.0), (200,), (150, 300)])
async def test_so_is_every_one_of_several_waves(waves: tuple[Any, ...]) -> None:
    stage = RolloutStage()
    targets = stage.holders(600)
    job = stage.job(targets, Rollout(waves=waves), verify=Verify.READ_BACK)
    result = await stage.finish(job, workers=20)
    assert exit_code(result) is ExitCode.DONE
    spent, sizes = calls_in(stage), stage.store.archive.waves("r", 0)
    signing = list(accumulate(counts.targets for counts in sizes))  # what the list shows
    assert spent[LIST] <= sum(ceil(number / 200) for number in signing)
    events = 2 * len(stage.puts())  # of ours: an update and a rotation each
    assert spent[LOG] <= len(sizes) * (1 + events // 1000), "of which a page holds 1000"


async def test_each_wave_of_idps_is_verified_by_one_list() -> None:
    stage = RolloutStage(resource=Resource.IDP)
    targets = stage.holders(30)
    job = stage.job(targets, Rollout(waves=(10,)), verify=Verify.READ_BACK)
    await stage.finish(job, workers=10)
    spent = calls_in(stage)
    assert spent["GET /api/v1/idps"] == 3
    assert spent["GET /api/v1/idps/{idpId}"] == spent["PUT /api/v1/idps/{idpId}"] == 30


async def test_the_way_back_costs_one_read_and_one_write() -> None:
    stage = RolloutStage()
    targets = stage.holders(20)
    await stage.finish(stage.job(targets))
    began = len(stage.org.log)
    await stage.roll_back()
    assert calls_in(stage, began) == {READ: 20, WRITE: 20}


async def test_a_target_that_cannot_be_activated_costs_no_write() -> None:
    stage = RolloutStage()
    targets = stage.holders(5, sign_on_mode="BOOKMARK") + stage.holders(5, status="INACTIVE")
    await stage.finish(stage.job(targets, Rollout(stop_after_failures=10)))
    spent = calls_in(stage)
    assert (spent[CLONE], spent[READ], spent[WRITE]) == (10, 10, 0)


# The program, from its plan to its report


PLAN = """\
version: 1
name: finance
jobs:
  - name: finance
    source: {{app: {source}, key: {kid}}}
    targets: [{targets}]
    activate:
      gate: {{{gate}}}
      waves: [{waves}]
"""


async def run_plan(stage: RolloutStage, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ExitCode:
    """Run the plan in a folder as the program does, and forget the calls of before."""
    stage.org.log.clear()
    path = folder / "plan.yaml"
    plan = load_plan(path)
    jobs = resolve(plan)
    async with serve(stage.org, limits=stage.limits, faults=FaultScript(), port=stage.port) as it:
        stage.port = int(it.url.rpartition(":")[2])
        monkeypatch.setenv("OKTA_CLIENT_ORGURL", it.url)
        monkeypatch.setenv("OKTA_CLIENT_TOKEN", stage.org.token)
        screen = Screen(quiet=True)
        return await carry_out(
            Execution(
                options=Options(
                    plan=path, state=folder / "state", report_dir=folder / "reports", quiet=True
                ),
                plan=plan,
                asked=jobs,
                jobs=jobs,
                run_id=RunId("20261124T160000Z-abcdef"),
                only=chosen_targets(None, jobs),
                clock=stage.clock,
                random=Random(1),
                screen=screen,
                stream=None,
                observer=Broadcast([screen]),
            )
        )


def write_plan(
    stage: RolloutStage,
    folder: Path,
    number: int,
    *,
    gate: str = "",
    waves: str = "1, 100%",
    pause: str = "",
) -> list[AppId]:
    targets = stage.holders(number)
    (folder / "plan.yaml").write_text(
        PLAN.format(
            source=stage.source,
            kid=stage.key.kid,
            targets=", ".join(targets),
            gate=gate,
            waves=waves,
        )
        + (f"      pause: {pause}\n" if pause else "")
    )
    return targets


async def test_a_finished_run_costs_nothing_when_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = RolloutStage()
    targets = write_plan(stage, tmp_path, 5)
    assert await run_plan(stage, tmp_path, monkeypatch) is ExitCode.DONE
    assert stage.kids_of(targets) == dict.fromkeys(targets, stage.key.kid)
    for _ in range(3):
        assert await run_plan(stage, tmp_path, monkeypatch) is ExitCode.DONE
        assert stage.org.log == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("gate", "most"),
    [
        ("after: 14d", 1),
        ("approval: each_wave", 0),
        ("acknowledged: true", 0),
        ("after: 14d, acknowledged: true, approval: each_wave", 1),
    ],
)
async def test_a_run_that_waits_costs_one_call_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: str, most: int
) -> None:
    stage = RolloutStage()
    write_plan(stage, tmp_path, 3, gate=gate)
    assert await run_plan(stage, tmp_path, monkeypatch) is ExitCode.DONE
    assert calls_in(stage)[CLONE] == 3
    with Store.open(tmp_path / "state" / FILE_NAME, clock=stage.clock) as store:
        before = store.archive.runs()
    for _ in range(3):
        assert await run_plan(stage, tmp_path, monkeypatch) is ExitCode.DONE
        assert calls_in(stage) == ({ORG: most} if most else {})
    with Store.open(tmp_path / "state" / FILE_NAME, clock=stage.clock) as store:
        assert store.archive.runs() == before, "not even an event"


async def test_each_step_of_a_run_is_taken_when_it_is_due_and_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RolloutStage()
    write_plan(stage, tmp_path, 4, gate="after: 2d", waves="1, 3", pause="1d")
    spent: list[tuple[int, int, int]] = []
    for _ in range(10):  # twice a day
        assert await run_plan(stage, tmp_path, monkeypatch) is ExitCode.DONE
        calls = calls_in(stage)
        spent.append((calls[CLONE], calls[WRITE], calls.total()))
        stage.org.advance(timedelta(hours=12).total_seconds() + MINUTE)
    quiet = (0, 0, 1)
    assert [spent[at][:2] for at in range(10)] == [
        (4, 0), (0, 0), (0, 0), (0, 0), (0, 1), (0, 0), (0, 3), (0, 0), (0, 0), (0, 0),
    ]  # fmt: skip
    assert spent[1:4] == [quiet] * 3
    assert spent[5] == quiet
    assert spent[7:] == [(0, 0, 0)] * 3
