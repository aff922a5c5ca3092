"""Okta's guide page on sharing a key works to the letter: its request, its answer, its note."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.engine.keys import read_source
from orchestrator.engine.stage import stage
from orchestrator.engine.staging import SourceKey
from orchestrator.model import AppId, KeyRef, Kid, Proof, Reason, Status, Target
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import CallTrace, JsonWebKey
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.conformance.rawserver import TOKEN, Scripted, our_client, raw_server
from tests.conformance.reference import SEED, needs

pytestmark = needs(SEED)

REQUEST = re.compile(r"^`(?P<method>[A-Z]+) (?P<target>/api/v1/apps/\S+)`$", re.MULTILINE)
SAMPLE = re.compile(r"^```json\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
KEY_TYPE = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the page asks for, and what it says comes back."""

    method: str
    request_target: str
    body: bytes

    @property
    def source(self) -> KeyRef:
        segments = urlsplit(self.request_target).path.split("/")
        return KeyRef(app=AppId(segments[4]), kid=Kid(segments[7]))

    @property
    def target(self) -> Target:
        (app,) = parse_qs(urlsplit(self.request_target).query)["targetAid"]
        return Target(job="guide", app=AppId(app))

    @property
    def key(self) -> JsonWebKey:
        return decode(self.body, JsonWebKey)

    def location_of(self, app: AppId) -> tuple[str, str]:
        """Return the Location header of the clone's answer, which the page does not show."""
        path = f"/api/v1/apps/{app}/credentials/keys/{self.source.kid}"
        return ("Location", f"https://example.okta.com{path}")


@pytest.fixture(scope="module")
def page() -> Page:
    (path,) = SEED.iterdir()
    text = path.read_text(encoding="utf-8")
    request, sample = REQUEST.search(text), SAMPLE.search(text)
    assert request is not None
    assert sample is not None
    return Page(
        method=request["method"], request_target=request["target"], body=sample["body"].encode()
    )


def guide_org(page: Page) -> SandboxOrg:
    """Return an org with the apps and the key of the page."""
    org = SandboxOrg()
    org.add_app(page.source.app, kids=[page.source.kid])
    org.add_app(page.target.app)
    return org


def request_of(call: LoggedCall) -> str:
    """Return the method and request target that a logged call had."""
    path = call.template.replace("{appId}", call.app or "").replace("{kid}", call.kid or "")
    return f"{call.method} {path}?targetAid={call.target}"


async def test_the_client_sends_the_request_line_of_the_page(page: Page) -> None:
    answer = Scripted(status=201, headers=[KEY_TYPE], body=page.body)
    async with raw_server([answer]) as raw, our_client(raw.url) as api:
        await api.clone_key(page.source, page.target.app, CallTrace())
    (request,) = raw.requests
    assert request.line == f"{page.method} {page.request_target} HTTP/1.1"
    assert request.values_of("content-length") == ["0"]
    assert request.values_of("authorization") == [f"SSWS {TOKEN}"]
    assert request.values_of("accept") == ["application/json"]
    assert not request.values_of("transfer-encoding")
    assert request.after_head == b""


async def test_a_request_without_a_body_names_no_type_that_okta_does_not_take(page: Page) -> None:
    """A Content-Type that does not match is E0000021, says Okta's list of error codes."""
    answer = Scripted(status=201, headers=[KEY_TYPE], body=page.body)
    async with raw_server([answer]) as raw, our_client(raw.url) as api:
        await api.clone_key(page.source, page.target.app, CallTrace())
    (request,) = raw.requests
    assert set(request.values_of("content-type")) <= {"application/json"}


async def test_the_sandbox_understands_the_request_of_the_page(page: Page) -> None:
    async with serve(guide_org(page)) as served, our_client(served.url, served.org.token) as api:
        reply = await api.clone_key(page.source, page.target.app, CallTrace())
    (call,) = served.org.log
    assert request_of(call) == f"{page.method} {page.request_target}"
    assert (call.status, call.effect) == (201, True)
    assert reply.value is not None
    assert reply.value.kid == page.source.kid
    assert served.org.holds(page.target.app, page.source.kid)


