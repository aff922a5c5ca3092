"""Saved inventories: what was written is read back, and nothing else is."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given

from orchestrator.errors import InputError, ReportError
from orchestrator.inventory.record import Inventory, rows_of
from orchestrator.inventory.saved import (
    MOST_BYTES,
    document_pieces,
    read_inventory,
    write_inventory,
)
from orchestrator.model import Kid
from tests.inventory.drafts import app, inventory_of, kid
from tests.inventory.inventories import few, inventories


def saved() -> Inventory:
    inventory = inventory_of(app(1, 1), app(2, 1), app(3, None), days={1: 10})
    return replace(inventory, unknown={kid(7): "why"}, other_keys={app(1, 1).id: (kid(2),)})


def document(inventory: Inventory | None = None) -> dict[str, Any]:
    found = json.loads("".join(document_pieces(inventory or saved())))
    assert isinstance(found, dict)
    return found


def put(folder: Path, changed: object) -> Path:
    path = folder / "inventory.json"
    path.write_text(json.dumps(changed))
    return path


@few
@given(inventories())
def test_what_was_written_is_read_back(inventory: Inventory) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "inventory.json"
        write_inventory(path, inventory)
        assert read_inventory(path) == inventory
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert json.loads(path.read_text())["holders"] == [
            {
                "id": row.holder.id,
                "resource": row.holder.resource,
                "label": row.holder.label,
                "name": row.holder.name,
                "sign_on_mode": row.holder.sign_on_mode,
                "status": row.holder.status,
                "kid": row.holder.kid,
                "last_updated": row.holder.last_updated,
                "days_left": row.days_left,
                "sharing": row.sharing,
                "unknown": row.unknown,
                "other_keys": None if row.other_keys is None else list(row.other_keys),
            }
            for row in rows_of(inventory)
        ]


def test_the_certificates_themselves_are_not_saved(tmp_path: Path) -> None:
    inventory = inventory_of(app(1, 1), days={1: 10})
    whole = {known: replace(each, x5c="MII=") for known, each in inventory.certificates.items()}
    write_inventory(tmp_path / "i.json", replace(inventory, certificates=whole))
    assert "MII=" not in (tmp_path / "i.json").read_text()
    assert read_inventory(tmp_path / "i.json") == inventory


def test_what_follows_from_the_rest_is_not_read_back(tmp_path: Path) -> None:
    changed = document()
    for holder in changed["holders"]:
        holder |= {"days_left": 10_000, "sharing": 99, "unknown": "made up"}
    assert read_inventory(put(tmp_path, changed)) == saved()


def test_a_later_minor_version_may_say_more(tmp_path: Path) -> None:
    changed = document() | {"schema_version": "1.12", "colour": "blue"}
    changed["holders"][0]["colour"] = {"deep": [1]}
    assert read_inventory(put(tmp_path, changed)) == saved()


REQUIRED = [
    ("schema_version",),
    ("org",),
    ("org", "url"),
    ("taken_at",),
    ("notes",),
    ("holders",),
    ("holders", 1, "id"),
    ("holders", 1, "resource"),
    ("holders", 1, "kid"),
    ("certificates",),
    ("certificates", kid(1), "not_after"),
    ("certificates", kid(1), "signature_hash"),
    ("unknown",),
]


@pytest.mark.parametrize("path", REQUIRED, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("wrong", ["missing", "other"])
def test_what_is_missing_or_of_another_kind_is_named(
    tmp_path: Path, path: tuple[str | int, ...], wrong: str
) -> None:
    changed = document()
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    if wrong == "missing":
        del place[path[-1]]
    else:
        place[path[-1]] = 4711
    with pytest.raises(InputError, match="no saved inventory") as caught:
        read_inventory(put(tmp_path, changed))
    assert str(path[-1]) in caught.value.message or wrong == "other"
    assert str(tmp_path / "inventory.json") in caught.value.message
    assert "--save" in (caught.value.hint or "")


def changes(**changed: object) -> Callable[[dict[str, Any]], object]:
    return lambda found: found | changed


def twice(found: dict[str, Any]) -> object:
    return found | {"holders": [*found["holders"], found["holders"][0]]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changes(schema_version="2.0"), "schema_version '2.0'"),
        (changes(schema_version="1"), "schema_version '1'"),
        (changes(schema_version="1.x\x1b"), r"schema_version '1.x\\x1b'"),
        (changes(whole=False), "only a part"),
        (changes(inventories=[]), "several inventories"),
        (changes(taken_at="2026-10-01T12:00:00"), "taken_at"),
        (changes(taken_at="yesterday"), "taken_at"),
        (changes(org={"url": "http://[", "id": None, "profile": None}), "org.url"),
        (changes(resources=["app", "user\x1b[31m"]), r"'user.x1b\[31m'"),
        (twice, "is in it twice"),
        (lambda found: [found], "no saved inventory"),
    ],
)
def test_another_document_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_inventory(put(tmp_path, change(document())))
    assert "\x1b" not in caught.value.diagnostics()


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'"\xff"', b"[" * 100_000, b"\x00" * 10])
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "i.json").write_bytes(data)
    with pytest.raises(InputError, match="no saved inventory"):
        read_inventory(tmp_path / "i.json")


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "i.json"
    path.touch()
    os.truncate(path, MOST_BYTES + 1)
    with pytest.raises(InputError, match="larger than 256 MiB"):
        read_inventory(path)


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, told in (("pipe", "a named pipe"), ("gone", "no such file"), ("", "a directory")):
        with pytest.raises(InputError, match=told):
            read_inventory(tmp_path / name)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "i.json", tmp_path / "folder"):
        with pytest.raises(ReportError, match="cannot be written"):
            write_inventory(path, saved())
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_some_rows_are_a_document_with_only_their_keys() -> None:
    inventory = inventory_of(app(1, 1), app(2, 2), app(3, 3), days={1: 1, 2: 2})
    inventory = replace(inventory, unknown={kid(3): "why", Kid("other"): "else"})
    rows = [row for row in rows_of(inventory) if row.holder.kid != kid(1)]
    found = json.loads("".join(document_pieces(inventory, rows)))
    assert found["whole"] is False
    assert [holder["kid"] for holder in found["holders"]] == [kid(2), kid(3)]
    assert (list(found["certificates"]), found["unknown"]) == (
        [kid(2), kid(3)],
        {kid(3): "why"},
    )
