"""The history of a run in words: in order, bounded, and readable whatever the journal holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.cautions import CAUTIONED
from orchestrator.engine.confirm import WAVE_CHECKED
from orchestrator.engine.gates import HELD
from orchestrator.engine.keys import CSR_CREATED, CSR_INTENDED, KEY_INTENDED
from orchestrator.engine.result import HOOK_RAN
from orchestrator.report.timeline import MOST, Kind, Timeline, timeline_of
from orchestrator.store.base import WAVE_APPROVED, EventKind, EventRecord
from tests.unit.results import NOON

Told = tuple[str, dict[str, object]]
KINDS = [
    *(kind.value for kind in EventKind),
    *(WAVE_APPROVED, HELD, WAVE_CHECKED, KEY_INTENDED, CSR_INTENDED, CSR_CREATED, HOOK_RAN),
    *(CAUTIONED, "of_a_later_version"),
]


def timeline(*told: Told) -> Timeline:
    events = [
        EventRecord(seq=number, at=NOON + timedelta(minutes=number), kind=kind, body=body)
        for number, (kind, body) in enumerate(told)
    ]
    return timeline_of(events, {0: "saml", 1: "hr"})


def lines(*told: Told) -> list[str]:
    """Return what is told, a line each."""
    return [f"{each.text}: {each.counted}" if each.counts else each.text
            for each in timeline(*told).first]  # fmt: skip


def settled(status: str) -> Told:
    return EventKind.TARGET_SETTLED, {"status": status}


def noted(state: str, wave: int = 1) -> Told:
    return EventKind.ACTIVATION_NOTED, {"state": state, "wave": wave, "target": {"job": "saml"}}


SESSION: Told = (EventKind.SESSION_STARTED, {"session": {"host": "vm", "version": "1.2"}})


def test_a_rotation_there_and_back() -> None:
    assert lines(
        (EventKind.RUN_CREATED, {}),
        (EventKind.TARGETS_ADDED, {"job": 0, "targets": [{}, {}, {}]}),
        SESSION,
        (KEY_INTENDED, {"job": 0}),
        (EventKind.SOURCE_READ, {"job": 0, "certificate": {"not_after": "2029-11-30T01:00:00Z"}}),
        (EventKind.WAVES_ASSIGNED, {"job": 0, "waves": [[1, 1], [2, 2]]}),
        settled("cloned"),
        settled("already_present"),
        settled("cloned"),
        (EventKind.SESSION_ENDED, {"exit_code": 0, "stop": {"detail": "wave 1 waits"}}),
        (EventKind.TARGETS_ACKNOWLEDGED, {"by": "Zoë", "targets": [[0, "a"], [0, "b"]]}),
        (WAVE_APPROVED, {"job": 0, "wave": 1, "by": "Alice"}),
        SESSION,
        noted("intended"),
        noted("activated"),
        (WAVE_CHECKED, {"job": 0, "wave": 1}),
        noted("intended", 2),
        noted("failed", 2),
        (HELD, {"job": 0, "wave": 2, "detail": "1 target of wave 2 failed"}),
        (HOOK_RAN, {"on": "run_failed", "exit_code": 3}),
        (EventKind.SESSION_ENDED, {"exit_code": 6, "stop": None}),
        SESSION,
        (HELD, {"job": 0, "wave": 0, "detail": "rolled back"}),
        noted("reverting"),
        noted("rolled_back"),
        (EventKind.SESSION_ENDED, {"exit_code": 0, "stop": None}),
    ) == [
        "The run was begun",
        "Targets of job saml: 3 added by the plan",
        "Session 1 began on vm, version 1.2",
        "A new key is about to be made for job saml",
        "The key of job saml is known, valid until 2029-11-30",
        "Waves of job saml: 3 targets in 2 (1, 2)",
        "Staging: 2 cloned, 1 already present",
        "Session 1 ended with exit code 0: wave 1 waits",
        "Zoë acknowledged: 2 targets",
        "Alice approved wave 1 of job saml",
        "Session 2 began on vm, version 1.2",
        "Activation, job saml, wave 1: 1 activated",
        "Wave 1 of job saml was held against the System Log",
        "Activation, job saml, wave 2: 1 failed to activate",
        "Wave 2 of job saml is held: 1 target of wave 2 failed",
        "Hook run_failed: 1 failed",
        "Session 2 ended with exit code 6",
        "Session 3 began on vm, version 1.2",
        "Job saml is taken back: rolled back",
        "Taking back, job saml, wave 1: 1 rolled back",
        "Session 3 ended with exit code 0",
    ]


def test_what_is_counted_together_has_a_beginning_and_an_end() -> None:
    [moment] = timeline(settled("cloned"), settled("failed"), settled("cloned")).first
    assert (moment.at, moment.until) == (NOON, NOON + timedelta(minutes=2))
    assert (moment.kind, moment.counts) == (Kind.STAGE, {"cloned": 2, "failed": 1})
    [alone] = timeline(settled("cloned")).first
    assert alone.until is None


def test_each_session_counts_for_itself() -> None:
    assert lines(SESSION, settled("failed"), SESSION, settled("cloned"))[1::2] == [
        "Staging: 1 failed",
        "Staging: 1 cloned",
    ]


def test_a_key_that_cannot_be_used_is_said_to_be() -> None:
    told = (EventKind.SOURCE_READ, {"job": 1, "problem": "E0000007", "certificate": None})
    assert lines(told) == ["The key of job hr cannot be used: E0000007"]


@pytest.mark.parametrize("number", [MOST, MOST + 1, 3 * MOST])
def test_of_a_long_history_the_middle_is_left_out(number: int) -> None:
    told = timeline(
        *[(WAVE_APPROVED, {"job": 0, "wave": each, "by": "A"}) for each in range(number)]
    )
    assert len(told.first) + len(told.last) == min(number, MOST)
    assert told.left_out == max(0, number - MOST)
    if told.left_out:
        assert told.last[-1].text == f"A approved wave {number - 1} of job saml"


plain = st.none() | st.integers() | st.text(max_size=3)
anything = (
    plain
    | st.lists(plain | st.lists(plain, max_size=2), max_size=2)
    | st.dictionaries(st.sampled_from(["job", "detail", "host", "not_after"]), plain, max_size=2)
)
NAMES = [
    "job",
    "wave",
    "waves",
    "targets",
    "target",
    "stop",
    "certificate",
    "session",
    "by",
    "state",
]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), anything)))
)
def test_whatever_a_journal_holds_can_be_told(told: list[Told]) -> None:
    found = timeline(*told)
    assert len(found.first) <= len(told)
    assert all(each.text for each in found.first)
