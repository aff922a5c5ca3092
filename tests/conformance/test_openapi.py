"""Okta's OpenAPI document holds for what our client asks and for what the sandbox answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from jsonschema.exceptions import ValidationError
from openapi_core.exceptions import OpenAPIError
from yarl import URL

from orchestrator.errors import TokenRejected
from orchestrator.model import AppId, KeyRef, Kid
from orchestrator.okta.wire import CallTrace
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.conformance.okta_document import (
    IDP_NULLS,
    LOG_NULLS,
    NULLS,
    OktaDocument,
    apps_in,
    load_document,
)
from tests.conformance.rawserver import our_client
from tests.conformance.reference import OPENAPI, WIRE, needs, read_json
from tests.conformance.wiretap import Exchange, Wiretap, wiretap
from tests.sandbox.authority import issued, pem_of

pytestmark = needs(OPENAPI)

SOURCE = KeyRef(
    app=AppId("0oa8ae1t5yev2ajDs0h7"), kid=Kid("w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI")
)
TARGET = AppId("0oa8ae0dv4RGQvjyZ0h7")
NOWHERE = AppId("0oaNoSuchAppAnywhere0")
MODES = (
    "SAML_2_0", "SAML_1_1", "WS_FEDERATION", "OPENID_CONNECT", "BOOKMARK", "BROWSER_PLUGIN",
    "BASIC_AUTH", "SECURE_PASSWORD_STORE", "AUTO_LOGIN",
)  # fmt: skip
APP = f"/api/v1/apps/{SOURCE.app}"
KEYS = f"{APP}/credentials/keys"
CLONE = f"{KEYS}/{SOURCE.kid}/clone?targetAid={TARGET}"
REPLACEMENT = {"label": "Source", "signOnMode": "SAML_2_0"}
IDP_ID = "0oaSandboxIdp00000000"
OTHER_IDP = "0oaSandboxIdp00000001"
IDP = f"/api/v1/idps/{IDP_ID}"
IDP_KEYS = f"{IDP}/credentials/keys"
IDP_CLONE = f"{IDP_KEYS}/{SOURCE.kid}/clone?targetIdpId={OTHER_IDP}"
CSR_METADATA = {
    "subject": {"countryName": "US", "commonName": "SP Issuer"},
    "subjectAltNames": {"dnsNames": ["dev.okta.com"]},
}
LOGS = "/api/v1/logs"
METADATA = f"{APP}/sso/saml/metadata?kid={SOURCE.kid}"


@pytest.fixture(scope="session")
def document() -> OktaDocument:
    return load_document()


def new_org() -> SandboxOrg:
    """Return an org with the guide's two apps, and one app of every sign-on mode."""
    org = SandboxOrg()
    org.add_app(SOURCE.app, label="Source", kids=[SOURCE.kid])
    org.add_app(TARGET, label="Target", status="INACTIVE")
    for mode in MODES:
        org.add_app(label=mode, sign_on_mode=mode)
    org.add_idp(IDP_ID, kids=[SOURCE.kid])
    org.add_idp(OTHER_IDP, status="INACTIVE")
    for kind in ("OIDC", "FACEBOOK"):
        org.add_idp(kind=kind)
    return org


@asynccontextmanager
async def tapped(
    *faults: Fault, limits: LimitSettings | None = None
) -> AsyncIterator[tuple[Wiretap, SandboxOrg]]:
    """Serve an org behind a wiretap."""
    script = FaultScript.of(faults)
    async with (
        serve(new_org(), limits=limits, faults=script) as served,
        wiretap(served.url) as tap,
    ):
        yield tap, served.org


