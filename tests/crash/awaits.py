"""Counts the awaits of chosen tasks, and acts at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Awaits:
    """The awaits of all chosen tasks, in the order in which the event loop meets them."""

    tasks: tuple[str, ...]  # how their names begin
    at: int  # from 1
    act: Callable[[], None] = lambda: None
    number: int = 0

    @property
    def are_reached(self) -> bool:
        return self.number >= self.at

    def tick(self) -> None:
        task = asyncio.current_task()
        if task is None or not task.get_name().startswith(self.tasks):
            return
        self.number += 1
        if self.number == self.at:
            self.act()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count in the tasks that the running loop begins meanwhile."""
        loop = asyncio.get_running_loop()
        former = loop.get_task_factory()
        loop.set_task_factory(self.begin)  # type: ignore[arg-type]  # its protocol is generic
        try:
            yield
        finally:
            loop.set_task_factory(former)

    def begin(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **rest: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(Counted(coroutine, self.tick), loop=loop, **rest)


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine that tells whenever it hands control back to the loop."""

    def __init__(self, inner: Coroutine[Any, Any, Any], tick: Callable[[], None]) -> None:
        self.inner = inner
        self.tick = tick

    def send(self, value: Any) -> Any:
        awaited = self.inner.send(value)
        self.tick()
        return awaited

    def throw(self, *raised: Any) -> Any:
        awaited = self.inner.throw(*raised)
        self.tick()
        return awaited

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self.inner.__await__()

    def __getattr__(self, name: str) -> Any:  # cr_running and the like, which anyio asks for
        return getattr(self.inner, name)
