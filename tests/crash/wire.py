"""A wire between a program and an org, on which any call can be stopped at any moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

END_OF_HEAD = b"\r\n\r\n"
LARGEST_HEAD = 64 * 1024
STILL_SECONDS = 0.1
LOST = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError)


class Moment(Enum):
    """How far a call has come."""

    ARRIVED = auto()  # it is on its way, and has had no effect
    TAKEN = auto()  # it has had its effect, and nothing of the answer has left
    HEAD = auto()  # the head of the answer has been sent
    HALF = auto()  # the head and half of the body
    ANSWERED = auto()  # everything has been sent; whether it was read is another matter


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCall:
    """A call that has arrived on the wire."""

    number: int  # from 1, over all sessions
    session: int
    method: str
    path: str  # without its query
    target: str | None  # of a clone

    @property
    def is_clone(self) -> bool:
        return self.target is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """Calls that go no further than a moment. The connection stays open and silent."""

    fits: Callable[[SeenCall], bool]
    moment: Moment
    holds: bool = True  # False: they go on
    spring: Callable[[], None] = lambda: None  # what else happens at that moment


@dataclass
class Wire:
    """Passes calls on, one at a time on each connection, and remembers them."""

    upstream: str = ""  # URL
    trap: Trap | None = None
    witness: Callable[[SeenCall], None] = lambda _: None  # sees each call that arrives
    hidden: bytes = b""  # the header, in lower case, that no answer keeps
    session: int = 0
    calls: list[SeenCall] = field(default_factory=list)
    caught: list[SeenCall] = field(default_factory=list)
    open: int = 0  # connections
    moved_at: float = 0.0  # when a call or an answer last passed, on the event loop's clock

    def clones(self, session: int) -> list[str]:
        """Return the targets of one session's clones, in order of arrival."""
        return [call.target for call in self.calls if call.session == session and call.target]

    @asynccontextmanager
    async def laid_to(self, upstream: str) -> AsyncIterator[str]:
        """Listen, and yield the URL at which the org can now be found."""
        self.upstream = upstream
        failure: Exception | None = None
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self.carry)
            try:
                port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - this is no Django
                yield f"http://127.0.0.1:{port}"
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
                failure = error
            with anyio.move_on_after(STILL_SECONDS):
                await anyio.sleep(0.005)  # a connection that was just made is to be closed, too
                await self.quiet()
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def is_still(self, calls: int) -> bool:
        """Say whether so many calls have passed, and nothing has for a while."""
        return len(self.calls) >= calls and anyio.current_time() - self.moved_at > STILL_SECONDS

    async def quiet(self) -> None:
        """Wait until no call of a program that has died is still under way."""
        while self.open:  # noqa: ASYNC110 - happens within milliseconds
            await anyio.sleep(0.001)

    async def carry(self, caller: SocketStream) -> None:
        there = urlsplit(self.upstream)
        self.open += 1
        try:
            async with caller:
                org = await anyio.connect_tcp(there.hostname or "", there.port or 0)
                async with org:
                    with suppress(*LOST):
                        await self.pass_on(caller, org)
        finally:
            self.open -= 1

    async def pass_on(self, caller: SocketStream, org: SocketStream) -> None:
        questions, answers = (BufferedByteReceiveStream(end) for end in (caller, org))
        while True:
            head = await questions.receive_until(END_OF_HEAD, LARGEST_HEAD)
            body = await questions.receive_exactly(length_of(head) or 0)
            call = self.see(head)
            await self.reach(call, Moment.ARRIVED, questions)
            await org.send(head + END_OF_HEAD + body)
            await self.answer(call, caller, questions, answers)

    def see(self, head: bytes) -> SeenCall:
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        there = urlsplit(path)
        call = SeenCall(
            number=len(self.calls) + 1,
            session=self.session,
            method=method,
            path=there.path,
            target=parse_qs(there.query).get("targetAid", [None])[0],
        )
        self.calls.append(call)
        self.witness(call)
        self.moved_at = anyio.current_time()
        return call

    async def answer(
        self,
        call: SeenCall,
        caller: SocketStream,
        questions: BufferedByteReceiveStream,
        answers: BufferedByteReceiveStream,
    ) -> None:
        head = await answers.receive_until(END_OF_HEAD, LARGEST_HEAD)
        length = length_of(head)
        assert length is not None, head  # every answer of the sandbox says it
        body = await answers.receive_exactly(length)
        if self.hidden:
            head = without(head, self.hidden)
        await self.reach(call, Moment.TAKEN, questions)
        await caller.send(head + END_OF_HEAD)
        await self.reach(call, Moment.HEAD, questions)
        await caller.send(body[: len(body) // 2])
        await self.reach(call, Moment.HALF, questions)
        await caller.send(body[len(body) // 2 :])
        self.moved_at = anyio.current_time()
        await self.reach(call, Moment.ANSWERED, questions)

    async def reach(
        self, call: SeenCall, moment: Moment, questions: BufferedByteReceiveStream
    ) -> None:
        """Go on, or stay here until the caller leaves."""
        trap = self.trap
        if trap is None or trap.moment is not moment or not trap.fits(call):
            return
        self.caught.append(call)
        trap.spring()
        while trap.holds:
            await questions.receive()


def length_of(head: bytes) -> int | None:
    """Return the Content-Length, if there is one."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None


def without(head: bytes, name: bytes) -> bytes:
    """Return the head of an answer without one of its headers."""
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() != name)
