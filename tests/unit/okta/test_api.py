"""What each method asks the org, to the letter, and what it makes of the answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from orchestrator.errors import NoAnswer, Refused
from orchestrator.model import AppId, CsrRequest, KeyRef, Kid, Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import CallTrace, located_key
from tests.unit.okta.peer import TOKEN, Says, client, peer

APP, OTHER = AppId("0oa1"), AppId("0oa2")
KID = Kid("w__Yr9AElCftDtLP5Cmj")
IDP = Resource.IDP
OBJECT = {"id": "0oa1", "credentials": {"signing": {"kid": KID}}}
REQUEST = CsrRequest(common_name="sp.example.com")
SINCE = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
UNTIL = datetime(2026, 3, 1, 15, 0, tzinfo=timezone(timedelta(hours=2)))
METADATA = b"<EntityDescriptor/>"

Send = Callable[[OktaApi, CallTrace], Awaitable[Any]]


def key(resource: Resource) -> KeyRef:
    return KeyRef(app=APP, kid=KID, resource=resource)


CALLS: list[tuple[str, Send, object, str, Bucket]] = [
    (
        "clone_key", lambda api, t: api.clone_key(key(Resource.APP), OTHER, t), {"kid": KID},
        f"POST /api/v1/apps/0oa1/credentials/keys/{KID}/clone?targetAid=0oa2", Bucket.APPS,
    ),
    (
        "clone_key", lambda api, t: api.clone_key(key(IDP), OTHER, t), {"kid": KID},
        f"POST /api/v1/idps/0oa1/credentials/keys/{KID}/clone?targetIdpId=0oa2",
        Bucket.IDPS,
    ),
    (
        "get_key", lambda api, t: api.get_key(key(Resource.APP), t), {"kid": KID},
        f"GET /api/v1/apps/0oa1/credentials/keys/{KID}", Bucket.APPS,
    ),
    (
        "get_key", lambda api, t: api.get_key(key(IDP), t), {"kid": KID},
        f"GET /api/v1/idps/0oa1/credentials/keys/{KID}", Bucket.IDPS,
    ),
    (
        "list_keys", lambda api, t: api.list_keys(APP, t), [{"kid": KID}],
        "GET /api/v1/apps/0oa1/credentials/keys", Bucket.APPS,
    ),
    (
        "list_keys", lambda api, t: api.list_keys(APP, t, resource=IDP), [{"kid": KID}],
        "GET /api/v1/idps/0oa1/credentials/keys", Bucket.IDPS,
    ),
    (
        "generate_key", lambda api, t: api.generate_key(APP, 3, t), {"kid": KID},
        "POST /api/v1/apps/0oa1/credentials/keys/generate?validityYears=3", Bucket.APPS,
    ),
    (
        "generate_key", lambda api, t: api.generate_key(APP, 3, t, resource=IDP), {"kid": KID},
        "POST /api/v1/idps/0oa1/credentials/keys/generate?validityYears=3", Bucket.IDPS,
    ),
    (
        "create_csr", lambda api, t: api.create_csr(APP, REQUEST, t), {"id": "c"},
        "POST /api/v1/apps/0oa1/credentials/csrs", Bucket.APPS,
    ),
    (
        "create_csr", lambda api, t: api.create_csr(APP, REQUEST, t, resource=IDP), {"id": "c"},
        "POST /api/v1/idps/0oa1/credentials/csrs", Bucket.IDPS,
    ),
    (
        "list_csrs", lambda api, t: api.list_csrs(APP, t), [{"id": "c"}],
        "GET /api/v1/apps/0oa1/credentials/csrs", Bucket.APPS,
    ),
    (
        "list_csrs", lambda api, t: api.list_csrs(APP, t, resource=IDP), [{"id": "c"}],
        "GET /api/v1/idps/0oa1/credentials/csrs", Bucket.IDPS,
    ),
    (
        "publish_csr", lambda api, t: api.publish_csr(APP, "c1", b"PEM", t), {"kid": KID},
        "POST /api/v1/apps/0oa1/credentials/csrs/c1/lifecycle/publish", Bucket.APPS,
    ),
    (
        "publish_csr", lambda api, t: api.publish_csr(APP, "c", b"PEM", t, resource=IDP),
        {"kid": KID}, "POST /api/v1/idps/0oa1/credentials/csrs/c/lifecycle/publish", Bucket.IDPS,
    ),
    (
        "get_signer", lambda api, t: api.get_signer(APP, t), OBJECT,
        "GET /api/v1/apps/0oa1", Bucket.APP_READ,
    ),
    (
        "get_signer", lambda api, t: api.get_signer(APP, t, resource=IDP), OBJECT,
        "GET /api/v1/idps/0oa1", Bucket.IDPS,
    ),
    (
        "put_signer", lambda api, t: api.put_signer(APP, b"{}", t), OBJECT,
        "PUT /api/v1/apps/0oa1", Bucket.APP_WRITE,
    ),
    (
        "put_signer", lambda api, t: api.put_signer(APP, b"{}", t, resource=IDP), OBJECT,
        "PUT /api/v1/idps/0oa1", Bucket.IDPS,
    ),
    (
        "get_metadata", lambda api, t: api.get_metadata(APP, KID, t), METADATA,
        f"GET /api/v1/apps/0oa1/sso/saml/metadata?kid={KID}", Bucket.APPS,
    ),
    (
        "organization", lambda api, t: api.organization(t), {"id": "00o1"},
        "GET /.well-known/okta-organization", Bucket.ORG,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("send", "body", "line", "bucket"), [each[1:] for each in CALLS], ids=[e[3] for e in CALLS]
)
async def test_what_is_asked_and_of_which_bucket(
    send: Send, body: object, line: str, bucket: Bucket
) -> None:
    rate = [("X-Rate-Limit-Limit", "77"), ("X-Rate-Limit-Remaining", "70")]
    reset = ("X-Rate-Limit-Reset", str(int(datetime.now(UTC).timestamp()) + 60))
    trace = CallTrace()
    async with peer(Says(body=body, headers=[*rate, reset])) as org, client(org.url) as api:
        reply = await send(api, trace)
        known = [each for each in Bucket if api.pacer.view(each)]
    assert org.lines == [line]
    assert reply.value is not None
    assert trace.attempts == 1
    assert known == [bucket]


@pytest.mark.parametrize(
    ("send", "line"), [(each[1], each[3]) for each in CALLS], ids=[e[3] for e in CALLS]
)
async def test_the_headers_of_a_call(send: Send, line: str) -> None:
    refusal = Says(status=404, body={"errorCode": "E0000007", "errorSummary": "Not found"})
    async with peer(refusal) as org, client(org.url) as api:
        reply = await send(api, CallTrace())
    assert reply.refusal.code == "E0000007"
    (asked,) = org.asked
    is_open = "well-known" in line
    assert asked.headers.get("Authorization") == (None if is_open else f"SSWS {TOKEN}")
    accepted = "application/xml" if "metadata" in line else "application/json"
    assert asked.headers.getall("Accept") == [accepted]  # type: ignore[attr-defined]
    content = {"csrs": "application/json", "publish": "application/x-pem-file"}
    is_put = asked.method == "PUT"
    named = content.get(line.rpartition("/")[2]) if asked.method == "POST" else None
    assert asked.headers.get("Content-Type") == ("application/json" if is_put else named)
    if asked.method != "GET":
        assert asked.headers["Content-Length"] == str(len(asked.body))


@pytest.mark.parametrize("status", [200, 201])
async def test_a_generated_key_is_accepted_with_either_status(status: int) -> None:
    """Okta's reference says 200 for identity providers, recordings say 201."""
    place = f"https://x.okta.com/api/v1/idps/0oa1/credentials/keys/{KID}"
    answer = Says(status=status, body={"kid": KID}, headers=[("Location", place)])
    async with peer(answer) as org, client(org.url) as api:
        reply = await api.generate_key(APP, 2, CallTrace(), resource=IDP)
    assert reply.value is not None
    assert reply.value.kid == KID
    assert located_key(reply.location) == (APP, KID)


