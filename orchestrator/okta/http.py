"""Send one call to the org: retry -> pace -> authorize -> send -> classify.

Every attempt takes a new slot and a new proof. No `aiohttp` exception leaves this module.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import TypeVar

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from yarl import URL

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.errors import CallError, NoAnswer, Transient
from orchestrator.events import CallRetried, Observer
from orchestrator.halt import Halt
from orchestrator.okta.auth import Authorizer
from orchestrator.okta.call import Call, RawAnswer, conclude
from orchestrator.okta.network import Network
from orchestrator.okta.pacer import Bucket, Pacer, Slot
from orchestrator.okta.retry import ONCE, RetryBudget, RetryPolicy, failure_of
from orchestrator.okta.wire import CallTrace, Reply, epoch_second, rate_headers, request_id_of

log = logging.getLogger(__name__)

LARGEST_BODY = 16 * 1024 * 1024  # bytes; a page of 200 apps is about half a megabyte
SMALL_BODY = 64 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds of one attempt, in seconds."""

    connect: float = 10.0
    read: float = 30.0  # silence between two pieces of an answer
    whole: float = 120.0  # an answer that drips for ever


@asynccontextmanager
async def open_session(
    timeouts: Timeouts,
    network: Network = Network(),  # noqa: ARG001, B008 - to come
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the one session of a run: no cookies kept, no redirects, no hidden limits."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=timeouts.whole, sock_connect=timeouts.connect, sock_read=timeouts.read
        ),
        headers={
            "User-Agent": f"okta-key-orchestrator/{__version__}",
            "Accept": "application/json",
        },
        skip_auto_headers=("Content-Type",),  # else a POST without a body claims octets
    ) as session:
        # NOTE: aiohttp sends an idempotent request again by itself when a kept connection turns
        # out closed. That call would take no slot and appear in no trace.
        session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch
        yield session


