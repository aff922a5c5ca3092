"""Application objects as Okta writes them, and what a PUT makes of them.

Field order, links and defaults follow recorded SAML applications of Identity Engine orgs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from orchestrator.sandbox.certs import Json

SIGNING_MODES = frozenset({"SAML_2_0", "SAML_1_1", "WS_FEDERATION", "OPENID_CONNECT"})
METADATA_MODES = frozenset({"SAML_2_0"})
CATALOG_NAMES = {
    "BOOKMARK": "bookmark",
    "OPENID_CONNECT": "oidc_client",
    "BROWSER_PLUGIN": "template_swa",
    "BASIC_AUTH": "template_basic_auth",
    "SECURE_PASSWORD_STORE": "template_sps",
    "WS_FEDERATION": "template_wsfed",
    "SAML_1_1": "sharepoint_onpremise",
}
APP_SETTINGS: dict[str, Json] = {  # what Okta's OpenAPI document requires of each mode
    "BASIC_AUTH": {"url": "https://sp.example.com", "authURL": "https://sp.example.com/auth"},
    "BOOKMARK": {"requestIntegration": False, "url": "https://sp.example.com"},
    "BROWSER_PLUGIN": {
        "url": "https://sp.example.com",
        "usernameField": "username",
        "passwordField": "password",
        "buttonField": "login",
    },
    "SECURE_PASSWORD_STORE": {
        "url": "https://sp.example.com",
        "usernameField": "username",
        "passwordField": "password",
    },
    "WS_FEDERATION": {
        "siteURL": "https://sp.example.com",
        "wReplyURL": "https://sp.example.com/wsfed",
        "audienceRestriction": "urn:sp.example.com",
        "groupValueFormat": "windowsDomainQualifiedName",
        "nameIDFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
        "authnContextClassRef": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "usernameAttribute": "username",
    },
}
WRITABLE = ("accessibility", "visibility", "credentials", "universalLogout", "settings", "profile")
READ_ONLY = frozenset(
    {"id", "orn", "name", "label", "status", "lastUpdated", "created", "features", "signOnMode"}
    | {"_links", "_embedded"}
)  # by a PUT; the label is not, but the app itself keeps it
LOGO = (
    "https://ok11static.oktacdn.com/assets/img/logos/default.6770228fb0dab49a1695ef440a5279bb.png"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The parts of an application object that only the org sets."""

    app_id: str
    org_id: str
    base_url: str
    name: str
    label: str
    status: str
    created: str
    last_updated: str
    sign_on_mode: str | None
    active_kid: str | None


def catalog_name(sign_on_mode: str | None, org_name: str, ordinal: int) -> str:
    """Return the app's `name`: its catalog key, or one of its own for a custom app."""
    return CATALOG_NAMES.get(sign_on_mode or "", f"{org_name}_sandboxapp_{ordinal}")


def render(identity: Identity, written: Json | None) -> Json:
    """Return the whole application object; `written` holds what PUTs have set."""
    parts = copy.deepcopy(written) if written is not None else new_parts(identity)
    credentials = parts.get("credentials")
    if is_object(credentials):
        kid = identity.active_kid
        credentials["signing"] = {} if kid is None else {"kid": kid}
    head: Json = {
        "id": identity.app_id,
        "orn": f"orn:okta:idp:{identity.org_id}:apps:{identity.name}:{identity.app_id}",
        "name": identity.name,
        "label": identity.label,
        "status": identity.status,
        "lastUpdated": identity.last_updated,
        "created": identity.created,
        "accessibility": parts.pop("accessibility"),
        "visibility": parts.pop("visibility"),
        "features": [],
        "signOnMode": identity.sign_on_mode,
    }
    return head | parts | {"_links": links_of(identity)}


def retold(recorded: Json, news: Json, kid: str | None) -> Json:
    """Return a recorded application with what has changed since; everything else is verbatim."""
    document = copy.deepcopy(recorded)
    document |= {name: value for name, value in news.items() if name in document}
    credentials = child(document, "credentials")
    signing = child(credentials, "signing")
    if kid is not None:
        signing["kid"] = kid
    return document


def laid(recorded: Json, parts: Json) -> Json:
    """Return a recorded application with other writable parts, its fields in their old order."""
    kept = {
        name: parts.get(name, value)
        for name, value in recorded.items()
        if name in parts or name in READ_ONLY
    }
    links = {name: kept.pop(name) for name in ("_links", "_embedded") if name in kept}
    return kept | {name: value for name, value in parts.items() if name not in kept} | links


def new_parts(identity: Identity) -> Json:
    """Return the writable parts of an app that nobody has edited."""
    return {
        "accessibility": {"selfService": False, "errorRedirectUrl": None, "loginRedirectUrl": None},
        "visibility": {
            "autoLaunch": False,
            "autoSubmitToolbar": False,
            "hide": {"iOS": False, "web": False},
            "appLinks": {f"{identity.name}_link": True},
        },
        "credentials": {
            "userNameTemplate": {"template": "${source.login}", "type": "BUILT_IN"},
            "signing": {},
        },
        "settings": new_settings(identity.sign_on_mode),
    }


