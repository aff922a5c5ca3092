"""Whether a plan whose key is not named by its kid is still about the same rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest

from orchestrator.engine.resume import KnownJob, changes_between, digest_of, is_rekeyed
from orchestrator.model import (
    NEW_KID,
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
    Target,
)
from orchestrator.rollout import Gate, JobSettings, Rollout

SOURCE = AppId("0oaSource")
KEY = KeyRef(app=SOURCE, kid=Kid("k1"))
NEW = replace(KEY, kid=NEW_KID)
BY_KID = KeySpec()
SPECS = [
    BY_KID,
    KeySpec(kind=KeyKind.ACTIVE),
    KeySpec(kind=KeyKind.NEWEST),
    KeySpec(kind=KeyKind.GENERATE, validity_years=2),
    KeySpec(kind=KeyKind.GENERATE, validity_years=3),
    KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2),
    KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="a")),
    KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="b")),
    KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="a", dns_names=("a.example",))),
]
UNNAMED = [spec for spec in SPECS if spec != BY_KID]


@dataclass(frozen=True)
class Job:
    """A job of a plan, as a test wants it."""

    key: KeyRef = NEW
    wanted: KeySpec = SPECS[1]
    settings: JobSettings = field(default=JobSettings())
    name: str = "job"
    apps: Sequence[str] = ("a", "b")
    dropped: Mapping[str, int] = field(default_factory=dict)
    asks: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.apps)

    def stream(self) -> Iterator[Target]:
        return (Target(job=self.name, app=AppId(app)) for app in self.apps)


def known(wanted: KeySpec, key: KeyRef = NEW) -> KnownJob:
    return KnownJob(name="job", key=key, wanted=wanted, unfinished=2)


def named(spec: KeySpec) -> str:
    return f"{spec.kind.value} {spec.validity_years or ''}{spec.csr or ''}"


def test_every_kind_of_key_is_tried() -> None:
    assert {spec.kind for spec in SPECS} == set(KeyKind)


@pytest.mark.parametrize(("one", "other"), list(combinations(SPECS, 2)))
def test_another_way_to_the_key_is_another_rotation(one: KeySpec, other: KeySpec) -> None:
    assert digest_of([Job(wanted=one)]) != digest_of([Job(wanted=other)])
    assert is_rekeyed(known(one), Job(wanted=other))
    assert is_rekeyed(known(other), Job(wanted=one))


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_an_identity_provider_is_not_the_app_of_the_same_id(spec: KeySpec) -> None:
    idp = replace(NEW, resource=Resource.IDP)
    assert digest_of([Job(wanted=spec)]) != digest_of([Job(wanted=spec, key=idp)])
    assert is_rekeyed(known(spec), Job(wanted=spec, key=idp))


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_a_key_of_another_app_is_another_key(spec: KeySpec) -> None:
    other = replace(NEW, app=AppId("0oaOther"))
    assert digest_of([Job(wanted=spec)]) != digest_of([Job(wanted=spec, key=other)])
    assert is_rekeyed(known(spec), Job(wanted=spec, key=other))


@pytest.mark.parametrize("spec", UNNAMED, ids=named)
def test_the_key_that_a_run_has_made_or_looked_up_is_the_one_its_plan_asks_for(
    spec: KeySpec,
) -> None:
    job = Job(wanted=spec)
    assert not is_rekeyed(known(spec, KEY), job)
    changes = changes_between({"job": known(spec, KEY)}, [(t, None) for t in job.stream()], [job])
    assert not changes.is_another_rotation
    assert changes.lines() == []


def test_a_key_that_is_named_by_its_kid_is_that_very_key() -> None:
    job = Job(wanted=BY_KID, key=KEY)
    assert not is_rekeyed(known(BY_KID, KEY), job)
    assert is_rekeyed(known(BY_KID, replace(KEY, kid=Kid("k2"))), job)


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_how_keys_are_activated_may_change_without_making_it_another_rotation(
    spec: KeySpec,
) -> None:
    rollout = JobSettings(rollout=Rollout(gate=Gate(approval=True)), allow_oidc=True)
    assert digest_of([Job(wanted=spec)]) == digest_of([Job(wanted=spec, settings=rollout)])
    assert not is_rekeyed(known(spec), Job(wanted=spec, settings=rollout))
