"""Whatever the org answers: a success is claimed only where it is proven, and a failure says why.

The oracle is deliberately simpler than the machine: a key is genuine when its text is the source's
to the letter, and the duplicate is told by plain string search.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.engine.staging import (
    Clone,
    Observation,
    SourceKey,
    Unsettled,
    Verdict,
    decide,
    judge_clone,
    judge_read,
    no_answer,
)
from orchestrator.model import AppId, KeyRef, Kid, Proof, Status
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.wire import (
    AppCredentials,
    Application,
    JsonWebKey,
    Refusal,
    Reply,
    SigningCredentials,
)
from orchestrator.sandbox.org import SandboxOrg

patient = settings(deadline=None, max_examples=400)

ORG = SandboxOrg(seed=2)
APP = AppId(ORG.add_app().id)
TARGET = AppId("0oaTarget")


def key_of(kid: str) -> JsonWebKey:
    return msgspec.convert(ORG.get_key(APP, kid), JsonWebKey)


KEY = key_of(ORG.add_key(APP))
OTHER = key_of(ORG.add_key(APP))
KID = Kid(KEY.kid or "")
SOURCE = SourceKey(ref=KeyRef(app=APP, kid=KID), certificate=certificate_of(KEY))
PROVING = f"https://acme.okta.com/api/v1/apps/{TARGET}/credentials/keys/{KID}"


def refused_reply(refusal: Refusal) -> Reply[Any]:
    return Reply(status=refusal.status, refusal=refusal)


kids = st.sampled_from([KID, KID, KID, OTHER.kid, None, ""])
certificates = st.sampled_from(
    [KEY.x5c, KEY.x5c, KEY.x5c, OTHER.x5c, [*KEY.x5c, *OTHER.x5c], [], [""], ["AAAA"], ["é"]]
)
thumbprints = st.sampled_from([KEY.x5t_s256, KEY.x5t_s256, OTHER.x5t_s256, None, ""])
keys = st.none() | st.builds(JsonWebKey, kid=kids, x5c=certificates, x5t_s256=thumbprints)
locations = st.sampled_from(
    [None, "/", *[PROVING] * 3, PROVING + "x", PROVING.replace(TARGET, APP)]
) | st.builds(
    "https://acme.okta.com/api/v1/{}/{}/credentials/keys/{}{}".format,
    st.sampled_from(["apps", "idps", "users"]),
    st.sampled_from([TARGET, APP, "0oaOther"]),
    st.sampled_from([KID, OTHER.kid]),
    st.sampled_from(["", "", "/", "/clone", "?a=b"]),
)
causes = st.lists(
    st.sampled_from(["Key already exists.", "ALREADY EXISTS", "already", "exists", "Bad key."]),
    max_size=2,
).map(tuple)
summaries = st.sampled_from(["Key already exists.", "no body"]) | st.builds(
    "Not found: Resource not found: {} (AppInstance)".format, st.sampled_from([APP, TARGET, KID])
)
refusals = st.builds(
    Refusal,
    status=st.sampled_from([400, 400, 400, 401, 403, 404, 405, 409, 501]),
    code=st.sampled_from(["E0000001", "E0000001", "E0000007", "E0000006", None]),
    summary=summaries,
    causes=causes,
)
accepted: st.SearchStrategy[Reply[JsonWebKey]] = st.builds(
    Reply, status=st.sampled_from([200, 201, 202]), value=keys, location=locations
)
refused: st.SearchStrategy[Reply[JsonWebKey]] = refusals.map(refused_reply)
replies = accepted | refused
apps = st.builds(
    Application,
    id=st.just(str(TARGET)),
    status=st.sampled_from([None, "ACTIVE", "INACTIVE"]),
    credentials=st.none()
    | kids.map(lambda kid: AppCredentials(signing=SigningCredentials(kid=kid))),
)
app_replies: st.SearchStrategy[Reply[Application]] = st.builds(
    Reply, status=st.just(200), value=apps
) | refusals.map(refused_reply)
observations = st.builds(Observation, app=st.none() | app_replies, key=st.none() | replies)
failures = st.builds(
    Unsettled,
    if_present=st.sampled_from([Status.CLONED, Status.ALREADY_PRESENT]),
    if_absent=st.just(no_answer("the answer was lost")),
)


def is_genuine(key: JsonWebKey | None) -> bool:
    """Say whether a key is the source's, and does not contradict itself."""
    return (
        key is not None
        and key.kid == KID
        and key.x5c[:1] == KEY.x5c
        and key.x5t_s256 in (KEY.x5t_s256, None)
    )


