"""How often a call is sent, in which slot, and what is known when no answer came."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from orchestrator.errors import Halted, NoAnswer, ScopeMissing
from orchestrator.halt import Halt
from orchestrator.model import AppId, CsrRequest, Kid, Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import CallTrace
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.unit.okta.peer import Breaks, Hangs, Says, Step, client, peer

APP = AppId("0oa1")
OBJECT = {"id": APP, "label": "a", "credentials": {"signing": {"kid": "old"}}}
BODY = b'{"id":"0oa1","credentials":{"signing":{"kid":"new"}}}'
LIMITED = Says(status=429, body={"errorCode": "E0000047"}, headers=[("Retry-After", "0")])
BROKEN = Says(status=500, body={"errorCode": "E0000009", "errorSummary": "Internal"})
LOCKED = Says(status=423, body={"errorCode": "E0000239"})
KEY = Says(status=201, body={"kid": "k"})


async def once_sent(api: OktaApi, kind: str, trace: CallTrace) -> object:
    """Send one of the calls that are not repeatable."""
    match kind:
        case "generate":
            return (await api.generate_key(APP, 2, trace)).value
        case "create_csr":
            return (await api.create_csr(APP, CsrRequest(common_name="n"), trace)).value
        case "publish_csr":
            return (await api.publish_csr(APP, "csr1", b"-----BEGIN", trace)).value
        case _:
            return (await api.put_signer(APP, BODY, trace)).value


KINDS = ["generate", "create_csr", "publish_csr", "put"]
SUCCESS = dict.fromkeys(KINDS, KEY) | {
    "create_csr": Says(status=201, body={"id": "csr1"}),
    "put": Says(body=OBJECT),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("step", "answered"),
    [
        (Breaks(), False),
        (Hangs(), False),
        (BROKEN, True),
        (Says(status=503), True),
        (Says(status=504, body=b"<html>"), False),
        (Says(status=201, body=b"<html>"), True),
    ],
    ids=["broken connection", "silence", "500", "503", "504", "unreadable"],
)
async def test_what_is_not_repeatable_is_never_sent_twice(
    kind: str, step: Step, answered: bool
) -> None:
    trace = CallTrace()
    async with peer(step) as org, client(org.url) as api:
        with pytest.raises(NoAnswer) as caught:
            await once_sent(api, kind, trace)
    assert len(org.asked) == 1
    assert (caught.value.lost, caught.value.answered) == (True, answered)
    assert "after 1 attempt:" in caught.value.message
    assert (trace.attempts, trace.lost_answers) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [LIMITED, LOCKED], ids=["429", "423"])
async def test_what_certainly_had_no_effect_is_tried_again(kind: str, step: Step) -> None:
    async with peer(step, SUCCESS[kind]) as org, client(org.url) as api:
        assert await once_sent(api, kind, CallTrace())
    assert len(org.asked) == 2


async def test_a_loss_after_attempts_without_effect_ends_the_call_too() -> None:
    async with peer(LIMITED, Breaks(), KEY) as org, client(org.url) as api:
        with pytest.raises(NoAnswer) as caught:
            await api.generate_key(APP, 2, CallTrace())
    assert len(org.asked) == 2
    assert caught.value.lost
    assert "after 2 attempts:" in caught.value.message


async def test_without_a_connection_nothing_has_happened() -> None:
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        trace = CallTrace()
        async with client(url) as api:
            with pytest.raises(NoAnswer, match="no connection") as caught:
                await api.generate_key(APP, 2, trace)
    assert (caught.value.lost, caught.value.answered) == (False, True)
    assert (trace.attempts, trace.lost_answers) == (3, 0)


async def test_a_repeatable_call_outlives_lost_answers() -> None:
    async with peer(Breaks(), BROKEN, Says(body=OBJECT)) as org, client(org.url) as api:
        assert (await api.get_signer(APP, CallTrace())).value
    assert len(org.asked) == 3


async def test_a_repeatable_call_remembers_what_it_may_have_done() -> None:
    async with peer(Breaks(), BROKEN, LOCKED) as org, client(org.url) as api:
        with pytest.raises(NoAnswer) as caught:
            await api.get_signer(APP, CallTrace())
    assert len(org.asked) == 3
    assert (caught.value.lost, caught.value.answered) == (True, False)


async def test_the_last_answer_is_the_one_to_ask_support_about() -> None:
    step = Says(status=500, headers=[("X-Okta-Request-Id", "req7")])
    async with peer(step) as org, client(org.url) as api:
        with pytest.raises(NoAnswer) as caught:
            await api.put_signer(APP, BODY, CallTrace())
    assert caught.value.context["request_id"] == "req7"
    assert str(caught.value.context["call"]) == "PUT /api/v1/apps/{appId}"


async def test_a_body_of_any_size_goes_out_as_it_is() -> None:
    large = BODY[:-1] + b',"x":"' + b"x" * 3_000_000 + b'"}'
    async with peer(Says(body=OBJECT)) as org, client(org.url) as api:
        await api.put_signer(APP, large, CallTrace())
    (asked,) = org.asked
    assert asked.body == large
    assert asked.headers["Content-Length"] == str(len(large))
    assert "Transfer-Encoding" not in asked.headers


# Slots held ahead


def in_flight(api: OktaApi, bucket: Bucket) -> int:
    return api.pacer.lanes[bucket].gate.in_flight


@pytest.mark.parametrize(
    ("step", "lost"), [(LIMITED, False), (LOCKED, False), (Breaks(), True), (BROKEN, True)]
)
async def test_in_a_held_slot_a_call_is_sent_once_whatever_happens(step: Step, lost: bool) -> None:
    trace = CallTrace()
    async with peer(step) as org, client(org.url) as api:
        async with api.write_slot(Resource.APP, trace) as slot:
            with pytest.raises(NoAnswer) as caught:
                await api.put_signer(APP, BODY, trace, slot=slot)
        assert in_flight(api, Bucket.APP_WRITE) == 0
    assert len(org.asked) == 1
    assert caught.value.lost is lost


async def test_a_slot_that_is_not_used_is_given_back() -> None:
    async with peer(Says(body=OBJECT)) as org, client(org.url) as api:
        for _ in range(3):  # each would be the only call that may be on its way
            async with asyncio.timeout(2), api.transport.slot(Bucket.APP_WRITE, CallTrace()):
                assert in_flight(api, Bucket.APP_WRITE) == 1
        assert in_flight(api, Bucket.APP_WRITE) == 0
        await api.put_signer(APP, BODY, CallTrace())
    assert len(org.asked) == 1


async def test_a_waiting_call_goes_as_soon_as_a_slot_is_given_back() -> None:
    async with peer(Says(body=OBJECT)) as org, client(org.url) as api:
        started = time.monotonic()
        async with api.write_slot(Resource.APP, CallTrace()):
            waiting = asyncio.create_task(api.put_signer(APP, BODY, CallTrace()))
            await asyncio.sleep(0.2)
            assert not org.asked
        await waiting
        assert time.monotonic() - started < 2  # a probe is waited for much longer


async def test_a_slot_is_for_one_call_of_its_bucket() -> None:
    async with peer(Says(body=OBJECT)) as org, client(org.url) as api:
        async with api.transport.slot(Bucket.APP_WRITE, CallTrace()) as slot:
            with pytest.raises(ValueError, match="not for this call"):
                await api.put_signer(APP, BODY, CallTrace(), resource=Resource.IDP, slot=slot)
            await api.put_signer(APP, BODY, CallTrace(), slot=slot)
            with pytest.raises(ValueError, match="not for this call"):
                await api.put_signer(APP, BODY, CallTrace(), slot=slot)
        assert in_flight(api, Bucket.APP_WRITE) == 0
        assert in_flight(api, Bucket.IDPS) == 0
    assert len(org.asked) == 1


async def test_a_run_that_stops_between_read_and_write_writes_nothing() -> None:
    halt = Halt()
    async with peer(Says(body=OBJECT)) as org, client(org.url, halt=halt) as api:
        async with api.write_slot(Resource.APP, CallTrace()) as slot:
            await api.get_signer(APP, CallTrace())
            halt.set()
            with pytest.raises(Halted):
                await api.put_signer(APP, BODY, CallTrace(), slot=slot)
        assert in_flight(api, Bucket.APP_WRITE) == 0
    assert org.lines == ["GET /api/v1/apps/0oa1"]


def rated(remaining: int, *, limit: int = 10, seconds: int = 2) -> list[tuple[str, str]]:
    """Return the headers of an answer in a window that ends in so many seconds."""
    now = datetime.now(UTC).replace(microsecond=0)
    reset = int((now + timedelta(seconds=seconds)).timestamp())
    return [
        ("Date", format_datetime(now, usegmt=True)),
        ("X-Rate-Limit-Limit", str(limit)),
        ("X-Rate-Limit-Remaining", str(remaining)),
        ("X-Rate-Limit-Reset", str(reset)),
    ]


async def test_the_wait_for_the_window_is_over_before_the_read() -> None:
    async with peer(Says(body=OBJECT, headers=rated(0))) as org, client(org.url) as api:
        await api.put_signer(APP, BODY, CallTrace())  # uses the window up
        org.script = [Says(body=OBJECT)]
        before, after = CallTrace(), CallTrace()
        async with api.write_slot(Resource.APP, before) as slot:
            await api.get_signer(APP, after)
            await api.put_signer(APP, BODY, after, slot=slot)
    assert 1.0 < before.waited_seconds < 5.0
    assert after.waited_seconds < 0.1


async def test_many_workers_that_hold_slots_while_they_read_do_not_block_each_other() -> None:
    """More workers than calls may be in flight, in buckets of which nothing is known yet."""
    org = SandboxOrg(seed=1)
    apps = [AppId(org.add_app(kids=[f"kid{number}"]).id) for number in range(60)]
    async with (
        serve(org, limits=LimitSettings()) as served,
        client(served.url, token=org.token) as api,
        asyncio.timeout(30),
        asyncio.TaskGroup() as group,
    ):
        for app in apps:
            group.create_task(write_back(api, app))
    assert sum(call.method == "PUT" for call in org.log) == 60
    assert not any(call.status >= 400 for call in org.log)


async def write_back(api: OktaApi, app: AppId) -> None:
    async with api.write_slot(Resource.APP, CallTrace()) as slot:
        document = (await api.get_signer(app, CallTrace())).value
        assert document is not None
        reply = await api.put_signer(app, document.body, CallTrace(), slot=slot)
        assert reply.refusal is None


async def test_identity_providers_have_no_slot_so_that_reads_never_wait_for_writes() -> None:
    idp = {"id": "0oi1", "protocol": {"credentials": {"signing": {"kid": "old"}}}}

    async def write_back_idp(api: OktaApi) -> None:
        async with api.write_slot(Resource.IDP, CallTrace()) as slot:
            assert slot is None
            await api.get_signer(AppId("0oi1"), CallTrace(), resource=Resource.IDP)
            await api.put_signer(AppId("0oi1"), BODY, CallTrace(), resource=Resource.IDP, slot=slot)

    async with (
        peer(Says(body=idp)) as org,
        client(org.url) as api,
        asyncio.timeout(10),
        asyncio.TaskGroup() as group,
    ):
        for _ in range(40):
            group.create_task(write_back_idp(api))
    assert len(org.asked) == 80


# The org's clock


def dated(at: datetime, status: int = 200) -> Says:
    date = ("Date", format_datetime(at.replace(microsecond=0), usegmt=True))
    return Says(status=status, body={"id": "00o1"}, headers=[date])


async def hear(api: OktaApi) -> None:
    with contextlib.suppress(NoAnswer):
        await api.organization(CallTrace())


async def test_before_any_answer_the_local_time_stands() -> None:
    async with client("http://127.0.0.1:1") as api:
        wall = datetime(2001, 1, 1, tzinfo=UTC)
        assert not api.pacer.has_org_time
        assert api.pacer.org_time(wall) == wall


@pytest.mark.parametrize("hours", [-30_000, -1, 0, 1, 30_000])
async def test_a_wrong_local_clock_is_corrected_by_the_dates_of_the_org(hours: int) -> None:
    now = datetime.now(UTC)
    async with peer(dated(now)) as org, client(org.url) as api:
        await hear(api)
        assert api.pacer.has_org_time
        told = api.pacer.org_time(now + timedelta(hours=hours))
    assert abs(told - now) < timedelta(seconds=2)


async def test_a_right_local_clock_is_kept_to_the_microsecond() -> None:
    async with peer(Says(body={"id": "00o1"})) as org, client(org.url) as api:
        await hear(api)
        wall = datetime.now(UTC)
        assert api.pacer.org_time(wall) is wall


async def test_the_org_may_step_its_clock() -> None:
    now = datetime.now(UTC)
    later = now + timedelta(days=14)
    async with peer(dated(now), dated(later)) as org, client(org.url) as api:
        await hear(api)
        await hear(api)
        told = api.pacer.org_time(datetime.now(UTC))
    assert abs(told - later) < timedelta(seconds=2)


async def test_a_refusal_has_the_time_too() -> None:
    then = datetime(2030, 1, 1, tzinfo=UTC)
    refusal = Says(status=404, body={"errorCode": "E0000007"}, headers=dated(then).headers)
    async with peer(refusal) as org, client(org.url) as api:
        await api.organization(CallTrace())
        told = api.pacer.org_time(datetime.now(UTC))
    assert abs(told - then) < timedelta(seconds=2)


async def test_the_date_of_a_gateway_is_not_the_time_of_the_org() -> None:
    gateway = dated(datetime(1999, 1, 1, tzinfo=UTC), status=502)
    async with peer(gateway) as org, client(org.url) as api:
        await hear(api)
        assert not api.pacer.has_org_time
    assert len(org.asked) == 3


async def test_a_date_at_the_end_of_time_is_not_believed() -> None:
    end = Says(body={"id": "o"}, headers=[("Date", "Fri, 31 Dec 9999 23:59:59 GMT")])
    async with peer(end) as org, client(org.url) as api:
        await hear(api)
        assert not api.pacer.has_org_time
        assert api.pacer.org_time(datetime.now(UTC)).year < 9999


async def test_a_date_alone_moves_no_window() -> None:
    """A page without rate headers, and with another date, leaves the pacing as it was."""
    then = datetime.now(UTC) + timedelta(hours=5)
    async with peer(Says(body=OBJECT, headers=rated(9, seconds=60))) as org, client(org.url) as api:
        await api.get_signer(APP, CallTrace())
        org.script = [dated(then)]
        await hear(api)
        view = api.pacer.view(Bucket.APP_READ)
    assert view is not None
    assert 50 < view.seconds_to_edge < 65


# Optional calls


async def test_a_missing_scope_can_be_told_and_caught() -> None:
    challenge = 'Bearer error="insufficient_scope", scope="okta.logs.read"'
    step = Says(status=403, headers=[("WWW-Authenticate", challenge)])
    now = datetime.now(UTC)
    async with peer(step) as org, client(org.url) as api:
        with pytest.raises(ScopeMissing, match=re.escape("okta.logs.read")) as caught:
            async for _ in api.log_events(now, now, "x", CallTrace()):
                pass
    assert caught.value.context["scope"] == "okta.logs.read"


async def test_a_document_that_cannot_be_read_is_asked_for_again() -> None:
    twice = b'{"id":"0oa1","credentials":{"signing":{"kid":"a","kid":"b"}}}'
    async with peer(Says(body=twice), Says(body=OBJECT)) as org, client(org.url) as api:
        reply = await api.get_signer(APP, CallTrace())
    assert isinstance(reply.value, SignerDocument)
    assert reply.value.active_kid == Kid("old")
    assert len(org.asked) == 2
