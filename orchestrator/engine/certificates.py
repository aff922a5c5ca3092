"""Come by the certificates of kids: from the book, else from whoever signs with them, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from sys import intern
from textwrap import shorten
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from orchestrator.engine.pool import run_pool
from orchestrator.errors import AccessError, CallError, Halted
from orchestrator.holders import Holder
from orchestrator.model import AppId, Certificate, KeyRef, Kid
from orchestrator.okta.api import OktaApi
from orchestrator.okta.certificates import certificate_of, certificate_of_text
from orchestrator.okta.endpoints import ENDPOINTS
from orchestrator.okta.wire import CallTrace, JsonWebKey
from orchestrator.store.base import CertificateBook

MOST_ASKED = 3  # of those that sign with a key, until one shows it
KEPT_AT_ONCE = 50  # certificates; at 50 calls a minute, one minute of work
LONGEST_REASON = 200  # characters; it may quote the org
OTHER_KEY = "the org answered with another key"
NOT_LISTED = "the org does not list it with the keys of what signs with it"

Progress = Callable[[str, int, int | None], None]  # what, how many, of how many if that is known
T = TypeVar("T")


def in_silence(what: str, done: int, total: int | None) -> None:
    """Tell nobody."""


class CertificateReader:
    """Reads keys, and keeps in the book, if there is one, what it has read, also if it ends early.

    The failure of one key is a reason in `unknown`, and stops nothing. Both methods that read
    raise:
        AccessError: the org refuses our credential.
        Halted: the program is stopping.
    """

    def __init__(
        self,
        api: OktaApi,
        book: CertificateBook | None,
        *,
        workers: int,
        progress: Progress = in_silence,
    ) -> None:
        self.api = api
        self.book = book
        self.workers = workers
        self.progress = progress
        self.certificates: dict[Kid, Certificate] = {}  # in no order
        self.unknown: dict[Kid, str] = {}
        self.other_keys: dict[AppId, tuple[Kid, ...]] = {}  # see `Inventory`
        self.unlisted: dict[AppId, str] = {}  # why the keys of a holder are not known
        self.new: dict[Kid, Certificate] = {}  # not in the book yet
        self.done = 0
        self.end: AccessError | Halted | None = None

    # One call for each kid

    async def read_active(self, holders: Iterable[Holder]) -> None:
        """Read what holders sign with: one call for every kid that the book does not know."""
        unread: dict[Kid, list[KeyRef]] = {}
        for kid, refs in by_kid(holders).items():
            known = remembered(self.book, kid)
            if known is None:
                unread[kid] = refs
            else:
                self.certificates[kid] = known
        await self.work_off(list(unread.values()), self.read_key, of=lambda refs: refs[0])

    async def read_key(self, refs: Sequence[KeyRef]) -> None:
        """Read one key; where a holder is refused to us, or is gone, ask the next."""
        problem = ""
        for ref in refs:
            try:
                reply = await self.api.get_key(ref, CallTrace())
            except Halted:
                raise
            except CallError as error:
                self.learn(ref.kid, error.message)
                return
            if reply.refusal is None:
                self.learn(ref.kid, certificate_in(reply.value, ref.kid))
                return
            problem = problem or str(reply.refusal)
        self.learn(refs[0].kid, problem)

    # One call for each holder

    async def read_all(self, holders: Sequence[Holder]) -> None:
        """Read all keys of holders that sign: one call for every one of them."""
        await self.work_off(holders, self.list_keys, of=ref_of)
        for holder in holders:
            kid = holder.kid
            if kid is None or kid in self.certificates or kid in self.unknown:
                continue
            known = remembered(self.book, kid)
            self.learn(kid, known or self.unlisted.get(holder.id, NOT_LISTED))

    async def list_keys(self, holder: Holder) -> None:
        """Read the keys of one holder."""
        try:
            reply = await self.api.list_keys(holder.id, CallTrace(), resource=holder.resource)
        except Halted:
            raise
        except CallError as error:
            self.unlisted[holder.id] = short(error.message)
            return
        if reply.refusal is not None:
            self.unlisted[holder.id] = short(str(reply.refusal))
            return
        held: dict[Kid, str] = {}
        for key in reply.value or []:
            if key.kid:
                kid = Kid(intern(key.kid))
                held[kid] = key.created or ""
                if kid not in self.certificates:
                    self.learn(kid, certificate_in(key, kid))
        newest_first = sorted(held, key=lambda kid: (held[kid], kid), reverse=True)
        self.other_keys[holder.id] = tuple(kid for kid in newest_first if kid != holder.kid)

    # What both share

    async def work_off(
        self,
        items: Sequence[T],
        work: Callable[[T], Awaitable[None]],
        *,
        of: Callable[[T], KeyRef],
    ) -> None:
        """Do a call's work on every item, some at a time; `of` says which key it is about."""

        async def one(item: T) -> None:
            if self.end is not None:
                return
            try:
                await work(item)
            except (AccessError, Halted) as error:
                self.end = error
                return
            self.done += 1
            self.progress("keys", self.done, len(items))
            if len(self.new) >= KEPT_AT_ONCE:
                await self.keep()

        self.expect(map(of, items), 1)
        try:
            await run_pool(each(items), one, workers=self.workers)
        finally:
            self.expect(map(of, items), -1)
            with anyio.CancelScope(shield=True):
                await self.keep()
        if self.end is not None:
            raise self.end

    def expect(self, refs: Iterable[KeyRef], calls: int) -> None:
        """Tell the pacing of a call for each key, or that there will be none."""
        for ref in refs:
            self.api.pacer.expect(ENDPOINTS[ref.resource].bucket, calls)

    def learn(self, kid: Kid, found: Certificate | str) -> None:
        """Take in the certificate of a kid, or why it is not known."""
        if isinstance(found, str):
            self.unknown[kid] = short(found)
            return
        self.unknown.pop(kid, None)
        self.certificates[kid] = found
        if self.book is not None and self.book.get(kid) != found:
            self.new[kid] = found

    async def keep(self) -> None:
        """Write what is new into the book, which may have to wait for another process."""
        new, self.new = self.new, {}
        if new and self.book is not None:
            await run_sync(self.book.keep, new)


