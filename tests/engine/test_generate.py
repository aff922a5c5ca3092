"""Keys that a run makes or looks up itself: each once, whatever becomes of the answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.engine.result import RunResult, exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import KeyMade
from orchestrator.model import (
    AppId,
    CsrRequest,
    KeyKind,
    KeySpec,
    Kid,
    Proof,
    Reason,
    Resource,
    Status,
)
from orchestrator.rollout import Rollout
from orchestrator.sandbox.faults import Fault
from tests.engine.rollout_stage import DAY, HOUR, RolloutStage
from tests.support import PlainJob

THREE_YEARS = KeySpec(kind=KeyKind.GENERATE, validity_years=3)
REQUESTED = KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="sso.example.com"))
EACH = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2)
REQUESTED = KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="sso.example.com"))
BEFORE = [  # the org has not made the key
    Fault(kind="drop", when="before"),
    Fault(kind="stall", when="before", seconds=3600),
    Fault(kind="error", status=500, when="before"),
    Fault(kind="gateway", status=504, when="before"),
]
AFTER = [  # it has
    Fault(kind="drop", when="after"),
    Fault(kind="stall", when="after", seconds=3600),
    Fault(kind="error", status=500, when="after"),
    Fault(kind="gateway", status=504, when="after"),
    Fault(kind="truncate"),
    Fault(kind="garbage"),
]


def name_of(fault: Fault) -> str:
    return f"{fault.kind}-{fault.when}"


def keys_of(stage: RolloutStage, app: AppId | None = None) -> list[Kid]:
    return [Kid(str(key["kid"])) for key in stage.org.list_keys(app or stage.source)]


def made_by(stage: RolloutStage) -> list[str | None]:
    """Return what our calls have made new keys for."""
    return [call.app for call in stage.calls("POST", "/keys/generate") if call.effect]


def key_in(stage: RolloutStage) -> Kid:
    """Return the key that the run has, which is the stage's from now on."""
    [job] = stage.store.archive.jobs("r")
    stage.key = job.key
    assert stage.org.holds(job.key.app, job.key.kid)
    return job.key.kid


async def test_a_new_key_is_made_once_and_staged_and_activated() -> None:
    stage = RolloutStage()
    targets, known = stage.holders(5), keys_of(stage)
    job = stage.job(targets, Rollout(waves=(2, 1.0)), wanted=THREE_YEARS)
    result = await stage.finish(job)
    assert exit_code(result) is ExitCode.DONE
    kid = key_in(stage)
    assert [new for new in keys_of(stage) if new not in known] == [kid]
    assert stage.active() == set(targets)
    assert stage.kid_of(stage.source) != kid, "the source itself is not activated"
    [made] = stage.told(KeyMade)
    assert (made.key.kid, made.adopted) == (kid, False)
    certificate = result.jobs[0].certificate
    assert certificate is not None
    assert (certificate.not_after - certificate.not_before).days in range(1094, 1097)
    again = await stage.finish(job)
    assert again.changed == 0
    assert made_by(stage) == [stage.source]


@pytest.mark.parametrize("fault", AFTER, ids=name_of)
async def test_a_key_whose_answer_was_lost_is_adopted(fault: Fault) -> None:
    stage = RolloutStage(faults=[replace(fault, on="generate", times=1)])
    targets, known = stage.holders(2), keys_of(stage)
    await stage.finish(stage.job(targets, wanted=THREE_YEARS))
    kid = key_in(stage)
    assert kid not in known
    assert stage.active() == set(targets)
    assert made_by(stage) == [stage.source]
    assert [each.adopted for each in stage.told(KeyMade)] == [True]


@pytest.mark.parametrize("fault", BEFORE, ids=name_of)
async def test_a_key_that_was_not_made_is_made_once_it_is_sure_that_it_was_not(
    fault: Fault,
) -> None:
    stage = RolloutStage(faults=[replace(fault, on="generate", times=1)])
    targets = stage.holders(2)
    job = stage.job(targets, wanted=THREE_YEARS)
    first = await stage.finish(job)
    if fault.kind == "error":  # the org itself has answered, so the call is over
        assert len(stage.calls("POST", "/keys/generate")) == 2
    else:  # the org may still be at it
        assert len(stage.calls("POST", "/keys/generate")) == 1
        assert {each.reason for each in first.outcomes} == {Reason.SOURCE_UNUSABLE}
        assert "next run will look again" in str(first.jobs[0].problem)
        stage.faults = ()
        assert exit_code(await stage.finish(job)) is ExitCode.DONE
    key_in(stage)
    assert stage.active() == set(targets)
    assert made_by(stage) == [stage.source]


