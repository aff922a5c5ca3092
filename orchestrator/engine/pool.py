"""A bounded pool of workers over a memory stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


async def run_pool(
    feed: AsyncIterator[T], work: Callable[[T], Awaitable[None]], *, workers: int
) -> None:
    """Call `work` for every item of `feed`, at most `workers` at a time; return when all is done.

    The end of the feed is the only signal that there is no more. An exception of `work` is a bug
    and ends everything: failures that belong to an item are for `work` to keep.
    """
    sender, receiver = anyio.create_memory_object_stream[T](max_buffer_size=workers)
    async with anyio.create_task_group() as group:
        for number in range(workers):
            group.start_soon(consume, receiver.clone(), work, name=f"worker-{number}")
        receiver.close()
        async with sender:
            async for item in feed:
                await offer(sender, item)


async def offer(sender: MemoryObjectSendStream[T], item: T) -> None:
    """Send without the cost of a checkpoint while there is room."""
    try:
        sender.send_nowait(item)
    except anyio.WouldBlock:
        await sender.send(item)
    except anyio.BrokenResourceError:
        # The workers were cancelled while the feed was in a thread, where it could not be.
        await checkpoint()
        raise


async def consume(
    receiver: MemoryObjectReceiveStream[T], work: Callable[[T], Awaitable[None]]
) -> None:
    """Work on items until the stream ends."""
    async with receiver:
        while True:
            try:
                item = receiver.receive_nowait()
            except anyio.EndOfStream:
                return
            except anyio.WouldBlock:
                try:
                    item = await receiver.receive()
                except anyio.EndOfStream:
                    return
            await work(item)
