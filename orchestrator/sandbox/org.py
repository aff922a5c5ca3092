"""An Okta org in memory: apps, their keys, and what the key endpoints do to them.

Every operation is synchronous, so that none can see another half done. Ids, kids and certificate
dates follow from the seed, and most are computed when asked for: 100,000 apps cost little.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import UsageError
from orchestrator.sandbox import documents, refusals
from orchestrator.sandbox.certs import (
    CertificateOrder,
    Json,
    Material,
    base64url,
    sign_certificate,
    timestamp,
)

ALPHABET = string.digits + string.ascii_letters
OLDEST_KEY_MS = 300 * 24 * 3600 * 1000  # seeded keys were generated within this time before now
VALIDITY_YEARS = range(2, 11)
DEFAULT_VALIDITY_YEARS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """One request that reached the sandbox. It holds no header, so no credential either."""

    at: float  # monotonic seconds at arrival
    method: str
    template: str  # e.g. /api/v1/apps/{appId}/credentials/keys; "unmatched" for an unknown path
    app: str | None  # the app in the path: of a clone, the source
    kid: str | None
    target: str | None  # targetAid of a clone
    status: int  # as sent; 0 when the connection was closed without an answer
    bucket: str | None  # the bucket that judged it; None when it did not come so far
    fault: str | None  # the kind of the fault that struck
    effect: bool  # the org's state was changed


class SandboxApp:
    """One application. Read its attributes; change it through the org."""

    __slots__ = ("active", "id", "keys", "label", "ordinal", "org", "sign_on_mode", "status",
                 "updated", "written")  # fmt: skip

    def __init__(
        self, org: SandboxOrg, app_id: str, *, ordinal: int, label: str | None, mode: str
    ) -> None:
        self.org = org
        self.id = app_id
        self.ordinal = ordinal
        self.label = label or f"Sandbox App {ordinal}"
        self.status = "ACTIVE"
        self.sign_on_mode = mode
        self.active: str | None = None  # None: still its own key
        self.keys: dict[str, float] | None = None  # kid -> when added; its own key is not in it
        self.updated = 0.0  # epoch seconds of the last change; 0 for none
        self.written: Json | None = None  # what PUTs have set

    @property
    def signs(self) -> bool:
        """Say whether the sign-on mode has a signing key."""
        return self.sign_on_mode in documents.SIGNING_MODES

    @property
    def own_kid(self) -> str | None:
        """Return the key that a signing app was created with."""
        return self.org.derive_kid(f"own:{self.id}") if self.signs else None

    @property
    def active_kid(self) -> str | None:
        """Return the key that the app signs with; None for a mode without signing."""
        return self.active or self.own_kid

    @property
    def name(self) -> str:
        """Return the catalog name, or the one of a custom app."""
        return documents.catalog_name(self.sign_on_mode, self.org.name, self.ordinal)

    @property
    def created(self) -> float:
        """Return the creation time in epoch seconds."""
        return self.org.seeded_birth_ms(self.own_kid or self.id) // 1000

    def memberships(self) -> list[tuple[str, float]]:
        """Return every kid that the app holds with the time it came, newest first."""
        own = self.own_kid
        held = [] if own is None else [(own, self.created)]
        return (held + list((self.keys or {}).items()))[::-1]

    def identity(self) -> documents.Identity:
        """Return the parts of the application object that only the org sets."""
        return documents.Identity(
            app_id=self.id,
            org_id=self.org.id,
            base_url=self.org.base_url,
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
        return documents.render(self.identity(), self.written)


class SandboxOrg:
    """The whole state of one org, and the operations behind its endpoints.

    Operations raise `Refusal` for what Okta would refuse, and then change nothing.
    """

    def __init__(self, seed: int = 0, clock: Clock | None = None, name: str = "sandbox") -> None:
        self.seed = seed
        self.name = name
        self.clock = clock or SystemClock()
        self.skew_seconds = 0.0  # how far the org's clock is ahead of ours
        self.random = random.Random(f"org:{seed}:{name}")  # noqa: S311 - repeatable, not secret
        self.id = self.new_id("00o")
        self.token = "00" + "".join(self.random.choices(ALPHABET + "-_", k=40))
        self.base_url = f"https://{name}.okta.com"  # replaced by the served address
        self.apps: dict[str, SandboxApp] = {}
        self.log: list[LoggedCall] = []
        self.holders_of: dict[str, set[str]] = {}  # own keys are not in it
        self.orders: dict[str, CertificateOrder] = {}
        self.materials: dict[str, Material] = {}
        self.ordinal = 0
        self.generated = 0
        self.clock_offset = self.clock.wall().timestamp() - self.clock.monotonic()
        self.started_ms = int(self.epoch()) * 1000

    # Time, ids and kids

    def epoch(self) -> float:
        """Return the org's time in epoch seconds; it never steps back."""
        return self.clock.monotonic() + self.clock_offset + self.skew_seconds

    def new_id(self, prefix: str) -> str:
        """Return an Okta id: a three-character prefix and 17 characters."""
        return prefix + "".join(self.random.choices(ALPHABET, k=17))

    def derive_kid(self, purpose: str) -> str:
        """Return the kid for a purpose: 43 characters that follow from the seed alone."""
        return base64url(hashlib.sha256(f"{self.seed}:{self.name}:{purpose}".encode()).digest())

    def new_kid(self) -> str:
        """Return a kid that was not given out before."""
        self.generated += 1
        return self.derive_kid(f"generated:{self.generated}")

    def seeded_birth_ms(self, text: str) -> int:
        """Return when a seeded key was generated: it follows from its kid."""
        digest = hashlib.sha256(f"{self.seed}:{text}".encode()).digest()
        return self.started_ms - 1 - int.from_bytes(digest[:8], "big") % OLDEST_KEY_MS

    # Seeding and inspection

    def add_app(
        self,
        app_id: str | None = None,
        *,
        label: str | None = None,
        status: str = "ACTIVE",
        sign_on_mode: str = "SAML_2_0",
        kids: Iterable[str] = (),
    ) -> SandboxApp:
        """Add an app that holds `kids` besides its own key.

        Raises:
            UsageError: the id is taken.
        """
        app_id = app_id or self.new_id("0oa")
        if app_id in self.apps:
            raise UsageError(f"the sandbox already has an app {app_id}")
        self.ordinal += 1
        app = SandboxApp(self, app_id, ordinal=self.ordinal, label=label, mode=sign_on_mode)
        app.status = status
        self.apps[app_id] = app
        for kid in kids:
            self.add_key(app_id, kid)
        return app

    def remove_app(self, app_id: str) -> None:
        """Delete an app as an administrator would; its keys go with it."""
        app = self.apps.pop(app_id)
        for kid in app.keys or ():
            self.holders_of[kid].discard(app_id)

    def add_key(
        self, app_id: str, kid: str | None = None, *, validity_years: int = DEFAULT_VALIDITY_YEARS
    ) -> str:
        """Let an app hold a key, and return its kid; idempotent.

        A kid means the same certificate in every app, so `validity_years` counts only the first
        time that a kid is named.
        """
        kid = kid or self.new_kid()
        self.order_of(kid, validity_years)
        if not self.holds(app_id, kid):
            self.store_key(self.apps[app_id], kid)
        return kid

    def holds(self, app_id: str, kid: str) -> bool:
        """Say whether an app has the key in its store."""
        app = self.apps.get(app_id)
        return app is not None and (kid in (app.keys or ()) or kid == app.own_kid)

    def holders(self, kid: str) -> set[str]:
        """Return the ids of all apps that hold the key. Scans the org: for tests and seeding."""
        owners = {app.id for app in self.apps.values() if app.own_kid == kid}
        return owners | self.holders_of.get(kid, set())

    # Keys

    def order_of(self, kid: str, validity_years: int = DEFAULT_VALIDITY_YEARS) -> CertificateOrder:
        """Return what determines the certificate of a kid, fixing it at the first call."""
        if kid not in self.orders:
            self.orders[kid] = CertificateOrder(
                kid=kid,
                org_name=self.name,
                born_ms=self.seeded_birth_ms(kid),
                validity_years=validity_years,
            )
        return self.orders[kid]

    def material(self, kid: str) -> Material:
        """Return the certificate and public key of a kid, signed at the first call."""
        if kid not in self.materials:
            self.materials[kid] = sign_certificate(self.order_of(kid))
        return self.materials[kid]

    def store_key(self, app: SandboxApp, kid: str) -> None:
        """Put a key into an app's store, as the newest."""
        app.keys = app.keys or {}
        app.keys[kid] = self.epoch()
        self.holders_of.setdefault(kid, set()).add(app.id)

    def find_app(self, app_id: str) -> SandboxApp:
        """Return an app, or refuse with the 404 that names it."""
        app = self.apps.get(app_id)
        if app is None:
            raise refusals.missing_app(app_id)
        return app

    def list_keys(self, app_id: str) -> list[Json]:
        """Return every key of an app, newest first."""
        members = self.find_app(app_id).memberships()
        return [self.material(kid).as_key(kid, timestamp(added)) for kid, added in members]

    def get_key(self, app_id: str, kid: str) -> Json:
        """Return one key of an app."""
        for held, added in self.find_app(app_id).memberships():
            if held == kid:
                return self.material(kid).as_key(kid, timestamp(added))
        raise refusals.missing_key(kid)

    def generate_key(self, app_id: str, validity_years: str | None) -> Json:
        """Generate a key for an app, without activating it."""
        app = self.find_app(app_id)
        if validity_years is None or not validity_years.isascii() or not validity_years.isdigit():
            raise refusals.invalid("generateKey", refusals.BAD_VALIDITY)
        if int(validity_years) not in VALIDITY_YEARS:
            raise refusals.invalid("generateKey", refusals.BAD_VALIDITY)
        kid = self.new_kid()
        self.orders[kid] = CertificateOrder(
            kid=kid,
            org_name=self.name,
            born_ms=int(self.epoch() * 1000) + self.generated,  # no two serials alike
            validity_years=int(validity_years),
        )
        self.store_key(app, kid)
        return self.get_key(app_id, kid)

    def draft_clone(self, source_id: str, kid: str, target_id: str | None) -> SandboxApp:
        """Return the target of a clone if Okta would do it, and change nothing.

        The sign-on mode is not looked at: a recorded clone into a bookmark app succeeded.
        """
        source = self.find_app(source_id)
        if not target_id:
            raise refusals.blank("targetAid")
        if not self.holds(source.id, kid):
            raise refusals.missing_key(kid)
        target = self.find_app(target_id)
        if self.holds(target.id, kid):
            raise refusals.duplicate_key()
        return target

    def clone_key(self, source_id: str, kid: str, target_id: str | None) -> Json:
        """Copy a key from one app's store into another's."""
        target = self.draft_clone(source_id, kid, target_id)
        self.order_of(kid)
        self.store_key(target, kid)
        return self.get_key(target.id, kid)

    # Apps

    def set_status(self, app_id: str, status: str) -> bool:
        """Activate or deactivate an app; return whether that changed anything."""
        app = self.find_app(app_id)
        changed = app.status != status
        app.status = status
        app.updated = self.epoch() if changed else app.updated
        return changed

    def update_app(self, app_id: str, sent: Json) -> Json:
        """Replace an app as PUT does, and return the new object.

        Read-only fields in the body are ignored. The signing key is kept when the body has none,
        and must be in the app's key store when it has one.
        """
        app = self.find_app(app_id)
        check_update(app, sent)
        kid = documents.child(documents.child(sent, "credentials"), "signing").get("kid")
        if kid is not None and not (isinstance(kid, str) and app.signs and self.holds(app_id, kid)):
            raise refusals.invalid("kid", f"kid: {kid} is not a key of this application.")
        app.written = documents.rewritten(app.document(), sent)
        app.label = str(sent["label"])
        app.active = kid or app.active
        app.updated = self.epoch()
        return app.document()


def check_update(app: SandboxApp, sent: Json) -> None:
    """Refuse a PUT body that lacks what Okta requires.

    Recorded: an app of the AUTO_LOGIN mode needs its `name` although the value is ignored.
    """
    for field in ("label", "signOnMode"):
        if not isinstance(sent.get(field), str) or not sent[field]:
            raise refusals.blank(field)
    if sent["signOnMode"] != app.sign_on_mode:
        raise refusals.invalid("signOnMode", "signOnMode: The sign-on mode cannot be changed.")
    if app.sign_on_mode == "AUTO_LOGIN" and not sent.get("name"):
        raise refusals.plain(400, "E0000024", "No active instances")
