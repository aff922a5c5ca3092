"""What goes into the journal comes out of it the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.model import AppId, Certificate, KeyRef, Kid, Outcome
from orchestrator.store.base import JobRecord
from orchestrator.store.codec import dump, from_json, is_storable, load, moment, to_json
from tests.contract.records import (
    ACTIVATIONS,
    CERTIFICATES,
    JOBS,
    OUTCOMES,
    SNAPSHOTS,
    TEXT,
    TIMES,
)

SOUND_TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=9))]),
    max_value=datetime(9000, 1, 1),  # noqa: DTZ001
)


@given(OUTCOMES)
def test_an_outcome_survives(outcome: Outcome) -> None:
    assert load(dump(outcome), Outcome) == outcome


@given(st.one_of(ACTIVATIONS, JOBS, SNAPSHOTS))
def test_the_records_of_a_rollout_survive(record: object) -> None:
    assert load(dump(record), type(record)) == record


@given(st.lists(SOUND_TIMES, max_size=4))
def test_moments_sort_as_their_times_do(times: list[datetime]) -> None:
    told = sorted(text for time in times if (text := moment(time)))
    assert [datetime.fromisoformat(text) for text in told] == sorted(times)
    assert len({len(text) for text in told}) <= 1


def test_no_time_is_no_moment() -> None:
    assert moment(None) is None


@given(TEXT)
def test_what_sqlite_takes_is_known_before(text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        if is_storable(text):
            assert connection.execute("SELECT ?", (text,)).fetchone() == (text,)
        else:
            with pytest.raises(UnicodeEncodeError):
                connection.execute("SELECT ?", (text,))


@given(CERTIFICATES)
def test_a_certificate_survives(certificate: Certificate) -> None:
    assert load(dump(certificate), Certificate) == certificate


@given(TEXT, TIMES)
def test_text_and_times_survive(text: str, time: datetime) -> None:
    assert load(dump(text), str) == text
    assert from_json(time.isoformat(), datetime) == time


@given(OUTCOMES)
def test_the_text_of_a_record_is_one_and_the_same(outcome: Outcome) -> None:
    text = dump(outcome)
    assert text.isascii()
    assert dump(load(text, Outcome)) == text
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    key = KeyRef(app=AppId("s"), kid=Kid("k"))
    record = JobRecord(position=0, name="j", key=key, dropped={})
    value = to_json(record)
    assert isinstance(value, dict)
    assert from_json({**value, "new": 1}, JobRecord) == record


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "unheard of"}', "[" * 100_000])
def test_an_unreadable_record_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(StateError, match="journal"):
        load(text, Outcome)
