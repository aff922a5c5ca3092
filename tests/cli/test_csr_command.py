"""A key whose certificate the company's CA signs: the request, the wait, the publication."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from orchestrator.sandbox.faults import Fault
from tests.cli.rollout_site import (
    CLOCK_CALL,
    SIX,
    RolloutSite,
    assert_true_to_the_org,
    rollout_plan,
    rollout_site,
    states,
)
from tests.cli.site import JOB, SOURCE

CA = ec.generate_private_key(ec.SECP256R1())
KEY = "{csr: {subject: {common_name: sso.acme.com, organization: Acme}, san: [sso.acme.com]}}"
PLAN = rollout_plan(SIX[:3], key=KEY, activate="{waves: [1, 100%]}")
CSRS = "/api/v1/apps/{appId}/credentials/csrs"
PUBLISH = f"POST {CSRS}/{{csrId}}/lifecycle/publish"
IDP_SOURCE, IDP_TARGET = "0oa8ae1t5yev2ajDsidp", "0oa8ae0dv4RGQvjyZidp"


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def signed(
    request: x509.CertificateSigningRequest, *, days: float = 700, key: object = None
) -> x509.Certificate:
    """Return the certificate that a CA makes of a request."""
    now = datetime.now(UTC)
    public = CA.public_key() if key is CA else request.public_key()
    builder = x509.CertificateBuilder(
        issuer_name=name("Acme CA"),
        subject_name=request.subject,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(minutes=1),
        not_valid_after=now + timedelta(days=days),
    )
    return builder.sign(CA, hashes.SHA256())


def request_in(folder: Path, job: str = JOB) -> x509.CertificateSigningRequest:
    [path] = folder.glob(f"*-{job}.csr.pem")
    return x509.load_pem_x509_csr(path.read_bytes())


def own_certificate() -> x509.Certificate:
    """Return the certificate of the CA itself."""
    request = x509.CertificateSigningRequestBuilder(name("Acme CA")).sign(CA, hashes.SHA256())
    return signed(request)


def file_of(form: str, certificate: x509.Certificate) -> bytes:
    """Return a file with a certificate, such as a CA may send it."""
    pem = certificate.public_bytes(Encoding.PEM)
    if form == "chain":
        return b"Subject: CN=Acme CA\n" + own_certificate().public_bytes(Encoding.PEM) + pem
    return pem if form == "pem" else certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("form", ["pem", "der", "chain"])
async def test_the_certificate_is_published_and_the_run_goes_on(form: str, tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=PLAN) as where:
        asked = await where.run("--quiet")
        request = request_in(where.reports)
        certificate = signed(request)
        file = tmp_path / "signed"
        file.write_bytes(file_of(form, certificate))
        ended = await where.keys("csr", "publish", "latest", file)
        assert ended.code == 0, ended.err
        report = assert_true_to_the_org(where)
        assert where.org.material(where.made).x5c == x5c_of(certificate)
        assert where.switched() == set(SIX[:3])
        assert where.calls()[PUBLISH] == where.calls()[f"POST {CSRS}"] == 1
    assert asked.code == 0
    assert names_in(request) == ["sso.acme.com"]
    assert f"job {JOB}: key {where.made} is published" in ended.err
    assert report["jobs"][0]["key_from"] == "csr"
    assert set(states(report).values()) == {"activated"}


def x5c_of(certificate: x509.Certificate) -> str:
    lines = certificate.public_bytes(Encoding.PEM).decode().splitlines()
    return "".join(lines[1:-1])


def names_in(request: x509.CertificateSigningRequest) -> list[str]:
    extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return list(extension.value.get_values_for_type(x509.DNSName))


async def test_while_the_ca_takes_its_time_nothing_happens(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=PLAN) as where:
        asked = await where.run()
        calls = len(where.org.log)
        quiet = await where.run("--quiet")
        status = await where.status()
        assert len(where.org.log) == calls, "nobody is asked"
    [path] = where.reports.glob("*.csr.pem")
    assert (asked.code, quiet.code, quiet.out, quiet.err) == (0, 0, "", "")
    [wait] = status["waits"]
    assert wait.startswith(f"job {JOB} waits for ")
    assert "okta-keys csr publish" in wait
    assert f"waiting: {wait}" in asked.err
    assert f"report: reports/{path.name}" in asked.err
    assert path.stat().st_mode & 0o777 == 0o600


def wrong_files(request: x509.CertificateSigningRequest) -> dict[str, bytes]:
    """Return files that are not what is waited for, by what is to be said about them."""
    pem = Encoding.PEM
    return {
        "is for another public key than the signing request": signed(request, key=CA).public_bytes(
            pem
        ),
        "Okta wants more than 90 days left": signed(request, days=30).public_bytes(pem),
        "give the certificate as PEM, or as DER; not a key, a request": request.public_bytes(pem),
        "the file holds no certificate that can be read": b"\x00 garbage",
    }


async def test_a_wrong_certificate_is_explained_before_it_is_sent(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=PLAN) as where:
        await where.run()
        before = where.calls()
        request, file = request_in(where.reports), tmp_path / "cert.pem"
        for said, data in wrong_files(request).items():
            file.write_bytes(data)
            ended = await where.keys("csr", "publish", "latest", file)
            assert ended.code == 4, ended.err
            assert said in ended.err
        missing = await where.keys("csr", "publish", "latest", tmp_path / "missing.pem")
        assert set(where.calls() - before) == {f"GET {CLOCK_CALL}"}
        assert (await where.status())["state"] == "stopped"
        file.write_bytes(signed(request).public_bytes(Encoding.PEM))
        right = await where.keys("csr", "publish", "latest", file)
        over = await where.keys("csr", "publish", "latest", file)
        assert_true_to_the_org(where)
    assert missing.code == 4
    assert f"{tmp_path / 'missing.pem'} cannot be read: there is no such file" in missing.err
    assert (right.code, over.code) == (0, 4)
    assert "no certificate is waited for" in over.err


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_lost_answer_to_the_publication_is_recovered(when: str, tmp_path: Path) -> None:
    lost = Fault(kind="drop", on="publish_csr", when=when, times=1)  # type: ignore[arg-type]
    async with rollout_site(tmp_path, lost, text=PLAN) as where:
        await where.run()
        file = tmp_path / "cert.pem"
        file.write_bytes(signed(request_in(where.reports)).public_bytes(Encoding.PEM))
        ended = await where.keys("csr", "publish", "latest", file)
        if when == "before":
            assert ended.code != 0
            assert where.switched() == set()
            ended = await where.keys("csr", "publish", "latest", file)
        assert ended.code == 0, ended.err
        assert set(states(assert_true_to_the_org(where)).values()) == {"activated"}
        assert [key for key in where.org.apps[SOURCE].keys or () if key == where.made]


async def test_a_token_that_is_refused_leaves_the_request_open(tmp_path: Path) -> None:
    refused = Fault(kind="reject", on="publish_csr", status=401, code="E0000011", times=1)
    async with rollout_site(tmp_path, refused, text=PLAN) as where:
        await where.run()
        file = tmp_path / "cert.pem"
        file.write_bytes(signed(request_in(where.reports)).public_bytes(Encoding.PEM))
        ended = await where.keys("csr", "publish", "latest", file)
        state = (await where.status())["state"]
        again = await where.keys("csr", "publish", "latest", file)
        assert_true_to_the_org(where)
    assert (ended.code, state, again.code) == (5, "stopped", 0)


TWO_JOBS = f"""\
version: 1
name: rollout
jobs:
  - name: apps
    source: {{app: {SOURCE}, key: {KEY}}}
    targets: [{", ".join(SIX[:2])}]
    activate: {{}}
  - name: partners
    resource: idp
    source: {{idp: {IDP_SOURCE}, key: {KEY}}}
    targets: [{IDP_TARGET}]
    activate: {{}}
    verify: read_back