async def test_a_signing_request_holds_what_is_given_and_no_more() -> None:
    full = CsrRequest(
        country="US",
        state="CA",
        locality="San Francisco",
        organization="Ökta, Inc.",
        organizational_unit="Dev",
        common_name="SP Issuer",
        dns_names=("dev.okta.com", "b.okta.com"),
    )
    answer = Says(status=201, body={"id": "c1", "csr": "MIIC", "kty": "RSA", "created": "2026"})
    async with peer(answer) as org, client(org.url) as api:
        await api.create_csr(APP, REQUEST, CallTrace())
        made = (await api.create_csr(APP, full, CallTrace())).value
    assert json.loads(org.asked[0].body) == {"subject": {"commonName": "sp.example.com"}}
    assert json.loads(org.asked[1].body) == {
        "subject": {
            "countryName": "US",
            "stateOrProvinceName": "CA",
            "localityName": "San Francisco",
            "organizationName": "Ökta, Inc.",
            "organizationalUnitName": "Dev",
            "commonName": "SP Issuer",
        },
        "subjectAltNames": {"dnsNames": ["dev.okta.com", "b.okta.com"]},
    }
    assert made is not None
    assert (made.id, made.csr) == ("c1", "MIIC")


async def test_a_certificate_is_published_byte_for_byte() -> None:
    pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    async with peer(Says(status=201, body={"kid": KID})) as org, client(org.url) as api:
        await api.publish_csr(APP, "c1", pem, CallTrace())
    assert org.asked[0].body == pem


