"""An Okta org in memory: apps, identity providers, their keys, and what the API does to them.

Every operation is synchronous, so that none can see another half done. Ids, kids and certificate
dates follow from the seed, and most are computed when asked for: 100,000 apps cost little.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import UsageError
from orchestrator.sandbox import refusals
from orchestrator.sandbox.apps import SandboxApp
from orchestrator.sandbox.certs import Json, Material, timestamp
from orchestrator.sandbox.changes import Effect, Watch
from orchestrator.sandbox.clientele import Clientele
from orchestrator.sandbox.documents import id_in, rehomed
from orchestrator.sandbox.holders import KeyHolder, Site
from orchestrator.sandbox.idps import SAML, SandboxIdp
from orchestrator.sandbox.mint import DEFAULT_VALIDITY_YEARS, Mint
from orchestrator.sandbox.people import ALPHABET, People, okta_id
from orchestrator.sandbox.systemlog import Author, Deed, SystemLog
from orchestrator.sandbox.vocabulary import Resource

VALIDITY_YEARS = range(2, 11)
TARGET_PARAMETER: Mapping[Resource, str] = {"app": "targetAid", "idp": "targetIdpId"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """One request that reached the sandbox. It holds no header, so no credential either."""

    at: float  # monotonic seconds at arrival
    method: str
    template: str  # e.g. /api/v1/apps/{appId}/credentials/keys; "unmatched" for an unknown path
    app: str | None  # the app or IdP in the path: of a clone, the source
    kid: str | None
    target: str | None  # targetAid or targetIdpId of a clone
    status: int  # as sent; 0 when the connection was closed without an answer
    bucket: str | None  # the bucket that judged it; None when it did not come so far
    fault: str | None  # the kind of the fault that struck
    effect: bool  # the org's state was changed
    request_id: str = ""  # X-Okta-Request-Id, whether or not it was sent
    resource: Resource | None = None  # what `app` is
    kid_before: str | None = None  # of a PUT that took effect: what it signed with
    kid_after: str | None = None
    collateral: tuple[str, ...] = ()  # of a PUT: dotted paths that changed besides the signing key


class SandboxOrg(Clientele):
    """The whole state of one org, and the operations behind its endpoints.

    Operations raise `Refusal` for what Okta would refuse, and then change nothing. Those that
    change something take an author for the System Log; without one, an administrator did it.
    """

    def __init__(
        self,
        seed: int = 0,
        clock: Clock | None = None,
        name: str = "sandbox",
        org_id: str | None = None,
    ) -> None:
        super().__init__(seed, name)
        self.seed = seed
        self.name = name
        self.clock = clock or SystemClock()
        self.skew_seconds = 0.0  # how far the org's clock is ahead of ours; may be moved any time
        self.served_skew_seconds = 0.0  # likewise, by the settings that it is served with
        self.served_share = 0.5  # of each rate limit for one principal, by the same settings
        self.log_lag_seconds = 0.0  # how long the System Log takes to show an event
        self.log_readable = True  # False: nobody may read the System Log
        self.random = random.Random(f"org:{seed}:{name}")  # noqa: S311 - repeatable, not secret
        drawn = self.new_id("00o")  # in any case, lest it shift the ids of apps
        self.id = org_id or drawn
        self.token = "00" + "".join(self.random.choices(ALPHABET + "-_", k=40))
        self.site = Site(org_id=self.id, name=name, base_url=f"https://{name}.okta.com")
        self.apps: dict[str, SandboxApp] = {}
        self.idps: dict[str, SandboxIdp] = {}
        self.log: list[LoggedCall] = []
        self.holders_of: dict[str, set[str]] = {}  # own keys are not in it
        self.ordinal = 0
        self.csrs_made = 0
        self.clock_offset = self.clock.wall().timestamp() - self.clock.monotonic()
        self.mint = Mint(seed=seed, name=name, started_ms=int(self.epoch()) * 1000)
        self.system_log = SystemLog(seed=seed)
        self.people = People(seed, name)
        self.caller, self.administrator = self.people.caller, self.people.administrator

    # Time and ids

    def epoch(self) -> float:
        """Return the org's time in epoch seconds."""
        skew = self.skew_seconds + self.served_skew_seconds
        return self.clock.monotonic() + self.clock_offset + skew

    def advance(self, seconds: float) -> None:
        """Let the org's clock go on by so much; all that tells time follows, served or not."""
        self.skew_seconds += seconds

    def new_id(self, prefix: str) -> str:
        """Return an id of the kind that the prefix says."""
        return okta_id(self.random, prefix)

    def in_the_console(self) -> Author:
        """Return the administrator, in a request of their own that no log of calls shows."""
        return self.people.in_the_console()

    # Seeding and inspection

    def add_app(
        self,
        app_id: str | None = None,
        *,
        label: str | None = None,
        name: str | None = None,
        status: str | None = None,
        sign_on_mode: str | None = "SAML_2_0",
        signing_kid: str | None = None,
        kids: Iterable[str] = (),
        document: Mapping[str, object] | None = None,
    ) -> SandboxApp:
        """Add an app that holds `kids` besides the key it signs with: its own, or `signing_kid`.

        Any number of apps may sign with one key. `name` is the integration in Okta's catalog.
        `document` is a whole application object, such as a recorded one: it is shown verbatim, and
        its signing key is the app's own. Another `app_id`, `label` or `status` replaces its own.

        Raises:
            UsageError: the id is taken.
        """
        app_id = app_id or id_in(document) or self.new_id("0oa")
        self.check_free(app_id)
        app = SandboxApp(
            self.mint, self.site, app_id, ordinal=self.ordinal, label=label, name=name,
            sign_on_mode=sign_on_mode, born_kid=signing_kid,
        )  # fmt: skip
        if document is not None:
            app.record(rehomed(document, app_id))
            app.label = app.label if label is None else label
        app.status = status or app.status
        self.apps[app_id] = app
        self.add_keys(app, kids)
        return app

    def add_idp(
        self,
        idp_id: str | None = None,
        *,
        name: str | None = None,
        status: str | None = None,
        kind: str = SAML,
        signing_kid: str | None = None,
        kids: Iterable[str] = (),
        document: Mapping[str, object] | None = None,
    ) -> SandboxIdp:
        """Add an identity provider; as `add_app`. Of the kinds, only SAML2 has a key of its own.

        Raises:
            UsageError: the id is taken.
        """
        idp_id = idp_id or id_in(document) or self.new_id("0oa")
        self.check_free(idp_id)
        idp = SandboxIdp(
            self.mint, self.site, idp_id, ordinal=self.ordinal, name=name, kind=kind,
            born_kid=signing_kid,
        )  # fmt: skip
        if document is not None:
            idp.record(rehomed(document, idp_id))
            idp.name = idp.name if name is None else name
        idp.status = status or idp.status
        self.idps[idp_id] = idp
        self.add_keys(idp, kids)
        return idp

    def check_free(self, holder_id: str) -> None:
        """Refuse an id that is taken; otherwise count one more app or IdP."""
        if holder_id in self.apps or holder_id in self.idps:
            raise UsageError(f"the sandbox already has an app or IdP {holder_id}")
        self.ordinal += 1

    def add_keys(self, holder: KeyHolder, kids: Iterable[str]) -> None:
        """Let an app or IdP hold keys."""
        for kid in kids:
            self.add_key(holder.id, kid)

    def remove_app(self, app_id: str) -> None:
        """Delete an app as an administrator would; its keys go with it."""
        self.forget_keys(self.apps.pop(app_id))

    def remove_idp(self, idp_id: str) -> None:
        """Delete an identity provider; as `remove_app`."""
        self.forget_keys(self.idps.pop(idp_id))

    def forget_keys(self, holder: KeyHolder) -> None:
        """Take an app or IdP off the lists of those that hold a key."""
        for kid in holder.keys or ():
            self.holders_of[kid].discard(holder.id)

    def add_key(
        self,
        holder_id: str,
        kid: str | None = None,
        *,
        validity_years: int = DEFAULT_VALIDITY_YEARS,
    ) -> str:
        """Let an app or IdP hold a key, and return its kid; idempotent.

        A kid means the same certificate in all of them, so `validity_years` counts only the first
        time that a kid is named.
        """
        kid = kid or self.mint.new_kid()
        self.mint.order_of(kid, validity_years)
        holder = self.find_holder(holder_id)
        if not holder.holds(kid):
            self.store_key(holder, kid)
        return kid

    def holds(self, holder_id: str, kid: str) -> bool:
        """Say whether an app or IdP has the key in its store."""
        holder = self.apps.get(holder_id) or self.idps.get(holder_id)
        return holder is not None and holder.holds(kid)

    def holders(self, kid: str) -> set[str]:
        """Return the ids of all that hold the key. Scans the org: for tests and seeding."""
        everybody = (*self.apps.values(), *self.idps.values())
        owners = {holder.id for holder in everybody if holder.own_kid == kid}
        return owners | self.holders_of.get(kid, set())

    def collateral_changes(self) -> int:
        """Count the calls that changed more of an app or IdP than its signing key.

        Edits by others do not count, nor do calls in which nothing but the key and the time of the
        last update changed.
        """
        return sum(bool(call.collateral) for call in self.log)

    # Finding

    def find_app(self, app_id: str) -> SandboxApp:
        """Return an app, or refuse with the 404 that names it."""
        app = self.apps.get(app_id)
        if app is None:
            raise refusals.missing_app(app_id)
        return app

    def find_idp(self, idp_id: str) -> SandboxIdp:
        """Return an identity provider, or refuse with the 404 that names it."""
        idp = self.idps.get(idp_id)
        if idp is None:
            raise refusals.missing_idp(idp_id)
        return idp

    def find(self, resource: Resource, holder_id: str) -> KeyHolder:
        """Return an app or an IdP, as asked, or refuse with the 404 that names it."""
        return self.find_app(holder_id) if resource == "app" else self.find_idp(holder_id)

    def find_holder(self, holder_id: str) -> KeyHolder:
        """Return whatever has the id: apps and IdPs share one space of ids."""
        return self.idps.get(holder_id) or self.find_app(holder_id)

    # Keys

    def derive_kid(self, purpose: str) -> str:
        """Return the kid for a purpose; see the mint."""
        return self.mint.derive_kid(purpose)

    def material(self, kid: str) -> Material:
        """Return the certificate and public key of a kid; see the mint."""
        return self.mint.material(kid)

    def store_key(self, holder: KeyHolder, kid: str, at: float | None = None) -> None:
        """Put a key into a store, as the newest; `at`: when, in epoch seconds, if not now."""
        holder.keys = holder.keys or {}
        holder.keys[kid] = self.epoch() if at is None else at
        self.holders_of.setdefault(kid, set()).add(holder.id)

    def list_keys(self, holder_id: str) -> list[Json]:
        """Return every key. Recorded: an app lists the newest first, an IdP its own last."""
        holder = self.find_holder(holder_id)
        members = holder.memberships()
        if holder.resource == "app":
            members.reverse()
        else:
            members = members[1:] + members[:1]
        return [self.material(kid).as_key(kid, timestamp(added)) for kid, added in members]

    def get_key(self, holder_id: str, kid: str) -> Json:
        """Return one key of an app or IdP."""
        for held, added in self.find_holder(holder_id).memberships():
            if held == kid:
                return self.material(kid).as_key(kid, timestamp(added))
        raise refusals.missing_key(kid)

    def generate_key(
        self, holder_id: str, validity_years: str | None, by: Author | None = None
    ) -> Json:
        """Generate a key for an app or IdP, without activating it."""
        holder = self.find_holder(holder_id)
        if validity_years is None or not validity_years.isascii() or not validity_years.isdigit():
            raise refusals.invalid("generateKey", refusals.BAD_VALIDITY)
        if len(validity_years) > 2 or int(validity_years) not in VALIDITY_YEARS:
            raise refusals.invalid("generateKey", refusals.BAD_VALIDITY)
        kid = self.mint.generate(int(validity_years), self.epoch())
        self.store_key(holder, kid)
        self.note("generate", holder, by, kid=kid)
        return self.get_key(holder_id, kid)

    def draft_clone(self, source: KeyHolder, kid: str, target_id: str | None) -> KeyHolder:
        """Return the target of a clone if Okta would do it, and change nothing.

        The sign-on mode is not looked at: a recorded clone into a bookmark app succeeded, and so
        did one from one social IdP to another.
        """
        if not target_id:
            raise refusals.blank(TARGET_PARAMETER[source.resource])
        if not source.holds(kid):
            raise refusals.missing_key(kid)
        target = self.find(source.resource, target_id)
        if target.holds(kid):
            raise refusals.duplicate_key()
        return target

    def clone_key(
        self, source_id: str, kid: str, target_id: str | None, by: Author | None = None
    ) -> Json:
        """Copy a key from one store into another."""
        source = self.find_holder(source_id)
        target = self.draft_clone(source, kid, target_id)
        self.store_key(target, kid)
        self.note("clone", target, by, kid=kid, sourceId=source.id)
        return self.get_key(target.id, kid)

    # Apps and identity providers as a whole

    def set_status(self, holder_id: str, status: str, by: Author | None = None) -> bool:
        """Activate or deactivate; return whether that changed anything."""
        holder = self.find_holder(holder_id)
        changed = holder.status != status
        if changed:
            holder.status = status
            holder.updated = self.epoch()
            self.note("activate" if status == "ACTIVE" else "deactivate", holder, by)
        return changed

    def update(
        self, holder: KeyHolder, sent: Json, by: Author | None = None, *, clumsy: bool = False
    ) -> Effect:
        """Replace an app or IdP as PUT does; a clumsy org changes more than it was asked to."""
        by = by or self.in_the_console()
        watch = Watch(holder)
        holder.replace(sent, self.epoch())
        if clumsy:
            holder.spoil()
        return self.note_update(holder, watch, by)

    def update_app(self, app_id: str, sent: Json) -> Json:
        """Replace an app in the Admin Console, and return the new object."""
        app = self.find_app(app_id)
        self.update(app, sent)
        return app.document()

    def note_update(self, holder: KeyHolder, watch: Watch, by: Author) -> Effect:
        """Tell the System Log what has become of an app or IdP, and return that."""
        changes = watch.differences()
        change: Json = {
            "from": {each.path: each.old for each in changes},
            "to": {each.path: each.new for each in changes},
        }
        effect = watch.effect()
        self.note("update", holder, by, change=change)
        if effect.kid_before != effect.kid_after:
            self.note("rotate", holder, by, kid=effect.kid_after, formerKid=effect.kid_before)
        return effect

    def note(
        self,
        deed: Deed,
        holder: KeyHolder,
        by: Author | None,
        *,
        change: Json | None = None,
        **details: object,
    ) -> None:
        """Append an event to the System Log; a change has one time, on its holder and there."""
        author = by or self.in_the_console()
        at = holder.updated if deed in ("update", "rotate") else self.epoch()
        self.system_log.record(deed, holder, by=author, at=at, details=details, change=change)
