"""A whole run over real sockets, judged by the state of the org."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import AppId, KeyRef, Kid, Outcome, Proof, Reason, Status
from orchestrator.okta.certificates import der_of, thumbprint_of
from orchestrator.sandbox.faults import Fault
from tests.support import CLONE, PlainJob, Stage, assert_true_to_the_org, by_app


def unknown(number: int) -> list[AppId]:
    return [AppId(f"0oaUNKNOWN{index:010d}") for index in range(number)]


@pytest.mark.parametrize("size", [500, pytest.param(2000, marks=pytest.mark.long)])
async def test_many_targets_in_three_jobs(size: int) -> None:
    stage = Stage()
    fresh, holding = stage.apps(size - 310), stage.apps(300, holding=True)
    refusing, missing = fresh[:5], unknown(10)
    stage.faults = [Fault(kind="reject", on="clone", targets=tuple(refusing))]
    half, third = len(fresh) // 2, size // 3
    everyone = [*fresh[:half], *holding[:100], *missing[:4], *fresh[half:], *holding[100:]]
    everyone += missing[4:]
    jobs = [
        stage.job(everyone[:third], "one"),
        stage.job(everyone[third : 2 * third], "two"),
        stage.job(everyone[2 * third :], "three"),
    ]
    assert sum(job.size for job in jobs) == size

    result = await stage.finish(*jobs)

    assert stage.clones() == size - 315
    counts = result.counts
    assert counts[Status.CLONED] == size - 315
    assert counts[Status.ALREADY_PRESENT] == 300
    assert counts[Status.FAILED] == 15
    reasons = Counter(outcome.reason for outcome in result.outcomes if outcome.reason)
    assert reasons == {Reason.TARGET_NOT_FOUND: 10, Reason.REJECTED: 5}
    posts = Counter(call.target for call in stage.org.log if call.template == CLONE)
    assert posts == dict.fromkeys(everyone, 1)
    assert [outcome.target.app for outcome in result.outcomes] == everyone
    assert_true_to_the_org(result, stage.org)
    assert exit_code(result) is ExitCode.PARTIAL

    again = await stage.finish(*jobs)
    assert stage.clones() == size - 315
    assert again.counts[Status.ALREADY_PRESENT] == size - 15
    assert again.counts[Status.FAILED] == 15


async def test_a_clone_is_proven_from_its_own_answer() -> None:
    stage = Stage()
    [target] = stage.apps(1)
    result = await stage.finish(stage.job([target]))
    [outcome] = result.outcomes
    [x5c] = cast("list[str]", stage.org.get_key(target, stage.key.kid)["x5c"])
    assert outcome.proof is Proof.RESPONSE
    assert outcome.evidence.thumbprint == thumbprint_of(der_of(x5c))
    assert outcome.evidence.location_app == target
    assert outcome.evidence.http_status == 201
    assert outcome.evidence.attempts == 1
    assert len(outcome.evidence.request_ids) == 1
    assert outcome.settled_at is not None


async def test_a_duplicate_is_proven_by_its_cause() -> None:
    stage = Stage()
    [target] = stage.apps(1, holding=True)
    result = await stage.finish(stage.job([target]))
    [outcome] = result.outcomes
    assert (outcome.status, outcome.proof) == (Status.ALREADY_PRESENT, Proof.CAUSE)
    assert "already exists" in outcome.evidence.causes[0]
    assert outcome.evidence.attempts == 1


async def test_any_other_400_is_settled_by_one_read() -> None:
    stage = Stage()
    absent, present = stage.apps(1) + stage.apps(1, holding=True)
    stage.faults = [Fault(kind="reject", on="clone", cause="Some new wording.")]
    outcomes = by_app(await stage.finish(stage.job([absent, present])))
    assert outcomes[absent].status is Status.FAILED
    assert outcomes[absent].reason is Reason.REJECTED
    assert "Some new wording." in outcomes[absent].detail
    assert outcomes[present].status is Status.ALREADY_PRESENT
    assert outcomes[present].proof is Proof.READ
    assert {outcome.evidence.attempts for outcome in outcomes.values()} == {2}


async def test_an_unknown_source_costs_one_call_and_spares_its_job() -> None:
    stage = Stage()
    targets = stage.apps(20)
    lost = KeyRef(app=stage.source, kid=Kid("k" * 43))
    result = await stage.finish(PlainJob("lost", lost, targets), stage.job(targets[:5], "good"))
    calls = [call for call in stage.org.log if call.kid == lost.kid]
    assert len(calls) == 1
    outcomes = Counter((each.target.job, each.status, each.reason) for each in result.outcomes)
    assert outcomes == {
        ("lost", Status.SKIPPED, Reason.SOURCE_UNUSABLE): 20,
        ("good", Status.CLONED, None): 5,
    }
    assert "404" in str(result.jobs[0].problem)
    assert exit_code(result) is ExitCode.PARTIAL


async def test_jobs_with_one_source_read_it_once() -> None:
    stage = Stage()
    await stage.finish(stage.job(stage.apps(3), "a"), stage.job(stage.apps(3), "b"))
    reads = [call for call in stage.org.log if call.method == "GET"]
    assert len(reads) == 1


async def test_a_source_that_vanishes_ends_its_job() -> None:
    stage = Stage()
    targets = stage.apps(200)
    async with stage.run(stage.job(targets), workers=2) as run:
        org, settle = stage.org, run.settle

        async def settle_and_remove(outcome: Outcome) -> None:
            await settle(outcome)
            if run.counts.total() == 20:
                org.remove_app(stage.source)

        run.settle = settle_and_remove  # type: ignore[method-assign]
        await run.execute()
    reasons = Counter(outcome.reason for outcome in stage.result(run).outcomes)
    assert reasons[Reason.SOURCE_UNUSABLE] >= 178
    assert stage.posts() < 30


async def test_a_refused_token_stops_everything_after_one_call() -> None:
    stage = Stage()
    jobs = [stage.job(stage.apps(10), "a"), stage.job(stage.apps(10), "b")]
    result = await stage.finish(*jobs, token="00wrong")
    assert len(stage.org.log) == 1
    assert exit_code(result) is ExitCode.ACCESS
    assert result.left == 20


async def test_a_role_that_does_not_reach_an_app_fails_that_app_only() -> None:
    stage = Stage()
    targets = stage.apps(10)
    stage.faults = [
        Fault(kind="reject", on="clone", status=403, code="E0000006", targets=(targets[3],))
    ]
    outcomes = by_app(await stage.finish(stage.job(targets)))
    assert outcomes[targets[3]].reason is Reason.FORBIDDEN
    assert sum(outcome.status is Status.CLONED for outcome in outcomes.values()) == 9


async def test_a_redirect_is_not_followed() -> None:
    stage = Stage(faults=[Fault(kind="redirect", on="clone")])
    result = await stage.finish(stage.job(stage.apps(2)))
    assert all("redirect" in outcome.detail for outcome in result.outcomes)
    assert stage.clones() == 0
