"""How many calls a run will make, counted one by one for small plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.forecast import is_same
from orchestrator.engine.keys import EachKey, JobKey
from orchestrator.engine.result import RunSettings
from orchestrator.engine.staging import FutureKey
from orchestrator.engine.timetable import Timetable
from orchestrator.engine.workload import calls_per_target, workload_of
from orchestrator.model import (
    NEW_KID,
    Activation,
    ActivationState,
    AppId,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
    RunId,
    Target,
    Verify,
)
from orchestrator.okta.api import LARGEST_PAGE as PAGE
from orchestrator.okta.pacer import Bucket
from orchestrator.rollout import JobSettings, Rollout
from orchestrator.store.base import JobRecord, TargetRecord

S = ActivationState
STAGED = JobSettings(cross_check=False)  # verified by the answers alone
KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("kid"))
SPECS = {
    KeyKind.KID: KeySpec(),
    KeyKind.ACTIVE: KeySpec(kind=KeyKind.ACTIVE),
    KeyKind.NEWEST: KeySpec(kind=KeyKind.NEWEST),
    KeyKind.GENERATE: KeySpec(kind=KeyKind.GENERATE, validity_years=3),
    KeyKind.GENERATE_EACH: KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=3),
    KeyKind.CSR: KeySpec(kind=KeyKind.CSR),
}


def job(
    kind: KeyKind = KeyKind.KID, position: int = 0, resource: Resource = Resource.APP
) -> JobRecord:
    key = replace(KEY, resource=resource)
    return JobRecord(
        position=position, name=f"job-{position}", key=key, wanted=SPECS[kind], dropped={}
    )


def settings(*jobs: JobSettings, packs: bool = False) -> RunSettings:
    return RunSettings(
        run_id=RunId("r"),
        plan="p",
        org="o",
        jobs={f"job-{position}": each for position, each in enumerate(jobs)},
        handoff_metadata=packs,
    )


def record(number: int, state: ActivationState | None = None, *, wave: int = 1) -> TargetRecord:
    target = Target(job="job-0", app=AppId(f"0oa{number}"))
    activation = None
    if state is not None:
        activation = Activation(target=target, kid=KEY.kid, wave=0, state=state, detail="")
    return TargetRecord(job=0, target=target, wave=wave, activation=activation)


def records(number: int, state: ActivationState | None = None, wave: int = 1) -> list[TargetRecord]:
    return [record(each, state, wave=wave) for each in range(number)]


def key_of(each: JobRecord) -> JobKey:
    if each.wanted.kind is KeyKind.GENERATE_EACH:
        return EachKey(validity_years=3, resource=each.key.resource)
    return FutureKey(ref=each.key)


def calls_of(
    given: RunSettings,
    jobs: Sequence[JobRecord],
    known: Mapping[int, JobKey],
    targets: Sequence[TargetRecord],
) -> Mapping[Bucket, int]:
    timetable = Timetable({}, workers=given.workers)
    timetable.play(workload_of(given, jobs, known, targets), {})
    return +timetable.calls


def calls(
    targets: Sequence[TargetRecord],
    given: JobSettings = STAGED,
    *,
    of: JobRecord | None = None,
    usable: bool = True,
    packs: bool = False,
) -> Mapping[Bucket, int]:
    one = of or job()
    known = {0: key_of(one)} if usable else {}
    return calls_of(settings(given, packs=packs), [one], known, targets)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (KeyKind.KID, {Bucket.APPS: 1}),
        (KeyKind.ACTIVE, {Bucket.APPS: 1, Bucket.APP_READ: 1}),
        (KeyKind.NEWEST, {Bucket.APPS: 2}),
        (KeyKind.GENERATE, {Bucket.APPS: 1}),
        (KeyKind.GENERATE_EACH, {}),
        (KeyKind.CSR, {Bucket.APPS: 2}),
    ],
)
def test_a_key_costs_what_it_takes_to_come_by_it(
    kind: KeyKind, expected: Mapping[Bucket, int]
) -> None:
    assert set(SPECS) == set(KeyKind)
    staged = replace(record(0), target=Target(job="job-0", app=AppId("0oaX")))
    found = Counter(calls([staged], of=job(kind)))
    assert found - Counter({Bucket.APPS: 1}) == expected
    assert calls([], of=job(kind)) == {}, "what has no target is not asked for"


def test_a_key_is_read_once_for_all_jobs() -> None:
    jobs = [job(position=position) for position in range(3)]
    jobs[2] = replace(jobs[2], key=replace(KEY, kid=Kid("another")))
    known = {each.position: key_of(each) for each in jobs}
    of_jobs = [replace(record(n), job=n) for n in range(3)]
    assert calls_of(settings(*[STAGED] * 3), jobs, known, of_jobs) == {Bucket.APPS: 2 + 3}


def test_each_clone_is_one_call() -> None:
    assert calls(records(7)) == {Bucket.APPS: 1 + 7}


def test_a_job_whose_key_is_not_to_be_had_costs_the_finding_out() -> None:
    assert calls(records(7), usable=False) == {Bucket.APPS: 1}


@pytest.mark.parametrize("kind", [KeyKind.KID, KeyKind.GENERATE_EACH])
@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("verify", Verify)
def test_a_target_costs_its_write_and_what_is_read_after_it(
    kind: KeyKind, resource: Resource, packs: bool, verify: Verify
) -> None:
    """A key of its own is proven by the answer; metadata is read once, and only apps have any."""
    is_own = kind is KeyKind.GENERATE_EACH
    reads_key = verify is Verify.READ_BACK and not is_own
    verifies_metadata = verify is Verify.METADATA and not is_own
    packs_metadata = packs and resource is Resource.APP
    expected = 1 + reads_key + (verifies_metadata or packs_metadata)
    one = job(kind, resource=resource)
    found = calls_per_target(one, settings(JobSettings(verify=verify), packs=packs))
    assert found == expected


def test_each_activation_is_a_read_and_a_write() -> None:
    found = calls(records(5, S.PLANNED))
    assert found == {Bucket.APPS: 1 + 5, Bucket.APP_READ: 5, Bucket.APP_WRITE: 5}


@pytest.mark.parametrize("state", [S.ACTIVATED, S.SKIPPED, S.FAILED])
def test_a_target_that_need_not_or_cannot_be_written_is_read_all_the_same(
    state: ActivationState,
) -> None:
    assert calls(records(5, state)) == {Bucket.APPS: 1 + 5, Bucket.APP_READ: 5}


def test_identity_providers_have_one_bucket_for_everything() -> None:
    one = job(resource=Resource.IDP)
    given = JobSettings(verify=Verify.READ_BACK)  # there is no log to check them against
    found = calls(records(5, S.PLANNED), given, of=one)
    assert found == {Bucket.IDPS: 1 + 2 * 5 + 2 * 5 + 1}


def logs_and_lists(
    given: JobSettings, targets: Sequence[TargetRecord], of: JobRecord
) -> tuple[int, int]:
    """Return the calls that confirm the waves: of the System Log, and of the bucket of lists."""
    without = calls(targets, replace(given, verify=Verify.RESPONSE, cross_check=False), of=of)
    found = calls(targets, given, of=of)
    per_target = calls_per_target(of, settings(given)) - 1
    lists = found[Bucket.APPS] - without[Bucket.APPS] - per_target * len(targets)
    return found[Bucket.LOGS], lists


WAVES = [
    *records(1, S.PLANNED, wave=1),
    *records(PAGE - 1, S.PLANNED, wave=2),
    *records(PAGE, S.PLANNED, wave=3),
]


def test_each_wave_is_held_against_the_log_once() -> None:
    assert logs_and_lists(JobSettings(), WAVES, job()) == (3, 0)
    assert logs_and_lists(JobSettings(cross_check=False), WAVES, job()) == (0, 0)


@pytest.mark.parametrize("verify", [Verify.READ_BACK, Verify.METADATA])
@pytest.mark.parametrize("order", [1, -1])
def test_a_list_names_also_what_earlier_waves_have_activated(verify: Verify, order: int) -> None:
    given = JobSettings(verify=verify, rollout=Rollout())
    assert logs_and_lists(given, WAVES[::order], job()) == (3, 1 + 1 + 2)


def test_what_signs_with_the_key_already_is_confirmed_with_its_wave() -> None:
    given = JobSettings(verify=Verify.READ_BACK)
    targets = [*records(PAGE, S.PLANNED), *records(1, S.ACTIVATED)]
    assert logs_and_lists(given, targets, job()) == (1, 2)
    assert logs_and_lists(given, records(3, S.ACTIVATED), job()) == (1, 1)
    assert logs_and_lists(given, records(3, S.SKIPPED), job()) == (0, 0)


def test_keys_of_their_own_are_confirmed_one_by_one() -> None:
    own, given = job(KeyKind.GENERATE_EACH), JobSettings(verify=Verify.READ_BACK)
    found = calls(WAVES, given, of=own)
    targets = len(WAVES)
    assert found == {
        Bucket.APPS: targets + 1,  # a wave of one target has one key, which is listed
        Bucket.APP_READ: targets + (PAGE - 1) + PAGE,
        Bucket.APP_WRITE: targets,
        Bucket.LOGS: 3,
    }


def test_jobs_add_up() -> None:
    plain = [job(KeyKind.NEWEST), job(KeyKind.ACTIVE, 1), job(position=2)]
    jobs = [replace(job, key=replace(KEY, app=AppId(f"0oaSource{job.position}"))) for job in plain]
    known = {0: key_of(jobs[0]), 1: key_of(jobs[1])}
    of_jobs = [replace(record(n), job=position) for n, position in enumerate([0, 1, 1, 2, 2, 2])]
    found = calls_of(settings(STAGED, JobSettings(verify=Verify.READ_BACK)), jobs, known, of_jobs)
    assert found == {Bucket.APPS: (2 + 1) + (1 + 2 * 2) + 1, Bucket.APP_READ: 1}


def test_a_kid_means_one_key_wherever_it_is_held_and_a_new_one_is_told_by_its_app() -> None:
    elsewhere = replace(KEY, app=AppId("0oaOther"))
    assert is_same(elsewhere, KEY)
    assert not is_same(replace(KEY, kid=Kid("another")), KEY)
    new, new_elsewhere = (replace(key, kid=NEW_KID) for key in (KEY, elsewhere))
    assert is_same(new, new)
    assert not is_same(new_elsewhere, new)