def by_kid(holders: Iterable[Holder]) -> dict[Kid, list[KeyRef]]:
    """Return for each kid where it may be read, the most promising first.

    OIDC apps come last: their keys are Okta's own, and not always to be had from them.
    """
    found: dict[Kid, list[KeyRef]] = {}
    for holder in sorted(holders, key=lambda holder: holder.is_oidc):
        if holder.kid is not None:
            refs = found.setdefault(holder.kid, [])
            if len(refs) < MOST_ASKED:
                refs.append(ref_of(holder))
    return found


def ref_of(holder: Holder) -> KeyRef:
    """Return the key that a holder signs with, as it holds it."""
    return KeyRef(app=holder.id, kid=holder.kid or Kid(""), resource=holder.resource)


def remembered(book: CertificateBook | None, kid: Kid) -> Certificate | None:
    """Return what the book says of a kid, if the certificate itself says the same.

    A file may be damaged, or edited, and a wrong date would hide that a certificate ends.
    """
    known = book.get(kid) if book is not None else None
    try:
        return known if known and certificate_of_text(known.x5c) == known else None
    except ValueError:
        return None


def certificate_in(key: JsonWebKey | None, kid: Kid) -> Certificate | str:
    """Return the certificate in an answer, or why it shows none of that kid."""
    if key is None or key.kid != kid:
        return OTHER_KEY
    try:
        return certificate_of(key)
    except ValueError as error:
        return str(error)


def in_order(
    holders: Iterable[Holder], others: Mapping[AppId, tuple[Kid, ...]], found: Mapping[Kid, T]
) -> dict[Kid, T]:
    """Return what was found of kids in the order of their holders: answers come in no order."""
    ordered: dict[Kid, T] = {}
    for holder in holders:
        for kid in (holder.kid, *others.get(holder.id, ())):
            if kid is not None and kid in found:
                ordered[kid] = found[kid]
    return ordered


def short(reason: str) -> str:
    return shorten(reason, LONGEST_REASON, placeholder="...")


async def each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
