"""Inventories as metrics, read back with the library's own parser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.errors import ReportError
from orchestrator.inventory.prometheus import HolderState, write_metrics
from orchestrator.inventory.record import Inventory
from tests.inventory.drafts import AT, app, idp, inventory_of, kid

NASTY = 'a "quoted" \\ back\\n slash\nnext } line \x1b[31m{x="y"} é名'
Sample = tuple[str, frozenset[tuple[str, str]]]


def metrics(folder: Path, given: Iterable[Inventory]) -> dict[Sample, float]:
    """Write the metrics and return every sample, which must not be there twice."""
    path = folder / "okta.prom"
    write_metrics(path, given)
    assert [each.name for each in folder.iterdir()] == ["okta.prom"]
    text = path.read_text(encoding="utf-8")
    assert "\x1b" not in text
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def named(name: str, **labels: str) -> Sample:
    return f"okta_keys_{name}", frozenset(labels.items())


def test_all_that_is_written_is_read_back(tmp_path: Path) -> None:
    one = inventory_of(
        app(1, 1, label=NASTY), app(2, 1), app(3, 3), app(4, None), days={1: 1.5, 3: -2}
    )
    found = metrics(tmp_path, [one])
    org = {"org": "acme.okta.com"}
    label = NASTY.replace("\n", " ").replace("\x1b", " ")
    first = org | {"resource": "app", "app_id": app(1, 1).id, "label": label, "kid": kid(1)}
    second = first | {"app_id": app(2, 1).id, "label": "App 2"}
    third = first | {"app_id": app(3, 3).id, "label": "App 3", "kid": kid(3)}
    ends = one.certificates[kid(1)].not_after.timestamp()
    states = {HolderState.VALID: 2, HolderState.ENDED: 1, HolderState.NOT_SIGNING: 1}
    assert found == {
        named("certificate_days_left", **first): 1.5,
        named("certificate_days_left", **second): 1.5,
        named("certificate_days_left", **third): -2,
        named("certificate_not_after_timestamp_seconds", **first): ends,
        named("certificate_not_after_timestamp_seconds", **second): ends,
        named("certificate_not_after_timestamp_seconds", **third): ends - 3.5 * 86_400,
        named("certificate_sharing", **org, resource="app", kid=kid(1)): 2,
        named("certificate_sharing", **org, resource="app", kid=kid(3)): 1,
        named("inventory_timestamp_seconds", **org): AT.timestamp(),
        **{
            named("holders", **org, resource=resource, state=state): (
                states.get(state, 0) if resource == "app" else 0
            )
            for resource in ("app", "idp")
            for state in HolderState
        },
    }


def test_several_orgs_stand_side_by_side(tmp_path: Path) -> None:
    one = inventory_of(app(1, 1), idp(2, 1), profile="one")
    two = replace(one, profile="two", certificates={}, unknown={kid(1): "why"})
    found = metrics(tmp_path, [one, two])
    assert found[named("holders", org="one", resource="app", state="valid")] == 1
    assert found[named("holders", org="two", resource="idp", state="unknown")] == 1
    assert found[named("certificate_sharing", org="two", resource="idp", kid=kid(1))] == 1
    days = [dict(labels)["org"] for name, labels in found if name.endswith("days_left")]
    assert days == ["one", "one"]


def test_two_inventories_do_not_add_up(tmp_path: Path) -> None:
    for number in (3, 2):
        found = metrics(tmp_path, [inventory_of(*(app(each, each) for each in range(number)))])
        labels = {"org": "acme.okta.com", "resource": "app", "state": "valid"}
        assert found[named("holders", **labels)] == number
        assert sum(name.endswith("days_left") for name, _ in found) == number


def test_the_file_is_readable_by_the_exporter_and_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "okta.prom"
    write_metrics(path, [])
    assert path.stat().st_mode & 0o044
    path.unlink()
    path.mkdir()
    with pytest.raises(ReportError, match="cannot be written"):
        write_metrics(path, [])
    assert [each.name for each in path.parent.iterdir()] == ["okta.prom"]
