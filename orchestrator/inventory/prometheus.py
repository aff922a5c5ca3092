"""Inventories as metrics, for the textfile collector of Prometheus' node exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from orchestrator.errors import ReportError
from orchestrator.inventory.formats import name_of
from orchestrator.inventory.record import DAY, Inventory, Row, rows_of
from orchestrator.model import Resource
from orchestrator.writing import on_one_line, write_whole

OF_CERTIFICATE = ("org", "resource", "app_id", "label", "kid")


class HolderState(StrEnum):
    """How a holder stands; each is in one of them."""

    VALID = "valid"
    ENDED = "ended"  # its certificate has
    UNKNOWN = "unknown"  # it signs, and its certificate is not known
    NOT_SIGNING = "not_signing"


@dataclass(frozen=True, slots=True)
class Gauges:
    """The metrics, in a registry of our own."""

    days_left: Gauge
    not_after: Gauge
    sharing: Gauge
    holders: Gauge
    taken_at: Gauge


def write_metrics(path: Path, inventories: Iterable[Inventory]) -> None:
    """Write the metrics of whole inventories; readable by others, for the exporter is one.

    Raises:
        ReportError: the file cannot be written.
    """
    registry = CollectorRegistry()
    gauges = gauges_in(registry)
    for inventory in inventories:
        set_gauges(gauges, inventory)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = generate_latest(registry).decode("utf-8")
        write_whole(path, lambda file: file.write(text), mode=0o644)
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from error


def gauges_in(registry: CollectorRegistry) -> Gauges:
    """Register the metrics."""

    def gauge(name: str, help_: str, labels: Iterable[str]) -> Gauge:
        return Gauge(f"okta_keys_{name}", help_, labels, registry=registry)

    return Gauges(
        days_left=gauge(
            "certificate_days_left",
            "Days until the certificate that it signs with ends; negative: it has ended.",
            OF_CERTIFICATE,
        ),
        not_after=gauge(
            "certificate_not_after_timestamp_seconds",
            "When the certificate that it signs with ends.",
            OF_CERTIFICATE,
        ),
        sharing=gauge(
            "certificate_sharing",
            "How many sign with the key.",
            ("org", "resource", "kid"),
        ),
        holders=gauge(
            "holders",
            "Apps and identity providers, by whether their certificate is valid.",
            ("org", "resource", "state"),
        ),
        taken_at=gauge("inventory_timestamp_seconds", "When the org was last looked at.", ("org",)),
    )


def set_gauges(gauges: Gauges, inventory: Inventory) -> None:
    """Enter one org. All states are there, also those that nothing is in."""
    org = on_one_line(name_of(inventory))
    gauges.taken_at.labels(org).set(inventory.taken_at.timestamp())
    states: Counter[tuple[Resource, HolderState]] = Counter()
    for row in rows_of(inventory):
        states[row.holder.resource, state_of(row)] += 1
        if row.holder.signs:
            set_certificate(gauges, org, row)
    for resource in inventory.resources:
        for state in HolderState:
            gauges.holders.labels(org, resource.value, state.value).set(states[resource, state])


def set_certificate(gauges: Gauges, org: str, row: Row) -> None:
    """Enter what one holder signs with."""
    holder = row.holder
    kid, resource = on_one_line(holder.kid or ""), holder.resource.value
    gauges.sharing.labels(org, resource, kid).set(row.sharing)
    if row.certificate is None or row.left is None:
        return
    names = (org, resource, on_one_line(holder.id), on_one_line(holder.label), kid)
    gauges.days_left.labels(*names).set(row.left / DAY)
    gauges.not_after.labels(*names).set(row.certificate.not_after.timestamp())


def state_of(row: Row) -> HolderState:
    """Say how a holder stands."""
    if not row.holder.signs:
        return HolderState.NOT_SIGNING
    if row.left is None:
        return HolderState.UNKNOWN
    return HolderState.ENDED if row.left < timedelta() else HolderState.VALID
