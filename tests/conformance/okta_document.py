"""Okta's OpenAPI document as a judge of exchanges."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from openapi_core import Config, OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_schema_validator import OAS30ReadValidator

from tests.conformance.reference import OPENAPI
from tests.conformance.wiretap import Exchange

HOST = "https://subdomain.okta.com"  # the default of the document's one server
ERROR_CODE = re.compile(r"E\d{7}")

# The document names no 401 anywhere, nor a 400 for the list of apps, though Okta's list of error
# codes has both (E0000011 and E0000031). Their bodies are held against the document's Error.
UNDOCUMENTED = {("GET", 400), ("GET", 401), ("POST", 401), ("PUT", 401), ("DELETE", 401)}

READ_ONLY = ("id", "orn", "created", "lastUpdated", "features", "_links")
CSR_PATHS = ("", "/{csrId}", "/{csrId}/lifecycle/publish")


# Where the recorded apps, and so the sandbox's, have null though the document does not allow it:
# the schema, its property, and the place in an app.
NULLS = (
    ("ApplicationAccessibility", "errorRedirectUrl", "accessibility"),
    ("ApplicationAccessibility", "loginRedirectUrl", "accessibility"),
    ("ApplicationSettingsNotes", "admin", "settings.notes"),
    ("ApplicationSettingsNotes", "enduser", "settings.notes"),
    ("ApplicationSettingsNotificationsVpn", "helpUrl", "settings.notifications.vpn"),
    ("ApplicationSettingsNotificationsVpn", "message", "settings.notifications.vpn"),
    ("SamlApplicationSettingsSignOn", "spIssuer", "settings.signOn"),
)
# Likewise in recorded IdPs.
IDP_NULLS = (
    ("PolicyAccountLink", "filter", "policy.accountLink"),
    ("PolicySubject", "filter", "policy.subject"),
    ("PolicySubject", "matchAttribute", "policy.subject"),
)
# Likewise in the document's own example of the System Log.
LOG_NULLS = (
    ("LogActor", "detailEntry", "actor"),
    ("LogOutcome", "reason", "outcome"),
    ("LogTarget", "detailEntry", "target.0"),
)


@dataclass(frozen=True, slots=True)
class OktaDocument:
    """The document, loaded, and the checks that it allows."""

    content: Any
    openapi: OpenAPI

    def check(self, exchange: Exchange) -> None:
        """Raise if the request or its answer is not as the document says."""
        request = request_of(exchange)
        # The validator knows no OAuth, the document's alternative, and lets all pass for it.
        assert exchange.sent_headers["Authorization"].startswith("SSWS ")
        assert set(exchange.url.query) <= self.query_names(exchange.method, exchange.url.path)
        self.openapi.validate_request(request)
        if exchange.status >= 400:
            self.check_error(exchange)
        if (exchange.method, exchange.status) not in UNDOCUMENTED:
            self.openapi.validate_response(request, response_of(exchange))

    def query_names(self, method: str, path: str) -> set[str]:
        """Return the query parameters that an operation takes; the validator lets others pass."""
        paths = self.content["paths"]
        fitting = [each for each in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)]
        operation = paths[min(fitting, key=lambda each: each.count("{"))][method.lower()]
        shared = self.content["components"]["parameters"]
        given = operation.get("parameters", [])
        parameters = [shared[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in given]
        return {p["name"] for p in parameters if p["in"] == "query"}

    def check_error(self, exchange: Exchange) -> None:
        """Check an error more strictly than the document, which requires none of its fields."""
        error = json.loads(exchange.body)
        self.check_schema("Error", error)
        assert set(error) == self.properties("Error")
        assert ERROR_CODE.fullmatch(error["errorCode"])

    def check_app(self, app: Any) -> None:
        """Check an app against the schema of its sign-on mode.

        The document's Application has a discriminator, but no `oneOf` that a validator would act
        on, so the mapping is followed here.
        """
        mapping = self.content["components"]["schemas"]["Application"]["discriminator"]["mapping"]
        self.check_schema(mapping[app["signOnMode"]].rpartition("/")[2], app)

    def check_key(self, key: Any) -> None:
        """Check that a key has every field of the document's JsonWebKey and no other."""
        self.check_schema("JsonWebKey", key)
        assert set(key) == self.properties("JsonWebKey")

    def check_schema(self, name: str, value: Any) -> None:
        reference = {"$ref": f"#/components/schemas/{name}"}
        schema = {"allOf": [reference], "components": self.content["components"]}
        OAS30ReadValidator(schema).validate(value)

    def properties(self, name: str) -> set[str]:
        return set(self.content["components"]["schemas"][name]["properties"])


