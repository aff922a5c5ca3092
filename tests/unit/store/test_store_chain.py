"""The chain of hashes, and that nothing can be changed behind its back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.model import RunId
from orchestrator.store.chain import Tip, canonical, genesis
from orchestrator.store.replay import Replay
from orchestrator.store.sqlite import Store
from tests.contract.records import TEXT
from tests.contract.stores import RUN, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(TEXT, TEXT, JSON)
def test_a_hash_covers_the_one_before_and_canonical_json(at: str, kind: str, body: object) -> None:
    start = Tip(41, b"before")
    event = {"seq": 42, "at": at, "kind": kind, "body": body}
    expected = hashlib.sha256(b"before" + canonical(event).encode()).digest()
    assert start.extend(at=at, kind=kind, body=canonical(body)) == Tip(42, expected)


def test_canonical_json_has_one_form() -> None:
    assert canonical({"b": 1, "a": ["é", None]}) == '{"a":["\\u00e9",null],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("inf"))


def test_each_run_has_its_own_beginning() -> None:
    assert genesis(RunId("a")) != genesis(RunId("b"))


# Everything that can be done to a run behind the store's back.

Tamper = Callable[[Store, int, int, Random], object]
EVENTS = 19  # of the run that is written, at least


def sql(statement: str) -> Tamper:
    """Return a statement to run, with two different events named :a and :b."""
    return lambda store, a, b, _: store.writer.execute(statement, {"a": a, "b": b})


def swap_bodies(store: Store, a: int, b: int, _: Random) -> None:
    found = store.writer.execute("SELECT seq, body FROM events WHERE seq IN (?, ?)", (a, b))
    rows = {row[0]: row[1] for row in found}
    if rows[a] == rows[b]:  # two sessions of one process: a swap would change nothing
        edit_body(store, a, b, Random(a))
        return
    for one, other in ((a, b), (b, a)):
        store.writer.execute("UPDATE events SET body = ? WHERE seq = ?", (rows[other], one))


def swap_events(store: Store, a: int, b: int, _: Random) -> None:
    for old, new in ((a, -1), (b, a), (-1, b)):
        store.writer.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))


def edit_body(store: Store, a: int, _: int, chance: Random) -> None:
    ((body,),) = store.writer.execute("SELECT body FROM events WHERE seq = ?", (a,))
    assert isinstance(body, str)
    at = chance.randrange(len(body))
    other = chr((ord(body[at]) + chance.randrange(1, 90)) % 127)
    changed = body[:at] + other + body[at + 1 :]
    store.writer.execute("UPDATE events SET body = ? WHERE seq = ?", (changed, a))


def renumber_after_removal(store: Store, a: int, _b: int, _: Random) -> None:
    store.writer.execute("DELETE FROM events WHERE seq = ?", (a,))
    ((last,),) = store.writer.execute("SELECT max(seq) FROM events")
    assert isinstance(last, int)
    for seq in range(a + 1, last + 1):
        store.writer.execute("UPDATE events SET seq = ? WHERE seq = ?", (seq - 1, seq))
    store.writer.execute("UPDATE runs SET events = events - 1")


def cut_off(store: Store, a: int, _b: int, _: Random) -> None:
    """Remove the end, and make the run's row agree."""
    store.writer.execute("DELETE FROM events WHERE seq > ?", (a,))
    ((head, at),) = store.writer.execute("SELECT hash, at FROM events WHERE seq = ?", (a,))
    store.writer.execute("UPDATE runs SET events = ?, head = ?, updated_at = ?", (a, head, at))


