"""Send one call to the org: retry -> pace -> authorize -> send -> classify.

Every attempt takes a new slot and a new proof. No `aiohttp` exception leaves this module.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from random import Random
from typing import TypeVar

import aiohttp
from multidict import CIMultiDict
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from yarl import URL

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.errors import CallError, NoAnswer, Transient
from orchestrator.events import CallRetried, Observer
from orchestrator.halt import Halt
from orchestrator.okta.authorizer import Authorizer, Proof, Remedy
from orchestrator.okta.call import Call, RawAnswer, conclude
from orchestrator.okta.caps import ERROR_BODY, LONGEST_HEADER, MOST_HEADERS
from orchestrator.okta.network import PLAIN, Network, tls_context
from orchestrator.okta.pacer import Bucket, Pacer, Slot
from orchestrator.okta.retry import ONCE, RetryBudget, RetryPolicy, failure_of
from orchestrator.okta.unreached import failure_of_exchange
from orchestrator.okta.wire import CallTrace, Reply, epoch_second, rate_headers, request_id_of

log = logging.getLogger(__name__)

SMALL_BODY = 64 * 1024  # bytes; what is known to be no more is read in one go

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Bounds of one attempt, in seconds."""

    connect: float = 10.0
    read: float = 30.0  # silence between two pieces of an answer
    whole: float = 120.0  # an answer that drips for ever


