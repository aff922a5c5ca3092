"""One application of the sandbox: what it is, and what a PUT makes of it."""

from __future__ import annotations

import copy

from orchestrator.sandbox import documents, refusals
from orchestrator.sandbox.certs import Json, timestamp
from orchestrator.sandbox.documents import child
from orchestrator.sandbox.holders import KeyHolder, Site
from orchestrator.sandbox.mint import Mint


class SandboxApp(KeyHolder):
    """One application, made up or from a recording."""

    __slots__ = ("catalog_name", "label", "recorded", "sign_on_mode", "written")
    resource = "app"

    def __init__(
        self,
        mint: Mint,
        site: Site,
        app_id: str,
        *,
        ordinal: int,
        label: str | None = None,
        name: str | None = None,
        sign_on_mode: str | None = "SAML_2_0",
        born_kid: str | None = None,
    ) -> None:
        super().__init__(mint, site, app_id, ordinal=ordinal, born_kid=born_kid)
        self.label = f"Sandbox App {ordinal}" if label is None else label
        self.catalog_name = name  # the integration it is made from; None: one for its mode
        self.sign_on_mode = sign_on_mode  # recorded: null, for apps of the API Service kind
        self.written: Json | None = None  # what PUTs have set on an app that is made up
        self.recorded: Json | None = None  # the whole of an app that is not

    def record(self, document: Json) -> None:
        """Become the recorded application of that document, whose id is this app's."""
        self.recorded = copy.deepcopy(document)
        mode, kid = document.get("signOnMode"), signing_of(document).get("kid")
        self.label = str(document.get("label"))
        self.status = str(document.get("status"))
        self.sign_on_mode = mode if isinstance(mode, str) else None
        if self.born_kid is None and isinstance(kid, str):
            self.born_kid = kid

    @property
    def signs(self) -> bool:
        """Say whether it has a signing key: the sign-on mode knows one, or it came with one."""
        return self.sign_on_mode in documents.SIGNING_MODES or bool(self.born_kid)

    @property
    def own_kid(self) -> str | None:
        """Return the key that it was created with, or recorded with."""
        return super().own_kid if self.recorded is None else self.born_kid or None

    @property
    def title(self) -> str:
        """Return the label."""
        return self.label

    @property
    def name(self) -> str:
        """Return the catalog name, or the one of a custom app."""
        if self.recorded is not None:
            return str(self.recorded.get("name"))
        return self.catalog_name or documents.catalog_name(
            self.sign_on_mode, self.site.name, self.ordinal
        )

    def identity(self) -> documents.Identity:
        """Return the parts of the application object that only the org sets."""
        return documents.Identity(
            app_id=self.id,
            org_id=self.site.org_id,
            base_url=self.site.base_url,
            name=self.name,
            label=self.label,
            status=self.status,
            created=timestamp(self.created),
            last_updated=timestamp(self.updated or self.created),
            sign_on_mode=self.sign_on_mode,
            active_kid=self.active_kid,
        )

    def document(self) -> Json:
        """Return the full Application object, fresh on every call."""
        if self.recorded is None:
            return documents.render(self.identity(), self.written)
        news: Json = {"label": self.label, "status": self.status}
        if self.updated:
            news["lastUpdated"] = timestamp(self.updated)
        return documents.retold(self.recorded, news, self.active_kid)

    def replace(self, sent: Json, now: float) -> None:
        """Take on what a PUT sends.

        Read-only fields in the body are ignored. The signing key is kept when the body has none,
        and must be in the app's key store when it has one.
        """
        self.check(sent)
        kid = signing_of(sent).get("kid")
        if kid is not None and not (isinstance(kid, str) and self.signs and self.holds(kid)):
            raise refusals.invalid("kid", f"kid: {kid} is not a key of this application.")
        self.write(documents.rewritten(self.document(), sent))
        self.label = str(sent["label"])
        self.choose(kid or self.active_kid)
        self.updated = now

    def check(self, sent: Json) -> None:
        """Refuse a PUT body that lacks what Okta requires.

        Recorded: an app of the AUTO_LOGIN mode needs its `name` although the value is ignored.
        """
        if not isinstance(sent.get("label"), str) or not sent["label"]:
            raise refusals.blank("label")
        mode = sent.get("signOnMode")
        if not mode and self.sign_on_mode is not None:
            raise refusals.blank("signOnMode")
        if mode != self.sign_on_mode:
            raise refusals.invalid("signOnMode", "signOnMode: The sign-on mode cannot be changed.")
        if mode == "AUTO_LOGIN" and not sent.get("name"):
            raise refusals.plain(400, "E0000024", "No active instances")

    def write(self, parts: Json) -> None:
        """Set the writable parts of the document."""
        if self.recorded is None:
            self.written = parts
        else:
            self.recorded = documents.laid(self.recorded, parts)

    def rename(self, title: str) -> None:
        """Change the label."""
        self.label = title

    def spoil(self) -> None:
        """Lose the custom profile; without one, reset a sign-on setting or turn a flag over."""
        document = self.document()
        parts = {n: value for n, value in document.items() if n not in documents.READ_ONLY}
        sign_on = child(child(parts, "settings"), "signOn")
        if parts.get("profile"):
            del parts["profile"]
        elif sign_on.get("attributeStatements"):
            sign_on["attributeStatements"] = []
        elif "honorForceAuthn" in sign_on:
            sign_on["honorForceAuthn"] = not sign_on["honorForceAuthn"]
        else:
            accessibility = child(parts, "accessibility")
            parts["accessibility"] = accessibility | {
                "selfService": not accessibility.get("selfService")
            }
        self.write(parts)


def signing_of(document: Json) -> Json:
    """Return what an application object says of its signing key."""
    return child(child(document, "credentials"), "signing")