TAMPERINGS: dict[str, Tamper] = {
    "edit a body": edit_body,
    "swap two bodies": swap_bodies,
    "swap two events": swap_events,
    "remove an event": sql("DELETE FROM events WHERE seq = :a"),
    "remove an event and renumber": renumber_after_removal,
    "remove the last event": sql("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"),
    "remove the end": cut_off,
    "change a time": sql("UPDATE events SET at = '2020-01-01T00:00:00+00:00' WHERE seq = :a"),
    "change a kind": sql("UPDATE events SET kind = kind || 's' WHERE seq = :a"),
    "change a hash": sql("UPDATE events SET hash = zeroblob(32) WHERE seq = :a"),
    "a body that is no text": sql("UPDATE events SET body = CAST(body AS BLOB) WHERE seq = :a"),
    "copy an event": sql(
        "INSERT INTO events SELECT run, (SELECT max(seq) + 1 FROM events), at, kind, body, hash"
        " FROM events WHERE seq = :a"
    ),
    "an event before all": sql(
        "INSERT INTO events SELECT run, -seq, at, kind, body, hash FROM events WHERE seq = :a"
    ),
    "a status": sql(
        "UPDATE targets SET status = CASE status WHEN 'cloned' THEN 'failed' ELSE 'cloned' END"
        " WHERE settled = (SELECT settled FROM targets WHERE settled > 0 LIMIT 1 OFFSET :a % 4)"
    ),
    "a pending target as settled": sql(
        "UPDATE targets SET status = 'cloned', settled = :a"
        " WHERE position = (SELECT max(position) FROM targets WHERE status IS NULL)"
    ),
    "a settled target as pending": sql(
        "UPDATE targets SET status = NULL, settled = NULL WHERE position = 0"
    ),
    "another's outcome": sql(
        "UPDATE targets SET settled = (SELECT settled FROM targets WHERE position = 2)"
        " WHERE position = 0"
    ),
    "two targets swapped": sql(
        "UPDATE targets SET app = 'x' || app WHERE position IN (:a % 10, (:a + 1) % 10)"
    ),
    "an order": sql("UPDATE targets SET position = 99 WHERE position = :a % 10"),
    "tags": sql('UPDATE targets SET tags = \'{"owner":"me"}\' WHERE position = :a % 10'),
    "a target removed": sql("DELETE FROM targets WHERE position = :a % 10"),
    "a target added": sql(
        "INSERT INTO targets (run, job, position, app, tags) VALUES (1, 0, -5, 'mine', '{}')"
    ),
    "a wave": sql("UPDATE targets SET wave = wave + 1 WHERE position = :a % 10"),
    "a target out of its wave": sql("UPDATE targets SET wave = NULL WHERE position = :a % 10"),
    "an acknowledgement": sql(
        "UPDATE targets SET acknowledged = CASE WHEN acknowledged IS NULL THEN :a END"
        " WHERE position = :a % 10"
    ),
    "an activation": sql(
        "UPDATE targets SET activation = 'rolled_back', activation_seq = coalesce("
        "activation_seq, :a) WHERE position = :a % 10"
    ),
    "an activation that never was": sql(
        "UPDATE targets SET activation = NULL, activation_seq = NULL, activation_at = NULL,"
        " activation_retryable = NULL WHERE position IN (0, 2)"
    ),
    "another's activation": sql(
        "UPDATE targets SET activation_seq = (SELECT activation_seq FROM targets"
        " WHERE position = 2) WHERE position = 0"
    ),
    "when it was staged": sql("UPDATE targets SET staged_at = '2020' WHERE position = :a % 10"),
    "a run's plan": sql("UPDATE runs SET plan = 'other'"),
    "a run's state": sql("UPDATE runs SET state = 'finished', exit_code = 0"),
    "a run's sessions": sql("UPDATE runs SET sessions = 1"),
    "a run's head": sql("UPDATE runs SET head = zeroblob(32)"),
    "a run's beginning": sql("UPDATE runs SET created_at = '2020-01-01T00:00:00+00:00'"),
    "a job": sql("UPDATE jobs SET record = replace(record, 'kid-1', 'kid-2')"),
    "a job's certificate": sql("UPDATE jobs SET record = replace(record, 'CN=', 'DN=')"),
}


two_ends = st.lists(st.integers(1, EVENTS - 1), min_size=2, max_size=2, unique=True)
chances = st.randoms(use_true_random=False)


@pytest.mark.parametrize("name", TAMPERINGS)
@settings(max_examples=3, deadline=None)
@given(ends=two_ends, chance=chances)
def test_whatever_is_changed_is_found(name: str, ends: list[int], chance: Random) -> None:
    check_found(name, ends, chance)


@pytest.mark.long
@pytest.mark.parametrize("name", TAMPERINGS)
@settings(max_examples=8, deadline=None)
@given(ends=two_ends, chance=chances)
def test_wherever_it_is_changed_it_is_found(name: str, ends: list[int], chance: Random) -> None:
    check_found(name, ends, chance)


def check_found(name: str, ends: list[int], chance: Random) -> None:
    """Tamper with a run that is whole, and see that its verification tells."""
    with written() as store:
        whole = store.archive.verify(RUN)
        assert (whole.ok, whole.problem) == (True, None)
        assert whole.events == store.archive.run(RUN).events >= EVENTS
        before = dump_of(store)
        TAMPERINGS[name](store, ends[0], ends[1], chance)
        assert dump_of(store) != before
        found = store.archive.verify(RUN)
        assert not found.ok
        assert found.problem


def dump_of(store: Store) -> list[str]:
    return list(store.writer.connection.iterdump())


def test_a_history_without_its_beginning_is_found() -> None:
    with pytest.raises(StateError, match="beginning"):
        Replay(RUN).expected_run()


def test_verification_tells_of_a_run_without_events() -> None:
    with written() as store:
        store.writer.execute("DELETE FROM events")
        found = store.archive.verify(RUN)
    assert (found.ok, found.events) == (False, 0)
    assert "beginning" in (found.problem or "")


def test_times_are_utc() -> None:
    with written() as store:
        at = next(iter(store.archive.events(RUN))).at
    assert at.utcoffset() == timedelta(0)