async def ask(
    tap: Wiretap,
    method: str,
    target: str,
    token: str,
    *,
    body: Any = None,
    data: bytes | None = None,
    kind: str = "",
    accept: str = "",
) -> Exchange:
    """Send a request by hand, and return what passed over the wire.

    The body is JSON, or data of some kind.
    """
    headers = {"Accept": accept or "application/json", "Authorization": f"SSWS {token}"}
    skipped = ["Content-Type"] if body is None else []
    if kind:
        headers["Content-Type"] = kind
    if method != "GET" and body is None and data is None:
        headers["Content-Length"] = "0"
    async with (
        aiohttp.ClientSession(skip_auto_headers=skipped) as session,
        session.request(
            method, tap.url + target, headers=headers, json=body, data=data
        ) as response,
    ):
        await response.read()
    return tap.exchanges[-1]


# Our client's calls


async def test_a_clone(document: OktaDocument) -> None:
    async with tapped() as (tap, org), our_client(tap.url, org.token) as api:
        await api.clone_key(SOURCE, TARGET, CallTrace())
        await api.clone_key(SOURCE, TARGET, CallTrace())
        await api.clone_key(SOURCE, NOWHERE, CallTrace())
    assert [exchange.status for exchange in tap.exchanges] == [201, 400, 404]
    for exchange in tap.exchanges:
        document.check(exchange)
    document.check_key(json.loads(tap.exchanges[0].body))


def test_the_duplicate_is_worded_as_in_the_document(document: OktaDocument) -> None:
    """The example of the document is what our client's rule for duplicates was made from."""
    example = document.content["components"]["examples"]["ErrorKeyCredentialCloneDuplicateKey"]
    assert example["value"]["errorCode"] == "E0000001"
    (cause,) = example["value"]["errorCauses"]
    assert "already exists" in cause["errorSummary"]


