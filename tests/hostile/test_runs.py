"""Whole runs against an org that answers for its source and does anything to what follows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from random import Random
from typing import Any

import pytest

from orchestrator.cli.opening import continue_or_create, new_run, this_session
from orchestrator.clock import SystemClock
from orchestrator.engine.result import RunResult, RunSettings, result_of
from orchestrator.engine.run import Run
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.model import AppId, KeyRef, Kid, Proof, Reason, RunId, Status, StopCause
from orchestrator.okta.pacing import ServerClock, WindowGate
from orchestrator.okta.wire import RateHeaders
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.store.sqlite import Store
from tests.hostile.caller import TOKEN, Told, caller
from tests.hostile.deeds import ALL, ELSEWHERE, QUICK, YEAR, says
from tests.hostile.server import Act, Asked, Wire, bystander, hostile
from tests.support import PlainJob

SOURCE = AppId("0oaSourceOfAllKeys00")
TARGETS = [AppId(f"0oaTarget{number:011d}") for number in range(2)]
SOON = 15.0  # seconds, for two targets of a few attempts each
DATE = "Mon, 01 Dec 2025 12:00:00 GMT"
NOW = 1_764_590_400  # the same


def keys() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return two keys of one org with certificates of their own, as Okta shows them."""
    org = SandboxOrg(seed=3)
    app = org.add_app(label="source").id
    kids = [org.add_key(app) for _ in range(2)]
    shown = {each["kid"]: each for each in json.loads(json.dumps(org.list_keys(app)))}
    return shown[kids[0]], shown[kids[1]]


HONEST, OTHER = keys()
REF = KeyRef(app=SOURCE, kid=Kid(HONEST["kid"]))


def org_that(deed: Act, *, headers: tuple[tuple[str, str], ...] = ()) -> Act:
    """Show the source's key, and do the deed to every other call."""

    async def act(asked: Asked, wire: Wire) -> None:
        if f"/{SOURCE}/credentials/keys/{REF.kid}" in asked.target and asked.method == "GET":
            await wire.answer(200, HONEST, headers)
        else:
            await deed(asked, wire)

    return act


async def finish(url: str, **settings: object) -> tuple[RunResult, float]:
    """Run to the end, within a time that no single call may use up."""
    job = PlainJob("job", REF, TARGETS)
    clock, halt, store = SystemClock(), Halt(), Store.memory(clock=SystemClock())
    opened = continue_or_create(store, new_run(RunId("r"), "p", "o", [job], dry_run=False), [job],
                                this_session())  # fmt: skip
    opened.begin(store)
    began = time.monotonic()
    async with (
        store.journal(opened.run_id) as journal,
        caller(url) as api,
        asyncio.timeout(60),
    ):
        given: Mapping[str, object] = {"run_id": RunId("r"), "plan": "p", "org": "o"} | settings
        run = Run(
            RunSettings(**given),  # type: ignore[arg-type]  # tests name what they change
            store.archive.jobs(opened.run_id),
            pending=opened.pending,
            journal=journal,
            api=api,
            clock=clock,
            halt=halt,
            observer=Broadcast([Told()]),
        )
        await run.execute()
    seconds = time.monotonic() - began
    return result_of(
        store.archive, RunId("r"), stop=run.stop_reason, unrecorded=run.unrecorded
    ), seconds


def assert_clear(result: RunResult) -> None:
    """Every target has an outcome that says why, and nothing that is to stay secret."""
    assert {outcome.target.app for outcome in result.outcomes} == set(TARGETS)
    for outcome in result.outcomes:
        assert outcome.status is not Status.PLANNED
        assert outcome.detail
        assert len(outcome.detail) < 5_000
    assert TOKEN not in repr([asdict(outcome) for outcome in result.outcomes])
    assert TOKEN not in repr(result)


CHOSEN = ("gzip bomb", "header flood", "reset within the body", "invalid UTF-8", "no http")


@pytest.mark.parametrize(
    "name", [*CHOSEN, *(pytest.param(each, marks=pytest.mark.long) for each in ALL)]
)
async def test_a_run_ends_and_claims_nothing(name: str) -> None:
    async with hostile(org_that(ALL[name])) as org:
        result, seconds = await finish(org.url)
    assert seconds < SOON
    assert_clear(result)
    assert not any(outcome.status.is_staged for outcome in result.outcomes)


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_run_calls_nobody_else(name: str) -> None:
    async with bystander() as other, hostile(org_that(ELSEWHERE[name](other.url))) as org:
        result, seconds = await finish(org.url)
    assert other.heard == []
    assert seconds < SOON
    assert_clear(result)
    assert not any(outcome.status.is_staged for outcome in result.outcomes)


def cloned(key: Mapping[str, Any], *, at: str = "{self}", app: str = "{target}") -> Act:
    """Claim a clone, with the key and the Location that are given."""

    async def act(asked: Asked, wire: Wire) -> None:
        if asked.method == "GET":
            await wire.answer(404, {"errorCode": "E0000007", "errorSummary": "Not found"})
            return
        target = asked.target.split("targetAid=")[1]
        place = f"{at}/api/v1/apps/{app}/credentials/keys/{key['kid']}"
        await wire.answer(201, key, [("Location", place.replace("{target}", target))])

    return act


