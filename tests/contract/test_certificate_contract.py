"""What every store must remember of the certificates that were read."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from orchestrator.clock import SystemClock
from orchestrator.model import Certificate, Kid
from orchestrator.store.base import Archive
from orchestrator.store.database import Database
from orchestrator.store.sqlite import FILE_NAME, Store
from tests.contract.records import CERTIFICATES
from tests.contract.stores import CERTIFICATE, RUN, create, open_store

ORG, OTHER_ORG = "00o1", "https://other.test"
ONE, TWO, ODD = Kid("kid-1"), Kid("kid-2"), Kid("kid \ud800")


def test_what_is_kept_is_known_from_then_on(store: Store) -> None:
    book = store.certificates(ORG)
    assert book.get(ONE) is None
    book.keep({ONE: CERTIFICATE})
    book.keep({TWO: replace(CERTIFICATE, x5c="MIID+/==")})
    book.keep({})
    for again in (book, store.certificates(ORG)):
        assert again.get(ONE) == CERTIFICATE
        assert again.get(TWO) == replace(CERTIFICATE, x5c="MIID+/==")
    assert store.certificates(OTHER_ORG).get(ONE) is None


def test_what_is_kept_again_replaces_what_was_there(store: Store) -> None:
    book = store.certificates(ORG)
    book.keep({ONE: CERTIFICATE, TWO: CERTIFICATE})
    store.certificates(OTHER_ORG).keep({ONE: CERTIFICATE})
    book.keep({ONE: replace(CERTIFICATE, key_bits=1024)})
    assert book.get(ONE) == replace(CERTIFICATE, key_bits=1024)
    assert book.get(TWO) == CERTIFICATE
    assert store.certificates(OTHER_ORG).get(ONE) == CERTIFICATE


@given(certificate=CERTIFICATES)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_certificate_comes_back_as_it_was(store: Store, certificate: Certificate) -> None:
    book = store.certificates(ORG)
    book.keep({ONE: certificate})
    assert book.get(ONE) == certificate


def test_a_kid_that_cannot_be_written_harms_no_other(store: Store) -> None:
    book = store.certificates(ORG)
    book.keep({ODD: CERTIFICATE, ONE: CERTIFICATE})
    assert book.get(ODD) is None
    assert book.get(ONE) == CERTIFICATE


@pytest.mark.parametrize("damage", ["''", "'{}'", "'{\"thumbprint\"'", "'[1]'", "x'00ff'", "7"])
def test_a_damaged_row_is_as_if_absent(store: Store, damage: str) -> None:
    book = store.certificates(ORG)
    book.keep({ONE: CERTIFICATE, TWO: CERTIFICATE})
    store.writer.execute(f"UPDATE certificates SET record = {damage} WHERE kid = '{ONE}'")  # noqa: S608
    assert book.get(ONE) is None
    assert book.get(TWO) == CERTIFICATE
    book.keep({ONE: CERTIFICATE})
    assert book.get(ONE) == CERTIFICATE


def test_certificates_are_found_by_kid_where_all_orgs_agree(store: Store, archive: Archive) -> None:
    here, there = store.certificates(ORG), store.certificates(OTHER_ORG)
    here.keep({ONE: CERTIFICATE, TWO: CERTIFICATE})
    there.keep({ONE: CERTIFICATE, TWO: replace(CERTIFICATE, key_bits=1024)})
    assert archive.certificates([ONE, TWO, ODD, Kid("kid-3")]) == {ONE: CERTIFICATE}
    assert archive.certificates([]) == {}


@pytest.mark.parametrize("damage", ["''", "'[1]'", "x'00ff'", "7"])
def test_a_damaged_row_is_not_found_by_kid(store: Store, archive: Archive, damage: str) -> None:
    store.certificates(ORG).keep({ONE: CERTIFICATE, TWO: CERTIFICATE})
    store.writer.execute(f"UPDATE certificates SET record = {damage} WHERE kid = '{ONE}'")  # noqa: S608
    assert archive.certificates([ONE, TWO]) == {TWO: CERTIFICATE}


def test_the_book_is_no_part_of_a_run(store: Store, archive: Archive) -> None:
    create(store, 1)
    before = archive.run(RUN)
    store.certificates(ORG).keep({ONE: CERTIFICATE})
    assert archive.run(RUN) == before
    store.prune(older_than=datetime.now(UTC) + timedelta(days=1), keep=lambda _: False)
    assert archive.runs() == []
    assert store.certificates(ORG).get(ONE) == CERTIFICATE


def test_a_file_remembers_from_one_process_to_the_next(tmp_path: Path) -> None:
    with open_store("file", tmp_path) as store:
        store.certificates(ORG).keep({ONE: CERTIFICATE})
    with open_store("file", tmp_path) as store:
        assert store.certificates(ORG).get(ONE) == CERTIFICATE


def test_a_file_that_stays_locked_or_is_gone_costs_no_more_than_calls(tmp_path: Path) -> None:
    open_store("file", tmp_path).close()
    path = tmp_path / "state" / FILE_NAME
    with Store(Database(path, busy_seconds=0.05), Database(path), clock=SystemClock()) as store:
        book = store.certificates(ORG)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        book.keep({ONE: CERTIFICATE})
        assert book.get(ONE) is None
        other.close()
        book.keep({ONE: CERTIFICATE})
        assert book.get(ONE) == CERTIFICATE
        other = sqlite3.connect(path)
        other.execute("DROP TABLE certificates")
        other.close()
        assert book.get(ONE) is None
        book.keep({TWO: CERTIFICATE})
