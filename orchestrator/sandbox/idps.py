"""Identity providers of the sandbox: what one looks like, and what a PUT makes of it.

A SAML 2.0 IdP follows the example in Okta's OpenAPI document, with the signing key where Okta's
guide on certificates shows it: `protocol.credentials.signing.kid`.
"""

from __future__ import annotations

import copy

from orchestrator.sandbox import refusals
from orchestrator.sandbox.certs import Json, timestamp
from orchestrator.sandbox.documents import child
from orchestrator.sandbox.holders import NO_KEY, KeyHolder, Site
from orchestrator.sandbox.mint import Mint

SAML = "SAML2"
PROTOCOLS = {SAML: SAML, "OIDC": "OIDC", "X509": "MTLS"}  # all others speak OAuth 2.0
READ_ONLY = ("id", "status", "created", "lastUpdated", "_links")
REQUIRED = ("protocol", "policy")
TRUSTED_KID = "45dec5ff-8cdc-48c0-85fe-a4869f1753dc"  # of the partner, in Okta's example
NO_NAME_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"


class SandboxIdp(KeyHolder):
    """One identity provider. Its document is stored whole, as it was last sent."""

    __slots__ = ("is_recorded", "name", "stored", "type")
    resource = "idp"

    def __init__(
        self,
        mint: Mint,
        site: Site,
        idp_id: str,
        *,
        ordinal: int,
        name: str | None = None,
        kind: str = SAML,
        born_kid: str | None = None,
    ) -> None:
        super().__init__(mint, site, idp_id, ordinal=ordinal, born_kid=born_kid)
        self.name = f"Sandbox IdP {ordinal}" if name is None else name
        self.type = kind
        self.is_recorded = False
        self.stored = new_settings(kind)

    def record(self, document: Json) -> None:
        """Become the recorded IdP of that document, whose id is this one's."""
        self.stored = copy.deepcopy(document)
        kid = signing_of(document).get("kid")
        self.is_recorded = True
        self.name = str(document.get("name"))
        self.type = str(document.get("type"))
        self.status = str(document.get("status"))
        if self.born_kid is None and isinstance(kid, str):
            self.born_kid = kid
        self.chosen = None if self.born_kid else NO_KEY

    @property
    def signs(self) -> bool:
        """Say whether it signs its requests: only SAML 2.0 knows that, or it came with a key."""
        return self.type == SAML or bool(self.born_kid)

    @property
    def own_kid(self) -> str | None:
        """Return the key that it was created with, or recorded with.

        Recorded: an IdP that does not sign has a key too, with a certificate older than the IdP,
        so it will be the default key of the org.
        """
        if self.born_kid is None and (self.is_recorded or not self.signs):
            return self.mint.derive_kid("default")
        return super().own_kid

    @property
    def title(self) -> str:
        """Return the name."""
        return self.name

    def document(self) -> Json:
        """Return the full IdentityProvider object, fresh on every call."""
        document = copy.deepcopy(self.stored)
        if not self.is_recorded:
            document = self.head() | document | {"_links": self.links()}
        document |= {"name": self.name, "status": self.status}
        if self.updated:
            document["lastUpdated"] = timestamp(self.updated)
        if self.active_kid is not None:
            protocol = document["protocol"] = child(document, "protocol")
            credentials = protocol["credentials"] = child(protocol, "credentials")
            credentials["signing"] = child(credentials, "signing") | {"kid": self.active_kid}
        return document

    def head(self) -> Json:
        """Return the fields that come first."""
        created = timestamp(self.created)
        return {
            "id": self.id,
            "type": self.type,
            "issuerMode": "DYNAMIC",
            "name": self.name,
            "status": self.status,
            "created": created,
            "lastUpdated": created,
        }

    def links(self) -> Json:
        """Return the `_links`; an active IdP can be deactivated, and the reverse."""
        api = f"{self.site.base_url}/api/v1/idps/{self.id}"
        acs = f"{self.site.base_url}/sso/saml2/{self.id}"
        change = "deactivate" if self.status == "ACTIVE" else "activate"
        saml: Json = {
            "metadata": link(f"{api}/metadata.xml", "GET", kind="application/xml"),
            "acs": link(acs, "POST", kind="application/xml"),
        }
        return (saml if self.type == SAML else {}) | {
            "users": link(f"{api}/users", "GET"),
            change: link(f"{api}/lifecycle/{change}", "POST"),
        }

    def replace(self, sent: Json, now: float) -> None:
        """Take on what a PUT sends, which must be the whole IdP: what it leaves out is lost.

        Read-only fields in the body are ignored. A signing key that is not in the key store is
        refused; without one in the body, the IdP signs no more.
        """
        self.check(sent)
        kid = signing_of(sent).get("kid")
        if kid is not None and not (isinstance(kid, str) and self.signs and self.holds(kid)):
            raise refusals.invalid("kid", f"kid: {kid} is not a key of this identity provider.")
        kept = {name: self.stored[name] for name in READ_ONLY if name in self.stored}
        written = {name: value for name, value in sent.items() if name not in READ_ONLY}
        order = [*self.stored, *written]
        self.stored = copy.deepcopy({n: (kept | written)[n] for n in order if n in kept | written})
        self.name = str(sent["name"])
        self.choose(kid)
        self.updated = now

    def check(self, sent: Json) -> None:
        """Refuse a PUT body that is plainly a part of an IdP."""
        for field in ("type", "name"):
            if not isinstance(sent.get(field), str) or not sent[field]:
                raise refusals.blank(field)
        for field in REQUIRED:
            if not child(sent, field):
                raise refusals.blank(field)
        if sent["type"] != self.type:
            raise refusals.invalid("type", "type: The type of an IdP cannot be changed.")

    def rename(self, title: str) -> None:
        """Change the name."""
        self.name = title

    def spoil(self) -> None:
        """Reset the tolerated clock skew, or set one where there was none."""
        policy = child(self.stored, "policy")
        self.stored = self.stored | {
            "policy": policy | {"maxClockSkew": 0 if policy.get("maxClockSkew") else 120_000}
        }


