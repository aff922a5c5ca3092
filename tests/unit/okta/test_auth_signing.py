"""What is signed: client assertions and proofs of possession, and how long tokens are used."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.okta.assertion import client_assertion, dpop_proof, proof_key
from orchestrator.okta.signing_key import SigningKey
from orchestrator.okta.token_endpoint import Grant
from orchestrator.okta.token_life import held_token
from orchestrator.secret import Secret
from tests.unit.okta.service_site import claims_in, ec_key

KEY = SigningKey(private=ec_key(), algorithm="ES256")
NOW = 1_773_291_465.9
urls = st.sampled_from(["https://acme.okta.com/api/v1/apps/0oa1", "http://127.0.0.1:1/a/b%2Fc"])
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
times = st.floats(1e9, 7e9)


@given(ids, times, ids)
def test_what_an_assertion_claims(client_id: str, now: float, unique: str) -> None:
    text = client_assertion(
        KEY, client_id=client_id, audience="https://a/oauth2/v1/token", now=now, unique=unique
    )
    claims = claims_in(text, ec_key().public_key(), "ES256")
    assert claims == {
        "iss": client_id,
        "sub": client_id,
        "aud": "https://a/oauth2/v1/token",
        "iat": int(now) - 5,
        "exp": int(now) + 295,
        "jti": unique,
    }
    assert jwt.get_unverified_header(text) == {"alg": "ES256", "typ": "JWT"}


def test_an_assertion_names_its_key() -> None:
    key = SigningKey(private=ec_key(), algorithm="ES256", key_id="k1")
    text = client_assertion(key, client_id="c", audience="a", now=NOW, unique="u")
    assert jwt.get_unverified_header(text)["kid"] == "k1"


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    urls,
    st.sampled_from(["", "?limit=200&after=x%20y", "#part", "?a=1#part"]),
    times,
    st.none() | ids,
    st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True),
)
def test_what_a_proof_claims(
    method: str, url: str, tail: str, now: float, nonce: str | None, token: str | None
) -> None:
    key = proof_key()
    text = dpop_proof(
        key, method=method, url=url + tail, now=now, unique="u", nonce=nonce, token=token
    )
    claims = claims_in(text, key.private.public_key(), "RS256")
    expected: dict[str, object] = {"htm": method, "htu": url, "iat": int(now) - 5, "jti": "u"}
    if nonce is not None:
        expected["nonce"] = nonce
    if token is not None:
        digest = sha256(token.encode()).digest()
        expected["ath"] = urlsafe_b64encode(digest).decode().rstrip("=")
    assert claims == expected
    header = jwt.get_unverified_header(text)
    assert header == {"typ": "dpop+jwt", "alg": "RS256", "jwk": dict(key.public)}
    assert set(key.public) == {"kty", "n", "e"}


def test_one_proof_key_a_process() -> None:
    assert proof_key() is proof_key()
    assert proof_key().private.key_size == 2048
    assert "private" not in repr(proof_key())


def grant(lifetime: float) -> Grant:
    return Grant(token=Secret("t"), lifetime=lifetime, is_bound=False, scopes=())


@pytest.mark.parametrize(
    ("lifetime", "renewed", "last"),
    [(3600.0, 3300.0, 3500.0), (86_400.0, 86_100.0, 86_300.0), (60.0, 54.0, 58.0)],
)
def test_when_a_token_is_renewed(lifetime: float, renewed: float, last: float) -> None:
    token = held_token(grant(lifetime), 1000.0)
    assert token.renew_at == 1000 + renewed
    assert token.last_use == pytest.approx(1000 + last)


@given(st.floats(0.001, 86_400.0), st.floats(0, 1e6), st.floats(0, 1))
def test_a_token_is_never_used_beyond_its_life(lifetime: float, asked: float, part: float) -> None:
    token = held_token(grant(lifetime), asked)
    assert asked <= token.renew_at <= token.last_use <= asked + lifetime
    now = asked + part * lifetime
    assert token.is_usable(now) == (now < token.last_use)
    later = token.postponed(now)
    assert later.renew_at >= now + 1.0
    assert later.last_use == token.last_use
