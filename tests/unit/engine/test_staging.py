"""What became of a target, branch by branch: from an answer to a verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from orchestrator.engine.staging import (
    Clone,
    Observation,
    SourceKey,
    Unsettled,
    Verdict,
    decide,
    judge_clone,
    judge_lost_clone,
    judge_read,
    no_answer,
    note_on,
)
from orchestrator.model import AppId, KeyRef, Kid, Proof, Reason, Resource, Status
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.wire import JsonWebKey, Refusal, Reply
from orchestrator.sandbox.org import SandboxOrg

ORG = SandboxOrg(seed=1)
APP = AppId(ORG.add_app().id)
TARGET = AppId("0oaTarget")
OTHER_APP = AppId("0oaOther")
EXISTS = "Key already exists in the list of credentials for the target app."


def key_of(kid: str) -> JsonWebKey:
    return msgspec.convert(ORG.get_key(APP, kid), JsonWebKey)


KEY = key_of(ORG.add_key(APP))
OTHER = key_of(ORG.add_key(APP))
KID = Kid(KEY.kid or "")
SOURCE = SourceKey(ref=KeyRef(app=APP, kid=KID), certificate=certificate_of(KEY))
READ_BACK = Unsettled(
    if_present=Status.CLONED, if_absent=Verdict(status=Status.FAILED, detail="absent")
)


def changed(**fields: object) -> JsonWebKey:
    """Return the source's key with some fields changed."""
    return msgspec.structs.replace(KEY, **fields)


def location(app: str = TARGET, kid: str = KID) -> str:
    return f"https://acme.okta.com/api/v1/apps/{app}/credentials/keys/{kid}"


def cloned(key: JsonWebKey | None = KEY, at: str | None = location()) -> Reply[JsonWebKey]:
    return Reply(status=201, value=key, location=at)


def read(key: JsonWebKey | None) -> Reply[JsonWebKey]:
    return Reply(status=200, value=key)


def no(status: int, code: str | None = "E0000001", summary: str = "said", *causes: str) -> Refusal:
    return Refusal(status=status, code=code, summary=summary, causes=causes)


def refused_clone(refusal: Refusal) -> Reply[JsonWebKey]:
    return Reply(status=refusal.status, refusal=refusal)


def refused_app(refusal: Refusal) -> Reply[SignerDocument]:
    return Reply(status=refusal.status, refusal=refusal)


def document(**fields: object) -> SignerDocument:
    body = json.dumps({"id": TARGET} | fields).encode()
    return SignerDocument.parse(body, Resource.APP)


def app(
    active: str | None = None, status: str | None = "ACTIVE", mode: str = "SAML_2_0"
) -> SignerDocument:
    signing = {"signing": {"kid": active}}
    return document(status=status, signOnMode=mode, credentials=signing)


def judged(reply: Reply[JsonWebKey]) -> Verdict:
    verdict = judge_clone(reply, TARGET, SOURCE)
    assert isinstance(verdict, Verdict)
    return verdict


def unsettled(reply: Reply[JsonWebKey]) -> Unsettled:
    verdict = judge_clone(reply, TARGET, SOURCE)
    assert isinstance(verdict, Unsettled)
    return verdict


def test_a_full_match_is_a_clone_proven_by_its_own_answer() -> None:
    assert judged(cloned()) == Verdict(
        status=Status.CLONED,
        proof=Proof.RESPONSE,
        detail="kid, certificate and Location match the source",
        http_status=201,
        thumbprint=KEY.x5t_s256,
        location_app=TARGET,
    )