def load_document() -> OktaDocument:
    """Load the document; the document itself is checked too.

    One of its enums, of a part that no app here has, lists AES256_CBC twice, which makes it
    invalid: the repetition is taken out. The nulls that real apps have are let through, and what
    it does not say of identity providers is added.
    """
    text = OPENAPI.read_text(encoding="utf-8")
    content = yaml.load(text, Loader=yaml.CSafeLoader)
    schemas = content["components"]["schemas"]
    algorithm = schemas["SamlAssertionEncryption"]["properties"]["encryptionAlgorithm"]
    algorithm["enum"] = list(dict.fromkeys(algorithm["enum"]))
    for schema, name, _ in (*NULLS, *IDP_NULLS, *LOG_NULLS):
        part = schemas[schema]["properties"][name]
        if "$ref" in part:
            part = schemas[part["$ref"].rpartition("/")[2]]
        part["nullable"] = True
    complete_idps(content["paths"])
    forget_empty_contents(content["paths"])
    config = Config(extra_media_type_deserializers={"text/xml": as_text})
    return OktaDocument(content, OpenAPI.from_dict(content, config=config))


def complete_idps(paths: Any) -> None:
    """Add the answers of IdPs that the document leaves out, and their CSRs.

    Recordings have 201 for a generated key. The description of a clone names the 400 for a
    duplicate, the list of its answers does not. The CSRs of IdPs are in Okta's guide on
    certificates: "the general procedure is the same for both".
    """
    keys = "/api/v1/idps/{idpId}/credentials/keys"
    generate = paths[f"{keys}/generate"]["post"]["responses"]
    invalid = {"$ref": "#/components/responses/ErrorApiValidationFailed400"}
    missing = {"$ref": "#/components/responses/ErrorResourceNotFound404"}
    generate |= {"201": generate["200"], "400": invalid}
    paths[f"{keys}/{{kid}}/clone"]["post"]["responses"]["400"] = invalid
    denied = {"$ref": "#/components/responses/ErrorAccessDenied403"}
    paths[f"{keys}/active"]["get"]["responses"] |= {"403": denied, "404": missing}
    for path in CSR_PATHS:
        item = copy.deepcopy(paths[f"/api/v1/apps/{{appId}}/credentials/csrs{path}"])
        for parameter in item.get("parameters", []):
            if parameter.get("$ref", "").endswith("/pathAppId"):
                parameter["$ref"] = "#/components/parameters/pathIdpId"
        for operation in ("get", "post", "delete"):
            item.get(operation, {}).pop("operationId", None)  # each must be the only one
        paths[f"/api/v1/idps/{{idpId}}/credentials/csrs{path}"] = item


def forget_empty_contents(paths: Any) -> None:
    """Take out the empty content of every 204, for which the validator would want a body."""
    for item in paths.values():
        for operation in (item[m] for m in ("get", "post", "put", "delete") if m in item):
            answer = operation["responses"].get("204")
            if answer is not None and answer.get("content") == {}:
                del answer["content"]


def as_text(value: bytes, **_: str) -> str:
    """Read metadata as the string that the document says it is."""
    return value.decode("utf-8")


def request_of(exchange: Exchange) -> MockRequest:
    """Return the request as the judge wants it: as if it had gone to Okta's own host.

    A PUT sends read-only fields back, as the document's own example ReplaceIdPRequestResponse does
    and as recordings show to be accepted; the document's schemas forbid it, so the judge does not
    get to see them.
    """
    return MockRequest(
        HOST,
        exchange.method,
        exchange.url.path,
        args=dict(exchange.url.query),
        headers=dict(exchange.sent_headers),
        data=without_read_only(exchange.sent) if exchange.method == "PUT" else exchange.sent,
        content_type=exchange.sent_headers.get("Content-Type", ""),
    )


def without_read_only(sent: bytes) -> bytes:
    document = json.loads(sent)
    return json.dumps({n: v for n, v in document.items() if n not in READ_ONLY}).encode()


def response_of(exchange: Exchange) -> MockResponse:
    """Return the answer as the judge wants it.

    The document promises metadata as text/xml; every recorded answer, and so the sandbox, has
    application/xml with a charset. For the judge, and for it alone, they are the same.
    """
    content_type = exchange.headers.get("Content-Type", "").lower()
    if content_type.startswith("application/xml"):
        content_type = "text/xml"
    return MockResponse(
        exchange.body,
        status_code=exchange.status,
        headers=dict(exchange.headers),
        content_type=content_type,
    )


def apps_in(exchange: Exchange) -> Iterator[Any]:
    """Yield the apps in an answer."""
    body = json.loads(exchange.body)
    yield from body if isinstance(body, list) else [body]