class Transport:
    """The way to one org, and to no other host."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        url: str,
        auth: Authorizer,
        pacer: Pacer,
        clock: Clock,
        halt: Halt,
        random: Random,
        observer: Observer,
        retry: RetryPolicy,
    ) -> None:
        self.session = session
        self.url = url
        self.auth = auth
        self.pacer = pacer
        self.clock = clock
        self.halt = halt
        self.random = random
        self.observer = observer
        self.policy = retry
        self.calls = 0  # requests that were sent, whatever came of them

    def slot(self, bucket: Bucket, trace: CallTrace) -> AbstractAsyncContextManager[Slot]:
        """Wait for a slot ahead of the call that is to use it; see `Pacer.slot`."""
        return self.pacer.slot(bucket, trace)

    async def send(self, call: Call[T], trace: CallTrace, slot: Slot | None = None) -> Reply[T]:
        """Return the org's final answer, and note in `trace` what it took.

        A call that is not repeatable is never sent again after an attempt that may have taken
        effect. In a held slot a call is sent once at most, without any wait: what it says may have
        been overtaken by the time that a second attempt has a slot of its own.

        Raises:
            NoAnswer: the attempts are used up; `lost` says whether one may have taken effect.
            Refused: the org redirects; redirects are never followed.
            AccessError: the org refuses our credential.
            Halted: the run stops while the call waits.
        """
        try:
            return await self.attempt(call, trace, slot)
        except Transient as failure:
            policy = self.policy if slot is None else ONCE
            return await self.send_again(call, trace, failure, policy)

    async def send_again(
        self, call: Call[T], trace: CallTrace, first: Transient, policy: RetryPolicy
    ) -> Reply[T]:
        """Hand a call to tenacity after its first failure, which then counts as attempt 1.

        Entering tenacity for every call would cost about as much as the call itself.
        """
        replay = [first]

        async def next_attempt() -> Reply[T]:
            if replay:
                raise replay.pop()
            return await self.attempt(call, trace)

        async def pause(seconds: float) -> None:
            with self.halt.interruptible():
                await self.clock.sleep(seconds)
            trace.waited_seconds += seconds

        budget = RetryBudget(policy, self.clock, self.random, repeatable=call.repeatable)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=budget.is_spent,
            wait=budget.wait,
            sleep=pause,
            before_sleep=lambda state: self.tell_retry(call, state),
            reraise=True,
        )
        try:
            return await retrying(next_attempt)
        except Transient as last:
            attempts = budget.failures + budget.rate_refusals
            raise NoAnswer(
                f"no usable answer after {attempts} attempt{'s' * (attempts != 1)}: {last.message}",
                lost=budget.lost,
                answered=not budget.under_way,
                call=call,
                request_id=last.context.get("request_id"),
            ) from last

    def tell_retry(self, call: Call[T], state: RetryCallState) -> None:
        cause = failure_of(state).message
        wait = state.next_action.sleep if state.next_action else 0.0
        log.debug("%s: attempt %d: %s; next in %.2fs", call, state.attempt_number, cause, wait)
        event = CallRetried(
            call=str(call), attempt=state.attempt_number, cause=cause, wait_seconds=wait
        )
        self.observer.notify(event)

    async def attempt(self, call: Call[T], trace: CallTrace, slot: Slot | None = None) -> Reply[T]:
        """Send once, in a slot of its own."""
        if slot is None:
            await self.pacer.acquire(call.bucket, trace)
        else:
            self.pacer.use(slot, call.bucket)
        sent = self.clock.monotonic()
        self.calls += 1
        trace.attempts += 1
        try:
            answer = await self.exchange(call)
        except BaseException as failure:
            # Cancelled on the wire counts as lost too: the call may have taken effect.
            known = isinstance(failure, CallError)
            trace.lost_answers += not known or (isinstance(failure, Transient) and failure.lost)
            self.pacer.lose(call.bucket)
            raise
        self.learn(call, answer, sent, trace)
        try:
            return conclude(call, answer)
        except Transient as failure:
            trace.lost_answers += failure.lost
            raise

    def learn(self, call: Call[T], answer: RawAnswer, sent: float, trace: CallTrace) -> None:
        """Give the slot back, and keep what the headers say, whatever the answer is."""
        rate = rate_headers(answer.headers)
        self.pacer.learn(call.bucket, rate, answer.status, sent)
        # A gateway's own page may carry a date of its own.
        dated = rate is not None or answer.status < 500
        date = epoch_second(answer.headers.get("Date", "")) if dated else None
        if date is not None:
            self.pacer.hear_date(date, sent)
        request_id = request_id_of(answer.headers)
        if request_id:
            trace.request_ids.append(request_id)
        log.debug("%s -> %d, request id %s, %s", call, answer.status, request_id, rate)

    async def exchange(self, call: Call[T]) -> RawAnswer:
        """Send the request and read the whole answer.

        Raises:
            Transient: no connection, no answer, or not all of it.
            NoAnswer: the server's certificate is not trusted, which no retry will change.
        """
        address = self.url + call.path
        try:
            # A POST without a body goes out with Content-Length: 0, which Okta insists on.
            async with self.session.request(
                call.method,
                URL(address, encoded=True),
                headers=await self.headers(call, address),
                data=None if call.body is None else BytesIO(call.body),
                allow_redirects=False,
            ) as response:
                body = await read_capped(response)
                return RawAnswer(response.status, response.headers, body)
        except aiohttp.ClientConnectorCertificateError as error:
            raise NoAnswer(
                f"the certificate of {self.url} is not trusted", hint="set SSL_CERT_FILE"
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Transient(f"no connection: {name_of(error)}") from error
        except TimeoutError as error:
            raise Transient("the org did not answer in time", lost=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"the answer was lost: {name_of(error)}", lost=True) from error

    async def headers(self, call: Call[T], address: str) -> Mapping[str, str]:
        """Return the headers of one attempt."""
        signed = await self.auth.headers(call.method, address) if call.signed else {}
        return {**signed, **call.own_headers} if call.has_own_headers else signed


def name_of(error: BaseException) -> str:
    """Return the kind of a foreign error; its text may hold URLs or bytes of the answer."""
    return type(error).__name__


async def read_capped(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, decompressed, of at most LARGEST_BODY bytes.

    Raises:
        Transient: it is larger.
    """
    if (
        "Content-Encoding" not in response.headers
        and (response.content_length or SMALL_BODY + 1) <= SMALL_BODY
    ):
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            text = f"the answer is larger than {LARGEST_BODY} bytes"
            raise Transient(text, lost=True, answered=True)
    return bytes(body)
