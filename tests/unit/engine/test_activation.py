"""Whether a target's key may be changed, branch by branch, in the words that people read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.engine.activation import (
    Change,
    Ruling,
    Write,
    change_to_activate,
    change_to_roll_back,
    decide,
    judge_echo,
    judge_reading,
    judge_refused,
)
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Kid,
    Proof,
    Reason,
    Resource,
    Target,
)
from orchestrator.okta.document import SignerDocument, fingerprint
from orchestrator.okta.wire import Refusal
from orchestrator.rollout import Inactive

S = ActivationState
OLD, NEW, OTHER = Kid("kid-old"), Kid("kid-new"), Kid("kid-other")
ACTIVATE, BACK = Change(to=NEW), Change(to=OLD, expected=NEW, back=True)
PLAIN = Activation(
    target=Target(job="job", app=AppId("0oa1")),
    kid=NEW,
    wave=1,
    state=S.INTENDED,
    detail="about to be written",
    previous_kid=OLD,
    at=datetime(2026, 10, 1, 12, tzinfo=UTC),
)


def app(kid: str | None = OLD, **fields: object) -> SignerDocument:
    signing = {"kid": kid} if kid else {}
    document: dict[str, Any] = {
        "id": "0oa1",
        "status": "ACTIVE",
        "signOnMode": "SAML_2_0",
        "credentials": {"signing": signing},
    }
    return SignerDocument.parse(json.dumps(document | fields).encode(), Resource.APP)


def idp(kind: str | None, kid: str = OLD) -> SignerDocument:
    document = {
        "id": "0oi1",
        "status": "ACTIVE",
        "type": kind,
        "protocol": {"credentials": {"signing": {"kid": kid}}},
    }
    return SignerDocument.parse(json.dumps(document).encode(), Resource.IDP)


def ruled(document: SignerDocument, change: Change) -> Ruling:
    decision = decide(document, change)
    assert isinstance(decision, Ruling)
    return decision


def written(document: SignerDocument, change: Change = ACTIVATE) -> Write:
    decision = decide(document, change)
    assert isinstance(decision, Write)
    return decision


def test_a_plain_saml_app_is_written() -> None:
    write = written(app())
    assert json.loads(write.body)["credentials"] == {"signing": {"kid": NEW}}
    assert write.previous_kid == OLD


@pytest.mark.parametrize("mode", ["BOOKMARK", "SECURE_PASSWORD_STORE", "AUTO_LOGIN", None])
def test_an_app_without_a_signing_key_cannot_be_activated_ever(mode: str | None) -> None:
    ruling = ruled(app(None, signOnMode=mode), ACTIVATE)
    assert (ruling.state, ruling.reason, ruling.retryable) == (S.FAILED, Reason.NOT_SIGNING, False)
    assert ruling.detail == f"its sign-on mode {mode or 'unknown'} signs with no key"


def test_a_saml_identity_provider_is_written() -> None:
    assert written(idp("SAML2")).previous_kid == OLD


@pytest.mark.parametrize("kind", ["APPLE", "OIDC", "GOOGLE", "X509", None])
@pytest.mark.parametrize("kid", [OLD, NEW])
def test_what_other_identity_providers_call_a_kid_is_no_key_of_oktas(
    kind: str | None, kid: Kid
) -> None:
    """In Okta's OpenAPI document, credentials of OAuth and OIDC providers hold Apple's key."""
    for change in (ACTIVATE, BACK):
        assert ruled(idp(kind, kid), change).reason is Reason.NOT_SIGNING


def test_an_oidc_app_is_written_only_where_the_plan_insists() -> None:
    oidc = app(signOnMode="OPENID_CONNECT")
    ruling = ruled(oidc, ACTIVATE)
    assert (ruling.state, ruling.reason, ruling.retryable) == (S.FAILED, Reason.OIDC, True)
    assert "allow_oidc: true" in ruling.detail
    written(oidc, replace(ACTIVATE, allow_oidc=True))


def test_a_deactivated_app_is_skipped_unless_the_plan_says_otherwise() -> None:
    inactive = app(status="INACTIVE")
    ruling = ruled(inactive, ACTIVATE)
    assert (ruling.state, ruling.reason) == (S.SKIPPED, Reason.INACTIVE)
    assert ruling.detail == "it is INACTIVE"
    written(inactive, replace(ACTIVATE, inactive=Inactive.ACTIVATE))
    written(app(status=None))


def test_a_target_that_somebody_has_changed_is_left_alone_and_the_message_says_what() -> None:
    ruling = ruled(app(OTHER), change_to_activate(NEW, PLAIN, None))
    assert (ruling.state, ruling.reason, ruling.retryable) == (S.FAILED, Reason.DRIFT, True)
    assert ruling.detail == (
        "it signs with kid-other, but when its activation began it signed with kid-old: "
        "somebody has changed it since, and it is left as it is"
    )


def test_a_target_that_signs_with_the_key_already_has_nothing_to_go_back_to() -> None:
    ruling = ruled(app(NEW), ACTIVATE)
    assert ruling == Ruling(
        state=S.ACTIVATED, detail="it signed with this key already", proof=Proof.READ
    )
    done = replace(PLAIN, state=ruling.state, previous_kid=ruling.previous_kid)
    assert change_to_roll_back(done) is None


def test_a_lost_write_that_took_effect_can_be_taken_back() -> None:
    ruling = ruled(app(NEW), change_to_activate(NEW, PLAIN, None))
    assert ruling.detail == "activated by a write whose answer was lost, and read back"
    assert (ruling.previous_kid, ruling.problem) == (OLD, None)


def test_what_changed_beside_a_lost_write_is_a_problem() -> None:
    before = app(OLD, label="before")
    begun = replace(PLAIN, fingerprint=fingerprint(before.body, Resource.APP))
    change = change_to_activate(NEW, begun, None)
    assert ruled(app(NEW, label="before"), change).problem is None
    problem = ruled(app(NEW, label="after"), change).problem
    assert problem == "more than its key has changed since its activation began: see its history"


def test_a_target_that_signs_with_its_former_key_is_back_already() -> None:
    ruling = ruled(app(OLD), BACK)
    assert ruling == Ruling(
        state=S.ROLLED_BACK,
        detail="it signs with its former key already",
        proof=Proof.READ,
        previous_kid=OLD,
    )


def test_a_way_back_leaves_alone_what_signs_with_a_third_key() -> None:
    change = change_to_roll_back(replace(PLAIN, state=S.VERIFIED))
    assert change is not None
    ruling = ruled(app(OTHER), change)
    assert ruling.reason is Reason.DRIFT
    assert "once it was activated it signed with kid-new" in ruling.detail


def test_the_answer_to_a_way_back_proves_it() -> None:
    write = written(app(NEW), BACK)
    assert judge_echo(app(OLD).body, write) == Ruling(
        state=S.ROLLED_BACK,
        detail="signs again with kid-old",
        proof=Proof.RESPONSE,
        previous_kid=OLD,
    )


@pytest.mark.parametrize(
    ("status", "reason", "retryable", "detail"),
    [
        (404, Reason.TARGET_NOT_FOUND, False, "it is not in the org"),
        (403, Reason.FORBIDDEN, True, "the admin role does not reach it: 403 E1: no"),
        (401, Reason.FORBIDDEN, True, "the admin role does not reach it: 401 E1: no"),
        (400, Reason.REJECTED, True, "the org refused to change it: 400 E1: no"),
    ],
)
def test_a_refusal_is_kept_as_evidence(
    status: int, reason: Reason, retryable: bool, detail: str
) -> None:
    ruling = judge_refused(Refusal(status=status, code="E1", summary="no"), "change")
    assert (ruling.state, ruling.reason, ruling.retryable) == (S.FAILED, reason, retryable)
    assert (ruling.detail, ruling.http_status, ruling.okta_code) == (detail, status, "E1")


def nested(depth: int, kid: str = OLD) -> SignerDocument:
    """Return an app that holds so many lists in each other."""
    text = (
        f'{{"id":"a","credentials":{{"signing":{{"kid":"{kid}"}}}},"x":{"[" * depth}{"]" * depth}}}'
    )
    return SignerDocument.parse(text.encode(), Resource.APP)


def can_be_read(depth: int) -> bool:
    try:
        nested(depth)
    except ValueError:
        return False
    return True


def deepest() -> int:
    """Return the depth at which a document can just be read."""
    least, most = 1, 1_000_000
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if can_be_read(middle) else (least, middle)
    return least


LOST = replace(PLAIN, fingerprint="of the document as it was")


@pytest.mark.parametrize(
    ("kid", "judge"),
    [
        (OLD, lambda found: decide(found, ACTIVATE)),
        (NEW, lambda found: decide(found, change_to_activate(NEW, LOST, None))),
        (NEW, lambda found: judge_reading(found, written(app()))),
        (NEW, lambda found: judge_echo(found.body, written(app()))),
    ],
    ids=["decide", "already", "reading", "echo"],
)
def test_a_document_that_can_just_be_read_is_judged_without_an_error(
    kid: Kid, judge: Callable[[SignerDocument], object]
) -> None:
    """Comparing goes deeper than reading, and one hostile app must not end the run."""
    most = deepest()
    for depth in (most // 2, most * 9 // 10, *range(most - 12, most + 12)):
        try:
            document = nested(depth, kid)
        except ValueError:
            break
        judge(document)
