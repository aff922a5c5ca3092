"""Texts of others lose what is secret in them, and nothing else."""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from threading import Event, Thread
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.okta.caps import LONGEST_TEXT
from orchestrator.okta.wire import refusal_of
from orchestrator.scrubbing import SHORTEST, scrub
from orchestrator.secret import MASK, Secret

VALUE = "canary/Qx7+token & 'more'"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIwb2EifQ.c2lnbmF0dXJl-canary"
OKTA_TOKEN = "00" + "canary-_Qx7" * 3 + "canaryQ"

HIDDEN = {
    "an API token": f"Authorization: SSWS {OKTA_TOKEN}",
    "an API token alone": f"the token {OKTA_TOKEN} is not known",
    "in a dict": f"{{'Authorization': 'SSWS {OKTA_TOKEN[:20]}'}}",
    "in JSON": f'{{"Authorization": "Bearer canary-{OKTA_TOKEN[:20]}"}}',
    "bearer": "bearer canary.of-an_opaque~kind+and/padding==",
    "DPoP": "Authorization=DPoP canary-of-an-opaque-kind, and more",
    "a short password": "Proxy-Authorization: Basic Y2FuYXJ5",
    "a JWT": f"the proof {JWT} was refused",
    "a form": f"grant_type=client_credentials&client_assertion={JWT}&scope=x",
    "another form": "client_secret=canary&scope=x",
    "an answer": '{"token_type": "Bearer", "access_token": "canary", "expires_in": 3600}',
    "an answer in an answer": r'{"body": "{\"access_token\": \"canary\"}"}',
    "a proxy whose password has an @": "http://user:canary@canary@proxy:3128",
    "a proxy": "cannot reach http://user:canary@proxy:3128",
    "a JWK": "{'kty': 'RSA', 'n': 'public', 'd': 'canary-4Jx0Q9b8Zq', 'e': 'AQAB'}",
    "a key cut off": "-----BEGIN RSA PRIVATE KEY-----\ncanary and more\ncanary",
    "a key in JSON": r'"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"',
}
SHOWN = [
    'Bearer authorization_uri="http://acme.okta.com/oauth2/v1/authorize", realm="x", scope="a"',
    'DPoP error="use_dpop_nonce", error_description="Authorization server requires nonce"',
    "the app 0oa8ae1t5yev2ajDs0h7 signs with w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI",
    "00" + "a" * 41,
    "PUT /api/v1/apps/{appId} -> 200, request id ZZ00-1",
    "SHA-256 00:AA:BB, x5t#S256 NLHVcFpAHcXbJ2XBYVqF2rNxZJ8a4RJEFeWfF4xqO6w",
    "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "the DPoP proof lacks a nonce; a Bearer token does not do; basic authentication",
    "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n",
    "-----BEGIN PUBLIC KEY-----\nMIIC\n-----END PUBLIC KEY-----\n",
    "https://acme.okta.com:443/path@x, mail to someone@example.com",
    '{"kid": "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI", "n": "0vx7agoebGcQSuuPiLJXZptN9nnd"}',
]


@pytest.mark.parametrize("name", HIDDEN)
def test_what_looks_like_a_credential_is_hidden(name: str) -> None:
    scrubbed = scrub(HIDDEN[name])
    assert "canary" not in scrubbed
    assert MASK in scrubbed
    assert scrub(scrubbed) == scrubbed


@pytest.mark.parametrize("text", SHOWN)
def test_what_only_resembles_one_is_shown(text: str) -> None:
    assert scrub(text) == text