"""


async def test_of_two_requests_the_job_says_which_is_meant(tmp_path: Path) -> None:
    async with rollout_site(tmp_path, text=TWO_JOBS) as where:
        await where.run()
        files = certificates(where, ["apps", "partners"])
        unclear = await where.keys("csr", "publish", "latest", files[1])
        crossed = await where.keys("csr", "publish", "latest", files[1], "--job", "apps")
        first = await where.keys("csr", "publish", "latest", files[1], "--job", "partners")
        assert where.switched() == {IDP_TARGET}
        waits = (await where.status())["waits"]
        second = await where.keys("csr", "publish", "latest", files[0])
        assert where.switched() == {IDP_TARGET, *SIX[:2]}
        assert_true_to_the_org(where)
        assert where.org.collateral_changes() == 0
    assert [each.code for each in (unclear, crossed, first, second)] == [4, 4, 0, 0]
    assert "--job, one of: apps, partners" in unclear.err
    assert "cannot be published for job apps: the certificate is for another" in crossed.err
    [wait] = waits
    assert wait.startswith("job apps waits for ")


def certificates(where: RolloutSite, jobs: Sequence[str]) -> list[Path]:
    """Have the requests of some jobs signed, and return the files."""
    paths = []
    for job in jobs:
        path = where.folder / f"{job}.pem"
        path.write_bytes(signed(request_in(where.reports, job)).public_bytes(Encoding.PEM))
        paths.append(path)
    return paths
