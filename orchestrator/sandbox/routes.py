"""The endpoints: which path and method is which, and what those answer that are not about keys."""

from __future__ import annotations

from orchestrator.sandbox import documents, keys_api, refusals
from orchestrator.sandbox.calls import (
    JSON_TYPE,
    Answer,
    Call,
    Endpoint,
    Handler,
    as_json,
    author_of,
    holder_of,
    read_object,
)
from orchestrator.sandbox.changes import NOTHING, SOMETHING
from orchestrator.sandbox.logsearch import search_log
from orchestrator.sandbox.oauth import token
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.principals import list_principal_limits
from orchestrator.sandbox.search import page_links, search_apps, search_idps
from orchestrator.sandbox.vocabulary import EndpointName

XML_TYPE = "application/xml;charset=ISO-8859-1"  # as recorded, though the prolog says UTF-8
APPS = "/api/v1/apps"
IDPS = "/api/v1/idps"
LOGS = "/api/v1/logs"
PRINCIPALS = "/api/v1/principal-rate-limits"
TOKEN = "/oauth2/v1/token"  # noqa: S105 - a path
APP = f"{APPS}/{{appId}}"
IDP = f"{IDPS}/{{idpId}}"
KEYS, CSRS = f"{APP}/credentials/keys", f"{APP}/credentials/csrs"
IDP_KEYS, IDP_CSRS = f"{IDP}/credentials/keys", f"{IDP}/credentials/csrs"
CSR_TYPES = (JSON_TYPE, keys_api.PKCS10_TYPE)


def list_apps(org: SandboxOrg, call: Call) -> Answer:
    page = search_apps(org, call.query)
    body = as_json([app.document() for app in page.entries])
    return Answer(body=body, headers=page_links(org, APPS, page))


def list_idps(org: SandboxOrg, call: Call) -> Answer:
    page = search_idps(org, call.query)
    body = as_json([idp.document() for idp in page.entries])
    return Answer(body=body, headers=page_links(org, IDPS, page))


def list_logs(org: SandboxOrg, call: Call) -> Answer:
    """Return events of the System Log, unless nobody may read it."""
    if not org.log_readable:
        raise refusals.plain(403, "E0000006")
    page = search_log(org, call.query)
    body = as_json([event.as_json() for event in page.entries])
    return Answer(body=body, headers=page_links(org, LOGS, page))


def get_holder(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(holder_of(org, call).document()))


def update_holder(org: SandboxOrg, call: Call) -> Answer:
    """Replace an app or IdP, and echo what has become of it."""
    holder = holder_of(org, call)
    effect = org.update(holder, read_object(call), author_of(org, call), clumsy=call.clumsy)
    return Answer(body=as_json(holder.document()), effect=effect)


def activate(org: SandboxOrg, call: Call) -> Answer:
    return set_status(org, call, "ACTIVE")


def deactivate(org: SandboxOrg, call: Call) -> Answer:
    return set_status(org, call, "INACTIVE")


def set_status(org: SandboxOrg, call: Call, status: str) -> Answer:
    """Answer a lifecycle call; one that has nothing to do succeeds too."""
    changed = org.set_status(holder_of(org, call).id, status, author_of(org, call))
    return Answer(body=b"{}", effect=SOMETHING if changed else NOTHING)


def metadata(org: SandboxOrg, call: Call) -> Answer:
    """Return SAML metadata for any key of the app, active or not."""
    app = org.find_app(call.holder or "")
    kid = call.query.get("kid")
    if not kid:
        raise refusals.blank("kid")
    if app.sign_on_mode not in documents.METADATA_MODES:
        raise refusals.missing(app.id, "SamlMetadata")
    org.get_key(app.id, kid)
    return Answer(body=render_metadata(org, app.id, app.name, kid), content_type=XML_TYPE)


def render_metadata(org: SandboxOrg, app_id: str, name: str, kid: str) -> bytes:
    """Write the metadata document; ids and names need no escaping."""
    location = f"{org.site.base_url}/app/{name}/{app_id}/sso/saml"
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
    link = {"href": org.site.base_url}
    body = {"id": org.id, "pipeline": "idx", "_links": {"organization": link}}
    return Answer(body=as_json(body))