def test_what_stands_around_a_credential_is_shown() -> None:
    assert scrub(HIDDEN["a proxy"]) == f"cannot reach http://user:{MASK}@proxy:3128"
    assert scrub(HIDDEN["a form"]).endswith(f"&client_assertion={MASK}&scope=x")


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1].replace("\\\\", "\\"),
        lambda value: quote(value, safe=""),
        lambda value: b64encode(value.encode()).decode(),
        lambda value: urlsafe_b64encode(value.encode()).decode().rstrip("="),
        lambda value: value.encode().hex(),
    ],
)
def test_a_secret_of_ours_is_hidden_in_whatever_way_it_is_written(write: object) -> None:
    assert callable(write)
    written = f"before {write(VALUE)} after"
    assert scrub(written) == written, "nobody knows yet that it is one"
    secret = Secret(VALUE)
    scrubbed = scrub(written)
    assert MASK in scrubbed
    assert "Qx7" not in scrubbed
    assert VALUE.encode().hex() not in scrubbed
    del secret
    assert scrub(written) == written


def test_a_short_secret_would_hide_all_else() -> None:
    kept = [Secret("e"), Secret(""), Secret("x" * (SHORTEST - 1))]
    assert scrub("here we are, xxxxx") == "here we are, xxxxx"
    del kept


def test_the_lines_of_a_key_are_secret_each_by_itself() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secret = Secret(pem)
    for line in pem.splitlines()[1:-1]:
        assert line not in scrub(f"line: {line}")
        assert quote(line, safe="") not in scrub(f"line={quote(line, safe='')}")
    del secret


def test_the_private_members_of_a_jwk_are_secret_each_by_itself() -> None:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_numbers()
    private = urlsafe_b64encode(numbers.d.to_bytes(256)).decode().rstrip("=")
    jwk = {"kty": "RSA", "kid": "the-kid-of-the-key", "d": private}
    secret = Secret(json.dumps(jwk))
    assert scrub(f"d is {private}") == f"d is {MASK}"
    assert scrub("no key the-kid-of-the-key") == "no key the-kid-of-the-key"
    del secret


def test_what_is_no_jwk_is_no_reason_to_fail() -> None:
    kept = [
        Secret("{not json"),
        Secret('{"d": 1, "k": null}'),
        Secret("{" * 10_000),
        Secret("\udcff" * 9),
    ]
    assert scrub("harmless") == "harmless"
    del kept


@given(st.text())
def test_any_text_can_be_scrubbed(text: str) -> None:
    scrub(text)


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ",
        "-eyJaaaaaa.",
        "Bearer ",
        "://a:",
        "-----BEGIN PRIVATE KEY-----",
        '"d":"',
        "00",
        "authorization ",
        "access_token=",
        '\\"',
    ],
)
def test_a_long_text_takes_no_more_time_than_its_length(piece: str) -> None:
    """A hostile org may choose what we log."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        scrub(text)
        return time.process_time() - began

    assert seconds(100_000) < 0.5, "a quadratic pattern takes minutes"


def test_a_gateway_that_tells_all_it_got_does_not_get_the_token_into_the_journal() -> None:
    secret = Secret(OKTA_TOKEN)
    told = f"no route for this request: {'x' * LONGEST_TEXT} Authorization: SSWS {OKTA_TOKEN}"
    near = told[: LONGEST_TEXT - 20] + OKTA_TOKEN
    body = {"errorCode": "E1", "errorSummary": near, "errorCauses": [{"errorSummary": near}]}
    refusal = refusal_of(502, json.dumps(body).encode())
    assert OKTA_TOKEN[:12] not in str(refusal), "cut in the middle it would not be found"
    assert MASK in refusal.summary
    assert len(refusal.summary) <= LONGEST_TEXT + 3
    del secret


def test_a_secret_that_begins_another_leaves_nothing_of_it() -> None:
    begins, whole = Secret("hunter2"), Secret("hunter2-and-more")
    assert scrub("said hunter2-and-more and hunter2") == f"said {MASK} and {MASK}"
    del begins, whole


def test_secrets_may_come_up_in_other_threads_meanwhile() -> None:
    over, before = Event(), sys.getswitchinterval()
    kept = [Secret(f"kept-{number}") for number in range(200)]

    def make() -> None:
        while not over.is_set():
            [Secret(f"made-meanwhile-{number}") for number in range(50)]

    thread = Thread(target=make)
    thread.start()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(300):
            assert scrub("nothing") == "nothing"
    finally:
        sys.setswitchinterval(before)
        over.set()
        thread.join()
    del kept
