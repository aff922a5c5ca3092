"""One object of Okta's: what is read of it, what is exchanged in it, and what differs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.model import Kid, Resource
from orchestrator.okta.document import (
    MOST_CHANGES,
    SignerDocument,
    changes_between,
    fingerprint,
)
from tests.conformance.reference import body_of, read_json
from tests.support import needs_shared

APP: dict[str, Any] = {
    "id": "0oa1",
    "label": "Finance",
    "status": "ACTIVE",
    "lastUpdated": "2026-01-02T03:04:05.000Z",
    "signOnMode": "SAML_2_0",
    "credentials": {"userNameTemplate": {"template": "${a}"}, "signing": {"kid": "old-kid_1"}},
    "settings": {"signOn": {"acsEndpoints": [{"url": "https://sp", "index": 0}], "note": None}},
}
IDP: dict[str, Any] = {
    "id": "0oi1",
    "name": "Partner",
    "type": "SAML2",
    "status": "INACTIVE",
    "lastUpdated": "2026-01-02T03:04:05.000Z",
    "protocol": {
        "type": "SAML2",
        "credentials": {
            "signing": {"kid": "old-kid_1"},
            "client": {"client_secret": "s3cr3t-of-the-partner"},
        },
    },
}


def app(**changes: Any) -> bytes:
    return body_of(APP | changes)


def parsed(body: bytes, resource: Resource = Resource.APP) -> SignerDocument:
    return SignerDocument.parse(body, resource)


def test_an_app_is_read() -> None:
    document = parsed(app())
    assert (document.id, document.label, document.status) == ("0oa1", "Finance", "ACTIVE")
    assert (document.sign_on_mode, document.active_kid) == ("SAML_2_0", "old-kid_1")
    assert document.last_updated == "2026-01-02T03:04:05.000Z"
    assert document.body == app()


def test_an_identity_provider_is_read_in_the_words_of_an_app() -> None:
    document = parsed(body_of(IDP), Resource.IDP)
    assert (document.id, document.label, document.status) == ("0oi1", "Partner", "INACTIVE")
    assert (document.sign_on_mode, document.active_kid) == ("SAML2", "old-kid_1")


def test_the_key_of_an_apple_provider_is_apples_and_not_to_be_exchanged() -> None:
    """Okta keeps it where other providers name a key of Okta's."""
    signing = {"kid": "APPLEKEY01", "teamId": "T", "privateKey": "secret"}
    apple = IDP | {"type": "APPLE", "protocol": {"credentials": {"signing": signing}}}
    document = parsed(body_of(apple), Resource.IDP)
    assert document.active_kid is None
    with pytest.raises(ValueError, match="no signing key"):
        document.with_kid(Kid("new"))


@pytest.mark.parametrize("resource", Resource)
def test_each_resource_has_its_kid_in_a_place_of_its_own(resource: Resource) -> None:
    """An app's object is no identity provider's, so its kid is not found there."""
    other = {Resource.APP: IDP, Resource.IDP: APP}[resource]
    assert parsed(body_of(other), resource).active_kid is None


@pytest.mark.parametrize(
    "credentials",
    [None, {}, {"signing": None}, {"signing": {}}, {"signing": {"kid": None}}, {"kid": "x"}],
)
def test_what_does_not_sign_has_no_kid(credentials: Any) -> None:
    document = parsed(app(credentials=credentials))
    assert document.active_kid is None
    with pytest.raises(ValueError, match="no signing key"):
        document.with_kid(Kid("new"))


def test_the_kid_is_exchanged_and_nothing_else() -> None:
    body = (
        b' { "id" : "0oa1",\r\n"x":1.50e2, "credentials":{"signing":{ "kid"\t: "old" }},"y":[ ]} '
    )
    assert parsed(body).with_kid(Kid("new")) == body.replace(b'"old"', b'"new"')


