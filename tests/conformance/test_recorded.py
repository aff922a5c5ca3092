"""What real orgs answered: our client reads every recording, and calls it what it was."""

from __future__ import annotations

import gzip
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, get_origin
from urllib.parse import parse_qs

import pytest
from yarl import URL

from orchestrator.engine.keys import read_source
from orchestrator.engine.stage import stage
from orchestrator.engine.staging import SourceKey, Unsettled, Verdict, judge_clone
from orchestrator.errors import Transient
from orchestrator.model import AppId, KeyRef, Kid, Proof, Reason, Resource, Status, Target
from orchestrator.okta.call import Call, RawAnswer, conclude
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.document import SignerDocument, changes_between
from orchestrator.okta.objects import IdentityProvider
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import (
    REQUEST_ID,
    Application,
    CallTrace,
    ErrorBody,
    JsonWebKey,
    Meaning,
    Reply,
    located_key,
    meaning_of,
    next_page,
    rate_headers,
    refusal_of,
)
from tests.conformance.rawserver import Scripted, our_client, raw_server
from tests.conformance.reference import WIRE, Recorded, body_of, read_json, recorded_exchanges

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason="no recorded exchanges")

KEY_PATH = re.compile(r"/credentials/keys(?:/generate|/[^/]+(?:/clone)?)$")
SCRUBBED = "SANITIZED"  # what the recordings have in place of a token
EXCHANGES = recorded_exchanges()
ANSWERED = [exchange for exchange in EXCHANGES if exchange.status != 204]
CREATED = [exchange for exchange in EXCHANGES if exchange.status == 201]
REFUSED = [exchange for exchange in EXCHANGES if exchange.status >= 400]
GATHERED_KEYS = [entry["body"] for entry in read_json("app_key_lists.json")]
GATHERED_APPS = [entry["body"] for entry in read_json("app_objects.json")]
IDP_WRITES = [
    exchange
    for exchange in EXCHANGES
    if exchange.method == "POST" and exchange.url.raw_path in ("/api/v1/idps", "/api/v1/idps/")
]


def kind_of(exchange: Recorded) -> type[Any]:
    """Return what our client reads such an answer into; a plain container for others."""
    path = exchange.url.raw_path
    if path.endswith("/credentials/keys"):
        return list[JsonWebKey]
    if KEY_PATH.search(path):
        return JsonWebKey
    if exchange.method == "POST" and path == "/api/v1/apps":
        return Application
    if exchange.method == "POST" and path == "/api/v1/idps":
        return IdentityProvider
    return list if isinstance(exchange.document, list) else dict


def call_of(exchange: Recorded) -> Call[Any]:
    """Return the recorded request as a call of our client."""
    return Call(
        method=exchange.method,
        template=exchange.url.raw_path,
        path=exchange.target,
        bucket=Bucket.APPS,
        kind=kind_of(exchange),
    )


def keys_of(document: object) -> list[JsonWebKey]:
    """Return the keys in a recorded body: one, a list, or none."""
    entries = document if isinstance(document, list) else [document]
    keys = [entry for entry in entries if isinstance(entry, dict) and "x5c" in entry]
    return [decode(body_of(entry), JsonWebKey) for entry in keys]


def all_keys() -> list[JsonWebKey]:
    """Return every key in the recordings."""
    documents = [exchange.document for exchange in EXCHANGES] + GATHERED_KEYS
    return [key for document in documents for key in keys_of(document)]


def is_damaged(key: JsonWebKey) -> bool:
    """Say whether the scrubbing of the recording took a piece of the certificate for a token."""
    return any(SCRUBBED in text for text in key.x5c)


def concluded(exchange: Recorded) -> Reply[Any]:
    raw = RawAnswer(exchange.status, exchange.headers, exchange.body)
    return conclude(call_of(exchange), raw)


def find(file: str, ending: str) -> Recorded:
    """Return the first exchange of a file whose path ends so."""
    return next(e for e in EXCHANGES if e.file == file and e.url.raw_path.endswith(ending))


def scripted(exchange: Recorded) -> Scripted:
    """Return the recorded answer, compressed again where it was."""
    compressed = exchange.headers.get("Content-Encoding") == "gzip"
    body = gzip.compress(exchange.body) if compressed else exchange.body
    return Scripted(status=exchange.status, headers=list(exchange.headers.items()), body=body)


def test_there_are_recordings_of_each_kind() -> None:
    assert len(EXCHANGES) > 50
    kinds = {kind_of(exchange) for exchange in EXCHANGES}
    assert kinds >= {JsonWebKey, list[JsonWebKey], Application, IdentityProvider}
    assert len(IDP_WRITES) > 3
    assert sum(not is_damaged(key) for key in all_keys()) > 20
    assert len(GATHERED_APPS) > 30


