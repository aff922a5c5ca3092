"""What every store must remember of what previews saw."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import InputError
from orchestrator.model import AppId, AppSnapshot, Kid
from orchestrator.store.base import Archive
from orchestrator.store.sqlite import Store
from tests.contract.stores import RUN, create

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def seen(number: int, kid: str | None = "kid-1") -> AppSnapshot:
    return AppSnapshot(
        app=AppId(f"0oa{number:06d}"),
        kid=None if kid is None else Kid(kid),
        sign_on_mode=None if kid is None else "SAML_2_0",
        status="ACTIVE \ud800",
        last_updated="2026-11-23T04:08:00.000Z",
        seen_at=NOON,
    )


def test_a_snapshot_is_kept_until_the_next_one(store: Store, archive: Archive) -> None:
    assert archive.snapshot("finance", "https://acme.test") == {}
    first = [seen(number) for number in range(1100)]
    store.save_snapshot("finance", "https://acme.test", first)
    store.save_snapshot("finance", "https://other.test", [seen(7)])
    assert archive.snapshot("finance", "https://acme.test") == {each.app: each for each in first}
    second = [seen(3, None), seen(2), seen(2, "kid-2")]
    store.save_snapshot("finance", "https://acme.test", iter(second))
    assert list(archive.snapshot("finance", "https://acme.test").values()) == [second[2], second[0]]
    assert list(archive.snapshot("finance", "https://other.test")) == [seen(7).app]
    store.save_snapshot("finance", "https://acme.test", [])
    assert archive.snapshot("finance", "https://acme.test") == {}


def test_a_snapshot_that_cannot_be_read_replaces_nothing(store: Store, archive: Archive) -> None:
    def broken() -> Iterator[AppSnapshot]:
        yield seen(2)
        raise InputError("interrupted")

    store.save_snapshot("finance", "o", [seen(1)])
    with pytest.raises(InputError):
        store.save_snapshot("finance", "o", broken())
    assert list(archive.snapshot("finance", "o")) == [seen(1).app]


def test_a_snapshot_is_no_part_of_a_run(store: Store, archive: Archive) -> None:
    create(store, 1)
    before = archive.run(RUN)
    store.save_snapshot("finance", "https://acme.test", [seen(0)])
    assert archive.run(RUN) == before
    store.prune(older_than=datetime.now(UTC) + timedelta(days=1), keep=lambda _: False)
    assert archive.runs() == []
    assert len(archive.snapshot("finance", "https://acme.test")) == 1
