"""The source of a key as the last target of its job: it is activated, and never cloned into."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import (
    NEW_KID,
    ActivationState,
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Proof,
    Reason,
    Resource,
    Status,
    Verify,
)
from orchestrator.rollout import JobSettings, Rollout
from tests.engine.promise_stage import PromiseStage, Ran
from tests.support import PlainJob

SPECS = {
    KeyKind.KID: KeySpec(),
    KeyKind.ACTIVE: KeySpec(kind=KeyKind.ACTIVE),
    KeyKind.NEWEST: KeySpec(kind=KeyKind.NEWEST),
    KeyKind.GENERATE: KeySpec(kind=KeyKind.GENERATE, validity_years=2),
    KeyKind.CSR: KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="sso.example.com")),
}
MADE = (KeyKind.GENERATE, KeyKind.CSR)
CLONE, KEYS = "/credentials/keys/{kid}/clone", "/credentials/keys/{kid}"
HOLDS = "it is the source, and holds the key"


@dataclass
class Scene:
    """A source with two keys, of which it signs with the older, and three targets."""

    kind: KeyKind = KeyKind.KID
    resource: Resource = Resource.APP
    verify: Verify = Verify.RESPONSE

    def __post_init__(self) -> None:
        self.stage = PromiseStage()
        org = self.stage.org
        add = org.add_app if self.resource is Resource.APP else org.add_idp
        self.source, *self.others = (AppId(add().id) for _ in range(4))
        self.former = org.find_holder(self.source).active_kid
        self.newer = Kid(org.add_key(self.source))
        kid = self.newer if self.kind is KeyKind.KID else NEW_KID
        self.job = PlainJob(
            "job",
            KeyRef(app=self.source, kid=kid, resource=self.resource),
            [*self.others, self.source],
            wanted=SPECS[self.kind],
            settings=JobSettings(rollout=Rollout(waves=(1, 1.0)), verify=self.verify),
        )

    async def run(self) -> Ran:
        """Run the plan to its end, and publish what it may wait for."""
        ran = await self.stage.run(self.job)
        if self.kind is KeyKind.CSR:
            assert {record.outcome and record.outcome.reason for record in ran.records} == {
                Reason.NOT_REACHED
            }
            published = await self.stage.publish(self.job)
            again = await self.stage.run(self.job)
            return replace(again, log=(*ran.log, *published, *again.log))
        return ran


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("kind", SPECS)
async def test_the_source_is_previewed_and_run_like_any_other_but_for_the_clone(
    kind: KeyKind, resource: Resource
) -> None:
    scene = Scene(kind=kind, resource=resource)
    async with scene.stage.served():
        ahead = await scene.stage.preview(scene.job)
        ran = await scene.run()
    assert exit_code(ran.result) is ExitCode.DONE
    cloned = [call.target for call in ran.log if call.template.endswith(CLONE)]
    assert sorted(filter(None, cloned)) == sorted(scene.others)

    before, after = ahead.of(scene.source), ran.of(scene.source)
    assert before.outcome is not None
    assert after.outcome is not None
    assert before.outcome.status is after.outcome.status is Status.ALREADY_PRESENT
    would = "it is the source, and would hold the key, once it is made"
    assert before.outcome.detail == (would if kind in MADE else HOLDS)
    assert after.outcome.detail == HOLDS
    assert after.outcome.proof is (Proof.RESPONSE if kind in MADE else Proof.READ)
    assert after.outcome.evidence.attempts == 0
    assert after.outcome.evidence.thumbprint is not None

    kid = after.outcome.key.kid
    assert {scene.stage.org.find_holder(app).active_kid for app in scene.job.targets} == {kid}
    assert before.activation is not None
    assert after.activation is not None
    assert after.activation.state is ActivationState.ACTIVATED
    if kind is KeyKind.ACTIVE:
        assert kid == scene.former
        assert before.activation.state is ActivationState.ACTIVATED
        assert after.activation.detail == "it signed with this key already"
        assert not [call for call in ran.log if (call.method, call.app) == ("PUT", scene.source)]
    else:
        assert before.activation.state is ActivationState.PLANNED
        assert before.activation.previous_kid == after.activation.previous_kid == scene.former
    assert ran.of(scene.source).wave == 2, "the source comes last"
    assert ahead.promised_calls == ran.calls


@pytest.mark.parametrize(
    ("verify", "further", "proof"),
    [
        (Verify.READ_BACK, "/credentials/keys/{kid}", Proof.READ),
        (Verify.METADATA, "/sso/saml/metadata", Proof.METADATA),
    ],
)
async def test_what_the_plan_wants_for_proof_is_read_of_the_source_too(
    verify: Verify, further: str, proof: Proof
) -> None:
    scene = Scene(verify=verify)
    async with scene.stage.served():
        ahead = await scene.stage.preview(scene.job)
        ran = await scene.run()
    read = [call.app for call in ran.log if call.template.endswith(further)]
    assert read.count(scene.source) == 1 + (verify is Verify.READ_BACK), "once as the source"
    outcome = ran.of(scene.source).outcome
    assert outcome is not None
    assert (outcome.status, outcome.proof) == (Status.ALREADY_PRESENT, proof)
    assert ran.result.activations[ActivationState.VERIFIED] == 4
    assert ahead.promised_calls == ran.calls


@pytest.mark.parametrize("kind", [KeyKind.KID, KeyKind.GENERATE])
async def test_a_run_that_was_cut_short_goes_on_with_its_source(kind: KeyKind) -> None:
    scene = Scene(kind=kind)
    stage, everybody = scene.stage, scene.stage.settings
    async with stage.served():
        stage.settings = replace(everybody, max_targets=1, workers=1)
        first = await stage.run(scene.job)
        assert exit_code(first.result) is ExitCode.UNFINISHED
        stage.settings = everybody
        second = await stage.run(scene.job)
    assert exit_code(second.result) is ExitCode.DONE
    clones = [call for call in second.log if call.template.endswith(CLONE)]
    assert len(clones) == 2
    outcome = second.of(scene.source).outcome
    assert outcome is not None
    assert (outcome.status, outcome.detail) == (Status.ALREADY_PRESENT, HOLDS)
    assert outcome.proof is (Proof.RESPONSE if kind in MADE else Proof.READ)
    kids = {stage.org.find_holder(app).active_kid for app in scene.job.targets}
    assert kids == {outcome.key.kid}


async def test_a_quick_preview_says_so_without_a_call_for_it() -> None:
    scene = Scene()
    scene.stage.settings = replace(scene.stage.settings, quick=True)
    async with scene.stage.served():
        ahead = await scene.stage.preview(scene.job)
    outcome = ahead.of(scene.source).outcome
    assert outcome is not None
    assert (outcome.status, outcome.detail) == (Status.ALREADY_PRESENT, HOLDS)
    assert [call.app for call in ahead.log if call.template.endswith("{appId}")] == []


@pytest.mark.parametrize("kind", MADE)
async def test_a_key_cannot_be_made_of_a_source_that_is_gone_and_preview_says_it(
    kind: KeyKind,
) -> None:
    scene = Scene(kind=kind)
    scene.stage.org.remove_app(scene.source)
    async with scene.stage.served():
        ahead = await scene.stage.preview(scene.job)
        ran = await scene.stage.run(scene.job)
    for each in (ahead, ran):
        assert {record.outcome and record.outcome.reason for record in each.records} == {
            Reason.SOURCE_UNUSABLE
        }
    assert [job.problem for job in ahead.result.jobs] == [job.problem for job in ran.result.jobs]
