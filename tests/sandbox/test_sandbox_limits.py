"""Rate limits over real sockets: headers, windows, the share, the cap, other consumers."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from itertools import pairwise

from orchestrator.sandbox.limits import LimitSettings, Rival
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import app_path, keys_path, opened


def date_of(text: str) -> int:
    return int(parsedate_to_datetime(text).timestamp())


async def test_the_first_call_opens_a_window_and_shows_the_principals_half() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org, limits=LimitSettings()) as peer:
        listed = await peer.get(keys_path(app.id))
        read = await peer.get(app_path(app.id))
        again = await peer.get(app_path(app.id))
    assert listed.rate[:2] == (50, 49)
    assert read.rate[:2] == (250, 249)
    assert again.rate == (250, 248, read.rate[2])
    assert listed.rate[2] - date_of(listed.headers["Date"]) == 60


async def test_a_spent_window_refuses_and_the_next_one_starts_full() -> None:
    org = SandboxOrg()
    app = org.add_app()
    limits = LimitSettings(org_limits={"apps": 6}, window_seconds=0.8)
    async with opened(org, limits=limits) as peer:
        replies = [await peer.get(keys_path(app.id)) for _ in range(5)]
        await asyncio.sleep(0.85)
        fresh = await peer.get(keys_path(app.id))
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.rate[1] for reply in replies] == [2, 1, 0, 0, 0]
    assert len({reply.rate[2] for reply in replies}) == 1
    assert replies[3].json()["errorCode"] == "E0000047"
    assert fresh.rate[:2] == (3, 2)
    assert [call.bucket for call in org.log] == ["apps"] * 6


async def test_refused_calls_cost_quota_and_reads_writes_and_keys_count_apart() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org, limits=LimitSettings()) as peer:
        await peer.get(f"{keys_path(app.id)}/{'x' * 43}")
        await peer.post(f"{keys_path(app.id)}/generate")
        listed = await peer.get(keys_path(app.id))
        written = await peer.put(app_path(app.id), {"label": "x"})
        read = await peer.get(app_path(app.id))
    assert (listed.rate[1], written.rate[1], read.rate[1]) == (47, 249, 249)


async def test_too_many_calls_at_once_get_zeros_and_cost_nothing() -> None:
    org = SandboxOrg()
    app = org.add_app()
    limits = LimitSettings(concurrency=4, latency_seconds=(0.3, 0.3))
    async with opened(org, limits=limits) as peer:
        calls = (peer.get(keys_path(app.id)) for _ in range(5))
        replies = await asyncio.gather(*calls)
        after = await peer.get(keys_path(app.id))
    refused = [reply for reply in replies if reply.status == 429]
    assert len(refused) == 3
    assert {reply.rate[:2] for reply in refused} == {(0, 0)}
    assert all(reply.rate[2] > date_of(reply.headers["Date"]) for reply in refused)
    assert after.rate[:2] == (50, 47)


async def test_switched_off_limits_leave_no_header() -> None:
    org = SandboxOrg()
    app = org.add_app()
    async with opened(org, limits=LimitSettings(enabled=False)) as peer:
        replies = await asyncio.gather(*(peer.get(keys_path(app.id)) for _ in range(120)))
    assert {reply.status for reply in replies} == {200}
    assert not any("X-Rate-Limit-Limit" in reply.headers for reply in replies)


async def test_a_skewed_server_clock_shows_in_every_time() -> None:
    org = SandboxOrg()
    app = org.add_app()
    honest = org.epoch()
    async with opened(org, limits=LimitSettings(clock_skew_seconds=-900)) as peer:
        reply = await peer.get(keys_path(app.id))
    assert abs(date_of(reply.headers["Date"]) - (honest - 900)) < 5
    assert reply.rate[2] - date_of(reply.headers["Date"]) == 60


async def test_a_rival_eats_the_same_counter() -> None:
    org = SandboxOrg(seed=4)
    app = org.add_app()
    limits = LimitSettings(
        org_limits={"apps": 2000}, share=1, window_seconds=1.0, rival=Rival(share=0.8, burst=9)
    )
    async with opened(org, limits=limits) as peer:
        replies = []
        for _ in range(30):
            replies.append(await peer.get(keys_path(app.id)))
            await asyncio.sleep(0.01)
    drops = [a.rate[1] - b.rate[1] for a, b in pairwise(replies) if a.rate[2] == b.rate[2]]
    assert max(drops) > 1
    assert {reply.status for reply in replies} == {200}