def signing_of(document: Json) -> Json:
    """Return what an IdentityProvider object says of its signing key."""
    return child(child(child(document, "protocol"), "credentials"), "signing")


def link(address: str, method: str, *, kind: str | None = None) -> Json:
    """Return one of the `_links`."""
    typed: Json = {} if kind is None else {"type": kind}
    return {"href": address} | typed | {"hints": {"allow": [method]}}


def new_settings(kind: str) -> Json:
    """Return the parts of an IdP that a PUT may set."""
    protocol = saml_protocol() if kind == SAML else oauth_protocol(PROTOCOLS.get(kind, "OAUTH2"))
    return {"protocol": protocol, "policy": new_policy()}


def saml_protocol() -> Json:
    """Return the settings of a SAML 2.0 partner."""
    signature: Json = {"algorithm": "SHA-256", "scope": "REQUEST"}
    return {
        "type": SAML,
        "endpoints": {
            "sso": {
                "url": "https://idp.example.com",
                "binding": "HTTP-POST",
                "destination": "https://idp.example.com",
            },
            "acs": {"binding": "HTTP-POST", "type": "INSTANCE"},
        },
        "algorithms": {
            "request": {"signature": signature},
            "response": {"signature": signature | {"scope": "ANY"}},
        },
        "settings": {"nameFormat": NO_NAME_FORMAT, "honorPersistentNameId": True},
        "credentials": {
            "trust": {
                "issuer": "https://idp.example.com",
                "audience": "https://www.okta.com/saml2/service-provider/sandbox",
                "kid": TRUSTED_KID,
            },
            "signing": {},
        },
    }


def oauth_protocol(kind: str) -> Json:
    """Return the settings of a social or OpenID Connect partner."""
    return {
        "type": kind,
        "endpoints": {
            "authorization": {
                "url": "https://idp.example.com/authorize",
                "binding": "HTTP-REDIRECT",
            },
            "token": {"url": "https://idp.example.com/token", "binding": "HTTP-POST"},
        },
        "scopes": ["profile", "email"],
        "credentials": {"client": {"client_id": "sandbox", "client_secret": "sandbox"}},
    }


def new_policy() -> Json:
    """Return how users of a new IdP are matched and made."""
    return {
        "provisioning": {
            "action": "AUTO",
            "profileMaster": True,
            "groups": {"action": "NONE"},
            "conditions": {
                "deprovisioned": {"action": "NONE"},
                "suspended": {"action": "NONE"},
            },
        },
        "accountLink": {"filter": None, "action": "AUTO"},
        "subject": {
            "userNameTemplate": {"template": "idpuser.subjectNameId"},
            "filter": None,
            "matchType": "USERNAME",
            "matchAttribute": None,
        },
        "maxClockSkew": 0,
    }