async def test_an_object_goes_back_byte_for_byte_and_the_echo_comes_raw() -> None:
    sent = b' {"id":"0oa1", "x":1.50, "credentials":{"signing":{"kid":"new"}} }\n'
    echo = b'{"credentials":{"signing":{"kid":"new"}},"id":"0oa1","x":1.50 }'
    async with peer(Says(body=echo)) as org, client(org.url) as api:
        reply = await api.put_signer(APP, sent, CallTrace())
    assert org.asked[0].body == sent
    assert reply.value == echo


async def test_an_echo_that_is_no_object_is_a_lost_answer() -> None:
    async with peer(Says(body=b"<html>")) as org, client(org.url) as api:
        with pytest.raises(NoAnswer) as caught:
            await api.put_signer(APP, b"{}", CallTrace())
    assert (caught.value.lost, caught.value.answered, len(org.asked)) == (True, True, 1)


async def test_a_page_in_place_of_metadata_is_asked_for_again() -> None:
    page = Says(body=b"<html><body>wait<br></html>")
    async with peer(page, Says(body=METADATA)) as org, client(org.url) as api:
        reply = await api.get_metadata(APP, KID, CallTrace())
    assert reply.value == METADATA
    assert len(org.asked) == 2


# Lists


def next_link(url: str) -> list[tuple[str, str]]:
    return [("Link", f'<{url}>; rel="next"'), ("Link", '<https://x>; rel="self"')]


async def test_apps_that_sign_with_a_key_are_filtered_and_checked() -> None:
    others = [{"id": "0oa2", "credentials": {"signing": {"kid": "other"}}}, {"id": "0oa3"}]
    first = Says(
        body=[OBJECT, *others],
        headers=next_link("https://canonical.okta.com/api/v1/apps?after=c1&limit=200"),
    )
    second = Says(body=[OBJECT | {"id": "0oa9", "label": "L"}])
    async with peer(first, second) as org, client(org.url) as api:
        found = [app async for app in api.signers_with(KID, CallTrace())]
    assert [app.id for app in found] == ["0oa1", "0oa9"]
    assert found[1].label == "L"
    assert org.lines == [
        f"GET /api/v1/apps?limit=200&filter=credentials.signing.kid%20eq%20%22{KID}%22",
        "GET /api/v1/apps?after=c1&limit=200",
    ]