# Headers


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_the_rate_headers_are_read(exchange: Recorded) -> None:
    rate = rate_headers(exchange.headers)
    assert rate is not None
    assert rate.limit == int(exchange.headers["x-rate-limit-limit"])
    assert rate.remaining == int(exchange.headers["x-rate-limit-remaining"])
    assert rate.reset == int(exchange.headers["x-rate-limit-reset"])
    assert rate.date == parsedate_to_datetime(exchange.headers["date"]).timestamp()
    assert exchange.headers.get(REQUEST_ID)


@pytest.mark.parametrize(
    "exchange", [e for e in EXCHANGES if e.url.raw_path.startswith("/api/v1/apps")], ids=str
)
def test_a_window_of_the_apps_lasts_a_minute_at_most(exchange: Recorded) -> None:
    """The pacing builds on this: Reset is never further away than one window."""
    rate = rate_headers(exchange.headers)
    assert rate is not None
    assert 0 <= rate.reset - rate.date <= 60
    assert 0 <= rate.remaining < rate.limit


@pytest.mark.parametrize("exchange", CREATED, ids=str)
def test_location_names_where_the_key_landed(exchange: Recorded) -> None:
    """A clone's Location names the target, not the app that the request went to."""
    query = parse_qs(exchange.url.raw_query_string)
    (target,) = query.get("targetAid") or query.get("targetIdpId") or [exchange.url.parts[4]]
    location = exchange.headers.get("Location")
    assert location is not None
    assert URL(location).host != exchange.url.host  # the canonical host, not the one asked
    assert located_key(location) == (target, exchange.document["kid"])


@pytest.mark.parametrize("exchange", [e for e in EXCHANGES if "Link" in e.headers], ids=str)
def test_a_last_page_leads_nowhere(exchange: Recorded) -> None:
    assert next_page(exchange.headers.getall("Link"), exchange.url.raw_path) is None


# What an answer means


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_every_recorded_answer_is_final(exchange: Recorded) -> None:
    """None of the recordings is a rate limit, a rejected token or a gateway's page."""
    code = exchange.document.get("errorCode") if isinstance(exchange.document, dict) else None
    rate = rate_headers(exchange.headers)
    assert meaning_of(exchange.status, rate, code, "") is Meaning.FINAL


@pytest.mark.parametrize("exchange", ANSWERED, ids=str)
def test_every_recorded_body_is_read(exchange: Recorded) -> None:
    reply = concluded(exchange)
    assert reply.status == exchange.status
    if exchange.status < 400:
        assert reply.refusal is None
        assert type(reply.value) is (get_origin(kind_of(exchange)) or kind_of(exchange))
    else:
        assert reply.value is None
        assert reply.refusal is not None


@pytest.mark.parametrize("exchange", [e for e in EXCHANGES if e.status == 204], ids=str)
def test_an_answer_without_a_body_is_not_taken_for_a_key(exchange: Recorded) -> None:
    with pytest.raises(Transient, match="204 with a body that cannot be read"):
        concluded(exchange)


@pytest.mark.parametrize("exchange", REFUSED, ids=str)
def test_a_recorded_refusal_is_no_duplicate(exchange: Recorded) -> None:
    """One of them is a bare E0000001, which must never pass for a key already there.

    The others are of the token endpoint, whose errors have another shape (RFC 6749 section 5.2).
    """
    refusal = refusal_of(exchange.status, exchange.body)
    error = decode(exchange.body, ErrorBody)
    assert not refusal.is_duplicate
    assert refusal.status == 400
    assert refusal.code == error.code == exchange.document.get("errorCode")
    assert refusal.summary == exchange.document.get("errorSummary", "")
    assert str(refusal).startswith("400 ")


def test_both_shapes_of_refusal_are_recorded() -> None:
    shapes = [frozenset(e.document) & {"error", "errorCode"} for e in REFUSED]
    assert set(shapes) == {frozenset({"error"}), frozenset({"errorCode"})}


# Keys and apps


@pytest.mark.parametrize(
    "key", [key for key in all_keys() if not is_damaged(key)], ids=lambda key: str(key.kid)
)
def test_a_recorded_key_agrees_with_its_certificate(key: JsonWebKey) -> None:
    certificate = certificate_of(key)
    assert key.kid is not None
    assert key.x5t_s256 == certificate.thumbprint
    assert key.expires_at is not None
    assert datetime.fromisoformat(key.expires_at) == certificate.not_after
    assert certificate.key_bits == 2048