@pytest.mark.parametrize("fault", [*BEFORE[:1], *AFTER[:1]], ids=name_of)
async def test_a_call_that_never_comes_to_anything_makes_no_second_key(fault: Fault) -> None:
    stage = RolloutStage()
    stage.faults = [replace(fault, on="generate"), Fault(kind="error", on="list_keys")]
    job = stage.job(stage.holders(1), wanted=THREE_YEARS)
    for _ in range(3):
        assert exit_code(await stage.finish(job)) is ExitCode.PARTIAL
    assert len(stage.calls("POST", "/keys/generate")) == 1, "without a look there is no other"
    stage.faults = ()
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert made_by(stage) == [stage.source]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_after_a_crash_in_the_middle_there_is_one_key(when: Any) -> None:
    stage = RolloutStage()
    stage.faults = [Fault(kind="stall", when=when, seconds=3600, on="generate", times=1)]
    targets, known = stage.holders(3), keys_of(stage)
    job = stage.job(targets, wanted=THREE_YEARS)
    await stage.abandon(lambda: stage.calls("POST", "/keys/generate"), job)
    assert [note["app"] for note in stage.notes("key_intended")] == [stage.source]
    stage.faults = ()
    stage.org.advance(2 * DAY)
    await stage.finish(job)
    kid = key_in(stage)
    assert [new for new in keys_of(stage) if new not in known] == [kid]
    assert stage.active() == set(targets)


async def test_the_intent_is_in_the_journal_before_the_call_reaches_the_org() -> None:
    stage = RolloutStage()
    found: list[object] = []
    stage.watch(
        lambda call: found.extend(stage.notes("key_intended")) if call.method == "POST" else None
    )
    await stage.finish(stage.job(stage.holders(1), wanted=THREE_YEARS))
    assert found


# Somebody else makes keys as well


async def cut_off_after_the_key(stage: RolloutStage) -> tuple[PlainJob, list[AppId]]:
    """Lose the run right after the org has made its key."""
    targets = stage.holders(2)
    job = stage.job(targets, wanted=THREE_YEARS)
    stage.faults = [Fault(kind="stall", when="after", seconds=3600, on="generate")]
    await stage.abandon(lambda: stage.calls("POST", "/keys/generate"), job)
    stage.faults = ()
    return job, targets


async def test_between_two_new_keys_people_are_to_choose() -> None:
    stage = RolloutStage()
    job, targets = await cut_off_after_the_key(stage)
    stage.org.generate_key(stage.source, "3")
    for _ in range(2):
        result = await stage.finish(job)
        assert exit_code(result) is ExitCode.PARTIAL
        problem = str(result.jobs[0].problem)
        assert "more than one key is new since" in problem
        for kid in keys_of(stage)[:2]:
            assert kid in problem
    assert len(made_by(stage)) == 1
    assert not any(stage.org.holds(app, kid) for app in targets for kid in keys_of(stage)[:2])


async def test_a_new_key_of_another_validity_is_not_ours() -> None:
    stage = RolloutStage()
    job, targets = await cut_off_after_the_key(stage)
    [ours, *_] = keys_of(stage)
    stage.org.generate_key(stage.source, "5")
    await stage.finish(job)
    assert key_in(stage) == ours
    assert stage.active() == set(targets)


async def test_a_key_from_before_our_call_is_not_ours() -> None:
    stage = RolloutStage()
    stage.org.generate_key(stage.source, "3")
    stage.org.advance(HOUR)
    job, targets = await cut_off_after_the_key(stage)
    [ours, *_] = keys_of(stage)
    await stage.finish(job)
    assert key_in(stage) == ours
    assert stage.active() == set(targets)