def test_the_sample_is_not_strict_json(page: Page) -> None:
    """Its base64 is wrapped over lines, which is what the decoder must let through."""
    with pytest.raises(json.JSONDecodeError, match="Invalid control character"):
        json.loads(page.body)


def test_the_sample_decodes_to_the_key_of_the_request(page: Page) -> None:
    assert page.key.kid == page.source.kid
    assert page.key.expires_at == "2018-09-30T22:16:14.000Z"
    assert page.key.created == "2016-10-03T16:07:02.000Z"


def test_the_thumbprint_of_the_sample_is_that_of_its_certificate(page: Page) -> None:
    certificate = certificate_of(page.key)
    assert certificate.thumbprint == page.key.x5t_s256
    assert certificate.not_after.isoformat() == "2018-09-30T22:16:14+00:00"
    assert (certificate.signature_hash, certificate.key_bits) == ("sha1", 2048)


async def test_the_answer_of_the_page_proves_the_clone(page: Page) -> None:
    read = Scripted(status=200, headers=[KEY_TYPE], body=page.body)
    location = page.location_of(page.target.app)
    cloned = Scripted(status=201, headers=[KEY_TYPE, location], body=page.body)
    async with raw_server([read, cloned]) as raw, our_client(raw.url) as api:
        source = await read_source(api, page.source)
        assert isinstance(source, SourceKey)
        outcome = (await stage(api, page.target, source, CallTrace())).outcome
    assert (outcome.status, outcome.proof) == (Status.CLONED, Proof.RESPONSE)
    assert outcome.evidence.http_status == 201
    assert outcome.evidence.attempts == 1
    assert outcome.evidence.thumbprint == page.key.x5t_s256
    assert outcome.evidence.location_app == page.target.app


async def test_the_same_answer_located_on_the_source_proves_nothing(page: Page) -> None:
    source = SourceKey(ref=page.source, certificate=certificate_of(page.key))
    elsewhere = page.location_of(page.source.app)
    answer = Scripted(status=201, headers=[KEY_TYPE, elsewhere], body=page.body)
    async with raw_server([answer]) as raw, our_client(raw.url) as api:
        outcome = (await stage(api, page.target, source, CallTrace())).outcome
    assert (outcome.status, outcome.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)


async def test_without_a_location_one_read_proves_the_clone(page: Page) -> None:
    """The page shows no headers; an answer just as it stands there is settled by one read."""
    source = SourceKey(ref=page.source, certificate=certificate_of(page.key))
    cloned = Scripted(status=201, headers=[KEY_TYPE], body=page.body)
    read = Scripted(status=200, headers=[KEY_TYPE], body=page.body)
    async with raw_server([cloned, read]) as raw, our_client(raw.url) as api:
        outcome = (await stage(api, page.target, source, CallTrace())).outcome
    assert (outcome.status, outcome.proof) == (Status.CLONED, Proof.READ)
    path = f"/api/v1/apps/{page.target.app}/credentials/keys/{page.source.kid}"
    assert raw.requests[1].line == f"GET {path} HTTP/1.1"


async def test_cloning_again_is_answered_with_the_400_of_the_note(page: Page) -> None:
    async with serve(guide_org(page)) as served, our_client(served.url, served.org.token) as api:
        source = await read_source(api, page.source)
        assert isinstance(source, SourceKey)
        first = (await stage(api, page.target, source, CallTrace())).outcome
        again = (await stage(api, page.target, source, CallTrace())).outcome
    clones = [call.status for call in served.org.log if call.method == "POST"]
    assert clones == [201, 400]
    assert (first.status, first.proof) == (Status.CLONED, Proof.RESPONSE)
    assert (again.status, again.proof) == (Status.ALREADY_PRESENT, Proof.CAUSE)
    assert again.evidence.http_status == 400
    assert again.evidence.okta_code == "E0000001"