@pytest.mark.parametrize("key", [key for key in all_keys() if is_damaged(key)])
def test_a_damaged_certificate_is_not_trusted(key: JsonWebKey) -> None:
    with pytest.raises(ValueError, match="x5c is not base64"):
        certificate_of(key)


def test_a_kid_means_one_certificate() -> None:
    pairs = {(key.kid, key.x5t_s256) for key in all_keys()}
    assert len({kid for kid, _ in pairs}) == len(pairs)


@pytest.mark.parametrize(
    "document", GATHERED_APPS, ids=[f"{a['signOnMode']}-{a['id']}" for a in GATHERED_APPS]
)
def test_a_recorded_app_is_read_with_its_active_kid(document: Any) -> None:
    """An app of the Integration Network may have a sign-on mode of null."""
    app = decode(body_of(document), Application)
    assert (app.id, app.label) == (document["id"], document["label"])
    assert app.status == document["status"]
    assert (app.sign_on_mode or None) == document["signOnMode"]
    assert app.active_kid == document["credentials"]["signing"].get("kid")


def test_only_modes_that_sign_have_an_active_kid() -> None:
    documents = [document for document in GATHERED_APPS if document["signOnMode"]]
    apps = [decode(body_of(document), Application) for document in documents]
    signing = {app.sign_on_mode for app in apps if app.active_kid}
    silent = {app.sign_on_mode for app in apps if not app.active_kid}
    assert signing == {"SAML_2_0", "SAML_1_1", "OPENID_CONNECT"}
    assert not signing & silent


@pytest.mark.parametrize("document", GATHERED_APPS, ids=lambda each: str(each["id"]))
def test_a_recorded_app_can_be_sent_back(document: Any) -> None:
    body = body_of(document)
    app = SignerDocument.parse(body, Resource.APP)
    assert app.body == body
    assert (app.id, app.label, app.status) == (
        document["id"],
        document["label"],
        document["status"],
    )
    assert app.last_updated == document["lastUpdated"]
    if app.active_kid is None:
        assert "kid" not in document["credentials"]["signing"]
        return
    changed = app.with_kid(Kid("another"))
    document["credentials"]["signing"]["kid"] = "another"
    assert changed == body_of(document)
    assert changes_between(body, changed, Resource.APP) == ()


# Identity providers


@pytest.mark.parametrize("exchange", IDP_WRITES, ids=str)
def test_a_recorded_identity_provider_is_read(exchange: Recorded) -> None:
    """They are of social login, which signs nothing, and hold a client secret."""
    recorded = exchange.document
    idp = concluded(exchange).value
    assert isinstance(idp, IdentityProvider)
    app = idp.as_application
    assert (app.id, app.label, app.status) == (
        recorded["id"], recorded["name"], recorded["status"],
    )  # fmt: skip
    assert (app.sign_on_mode, app.active_kid) == (recorded["type"], None)
    document = SignerDocument.parse(exchange.body, Resource.IDP)
    assert (document.id, document.label, document.status) == (app.id, app.label, app.status)
    assert (document.sign_on_mode, document.active_kid) == (app.sign_on_mode, None)
    assert document.body == exchange.body
    secret = recorded["protocol"]["credentials"]["client"]["client_secret"]
    assert secret not in repr(document)


def signing_idp(recorded: Any, kid: str) -> Any:
    """Return a recorded identity provider as one that signs: its credentials are of SAML2."""
    credentials = {"trust": {"issuer": "https://partner"}, "signing": {"kid": kid}}
    protocol = recorded["protocol"] | {"type": "SAML2", "credentials": credentials}
    return recorded | {"type": "SAML2", "protocol": protocol}


@pytest.mark.parametrize("exchange", IDP_WRITES, ids=str)
def test_an_identity_provider_can_be_sent_back(exchange: Recorded) -> None:
    body = body_of(signing_idp(exchange.document, "before"))
    document = SignerDocument.parse(body, Resource.IDP)
    assert document.active_kid == "before"
    changed = document.with_kid(Kid("after"))
    assert changed == body_of(signing_idp(exchange.document, "after"))
    assert changes_between(body, changed, Resource.IDP) == ()


async def test_the_recorded_clone_of_an_idp_key_is_what_our_client_asks_for() -> None:
    clone = find("clone_idp_signing_key", "/clone")
    (target,) = parse_qs(clone.url.raw_query_string)["targetIdpId"]
    kid, source = Kid(clone.document["kid"]), AppId(clone.url.parts[4])
    ref = KeyRef(app=source, kid=kid, resource=Resource.IDP)
    async with raw_server([scripted(clone)]) as raw, our_client(raw.url) as api:
        reply = await api.clone_key(ref, AppId(target), CallTrace())
        view = api.pacer.view(Bucket.IDPS)
    assert raw.requests[0].line == f"POST {clone.target} HTTP/1.1"
    assert reply == concluded(clone)
    assert located_key(reply.location) == (target, kid)
    assert view is not None
    assert view.limit == 1000


