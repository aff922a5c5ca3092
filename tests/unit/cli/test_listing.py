"""Inventories and changes as lines for a person: never too wide, never the org's own codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from orchestrator.cli.listing import change_line, table_lines
from orchestrator.inventory.compare import ChangeKind, compare
from orchestrator.inventory.filters import Filters, Listed, Order, listing
from orchestrator.inventory.record import DAY, Inventory
from orchestrator.model import Kid, Resource
from orchestrator.writing import on_one_line
from tests.inventory.drafts import app, certificate, idp, inventory_of, kid
from tests.inventory.inventories import few, inventories


def all_of(*given: Inventory) -> list[Listed]:
    return listing(given, Filters(), Order.ORG, lists_all=True)


def shown(*given: Inventory, width: int = 80, shows_org: bool = False) -> list[str]:
    lines = table_lines(all_of(*given), width=width, shows_org=shows_org)
    return [line.plain for line in lines]


@few
@given(inventories(), st.integers(80, 240), st.booleans())
def test_no_line_is_too_wide_or_has_control_codes(
    inventory: Inventory, width: int, shows_org: bool
) -> None:
    lines = shown(inventory, width=width, shows_org=shows_org)
    assert len(lines) == len(inventory.holders) + 1
    for line in lines:
        assert cell_len(line) <= width
        assert on_one_line(line) == line


def test_a_narrow_table_has_what_matters_most() -> None:
    inventory = inventory_of(
        app(1, 1, label="Finance EU, with a label that is rather long"),
        app(2, 1, status="INACTIVE"),
        app(3, None),
        idp(4, 4),
        days={1: 12.5, 4: -3},
    )
    assert shown(inventory) == [
        "id                   label                ends        days shared",
        f"{app(1, 1).id} Finance EU, with a … 2026-10-14    12      2",
        f"{app(2, 1).id} App 2                2026-10-14    12      2 inactive",
        f"{app(3, 1).id} App 3                no key",
        f"{app(4, 1).id} App 4                2026-09-28    -3        IdP",
    ]


def test_a_wide_table_has_the_keys_as_well() -> None:
    inventory = replace(
        inventory_of(app(1, 1), app(2, 2)),
        certificates={kid(1): certificate(5, "sha1")},
        unknown={kid(2): "404 \x1b[31mnot here"},
        other_keys={app(1, 1).id: (kid(7), kid(8))},
        profile="acme",
    )
    _, first, second = shown(inventory, width=160, shows_org=True)
    assert first.split() == (
        f"acme {app(1, 1).id} App 1 2026-10-06 5 sha1 2048 {kid(1)} SHA-1, 2 other keys".split()
    )
    assert second.split() == (
        f"acme {app(2, 1).id} App 2 unknown {kid(2)} 404 [31mnot here".split()
    )


@pytest.mark.parametrize(
    ("days", "style"), [(-0.1, "red"), (0.0, "yellow"), (30.0, "yellow"), (30.1, "")]
)
def test_what_ends_soon_is_coloured(days: float, style: str) -> None:
    inventory = inventory_of(app(1, 1), days={1: days})
    _, line = table_lines(all_of(inventory), width=80, shows_org=False)
    assert line.style == style


@few
@given(inventories(), inventories())
def test_every_change_is_one_line(old: Inventory, new: Inventory) -> None:
    for change in compare(old, new, within=90 * DAY):
        line = change_line(change).plain
        assert line.startswith(change.kind.value.replace("_", " "))
        assert on_one_line(line) == line


def test_changes_in_words() -> None:
    old = replace(
        inventory_of(app(1, 1), app(2, 2), app(3, 2), app(4, 4), idp(5, 5), days={2: 100}),
        other_keys={app(1, 1).id: ()},
    )
    new = replace(
        old,
        taken_at=old.taken_at + 20 * DAY,
        holders=(
            app(1, 9),
            app(2, 2, label="New\x1b[1m"),
            app(3, 2, status="INACTIVE"),
            replace(idp(5, 5), sign_on_mode=None),
            app(6, None),
        ),
        other_keys={app(1, 1).id: (kid(1),)},
    )
    lines = [change_line(change).plain for change in compare(old, new, within=90 * DAY)]
    assert lines == [
        f"added        app {app(6, 1).id} App 6: it signs with nothing",
        f"gone         app {app(4, 1).id} App 4: it signed with {kid(4)}",
        f"activated    app {app(1, 1).id} App 1: it signs with {kid(9)}; before with {kid(1)}",
        f"key added    app {app(1, 1).id} App 1: it holds {kid(9)} as well",
        f"status       app {app(3, 1).id} App 3: INACTIVE; before ACTIVE",
        f"renamed      app {app(2, 1).id} App 2: New [1m; before App 2",
        f"sign on mode identity provider {app(5, 1).id} App 5: nothing; before SAML2",
        f"expiring     key of apps: {kid(2)} ends on 2027-01-09; 2 sign with it",
    ]
    back = compare(new, old, within=90 * DAY)
    assert [change.kind for change in back if change.kid == Kid(kid(9))] == [ChangeKind.KEY_GONE]
    assert {change.resource for change in back} == set(Resource)