@pytest.mark.parametrize("skew", [-400 * DAY, -3 * HOUR, 3 * HOUR, 400 * DAY])
async def test_whatever_the_clock_of_the_org_says_there_is_one_key(skew: float) -> None:
    stage = RolloutStage(faults=[Fault(kind="drop", when="after", on="generate", times=1)])
    stage.org.advance(skew)
    stage.org.generate_key(stage.source, "3")  # an hour ago, by that clock
    stage.org.advance(HOUR)
    targets = stage.holders(2)
    await stage.finish(stage.job(targets, wanted=THREE_YEARS))
    kid = key_in(stage)
    assert kid == keys_of(stage)[0]
    assert stage.active() == set(targets)
    assert made_by(stage) == [stage.source]


@pytest.mark.parametrize("skew", [-3 * HOUR, 3 * HOUR])
@pytest.mark.parametrize("wanted", [THREE_YEARS, REQUESTED], ids=["generate", "csr"])
async def test_there_is_one_key_also_where_the_org_is_not_free_to_tell_its_time(
    wanted: KeySpec, skew: float
) -> None:
    """Nor is our own clock right: then any other call has to tell it, before a key is made."""
    unheard = Fault(kind="gateway", on="organization")
    lost = [Fault(kind="drop", when="after", on=on, times=1) for on in ("generate", "create_csr")]
    stage = RolloutStage(faults=[unheard, *lost])
    stage.org.advance(skew)
    job = stage.job(stage.holders(2), wanted=wanted)
    await stage.finish(job)
    await stage.finish(job)
    made = stage.calls("POST", "/keys/generate") + stage.calls("POST", "/csrs")
    assert [call.app for call in made] == [stage.source]


# A key for each target


def check_each(stage: RolloutStage, result: RunResult, targets: list[AppId]) -> None:
    """Check that every target signs with a key of its own, the only one that is new."""
    assert exit_code(result) is ExitCode.DONE
    kids = {outcome.target.app: outcome.key.kid for outcome in result.outcomes}
    assert len(set(kids.values())) == len(targets)
    assert {app: stage.kid_of(app) for app in targets} == kids
    assert all(len(keys_of(stage, app)) == 2 for app in targets)
    assert stage.calls("POST", "/clone") == []


async def test_every_target_gets_a_key_of_its_own() -> None:
    stage = RolloutStage()
    targets = stage.holders(4)
    job = stage.job(targets, Rollout(waves=(2,)), wanted=EACH, verify="read_back")
    result = await stage.finish(job)
    check_each(stage, result, targets)
    assert result.counts[Status.GENERATED] == 4
    assert {each.proof for each in stage.activations().values()} == {Proof.READ}
    assert sorted(map(str, made_by(stage))) == sorted(targets)
    lifetimes = [stage.org.get_key(app, kid) for app, kid in stage.kids_of(targets).items() if kid]
    for key in lifetimes:
        ends = datetime.fromisoformat(str(key["expiresAt"]))
        assert abs(ends - stage.now() - timedelta(days=730)) < timedelta(days=2)
    former = {app: each.previous_kid for app, each in stage.activations().items()}
    await stage.roll_back()
    assert stage.kids_of(targets) == former


@pytest.mark.parametrize("fault", [*BEFORE[:3:2], *AFTER[:5:2]], ids=name_of)
async def test_no_target_gets_two_keys_when_answers_are_lost(fault: Fault) -> None:
    stage = RolloutStage()
    targets = stage.holders(5)
    stage.faults = [replace(fault, on="generate", targets=(app,), times=1) for app in targets[::2]]
    job = stage.job(targets, wanted=EACH)
    await stage.finish(job)
    stage.faults = ()
    check_each(stage, await stage.finish(job), targets)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_target_gets_two_keys_over_a_crash(when: Any) -> None:
    stage = RolloutStage()
    targets = stage.holders(5)
    job = stage.job(targets, wanted=EACH)
    stage.faults = [
        Fault(kind="stall", when=when, seconds=3600, on="generate", targets=tuple(targets[2:]))
    ]
    await stage.abandon(lambda: len(stage.calls("POST", "/keys/generate")) >= 3, job)
    stage.faults = ()
    check_each(stage, await stage.finish(job), targets)


