"""What goes into the journal comes out of it the same."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given

from orchestrator.errors import StateError
from orchestrator.model import AppId, Certificate, KeyRef, Kid, Outcome
from orchestrator.store.base import JobRecord
from orchestrator.store.codec import dump, from_json, load, to_json
from tests.contract.records import CERTIFICATES, OUTCOMES, TEXT, TIMES


@given(OUTCOMES)
def test_an_outcome_survives(outcome: Outcome) -> None:
    assert load(dump(outcome), Outcome) == outcome


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