@pytest.mark.parametrize(
    "reply",
    [
        cloned(at=f"/api/v1/apps/{TARGET}/credentials/keys/{KID}"),
        cloned(at=location().replace("acme.okta.com", "acme.oktapreview.com")),
        cloned(changed(x5t_s256=None)),
        cloned(changed(x5c=[*KEY.x5c, *OTHER.x5c])),
        cloned(changed(x5c=["\n".join(KEY.x5c[0])])),
        cloned(changed(created=None, expires_at=None)),
    ],
    ids=["relative", "other host", "no thumbprint", "chain", "wrapped", "no dates"],
)
def test_what_okta_may_leave_open_does_not_spoil_a_match(reply: Reply[JsonWebKey]) -> None:
    assert judged(reply).proof is Proof.RESPONSE


@pytest.mark.parametrize(
    ("reply", "lie"),
    [
        (cloned(changed(kid=OTHER.kid)), f"holds key {OTHER.kid}"),
        (cloned(changed(kid="")), "holds key "),
        (cloned(changed(kid=KID.swapcase())), "holds key "),
        (cloned(changed(kid=OTHER.kid, x5c=[])), f"holds key {OTHER.kid}"),
        (cloned(changed(kid=OTHER.kid), at=None), f"holds key {OTHER.kid}"),
        (cloned(changed(x5c=OTHER.x5c)), "not the thumbprint"),
        (cloned(changed(x5c=OTHER.x5c, x5t_s256=None)), f"the certificate {OTHER.x5t_s256}"),
        (cloned(changed(x5c=OTHER.x5c, x5t_s256=OTHER.x5t_s256)), "holds the certificate"),
        (cloned(changed(x5t_s256=OTHER.x5t_s256)), "not the thumbprint"),
        (cloned(changed(x5c=["not base64!"])), "not base64"),
        (cloned(changed(x5c=["AAAA"])), "asn1"),
        (cloned(at=location(app=OTHER_APP)), f"Location names app {OTHER_APP}"),
        (cloned(at=location(app=APP)), f"Location names app {APP}"),
        (cloned(at=location(kid="other")), "key other"),
        (cloned(None, at=location(app=OTHER_APP)), f"Location names app {OTHER_APP}"),
    ],
    ids=[
        "other key",
        "empty kid",
        "kid in other case",
        "other key, no x5c",
        "other key, no Location",
        "other certificate",
        "other certificate, no thumbprint",
        "other certificate with its thumbprint",
        "other thumbprint",
        "no base64",
        "no certificate",
        "Location of another app",
        "Location of the source",
        "Location of another key",
        "nothing, elsewhere",
    ],
)
def test_any_contradiction_is_a_failure_that_says_so(reply: Reply[JsonWebKey], lie: str) -> None:
    verdict = judged(reply)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)
    assert lie in verdict.detail
    assert (verdict.proof, verdict.thumbprint, verdict.retryable) == (None, None, False)


def test_a_lie_keeps_the_app_that_the_location_named_as_evidence() -> None:
    assert judged(cloned(at=location(app=OTHER_APP))).location_app == OTHER_APP
    assert judged(cloned(OTHER, at=location(app=OTHER_APP))).location_app == OTHER_APP
    assert judged(cloned(OTHER, at=None)).location_app is None


@pytest.mark.parametrize(
    "reply",
    [
        cloned(None),
        cloned(JsonWebKey()),
        cloned(changed(kid=None)),
        cloned(changed(x5c=[])),
        cloned(at=None),
        cloned(at="https://acme.okta.com/"),
        cloned(JsonWebKey(), at=None),
    ],
    ids=["no key", "empty key", "no kid", "no x5c", "no Location", "other Location", "nothing"],
)
def test_an_answer_that_neither_proves_nor_contradicts_is_settled_by_a_read(
    reply: Reply[JsonWebKey],
) -> None:
    pending = unsettled(reply)
    assert pending.if_present is Status.CLONED
    assert pending.if_absent.reason is Reason.PROOF_MISMATCH
    assert "not on the target" in pending.if_absent.detail


def test_a_location_that_is_no_url_proves_nothing() -> None:
    assert unsettled(cloned(at="https://[/api/v1")).if_present is Status.CLONED


