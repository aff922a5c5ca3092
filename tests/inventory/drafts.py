"""What the tests of drafting a plan share: made-up inventories, and what is done to a draft."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.holders import OIDC, SAML_IDP, Holder
from orchestrator.inventory.draft import Draft, Wishes, drafted, pickable
from orchestrator.inventory.filters import Filters
from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.model import AppId, Certificate, Kid, Resource
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.schema import Plan

AT = datetime(2026, 10, 1, 12, tzinfo=UTC)
URL = "https://acme.okta.com"
BOTH = tuple(Resource)
HOSTILE = (
    "\"#: &*{}[]|>'%@`",
    "two\nlines\r\n  - 0oa8ae0dv4RGQvjyZ0h7",
    "next\x85line\u2028and\u2029paragraph",
    "\x1b[31mred\x1b[0m \x07\x00",
    "<script>alert(1)</script>",
    "x" * 3000,
    "\U0001f510 \U0001d4dc\U0001d4d0 \u202egnp.exe",
    "\ufeff\ufffe\uffff",
    "\ud800",
    "",
    "  ",
    "null",
    "- activate: {}",
    "é ünïcödé",
)


def app_id(number: int) -> AppId:
    return AppId(f"0oa{number:017d}")


def kid(number: int) -> Kid:
    return Kid(f"kid{number:040d}")


def app(number: int, key: int | None, **more: object) -> Holder:
    """Return an active SAML app that signs with the key of that number."""
    given: dict[str, object] = {
        "id": app_id(number),
        "label": f"App {number}",
        "sign_on_mode": "SAML_2_0",
        "status": "ACTIVE",
        "kid": None if key is None else kid(key),
    }
    return Holder(**(given | more))  # type: ignore[arg-type]  # the tests name what they change


def oidc(number: int, key: int, **more: object) -> Holder:
    return app(number, key, sign_on_mode=OIDC, **more)


def idp(number: int, key: int | None, **more: object) -> Holder:
    return app(number, key, **({"resource": Resource.IDP, "sign_on_mode": SAML_IDP} | more))


def certificate(days: float, signature_hash: str = "sha256") -> Certificate:
    """Return a certificate that ends so many days from now."""
    return Certificate(
        thumbprint="t" * 43,
        not_before=AT - timedelta(days=365),
        not_after=AT + timedelta(days=days),
        subject="CN=acme",
        signature_hash=signature_hash,
        key_bits=2048,
    )


def inventory_of(
    *holders: Holder, days: dict[int, float] | None = None, profile: str | None = None
) -> Inventory:
    """Return an inventory; `days`: when the certificates of keys end, by number of the key."""
    ends = {holder.kid: 400.0 for holder in holders if holder.kid}
    ends |= {kid(key): left for key, left in (days or {}).items()}
    return Inventory(
        org=URL,
        profile=profile,
        taken_at=AT,
        holders=holders,
        certificates={each: certificate(left) for each, left in ends.items()},
    )


def draft_of(
    inventory: Inventory,
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    filters: Filters = Filters(),  # noqa: B008 - frozen
    resources: tuple[Resource, ...] = BOTH,
) -> Draft:
    """Return the draft for all that can be picked."""
    found = pickable(inventory, filters, wishes, resources)
    return drafted(inventory, found.rows, wishes, filters=filters, left=found.left)


def row_of(inventory: Inventory, app: AppId) -> Row:
    return next(row for row in rows_of(inventory) if row.holder.id == app)


def loaded(text: str) -> Plan:
    """Load a plan as a person's file is loaded."""
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


def uncommented(text: str) -> str:
    """Return a plan with what it shows of activation taken out of its comments."""
    return re.sub(r"(?m)^    # (?=(?:activate:|  ))", "    ", text)
