"""A saved inventory of an org with something of everything, as a document."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.sandbox.copies import copied, inventory_in, read_inventory
from orchestrator.sandbox.org import SandboxOrg

SUBJECT = (
    "1.2.840.113549.1.9.1=info@okta.com,CN=acme,OU=SSOProvider,O=Okta,"
    "L=San Francisco,ST=California,C=US"
)
OLD, SHARED, SPARE, UNREAD, OIDC, PARTNER = (letter * 43 for letter in "oskuip")


def holder(number: int, kid: str | None, **rest: Any) -> dict[str, Any]:
    """Return an active SAML app, but for what is said otherwise."""
    return {
        "id": f"0oa{number:017d}",
        "resource": "app",
        "label": f"App {number}",
        "name": f"acme_app_{number}",
        "sign_on_mode": "SAML_2_0",
        "status": "ACTIVE",
        "kid": kid,
        "last_updated": "2024-03-01T12:34:56.000Z",
        "days_left": 12,
        "sharing": 1,
        "unknown": None,
        "other_keys": [],
    } | rest


def certificate(start: str, end: str, hash_name: str = "sha256", bits: int = 2048) -> Any:
    return {
        "thumbprint": "t" * 43,
        "not_before": f"{start}T10:20:30Z",
        "not_after": f"{end}T10:21:30Z",
        "subject": SUBJECT,
        "signature_hash": hash_name,
        "key_bits": bits,
    }


ORIGINAL: dict[str, Any] = {
    "schema_version": "1.0",
    "whole": True,
    "org": {"url": "https://acme.okta.com", "id": "00oAcme0000000000000", "profile": "acme"},
    "taken_at": "2026-10-01T00:00:00Z",
    "notes": ["what is not known here is passed over"],
    "holders": [
        holder(1, SHARED, other_keys=[SPARE, OLD]),
        holder(2, SHARED, label="Fin \u001b[31m \u00fcber \U0001f511", status="INACTIVE"),
        holder(3, OLD, name="amazon_aws", last_updated=None, other_keys=None),
        holder(4, OLD, sign_on_mode="SAML_1_1", name="sharepoint_onpremise", label=""),
        holder(5, None, sign_on_mode="BOOKMARK", name="bookmark", last_updated=None),
        holder(6, OIDC, sign_on_mode="OPENID_CONNECT", name="oidc_client"),
        holder(7, None, sign_on_mode=None, name="api_service"),
        holder(8, UNREAD, sign_on_mode="WS_FEDERATION", name="template_wsfed"),
        holder(9, None, label="has lost its key"),
        holder(10, SPARE, sign_on_mode="OF_TOMORROW", name="new"),
        holder(11, PARTNER, resource="idp", sign_on_mode="SAML2", name=None, other_keys=[SHARED]),
        holder(12, None, resource="idp", sign_on_mode="GOOGLE", name=None),
        holder(13, None, resource="idp", sign_on_mode="SAML2", name=None, status="INACTIVE"),
    ],
    "certificates": {
        OLD: certificate("2016-02-29", "2026-02-28", "sha1", 1024),
        SHARED: certificate("2021-12-31", "2026-12-31"),
        SPARE: certificate("2026-01-01", "2036-01-01", "sha512", 3072),
        PARTNER: certificate("2024-06-01", "2034-06-01", "sha1"),
    },
    "unknown": {UNREAD: "the org answered 403"},
}


def original(**changes: Any) -> dict[str, Any]:
    """Return a copy of the document, with other fields at its top."""
    return copy.deepcopy(ORIGINAL) | changes


def copy_of(document: Any, *, seed: int = 0, clock: Clock | None = None) -> SandboxOrg:
    """Return a copy of the org that an inventory is of."""
    return copied(inventory_in(document), seed=seed, clock=clock)


def read_copy(path: Path) -> SandboxOrg:
    """Return a copy of the org that an inventory in a file is of."""
    return copied(read_inventory(path), file=str(path))
