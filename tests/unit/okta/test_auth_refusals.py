"""What an admin is told where the org refuses a credential: the exact thing that is missing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from orchestrator.errors import (
    AccessError,
    ClientRejected,
    ConfigError,
    ExitCode,
    ScopeMissing,
    TokenRejected,
    Transient,
)
from orchestrator.model import AppId
from orchestrator.okta.call import RawAnswer
from orchestrator.okta.credentials import ApiToken, BearerToken, Credential
from orchestrator.okta.permissions import (
    Caller,
    caller_of,
    needs_of,
    rejected_remedy,
    remedy_for,
    unmet,
)
from orchestrator.okta.token_endpoint import (
    LONGEST_TOLD,
    PASSING_ERRORS,
    clock_words,
    judge,
    read_objection,
    rejection,
)
from orchestrator.okta.wire import CallTrace, Refusal
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from tests.unit.okta.peer import Says, peer
from tests.unit.okta.service_site import (
    CLIENT_ID,
    SCOPES,
    calling,
    credential,
    ec_key,
    enrolled,
    public_jwk_of,
    rsa_key,
    told,
)

KEYS = [public_jwk_of(ec_key(), kid="k1"), public_jwk_of(rsa_key(), kid="k2")]


async def refused(org: SandboxOrg, who: Credential) -> AccessError:
    """Read an app, and return why that does not go."""
    app = AppId(org.add_app(label="a").id)
    async with serve(org) as served, calling(served.url, who) as api:
        with pytest.raises(AccessError) as caught:
            await api.get_signer(app, CallTrace())
    assert caught.value.exit_code is ExitCode.ACCESS
    return caught.value


async def test_a_key_that_is_not_registered() -> None:
    error = await refused(enrolled(public_keys=[public_jwk_of(rsa_key())]), credential())
    assert isinstance(error, ClientRejected)
    assert error.message == (
        f"the org gives the service app {CLIENT_ID} no access token: "
        "401 invalid_client: The client_assertion signature is invalid."
    )
    assert "register the public half of this key" in (error.hint or "")
    assert "the clocks agree" in (error.hint or "")


@pytest.mark.parametrize(("key_id", "words"), [("k9", "under the kid k9"), (None, "name its kid")])
async def test_a_key_id_that_is_wrong_or_missing(key_id: str | None, words: str) -> None:
    error = await refused(enrolled(public_keys=KEYS), credential(key_id=key_id))
    assert isinstance(error, ClientRejected)
    assert "kid is invalid" in error.message
    assert words in (error.hint or "")


async def test_the_right_key_id_among_several() -> None:
    org = enrolled(public_keys=KEYS)
    app = AppId(org.add_app(label="a").id)
    async with serve(org) as served, calling(served.url, credential(key_id="k1")) as api:
        assert (await api.get_signer(app, CallTrace())).value


async def test_a_scope_that_was_not_granted() -> None:
    error = await refused(enrolled(scopes=SCOPES[1:]), credential())
    assert isinstance(error, ClientRejected)
    assert "400 invalid_scope" in error.message
    assert "asked for okta.apps.manage okta.apps.read" in (error.hint or "")
    assert "super admin" in (error.hint or "")
    assert "Okta API Scopes" in (error.hint or "")


async def test_a_scope_that_the_token_lacks() -> None:
    error = await refused(
        enrolled(scopes=["okta.logs.read"]), credential(scopes=("okta.logs.read",))
    )
    assert isinstance(error, ScopeMissing)
    assert error.message == "the token lacks the scope okta.apps.read"
    assert "grants okta.apps.read to the service app" in (error.hint or "")


@pytest.mark.parametrize("dpop", [False, True])
async def test_a_service_app_without_an_admin_role(dpop: bool) -> None:
    """That concerns one target, since a role may be limited to apps: it is a reply."""
    org = enrolled(has_role=False, requires_dpop=dpop)
    app = AppId(org.add_app(label="a").id)
    async with serve(org) as served, calling(served.url) as api:
        refusal = (await api.get_signer(app, CallTrace())).refusal
    assert refusal is not None
    assert refusal.code == "E0000006"
    remedy = refusal.remedy or ""
    assert "assign an admin role to the service app" in remedy
    assert "Application Administrator" in remedy


async def test_an_unknown_client() -> None:
    error = await refused(SandboxOrg(seed=1), credential())
    assert isinstance(error, ClientRejected)
    assert "check the client id" in (error.hint or "")


@pytest.mark.parametrize(
    ("who", "named", "hint"),
    [
        (ApiToken(token=Secret("t")), "the API token", "create a new token"),
        (BearerToken(token=Secret("t")), "the access token", "never renewed here"),
    ],
    ids=["API token", "access token"],
)
async def test_a_token_that_is_not_accepted(who: Credential, named: str, hint: str) -> None:
    error = await refused(enrolled(), who)
    assert isinstance(error, TokenRejected)
    assert error.message.startswith(f"the org does not accept {named}: 401 E0000011")
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    "token", ["", "a b", "canary\r\nX: y", "canary\n", "canary\u00e4", "\ud800"]
)
@pytest.mark.parametrize("kind", [ApiToken, BearerToken])
async def test_a_token_that_fits_no_header(kind: type[ApiToken | BearerToken], token: str) -> None:
    with pytest.raises(ConfigError, match="no token has") as caught:
        async with calling("http://127.0.0.1:1", kind(token=Secret(token))):
            pass
    assert "canary" not in caught.value.diagnostics()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, told("access_denied", "Policy evaluation failed"), "network zone"),
        (400, told("unauthorized_client"), "client credentials grant"),
        (400, told("unsupported_grant_type"), "client credentials grant"),
        (400, told("invalid_dpop_proof", "'htu' is invalid"), "proof of possession"),
        (400, told("something_new"), "is the org URL right"),
        (404, {"errorCode": "E0000022", "errorSummary": "no such endpoint"}, "org URL"),
        (400, {}, "org URL"),
    ],
)
async def test_every_other_refusal_of_the_token_endpoint(
    status: int, body: object, words: str
) -> None:
    async with peer(Says(status=status, body=body)) as org, calling(org.url) as api:
        with pytest.raises(ClientRejected) as caught:
            await api.get_signer(AppId("0oa1"), CallTrace())
    assert words in (caught.value.hint or "")
    assert str(status) in caught.value.message
    assert len(org.asked) <= 2


async def test_a_page_of_a_gateway_is_no_refusal() -> None:
    async with peer(Says(status=403, body=b"<html>")) as org, calling(org.url) as api:
        with pytest.raises(Exception, match="no access token could be fetched"):
            await api.get_signer(AppId("0oa1"), CallTrace())
    assert len(org.asked) == 3


@given(st.text(max_size=400), st.text(max_size=400), st.none() | st.floats(-1e9, 1e9))
def test_what_the_org_says_stays_on_one_line(error: str, text: str, skew: float | None) -> None:
    body = json.dumps(told(error, text)).encode()
    answer = RawAnswer(400, CIMultiDictProxy(CIMultiDict()), body)
    try:
        objection = read_objection(answer)
    except Transient:
        assert error in PASSING_ERRORS
        return
    raised = rejection(objection, credential(), key_id=None, skew=skew)
    assert raised.hint
    assert len((raised.message + raised.hint).splitlines()) == 1
    assert len(raised.message) < 800


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (None, "compare the local clock"),
        (0.4, "the clocks agree"),
        (600.0, "600 s ahead of the org's"),
        (-600.0, "600 s behind the org's"),
    ],
)
def test_how_the_clocks_differ(skew: float | None, words: str) -> None:
    assert words in clock_words(skew)


# Needs


def scopes_of(**flags: bool) -> set[str]:
    return {need.scope for need in needs_of(**flags)}


def test_which_scopes_which_work_needs() -> None:
    assert scopes_of(writes=False) == {"okta.apps.read"}
    assert scopes_of() == {"okta.apps.read", "okta.apps.manage"}
    assert scopes_of(idps=True, writes=False) == {"okta.apps.read", "okta.idps.read"}
    assert scopes_of(apps=False, idps=True) == {"okta.idps.read", "okta.idps.manage"}
    assert scopes_of(cross_check=True) - scopes_of() == {"okta.logs.read"}
    assert [need.is_optional for need in needs_of(cross_check=True)] == [False, False, True]


def test_a_larger_scope_includes_the_smaller() -> None:
    needs = needs_of(idps=True)
    assert unmet(needs, {"okta.apps.manage", "okta.idps.manage"}) == ()
    assert [need.scope for need in unmet(needs, {"okta.apps.read", "okta.idps.manage"})] == [
        "okta.apps.manage"
    ]


@given(
    st.fixed_dictionaries(
        {name: st.booleans() for name in ("apps", "idps", "writes", "cross_check")}
    ),
    st.sets(st.sampled_from(["okta.apps.read", "okta.apps.manage", "okta.logs.read"])),
)
def test_what_is_unmet_is_what_is_needed_and_not_there(
    flags: dict[str, bool], scopes: set[str]
) -> None:
    needs = needs_of(**flags)
    for need in needs:
        assert (need in unmet(needs, scopes)) == (not need.is_met_by(scopes))
        assert need.role
        assert need.is_met_by({need.scope})
    assert unmet(needs, {need.scope for need in needs}) == ()


APPS = "/api/v1/apps/{appId}"


@pytest.mark.parametrize("caller", Caller)
def test_each_kind_of_credential_has_remedies_of_its_own(caller: Caller) -> None:
    no_role = Refusal(status=403, code="E0000006", summary="no")
    no_feature = Refusal(status=401, code="E0000015", summary="no")
    other = Refusal(status=404, code="E0000007", summary="no")
    special = Refusal(status=403, code="E0000013", summary="an app of Okta's own")
    said = {remedy_for(no_role, each, APPS) for each in Caller}
    said |= {rejected_remedy(each) for each in Caller}
    assert len(said) == 6
    assert "Application" in (remedy_for(no_role, caller, APPS) or "")
    assert "Organization" in (remedy_for(no_role, caller, "/api/v1/idps/{idpId}") or "")
    assert "feature" in (remedy_for(no_feature, caller, APPS) or "")
    assert remedy_for(other, caller, APPS) is None
    assert remedy_for(special, caller, APPS) is None


def test_the_kind_of_a_credential() -> None:
    given: list[Credential] = [
        ApiToken(token=Secret("t")),
        BearerToken(token=Secret("t")),
        credential(),
    ]
    assert [caller_of(each) for each in given] == list(Caller)


@pytest.mark.parametrize("field", ["error", "error_description"])
def test_a_secret_is_not_told_even_where_a_text_ends_in_it(field: str) -> None:
    secret = Secret("correct-horse-battery-staple")
    text = "x" * (LONGEST_TOLD - 10) + secret.reveal()
    body = json.dumps({"error": "e", field: text}).encode()
    objection = judge(RawAnswer(400, CIMultiDictProxy(CIMultiDict()), body))
    assert "correct" not in str(objection)
    assert "xxx" in str(objection)