def new_settings(sign_on_mode: str | None) -> Json:
    """Return default settings; a SAML 2.0 app has sign-on settings besides."""
    settings: Json = {
        "app": dict(APP_SETTINGS.get(sign_on_mode or "", {})),
        "notifications": {
            "vpn": {"network": {"connection": "DISABLED"}, "message": None, "helpUrl": None}
        },
        "manualProvisioning": False,
        "implicitAssignment": False,
        "notes": {"admin": None, "enduser": None},
    }
    if sign_on_mode in METADATA_MODES:
        settings["signOn"] = new_sign_on()
    return settings


def new_sign_on() -> Json:
    """Return the SAML 2.0 sign-on settings of a custom app."""
    return {
        "defaultRelayState": "",
        "ssoAcsUrl": "https://sp.example.com/acs",
        "idpIssuer": "http://www.okta.com/${org.externalKey}",
        "audience": "https://sp.example.com",
        "recipient": "https://sp.example.com/acs",
        "destination": "https://sp.example.com/acs",
        "subjectNameIdTemplate": "${user.userName}",
        "subjectNameIdFormat": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
        "responseSigned": True,
        "assertionSigned": False,
        "signatureAlgorithm": "RSA_SHA256",
        "digestAlgorithm": "SHA256",
        "honorForceAuthn": False,
        "authnContextClassRef": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "spIssuer": None,
        "requestCompressed": False,
        "attributeStatements": [],
        "inlineHooks": [],
        "assertionEncryption": {"enabled": False},
        "allowMultipleAcsEndpoints": False,
        "acsEndpoints": [],
        "samlSignedRequestEnabled": False,
        "slo": {"enabled": False},
    }


def links_of(identity: Identity) -> Json:
    """Return the `_links` of an app; an active one can be deactivated, and the reverse."""
    api = f"{identity.base_url}/api/v1/apps/{identity.app_id}"
    app_link = f"{identity.base_url}/home/{identity.name}/{identity.app_id}/aln177a159h7Zf52X0g8"
    change = "deactivate" if identity.status == "ACTIVE" else "activate"
    links: Json = {}
    if identity.sign_on_mode in METADATA_MODES:
        links["metadata"] = {"href": f"{api}/sso/saml/metadata", "type": "application/xml"}
    return links | {
        "uploadLogo": {"href": f"{api}/logo", "hints": {"allow": ["POST"]}},
        "appLinks": [{"name": f"{identity.name}_link", "href": app_link, "type": "text/html"}],
        "policies": {"href": f"{api}/policies", "hints": {"allow": ["PUT"]}},
        "groups": {"href": f"{api}/groups"},
        "logo": [{"name": "medium", "href": LOGO, "type": "image/png"}],
        "users": {"href": f"{api}/users"},
        change: {"href": f"{api}/lifecycle/{change}"},
    }


def is_object(value: object) -> TypeGuard[Json]:
    """Say whether a JSON value is an object."""
    return isinstance(value, dict)


def rewritten(current: Json, sent: Json) -> Json:
    """Return the writable parts after a PUT of `sent` onto an app that reads `current`.

    Recordings show that most of what a body omits is kept, and that the custom `profile` and
    `settings.signOn.acsEndpoints` are lost. What the body holds wins, nulls and empty lists too.
    """
    unknown = [name for name in current if name not in READ_ONLY and name not in WRITABLE]
    names = [*WRITABLE, *unknown]
    parts = {name: current[name] for name in names if name in current}
    for name in names:
        if name in sent and sent[name] is not None:
            parts[name] = merged(parts.get(name), sent[name])
    if "profile" in parts:
        forget_profile(parts, sent)
    forget_endpoints(parts, sent)
    return copy.deepcopy(parts)


def merged(old: object, new: object) -> object:
    """Lay `new` over `old`: objects field by field, anything else as a whole."""
    if not (is_object(old) and is_object(new)):
        return new
    return old | {name: merged(old.get(name), value) for name, value in new.items()}


def forget_profile(parts: Json, sent: Json) -> None:
    """Replace the profile by the one that was sent, or drop it."""
    profile = sent.get("profile")
    if profile is None:
        del parts["profile"]
    else:
        parts["profile"] = profile


def forget_endpoints(parts: Json, sent: Json) -> None:
    """Empty the list of further ACS endpoints unless the body names it."""
    sign_on = child(child(parts, "settings"), "signOn")
    if "acsEndpoints" in sign_on and "acsEndpoints" not in child(child(sent, "settings"), "signOn"):
        settings = child(parts, "settings")
        emptied = sign_on | {"acsEndpoints": [], "allowMultipleAcsEndpoints": False}
        parts["settings"] = settings | {"signOn": emptied}


def child(value: Json, name: str) -> Json:
    """Return the object in a field, or an empty one."""
    inner = value.get(name)
    return inner if is_object(inner) else {}


def id_in(document: Mapping[str, object] | None) -> str | None:
    """Return the id that a document names."""
    found = document.get("id") if document else None
    return found if isinstance(found, str) else None


def rehomed(document: Mapping[str, object], holder_id: str) -> Json:
    """Return a copy of a recorded document for another id, which stands in its links too."""
    text = json.dumps(document)
    old = id_in(document)
    copied: Json = json.loads(text.replace(old, holder_id) if old else text)
    return copied if old else {"id": holder_id} | copied
