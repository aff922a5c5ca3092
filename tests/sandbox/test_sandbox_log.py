"""The System Log over real sockets: what is in it, and how it is read."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sandbox.editor import edit
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.logsearch import FilterReader
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.refusals import Refusal
from tests.sandbox.authority import der_of, issued
from tests.sandbox.peer import Peer, active_kid, app_path, csrs_path, idp_path, keys_path, opened
from tests.sandbox.test_sandbox_apps import next_link

LOGS = "/api/v1/logs"
CLONED, ROTATED = "app.keys.clone", "app.keys.rotate"
UPDATED = "application.lifecycle.update"


async def events(peer: Peer, **query: str) -> list[Any]:
    reply = await peer.get(LOGS, query=query)
    assert reply.status == 200, reply.body
    found: list[Any] = reply.json()
    return found


def types(found: list[Any]) -> list[str]:
    return [event["eventType"] for event in found]


async def test_every_deed_leaves_its_event_with_the_id_of_the_call() -> None:
    org = SandboxOrg()
    app, target = org.add_app(label="Source"), org.add_app(label="Target")
    async with opened(org) as peer:
        made = await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        kid = made.json()["kid"]
        cloned = await peer.clone(app, kid, target.id)
        await peer.clone(app, kid, target.id)  # refused: leaves nothing
        activated = await peer.activate(target, kid)
        off = await peer.post(f"{app_path(target.id)}/lifecycle/deactivate")
        csr = await peer.post(csrs_path(app), body={"subject": {"commonName": "x"}})
        certificate = der_of(issued(csr.json()["csr"]))
        path = f"{csrs_path(app)}/{csr.json()['id']}/lifecycle/publish"
        kind = {"Content-Type": "application/pkix-cert"}
        published = await peer.post(path, data=certificate, headers=kind)
        other = await peer.post(csrs_path(app), body={"subject": {"commonName": "x"}})
        revoked = await peer.delete(f"{csrs_path(app)}/{other.json()['id']}")
        found = await events(peer)
    expected = [
        ("app.keys.generate", app.id, made),
        (CLONED, target.id, cloned),
        (UPDATED, target.id, activated),
        (ROTATED, target.id, activated),
        ("application.lifecycle.deactivate", target.id, off),
        ("app.app_instance.csr.generate", app.id, csr),
        ("app.app_instance.csr.publish", app.id, published),
        ("app.app_instance.csr.generate", app.id, other),
        ("app.app_instance.csr.revoke", app.id, revoked),
    ]
    assert [
        (event["eventType"], event["target"][0]["id"], event["transaction"]["id"])
        for event in found
    ] == [(kind, holder, r.headers["X-Okta-Request-Id"]) for kind, holder, r in expected]
    assert {event["target"][0]["type"] for event in found} == {"AppInstance"}
    assert found[1]["target"][0]["displayName"] == "Target"
    assert {event["outcome"]["result"] for event in found} == {"SUCCESS"}
    assert found[1]["debugContext"]["debugData"]["kid"] == kid


async def test_an_event_says_who_when_and_in_which_request() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org) as peer:
        reply = await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        (event,) = await events(peer)
    published = datetime.fromisoformat(event["published"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["published"])
    assert abs(published.timestamp() - org.epoch()) < 5
    assert uuid.UUID(event["uuid"]).version == 4
    assert event["actor"]["id"] == org.caller.id
    assert event["actor"]["type"] == "User"
    assert "@" in event["actor"]["alternateId"]
    assert event["transaction"]["detail"] == {"requestApiTokenId": org.caller.token_id}
    assert org.log[0].request_id == event["transaction"]["id"]
    assert event["debugContext"]["debugData"]["requestId"] == reply.headers["X-Okta-Request-Id"]
    assert org.token not in str(event)


async def test_a_put_that_keeps_the_key_rotates_nothing() -> None:
    org = SandboxOrg()
    app, idp = org.add_app(label="Old"), org.add_idp()
    async with opened(org) as peer:
        await peer.put(app_path(app.id), app.document() | {"label": "New"})
        await peer.put(idp_path(idp.id), idp.document())
        found = await events(peer)
    assert types(found) == [UPDATED, "system.idp.lifecycle.update"]
    details = found[0]["target"][0]["changeDetails"]
    assert (details["from"]["label"], details["to"]["label"]) == ("Old", "New")
    assert found[0]["target"][0]["displayName"] == "New"


async def test_a_call_whose_answer_is_lost_is_in_the_log_all_the_same() -> None:
    org = SandboxOrg()
    app = org.add_app()
    lost = Fault(kind="gateway", when="after", on="generate", times=1)
    undone = Fault(kind="gateway", when="before", on="generate")
    async with opened(org, faults=FaultScript.of([lost, undone])) as peer:
        for _ in range(2):
            await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        found = await events(peer)
    assert types(found) == ["app.keys.generate"]
    assert found[0]["transaction"]["id"] == org.log[0].request_id


async def test_other_people_act_in_requests_of_their_own() -> None:
    org = SandboxOrg()
    app = org.add_app()
    kid = org.add_key(app.id)
    edit(org, app, "label")
    edit(org, app, "kid")
    org.update_app(app.id, app.document())
    async with opened(org) as peer:
        await peer.activate(app, kid)
        found = await events(peer)
    assert types(found) == [UPDATED, UPDATED, ROTATED, UPDATED, UPDATED]
    actors = [event["actor"]["id"] for event in found]
    assert actors == [org.administrator.id] * 4 + [org.caller.id]
    assert org.administrator.id != org.caller.id
    transactions = [event["transaction"]["id"] for event in found]
    assert transactions[1] == transactions[2]
    assert len(set(transactions)) == 4
    assert "requestApiTokenId" not in found[0]["transaction"]["detail"]


def test_seeding_is_no_event() -> None:
    org = SandboxOrg()
    org.add_key(org.add_app(kids=["a" * 43]).id)
    org.add_idp()
    assert org.system_log.events == []


# Reading


async def history(peer: Peer, number: int) -> list[str]:
    """Clone one key into so many apps, a minute after each other; return the targets."""
    org = peer.org
    source = org.add_app()
    targets = [org.add_app().id for _ in range(number)]
    for target in targets:
        await peer.clone(source, active_kid(source), target)
        org.advance(60)
    return targets


def targets_of(found: list[Any]) -> list[str]:
    return [event["target"][0]["id"] for event in found]


async def followed(peer: Peer, **query: str) -> list[list[str]]:
    """Read page by page until there is no next link or nothing on the page."""
    reply = await peer.get(LOGS, query=query)
    found = [targets_of(reply.json())]
    following = next_link(reply)
    while following is not None and found[-1]:
        reply = await peer.get(following)
        found.append(targets_of(reply.json()))
        following = next_link(reply)
    return found


async def test_a_bounded_query_is_paged_to_its_end() -> None:
    async with opened(SandboxOrg()) as peer:
        targets = await history(peer, 5)
        until = datetime.fromtimestamp(peer.org.epoch(), UTC).isoformat()
        up = await followed(peer, until=until, limit="2")
        down = await followed(peer, until=until, limit="2", sortOrder="DESCENDING")
    assert up == [targets[:2], targets[2:4], targets[4:]]
    assert down == [targets[4:2:-1], targets[2:0:-1], targets[:1]]


async def test_a_query_without_an_end_can_be_followed_for_ever() -> None:
    async with opened(SandboxOrg()) as peer:
        first = await peer.get(LOGS, query={"filter": f'eventType eq "{CLONED}"'})
        following = next_link(first)
        assert (first.json(), following is None) == ([], False)
        assert following is not None
        targets = await history(peer, 3)
        second = await peer.get(following)
        following = next_link(second)
        assert following is not None
        third = await peer.get(following)
        more = await history(peer, 1)
        following = next_link(third)
        assert following is not None
        fourth = await peer.get(following)
    assert targets_of(second.json()) == targets
    assert third.json() == []
    assert targets_of(fourth.json()) == more


async def test_since_is_included_and_until_is_not() -> None:
    async with opened(SandboxOrg()) as peer:
        targets = await history(peer, 4)
        times = [event["published"] for event in await events(peer)]
        middle = await events(peer, since=times[1], until=times[3])
    assert targets_of(middle) == targets[1:3]


async def test_without_since_the_log_goes_back_seven_days() -> None:
    async with opened(SandboxOrg()) as peer:
        targets = await history(peer, 2)
        (first, _) = await events(peer)
        peer.org.advance(7 * 24 * 3600 - 90)
        recent = await events(peer)
        everything = await events(peer, since=first["published"])
    assert targets_of(recent) == targets[1:]
    assert targets_of(everything) == targets


async def test_filters_are_joined() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        first, second, third = await history(peer, 3)
        kid = org.add_key(first)
        reply = await peer.activate(org.apps[first], kid)
        both = f'target.id eq "{first}" and eventType eq "{CLONED}"'
        texts = {
            f'eventType eq "{CLONED}"': [first, second, third],
            f'eventType eq "{CLONED}" or eventType eq "{ROTATED}"': [first, second, third, first],
            both: [first],
            f'{both} or target.id eq "{third}"': [first, third],
            f'eventType eq "{CLONED}" and (target.id eq "{third}" or target.id eq "{second}")': [
                second,
                third,
            ],
            f"(({both}))": [first],
            f'EVENTTYPE EQ "{ROTATED}"': [first],
            f'transaction.id eq "{reply.headers["X-Okta-Request-Id"]}"': [first, first],
            'eventType eq "no.such"': [],
        }
        for text, expected in texts.items():
            assert targets_of(await events(peer, filter=text)) == expected, text
        worded = await events(peer, q=f"ROTATE {first}")
    assert types(worded) == [ROTATED]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"filter": 'eventType sw "app"'}, "E0000031"),
        ({"filter": 'published gt "2020"'}, "E0000031"),
        ({"filter": "eventType eq app"}, "E0000031"),
        ({"filter": 'eventType eq "x" and'}, "E0000031"),
        ({"filter": '(eventType eq "x"'}, "E0000031"),
        ({"filter": 'eventType eq "x")'}, "E0000031"),
        ({"filter": 'eventType eq "x" eventType eq "y"'}, "E0000031"),
        ({"filter": "((((((((((((((((((((((((("}, "E0000031"),
        ({"filter": ""}, "E0000031"),
        ({"filter": "§"}, "E0000031"),
        ({"since": "yesterday"}, "E0000001"),
        ({"until": ""}, "E0000001"),
        ({"limit": "1001"}, "E0000001"),
        ({"limit": "00000100000000000000001"}, "E0000001"),
        ({"sortOrder": "UP"}, "E0000001"),
        ({"after": "nonsense"}, "E0000029"),
    ],
)
async def test_a_bad_query_is_refused(query: dict[str, str], code: str) -> None:
    async with opened(SandboxOrg()) as peer:
        reply = await peer.get(LOGS, query=query)
    assert (reply.status, reply.json()["errorCode"]) == (400, code)


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00Z", "2020-01-01", "9999-12-31T23:59:59Z"])
async def test_any_time_is_understood(until: str) -> None:
    async with opened(SandboxOrg()) as peer:
        assert await events(peer, until=until) == []


@given(st.text(alphabet='()"ae qnodrtigev.T§1', max_size=40))
def test_any_filter_is_read_or_refused(text: str) -> None:
    with suppress(Refusal):
        assert callable(FilterReader(text).whole())


async def test_a_page_has_a_hundred_events_unless_more_are_asked_for() -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        await history(peer, 120)
        until = (datetime.fromtimestamp(org.epoch(), UTC) + timedelta(days=1)).isoformat()
        sizes = [
            len(await events(peer, until=until)),
            len(await events(peer, until=until, limit="1000")),
            len(await events(peer, until=until, limit="0")),
        ]
    assert sizes == [100, 120, 0]


async def test_a_lagging_log_shows_events_later_with_the_time_they_happened() -> None:
    org = SandboxOrg()
    app = org.add_app()
    org.log_lag_seconds = 30
    async with opened(org) as peer:
        await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        happened = org.epoch()
        early = await peer.get(LOGS)
        following = next_link(early)
        assert (early.json(), following is None) == ([], False)
        org.advance(31)
        assert following is not None
        late = (await peer.get(following)).json()
    assert len(late) == 1
    assert abs(datetime.fromisoformat(late[0]["published"]).timestamp() - happened) < 2


async def test_the_log_can_be_closed_and_has_a_bucket_of_its_own() -> None:
    org = SandboxOrg()
    org.log_readable = False
    async with opened(org) as peer:
        closed = await peer.get(LOGS)
        org.log_readable = True
        opened_again = await peer.get(LOGS)
        anonymous = await peer.get(LOGS, headers={"Authorization": ""})
    assert (closed.status, closed.json()["errorCode"]) == (403, "E0000006")
    assert (opened_again.status, anonymous.status) == (200, 401)
    assert [call.bucket for call in org.log] == ["logs", "logs", None]