def test_the_duplicate_is_present_by_its_cause() -> None:
    verdict = judged(refused_clone(no(400, "E0000001", "said", "first", EXISTS)))
    assert (verdict.status, verdict.proof) == (Status.ALREADY_PRESENT, Proof.CAUSE)
    assert (verdict.http_status, verdict.okta_code) == (400, "E0000001")
    assert verdict.causes == ("first", EXISTS)
    assert verdict.thumbprint is None  # nothing was recomputed


@pytest.mark.parametrize(
    "refusal",
    [
        no(400),
        no(400, "E0000001", "said", "New wording."),
        no(400, "E0000001", EXISTS),
        no(400, "E0000003", "said", EXISTS),
        no(400, None, "no body"),
    ],
    ids=str,
)
def test_any_other_400_is_settled_by_a_read(refusal: Refusal) -> None:
    pending = unsettled(refused_clone(refusal))
    assert pending.if_present is Status.ALREADY_PRESENT
    assert pending.if_absent.reason is Reason.REJECTED
    assert pending.if_absent.causes == refusal.causes
    assert str(refusal) in pending.if_absent.detail


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (no(404, "E0000007", f"Not found: Resource not found: {TARGET} (AppInstance)"),
         Reason.TARGET_NOT_FOUND),
        (no(404, "E0000007", f"Not found: Resource not found: {APP} (AppInstance)"),
         Reason.SOURCE_UNUSABLE),
        (no(404, "E0000007", f"Not found: Resource not found: {KID} (KeyStore)"),
         Reason.SOURCE_UNUSABLE),
        (no(404, "E0000007", f"Not found: Resource not found: {APP}x (AppInstance)"),
         Reason.TARGET_NOT_FOUND),
        (no(404, None, "no body"), Reason.TARGET_NOT_FOUND),
        (no(401, "E0000015"), Reason.FORBIDDEN),
        (no(403, "E0000006"), Reason.FORBIDDEN),
        (no(403, None, "no body"), Reason.FORBIDDEN),
        (no(405, "E0000022"), Reason.REJECTED),
        (no(409, "E0000001", "said", EXISTS), Reason.REJECTED),
        (no(501, "E0000060"), Reason.REJECTED),
    ],
    ids=str,
)  # fmt: skip
def test_a_refusal_says_what_to_do_next(refusal: Refusal, reason: Reason) -> None:
    verdict = judged(refused_clone(refusal))
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason)
    assert (verdict.http_status, verdict.okta_code) == (refusal.status, refusal.code)
    assert verdict.proof is None
    assert not verdict.retryable


@pytest.mark.parametrize(
    ("present", "detail"),
    [(Status.CLONED, "read back"), (Status.ALREADY_PRESENT, "read from the target")],
)
def test_a_whole_key_on_the_target_settles_it(present: Status, detail: str) -> None:
    verdict = judge_read(read(KEY), replace(READ_BACK, if_present=present), SOURCE)
    assert (verdict.status, verdict.proof) == (present, Proof.READ)
    assert verdict.thumbprint == KEY.x5t_s256
    assert detail in verdict.detail


@pytest.mark.parametrize(
    ("key", "lie"),
    [
        (None, "cannot be read whole"),
        (JsonWebKey(), "cannot be read whole"),
        (changed(kid=None), "cannot be read whole"),
        (changed(x5c=[]), "cannot be read whole"),
        (OTHER, f"holds key {OTHER.kid}"),
        (changed(x5c=OTHER.x5c, x5t_s256=None), "holds the certificate"),
        (changed(x5t_s256="x"), "not the thumbprint"),
    ],
)
def test_a_read_that_does_not_match_proves_nothing(key: JsonWebKey | None, lie: str) -> None:
    verdict = judge_read(read(key), READ_BACK, SOURCE)
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)
    assert lie in verdict.detail


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refused_read_means_what_was_feared(status: int) -> None:
    verdict = judge_read(refused_clone(no(status)), READ_BACK, SOURCE)
    assert verdict is READ_BACK.if_absent


