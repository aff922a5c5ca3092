"""An inventory in one line."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.inventory.record import Inventory
from orchestrator.inventory.totals import Totals, told, totals_of
from tests.inventory.drafts import app, certificate, idp, inventory_of, kid


def mixed() -> Inventory:
    inventory = inventory_of(
        app(1, 1),
        app(2, 1),
        app(3, 2),
        app(4, 3),
        app(5, 4),
        app(6, None),
        app(7, 6),
        idp(8, 7),
        replace(idp(9, 8), sign_on_mode="OIDC"),  # it does not sign, whatever its key
        days={1: -1, 2: 30, 3: 31, 4: 90, 7: 400, 8: 1},
    )
    certificates = dict(inventory.certificates) | {kid(4): certificate(90, "sha1")}
    certificates = {known: each for known, each in certificates.items() if known != kid(6)}
    return replace(inventory, certificates=certificates, unknown={kid(6): "why"})


def test_keys_are_counted_once_whoever_shares_them() -> None:
    assert totals_of(mixed()) == Totals(
        apps=7,
        idps=2,
        signing=7,
        keys=6,
        ended=1,
        ending=(1, 3),
        sha1=1,
        shared=1,
        unread=1,
    )


def test_totals_are_told_in_a_sentence() -> None:
    assert told(totals_of(mixed())) == (
        "7 apps and 2 identity providers, of which 7 sign with 6 keys; 1 ended; "
        "1 ends within 30 days; 3 end within 90 days; 1 with SHA-1; 1 shared; "
        "1 whose certificate is not known"
    )


def test_what_is_not_there_is_not_told() -> None:
    assert told(totals_of(inventory_of(app(1, 1)))) == "1 app, of which 1 signs with 1 key"