def test_only_the_kid_on_the_path_is_exchanged() -> None:
    body = app(kid="old-kid_1", settings={"credentials": {"signing": {"kid": "old-kid_1"}}})
    changed = json.loads(parsed(body).with_kid(Kid("new")))
    assert changed["credentials"]["signing"]["kid"] == "new"
    assert changed["kid"] == "old-kid_1"
    assert changed["settings"]["credentials"]["signing"]["kid"] == "old-kid_1"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"id": "a"', "not JSON"),
        (b'{"id": "a"} {}', "not JSON"),
        (b'{"id": "a", "x": NaN}', "not JSON"),
        (b'{"id": "a", "x": -Infinity}', "not JSON"),
        (b'{"id": "a\nb"}', "not JSON"),
        (b'\xef\xbb\xbf{"id": "a"}', "not JSON"),
        (b'{"id": "\xff"}', "not UTF-8"),
        ('{"id": "a"}'.encode("utf-16"), "not UTF-8"),
        (b"[]", "not a JSON object"),
        (b'"id"', "not a JSON object"),
        (b"{}", "no id"),
        (b'{"id": 7}', "no id"),
        (b'{"id": ""}', "no id"),
        (b'{"id": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_object_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parsed(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"id":"a","credentials":{},"credentials":{}}', "credentials is given twice"),
        (b'{"id":"a","credentials":{},"cr\\u0065dentials":{}}', "credentials is given twice"),
        (
            b'{"id":"a","credentials":{"signing":{},"signing":{}}}',
            "credentials.signing is given twice",
        ),
        (
            b'{"id":"a","credentials":{"signing":{"kid":"k","k\\u0069d":"k"}}}',
            "credentials.signing.kid is given twice",
        ),
        (b'{"id":"a","credentials":"secret"}', "credentials is not an object"),
        (b'{"id":"a","credentials":{"signing":["secret"]}}', "credentials.signing is not an obj"),
        (b'{"id":"a","credentials":{"signing":{"kid":7}}}', "credentials.signing.kid is not a st"),
        (b'{"id":"a","credentials":{"signing":{"kid":""}}}', "not a name"),
        (b'{"id":"a","credentials":{"signing":{"kid":"\\ud800"}}}', "not a name"),
    ],
)
def test_a_kid_that_two_readers_may_see_differently_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parsed(body)
    assert "secret" not in str(caught.value)


def test_names_given_twice_elsewhere_stay_as_they_are() -> None:
    body = (
        b'{"id":"a","x":1,"x":2,"credentials":{"y":1,"y":2,"signing":{"kid":"k","use":1,"use":2}}}'
    )
    assert parsed(body).with_kid(Kid("n")) == body.replace(b'"k"', b'"n"')


def test_a_label_is_fit_for_records() -> None:
    """Half a surrogate pair is legal in JSON, and in no database and on no terminal."""
    body = b'{"id":"a","label":"x\\ud800y","status":7}'
    document = parsed(body)
    assert (document.label, document.status) == ("x?y", None)
    assert document.body == body


def test_nothing_of_a_document_is_printed() -> None:
    document = parsed(body_of(IDP), Resource.IDP)
    assert "s3cr3t" not in repr(document)
    assert "Partner" not in f"{document}"
    broken = body_of(IDP).replace(b'"old-kid_1"', b"old")
    with pytest.raises(ValueError, match="not JSON") as caught:
        parsed(broken, Resource.IDP)
    assert caught.value.__context__ is None  # json's own error carries the whole document


# What differs


def changes(**fields: Any) -> tuple[str, ...]:
    return changes_between(app(), app(**fields), Resource.APP)


