"""Inventories as data on stdout: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given

from orchestrator.inventory.filters import Filters, Listed, Order, listing
from orchestrator.inventory.formats import (
    COLUMNS,
    cell_text,
    json_pieces,
    name_of,
    write_csv,
)
from orchestrator.inventory.record import Inventory
from orchestrator.inventory.saved import read_inventory
from orchestrator.plan.targets import read_app_ids
from orchestrator.writing import FORMULA_START, on_one_line
from tests.inventory.drafts import app, idp, inventory_of, kid
from tests.inventory.inventories import few, inventories


def all_of(*given: Inventory) -> list[Listed]:
    return listing(given, Filters(), Order.ORG, lists_all=True)


def csv_of(listed: Sequence[Listed]) -> list[dict[str, str]]:
    file = io.StringIO(newline="")
    write_csv(listed, file)
    file.seek(0)
    return list(csv.DictReader(file))


@few
@given(inventories())
def test_no_cell_starts_a_formula_or_a_second_line(inventory: Inventory) -> None:
    rows = csv_of(all_of(inventory))
    assert [row["app_id"] for row in rows] == [holder.id for holder in inventory.holders]
    for row, holder in zip(rows, inventory.holders, strict=True):
        label = on_one_line(holder.label)
        assert row["label"] == (f"'{label}" if label.startswith(FORMULA_START) else label)
        assert row["kid"] == (holder.kid or "")
        for name in set(COLUMNS) - {"kid", "thumbprint", "other_keys", "days_left"}:
            assert not row[name].startswith(FORMULA_START), name
        for cell in row.values():
            assert on_one_line(cell) == cell


@pytest.mark.parametrize(
    ("column", "value", "cell"),
    [
        ("kid", "-starts_with-a-dash", "-starts_with-a-dash"),
        ("kid", "=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("other_keys", ("-a", "_b"), "-a; _b"),
        ("other_keys", ("-a", "=b"), "'-a; =b"),
        ("label", "-5", "'-5"),
        ("label", "two\r\nlines", "two  lines"),
        ("status", "\t=1", " =1"),
        ("days_left", -5, "-5"),
        ("days_left", None, ""),
    ],
)
def test_cells_are_what_they_say_or_plain_text(column: str, value: object, cell: str) -> None:
    assert cell_text(column, value) == cell


def test_a_plan_can_take_the_csv_as_its_targets(tmp_path: Path) -> None:
    path = tmp_path / "inventory.csv"
    inventory = inventory_of(app(1, 1, label='=a, "b"'), app(2, None, label="\x00\n"))
    with path.open("w", newline="") as file:
        write_csv(all_of(inventory), file)
    assert read_app_ids(path) == [app(1, 1).id, app(2, None).id]


def test_the_cells_of_a_certificate() -> None:
    [row] = csv_of(all_of(inventory_of(app(1, 1), days={1: 10.5}, profile="acme")))
    assert (row["days_left"], row["not_after"]) == ("10", "2026-10-12T00:00:00+00:00")
    assert (row["sharing"], row["signature_hash"], row["key_bits"]) == ("1", "sha256", "2048")
    assert (row["org"], row["profile"], row["subject"]) == (
        "https://acme.okta.com",
        "acme",
        "CN=acme",
    )


def test_a_head_is_there_without_rows() -> None:
    file = io.StringIO()
    write_csv([], file)
    assert file.getvalue().strip() == ",".join(COLUMNS)


@few
@given(inventories())
def test_json_of_all_rows_is_a_saved_inventory(inventory: Inventory) -> None:
    text = "".join(json_pieces([inventory], all_of(inventory), is_one=True))
    assert json.loads(text)["whole"] is True


def test_json_has_the_rows_in_the_order_of_the_list(tmp_path: Path) -> None:
    one = inventory_of(app(1, 1, label="b"), app(2, 2, label="a"), idp(3, 3), profile="one")
    two = inventory_of(app(4, 4, label="0"), app(5, 5, label="c"), profile="two")
    listed = listing([one, two], Filters(label="a"), Order.LABEL)
    text = "".join(json_pieces([one, two], listed, is_one=False))
    found = json.loads(text)["inventories"]
    assert [part["org"]["profile"] for part in found] == ["one", "two"]
    assert [[each["label"] for each in part["holders"]] for part in found] == [["a", "App 3"], []]
    assert list(found[0]["certificates"]) == [kid(2), kid(3)]
    everything = "".join(json_pieces([one], all_of(one), is_one=True))
    (tmp_path / "i.json").write_text(everything)
    assert read_inventory(tmp_path / "i.json") == one


def test_an_org_goes_by_its_profile_else_its_host() -> None:
    assert name_of(inventory_of(profile="acme")) == "acme"
    assert name_of(inventory_of()) == "acme.okta.com"