def endpoint(
    name: EndpointName,
    method: str,
    template: str,
    bucket: str | None,
    handler: Handler,
    serves: tuple[str, ...] = (JSON_TYPE,),
) -> Endpoint:
    return Endpoint(
        name=name, method=method, template=template, bucket=bucket, handler=handler, serves=serves
    )


ENDPOINTS = (
    endpoint("list_apps", "GET", APPS, "apps", list_apps),
    endpoint("get_app", "GET", APP, "app.read", get_holder),
    endpoint("update_app", "PUT", APP, "app.write", update_holder),
    endpoint("list_keys", "GET", KEYS, "apps", keys_api.list_keys),
    endpoint("generate", "POST", f"{KEYS}/generate", "apps", keys_api.generate),
    endpoint("get_key", "GET", f"{KEYS}/{{kid}}", "apps", keys_api.get_key),
    endpoint("clone", "POST", f"{KEYS}/{{kid}}/clone", "apps", keys_api.clone),
    endpoint("list_csrs", "GET", CSRS, "apps", keys_api.list_csrs),
    endpoint("create_csr", "POST", CSRS, "apps", keys_api.create_csr, CSR_TYPES),
    endpoint("get_csr", "GET", f"{CSRS}/{{csrId}}", "apps", keys_api.get_csr, CSR_TYPES),
    endpoint("delete_csr", "DELETE", f"{CSRS}/{{csrId}}", "apps", keys_api.delete_csr),
    endpoint(
        "publish_csr", "POST", f"{CSRS}/{{csrId}}/lifecycle/publish", "apps", keys_api.publish_csr
    ),
    endpoint(
        "metadata", "GET", f"{APP}/sso/saml/metadata", "apps", metadata, ("application/xml",)
    ),
    endpoint("activate", "POST", f"{APP}/lifecycle/activate", "apps", activate),
    endpoint("deactivate", "POST", f"{APP}/lifecycle/deactivate", "apps", deactivate),
    endpoint("list_idps", "GET", IDPS, "v1", list_idps),
    endpoint("get_idp", "GET", IDP, "v1", get_holder),
    endpoint("update_idp", "PUT", IDP, "v1", update_holder),
    endpoint("list_idp_keys", "GET", IDP_KEYS, "v1", keys_api.list_keys),
    endpoint("active_idp_key", "GET", f"{IDP_KEYS}/active", "v1", keys_api.active_key),
    endpoint("generate_idp_key", "POST", f"{IDP_KEYS}/generate", "v1", keys_api.generate),
    endpoint("get_idp_key", "GET", f"{IDP_KEYS}/{{kid}}", "v1", keys_api.get_key),
    endpoint("clone_idp_key", "POST", f"{IDP_KEYS}/{{kid}}/clone", "v1", keys_api.clone),
    endpoint("list_idp_csrs", "GET", IDP_CSRS, "v1", keys_api.list_csrs),
    endpoint("create_idp_csr", "POST", IDP_CSRS, "v1", keys_api.create_csr, CSR_TYPES),
    endpoint("get_idp_csr", "GET", f"{IDP_CSRS}/{{csrId}}", "v1", keys_api.get_csr, CSR_TYPES),
    endpoint("delete_idp_csr", "DELETE", f"{IDP_CSRS}/{{csrId}}", "v1", keys_api.delete_csr),
    endpoint(
        "publish_idp_csr", "POST", f"{IDP_CSRS}/{{csrId}}/lifecycle/publish", "v1",
        keys_api.publish_csr,
    ),
    endpoint("list_logs", "GET", LOGS, "logs", list_logs),
    endpoint("list_principal_limits", "GET", PRINCIPALS, "principals", list_principal_limits),
    endpoint("token", "POST", TOKEN, "token", token),
    endpoint("organization", "GET", "/.well-known/okta-organization", None, organization),
)  # fmt: skip


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
            return Call(
                endpoint=each,
                path=raw_path,
                holder=captured.get("appId") or captured.get("idpId"),
                kid=captured.get("kid"),
                csr=captured.get("csrId"),
            )
    raise refusals.plain(405, "E0000022") if known else refusals.plain(404, "E0000008")
