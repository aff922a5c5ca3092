"""The endpoints: which path and method is which, and what each answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from orchestrator.sandbox import documents, refusals
from orchestrator.sandbox.certs import Json
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.search import page_links, search_apps
from orchestrator.sandbox.vocabulary import EndpointName

JSON_TYPE = "application/json"
XML_TYPE = "application/xml;charset=ISO-8859-1"  # as recorded, though the prolog says UTF-8
APP = "/api/v1/apps/{appId}"
KEYS = f"{APP}/credentials/keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, taken apart."""

    endpoint: Endpoint
    app: str | None = None
    kid: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = "*/*"
    content_type: str = ""
    body: bytes = b""

    @property
    def target(self) -> str | None:
        """Return the app that a clone is to write to."""
        return self.query.get("targetAid")

    @property
    def concerns(self) -> str | None:
        """Return the app that the call is about."""
        return self.target if self.endpoint.name == "clone" else self.app


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, without the headers that every answer has."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    effect: bool = False  # the org's state was changed


Handler = Callable[[SandboxOrg, Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the API."""

    name: EndpointName
    method: str
    template: str
    bucket: str | None  # None: neither counted nor authenticated
    handler: Handler

    def captures(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the path's parameters, or None if the path is another."""
        names = self.template.split("/")
        if len(names) != len(segments):
            return None
        pairs = list(zip(names, segments, strict=True))
        if any(name != text for name, text in pairs if not name.startswith("{")):
            return None
        return {name.strip("{}"): unquote(text) for name, text in pairs if name.startswith("{")}


def as_json(value: object) -> bytes:
    """Write JSON as Okta does: without spaces, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def refusal_answer(refusal: refusals.Refusal, error_id: str) -> Answer:
    """Write a refusal in Okta's error format."""
    body = {
        "errorCode": refusal.code,
        "errorSummary": refusal.message,
        "errorLink": refusal.code,
        "errorId": error_id,
        "errorCauses": [{"errorSummary": cause} for cause in refusal.causes],
    }
    return Answer(status=refusal.status, body=as_json(body))


def list_apps(org: SandboxOrg, call: Call) -> Answer:
    page = search_apps(org, call.query)
    body = as_json([app.document() for app in page.apps])
    return Answer(body=body, headers=page_links(org, page))


def get_app(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(org.find_app(call.app or "").document()))


def update_app(org: SandboxOrg, call: Call) -> Answer:
    org.find_app(call.app or "")
    return Answer(body=as_json(org.update_app(call.app or "", read_object(call))), effect=True)


def read_object(call: Call) -> Json:
    """Return the JSON object in the body of a call."""
    if call.content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        raise refusals.plain(400, "E0000021")
    try:
        body: object = json.loads(call.body)
    except (ValueError, RecursionError):
        raise refusals.plain(400, "E0000003") from None
    if not documents.is_object(body):
        raise refusals.plain(400, "E0000003")
    return body


def list_keys(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(org.list_keys(call.app or "")))


def get_key(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(org.get_key(call.app or "", call.kid or "")))


def generate(org: SandboxOrg, call: Call) -> Answer:
    key = org.generate_key(call.app or "", call.query.get("validityYears"))
    return created_key(org, call.app or "", key)


def clone(org: SandboxOrg, call: Call) -> Answer:
    key = org.clone_key(call.app or "", call.kid or "", call.target)
    return created_key(org, call.target or "", key)


def created_key(org: SandboxOrg, holder: str, key: Json) -> Answer:
    """Return the 201 for a key; Location is absolute and names the app that holds it now."""
    location = f"{org.base_url}/api/v1/apps/{holder}/credentials/keys/{key['kid']}"
    return Answer(status=201, body=as_json(key), headers=(("Location", location),), effect=True)


def activate(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=b"{}", effect=org.set_status(call.app or "", "ACTIVE"))


def deactivate(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=b"{}", effect=org.set_status(call.app or "", "INACTIVE"))


def metadata(org: SandboxOrg, call: Call) -> Answer:
    """Return SAML metadata for any key of the app, active or not."""
    app = org.find_app(call.app or "")
    kid = call.query.get("kid")
    if not kid:
        raise refusals.blank("kid")
    if app.sign_on_mode not in documents.METADATA_MODES:
        raise refusals.missing(app.id, "SamlMetadata")
    org.get_key(app.id, kid)
    return Answer(body=render_metadata(org, app.id, app.name, kid), content_type=XML_TYPE)


def render_metadata(org: SandboxOrg, app_id: str, name: str, kid: str) -> bytes:
    """Write the metadata document; ids and names need no escaping."""
    location = f"{org.base_url}/app/{name}/{app_id}/sso/saml"
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP"
    services = "".join(
        f'<md:SingleSignOnService Binding="{binding}-{way}" Location="{location}"/>'
        for way in ("POST", "Redirect")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<md:EntityDescriptor entityID="http://www.okta.com/{app_id}" '
        'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">'
        '<md:IDPSSODescriptor WantAuthnRequestsSigned="false" '
        'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<md:KeyDescriptor use="signing">'
        '<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{org.material(kid).x5c}</ds:X509Certificate>"
        "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        "<md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
        f"</md:NameIDFormat>{services}</md:IDPSSODescriptor></md:EntityDescriptor>"
    ).encode()


def organization(org: SandboxOrg, call: Call) -> Answer:
    """Return the public description of the org; no credential is needed."""
    del call
    link = {"href": org.base_url}
    body = {"id": org.id, "pipeline": "idx", "_links": {"organization": link}}
    return Answer(body=as_json(body))


def endpoint(
    name: EndpointName, method: str, template: str, bucket: str | None, handler: Handler
) -> Endpoint:
    return Endpoint(name=name, method=method, template=template, bucket=bucket, handler=handler)


ENDPOINTS = (
    endpoint("list_apps", "GET", "/api/v1/apps", "apps", list_apps),
    endpoint("get_app", "GET", APP, "app.read", get_app),
    endpoint("update_app", "PUT", APP, "app.write", update_app),
    endpoint("list_keys", "GET", KEYS, "apps", list_keys),
    endpoint("generate", "POST", f"{KEYS}/generate", "apps", generate),
    endpoint("get_key", "GET", f"{KEYS}/{{kid}}", "apps", get_key),
    endpoint("clone", "POST", f"{KEYS}/{{kid}}/clone", "apps", clone),
    endpoint("metadata", "GET", f"{APP}/sso/saml/metadata", "apps", metadata),
    endpoint("activate", "POST", f"{APP}/lifecycle/activate", "apps", activate),
    endpoint("deactivate", "POST", f"{APP}/lifecycle/deactivate", "apps", deactivate),
    endpoint("organization", "GET", "/.well-known/okta-organization", None, organization),
)


def find_endpoint(method: str, raw_path: str) -> Call:
    """Return the call that a method and an undecoded path make.

    Raises:
        Refusal: 405 for a known path with another method, else 404.
    """
    segments = raw_path.split("/")
    found = [(each, each.captures(segments)) for each in ENDPOINTS]
    known = [(each, captured) for each, captured in found if captured is not None]
    for each, captured in known:
        if each.method == method:
            return Call(endpoint=each, app=captured.get("appId"), kid=captured.get("kid"))
    raise refusals.plain(405, "E0000022") if known else refusals.plain(404, "E0000008")


def check_accept(call: Call) -> None:
    """Refuse a call whose Accept header leaves out what the endpoint sends."""
    served = "application/xml" if call.endpoint.name == "metadata" else JSON_TYPE
    ranges = {part.partition(";")[0].strip().lower() for part in call.accept.split(",")}
    if not ranges & {served, "application/*", "*/*", ""}:
        raise refusals.plain(400, "E0000019")


def perform(org: SandboxOrg, call: Call) -> Answer:
    """Do what the call asks, and return the answer; a refusal is an answer too."""
    try:
        return call.endpoint.handler(org, call)
    except refusals.Refusal as refusal:
        return refusal_answer(refusal, new_error_id(org))


def new_error_id(org: SandboxOrg) -> str:
    """Return an errorId: `oae` and 22 characters."""
    return f"oae{org.new_id('')}{org.new_id('')[:5]}"


def with_body(answer: Answer, body: bytes, content_type: str | None = None) -> Answer:
    """Return the answer with another body."""
    return replace(answer, body=body, content_type=content_type or answer.content_type)
