"""The app list: `q`, `filter`, and paging by cursor.

Okta's filter takes ONE expression with the operator `eq`; pages have 20 apps unless the caller asks
for up to 200.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

from orchestrator.sandbox import refusals
from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.org import SandboxApp, SandboxOrg

DEFAULT_LIMIT = 20
MAX_LIMIT = 200
EXPRESSION = re.compile(r'\s*([A-Za-z.]+)\s+eq\s+"([^"]*)"\s*')
PROPERTIES: Mapping[str, Callable[[SandboxApp], str | None]] = {
    "id": lambda app: app.id,
    "status": lambda app: app.status,
    "name": lambda app: app.name,
    "credentials.signing.kid": lambda app: app.active_kid,
}

Matcher = Callable[[SandboxApp], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the app list, and the query that gets the next one."""

    apps: tuple[SandboxApp, ...]
    query: Mapping[str, str]
    next_query: Mapping[str, str] | None


def search_apps(org: SandboxOrg, query: Mapping[str, str]) -> Page:
    """Return a page of apps in the order of their creation.

    As recorded, the links repeat `limit`, `after`, `q` and `filter` but no other parameter.
    """
    if "expand" in query:
        raise refusals.invalid("RequestParams", "Expand query is malformed")
    limit = read_limit(query.get("limit"))
    after = read_cursor(org, query.get("after"))
    found = matches(org, after, [by_prefix(query.get("q")), by_filter(query.get("filter"))])
    apps = tuple(islice(found, limit))
    kept = {name: query[name] for name in ("after", "q", "filter") if query.get(name)}
    kept["limit"] = str(limit)
    more = next(found, None) is not None
    follow = kept | {"after": write_cursor(org, apps[-1].ordinal)} if more else None
    return Page(apps=apps, query=kept, next_query=follow)


def matches(org: SandboxOrg, after: int, matchers: list[Matcher]) -> Iterator[SandboxApp]:
    """Yield the apps created after the cursor that every matcher takes."""
    for app in org.apps.values():
        if app.ordinal > after and all(matcher(app) for matcher in matchers):
            yield app


def read_limit(text: str | None) -> int:
    """Return the page size, or refuse what Okta does not document."""
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise refusals.invalid("limit", f"limit: must be from 1 to {MAX_LIMIT}.")
    return int(text)


def by_prefix(text: str | None) -> Matcher:
    """Return the matcher of `q`: the start of name or label, whatever the case."""
    prefix = (text or "").lower()
    if not prefix:
        return lambda _app: True
    return lambda app: app.label.lower().startswith(prefix) or app.name.lower().startswith(prefix)


def by_filter(text: str | None) -> Matcher:
    """Return the matcher of `filter`; a kid matches the ACTIVE key, not the key store."""
    if text is None:
        return lambda _app: True
    expression = EXPRESSION.fullmatch(text)
    if expression is None or expression[1] not in PROPERTIES:
        raise refusals.plain(400, "E0000031", f"filter: {text} is not supported.")
    read, wanted = PROPERTIES[expression[1]], expression[2]
    return lambda app: read(app) == wanted


def write_cursor(org: SandboxOrg, ordinal: int) -> str:
    """Return an opaque cursor that only this org takes."""
    return base64url(f"{ordinal}.{cursor_check(org, ordinal)}".encode())


def read_cursor(org: SandboxOrg, cursor: str | None) -> int:
    """Return the position of a cursor; 0 is before the first app."""
    if cursor is None:
        return 0
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        ordinal = int(text.partition(".")[0])
    except (Base64Error, ValueError):
        raise refusals.plain(400, "E0000029") from None
    if write_cursor(org, ordinal) != cursor:
        raise refusals.plain(400, "E0000029")
    return ordinal


def cursor_check(org: SandboxOrg, ordinal: int) -> str:
    """Return what ties a cursor to the org."""
    return hashlib.sha256(f"{org.token}:{ordinal}".encode()).hexdigest()[:8]


def page_links(org: SandboxOrg, page: Page) -> tuple[tuple[str, str], ...]:
    """Return one Link header per relation, with the org's canonical URL."""
    address = f"{org.base_url}/api/v1/apps"
    links = [("self", page.query)]
    if page.next_query is not None:
        links.append(("next", page.next_query))
    return tuple(("Link", f'<{address}?{urlencode(query)}>; rel="{rel}"') for rel, query in links)