async def test_the_sandbox_words_the_duplicate_alike(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        org.add_key(TARGET, SOURCE.kid)
        exchange = await ask(tap, "POST", CLONE, org.token)
    example = document.content["components"]["examples"]["ErrorKeyCredentialCloneDuplicateKey"]
    answer = json.loads(exchange.body)
    ours, theirs = ({**body, "errorId": ""} for body in (answer, example["value"]))
    assert ours == theirs


async def test_the_reads_of_keys(document: OktaDocument) -> None:
    async with tapped() as (tap, org), our_client(tap.url, org.token) as api:
        await api.get_key(SOURCE, CallTrace())
        await api.list_keys(SOURCE.app, CallTrace())
        await api.get_key(KeyRef(app=TARGET, kid=SOURCE.kid), CallTrace())
        await api.list_keys(NOWHERE, CallTrace())
    assert [exchange.status for exchange in tap.exchanges] == [200, 200, 404, 404]
    for exchange in tap.exchanges:
        document.check(exchange)
    document.check_key(json.loads(tap.exchanges[0].body))
    for key in json.loads(tap.exchanges[1].body):
        document.check_key(key)


async def test_the_read_of_an_app(document: OktaDocument) -> None:
    async with tapped() as (tap, org), our_client(tap.url, org.token) as api:
        for app_id in [*org.apps, NOWHERE]:
            await api.get_signer(AppId(app_id), CallTrace())
    assert [exchange.status for exchange in tap.exchanges] == [200] * len(org.apps) + [404]
    for exchange in tap.exchanges:
        document.check(exchange)
    for exchange in tap.exchanges[:-1]:
        document.check_app(json.loads(exchange.body))


async def test_the_list_of_apps_page_by_page(document: OktaDocument) -> None:
    async with tapped() as (tap, org), our_client(tap.url, org.token) as api:
        listed = [app.id async for app in api.list_apps(CallTrace(), page_size=4)]
    assert listed == list(org.apps)
    assert len(tap.exchanges) == -(-len(listed) // 4)
    for exchange in tap.exchanges:
        document.check(exchange)
        for app in apps_in(exchange):
            document.check_app(app)


async def test_the_filtered_list_of_apps(document: OktaDocument) -> None:
    async with tapped() as (tap, org), our_client(tap.url, org.token) as api:
        inactive = [a.id async for a in api.list_apps(CallTrace(), filter_='status eq "INACTIVE"')]
    (exchange,) = tap.exchanges
    document.check(exchange)
    assert inactive == [TARGET]
    assert exchange.url.query == {"limit": "200", "filter": 'status eq "INACTIVE"'}


# Calls that only the sandbox knows


def signing(kid: str) -> Any:
    return {"signing": {"kid": kid}}


@pytest.mark.parametrize("years", [2, 10, 11])
async def test_generating_a_key(document: OktaDocument, years: int) -> None:
    async with tapped() as (tap, org):
        generate = f"{KEYS}/generate?validityYears={years}"
        exchange = await ask(tap, "POST", generate, org.token)
    assert exchange.status == (201 if years <= 10 else 400)
    document.check(exchange)
    if exchange.status == 201:
        document.check_key(json.loads(exchange.body))


async def test_replacing_an_app(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        body = REPLACEMENT | {"credentials": signing(SOURCE.kid)}
        replaced = await ask(tap, "PUT", APP, org.token, body=body)
        missing = await ask(tap, "PUT", f"/api/v1/apps/{NOWHERE}", org.token, body=body)
        unheld = body | {"credentials": signing("not-in-the-key-store")}
        refused = await ask(tap, "PUT", APP, org.token, body=unheld)
    answers = [replaced, missing, refused]
    assert [exchange.status for exchange in answers] == [200, 404, 400]
    for exchange in answers:
        document.check(exchange)
    app = json.loads(replaced.body)
    document.check_app(app)
    assert app["credentials"]["signing"] == {"kid": SOURCE.kid}


async def test_metadata(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        found = await ask(tap, "GET", METADATA, org.token, accept="application/xml")
        elsewhere = METADATA.replace(SOURCE.app, NOWHERE)
        missing = await ask(tap, "GET", elsewhere, org.token, accept="application/xml")
    assert [found.status, missing.status] == [200, 404]
    document.check(found)
    document.check(missing)


# CSRs, identity providers, and the log


async def check_all(document: OktaDocument, exchanges: list[Exchange], statuses: list[int]) -> None:
    """Hold exchanges against the document, and their statuses against what is expected."""
    assert [exchange.status for exchange in exchanges] == statuses
    for exchange in exchanges:
        document.check(exchange)


@pytest.mark.parametrize("holder", [APP, IDP])
async def test_the_life_of_a_csr(document: OktaDocument, holder: str) -> None:
    csrs = f"{holder}/credentials/csrs"
    pem = "application/x-pem-file"
    async with tapped() as (tap, org):
        made = await ask(tap, "POST", csrs, org.token, body=CSR_METADATA)
        csr = json.loads(made.body)
        one, publish = f"{csrs}/{csr['id']}", f"{csrs}/{csr['id']}/lifecycle/publish"
        short, long = (pem_of(issued(csr["csr"], days=days)) for days in (30, 365))
        second = json.loads((await ask(tap, "POST", csrs, org.token, body=CSR_METADATA)).body)
        other = pem_of(issued(second["csr"]))
        exchanges = [
            made,
            await ask(tap, "POST", csrs, org.token, body={}),
            await ask(tap, "GET", csrs, org.token),
            await ask(tap, "GET", one, org.token),
            await ask(tap, "POST", publish, org.token, data=other, kind=pem),
            await ask(tap, "POST", publish, org.token, data=short, kind=pem),
            await ask(tap, "POST", publish, org.token, data=long, kind=pem),
            await ask(tap, "GET", one, org.token),
            await ask(tap, "POST", publish, org.token, data=long, kind=pem),
            await ask(tap, "DELETE", f"{csrs}/{second['id']}", org.token),
            await ask(tap, "DELETE", f"{csrs}/{second['id']}", org.token),
        ]
    statuses = [201, 400, 200, 200, 400, 400, 201, 404, 404, 204, 404]
    await check_all(document, exchanges, statuses)
    document.check_key(json.loads(exchanges[6].body))
    for exchange, name in (
        (exchanges[4], "ErrorPublishCSRCertDoesNotMatchCSR"),
        (exchanges[5], "ErrorPublishCSRCertValidityLessThan90Days"),
    ):
        example = document.content["components"]["examples"][name]["value"]
        ours, theirs = ({**b, "errorId": ""} for b in (json.loads(exchange.body), example))
        assert ours == theirs


async def test_a_csr_looks_like_the_example(document: OktaDocument) -> None:
    example = document.content["components"]["examples"]["AppCsrJsonResponse"]["value"]
    async with tapped() as (tap, org):
        made = await ask(tap, "POST", f"{APP}/credentials/csrs", org.token, body=CSR_METADATA)
        packed = await ask(tap, "GET", tap_path(made), org.token, accept="application/pkcs10")
    ours = json.loads(made.body)
    assert list(ours) == list(example)
    assert ours["_links"].keys() == example["_links"].keys()
    for name, link in example["_links"].items():
        assert ours["_links"][name]["hints"] == link["hints"]
    assert packed.headers["Content-Transfer-Encoding"] == "base64"
    assert packed.body.decode() == ours["csr"]


def tap_path(exchange: Exchange) -> str:
    """Return the path of what an answer has created."""
    return URL(exchange.headers["Location"]).path


async def test_the_keys_of_idps(document: OktaDocument) -> None:
    nowhere = IDP_KEYS.replace(IDP_ID, NOWHERE)
    social = "/credentials/keys/active"
    async with tapped() as (tap, org):
        oidc = next(idp for idp in org.idps.values() if idp.type == "OIDC")
        exchanges = [
            await ask(tap, method, target, org.token)
            for method, target in (
                ("GET", IDP_KEYS),
                ("GET", f"{IDP_KEYS}/{SOURCE.kid}"),
                ("GET", f"{IDP_KEYS}/active"),
                ("GET", f"/api/v1/idps/{oidc.id}{social}"),
                ("POST", f"{IDP_KEYS}/generate?validityYears=2"),
                ("POST", IDP_CLONE),
                ("POST", IDP_CLONE),
                ("POST", IDP_CLONE.replace(OTHER_IDP, NOWHERE)),
                ("GET", nowhere),
                ("GET", f"{nowhere}/active"),
            )
        ]
    await check_all(document, exchanges, [200, 200, 200, 204, 201, 201, 400, 404, 404, 404])
    for index in (1, 4, 5):
        assert set(json.loads(exchanges[index].body)) >= document.properties("IdPKeyCredential")
    example = document.content["components"]["examples"]["ErrorKeyCredentialCloneDuplicateKey"]
    ours, theirs = ({**b, "errorId": ""} for b in (json.loads(exchanges[6].body), example["value"]))
    assert ours == theirs


async def test_idps(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        listed = await ask(tap, "GET", "/api/v1/idps?limit=3", org.token)
        read = await ask(tap, "GET", IDP, org.token)
        whole = json.loads(read.body)
        whole["protocol"]["credentials"]["signing"]["kid"] = SOURCE.kid
        exchanges = [
            listed,
            read,
            await ask(tap, "PUT", IDP, org.token, body=whole),
            await ask(tap, "PUT", IDP, org.token, body={"name": "a part"}),
            await ask(tap, "GET", f"/api/v1/idps/{NOWHERE}", org.token),
        ]
    await check_all(document, exchanges, [200, 200, 200, 400, 404])
    for idp in [*json.loads(listed.body), whole, json.loads(exchanges[2].body)]:
        document.check_schema("IdentityProvider", idp)
    assert org.idps[IDP_ID].active_kid == SOURCE.kid


async def test_an_idp_looks_like_the_example(document: OktaDocument) -> None:
    example = document.content["components"]["examples"]["SamlIdPResponse"]["value"]
    ours = new_org().idps[IDP_ID].document()
    assert list(ours) == [name for name in ours if name in (*example, "issuerMode")]
    assert set(example) <= set(ours)
    protocol = ours["protocol"]
    assert isinstance(protocol, dict)
    assert list(protocol) == list(example["protocol"])
    assert protocol["algorithms"] == example["protocol"]["algorithms"]


async def test_the_system_log(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        await ask(tap, "POST", CLONE, org.token)
        body = REPLACEMENT | {"credentials": signing(SOURCE.kid)}
        await ask(tap, "PUT", APP, org.token, body=body)
        until = "until=2199-01-01T00:00:00Z"
        some = f"filter=eventType%20eq%20%22app.keys.rotate%22&since=2001-01-01T00:00:00Z&{until}"
        exchanges = [
            await ask(tap, "GET", LOGS, org.token),
            await ask(tap, "GET", f"{LOGS}?limit=1&sortOrder=DESCENDING", org.token),
            await ask(tap, "GET", f"{LOGS}?{some}", org.token),
            await ask(tap, "GET", f"{LOGS}?filter=nonsense", org.token),
        ]
        org.log_readable = False
        exchanges.append(await ask(tap, "GET", LOGS, org.token))
    await check_all(document, exchanges, [200, 200, 200, 400, 403])
    pages = [json.loads(exchange.body) for exchange in exchanges[:3]]
    assert [len(page) for page in pages] == [3, 1, 1]
    example = document.content["components"]["examples"]["ListLogs"]["value"][0]
    for event in pages[0]:
        document.check_schema("LogEvent", event)
        assert set(event) <= set(example)
        assert set(event["actor"]) == set(example["actor"])
        assert set(event["target"][0]) - {"changeDetails"} == set(example["target"][0])


# Refusals that any call may get

EVERY_CALL = [
    ("POST", CLONE),
    ("POST", f"{KEYS}/generate?validityYears=2"),
    ("GET", f"{KEYS}/{SOURCE.kid}"),
    ("GET", KEYS),
    ("GET", APP),
    ("GET", "/api/v1/apps"),
    ("GET", METADATA),
    ("PUT", APP),
    ("GET", f"{APP}/credentials/csrs"),
    ("POST", f"{APP}/credentials/csrs"),
    ("GET", "/api/v1/idps"),
    ("GET", IDP),
    ("GET", IDP_KEYS),
    ("POST", f"{IDP_KEYS}/generate?validityYears=2"),
    ("POST", IDP_CLONE),
    ("GET", f"{IDP}/credentials/csrs"),
    ("GET", LOGS),
]


async def ask_any(tap: Wiretap, method: str, target: str, token: str) -> Exchange:
    """Send one of EVERY_CALL as it must be sent."""
    accept = "application/xml" if target == METADATA else "application/json"
    body: Any = REPLACEMENT if method == "PUT" else None
    if method == "POST" and target.endswith("/csrs"):
        body = CSR_METADATA
    return await ask(tap, method, target, token, body=body, accept=accept)


@pytest.mark.parametrize(("method", "target"), EVERY_CALL)
async def test_a_rejected_token(document: OktaDocument, method: str, target: str) -> None:
    async with tapped() as (tap, _):
        exchange = await ask_any(tap, method, target, "revoked")
    assert exchange.status == 401
    document.check(exchange)


@pytest.mark.parametrize(("method", "target"), EVERY_CALL)
async def test_a_role_that_does_not_reach(document: OktaDocument, method: str, target: str) -> None:
    async with tapped(Fault(kind="error", status=403)) as (tap, org):
        exchange = await ask_any(tap, method, target, org.token)
    assert exchange.status == 403
    document.check(exchange)


@pytest.mark.parametrize(("method", "target"), EVERY_CALL)
async def test_an_empty_bucket(document: OktaDocument, method: str, target: str) -> None:
    buckets = ("apps", "app.read", "app.write", "v1", "logs")
    scarce = LimitSettings(org_limits=dict.fromkeys(buckets, 1), share=1.0)
    async with tapped(limits=scarce) as (tap, org):
        first = await ask_any(tap, method, target, org.token)
        second = await ask_any(tap, method, target, org.token)
    assert first.status < 300
    assert second.status == 429
    document.check(second)


async def test_a_bad_filter(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        exchange = await ask(tap, "GET", "/api/v1/apps?filter=label%20sw%20%22A%22", org.token)
    assert exchange.status == 400
    document.check(exchange)


async def test_a_call_of_ours_that_is_refused(document: OktaDocument) -> None:
    async with tapped() as (tap, _), our_client(tap.url, "revoked") as api:
        with pytest.raises(TokenRejected):
            await api.clone_key(SOURCE, TARGET, CallTrace())
    document.check(tap.exchanges[0])


# The judge can say no


async def test_the_judge_refuses_what_is_wrong(document: OktaDocument) -> None:
    async with tapped() as (tap, org):
        good = await ask(tap, "POST", CLONE, org.token)
    document.check(good)
    no_target = replace(good, url=good.url.with_query(None))
    bad_kid = replace(good, body=good.body.replace(b'"kid":"', b'"kid":7,"was":"'))
    bad_status = replace(good, status=200)
    surplus = replace(good, url=good.url.update_query(force="true"))
    with pytest.raises(AssertionError):
        document.check(surplus)
    for wrong in (no_target, bad_kid, bad_status):
        with pytest.raises(OpenAPIError):
            document.check(wrong)


@needs(WIRE)
@pytest.mark.parametrize(("schema", "name", "place"), NULLS)
def test_what_the_judge_lets_through_is_recorded(schema: str, name: str, place: str) -> None:
    """Each null that the document would refuse stands in an app of a real org."""
    objects = [entry["body"] for entry in read_json("app_objects.json")]
    for step in place.split("."):
        objects = [part[step] for part in objects if part.get(step)]
    assert any(name in part and part[name] is None for part in objects), schema


@needs(WIRE)
@pytest.mark.parametrize(("schema", "name", "place"), IDP_NULLS)
def test_what_the_judge_lets_through_of_idps_is_recorded(
    schema: str, name: str, place: str
) -> None:
    exchanges = [entry["response"] for entry in read_json("clone_idp_signing_key.json")]
    objects = [answer["body"] for answer in exchanges if "policy" in (answer.get("body") or {})]
    for step in place.split("."):
        objects = [part[step] for part in objects]
    assert any(name in part and part[name] is None for part in objects), schema


@pytest.mark.parametrize(("schema", "name", "place"), LOG_NULLS)
def test_what_the_judge_lets_through_of_the_log_is_exemplified(
    document: OktaDocument, schema: str, name: str, place: str
) -> None:
    part = document.content["components"]["examples"]["ListLogs"]["value"][0]
    for step in place.split("."):
        part = part[int(step)] if step.isdigit() else part[step]
    assert part[name] is None, schema


def test_the_judge_refuses_a_wrong_idp_and_a_wrong_event(document: OktaDocument) -> None:
    idp = new_org().idps[IDP_ID].document()
    document.check_schema("IdentityProvider", idp)
    with pytest.raises(ValidationError):
        document.check_schema("IdentityProvider", idp | {"name": 7})
    with pytest.raises(ValidationError):
        document.check_schema("LogEvent", {"target": {"id": "not in a list"}})


def test_the_judge_refuses_a_wrong_app(document: OktaDocument) -> None:
    org = new_org()
    app = org.apps[SOURCE.app].document()
    document.check_app(app)
    with pytest.raises(ValidationError):
        document.check_app({**app, "settings": {"signOn": {"attributeStatements": "none"}}})