def test_a_lost_clone_is_present_or_may_be_tried_again() -> None:
    pending = judge_lost_clone("no usable answer after 8 attempts")
    assert pending.if_present is Status.ALREADY_PRESENT
    assert pending.if_absent == no_answer("no usable answer after 8 attempts")
    assert (pending.if_absent.reason, pending.if_absent.retryable) == (Reason.NO_ANSWER, True)


ABSENT = refused_clone(no(404, "E0000007"))


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (Observation(), Clone()),
        (Observation(app=Reply(status=200, value=app(OTHER.kid))), Clone()),
        (Observation(app=Reply(status=200, value=app(OTHER.kid)), key=ABSENT), Clone()),
        (Observation(key=ABSENT), Clone()),
        (
            Observation(app=Reply(status=200, value=app(OTHER.kid, "INACTIVE")), key=ABSENT),
            Clone(note="the app is INACTIVE"),
        ),
    ],
    ids=["nothing read", "app", "app and key", "key", "inactive"],
)
def test_a_target_without_the_key_needs_the_clone(
    observation: Observation, expected: Clone
) -> None:
    assert decide(observation, TARGET, SOURCE) == expected


@pytest.mark.parametrize(
    "observation",
    [
        Observation(app=Reply(status=200, value=app(KID))),
        Observation(app=Reply(status=200, value=app(KID)), key=ABSENT),
        Observation(app=Reply(status=200, value=app(OTHER.kid)), key=read(KEY)),
        Observation(key=read(KEY)),
    ],
    ids=["signs with it", "signs with it, whatever the store says", "holds it", "key only"],
)
def test_a_target_with_the_key_needs_nothing(observation: Observation) -> None:
    verdict = decide(observation, TARGET, SOURCE)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.proof) == (Status.ALREADY_PRESENT, Proof.READ)
    assert verdict.http_status == 200


@pytest.mark.parametrize(
    ("observation", "reason", "retryable"),
    [
        (Observation(app=refused_app(no(404, "E0000007"))), Reason.TARGET_NOT_FOUND, False),
        (Observation(app=refused_app(no(403, "E0000006"))), Reason.FORBIDDEN, False),
        (Observation(app=refused_app(no(400))), Reason.REJECTED, False),
        (Observation(app=refused_app(no(404)), key=read(KEY)), Reason.TARGET_NOT_FOUND, False),
        (Observation(key=refused_clone(no(403, "E0000006"))), Reason.NO_ANSWER, True),
        (Observation(key=read(None)), Reason.PROOF_MISMATCH, False),
        (Observation(key=read(OTHER)), Reason.PROOF_MISMATCH, False),
        (Observation(key=read(changed(x5c=OTHER.x5c))), Reason.PROOF_MISMATCH, False),
    ],
    ids=["no app", "forbidden", "rejected", "app first", "key forbidden", "no key", "kid", "x5c"],
)
def test_what_cannot_be_known_before_a_run_is_a_failure_of_the_preview(
    observation: Observation, reason: Reason, retryable: bool
) -> None:
    verdict = decide(observation, TARGET, SOURCE)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason) == (Status.FAILED, reason)
    assert verdict.retryable is retryable


@pytest.mark.parametrize(
    ("observed", "note"),
    [
        (None, ""),
        (app("k"), ""),
        (app("k", None), ""),
        (app("k", "INACTIVE"), "the app is INACTIVE"),
        (app(None, mode="BOOKMARK"), "its sign-on mode BOOKMARK signs with no key"),
        (document(), "its sign-on mode unknown signs with no key"),
        (
            app(None, "DELETED", "AUTO_LOGIN"),
            "the app is DELETED and its sign-on mode AUTO_LOGIN signs with no key",
        ),
    ],
)
def test_a_note_says_what_is_unusual_about_an_app(
    observed: SignerDocument | None, note: str
) -> None:
    assert note_on(observed) == note
