"""Scripted faults at 5 % and 30 %: the run ends, nothing is lost, nothing untrue is claimed."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.events import Broadcast, CallRetried
from orchestrator.model import Proof, Reason, Status
from orchestrator.okta.http import Timeouts
from orchestrator.sandbox.faults import Fault
from tests.support import QUICK_RETRY, Recorder, Stage, assert_true_to_the_org, by_app

FAULTS = {
    "error-before": Fault(kind="error", status=503, when="before"),
    "error-after": Fault(kind="error", status=500, when="after"),
    "drop-before": Fault(kind="drop", when="before"),
    "drop-after": Fault(kind="drop", when="after"),
    "stall-before": Fault(kind="stall", when="before", seconds=30),
    "stall-after": Fault(kind="stall", when="after", seconds=30),
    "truncate": Fault(kind="truncate"),
    "garbage": Fault(kind="garbage"),
    "gateway-before": Fault(kind="gateway", status=502, when="before"),
    "gateway-after": Fault(kind="gateway", status=504, when="after"),
    "lie-kid": Fault(kind="lie", lie="kid"),
    "lie-certificate": Fault(kind="lie", lie="certificate"),
    "lie-thumbprint": Fault(kind="lie", lie="thumbprint"),
    "lie-location": Fault(kind="lie", lie="location"),
}
IMPATIENT = Timeouts(connect=2.0, read=0.2, whole=5.0)  # a stalled answer costs all of `read`
HONEST = [name for name in FAULTS if not name.startswith("lie")]


def with_rate(name: str, rate: float) -> Fault:
    fault = FAULTS[name]
    fields = {slot: getattr(fault, slot) for slot in fault.__slots__}
    return Fault(**(fields | {"rate": rate}))


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("name", HONEST)
async def test_honest_faults_lose_no_target(name: str, rate: float) -> None:
    stage = Stage(faults=[with_rate(name, rate)], fault_seed=7)
    targets = stage.apps(60)
    with anyio.fail_after(60):
        result = await stage.finish(stage.job(targets), workers=20, timeouts=IMPATIENT)
    assert_true_to_the_org(result, stage.org)
    assert {each.status for each in result.outcomes} <= {Status.CLONED, Status.ALREADY_PRESENT}
    assert stage.clones() == 60  # never twice into one target


@pytest.mark.parametrize("rate", [0.05, 0.3])
@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith("lie")])
async def test_a_lie_is_a_failure_with_evidence(name: str, rate: float) -> None:
    stage = Stage(faults=[with_rate(name, rate)], fault_seed=3)
    targets = stage.apps(60)
    result = await stage.finish(stage.job(targets))
    lied_to = {call.target for call in stage.org.log if call.fault == "lie"}
    assert lied_to
    assert_true_to_the_org(result, stage.org)
    for outcome in result.outcomes:
        if outcome.target.app in lied_to:
            assert outcome.reason is Reason.PROOF_MISMATCH
            assert outcome.evidence.request_ids
        else:
            assert outcome.status is Status.CLONED


async def test_everything_at_once() -> None:
    stage = Stage(faults=[with_rate(name, 0.03) for name in FAULTS], fault_seed=11)
    targets = stage.apps(150) + stage.apps(50, holding=True)
    with anyio.fail_after(90):
        result = await stage.finish(stage.job(targets), workers=20)
    assert sum(result.counts.values()) == 200
    assert_true_to_the_org(result, stage.org)
    for outcome in result.outcomes:
        if outcome.status is Status.FAILED:
            assert outcome.reason is Reason.PROOF_MISMATCH


async def test_a_clone_whose_answer_was_dropped_is_present_not_failed() -> None:
    stage = Stage(faults=[Fault(kind="drop", when="after", on="clone", times=1)])
    recorder = Recorder()
    [target] = stage.apps(1)
    result = await stage.finish(stage.job([target]), observer=Broadcast([recorder]))
    [outcome] = result.outcomes
    assert (outcome.status, outcome.proof) == (Status.ALREADY_PRESENT, Proof.CAUSE)
    assert outcome.evidence.lost_answers == 1
    assert "may be this run" in outcome.detail
    retries = [event for event in recorder.events if isinstance(event, CallRetried)]
    assert [event.attempt for event in retries] == [1]


async def test_a_refusal_after_a_lost_answer_is_not_the_last_word() -> None:
    stage = Stage(
        faults=[
            Fault(kind="drop", when="after", on="clone", times=1),
            Fault(kind="reject", status=403, code="E0000006", on="clone"),
        ]
    )
    [target] = stage.apps(1)
    [outcome] = (await stage.finish(stage.job([target]))).outcomes
    assert (outcome.status, outcome.proof) == (Status.ALREADY_PRESENT, Proof.READ)


async def test_when_no_answer_ever_comes_one_read_settles_it() -> None:
    after, before = (
        Fault(kind="drop", when="after", on="clone"),
        Fault(kind="drop", when="before", on="clone"),
    )
    for fault, status in ((after, Status.ALREADY_PRESENT), (before, Status.FAILED)):
        stage = Stage(faults=[fault])
        [target] = stage.apps(1)
        [outcome] = (await stage.finish(stage.job([target]))).outcomes
        assert outcome.status is status
        assert outcome.evidence.attempts == QUICK_RETRY.attempts + 1  # and a read
        assert_true_to_the_org(await stage.finish(stage.job([target])), stage.org)


async def test_an_unreachable_org_ends_with_an_outcome_for_every_target() -> None:
    stage = Stage()
    targets = stage.apps(3)
    quick = Timeouts(connect=0.5, read=0.5, whole=1.0)
    async with stage.run(stage.job(targets), timeouts=quick) as run:
        run.api.transport.url = "http://127.0.0.1:9"  # nobody listens there
        await run.execute()
    result = stage.result(run)
    assert {each.reason for each in result.outcomes} == {Reason.SOURCE_UNUSABLE}
    assert "no connection" in str(result.jobs[0].problem)


async def test_outcomes_of_a_dry_run_survive_faults_too() -> None:
    stage = Stage(faults=[with_rate("error-before", 0.3)])
    targets = stage.apps(20) + stage.apps(20, holding=True)
    result = await stage.finish(stage.job(targets), dry_run=True)
    outcomes = by_app(result)
    assert [outcomes[target].status for target in targets] == [Status.PLANNED] * 20 + [
        Status.ALREADY_PRESENT
    ] * 20
    assert stage.posts() == 0