LIES: dict[str, tuple[Act, str]] = {
    "wrong kid": (cloned(HONEST | {"kid": "x" * 43}), "the answer holds key"),
    "endless kid": (cloned(HONEST | {"kid": "x" * 3_000}), "the answer holds key"),
    "kid that steers": (cloned(HONEST | {"kid": "\x1b[2J"}), "the answer holds key"),
    "certificate of another key": (
        cloned(HONEST | {"x5c": OTHER["x5c"]}), "not the thumbprint"),
    "all of another certificate": (
        cloned(HONEST | {"x5c": OTHER["x5c"], "x5t#S256": OTHER["x5t#S256"]}),
        "the answer holds the certificate"),
    "thumbprint alone": (cloned(HONEST | {"x5c": []}), "the key is not on the target"),
    "certificate that is none": (cloned(HONEST | {"x5c": ["AAAA"]}), "the org says it cloned"),
    "endless certificate": (cloned(HONEST | {"x5c": ["A" * 100_000]}), "x5c is too large"),
    "Location of another app": (cloned(HONEST, app=SOURCE), "Location names app"),
    "Location that is none": (cloned(HONEST, app="../.."), "the key is not on the target"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_a_failure_that_says_what_it_was(name: str) -> None:
    deed, said = LIES[name]
    async with hostile(org_that(deed)) as org:
        result, _ = await finish(org.url)
    assert_clear(result)
    for outcome in result.outcomes:
        assert outcome.status is Status.FAILED
        assert outcome.reason is Reason.PROOF_MISMATCH
        assert said in outcome.detail


async def test_a_location_on_another_host_is_compared_and_never_called() -> None:
    """Okta names its canonical host there as well."""
    async with bystander() as other, hostile(org_that(cloned(HONEST, at=other.url))) as org:
        result, _ = await finish(org.url)
    assert other.heard == []
    assert [outcome.proof for outcome in result.outcomes] == [Proof.RESPONSE] * 2


def rated(limit: int, remaining: int, reset: int, date: str = DATE) -> tuple[tuple[str, str], ...]:
    return (
        ("Date", date),
        ("X-Rate-Limit-Limit", str(limit)),
        ("X-Rate-Limit-Remaining", str(remaining)),
        ("X-Rate-Limit-Reset", str(reset)),
    )


LIMITS: dict[str, tuple[tuple[str, str], ...]] = {
    "a window of a year": rated(100, 0, NOW + YEAR),
    "a window of all time": rated(1, 0, 10**15 - 1),
    "the year 9999": rated(1, 0, 253_402_300_859, "Fri, 31 Dec 9999 23:59:59 GMT"),
    "the year 1": rated(1, 0, 60, "Mon, 01 Jan 0001 00:00:00 GMT"),
    "a window that has ended": rated(100, 0, NOW - YEAR),
    "numbers beyond all": rated(10**15 - 1, 10**15 - 1, NOW + 60),
    "numbers that are none": (("Date", DATE), ("X-Rate-Limit-Limit", "9" * 5000)),
    "digits of another script": (("Date", DATE), ("X-Rate-Limit-Remaining", "٠١٢")),
}


def honest_with(headers: Callable[[], tuple[tuple[str, str], ...]]) -> Act:
    async def act(asked: Asked, wire: Wire) -> None:
        target = asked.target.split("targetAid=")[-1]
        place = f"/api/v1/apps/{target}/credentials/keys/{REF.kid}"
        await wire.answer(201, HONEST, [("Location", place), *headers()])

    return act


@pytest.mark.parametrize("name", LIMITS)
async def test_no_rate_limit_holds_a_run_for_ever(name: str) -> None:
    headers = LIMITS[name]
    async with hostile(org_that(honest_with(lambda: headers), headers=headers)) as org:
        result, seconds = await finish(org.url)
    assert seconds < SOON
    assert [outcome.status for outcome in result.outcomes] == [Status.CLONED] * 2


def test_a_window_far_ahead_is_forgotten_with_the_clock_that_it_was_on() -> None:
    """An answer from the year 2100 is believed until the next one is of today."""
    gate = WindowGate(ServerClock(), capacity=1.0, random=Random(0))
    ahead = 4_102_444_800
    assert gate.reserve(100.0) == 0.0
    gate.observe(RateHeaders(limit=1, remaining=0, reset=ahead + 60, date=ahead), 200, 100.0, 100.1)
    assert 59 < gate.delay(100.2) < 63
    assert gate.reserve(165.0) == 0.0
    gate.observe(RateHeaders(limit=9, remaining=5, reset=NOW + 60, date=NOW), 200, 165.0, 165.1)
    assert gate.delay(165.2) < 63


async def test_an_org_that_always_limits_is_not_hammered() -> None:
    limited = says(429, {"errorCode": "E0000047"}, rated(10, 0, NOW - 5))
    async with hostile(org_that(limited)) as org:
        result, seconds = await finish(org.url)
    assert seconds < SOON
    assert_clear(result)
    assert len(org.asked) <= 1 + 2 * 2 * 2  # the source; two tries of a clone and of its read


async def test_what_an_org_says_of_itself_is_cut_and_kept() -> None:
    error = {
        "errorCode": "E" * 9_000,
        "errorSummary": "s" * 9_000,
        "errorCauses": [{"errorSummary": "\x1b[31m" + "c" * 9_000}] * 20,
    }
    headers = [("X-Okta-Request-Id", "r" * 8_000)]
    async with hostile(org_that(says(403, error, headers))) as org:
        result, _ = await finish(org.url)
    for outcome in result.outcomes:
        assert outcome.reason is Reason.FORBIDDEN
        assert len(json.dumps(asdict(outcome.evidence))) < 60_000
        assert outcome.evidence.request_ids == ()


async def test_a_run_that_is_refused_everything_stops() -> None:
    async with hostile(org_that(QUICK["endless body of a refusal"])) as org:
        result, _ = await finish(org.url)
    assert all(outcome.status is Status.FAILED for outcome in result.outcomes)
    async with hostile(org_that(says(401, {"errorCode": "E0000011"}))) as org:
        result, _ = await finish(org.url)
    assert result.stop is not None
    assert result.stop.cause is StopCause.ACCESS
    assert_clear(result)