def test_the_key_and_the_time_of_the_change_are_no_changes() -> None:
    signing = {"signing": {"kid": "new", "rotationMode": "MANUAL"}}
    credentials = APP["credentials"] | signing
    assert changes(credentials=credentials, lastUpdated="later") == ()
    without = {"userNameTemplate": APP["credentials"]["userNameTemplate"]}
    assert changes(credentials=without) == ()


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"label": "Other"}, ("label",)),
        ({"new": None}, ("new",)),
        ({"credentials": None}, ("credentials",)),
        ({"credentials": {"signing": {"kid": "x"}}}, ("credentials.userNameTemplate",)),
        ({"settings": {"signOn": {"acsEndpoints": []}}}, (
            "settings.signOn.acsEndpoints[0]", "settings.signOn.note",
        )),
        ({"settings": {"signOn": {"acsEndpoints": [{"url": "https://sp", "index": 0.0}, 1],
                                  "note": None}}},
         ("settings.signOn.acsEndpoints[0].index", "settings.signOn.acsEndpoints[1]")),
        ({"settings": {"signOn": {"acsEndpoints": [{"url": "https://sp", "index": False}],
                                  "note": ""}}},
         ("settings.signOn.acsEndpoints[0].index", "settings.signOn.note")),
        ({"settings": {"lastUpdated": "x", "signOn": APP["settings"]["signOn"]}},
         ("settings.lastUpdated",)),
        ({"credentials.signing": {"kid": "x"}}, ("credentials.signing",)),
        ({"line\nbreak\x1b": 1}, ("line?break?",)),
        ({"n" * 500: 1}, ("n" * 80,)),
    ],
)  # fmt: skip
def test_whatever_else_differs_is_named(fields: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert changes(**fields) == paths
    assert changes_between(app(**fields), app(), Resource.APP) == paths
    assert fingerprint(app(**fields), Resource.APP) != fingerprint(app(), Resource.APP)


def test_an_identity_provider_has_its_signing_elsewhere() -> None:
    protocol = IDP["protocol"]
    credentials = {"signing": {"kid": "new"}, "client": {"client_secret": "another"}}
    after = body_of(IDP | {"protocol": protocol | {"credentials": credentials}})
    named = ("protocol.credentials.client.client_secret",)
    assert changes_between(body_of(IDP), after, Resource.IDP) == named
    assert "protocol.credentials.signing.kid" in changes_between(body_of(IDP), after, Resource.APP)


def test_a_number_too_long_for_python_is_compared_as_it_is_written() -> None:
    long = b"9" * 6000
    one, other = (b'{"x": ' + long + tail + b"}" for tail in (b"1", b"2"))
    assert changes_between(one, one, Resource.APP) == ()
    assert changes_between(one, other, Resource.APP) == ("x",)


def test_more_changes_than_anyone_reads_are_cut_off() -> None:
    many = body_of({f"f{number:03}": number for number in range(MOST_CHANGES + 1)})
    listed = changes_between(b"{}", many, Resource.APP)
    assert len(listed) == MOST_CHANGES + 1
    assert (listed[0], listed[-1]) == ("f000", "...")
    assert len(changes_between(b'{"f050": 50}', many, Resource.APP)) == MOST_CHANGES


@pytest.mark.parametrize("depth", [900, 3000, 100_000])
def test_nesting_without_end_is_a_value_error_or_compared(depth: int) -> None:
    deep = b'{"x": ' + b"[" * depth + b"]" * depth + b"}"
    for read in (
        lambda: changes_between(deep, deep.replace(b"[]", b"[1]"), Resource.APP),
        lambda: fingerprint(deep, Resource.APP),
    ):
        try:
            assert read()
        except ValueError as error:
            assert str(error) == "nested too deeply"  # noqa: PT017


@needs_shared
@pytest.mark.parametrize(
    "document",
    [entry["body"] for entry in read_json("app_objects.json")],
    ids=lambda each: f"{each['signOnMode']}-{each['id']}",
)
def test_recorded_apps_of_all_sign_on_modes_survive(document: Any) -> None:
    body = body_of(document)
    app_ = parsed(body)
    assert app_.body == body
    assert app_.id == document["id"]
    assert app_.sign_on_mode == document["signOnMode"]
    assert app_.active_kid == document["credentials"]["signing"].get("kid")
    if app_.active_kid:
        changed = app_.with_kid(Kid("another"))
        assert changed == body.replace(f'"kid":"{app_.active_kid}"'.encode(), b'"kid":"another"', 1)
        assert changes_between(body, changed, Resource.APP) == ()
