"""Where the org, the token and the time-outs come from, and what is said when one is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.schema import Plan
from orchestrator.settings.access import OrgAccess, org_access
from orchestrator.settings.environment import timeouts

URL, OTHER_URL = "https://acme.okta.com", "https://other.okta.com"
TOKEN = "00s3cr3t-of-the-test"
ENVIRON = {"OKTA_CLIENT_ORGURL": URL, "OKTA_CLIENT_TOKEN": TOKEN}
CONNECT, REQUEST = "OKTA_CLIENT_CONNECTIONTIMEOUT", "OKTA_CLIENT_REQUESTTIMEOUT"


def token_of(access: OrgAccess) -> str:
    """Return the API token of an access."""
    assert isinstance(access.credential, ApiToken)
    return access.credential.token.reveal()


def plan_of(org: str | None = None) -> Plan:
    text = "version: 1\nname: plan\n" + (f"org: {org}\n" if org else "")
    text += "jobs:\n  - name: job\n    targets: [0oa8ae0dv4RGQvjyZ0h7]\n"
    text += f"    source: {{app: 0oa8ae1t5yev2ajDs0h7, key: {'k' * 43}}}\n"
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


def refusal(plan: Plan, environ: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        org_access(plan, environ)
    return caught.value


@pytest.mark.parametrize(
    ("org", "environ", "url"),
    [
        (None, ENVIRON, URL),
        ("{}", ENVIRON, URL),
        ("{auth: {token: env:OKTA_CLIENT_TOKEN}}", ENVIRON, URL),
        (f"{{url: {OTHER_URL}}}", {"OKTA_CLIENT_TOKEN": TOKEN}, OTHER_URL),
        (f"{{url: {OTHER_URL}, auth: {{token: env:OKTA_CLIENT_TOKEN}}}}", ENVIRON, OTHER_URL),
        (None, ENVIRON | {"OKTA_CLIENT_ORGURL": f" {URL}/ \n"}, URL),
        (f"{{url: {URL}/}}", ENVIRON, URL),
        (None, ENVIRON | {"OKTA_CLIENT_ORGURL": "http://localhost:8080"}, "http://localhost:8080"),
    ],
)
def test_the_url_of_the_plan_comes_before_that_of_the_environment(
    org: str | None, environ: dict[str, str], url: str
) -> None:
    assert org_access(plan_of(org), environ).url == url


@pytest.mark.parametrize(
    ("org", "environ"),
    [
        (None, ENVIRON),
        (None, ENVIRON | {"OKTA_CLIENT_TOKEN": f"  {TOKEN}\n"}),
        ("{auth: {token: env:MY_TOKEN}}", ENVIRON | {"MY_TOKEN": TOKEN, "OKTA_CLIENT_TOKEN": "x"}),
        (f"{{url: {OTHER_URL}, auth: {{}}}}", {"OKTA_CLIENT_TOKEN": TOKEN}),
    ],
)
def test_the_token_is_the_one_that_the_plan_refers_to(
    org: str | None, environ: dict[str, str]
) -> None:
    access = org_access(plan_of(org), environ)
    assert token_of(access) == TOKEN
    assert TOKEN not in repr(access)


@pytest.mark.parametrize("org", [f"{{url: {OTHER_URL}}}", f"{{url: {OTHER_URL}, auth: {{}}}}"])
def test_the_token_of_one_org_is_not_shown_to_another(org: str) -> None:
    error = refusal(plan_of(org), ENVIRON)
    assert "is for the org that OKTA_CLIENT_ORGURL names" in error.message
    assert TOKEN not in error.diagnostics()


@pytest.mark.parametrize("url", [None, "", "  "])
def test_an_org_that_is_named_nowhere_is_asked_for(url: str | None) -> None:
    environ = {"OKTA_CLIENT_TOKEN": TOKEN} | (
        {"OKTA_CLIENT_ORGURL": url} if url is not None else {}
    )
    error = refusal(plan_of(), environ)
    assert "which org?" in error.message
    assert "OKTA_CLIENT_ORGURL" in str(error.hint)


@pytest.mark.parametrize(
    "url",
    [
        "acme.okta.com",
        "http://acme.okta.com",
        "https://acme-admin.okta.com",
        "https://acme.okta.com/api/v1",
        "https://user:hunter2@acme.okta.com",
        "https://{yourOktaDomain}",
    ],
)
def test_an_url_of_the_environment_is_checked_and_not_repeated(url: str) -> None:
    error = refusal(plan_of(), ENVIRON | {"OKTA_CLIENT_ORGURL": url})
    assert "cannot be used" in error.message
    assert "hunter2" not in error.diagnostics()


@pytest.mark.parametrize("token", [None, "", " \n"])
@pytest.mark.parametrize(
    ("org", "name"), [(None, "OKTA_CLIENT_TOKEN"), ("{auth: {token: env:MY_TOKEN}}", "MY_TOKEN")]
)
def test_a_missing_token_is_asked_for_by_its_name(
    org: str | None, name: str, token: str | None
) -> None:
    environ = {"OKTA_CLIENT_ORGURL": URL} | ({name: token} if token is not None else {})
    error = refusal(plan_of(org), environ)
    assert name in error.message


def test_a_reference_of_the_plan_does_not_fall_back_to_another_token() -> None:
    error = refusal(plan_of("{auth: {token: env:MY_TOKEN}}"), ENVIRON)
    assert "MY_TOKEN" in error.message
    assert TOKEN not in error.diagnostics()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Timeouts()),
        ({CONNECT: "", REQUEST: " "}, Timeouts()),
        ({CONNECT: "2.5"}, Timeouts(connect=2.5)),
        ({REQUEST: "5"}, Timeouts(read=5.0, whole=20.0)),
        ({CONNECT: " 1 ", REQUEST: "3600"}, Timeouts(connect=1.0, read=3600.0, whole=14400.0)),
    ],
)
def test_time_outs_of_the_sdks_are_honoured(environ: dict[str, str], expected: Timeouts) -> None:
    assert timeouts(environ) == expected


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "-inf", "3600.1", "1e9", "30s"])
@pytest.mark.parametrize("name", [CONNECT, REQUEST])
def test_a_time_out_that_is_none_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        timeouts({name: text})
