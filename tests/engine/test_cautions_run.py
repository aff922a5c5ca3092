"""Cautions where they count: at the end of a preview, and in a run before its first clone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.cli.closing import conclude
from orchestrator.engine.cautions import CAUTIONED, CautionKind
from orchestrator.engine.result import ArchivedRecords, RunResult
from orchestrator.events import Cautioned, TargetSettled
from orchestrator.model import AppId, KeyKind, KeyRef, KeySpec, Kid, Resource
from orchestrator.rollout import Gate, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.store.sqlite import Store
from tests.engine.rollout_stage import ORG, PLAN, RUN, RolloutStage
from tests.support import PlainJob

K = CautionKind
ALL = (K.SHA1, K.SHORT_KEY, K.ENDS_SOONER, K.ENDS_SOON, K.SHARED_WIDELY, K.TERRAFORM, K.INACTIVE)
KEY_READ = "/credentials/keys/{kid}"
DAY = timedelta(days=1)


def ordered(stage: RolloutStage, purpose: str, days: int, **given: Any) -> Kid:
    """Return a kid whose certificate ends in so many days."""
    kid = Kid(stage.org.mint.derive_kid(purpose))
    stage.org.mint.order(kid, not_after=stage.now() + days * DAY, **given)
    return kid


def poor_key(stage: RolloutStage) -> KeyRef:
    """Give the source a key of which everything is to be thought about."""
    kid = ordered(stage, "poor", 30, signature_hash="sha1", key_bits=1024)
    return given_to_source(stage, kid)


def good_key(stage: RolloutStage) -> KeyRef:
    """Give the source a key that outlives all others."""
    return given_to_source(stage, ordered(stage, "good", 9000))


def given_to_source(stage: RolloutStage, kid: Kid) -> KeyRef:
    stage.org.add_key(stage.source, kid)
    return KeyRef(app=stage.source, kid=kid, resource=stage.resource)


def six(stage: RolloutStage) -> list[AppId]:
    """Return targets: the last is deactivated, and two of the others sign with one key."""
    apps = stage.holders(5) + stage.holders(1, status="INACTIVE")
    shared = ordered(stage, "shared", 1000)
    for app in apps[1:3]:
        stage.sign_with(app, shared)
    return apps


async def previewed(stage: RolloutStage, *jobs: PlainJob, **given: Any) -> RunResult:
    """Look at everything, as the program does, and keep what was seen for the run to come."""
    with Store.memory(clock=stage.clock) as store:
        async with stage.run(*jobs, store=store, dry_run=True, **given) as run:
            await run.execute()
            await run.look_ahead(ArchivedRecords(store.archive, RUN, {}, {}))
            result = await conclude(run, store)
    stage.store.save_snapshot(PLAN, ORG, run.snapshots)
    return result


def kinds(result: RunResult) -> list[CautionKind]:
    return [caution.kind for caution in result.cautions]


def key_reads(stage: RolloutStage, since: int = 0) -> Counter[str | None]:
    return Counter(
        call.kid
        for call in stage.org.log[since:]
        if call.method == "GET" and call.template.endswith(KEY_READ)
    )


def bare(key: KeyRef, targets: Sequence[AppId], name: str = "job") -> PlainJob:
    """Return a job that only stages."""
    return PlainJob(name, key, targets)


async def test_a_preview_tells_all_there_is_to_think_about() -> None:
    stage = RolloutStage()
    key, apps = poor_key(stage), six(stage)
    job = bare(key, apps)
    settings = {"managed": frozenset([apps[0], AppId("0oaElsewhere")]), "most_sharing": 6}
    result = await previewed(stage, job, **settings)
    assert kinds(result) == list(ALL)
    by_kind = {caution.kind: caution for caution in result.cautions}
    assert by_kind[K.ENDS_SOONER].apps == tuple(apps)
    assert by_kind[K.INACTIVE].apps == (apps[-1],)
    assert by_kind[K.TERRAFORM].apps == (apps[0],)
    assert "at least 7 apps" in by_kind[K.SHARED_WIDELY].detail
    assert "in 29 days" in by_kind[K.ENDS_SOON].detail
    assert [event.kind for event in stage.told(Cautioned)] == list(ALL)
    assert {call.method for call in stage.org.log} == {"GET"}


async def test_a_preview_reads_the_certificate_of_each_key_in_use_once() -> None:
    stage = RolloutStage()
    stage.book = stage.store.certificates(ORG)
    apps, key = six(stage), good_key(stage)
    stage.sign_with(apps[0], key.kid)  # nothing is replaced there
    in_use = {stage.kid_of(app) for app in apps} - {key.kid}
    await previewed(stage, stage.job(apps, key=key))
    reads = key_reads(stage)
    assert {kid: reads[kid] for kid in in_use} == dict.fromkeys(in_use, 1)
    assert len(in_use) == 4
    assert all(stage.book.get(Kid(str(kid))) for kid in in_use)

    calls = len(stage.org.log)
    result = await previewed(stage, stage.job(apps, key=key))
    again = key_reads(stage, calls)
    assert set(again) == {key.kid}, "certificates never change, so they are read once"
    assert kinds(result) == [K.INACTIVE]


async def test_a_certificate_that_cannot_be_read_is_left_out() -> None:
    stage = RolloutStage()
    apps = six(stage)
    stage.faults = [Fault(kind="reject", on="get_key", status=403, targets=(apps[3],))]
    result = await previewed(stage, bare(poor_key(stage), apps))
    [sooner] = [each for each in result.cautions if each.kind is K.ENDS_SOONER]
    assert set(sooner.apps) == set(apps) - {apps[3]}


async def test_two_jobs_are_cautioned_about_each_on_its_own() -> None:
    stage = RolloutStage()
    apps = six(stage)
    jobs = [bare(poor_key(stage), apps[:3], "first"), bare(good_key(stage), apps[3:], "second")]
    result = await previewed(stage, *jobs, most_sharing=3)
    assert [(each.job, each.kind) for each in result.cautions] == [
        ("first", K.SHA1),
        ("first", K.SHORT_KEY),
        ("first", K.ENDS_SOONER),
        ("first", K.ENDS_SOON),
        ("first", K.SHARED_WIDELY),
        ("second", K.SHARED_WIDELY),
        ("second", K.INACTIVE),
    ]


async def test_a_job_without_a_key_is_not_cautioned_about() -> None:
    stage = RolloutStage()
    gone = KeyRef(app=stage.source, kid=Kid("NoSuchKey_NoSuchKey_NoSuchKey_NoSuchKey_123"))
    result = await previewed(stage, bare(gone, six(stage)), most_sharing=1)
    assert kinds(result) == []


async def test_a_key_that_is_still_to_be_made_is_held_against_what_it_replaces() -> None:
    stage = RolloutStage()
    apps = six(stage)
    for kind, expected in (
        (KeyKind.GENERATE, [K.ENDS_SOONER, K.SHARED_WIDELY, K.INACTIVE]),
        (KeyKind.GENERATE_EACH, [K.ENDS_SOONER, K.INACTIVE]),
    ):
        job = stage.job(apps, wanted=KeySpec(kind=kind, validity_years=2))
        result = await previewed(stage, job, most_sharing=3)
        assert kinds(result) == expected
        assert result.cautions[0].count == 6


async def test_identity_providers_are_cautioned_about_as_apps_are() -> None:
    stage = RolloutStage(resource=Resource.IDP)
    idps = six(stage)
    result = await previewed(stage, bare(poor_key(stage), idps), managed=frozenset(idps[:2]))
    assert kinds(result) == [kind for kind in ALL if kind is not K.SHARED_WIDELY]


async def test_a_quick_preview_tells_what_costs_nothing() -> None:
    stage = RolloutStage()
    job = bare(poor_key(stage), six(stage))
    result = await previewed(stage, job, quick=True, managed=frozenset(job.targets[:1]))
    assert kinds(result) == [K.SHA1, K.SHORT_KEY, K.ENDS_SOON, K.TERRAFORM]
    assert set(key_reads(stage)) == {job.key.kid}


async def test_a_run_tells_before_its_first_clone_what_its_preview_has_told() -> None:
    stage = RolloutStage()
    stage.book = stage.store.certificates(ORG)
    job = bare(poor_key(stage), six(stage))
    settings = {"managed": frozenset(job.targets[:1]), "most_sharing": 6}
    ahead = await previewed(stage, job, **settings)
    stage.recorder.events.clear()
    told: list[int] = []  # whenever the org gets a clone
    stage.watch(lambda call: told.append(len(stage.told(Cautioned))) if call.target else None)
    result = await stage.finish(job, **settings)
    assert result.cautions == ahead.cautions
    assert told == [len(ALL)] * 6
    assert [event.kind for event in stage.told(Cautioned)] == list(ALL)
    assert key_reads(stage) == {job.key.kid: 1}, "a run asks for nothing more"
    assert len(stage.notes(CAUTIONED)) == len(ALL)
    stage.check_history()


async def test_a_run_that_nobody_has_previewed_tells_what_it_knows() -> None:
    stage = RolloutStage()
    job = bare(poor_key(stage), six(stage))
    result = await stage.finish(job, most_sharing=6)
    assert kinds(result) == [K.SHA1, K.SHORT_KEY, K.ENDS_SOON, K.SHARED_WIDELY]
    assert len(stage.told(TargetSettled)) == 6


@pytest.mark.parametrize("most", [5, 6])
async def test_a_source_that_is_a_target_as_well_counts_once(most: int) -> None:
    stage = RolloutStage()
    job = bare(good_key(stage), [*stage.holders(5), stage.source])
    result = await stage.finish(job, most_sharing=most)
    assert kinds(result) == ([K.SHARED_WIDELY] if most == 5 else [])
    assert all("at least 6 apps" in each.detail for each in result.cautions)


async def test_a_run_that_goes_on_does_not_repeat_itself() -> None:
    stage = RolloutStage()
    apps = six(stage)
    job = stage.job(apps, Rollout(gate=Gate(approval=True)), key=poor_key(stage))
    managed = frozenset(apps[:2])
    stopped = await stage.finish(job, max_targets=1, managed=managed)
    before = len(stage.told(Cautioned))
    result = await stage.finish(job, managed=managed)
    assert len(stage.told(Cautioned)) == before == 4
    assert result.cautions == stopped.cautions
    assert all(each.outcome and each.outcome.status.is_staged for each in result.records)


async def test_a_run_that_goes_on_tells_of_what_has_come_to_it() -> None:
    stage = RolloutStage()
    apps = six(stage)
    job = bare(stage.key, apps)
    await stage.finish(job, max_targets=1, managed=frozenset(apps[:1]))
    result = await stage.finish(job, managed=frozenset(apps[:3]))
    [caution] = result.cautions
    assert (caution.kind, caution.count, set(caution.apps)) == (K.TERRAFORM, 3, set(apps[:3]))
    assert [event.count for event in stage.told(Cautioned)] == [1, 3]