@pytest.mark.parametrize(
    ("file", "prefix", "resource"),
    [
        ("generate_app_key", "/api/v1/apps", Resource.APP),
        ("clone_idp_signing_key", "/api/v1/idps", Resource.IDP),
    ],
)
async def test_the_recorded_generation_of_a_key_is_what_our_client_asks_for(
    file: str, prefix: str, resource: Resource
) -> None:
    generated = find(file, "/generate")
    assert generated.url.raw_path.startswith(prefix)
    app = AppId(generated.url.parts[4])
    async with raw_server([scripted(generated)]) as raw, our_client(raw.url) as api:
        reply = await api.generate_key(app, 2, CallTrace(), resource=resource)
    assert raw.requests[0].line == f"POST {generated.target} HTTP/1.1"
    assert reply.status == 201
    assert located_key(reply.location) == (app, generated.document["kid"])


# The recorded clone


def recorded_source() -> SourceKey:
    """Return the source as the recorded generate answered."""
    generated = find("clone_app_key", "/generate")
    key = concluded(generated).value
    assert isinstance(key, JsonWebKey)
    assert key.kid is not None
    ref = KeyRef(app=AppId(generated.url.parts[4]), kid=Kid(key.kid))
    return SourceKey(ref=ref, certificate=certificate_of(key))


def recorded_clone() -> tuple[Recorded, AppId]:
    clone = find("clone_app_key", "/clone")
    (target,) = parse_qs(clone.url.raw_query_string)["targetAid"]
    return clone, AppId(target)


def judge(target: AppId, source: SourceKey) -> Verdict | Unsettled:
    clone, _ = recorded_clone()
    return judge_clone(concluded(clone), target, source)


def test_the_recorded_clone_is_proven_by_its_answer() -> None:
    clone, target = recorded_clone()
    verdict = judge(target, recorded_source())
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.proof) == (Status.CLONED, Proof.RESPONSE)
    assert verdict.http_status == 201
    assert verdict.thumbprint == clone.document["x5t#S256"]
    assert verdict.location_app == target


def test_the_recorded_clone_proves_nothing_for_another_target() -> None:
    source = recorded_source()
    verdict = judge(source.ref.app, source)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)


def test_the_recorded_clone_proves_nothing_for_another_key() -> None:
    _, target = recorded_clone()
    other = concluded(find("clone_idp_signing_key", "/generate")).value
    assert isinstance(other, JsonWebKey)
    source = SourceKey(ref=recorded_source().ref, certificate=certificate_of(other))
    verdict = judge(target, source)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)


# The recordings over a real connection


@pytest.mark.parametrize("exchange", ANSWERED, ids=str)
async def test_the_client_reads_the_recording_off_the_wire(exchange: Recorded) -> None:
    trace = CallTrace()
    async with raw_server([scripted(exchange)]) as raw, our_client(raw.url) as api:
        reply = await api.transport.send(call_of(exchange), trace)
    (request,) = raw.requests
    assert request.line == f"{exchange.method} {exchange.target} HTTP/1.1"
    assert reply == concluded(exchange)
    assert trace.request_ids == [exchange.headers[REQUEST_ID]]
    assert (trace.attempts, trace.lost_answers) == (1, 0)


async def test_the_pacer_learns_the_recorded_bucket() -> None:
    clone, target = recorded_clone()
    source = recorded_source()
    async with raw_server([scripted(clone)]) as raw, our_client(raw.url) as api:
        await api.clone_key(source.ref, target, CallTrace())
        view = api.pacer.view(Bucket.APPS)
    assert view is not None
    assert view.limit == 100


async def test_the_engine_replays_the_recorded_clone() -> None:
    clone, target = recorded_clone()
    generated = find("clone_app_key", "/generate")
    async with (
        raw_server([scripted(generated), scripted(clone)]) as raw,
        our_client(raw.url) as api,
    ):
        source = await read_source(api, recorded_source().ref)
        assert source == recorded_source()
        staged = await stage(api, Target(job="recorded", app=target), source, CallTrace())
    outcome = staged.outcome
    assert raw.requests[1].line == f"POST {clone.target} HTTP/1.1"
    assert (outcome.status, outcome.proof) == (Status.CLONED, Proof.RESPONSE)
    assert outcome.evidence.request_ids == (clone.headers[REQUEST_ID],)