async def test_identity_providers_that_sign_with_a_key_are_picked_from_all() -> None:
    listed = [
        {"id": "0oi1", "name": "N", "type": "SAML2", "status": "ACTIVE",
         "protocol": {"type": "SAML2", "credentials": {"signing": {"kid": KID}}}},
        {"id": "0oi2", "type": "OIDC", "protocol": {"credentials": {"client": {}}}},
        {"id": "0oi3", "type": "X509", "protocol": None},
        {"id": "0oi4", "credentials": {"signing": {"kid": KID}}},
        {"id": "0oi5", "type": "APPLE", "protocol": {"credentials": {"signing": {"kid": KID}}}},
    ]  # fmt: skip
    async with peer(Says(body=listed)) as org, client(org.url) as api:
        found = [idp async for idp in api.signers_with(KID, CallTrace(), resource=IDP)]
    assert org.lines == ["GET /api/v1/idps?limit=200"]
    (idp,) = found
    assert (idp.id, idp.label, idp.sign_on_mode, idp.status) == ("0oi1", "N", "SAML2", "ACTIVE")


@pytest.mark.parametrize("root", ["apps", "idps"])
async def test_a_list_that_is_refused_or_leads_elsewhere_is_an_error(root: str) -> None:
    resource = Resource.APP if root == "apps" else IDP
    refusal = Says(status=403, body={"errorCode": "E0000006", "errorSummary": "no"})
    async with peer(refusal) as org, client(org.url) as api:
        with pytest.raises(Refused, match="E0000006"):
            [_ async for _ in api.signers_with(KID, CallTrace(), resource=resource)]
    away = Says(body=[], headers=next_link("https://evil/api/v1/users?after=1"))
    async with peer(away) as org, client(org.url) as api:
        with pytest.raises(Refused, match="leads elsewhere"):
            [_ async for _ in api.signers_with(KID, CallTrace(), resource=resource)]
    assert len(org.asked) == 1


EVENT = {
    "uuid": "u1",
    "published": "2026-03-01T12:00:00.500Z",
    "eventType": "app.keys.rotate",
    "actor": {"id": "00u1", "type": "User", "alternateId": "a@b.c", "displayName": "A"},
    "outcome": {"result": "SUCCESS", "reason": None},
    "target": [{"id": "0oa1", "type": "AppInstance"}, {"id": None}],
    "transaction": {"id": "req1", "type": "WEB", "detail": {}},
    "debugContext": {"debugData": {}},
}


async def test_the_log_is_read_page_by_page_until_a_page_is_empty() -> None:
    links = [next_link(f"https://canonical.okta.com/api/v1/logs?after={n}&until=x") for n in (1, 2)]
    pages = [Says(body=[EVENT], headers=links[0]), Says(body=[{}], headers=links[1])]
    empty = Says(body=[], headers=links[1])
    async with peer(*pages, empty) as org, client(org.url) as api:
        events = [
            event
            async for event in api.log_events(
                SINCE, UNTIL, 'eventType eq "app.keys.rotate"', CallTrace()
            )
        ]
    assert len(events) == 2
    since, until = "2026-03-01T12%3A00%3A00.123Z", "2026-03-01T13%3A00%3A00.000Z"
    rotated = "eventType%20eq%20%22app.keys.rotate%22"
    first = f"since={since}&until={until}&filter={rotated}"
    assert org.lines == [
        f"GET /api/v1/logs?{first}&limit=1000&sortOrder=ASCENDING",
        "GET /api/v1/logs?after=1&until=x",
        "GET /api/v1/logs?after=2&until=x",
    ]
    event, bare = events
    assert event.published_at == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert (event.event_type, event.uuid) == ("app.keys.rotate", "u1")
    assert event.actor is not None
    assert (event.actor.id, event.actor.type, event.actor.alternate_id) == (
        "00u1", "User", "a@b.c",
    )  # fmt: skip
    assert event.outcome is not None
    assert event.outcome.result == "SUCCESS"
    assert (event.request_id, event.target_ids) == ("req1", frozenset({"0oa1"}))
    assert (bare.published_at, bare.request_id, bare.target_ids) == (None, None, frozenset())


async def test_the_org_says_who_it_is() -> None:
    body: Any = {"id": "00o1", "pipeline": "idx", "cell": None, "_links": {}}
    async with peer(Says(body=body)) as org, client(org.url) as api:
        reply = await api.organization(CallTrace())
    assert reply.value is not None
    assert (reply.value.id, reply.value.pipeline) == ("00o1", "idx")
