"""Jobs of identity providers: as those of apps, by the endpoints and in the bucket of IdPs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import (
    ActivationState,
    AppId,
    KeyKind,
    KeySpec,
    Proof,
    Reason,
    Resource,
    Status,
    StopCause,
    Verify,
)
from orchestrator.rollout import Gate, Inactive, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from tests.engine.rollout_stage import RolloutStage

S = ActivationState
IDP = "/api/v1/idps/{idpId}"


def stage_of_idps(**given: Any) -> RolloutStage:
    return RolloutStage(resource=Resource.IDP, **given)


def but_for_the_key(document: Any) -> Any:
    document = deepcopy(document)
    del document["lastUpdated"], document["_links"]
    del document["protocol"]["credentials"]["signing"]
    return document


async def test_a_key_is_cloned_activated_confirmed_and_taken_back() -> None:
    stage = stage_of_idps()
    targets = stage.holders(5)
    former, before = stage.kids_of(targets), {app: stage.document(app) for app in targets}
    job = stage.job(targets, Rollout(waves=(2, 1.0)), verify=Verify.READ_BACK)
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.DONE
    assert result.counts[Status.CLONED] == 5
    assert stage.active() == set(targets)
    assert {(each.state, each.proof) for each in stage.activations().values()} == {
        (S.VERIFIED, Proof.LIST)
    }
    assert {call.template for call in stage.org.log} == {
        "/.well-known/okta-organization",
        "/api/v1/idps",
        IDP,
        f"{IDP}/credentials/keys/{{kid}}",
        f"{IDP}/credentials/keys/{{kid}}/clone",
    }
    assert len(stage.calls("GET", "/api/v1/idps")) == 2
    await stage.roll_back()
    assert stage.kids_of(targets) == former
    for app in targets:
        assert but_for_the_key(stage.document(app)) == but_for_the_key(before[app])
    assert stage.org.collateral_changes() == 0


async def test_a_new_key_is_generated_once() -> None:
    stage = stage_of_idps(faults=[Fault(kind="drop", when="after", on="generate_idp_key")])
    targets = stage.holders(3)
    wanted = KeySpec(kind=KeyKind.GENERATE, validity_years=4)
    result = await stage.finish(stage.job(targets, wanted=wanted))
    assert exit_code(result) is ExitCode.DONE
    [job] = result.jobs
    stage.key = job.key
    assert job.key.resource is Resource.IDP
    assert stage.active() == set(targets)
    assert len([call for call in stage.calls("POST", "/generate") if call.effect]) == 1


async def test_every_idp_may_have_a_key_of_its_own() -> None:
    stage = stage_of_idps()
    targets = stage.holders(3)
    wanted = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2)
    result = await stage.finish(stage.job(targets, wanted=wanted, verify=Verify.READ_BACK))
    kids = {outcome.target.app: outcome.key.kid for outcome in result.outcomes}
    assert stage.kids_of(targets) == kids
    assert len(set(kids.values())) == 3


@pytest.mark.parametrize("kind", ["OIDC", "GOOGLE", "APPLE", "X509"])
async def test_only_saml_has_a_key_to_sign_with(kind: str) -> None:
    stage = stage_of_idps()
    targets = stage.holders(1, kind=kind) + stage.holders(1)
    result = await stage.finish(stage.job(targets, Rollout(stop_after_failures=2)))
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.signers() == {targets[1]}
    failed = stage.activations()[targets[0]]
    assert (failed.state, failed.reason, failed.retryable) == (S.FAILED, Reason.NOT_SIGNING, False)
    assert kind in failed.detail
    assert [call.app for call in stage.puts()] == [targets[1]]


async def test_objects_with_more_than_we_know_come_back_but_for_the_key() -> None:
    stage = stage_of_idps()
    odd = stage.document(stage.holders(1)[0]) | {
        "id": stage.org.new_id("0oa"),
        "unknown": {"of": [None, {}, 12345678901234567890, 0.1]},
        "policy": {"subject": {"filter": "", "format": []}, "maxClockSkew": 120000, "new": None},
        "properties": {"aalValue": "ümläut \u2028 😀", "additionalAmr": None},
    }
    odd["protocol"]["credentials"]["signing"]["rotationMode"] = "MANUAL"
    target = AppId(stage.org.add_idp(document=odd).id)
    await stage.finish(stage.job([target]))
    assert stage.active() == {target}
    assert but_for_the_key(stage.document(target)) == but_for_the_key(odd)
    signing = stage.document(target)["protocol"]["credentials"]["signing"]
    assert signing == {"kid": stage.key.kid, "rotationMode": "MANUAL"}
    assert stage.org.collateral_changes() == 0


async def test_inactive_ones_are_a_choice_too() -> None:
    stage = stage_of_idps()
    targets = stage.holders(1, status="INACTIVE") + stage.holders(1)
    await stage.finish(stage.job(targets))
    assert stage.signers() == {targets[1]}
    other = stage_of_idps()
    targets = other.holders(1, status="INACTIVE")
    await other.finish(other.job(targets, Rollout(inactive=Inactive.ACTIVATE)))
    assert other.active() == set(targets)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="drop", when="before", on="update_idp", times=1),
        Fault(kind="drop", when="after", on="update_idp", times=1),
        Fault(kind="error", status=500, when="after", on="update_idp", times=1),
        Fault(kind="truncate", on="update_idp", times=1),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.when}",
)
async def test_lost_answers_are_settled_by_a_read(fault: Fault) -> None:
    stage = stage_of_idps(faults=[fault])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    await stage.finish(stage.job([target]))
    assert stage.active() == {target}
    assert stage.written() == [target]
    assert stage.activations()[target].previous_kid == former


async def test_collateral_is_put_back_and_stops_everything() -> None:
    stage = stage_of_idps(faults=[Fault(kind="collateral", on="update_idp", times=1)])
    targets = stage.holders(2)
    before = stage.document(targets[0])
    result = await stage.finish(stage.job(targets), workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    assert result.stop is not None
    assert result.stop.cause is StopCause.COLLATERAL
    assert stage.signers() == set()
    assert but_for_the_key(stage.document(targets[0])) == but_for_the_key(before)
    assert stage.activations()[targets[0]].changes == ("policy.maxClockSkew",)


async def test_a_key_that_is_taken_back_behind_us_is_found_by_the_list() -> None:
    stage = stage_of_idps()
    targets = stage.holders(2)
    former = stage.kids_of(targets)
    stage.faults = [
        Fault(kind="edit", edit="revert", on="update_idp", when="after", targets=(targets[0],))
    ]
    await stage.finish(stage.job(targets, verify=Verify.READ_BACK))
    drifted = stage.activations()[targets[0]]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert stage.kid_of(targets[0]) == former[targets[0]]
    assert stage.active() == {targets[1]}


async def test_a_preview_sees_what_has_changed_since() -> None:
    stage = stage_of_idps()
    targets = stage.holders(2)
    job = stage.job(targets, Rollout(stop_after_failures=2, gate=Gate()))
    await stage.preview(job)
    third = stage.sign_with(targets[0])
    await stage.finish(job)
    assert stage.activations()[targets[0]].reason is Reason.DRIFT
    assert stage.kid_of(targets[0]) == third
    assert stage.active() == {targets[1]}


async def test_reads_and_writes_share_one_small_bucket_without_a_deadlock() -> None:
    stage = stage_of_idps(limits=LimitSettings(org_limits={"v1": 24}, window_seconds=10.0))
    targets = stage.holders(10)
    result = await stage.finish(stage.job(targets, verify=Verify.READ_BACK), workers=10)
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    assert [call for call in stage.org.log if call.status == 429] == []
