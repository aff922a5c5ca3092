"""Proof beyond the answer to a clone, and what a preview says of a key that is still to be made."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from orchestrator.engine.staging import (
    Clone,
    FutureKey,
    Observation,
    SourceKey,
    Verdict,
    decide,
    judge_metadata,
    judge_read_back,
    refused,
)
from orchestrator.model import NEW_KID, AppId, KeyRef, Kid, Proof, Reason, Resource, Status
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.wire import JsonWebKey, Refusal, Reply
from orchestrator.sandbox.org import SandboxOrg

ORG = SandboxOrg(seed=4)
APP = AppId(ORG.add_app().id)
TARGET = AppId("0oaTarget")


def key_of(kid: str) -> JsonWebKey:
    return msgspec.convert(ORG.get_key(APP, kid), JsonWebKey)


KEY = key_of(ORG.add_key(APP))
OTHER = key_of(ORG.add_key(APP))
SOURCE = SourceKey(ref=KeyRef(app=APP, kid=Kid(KEY.kid or "")), certificate=certificate_of(KEY))
FUTURE = FutureKey(ref=KeyRef(app=APP, kid=NEW_KID))
OWN = FutureKey(ref=KeyRef(app=TARGET, kid=NEW_KID), is_own=True)
CLONED = Verdict(
    status=Status.CLONED,
    detail="kid, certificate and Location match the source",
    proof=Proof.RESPONSE,
    http_status=201,
    thumbprint=SOURCE.certificate.thumbprint,
    location_app=TARGET,
)
PRESENT = Verdict(
    status=Status.ALREADY_PRESENT, detail="the target holds it", proof=Proof.CAUSE, http_status=400
)
GONE = Refusal(status=404, code="E0000007", summary=f"Not found: Resource not found: {TARGET} (X)")
KEPT_OUT = Refusal(status=403, code="E0000006", summary="no permission")


def refusing(refusal: Refusal) -> Reply[JsonWebKey]:
    return Reply(status=refusal.status, refusal=refusal)


@pytest.mark.parametrize("verdict", [CLONED, PRESENT], ids=["cloned", "present"])
def test_a_key_that_is_read_back_is_proven_by_that(verdict: Verdict) -> None:
    found = judge_read_back(Reply(status=200, value=KEY), verdict, SOURCE)
    assert found == replace(verdict, proof=Proof.READ, thumbprint=SOURCE.certificate.thumbprint)


@pytest.mark.parametrize("verdict", [CLONED, PRESENT], ids=["cloned", "present"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=200, value=OTHER),
        Reply(status=200, value=msgspec.structs.replace(KEY, x5c=OTHER.x5c, x5t_s256=None)),
        Reply(status=200, value=msgspec.structs.replace(KEY, x5c=[])),
        Reply(status=200, value=JsonWebKey()),
        refusing(GONE),
        refusing(KEPT_OUT),
    ],
    ids=["other key", "other certificate", "no certificate", "nothing", "404", "403"],
)
def test_what_cannot_be_read_back_was_not_staged(
    verdict: Verdict, reply: Reply[JsonWebKey]
) -> None:
    found = judge_read_back(reply, verdict, SOURCE)
    assert (found.status, found.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)
    assert (found.proof, found.thumbprint) == (None, None)
    assert found.http_status == reply.status
    assert found.detail


def metadata(*published: str) -> Verdict:
    return judge_metadata(Reply(status=200, value=b"<xml/>"), CLONED, SOURCE, list(published))


def test_metadata_that_holds_the_certificate_and_no_other_proves_it() -> None:
    assert metadata(SOURCE.certificate.x5c) == replace(CLONED, proof=Proof.METADATA)


@pytest.mark.parametrize(
    "published",
    [[], [OTHER.x5c[0]], [KEY.x5c[0], OTHER.x5c[0]], [KEY.x5c[0], KEY.x5c[0]], [KEY.x5c[0][:-4]]],
    ids=["none", "other", "two", "twice", "cut"],
)
def test_any_other_metadata_is_a_failure(published: list[str]) -> None:
    found = metadata(*published)
    assert (found.status, found.reason) == (Status.FAILED, Reason.PROOF_MISMATCH)
    assert (found.proof, found.http_status) == (None, 200)
    assert found.detail == "its metadata does not hold the certificate"


@pytest.mark.parametrize(
    ("refusal", "reason"), [(GONE, Reason.REJECTED), (KEPT_OUT, Reason.FORBIDDEN)]
)
def test_refused_metadata_is_a_failure_that_says_why(refusal: Refusal, reason: Reason) -> None:
    reply: Reply[bytes] = Reply(status=refusal.status, refusal=refusal)
    found = judge_metadata(reply, CLONED, SOURCE, [])
    assert (found.status, found.reason) == (Status.FAILED, reason)
    assert found.http_status == refusal.status


def app(kid: str, **fields: object) -> Reply[SignerDocument]:
    body = {"id": TARGET, "signOnMode": "SAML_2_0", "credentials": {"signing": {"kid": kid}}}
    document = SignerDocument.parse(json.dumps(body | fields).encode(), Resource.APP)
    return Reply(status=200, value=document)


@pytest.mark.parametrize("source", [FUTURE, OWN], ids=["shared", "own"])
def test_no_target_holds_a_key_that_is_still_to_be_made(source: FutureKey) -> None:
    assert decide(Observation(), TARGET, source) == Clone()
    assert decide(Observation(app=app("old")), TARGET, source) == Clone()
    seen = Observation(app=app("old"), key=Reply(status=200, value=KEY))
    assert decide(seen, TARGET, source) == Clone(), "whatever it holds, it is another"
    inactive = Observation(app=app("old", status="INACTIVE"))
    assert decide(inactive, TARGET, source) == Clone(note="the app is INACTIVE")


@pytest.mark.parametrize("source", [SOURCE, FUTURE, OWN], ids=["known", "future", "own"])
def test_a_target_that_is_gone_is_said_to_be_gone_also_where_it_is_its_own_source(
    source: SourceKey | FutureKey,
) -> None:
    observation = Observation(app=Reply(status=404, refusal=GONE))
    found = decide(observation, TARGET, source)
    assert isinstance(found, Verdict)
    assert (found.status, found.reason) == (Status.FAILED, Reason.TARGET_NOT_FOUND)
    assert found.detail == f"app {TARGET} is not in the org"


@pytest.mark.parametrize("missing", [APP, KEY.kid])
def test_a_source_that_is_gone_is_told_apart_from_a_target_that_is(missing: str) -> None:
    refusal = replace(GONE, summary=f"Not found: Resource not found: {missing} (X)")
    assert refused(refusal, TARGET, SOURCE).reason is Reason.SOURCE_UNUSABLE
