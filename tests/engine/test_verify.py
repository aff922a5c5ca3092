"""How far a run goes to prove what it did: by the answers, by reads, by lists, by metadata."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import (
    ActivationState,
    KeyKind,
    KeySpec,
    Proof,
    Reason,
    Status,
    Verify,
)
from orchestrator.rollout import Gate, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import LoggedCall
from orchestrator.store.base import RunState
from tests.engine.rollout_stage import RolloutStage
from tests.support import by_app

S = ActivationState


def proofs(stage: RolloutStage) -> set[tuple[ActivationState, Proof | None]]:
    return {(each.state, each.proof) for each in stage.activations().values()}


async def test_by_the_answers_alone() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    result = await stage.finish(stage.job(targets, Rollout(waves=(1, 1.0))))
    assert proofs(stage) == {(S.ACTIVATED, Proof.RESPONSE)}
    assert {each.proof for each in result.outcomes} == {Proof.RESPONSE}
    assert stage.calls("GET", "/api/v1/apps") == []
    assert stage.calls("GET", "/apps/{appId}/credentials/keys/{kid}") == [
        call for call in stage.org.log if call.app == stage.source and call.method == "GET"
    ]


async def test_by_reading_back_and_listing() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    result = await stage.finish(
        stage.job(targets, Rollout(waves=(1, 1.0)), verify=Verify.READ_BACK)
    )
    assert exit_code(result) is ExitCode.DONE
    assert proofs(stage) == {(S.VERIFIED, Proof.LIST)}
    assert {each.proof for each in result.outcomes} == {Proof.READ}
    assert len(stage.calls("GET", "/api/v1/apps")) == 2, "once after each wave"
    assert result.activations[S.VERIFIED] == 4
    assert result.record.state is RunState.FINISHED


async def test_by_metadata() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    result = await stage.finish(stage.job(targets, verify=Verify.METADATA))
    assert exit_code(result) is ExitCode.DONE
    assert {each.proof for each in result.outcomes} == {Proof.METADATA}
    assert proofs(stage) == {(S.VERIFIED, Proof.LIST)}
    assert len(stage.calls("GET", "/sso/saml/metadata")) == 3


async def test_metadata_that_cannot_be_had_is_no_proof() -> None:
    stage = RolloutStage()
    targets = stage.holders(3) + stage.holders(1, sign_on_mode="WS_FEDERATION")
    stage.faults = [Fault(kind="garbage", on="metadata", targets=(targets[1],))]
    result = await stage.finish(stage.job(targets, verify=Verify.METADATA), workers=1)
    outcomes = by_app(result)
    assert [outcomes[app].status for app in targets] == [
        Status.CLONED,
        Status.FAILED,
        Status.CLONED,
        Status.FAILED,
    ]
    assert stage.signers() == {targets[0], targets[2]}, "what is not proven is not activated"


async def test_a_clone_that_a_read_does_not_show_is_not_activated() -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    stage.faults = [Fault(kind="reject", status=404, on="get_key", targets=(targets[0],))]
    result = await stage.finish(stage.job(targets, verify=Verify.READ_BACK))
    assert by_app(result)[targets[0]].status is Status.FAILED
    assert stage.signers() == {targets[1]}


async def test_what_the_list_does_not_show_is_asked_itself() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)

    def hide(call: LoggedCall) -> None:  # the index of a search is often a little behind
        if call.template == "/api/v1/apps":
            stage.org.apps.update(hidden)
        elif call.template == "/api/v1/logs":
            hidden[targets[1]] = stage.org.apps.pop(targets[1])

    hidden: dict[str, Any] = {}
    stage.watch(hide)
    result = await stage.finish(stage.job(targets, verify=Verify.READ_BACK))
    assert exit_code(result) is ExitCode.DONE
    states = {app: (each.state, each.proof) for app, each in stage.activations().items()}
    assert states == {
        targets[0]: (S.VERIFIED, Proof.LIST),
        targets[1]: (S.VERIFIED, Proof.READ),
        targets[2]: (S.VERIFIED, Proof.LIST),
    }


async def test_a_key_that_is_gone_again_is_found() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    stage.faults = [
        Fault(kind="edit", edit="revert", on="update_app", when="after", targets=(targets[2],))
    ]
    result = await stage.finish(stage.job(targets, verify=Verify.METADATA))
    assert exit_code(result) is ExitCode.SAFETY
    assert stage.activations()[targets[2]].reason is Reason.DRIFT
    assert stage.active() == set(targets[:2])


@pytest.mark.parametrize("kind", ["error", "drop", "reject"])
async def test_where_the_list_fails_the_run_says_so_and_a_later_one_confirms(kind: Any) -> None:
    stage = RolloutStage(faults=[Fault(kind=kind, on="list_apps")])
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(2, 1)), verify=Verify.READ_BACK)
    result = await stage.finish(job)
    assert stage.active() == set(targets), "the write itself was proven by its answer"
    assert {each.state for each in stage.activations().values()} == {S.ACTIVATED}
    assert any("could not be confirmed" in text for text in stage.notices())
    assert result.record.state is RunState.STOPPED, "something is left to do"

    stage.faults = ()
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.DONE
    assert {each.state for each in stage.activations().values()} == {S.VERIFIED}
    assert len(stage.puts()) == 3
    assert result.record.state is RunState.FINISHED


async def test_drift_while_the_list_could_not_be_had_is_found_by_the_later_run() -> None:
    stage = RolloutStage(faults=[Fault(kind="error", on="list_apps")])
    targets = stage.holders(2)
    job = stage.job(targets, verify=Verify.READ_BACK)
    await stage.finish(job)
    third = stage.sign_with(targets[0])
    stage.faults = ()
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.SAFETY
    drifted = stage.activations()[targets[0]]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert third in drifted.detail
    assert stage.active() == {targets[1]}


async def test_a_wave_is_confirmed_also_where_it_is_held() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    stage.faults = [Fault(kind="reject", on="update_app", targets=(targets[1],))]
    job = stage.job(targets, Rollout(waves=(3, 1)), verify=Verify.READ_BACK)
    await stage.finish(job, workers=1)
    assert stage.activations()[targets[0]].state is S.VERIFIED


async def test_who_is_acknowledged_late_is_confirmed_as_well() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(gate=Gate(acknowledged=True)), verify=Verify.READ_BACK)
    for number, app in enumerate(targets, 1):
        await stage.finish(job)
        stage.acknowledge(app)
        await stage.finish(job)
        assert [each.state for each in stage.activations().values()] == [S.VERIFIED] * number


async def test_keys_of_their_own_are_confirmed_one_by_one() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    wanted = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2)
    await stage.finish(stage.job(targets, wanted=wanted, verify=Verify.READ_BACK))
    assert proofs(stage) == {(S.VERIFIED, Proof.READ)}
    assert stage.calls("GET", "/api/v1/apps") == []
