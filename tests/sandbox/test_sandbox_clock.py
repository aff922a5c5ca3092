"""The org's clock: all that tells time follows it, and it can be moved from outside."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import Reply, app_path, keys_path, opened

DAY = 24 * 3600
CLOCK = "/sandbox/clock"
WELL_KNOWN = "/.well-known/okta-organization"


def date_of(reply: Reply) -> float:
    return parsedate_to_datetime(reply.headers["Date"]).timestamp()


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_everything_follows_a_clock_that_is_moved_while_it_is_served() -> None:
    org = SandboxOrg()
    app = org.add_app()
    scarce = LimitSettings(org_limits={"apps": 2}, share=1.0)
    async with opened(org, limits=scarce) as peer:
        first = await peer.get(keys_path(app.id))
        await peer.get(keys_path(app.id))
        spent = await peer.get(keys_path(app.id))
        org.advance(3 * DAY)
        made = await peer.post(f"{keys_path(app.id)}/generate?validityYears=2")
        updated = (await peer.put(app_path(app.id), app.document())).json()
        (generated, *_) = (await peer.get("/api/v1/logs")).json()
    then = date_of(first) + 3 * DAY
    assert (spent.status, made.status) == (429, 201)
    assert made.rate[2] - date_of(made) == 60, "the window is a new one"
    times = [
        date_of(made),
        seconds_of(made.json()["created"]),
        seconds_of(updated["lastUpdated"]),
        seconds_of(generated["published"]),
        org.epoch(),
    ]
    assert [abs(time - then) < 5 for time in times] == [True] * len(times)


async def test_the_clock_is_moved_from_outside() -> None:
    org = SandboxOrg()
    before = org.epoch()
    async with opened(org) as peer:
        anonymous = {"Authorization": ""}
        moved = await peer.post(f"{CLOCK}?advance={14 * DAY}", headers=anonymous)
        half = await peer.post(f"{CLOCK}?advance=0.5", headers=anonymous)
        date = date_of(await peer.get(WELL_KNOWN))
    assert (moved.status, list(moved.json())) == (200, ["now"])
    for seen in (seconds_of(moved.json()["now"]), seconds_of(half.json()["now"]), date):
        assert abs(seen - before - 14 * DAY) < 5
    assert moved.headers["Content-Type"].startswith("application/json")


async def test_moving_the_clock_is_no_call_of_the_api() -> None:
    org = SandboxOrg()
    async with opened(org, limits=LimitSettings(concurrency=1)) as peer:
        for _ in range(3):
            await peer.post(f"{CLOCK}?advance=1")
    assert org.log == []
    assert org.system_log.events == []


@pytest.mark.parametrize(
    "query",
    ["", "?advance=", "?advance=-1", "?advance=nan", "?advance=inf", "?advance=1e99",
     "?advance=soon", "?forward=5"],
)  # fmt: skip
async def test_nonsense_does_not_move_the_clock(query: str) -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        reply = await peer.post(f"{CLOCK}{query}")
    assert reply.status == 400
    assert "seconds" in reply.json()["error"]
    assert org.skew_seconds == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{CLOCK}?advance=5", 405),
        ("POST", "/sandbox/clocks", 404),
        ("GET", "/sandbox", 404),
    ],
)
async def test_there_is_no_other_control(method: str, path: str, status: int) -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        reply = await peer.send(method, path)
    assert reply.status == status
    assert org.skew_seconds == 0


async def test_the_clock_stays_moved_and_the_skew_of_the_settings_comes_on_top() -> None:
    org = SandboxOrg()
    honest = org.epoch()
    org.advance(DAY)
    dates = []
    for skew in (0.0, -900.0):
        async with opened(org, limits=LimitSettings(clock_skew_seconds=skew)) as peer:
            dates.append(date_of(await peer.get(WELL_KNOWN)) - honest)
            org.advance(DAY)
    assert dates == pytest.approx([DAY, 2 * DAY - 900], abs=5)


async def test_anybody_may_ask_what_org_it_is_and_what_time_as_often_as_they_like() -> None:
    org = SandboxOrg()
    scarce: dict[str, Any] = {"org_limits": {"v1": 1, "apps": 1}, "share": 1.0}
    async with opened(org, limits=LimitSettings(**scarce)) as peer:
        replies = [await peer.get(WELL_KNOWN, headers={"Authorization": ""}) for _ in range(5)]
    for reply in replies:
        assert reply.status == 200
        assert abs(date_of(reply) - org.epoch()) < 5
        assert "X-Rate-Limit-Limit" not in reply.headers
    assert {call.bucket for call in org.log} == {None}
