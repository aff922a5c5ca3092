"""Send one call to the org: retry -> pace -> authorize -> send -> classify.

Every attempt takes a new slot and a new proof. No `aiohttp` exception leaves this module.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

import aiohttp
from multidict import CIMultiDictProxy
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from yarl import URL

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.errors import CallError, NoAnswer, Refused, ScopeMissing, TokenRejected, Transient
from orchestrator.events import CallRetried, Observer
from orchestrator.halt import Halt
from orchestrator.okta.auth import Authorizer
from orchestrator.okta.pacer import Bucket, Pacer
from orchestrator.okta.retry import RetryBudget, RetryPolicy, failure_of
from orchestrator.okta.wire import (
    CallTrace,
    Meaning,
    Refusal,
    Reply,
    challenge_scope,
    decode,
    meaning_of,
    rate_headers,
    refusal_of,
    request_id_of,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call, before anyone has waited for it or signed it."""

    method: str
    template: str  # the path with placeholders: for logs and errors
    path: str  # percent-encoded, with its query
    bucket: Bucket
    kind: type[T]  # what the body of a success is parsed into

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came, size-capped and decompressed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


@asynccontextmanager
async def open_session(timeouts: Timeouts) -> AsyncIterator[aiohttp.ClientSession]:
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

    async def send(self, call: Call[T], trace: CallTrace) -> Reply[T]:
        """Return the org's final answer, and note in `trace` what it took.

        Raises:
            NoAnswer: the attempts are used up.
            Refused: the org redirects; redirects are never followed.
            AccessError: the org refuses our credential.
            Halted: the run stops while the call waits.
        """
        try:
            return await self.attempt(call, trace)
        except Transient as failure:
            return await self.send_again(call, trace, failure)

    async def send_again(self, call: Call[T], trace: CallTrace, first: Transient) -> Reply[T]:
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

        budget = RetryBudget(self.policy, self.clock, self.random)
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
            raise NoAnswer(
                f"no usable answer after {trace.attempts} attempts: {last.message}",
                call=call,
                request_id=trace.request_ids[-1] if trace.request_ids else None,
            ) from last

    def tell_retry(self, call: Call[T], state: RetryCallState) -> None:
        cause = failure_of(state).message
        wait = state.next_action.sleep if state.next_action else 0.0
        log.debug("%s: attempt %d: %s; next in %.2fs", call, state.attempt_number, cause, wait)
        event = CallRetried(
            call=str(call), attempt=state.attempt_number, cause=cause, wait_seconds=wait
        )
        self.observer.notify(event)

    async def attempt(self, call: Call[T], trace: CallTrace) -> Reply[T]:
        """Send once, in a slot of its own."""
        await self.pacer.acquire(call.bucket, trace)
        sent = self.clock.monotonic()
        trace.attempts += 1
        try:
            answer = await self.exchange(call)
        except BaseException as failure:
            # Cancelled on the wire counts as lost too: the call may have taken effect.
            known = isinstance(failure, CallError)
            trace.lost_answers += not known or (isinstance(failure, Transient) and failure.lost)
            self.pacer.lose(call.bucket)
            raise
        rate = rate_headers(answer.headers)
        self.pacer.learn(call.bucket, rate, answer.status, sent)
        request_id = request_id_of(answer.headers)
        if request_id:
            trace.request_ids.append(request_id)
        log.debug("%s -> %d, request id %s, %s", call, answer.status, request_id, rate)
        try:
            return conclude(call, answer)
        except Transient as failure:
            trace.lost_answers += failure.lost
            raise

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
                headers=await self.auth.headers(call.method, address),
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
            raise Transient(f"the answer is larger than {LARGEST_BODY} bytes", lost=True)
    return bytes(body)


def conclude(call: Call[T], answer: RawAnswer) -> Reply[T]:
    """Turn an answer into a reply, or raise what it means for the call. Pure.

    An answer that cannot be read is as good as lost, whatever its status: cloning again is safe,
    and then a readable answer tells. See `Transport.send` for what is raised.
    """
    if answer.status < 300:
        return accept(call, answer)
    try:
        refusal: Refusal | None = refusal_of(answer.status, answer.body)
    except ValueError:
        refusal = None
    meaning = meaning_of(
        answer.status,
        rate_headers(answer.headers),
        refusal.code if refusal else None,
        answer.headers.get("WWW-Authenticate", ""),
    )
    if meaning is Meaning.FINAL and refusal is not None:
        return Reply(status=answer.status, refusal=refusal)
    raise failure_for(call, answer, meaning, refusal)


def accept(call: Call[T], answer: RawAnswer) -> Reply[T]:
    """Parse the body of a success."""
    try:
        value = decode(answer.body, call.kind)
    except ValueError as error:
        raise Transient(f"{answer.status} with a body that cannot be read", lost=True) from error
    return Reply(
        status=answer.status,
        value=value,
        location=answer.headers.get("Location"),
        link=tuple(answer.headers.getall("Link", ())),
    )


def failure_for(
    call: Call[T], answer: RawAnswer, meaning: Meaning, refusal: Refusal | None
) -> Exception:
    """Return the error that stands for an answer which is no reply."""
    said = str(refusal) if refusal else f"{answer.status} with a body that cannot be read"
    request_id = request_id_of(answer.headers)
    match meaning:
        case Meaning.TOKEN_REJECTED:
            return TokenRejected(
                f"the org does not accept the API token: {said}",
                hint="create a new token; tokens end after 30 days unused or with their admin",
                call=call,
                request_id=request_id,
            )
        case Meaning.SCOPE_MISSING:
            return ScopeMissing(
                f"the token lacks the scope {challenge_scope(answer.headers) or 'it needs'}",
                hint="grant the scope to the service app in Okta",
                call=call,
                request_id=request_id,
            )
        case Meaning.REDIRECT:
            return Refused(
                f"the org answers with a redirect ({answer.status}), which is not followed",
                hint="is the org URL the org's own host?",
                call=call,
                request_id=request_id,
            )
        case Meaning.RATE_LIMITED | Meaning.TOO_MANY_AT_ONCE:
            return Transient(f"429: {meaning.value}", limited=True, wait=retry_after(answer))
        case _:
            lost = answer.status >= 500 or refusal is None
            return Transient(said, lost=lost, wait=retry_after(answer))


def retry_after(answer: RawAnswer) -> float | None:
    """Return Retry-After in seconds (RFC 9110 section 10.2.3); Okta itself never sends it."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
