"""A copy of somebody's org, made from an inventory that `okta-keys inventory --save` wrote.

Same apps and identity providers, ids, labels, statuses, kids, and who shares them. Private keys
are not in an inventory, so all certificates are made anew: same dates, subject, signature hash and
key size, another thumbprint. What the inventory does not know of a certificate is made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import InputError, UsageError
from orchestrator.sandbox.holders import NO_KEY, KeyHolder
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.people import okta_id

MAJOR_VERSION = "1"
HINT = "okta-keys inventory --save FILE writes one"
LONGEST_NAME = 50  # of an org; X.509 has room for 64 characters in a common name
ORG_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]+\Z")]  # also a part of a URL's path
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class CopiedOrg(msgspec.Struct, frozen=True, kw_only=True):
    """Which org the inventory is of."""

    url: str
    id: str | None = None


class CopiedHolder(msgspec.Struct, frozen=True, kw_only=True):
    """An app or an identity provider."""

    id: Id
    resource: Literal["app", "idp"]
    label: str
    name: str | None = None
    sign_on_mode: str | None = None
    status: str | None = None
    kid: Id | None = None
    last_updated: Moment | None = None
    other_keys: tuple[Id, ...] | None = None


class CopiedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says."""

    not_before: Moment
    not_after: Moment
    subject: str
    signature_hash: str
    key_bits: int


class CopiedInventory(msgspec.Struct, frozen=True, kw_only=True):
    """The document, as far as a copy needs it. Fields that are not known are passed over."""

    whole: bool = True  # False: it was printed, with only some of its holders
    org: CopiedOrg
    taken_at: Moment
    holders: tuple[CopiedHolder, ...]
    certificates: dict[Id, CopiedCertificate]

    def kids(self) -> Iterator[str]:
        """Yield every kid that a holder has, with repeats."""
        for holder in self.holders:
            if holder.kid is not None:
                yield holder.kid
            yield from holder.other_keys or ()

    @property
    def has_other_keys(self) -> bool:
        """Say whether anybody asked for keys that are not in use."""
        return any(holder.other_keys is not None for holder in self.holders)

    @property
    def made_up(self) -> int:
        """Count the keys whose certificate the inventory does not know."""
        return len(set(self.kids()) - self.certificates.keys())


def read_inventory(path: Path) -> CopiedInventory:
    """Read an inventory to be copied.

    Raises:
        InputError: it cannot be read, is no whole inventory of one org, or of another version.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: this is not JSON: {printable(str(error))}", hint=HINT) from error
    return inventory_in(document, file=str(path))


def inventory_in(document: object, *, file: str = "inventory") -> CopiedInventory:
    """Return what a copy needs of an inventory; raises as `read_inventory`, naming the file."""
    if not isinstance(document, Mapping) or "schema_version" not in document:
        raise InputError(f"{file}: this is no saved inventory", hint=HINT)
    version = document["schema_version"]
    if not isinstance(version, str) or version.partition(".")[0] != MAJOR_VERSION:
        raise InputError(
            f"{file}: its schema_version is {ascii(version)[:60]}",
            hint=f"this program reads version {MAJOR_VERSION} of saved inventories",
        )
    try:
        inventory = msgspec.convert(dict(document), CopiedInventory)
    except ValueError as error:  # msgspec's, which may quote the document; or half a surrogate pair
        why = printable(str(error))
        raise InputError(f"{file}: this is no saved inventory: {why}", hint=HINT) from error
    if not inventory.whole:
        raise InputError(f"{file}: this is only a part of an inventory, as printed", hint=HINT)
    return inventory


def printable(text: str) -> str:
    """Return what is said of a document as it may go to a terminal: it may quote it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def copied(
    inventory: CopiedInventory,
    *,
    file: str = "inventory",
    seed: int = 0,
    clock: Clock | None = None,
) -> SandboxOrg:
    """Return a copy of the org that was inventoried.

    Raises:
        InputError: an id is in it twice, or it has a certificate that cannot be made.
    """
    clock = clock or SystemClock()
    org_id = new_org_id(inventory, seed, clock)
    org = SandboxOrg(seed=seed, clock=clock, name=org_name(inventory.org.url), org_id=org_id)
    try:
        order_certificates(org, inventory)
        for holder in inventory.holders:
            add_holder(org, holder)
    except UsageError as error:
        raise InputError(f"{file}: {error.message}", hint=error.hint) from error
    return org


def new_org_id(inventory: CopiedInventory, seed: int, clock: Clock) -> str:
    """Return an id that no other org has, nor another copy.

    What the program remembers of an org, it keeps under the org's id: the certificates and runs of
    a copy must mix neither with those of the original nor with those of an earlier copy.
    """
    origin = f"{seed}:{inventory.org.id}:{inventory.org.url}:{clock.wall().isoformat()}"
    seed_bytes = f"copy:{origin}".encode("utf-8", "surrogatepass")  # half a pair may be in an id
    return okta_id(Random(seed_bytes), "00o")  # noqa: S311 - not secret


def org_name(url: str) -> str:
    """Return the name of a copy: it stands in the certificates that are generated in it."""
    try:
        host = (urlsplit(url).hostname or "") if url.isprintable() else ""
    except ValueError:  # brackets that are no IPv6 address
        host = ""
    name = host.partition(".")[0]
    is_name = "." in host and ORG_NAME.fullmatch(name) and not name.isdigit()
    return f"{name[:LONGEST_NAME] if is_name else 'sandbox'}-copy"


def order_certificates(org: SandboxOrg, inventory: CopiedInventory) -> None:
    """Say what certificate each kid stands for; they are signed when somebody looks at them."""
    name_of = cache(subject_of)
    for kid, certificate in inventory.certificates.items():
        org.mint.order(
            kid,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            signature_hash=certificate.signature_hash,
            key_bits=certificate.key_bits,
            subject=name_of(certificate.subject),
        )
    for kid in inventory.kids():
        org.mint.order_of(kid)  # also those that are made up, lest the kid be given out again


def subject_of(text: str) -> x509.Name | None:
    """Return a subject as RFC 4514 writes it; None, for Okta's own, where it cannot be remade."""
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError:
        return None


def add_holder(org: SandboxOrg, original: CopiedHolder) -> None:
    """Add an app or IdP with its keys."""
    holder = add_app(org, original) if original.resource == "app" else add_idp(org, original)
    if original.last_updated is not None:
        holder.updated = original.last_updated.timestamp()
        holder.birth = min(holder.created, holder.updated)
    others = [kid for kid in original.other_keys or () if not holder.holds(kid)]
    for number, kid in enumerate(reversed(others), start=1):  # the first one is the newest
        org.store_key(holder, kid, holder.created + number)


def add_app(org: SandboxOrg, original: CopiedHolder) -> KeyHolder:
    return org.add_app(
        original.id,
        label=original.label,
        name=original.name,
        status=original.status,
        sign_on_mode=original.sign_on_mode,
        signing_kid=original.kid or NO_KEY,
    )


def add_idp(org: SandboxOrg, original: CopiedHolder) -> KeyHolder:
    if not original.sign_on_mode:
        raise UsageError(f"the identity provider {original.id} has no type")
    return org.add_idp(
        original.id,
        name=original.label,
        status=original.status,
        kind=original.sign_on_mode,
        signing_kid=original.kid or NO_KEY,
    )
