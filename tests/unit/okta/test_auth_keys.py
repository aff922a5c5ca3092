"""Private keys as people have them: which are taken, and what is said of the others."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, ExitCode
from orchestrator.okta.assertion import client_assertion
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.signing_key import SigningKey, read_signing_key
from orchestrator.secret import Secret
from tests.unit.okta.service_site import (
    PrivateKey,
    claims_in,
    credential,
    ec_key,
    jwk_of,
    pem_of,
    public_jwk_of,
    rsa_key,
    written,
)

OLD_FORM = PrivateFormat.TraditionalOpenSSL
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
PUBLIC_PEM = (
    rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
)


def signs_for(key: SigningKey, private: PrivateKey) -> bool:
    """Say whether what a key signs is verified by the public half of another."""
    text = client_assertion(key, client_id="c", audience="a", now=0.0, unique="u")
    return bool(claims_in(text, private.public_key(), key.algorithm)["sub"] == "c")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, OLD_FORM], ids=["PKCS#8", "PKCS#1"])
@pytest.mark.parametrize("passphrase", [None, "open sesame \N{SNOWMAN}"], ids=["plain", "shut"])
def test_an_rsa_key_in_pem(form: PrivateFormat, passphrase: str | None) -> None:
    text = pem_of(rsa_key(), form, passphrase=passphrase)
    key = read_signing_key(credential(text, passphrase=passphrase))
    assert (key.algorithm, key.key_id) == ("RS256", None)
    assert signs_for(key, rsa_key())


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, OLD_FORM], ids=["PKCS#8", "SEC 1"])
def test_an_elliptic_key_in_pem(curve: str, form: PrivateFormat) -> None:
    key = read_signing_key(credential(pem_of(ec_key(curve), form)))
    assert key.algorithm == CURVES[curve]
    assert signs_for(key, ec_key(curve))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_an_rsa_jwk_says_its_algorithm(algorithm: str) -> None:
    text = written(jwk_of(rsa_key(), alg=algorithm, kid="k1", use="sig"))
    key = read_signing_key(credential(text))
    assert (key.algorithm, key.key_id) == (algorithm, "k1")
    assert signs_for(key, rsa_key())


@pytest.mark.parametrize("curve", CURVES)
def test_an_elliptic_jwk(curve: str) -> None:
    key = read_signing_key(credential(f"  {written(jwk_of(ec_key(curve)))}\n", key_id="k2"))
    assert (key.algorithm, key.key_id) == (CURVES[curve], "k2")
    assert signs_for(key, ec_key(curve))


def test_an_rsa_jwk_needs_no_primes() -> None:
    whole = jwk_of(rsa_key())
    bare = {name: whole[name] for name in ("kty", "n", "e", "d")}
    assert signs_for(read_signing_key(credential(written(bare))), rsa_key())


def test_line_breaks_may_be_written_out() -> None:
    text = pem_of(ec_key()).replace("\n", "\\n")
    assert signs_for(read_signing_key(credential(text)), ec_key())


def test_a_passphrase_too_many_is_no_problem() -> None:
    key = read_signing_key(credential(pem_of(ec_key()), passphrase="not needed"))
    assert signs_for(key, ec_key())


def wrong_keys() -> dict[str, tuple[ServiceApp, str, str]]:
    """Return what cannot be used, with a part of the message and of the hint."""
    edwards = ed25519.Ed25519PrivateKey.generate()
    ed_pem = edwards.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    openssh = edwards.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    shut = pem_of(ec_key(), passphrase="right")
    jwk = jwk_of(ec_key())
    return {
        "empty": (credential("  "), "it is empty", ""),
        "large": (credential("{" + "x" * 70_000), "too large", ""),
        "no key": (credential("hunter2-canary"), "cannot be read", "BEGIN PRIVATE KEY"),
        "half a PEM": (credential(pem_of(ec_key())[:120]), "cannot be read", "BEGIN PRIVATE"),
        "public": (credential(PUBLIC_PEM), "no private key", "take the private key"),
        "shut": (credential(shut), "it is encrypted", "passphrase"),
        "empty passphrase": (credential(shut, passphrase=""), "it is encrypted", "passphrase"),
        "wrong passphrase": (credential(shut, passphrase="hunter2-canary"), "does not open", ""),
        "short": (credential(pem_of(rsa_key(1024))), "1024 bits are too few", "2048"),
        "Edwards": (credential(ed_pem), "neither RSA nor EC", "RSA or EC"),
        "OpenSSH": (credential(openssh), "format of OpenSSH", "ssh-keygen"),
        "other curve": (credential(pem_of(ec_key("secp256k1"))), "the curve secp256k1", "P-256"),
        "no JSON": (credential("{hunter2-canary"), "it is no JWK", "JSON"),
        "list of keys": (credential(written({"keys": [jwk]})), "it is no JWK", "JSON"),
        "public JWK": (credential(written(public_jwk_of(ec_key()))), "public half", "private key"),
        "secret JWK": (credential('{"kty":"oct","k":"hunter2-canary"}'), "oct cannot sign", "RSA"),
        "torn JWK": (credential(written(jwk | {"d": "hunter2-canary!"})), "cannot be read", "copy"),
        "other half": (
            credential(written(jwk | {"x": jwk["y"]})),
            "cannot be read",
            "copy",
        ),
        "no number": (credential(written(jwk | {"d": ["hunter2-canary"]})), "it is no JWK", ""),
        "other alg": (credential(written(jwk | {"alg": "RS256"})), "alg RS256", "ES256"),
        "for encryption": (
            credential(written(jwk_of(rsa_key(), alg="RSA-OAEP"))),
            "alg RSA-OAEP",
            "RS256 or RS384 or RS512",
        ),
        "other kid": (
            credential(written(jwk | {"kid": "k1"}), key_id="k2"),
            "the kid k1, not k2",
            "leave the key id away",
        ),
        "deep": (credential('{"a":' * 10_000), "it is no JWK", "JSON"),
        "half a surrogate": (credential("\ud800"), "cannot be read", ""),
    }


@pytest.mark.parametrize("name", wrong_keys())
def test_a_key_that_cannot_be_used_is_said_before_any_call(name: str) -> None:
    app, message, hint = wrong_keys()[name]
    with pytest.raises(ConfigError) as caught:
        read_signing_key(app)
    assert type(caught.value) is ConfigError
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert app.client_id in caught.value.message
    assert caught.value.exit_code is ExitCode.INVALID


@pytest.mark.parametrize("name", wrong_keys())
def test_nothing_of_a_key_or_passphrase_is_told(name: str) -> None:
    app, _, _ = wrong_keys()[name]
    with pytest.raises(ConfigError) as caught:
        read_signing_key(app)
    assert caught.value.__cause__ is None
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.diagnostics()
    assert "canary" not in shown
    body = app.private_key.reveal().replace("\n", "")
    pieces = {body[start : start + 24] for start in range(40, max(40, len(body) - 40), 24)}
    assert not [piece for piece in pieces if len(piece) == 24 and piece.strip() in shown]


def test_a_key_that_is_read_does_not_print() -> None:
    key = read_signing_key(credential(written(jwk_of(ec_key(), kid="k1"))))
    assert repr(key) == "SigningKey(algorithm='ES256', key_id='k1')"


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_key_or_our_error(text: str) -> None:
    app = ServiceApp(client_id="c", private_key=Secret(text), passphrase=Secret("p"))
    with pytest.raises(ConfigError):
        read_signing_key(app)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "d", "n", "e", "x", "y", "crv", "alg", "kid", "p", "q", "oth"]),
        st.sampled_from(["RSA", "EC", "P-256", "AQAB", "", "!", "AAAA", 1, None, [], {}]),
    )
)
def test_any_jwk_is_a_key_or_our_error(fields: dict[str, object]) -> None:
    text = json.dumps(fields)
    app = ServiceApp(client_id="c", private_key=Secret(text))
    with pytest.raises(ConfigError):
        read_signing_key(app)


def test_signing_is_not_loaded_for_help() -> None:
    """What takes its time to load is named inside functions alone."""
    source = Path(__file__).parents[3] / "orchestrator" / "okta"
    users = [path.stem for path in source.glob("*.py") if "import jwt" in path.read_text()]
    assert users == ["assertion"]
    assert "\nfrom orchestrator.okta.service_app" not in (source / "auth.py").read_text()