async def test_a_target_with_two_new_keys_fails_alone() -> None:
    stage = RolloutStage()
    targets = stage.holders(3)
    job = stage.job(targets, wanted=EACH)
    stage.faults = [
        Fault(kind="stall", when="after", seconds=3600, on="generate", targets=(targets[0],))
    ]
    await stage.abandon(lambda: stage.calls("POST", "/keys/generate"), job, workers=1)
    stage.faults = ()
    stage.org.generate_key(targets[0], "2")
    result = await stage.finish(job)
    [failed] = [each for each in result.outcomes if each.status is Status.FAILED]
    assert failed.target.app == targets[0]
    assert failed.reason is Reason.PROOF_MISMATCH
    assert len(keys_of(stage, targets[0])) == 3, "ours, theirs, and the one from before"
    assert result.counts[Status.GENERATED] == 2


# Keys that are looked up


@pytest.mark.parametrize("resource", [Resource.APP, Resource.IDP])
async def test_active_means_what_the_source_signs_with_when_the_run_begins(
    resource: Resource,
) -> None:
    stage = RolloutStage(resource=resource)
    targets = stage.holders(4)
    active = stage.kid_of(stage.source)
    job = stage.job(targets, wanted=KeySpec(kind=KeyKind.ACTIVE))
    await stage.finish(job, max_targets=2)
    assert key_in(stage) == active
    stage.sign_with(stage.source)
    await stage.finish(job)
    assert key_in(stage) == active, "a run is about one key"
    assert stage.active() == set(targets)


@pytest.mark.parametrize("resource", [Resource.APP, Resource.IDP])
async def test_newest_means_the_key_that_was_made_last(resource: Resource) -> None:
    stage = RolloutStage(resource=resource)
    stage.org.advance(HOUR)
    newest = stage.new_key()
    targets = stage.holders(2)
    await stage.finish(stage.job(targets, wanted=KeySpec(kind=KeyKind.NEWEST)))
    assert key_in(stage) == newest.kid
    assert stage.active() == set(targets)


async def test_a_source_that_signs_with_nothing_has_no_active_key() -> None:
    stage = RolloutStage()
    stage.source = stage.holders(1, sign_on_mode="BOOKMARK")[0]
    targets = stage.holders(2)
    result = await stage.finish(stage.job(targets, wanted=KeySpec(kind=KeyKind.ACTIVE)))
    assert exit_code(result) is ExitCode.PARTIAL
    assert result.jobs[0].problem == "the source signs with no key"
    assert stage.calls("POST", "/clone") == []


async def test_a_refusal_to_make_a_key_is_told() -> None:
    stage = RolloutStage(faults=[Fault(kind="reject", on="generate", status=403, code="E0000006")])
    result = await stage.finish(stage.job(stage.holders(2), wanted=THREE_YEARS))
    assert exit_code(result) is ExitCode.PARTIAL
    assert "the key could not be made" in str(result.jobs[0].problem)
    assert "E0000006" in str(result.jobs[0].problem)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_key_of_one_job_is_never_adopted_by_another(when: Any) -> None:
    stage = RolloutStage(speed=1.0)
    first, second = stage.holders(1), stage.holders(1)
    jobs = [stage.job(first, name="first", wanted=THREE_YEARS)]
    await stage.finish(*jobs)
    jobs.append(stage.job(second, name="second", wanted=THREE_YEARS))
    stage.faults = [Fault(kind="drop", when=when, on="generate", times=1)]
    await stage.finish(*jobs)
    stage.faults = ()
    await stage.finish(*jobs)
    assert len(made_by(stage)) == 2
    kids = [job.key.kid for job in stage.store.archive.jobs("r")]
    assert len(set(kids)) == 2
    assert [stage.kid_of(app) for app in first + second] == kids


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nor_is_the_request_of_one_job_adopted_by_another(when: Any) -> None:
    stage = RolloutStage(speed=1.0)
    jobs = [stage.job(stage.holders(1), name="first", wanted=REQUESTED)]
    await stage.finish(*jobs)
    jobs.append(stage.job(stage.holders(1), name="second", wanted=REQUESTED))
    stage.faults = [Fault(kind="drop", when=when, on="create_csr", times=1)]
    await stage.finish(*jobs)
    stage.faults = ()
    await stage.finish(*jobs)
    made = {note["job"]: note["id"] for note in stage.notes("csr_created")}
    assert len(set(made.values())) == 2
    assert len([call for call in stage.calls("POST", "/csrs") if call.effect]) == 2
