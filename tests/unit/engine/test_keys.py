"""Which key is the newest, which one a lost call has made, and when each was last about to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.keys import (
    CSR_CREATED,
    CSR_INTENDED,
    KEY_INTENDED,
    MadeKey,
    adoptable,
    created_at,
    intents_of,
    judge_generated,
    newest_of,
)
from orchestrator.engine.staging import Verdict
from orchestrator.model import AppId, Proof, Reason, Resource, Status
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.wire import JsonWebKey, Refusal, Reply, SigningRequest
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.store.base import EventKind, EventRecord

ORG = SandboxOrg(seed=3)
APP = AppId(ORG.add_app().id)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
YEARS = range(2, 11)


def made(years: int) -> JsonWebKey:
    kid = ORG.add_key(APP, validity_years=years)
    return msgspec.convert(ORG.get_key(APP, kid), JsonWebKey)


OF_YEARS = {years: made(years) for years in YEARS}
KEY = OF_YEARS[2]


def key(created: datetime | str | None = NOON, years: int = 2, **fields: object) -> JsonWebKey:
    text = created.isoformat() if isinstance(created, datetime) else created
    return msgspec.structs.replace(OF_YEARS[years], created=text, **fields)


def test_the_key_that_was_made_last_is_the_newest_in_whatever_order() -> None:
    keys = [key(NOON + timedelta(days=day), kid=f"day-{day}") for day in range(3)]
    for order in permutations([*keys, key(None, kid="undated"), key("soon", kid="unreadable")]):
        assert newest_of(order) == "day-2"


@pytest.mark.parametrize("keys", [[], [key(kid=None)], [key(kid="")]])
def test_where_no_key_has_a_name_there_is_no_newest(keys: Sequence[JsonWebKey]) -> None:
    assert newest_of(keys) is None


def test_keys_without_a_date_are_keys_all_the_same() -> None:
    assert newest_of([key(None, kid="undated")]) == "undated"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-01T12:00:00.000Z", NOON),
        ("2026-10-01T12:00:00", NOON),
        ("2026-10-01T14:00:00+02:00", NOON),
        ("soon", datetime.min.replace(tzinfo=UTC)),
        ("", datetime.min.replace(tzinfo=UTC)),
        (None, datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_date_is_read_in_utc(text: str | None, moment: datetime) -> None:
    assert created_at(key(text)) == moment
    assert created_at(SigningRequest(id="csr", created=text)) == moment


def test_only_what_is_new_can_have_been_made_by_us() -> None:
    since = NOON + timedelta(milliseconds=900)  # Okta's dates are whole seconds, rounded down
    before, same, after = (key(NOON + timedelta(seconds=n), kid=f"k{n}") for n in (-1, 0, 1))
    assert adoptable([after, before, same], since, 2) == [after, same]


@pytest.mark.parametrize("years", YEARS)
def test_only_a_key_of_the_validity_that_was_asked_for_can_be_ours(years: int) -> None:
    keys = [key(years=each) for each in YEARS]
    assert adoptable(keys, NOON, years) == [key(years=years)]


@pytest.mark.parametrize(
    "spoiled",
    [
        key(kid=None),
        key(kid=""),
        key(x5c=[]),
        key(x5c=["AAAA"]),
        key(x5t_s256=OF_YEARS[3].x5t_s256),
        key(None),
        key("soon"),
    ],
    ids=["no kid", "empty kid", "no x5c", "no certificate", "thumbprint", "no date", "bad date"],
)
def test_a_key_that_cannot_be_told_for_sure_is_not_adopted(spoiled: JsonWebKey) -> None:
    assert adoptable([spoiled], NOON, 2) == []


def test_of_several_new_keys_none_is_preferred() -> None:
    keys = [key(NOON + timedelta(seconds=n), kid=f"k{n}") for n in range(3)]
    assert adoptable(keys, NOON, 2) == keys


offsets = st.integers(-3_000, 3_000).map(lambda number: timedelta(milliseconds=number))
seconds = st.integers(-3, 3).map(lambda number: timedelta(seconds=number))
drawn = st.lists(st.tuples(seconds, st.sampled_from(YEARS)), max_size=6)


@given(drawn=drawn, offset=offsets, years=st.sampled_from(YEARS))
def test_what_is_adopted_is_new_and_of_the_right_validity_and_nothing_else_is(
    drawn: list[tuple[timedelta, int]], offset: timedelta, years: int
) -> None:
    since = NOON + offset
    keys = [key(NOON + at, of, kid=f"k{n}") for n, (at, of) in enumerate(drawn)]
    second = since - timedelta(microseconds=since.microsecond)
    ours = [f"k{n}" for n, (at, of) in enumerate(drawn) if NOON + at >= second and of == years]
    assert [each.kid for each in adoptable(keys, since, years)] == ours


def location(app: str = APP, kid: str | None = KEY.kid, kind: str = "apps") -> str:
    return f"https://acme.okta.com/api/v1/{kind}/{app}/credentials/keys/{kid}"


def generated(
    value: JsonWebKey | None = KEY, at: str | None = location()
) -> MadeKey | Verdict | None:
    return judge_generated(Reply(status=201, value=value, location=at), APP, Resource.APP)


def test_an_answer_that_holds_the_key_it_names_proves_it() -> None:
    found = generated()
    assert isinstance(found, MadeKey)
    assert (found.proof, found.adopted) == (Proof.RESPONSE, False)
    assert found.source.ref.app == APP
    assert found.source.ref.kid == KEY.kid
    assert found.source.certificate == certificate_of(KEY)


def test_an_identity_provider_gets_a_key_of_its_own_kind() -> None:
    reply = Reply(status=201, value=KEY, location=location(kind="idps"))
    found = judge_generated(reply, APP, Resource.IDP)
    assert isinstance(found, MadeKey)
    assert found.source.ref.resource is Resource.IDP


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (None, location()),
        (key(kid=None), location()),
        (key(kid="other"), location()),
        (key(x5c=[]), location()),
        (key(x5c=["AAAA"]), location()),
        (key(x5t_s256=OF_YEARS[3].x5t_s256), location()),
        (KEY, None),
        (KEY, "/"),
        (KEY, location(app="0oaOther")),
        (KEY, location(kid="other")),
    ],
    ids=[
        "no key",
        "no kid",
        "other kid",
        "no x5c",
        "no certificate",
        "other thumbprint",
        "no Location",
        "other Location",
        "other app",
        "Location of another key",
    ],
)
def test_an_answer_that_does_not_is_settled_by_a_list(
    value: JsonWebKey | None, at: str | None
) -> None:
    assert generated(value, at) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, Reason.REJECTED), (403, Reason.FORBIDDEN), (404, Reason.TARGET_NOT_FOUND)],
)
def test_a_refused_generation_is_a_failure_that_says_why(status: int, reason: Reason) -> None:
    refusal = Refusal(status=status, code="E0000001", summary="no", causes=("too many",))
    found = judge_generated(Reply(status=status, refusal=refusal), APP, Resource.APP)
    assert isinstance(found, Verdict)
    assert (found.status, found.reason, found.retryable) == (Status.FAILED, reason, False)
    assert found.causes == ("too many",)


def intent(seq: int, since: object, *, job: object = 0, app: object = APP) -> EventRecord:
    body = {"job": job, "app": app, "since": since}
    return EventRecord(seq=seq, at=NOON, kind=KEY_INTENDED, body=body)


def test_the_last_intent_of_each_key_counts() -> None:
    later = NOON + timedelta(hours=1)
    events = [
        intent(1, NOON.isoformat()),
        intent(2, NOON.isoformat(), app="0oaOther"),
        intent(3, NOON.isoformat(), job=1),
        intent(4, later.isoformat()),
    ]
    assert intents_of(events) == {(0, APP): later, (0, "0oaOther"): NOON, (1, APP): NOON}


@pytest.mark.parametrize(
    "event",
    [
        intent(1, None),
        intent(1, NOON.isoformat(), job="0"),
        intent(1, NOON.isoformat(), app=None),
        replace(intent(1, ""), body={}),
    ],
)
def test_an_event_that_names_no_key_is_no_intent(event: EventRecord) -> None:
    assert intents_of([event]) == {}


def test_intents_are_notes_of_a_kind_of_their_own() -> None:
    kinds = {KEY_INTENDED, CSR_INTENDED, CSR_CREATED}
    assert len(kinds) == 3
    assert not kinds & {kind.value for kind in EventKind}
