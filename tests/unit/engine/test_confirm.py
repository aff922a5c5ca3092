"""Which edits by others our own writes have undone, as the System Log tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.confirm import Edit, overwritten, unlogged
from orchestrator.engine.keys import CLOCK_SLACK
from orchestrator.model import Activation, ActivationState, AppId, Evidence, Kid, Proof, Target
from orchestrator.okta.objects import LogActor, LogEvent, LogOutcome, LogTarget, LogTransaction

APP, OTHER = AppId("0oa1"), AppId("0oa2")
READ = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC)  # `lastUpdated`, as we read it
WRITTEN = READ + timedelta(seconds=10)
RECORDED = READ + timedelta(seconds=12)
MILLI = timedelta(milliseconds=1)


def activation(app: AppId = APP, **fields: object) -> Activation:
    plain = Activation(
        target=Target(job="job", app=app),
        kid=Kid("kid-new"),
        wave=1,
        state=ActivationState.ACTIVATED,
        detail="",
        last_updated="2026-10-01T12:00:00.000Z",
        evidence=Evidence(request_ids=("req-read", "req-write")),
        at=RECORDED,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]  # the tests name what they change


def event(
    at: datetime | str | None, request_id: str | None = "req-admin", **fields: object
) -> LogEvent:
    plain: dict[str, object] = {
        "published": at.isoformat() if isinstance(at, datetime) else at,
        "actor": LogActor(id="00u1", alternate_id="ann@example.com"),
        "target": [LogTarget(id=APP, type="AppInstance")],
        "transaction": LogTransaction(id=request_id),
    }
    return LogEvent(**(plain | fields))  # type: ignore[arg-type]  # the tests name what they change


OURS = event(WRITTEN, "req-write")


def found(*events: LogEvent, of: Activation | None = None) -> list[datetime]:
    activations = {APP: of or activation()}
    return [edit.at for edit in overwritten(events, activations)]


def test_an_edit_between_our_read_and_our_write_is_found_with_who_did_it() -> None:
    at = READ + timedelta(seconds=3)
    assert overwritten([event(at), OURS], {APP: activation()}) == [
        Edit(app=APP, at=at, who="ann@example.com", request_id="req-admin")
    ]


@pytest.mark.parametrize(
    ("after_the_read", "is_lost"),
    [
        (timedelta(seconds=-1), False),
        (timedelta(0), False),
        (timedelta(milliseconds=999), False),  # it may be the very edit that `lastUpdated` tells of
        (timedelta(seconds=1), True),
        (timedelta(seconds=10) - MILLI, True),
        (timedelta(seconds=10), True),  # together with our write: nobody knows which came first
        (timedelta(seconds=10) + MILLI, False),
    ],
    ids=str,
)
def test_only_what_our_read_did_not_show_and_our_write_came_after_is_lost(
    after_the_read: timedelta, is_lost: bool
) -> None:
    at = READ + after_the_read
    assert found(event(at), OURS) == ([at] if is_lost else [])


def test_what_we_did_ourselves_is_no_edit_of_others() -> None:
    assert found(event(READ + timedelta(seconds=5), "req-read"), OURS) == []
    assert found(event(READ + timedelta(seconds=5), "req-write"), OURS) == []


def test_where_the_log_lags_behind_our_own_record_says_when_we_wrote() -> None:
    at = RECORDED - MILLI
    assert found(event(at)) == [at]
    assert found(event(RECORDED + MILLI)) == []
    assert found(event(at), OURS) == [], "our event says that it came before"


def test_of_several_writes_of_ours_the_last_counts() -> None:
    """The first answer was lost, and the write was sent again."""
    again = event(WRITTEN + timedelta(seconds=5), "req-read")
    at = WRITTEN + timedelta(seconds=2)
    assert found(OURS, event(at), again) == [at]


@pytest.mark.parametrize(
    "of",
    [
        activation(last_updated=None),
        activation(last_updated="yesterday"),
        activation(last_updated=""),
    ],
)
def test_without_knowing_what_we_read_nothing_is_claimed(of: Activation) -> None:
    assert found(event(READ + timedelta(seconds=3)), OURS, of=of) == []


def test_without_knowing_when_we_wrote_nothing_is_claimed() -> None:
    at = READ + timedelta(seconds=3)
    assert found(event(at), of=activation(at=None)) == []
    assert found(event(at), OURS, of=activation(at=None)) == [at]


def test_a_time_without_a_zone_is_in_utc_as_all_of_oktas_are() -> None:
    of = activation(last_updated="2026-10-01T12:00:00")
    assert found(event("2026-10-01T12:00:03"), OURS, of=of) == [READ + timedelta(seconds=3)]


@pytest.mark.parametrize("at", [None, "", "soon"])
def test_an_event_at_no_readable_time_says_nothing(at: str | None) -> None:
    assert found(event(at), OURS) == []


def test_an_edit_that_failed_has_undone_nothing() -> None:
    at = READ + timedelta(seconds=3)
    assert found(event(at, outcome=LogOutcome(result="FAILURE")), OURS) == []
    assert found(event(at, outcome=LogOutcome(result="SUCCESS")), OURS) == [at]
    assert found(event(at, outcome=LogOutcome()), OURS) == [at]


@pytest.mark.parametrize(
    ("actor", "who"),
    [
        (None, "somebody"),
        (LogActor(), "somebody"),
        (LogActor(id="00u1"), "00u1"),
        (LogActor(id="00u1", alternate_id="ann@example.com"), "ann@example.com"),
    ],
)
def test_who_it_was_is_told_as_well_as_it_is_known(actor: LogActor | None, who: str) -> None:
    events = [event(READ + timedelta(seconds=3), None, actor=actor, transaction=None), OURS]
    [edit] = overwritten(events, {APP: activation()})
    assert (edit.who, edit.request_id) == (who, "unknown")


def test_other_targets_and_events_without_any_are_nothing_to_us() -> None:
    at = READ + timedelta(seconds=3)
    strangers: list[Sequence[LogTarget] | None] = [None, [], [LogTarget()], [LogTarget(id=OTHER)]]
    for target in strangers:
        assert found(event(at, target=target), OURS) == []


def test_one_event_may_concern_several_targets() -> None:
    at = READ + timedelta(seconds=3)
    both = [LogTarget(id=OTHER), LogTarget(id=APP)]
    activations = {APP: activation(), OTHER: activation(OTHER)}
    edits = overwritten([event(at, target=both)], activations)
    assert {edit.app for edit in edits} == {APP, OTHER}


def test_of_several_edits_of_a_target_the_first_is_told_in_whatever_order_they_come() -> None:
    first, second = READ + timedelta(seconds=3), READ + timedelta(seconds=6)
    events = [event(first), event(second, "req-other"), OURS]
    for order in permutations(events):
        assert found(*order) == [first]


seconds = st.integers(-4, 14).map(lambda number: READ + timedelta(seconds=number))
others = st.builds(
    event,
    seconds,
    st.sampled_from(["req-1", "req-2", None]),
    target=st.sampled_from([APP, OTHER, AppId("0oa3")]).map(lambda app: [LogTarget(id=app)]),
)


@given(
    edits=st.lists(others, max_size=6),
    written=st.dictionaries(st.sampled_from([APP, OTHER]), seconds),
    data=st.data(),
)
def test_each_target_is_told_of_exactly_if_there_is_such_an_edit(
    edits: list[LogEvent], written: Mapping[AppId, datetime], data: st.DataObject
) -> None:
    activations = {APP: activation(), OTHER: activation(OTHER)}
    ours = [
        event(at, "req-write", target=[LogTarget(id=app)]) for app, at in sorted(written.items())
    ]
    told = overwritten(data.draw(st.permutations([*edits, *ours])), activations)
    assert len({edit.app for edit in told}) == len(told)
    for app in activations:
        until = written.get(app, RECORDED)
        lost = [
            at
            for edit in edits
            if app in edit.target_ids and (at := edit.published_at) and READ < at <= until
        ]
        assert [edit.at for edit in told if edit.app == app] == sorted(lost)[:1]
    assert set(told) == set(overwritten([*ours, *edits], activations))


LOST = activation(
    proof=Proof.READ, previous_kid=Kid("kid-old"), evidence=Evidence(request_ids=("req-read",))
)  # the answer to our write never came, so its request id is not known
ROTATED = event(WRITTEN, "req-write", event_type="app.keys.rotate")
BESIDE = event(WRITTEN, "req-write", event_type="application.lifecycle.update")


def test_a_write_whose_answer_was_lost_is_not_taken_for_an_edit_of_others() -> None:
    assert found(ROTATED, BESIDE) == found(ROTATED, BESIDE, of=LOST) == []
    assert unlogged([ROTATED, BESIDE], {APP: LOST}) == 0


@pytest.mark.parametrize(("after_the_write", "is_lost"), [(-MILLI, True), (MILLI, False)], ids=str)
def test_before_a_write_whose_answer_was_lost_edits_are_found(
    after_the_write: timedelta, is_lost: bool
) -> None:
    at = WRITTEN + after_the_write
    assert found(event(at), ROTATED, BESIDE, of=LOST) == ([at] if is_lost else [])


@pytest.mark.parametrize(
    "shown",
    [
        [],
        [BESIDE],
        [
            event(
                WRITTEN,
                "req-write",
                event_type="app.keys.rotate",
                outcome=LogOutcome(result="FAILURE"),
            )
        ],
        [event(RECORDED + CLOCK_SLACK + MILLI, "req-late", event_type="app.keys.rotate")],
    ],
    ids=["nothing", "another event", "a failure", "a later one"],
)
def test_a_write_whose_answer_was_lost_is_said_to_be_missing_where_the_log_does_not_show_it(
    shown: list[LogEvent],
) -> None:
    at = READ + timedelta(seconds=3)
    assert found(event(at), *shown, of=LOST) == []
    assert unlogged([event(at), *shown], {APP: LOST}) == 1


def test_of_several_writes_whose_answers_were_lost_the_last_is_ours() -> None:
    """Whoever set the key before us is told of: the key was another then."""
    earlier = event(READ + timedelta(seconds=5), "req-admin", event_type="app.keys.rotate")
    for order in permutations([earlier, ROTATED, BESIDE]):
        assert found(*order, of=LOST) == [READ + timedelta(seconds=5)]
