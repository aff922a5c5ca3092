"""How an org is to know us: one way of three, of references only."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator.errors import PlanError
from orchestrator.plan.auth import (
    SERVICE_APP,
    AuthReferences,
    BearerAuth,
    ServiceAppAuth,
    TokenAuth,
    auth_of,
    references_of,
)
from orchestrator.plan.jsonschema import EXAMPLE, plan_schema
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.references import ReferenceKind, SecretReference, variable_reference
from orchestrator.plan.schema import InlineOrg

SCHEMA = Draft202012Validator(plan_schema())
PLAN = (
    "version: 1\nname: plan\njobs:\n  - name: one\n    source: {app: 0oa8ae1t5yev2ajDs0h7, "
    f"key: {'k' * 43}}}\n    targets: [0oa8ae0dv4RGQvjyZ0h7]\n"
)
CLIENT = "0oa9krv5zuGXbn1Wd0h7"
KEY = SecretReference(kind=ReferenceKind.FILE, words=("acme.pem",))


def auth_in(written: str) -> AuthReferences | None:
    text = f"{PLAN}org: {{auth: {{{written}}}}}\n"
    plan = load_plan_text(text.encode(), file="plan.yaml", folder=Path())
    assert isinstance(plan.org, InlineOrg)
    return auth_of(plan.org.auth)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", None),
        ("token: env:A", TokenAuth(token=variable_reference("A"))),
        ("bearer: env:A", BearerAuth(token=variable_reference("A"))),
        (
            f"client_id: {CLIENT}, private_key: file:acme.pem",
            ServiceAppAuth(client_id=CLIENT, private_key=KEY),
        ),
        (
            (
                f"client_id: {CLIENT}, private_key: file:acme.pem, passphrase: env:P, "
                "key_id: k_1-x, scopes: [okta.apps.read, okta.principalRateLimits.read], dpop: true"
            ),
            ServiceAppAuth(
                client_id=CLIENT,
                private_key=KEY,
                passphrase=variable_reference("P"),
                key_id="k_1-x",
                scopes=("okta.apps.read", "okta.principalRateLimits.read"),
                dpop=True,
            ),
        ),
    ],
)
def test_what_a_plan_names(written: str, meant: AuthReferences | None) -> None:
    assert auth_in(written) == meant


def test_the_references_of_a_way() -> None:
    a, p = variable_reference("A"), variable_reference("P")
    assert references_of(TokenAuth(token=a)) == references_of(BearerAuth(token=a)) == (a,)
    assert references_of(ServiceAppAuth(client_id=CLIENT, private_key=KEY)) == (KEY,)
    app = ServiceAppAuth(client_id=CLIENT, private_key=KEY, passphrase=p)
    assert references_of(app) == (KEY, p)


VALUES: dict[str, object] = {
    "token": "env:T",
    "bearer": {"cmd": ["mint"]},
    "client_id": CLIENT,
    "private_key": "file:acme.pem",
    "passphrase": "keyring:okta/acme",
    "key_id": "kid",
    "scopes": ["okta.apps.read"],
    "dpop": True,
}


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(sorted(VALUES))))
def test_schema_and_loader_agree_on_what_goes_together(keys: set[str]) -> None:
    auth = {key: VALUES[key] for key in sorted(keys)}
    ways = {"service app" if key in SERVICE_APP else key for key in keys}
    is_whole = "service app" not in ways or {"client_id", "private_key"} <= keys
    is_right = len(ways) <= 1 and is_whole
    assert SCHEMA.is_valid({**EXAMPLE, "org": {"auth": auth}}) == is_right
    written = ", ".join(f"{key}: {value}" for key, value in auth.items())
    if is_right:
        assert (auth_in(written.replace("True", "true")) is None) == (not keys)
    else:
        with pytest.raises(PlanError):
            auth_in(written.replace("True", "true"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("client_id", "0oa"),
        ("client_id", "00u9krv5zuGXbn1Wd0h7"),
        ("client_id", "a b c d e f"),
        ("client_id", "x" * 101),
        ("key_id", "a b"),
        ("key_id", "x" * 129),
        ("scopes", "[okta]"),
        ("scopes", "[okta.apps.read, okta.apps.read]"),
        ("scopes", f"[okta.{'x' * 128}]"),
        ("scopes", "['okta.apps.read,okta.apps.manage']"),
        ("dpop", "'true'"),
        ("dpop", "[true]"),
    ],
)
def test_what_is_no_part_of_a_service_app(key: str, value: str) -> None:
    whole = {"client_id": CLIENT, "private_key": "env:KEY", key: value}
    with pytest.raises(PlanError) as caught:
        auth_in(", ".join(f"{name}: {each}" for name, each in whole.items()))
    [problem] = caught.value.problems
    assert problem.path.startswith(f"org.auth.{key}")


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("client_secret: x", "takes no client secret"),
        ("access_token: env:A", "write bearer: and a reference"),
        ("api_token: env:A", "write token: and a reference"),
        ("tokn: env:A", "did you mean `token`?"),
        ("hunter2: env:A", "known here: token, bearer, client_id"),
    ],
)
def test_foreign_words_lead_to_ours(written: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        auth_in(written)
    [problem] = caught.value.problems
    assert hint in str(problem.hint)
    assert problem.path == "org.auth"
