"""The examples of Okta's OpenAPI document, where nothing was recorded: our client reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
import yaml
from cryptography import x509

from orchestrator.model import Kid, Resource
from orchestrator.okta.certificates import certificate_of_text, der_of, x5c_in_metadata
from orchestrator.okta.document import SignerDocument, changes_between
from orchestrator.okta.objects import IdentityProvider, LogEvent
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import JsonWebKey, SigningRequest, refusal_of
from tests.conformance.reference import OPENAPI, body_of, needs

pytestmark = needs(OPENAPI)


@cache
def document() -> Any:
    return yaml.load(OPENAPI.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def example(name: str) -> Any:
    return document()["components"]["examples"][name]["value"]


def test_a_signing_request_holds_a_request_in_der() -> None:
    request = decode(body_of(example("AppCsrJsonResponse")), SigningRequest)
    assert (request.id, request.created) == (
        "h9zkutaSe7fZX0SwN1GqDApofgD1OW8g2B5l2azha50",
        "2017-03-28T01:11:10.000Z",
    )
    parsed = x509.load_der_x509_csr(der_of(request.csr or ""))
    assert parsed.is_signature_valid
    assert "SP Issuer" in parsed.subject.rfc4514_string()


def test_a_published_request_is_a_key() -> None:
    key = decode(body_of(example("KeyCredentialExample")), JsonWebKey)
    assert key.kid == "SIMcCQNY3uwXoW3y0vf6VxiBb5n9pf8L2fK8d-FIbm4"
    assert certificate_of_text(key.x5c[0]).x5c == key.x5c[0]


@pytest.mark.parametrize(
    "name",
    ["ErrorPublishCSRCertDoesNotMatchCSR", "ErrorPublishCSRCertValidityLessThan90Days"],
)
def test_a_certificate_that_cannot_be_published_is_no_duplicate(name: str) -> None:
    refusal = refusal_of(400, body_of(example(name)))
    assert not refusal.is_duplicate
    assert refusal.causes == (example(name)["errorCauses"][0]["errorSummary"],)


def test_an_event_of_the_log_is_read() -> None:
    (event,) = decode(body_of(example("ListLogs")), list[LogEvent])
    assert event.event_type == "user.session.start"
    assert event.published_at == datetime(2024, 8, 13, 15, 58, 20, 353_000, tzinfo=UTC)
    assert event.actor is not None
    assert event.actor.alternate_id == "john.doe@example.com"
    assert event.request_id == "ab609228fe84ce59cdcbfa690bgce016"
    assert event.target_ids == {"pfdfdhyjf0HMbkP2e1d7", "0oatxlef9sQvvqInq5d6"}
    assert event.outcome is not None
    assert event.outcome.result == "SUCCESS"


RESPONSES = [
    "SamlIdPResponse", "AppleIdPResponse", "FacebookIdPResponse", "GenericOidcIdpResponse",
    "SmartCardIdPResponse", "PersonaIDVResponse",
]  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES)
def test_an_identity_provider_is_read_and_its_secrets_are_not_shown(name: str) -> None:
    """None of the examples names a key of Okta's; the one of Apple names a key of Apple's."""
    idp = example(name)
    body = body_of(idp)
    app = decode(body, IdentityProvider).as_application
    signer = SignerDocument.parse(body, Resource.IDP)
    assert (app.active_kid, signer.active_kid) == (None, None)
    assert (app.sign_on_mode, signer.sign_on_mode) == (idp["type"], idp["type"])
    assert (signer.id, signer.label, signer.status) == (idp["id"], idp["name"], idp["status"])
    assert signer.body == body
    assert "your-client-secret" not in repr(signer)


def test_a_saml_provider_can_be_sent_back_with_another_key() -> None:
    """The kid of its trust, the partner's certificate, is another one and stays."""
    idp = example("SamlIdPResponse") | {}
    credentials = idp["protocol"]["credentials"] | {"signing": {"kid": "your-key-id"}}
    idp["protocol"] = idp["protocol"] | {"credentials": credentials}
    body = body_of(idp)
    signer = SignerDocument.parse(body, Resource.IDP)
    assert signer.active_kid == "your-key-id"
    changed = signer.with_kid(Kid("another"))
    credentials["signing"]["kid"] = "another"
    assert credentials["trust"]["kid"] == "your-key-id"
    assert changed == body_of(idp)
    assert changes_between(body, changed, Resource.IDP) == ()


def test_metadata_holds_the_certificate_of_the_key() -> None:
    operation = document()["paths"]["/api/v1/apps/{appId}/sso/saml/metadata"]["get"]
    answer = operation["responses"]["200"]["content"]["text/xml"]["examples"]["previewSAML"]
    (x5c,) = x5c_in_metadata(answer["value"].encode())
    assert not set(x5c) & set(" \n")
    assert "balacomptest" in certificate_of_text(x5c).subject