def proxy_sign_in(network: Network) -> tuple[aiohttp.ClientMiddlewareType, ...]:
    """Return what tells the proxy who we are; nothing where it need not know.

    aiohttp takes the headers for a proxy with each request only. Those for https go with CONNECT
    to the proxy and to nobody else; a call over http, which only goes to this machine, carries
    them itself.
    """
    if network.proxy is None or network.proxy_user is None:
        return ()
    user, password = network.proxy_user, network.proxy_password

    async def sign_in(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        text = f"{user}:{password.reveal() if password else ''}"
        data = text.encode("utf-8", "surrogateescape")  # the very bytes of the environment
        told = {"Proxy-Authorization": f"Basic {b64encode(data).decode()}"}
        if request.is_ssl():
            request.proxy_headers = CIMultiDict({**(request.proxy_headers or {}), **told})
        else:
            request.headers.update(told)
        return await handler(request)

    return (sign_in,)


@asynccontextmanager
async def open_session(
    timeouts: Timeouts,
    network: Network = PLAIN,
    *,
    secure: bool = True,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the one session of a run: no cookies kept, no redirects, no hidden limits.

    Nothing but `network` says which way calls take: no variable does, and no .netrc. Where calls
    go to this machine over http, `secure=False` spares the 20 ms of reading what is trusted.

    Raises:
        ConfigError: a file that `network` names cannot be used.
    """
    context = tls_context(network) if secure or network != PLAIN else True
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        proxy=network.proxy,
        middlewares=proxy_sign_in(network),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=timeouts.whole,
            connect=timeouts.connect + timeouts.read,  # with all that a proxy says before
            sock_connect=timeouts.connect,
            sock_read=timeouts.read,
        ),
        headers={
            "User-Agent": f"okta-key-orchestrator/{__version__}",
            "Accept": "application/json",
        },
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        max_headers=MOST_HEADERS,
        skip_auto_headers=("Content-Type",),  # else a POST without a body claims octets
    ) as session:
        # NOTE: aiohttp sends an idempotent request again by itself when a kept connection turns
        # out closed. That call would take no slot and appear in no trace.
        session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch
        yield session


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One attempt, ready to be sent."""

    address: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    proof: Proof | None = None  # that the headers hold


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

    async def send(
        self,
        call: Call[T],
        trace: CallTrace,
        slot: Slot | None = None,
        *,
        policy: RetryPolicy | None = None,
    ) -> Reply[T]:
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
            usual = self.policy if slot is None else ONCE
            return await self.send_again(call, trace, failure, policy or usual)

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
        except NoAnswer as last:  # such as for want of a token, after attempts that were sent
            if not budget.lost or last.lost:
                raise
            raise NoAnswer(
                f"{last.message}; an attempt before it may have taken effect",
                lost=True,
                answered=not budget.under_way,
                hint=last.hint,
                **last.context,
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
        """Send once, and once more for each thing that the org refuses in our proof.

        Neither attempt can have taken effect before the last one.
        """
        remedies: set[Remedy] = set()
        while True:
            answer, proof = await self.send_once(call, trace, slot)
            remedy = self.auth.reconsider(proof, answer) if proof is not None else None
            if remedy is None or remedy in remedies:
                break
            remedies.add(remedy)
            failure = Transient(
                f"{answer.status}: the org asks for {remedy.value}",
                answered=True,
                request_id=request_id_of(answer.headers),
            )
            if slot is not None:  # it is for one attempt
                raise failure
            event = CallRetried(
                call=str(call), attempt=len(remedies), cause=failure.message, wait_seconds=0.0
            )
            self.observer.notify(event)
        try:
            return conclude(call, answer, self.auth.caller)
        except Transient as failure:
            trace.lost_answers += failure.lost
            raise

    async def send_once(
        self, call: Call[T], trace: CallTrace, slot: Slot | None
    ) -> tuple[RawAnswer, Proof | None]:
        """Send once, in a slot of its own, with a proof of its own."""
        if slot is None and call.signed:
            await self.auth.get_ready(self.send)
        held = slot or Slot(call.bucket, await self.pacer.acquire(call.bucket, trace))
        try:
            # After the wait for the slot, in which a proof may grow old.
            attempt = await self.prepare(call, at_once=slot is not None)
            self.pacer.use(held, call.bucket)
        except BaseException:
            if slot is None:
                self.pacer.give_back(held)
            raise
        sent = self.clock.monotonic()
        self.calls += 1
        trace.attempts += 1
        try:
            answer = await self.exchange(call, attempt)
        except BaseException as failure:
            # Cancelled on the wire counts as lost too: the call may have taken effect.
            known = isinstance(failure, CallError)
            trace.lost_answers += not known or (isinstance(failure, Transient) and failure.lost)
            self.pacer.lose(call.bucket)
            raise
        self.learn(call, answer, sent, trace)
        return answer, attempt.proof

    async def prepare(self, call: Call[T], *, at_once: bool) -> Prepared:
        """Compose or sign one attempt; this may take a call for a token.

        What is to go at once is not sent after such a wait: what it says may be overtaken by then.
        """
        address = self.url + call.path
        if call.compose is not None:
            made = call.compose(address)
            return Prepared(address=address, headers=made.headers, body=made.body)
        if not call.signed:
            return Prepared(address=address, headers=call.own_headers, body=call.body)
        is_late = at_once and not self.auth.is_ready
        proof = await self.auth.prove(call.method, address, self.send)
        if is_late:
            raise Transient("a new access token had to be fetched first", answered=True)
        headers = proof.headers
        if call.has_own_headers:
            headers = {**headers, **call.own_headers}
        return Prepared(address=address, headers=headers, body=call.body, proof=proof)

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

    async def exchange(self, call: Call[T], attempt: Prepared) -> RawAnswer:
        """Send the request and read the whole answer.

        Raises:
            Transient: no connection, no answer, or not all of it.
            NoAnswer: TLS or a proxy does not let us through, which no retry will change.
        """
        try:
            # A POST without a body goes out with Content-Length: 0, which Okta insists on.
            async with self.session.request(
                call.method,
                URL(attempt.address, encoded=True),
                headers=attempt.headers,
                data=None if attempt.body is None else BytesIO(attempt.body),
                allow_redirects=False,
            ) as response:
                body = await read_capped(response, call.most_bytes)
                return RawAnswer(response.status, response.headers, body)
        except (aiohttp.ClientError, OSError) as error:  # also TimeoutError, and that of asyncio
            raise failure_of_exchange(error, self.url) from error


async def read_capped(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """Read a body, decompressed as it comes, of at most so many bytes.

    An error's body is cut at ERROR_BODY instead: its status says enough, and the rest is not read.
    aiohttp gives a bomb out in pieces of 256 KiB, and reads no further until they are taken.

    Raises:
        Transient: it is larger.
    """
    is_error = response.status >= 300
    most = ERROR_BODY if is_error else most_bytes
    length = response.content_length
    if "Content-Encoding" not in response.headers and length is not None:
        if length > most and not is_error:
            raise too_large(most)
        if length <= SMALL_BODY and "Transfer-Encoding" not in response.headers:
            return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            if is_error:
                return bytes(body[:most])
            raise too_large(most)
    return bytes(body)


def too_large(most: int) -> Transient:
    return Transient(f"the answer is larger than {most} bytes", lost=True, answered=True)