def is_at_target(location: str | None) -> bool:
    path = (location or "").split("?")[0]
    kinds = ("apps", "idps")
    return any(path.endswith(f"/api/v1/{kind}/{TARGET}/credentials/keys/{KID}") for kind in kinds)


def is_duplicate(refusal: Refusal | None) -> bool:
    return (
        refusal is not None
        and (refusal.status, refusal.code) == (400, "E0000001")
        and any("already exists" in cause.lower() for cause in refusal.causes)
    )


def assert_coherent(verdict: Verdict) -> None:
    """A success has a proof and no reason; anything else has a reason and no proof."""
    assert verdict.detail
    if verdict.status.is_staged:
        assert verdict.proof is not None
        assert verdict.reason is None
        assert not verdict.retryable
    else:
        assert verdict.status is Status.FAILED
        assert verdict.reason is not None
        assert (verdict.proof, verdict.thumbprint) == (None, None)


@patient
@given(reply=replies)
@example(reply=Reply(status=201, value=KEY, location=PROVING))
def test_a_clone_is_a_success_exactly_when_the_answer_proves_it(reply: Reply[JsonWebKey]) -> None:
    verdict = judge_clone(reply, TARGET, SOURCE)
    proven = reply.refusal is None and is_genuine(reply.value) and is_at_target(reply.location)
    staged = isinstance(verdict, Verdict) and verdict.status.is_staged
    assert staged is (proven or is_duplicate(reply.refusal))
    if isinstance(verdict, Verdict):
        assert_coherent(verdict)
        if staged:
            assert (verdict.status is Status.CLONED) is proven
            assert verdict.proof is (Proof.RESPONSE if proven else Proof.CAUSE)
    else:
        assert verdict.if_present.is_staged
        assert not verdict.if_absent.status.is_staged
        assert_coherent(verdict.if_absent)


@patient
@given(reply=replies, pending=failures)
def test_a_read_is_a_success_exactly_when_the_key_is_there(
    reply: Reply[JsonWebKey], pending: Unsettled
) -> None:
    verdict = judge_read(reply, pending, SOURCE)
    assert_coherent(verdict)
    present = reply.refusal is None and is_genuine(reply.value)
    assert verdict.status.is_staged is present
    if present:
        assert (verdict.status, verdict.proof) == (pending.if_present, Proof.READ)
        assert verdict.thumbprint == SOURCE.certificate.thumbprint


@patient
@given(reply=replies, answer=replies)
def test_a_clone_and_its_read_together_always_settle_a_target(
    reply: Reply[JsonWebKey], answer: Reply[JsonWebKey]
) -> None:
    verdict = judge_clone(reply, TARGET, SOURCE)
    if isinstance(verdict, Unsettled):
        verdict = judge_read(answer, verdict, SOURCE)
        assert verdict.status.is_staged is (answer.refusal is None and is_genuine(answer.value))
    assert_coherent(verdict)


@patient
@given(observation=observations)
def test_a_preview_claims_presence_only_for_what_it_read(observation: Observation) -> None:
    decision = decide(observation, TARGET, SOURCE)
    app, key = observation.app, observation.key
    signs = app is not None and app.value is not None and app.value.active_kid == KID
    holds = key is not None and key.refusal is None and is_genuine(key.value)
    if isinstance(decision, Clone):
        assert not signs
        assert not holds
        assert key is None or (key.refusal is not None and key.refusal.status == 404)
        return
    assert_coherent(decision)
    assert decision.status is not Status.CLONED
    if decision.status is Status.ALREADY_PRESENT:
        assert signs or holds
