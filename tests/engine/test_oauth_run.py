"""Whole rotations as a service app, whose tokens are revoked under its hands."""

from __future__ import annotations

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import StopCause
from orchestrator.sandbox.org import LoggedCall
from tests.engine.rollout_stage import RolloutStage
from tests.unit.okta.service_site import credential, enrolled

TOKEN = "/oauth2/v1/token"


def stage_of(*, dpop: bool = False, has_role: bool = True) -> RolloutStage:
    stage = RolloutStage(credential=credential())
    enrolled(stage.org, requires_dpop=dpop, has_role=has_role)
    return stage


@pytest.mark.parametrize("dpop", [False, True])
@pytest.mark.parametrize("every", [2, 3])
async def test_a_rotation_outlives_the_revocation_of_its_tokens(dpop: bool, every: int) -> None:
    stage = stage_of(dpop=dpop)
    targets = stage.holders(8)
    former = stage.kids_of(targets)
    calls = 0

    def revoke(call: LoggedCall) -> None:
        nonlocal calls
        if call.template != TOKEN and call.status < 400:
            calls += 1
            if calls % every == 0:
                stage.org.revoke_tokens()

    stage.watch(revoke)
    result = await stage.finish(stage.job(targets), workers=1)
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    assert sorted(stage.written()) == sorted(targets), "each once"
    await stage.roll_back(workers=1)
    assert stage.kids_of(targets) == former
    assert stage.org.collateral_changes() == 0
    refused = [call for call in stage.org.log if call.status == 401]
    assert refused
    assert all(call.template != TOKEN for call in refused)


async def test_a_service_app_that_is_removed_ends_the_run() -> None:
    stage = stage_of()
    targets = stage.holders(8)

    def remove(call: LoggedCall) -> None:
        if call.effect:
            stage.org.service_apps.clear()
            stage.org.revoke_tokens()

    stage.watch(remove)
    result = await stage.finish(stage.job(targets))
    assert exit_code(result) is ExitCode.ACCESS
    assert result.stop is not None
    assert result.stop.cause is StopCause.ACCESS
    assert "gives the service app" in (result.stop.detail or "")
    fetched = [call for call in stage.org.log if call.template == TOKEN]
    assert len(fetched) <= 3
