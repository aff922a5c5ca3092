"""Reading the System Log: the times, the filter, and paging.

Source: https://developer.okta.com/docs/reference/system-log-query/. Of SCIM's filters we know `eq`
on a few attributes, `and`, `or` and parentheses; anything else is refused, never ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice

from orchestrator.sandbox import refusals
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.search import Page, read_cursor, read_limit, write_cursor
from orchestrator.sandbox.systemlog import Event

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
DEFAULT_SPAN = timedelta(days=7)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
DEEPEST = 20  # parentheses within each other
TOKEN = re.compile(r'\s*(\(|\)|"[^"]*"|[A-Za-z][\w.]*)')
ATTRIBUTES: Mapping[str, Callable[[Event], str]] = {
    "eventtype": lambda event: event.type,
    "target.id": lambda event: event.target_id,
    "target.type": lambda event: event.target_type,
    "actor.id": lambda event: event.by.person.id,
    "transaction.id": lambda event: event.by.transaction,
    "uuid": lambda event: event.uuid,
    "outcome.result": lambda _event: "SUCCESS",
}

Matcher = Callable[[Event], bool]


def search_log(org: SandboxOrg, query: Mapping[str, str]) -> Page[Event]:
    """Return a page of events, `since` included and `until` not.

    The oldest come first unless `sortOrder` is DESCENDING. An ascending query without `until` has
    no last page, as at Okta: its next link waits for what is still to come.
    """
    now = datetime.fromtimestamp(org.epoch(), UTC)
    limit = read_limit(query.get("limit"), allowed=range(MAX_LIMIT + 1), default=DEFAULT_LIMIT)
    until = read_time(query, "until", default=now)
    since = read_time(query, "since", default=max(until, EARLIEST) - DEFAULT_SPAN)
    ascending = is_ascending(query.get("sortOrder", "ASCENDING"))
    polling = ascending and "until" not in query
    after = read_cursor(org, query.get("after"))
    fits, has_words = by_filter(query.get("filter")), by_words(query.get("q"))

    visible = list(org.system_log.visible(org.epoch(), org.log_lag_seconds))
    found = (
        event
        for event in (visible if ascending else reversed(visible))
        if is_beyond(event, after, ascending=ascending)
        and since <= event.published
        and (polling or event.published < until)
        and fits(event)
        and has_words(event)
    )
    events = tuple(islice(found, limit))
    more = next(found, None) is not None
    last = events[-1].number if events else after
    following = {**query, "after": write_cursor(org, last)}
    return Page(entries=events, query=query, next_query=following if more or polling else None)


def is_beyond(event: Event, position: int, *, ascending: bool) -> bool:
    """Say whether an event comes after the cursor, which is 0 at the beginning."""
    if ascending or position == 0:
        return event.number > position
    return event.number < position


def read_time(query: Mapping[str, str], name: str, default: datetime) -> datetime:
    """Return a time in ISO 8601; one without a zone is in UTC."""
    text = query.get(name)
    if text is None:
        return default
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise refusals.invalid(name, f"{name}: must be a time in ISO 8601.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def is_ascending(order: str) -> bool:
    """Read `sortOrder`."""
    if order not in ("ASCENDING", "DESCENDING"):
        raise refusals.invalid("sortOrder", "sortOrder: must be ASCENDING or DESCENDING.")
    return order == "ASCENDING"


def by_words(text: str | None) -> Matcher:
    """Return the matcher of `q`: every word stands somewhere in the event, whatever the case."""
    words = (text or "").lower().split()
    if not words:
        return lambda _event: True
    return lambda event: all(word in json.dumps(event.as_json()).lower() for word in words)


def by_filter(text: str | None) -> Matcher:
    """Return the matcher of `filter`."""
    return FilterReader(text).whole() if text is not None else lambda _event: True


class FilterReader:
    """Reads a SCIM filter (RFC 7644 section 3.4.2.2); `and` binds closer than `or`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self.split()
        self.place = 0
        self.depth = 0

    def split(self) -> list[str]:
        """Return the words, texts and parentheses of the filter."""
        tokens, place = [], 0
        while self.text[place:].strip():
            token = TOKEN.match(self.text, place)
            if token is None:
                raise self.refusal()
            tokens.append(token[1])
            place = token.end()
        return tokens

    def refusal(self) -> refusals.Refusal:
        """Return the refusal of this filter."""
        return refusals.plain(400, "E0000031", f"filter: {self.text} is not supported.")

    def next_is(self, word: str) -> bool:
        """Step over the next token if it is this one, whatever the case."""
        found = self.place < len(self.tokens) and self.tokens[self.place].lower() == word
        self.place += found
        return found

    def take(self) -> str:
        """Step over the next token and return it; there must be one."""
        if self.place == len(self.tokens):
            raise self.refusal()
        self.place += 1
        return self.tokens[self.place - 1]

    def whole(self) -> Matcher:
        """Read all of the filter."""
        matcher = self.either()
        if self.place < len(self.tokens):
            raise self.refusal()
        return matcher

    def either(self) -> Matcher:
        """Read what is joined by `or`."""
        parts = [self.both()]
        while self.next_is("or"):
            parts.append(self.both())
        return lambda event: any(part(event) for part in parts)

    def both(self) -> Matcher:
        """Read what is joined by `and`."""
        parts = [self.one()]
        while self.next_is("and"):
            parts.append(self.one())
        return lambda event: all(part(event) for part in parts)

    def one(self) -> Matcher:
        """Read one comparison, or something in parentheses."""
        if not self.next_is("("):
            return self.comparison()
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.refusal()
        inner = self.either()
        if not self.next_is(")"):
            raise self.refusal()
        self.depth -= 1
        return inner

    def comparison(self) -> Matcher:
        """Read `attribute eq "text"`."""
        read = ATTRIBUTES.get(self.take().lower())
        if read is None or not self.next_is("eq"):
            raise self.refusal()
        text = self.take()
        if not text.startswith('"'):
            raise self.refusal()
        wanted = text.strip('"')
        return lambda event: read(event) == wanted
