"""Which key a plan means, or how it is to be made."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_core import PydanticCustomError

from orchestrator.model import (
    NEW_KID,
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Resource,
)
from orchestrator.plan.keys import read_country, read_dns_name, read_subject_text, read_years
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.resolved import ResolvedJob
from orchestrator.plan.targets import resolve

SOURCE = AppId("0oa8ae1t5yev2ajDs0h7")
KID = Kid("w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI")


def job_of(source: str, resource: str = "app") -> ResolvedJob:
    text = (
        "version: 1\nname: plan\njobs:\n"
        f"  - {{name: one, resource: {resource}, source: {{{source}}}, targets: [{'0' * 20}]}}\n"
    )
    [job] = resolve(load_plan_text(text.encode(), file="plan.yaml", folder=Path()))
    return job


@pytest.mark.parametrize(
    ("key", "kid", "wanted"),
    [
        (KID, KID, KeySpec()),
        ("active", NEW_KID, KeySpec(kind=KeyKind.ACTIVE)),
        ("newest", NEW_KID, KeySpec(kind=KeyKind.NEWEST)),
        (
            "{generate: {validity_years: 3}}",
            NEW_KID,
            KeySpec(kind=KeyKind.GENERATE, validity_years=3),
        ),
        ("{generate: {}}", NEW_KID, KeySpec(kind=KeyKind.GENERATE, validity_years=10)),
        (
            "{generate: {validity_years: 2, each_target: false}}",
            NEW_KID,
            KeySpec(kind=KeyKind.GENERATE, validity_years=2),
        ),
        (
            "{csr: {subject: {common_name: acme}}}",
            NEW_KID,
            KeySpec(kind=KeyKind.CSR, csr=CsrRequest(common_name="acme")),
        ),
    ],
)
def test_a_key_of_the_source(key: str, kid: Kid, wanted: KeySpec) -> None:
    job = job_of(f"app: {SOURCE}, key: {key}")
    assert job.key == KeyRef(app=SOURCE, kid=kid)
    assert job.key.is_known == (wanted.kind is KeyKind.KID)
    assert job.wanted == wanted


@pytest.mark.parametrize(
    ("key", "years"),
    [
        ("{generate: each_target}", 10),
        ("{generate: {each_target: true}}", 10),
        ("{generate: {each_target: true, validity_years: 3}}", 3),
    ],
)
def test_a_key_for_each_target_needs_no_source(key: str, years: int) -> None:
    wanted = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=years)
    without, with_app = job_of(f"key: {key}"), job_of(f"app: {SOURCE}, key: {key}")
    assert without.wanted == with_app.wanted == wanted
    assert without.key == KeyRef(app=AppId(""), kid=NEW_KID)
    assert with_app.key == KeyRef(app=SOURCE, kid=NEW_KID)
    assert job_of(f"key: {key}", "idp").key.resource is Resource.IDP


def test_a_key_of_an_identity_provider() -> None:
    job = job_of(f"idp: {SOURCE}, key: {KID}", "idp")
    assert job.key == KeyRef(app=SOURCE, kid=KID, resource=Resource.IDP)


def test_all_of_a_request() -> None:
    subject = (
        "{common_name: Acme SSO, country: US, state: Texas, locality: Austin, "
        "organization: 'Acme, Inc.', organizational_unit: 2026}"
    )
    job = job_of(
        f"app: {SOURCE}, key: {{csr: {{subject: {subject}, san: [sso.acme.com, a-1.acme.com]}}}}"
    )
    assert job.wanted.csr == CsrRequest(
        common_name="Acme SSO",
        country="US",
        state="Texas",
        locality="Austin",
        organization="Acme, Inc.",
        organizational_unit="2026",
        dns_names=("sso.acme.com", "a-1.acme.com"),
    )


@pytest.mark.parametrize("years", ["1", "11", "2.5", "ten", "-3", 1, 11, True, None])
def test_years_refused(years: object) -> None:
    with pytest.raises(PydanticCustomError):
        read_years(years)


@pytest.mark.parametrize("country", ["us", "USA", "U", "ÜS", "", None])
def test_country_refused(country: object) -> None:
    with pytest.raises(PydanticCustomError):
        read_country(country)


@pytest.mark.parametrize(
    "name",
    ["", "acme", "-a.com", "a..com", "a.com.", "*.acme.com", "a b.com", "a" * 64 + ".com", None],
)
def test_dns_name_refused(name: object) -> None:
    with pytest.raises(PydanticCustomError):
        read_dns_name(name)


@pytest.mark.parametrize("text", ["", "  ", "x" * 65, "a\nb", "a\x00b", None, []])
def test_subject_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        read_subject_text(text)
