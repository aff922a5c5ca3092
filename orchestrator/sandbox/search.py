"""The lists of apps and IdPs: `q`, `filter`, `type`, and paging by cursor.

Okta's filter takes ONE expression with the operator `eq`; pages have 20 entries unless the caller
asks for up to 200.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar
from urllib.parse import urlencode

from orchestrator.sandbox import documents, refusals
from orchestrator.sandbox.apps import SandboxApp
from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.idps import SandboxIdp
from orchestrator.sandbox.org import SandboxOrg

DEFAULT_LIMIT = 20
MAX_LIMIT = 200
EXPRESSION = re.compile(r'\s*([A-Za-z.]+)\s+eq\s+(?:"([^"]*)"|(true|false))\s*')


def logs_out(app: SandboxApp) -> str | None:
    """Return whether single logout is enabled, as a filter writes it; None: it has no setting."""
    sign_on = documents.child(documents.child(app.document(), "settings"), "signOn")
    enabled = documents.child(sign_on, "slo").get("enabled")
    return str(enabled).lower() if isinstance(enabled, bool) else None


PROPERTIES: Mapping[str, Callable[[SandboxApp], str | None]] = {
    "id": lambda app: app.id,
    "status": lambda app: app.status,
    "name": lambda app: app.name,
    "credentials.signing.kid": lambda app: app.active_kid,
    "settings.slo.enabled": logs_out,
    "user.id": lambda _app: None,  # of older documents; nobody is assigned to anything here
    "group.id": lambda _app: None,
}

Entry = TypeVar("Entry")
Holder = TypeVar("Holder", bound=KeyHolder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Entry]):
    """One page of a list, and the query that gets the next one."""

    entries: tuple[Entry, ...]
    query: Mapping[str, str]
    next_query: Mapping[str, str] | None


def search_apps(org: SandboxOrg, query: Mapping[str, str]) -> Page[SandboxApp]:
    """Return a page of apps in the order of their creation.

    As recorded, the links repeat `limit`, `after`, `q` and `filter` but no other parameter.
    """
    if "expand" in query:
        raise refusals.invalid("RequestParams", "Expand query is malformed")
    by_name, by_property = by_prefix(query.get("q")), by_filter(query.get("filter"))
    found = (app for app in org.apps.values() if by_name(app) and by_property(app))
    return page_of(org, found, query, ("q", "filter"))


def search_idps(org: SandboxOrg, query: Mapping[str, str]) -> Page[SandboxIdp]:
    """Return a page of identity providers in the order of their creation."""
    prefix, kind = (query.get("q") or "").lower(), query.get("type")
    found = (
        idp
        for idp in org.idps.values()
        if idp.name.lower().startswith(prefix) and kind in (None, idp.type)
    )
    return page_of(org, found, query, ("q", "type"))


def page_of(
    org: SandboxOrg, found: Iterable[Holder], query: Mapping[str, str], repeated: tuple[str, ...]
) -> Page[Holder]:
    """Return the page that the query asks for of what it has found, and how to go on."""
    limit = read_limit(query.get("limit"), allowed=range(1, MAX_LIMIT + 1), default=DEFAULT_LIMIT)
    after = read_cursor(org, query.get("after"))
    rest = (each for each in found if each.ordinal > after)
    entries = tuple(islice(rest, limit))
    kept = {name: query[name] for name in ("after", *repeated) if query.get(name)}
    kept["limit"] = str(limit)
    more = next(rest, None) is not None
    follow = kept | {"after": write_cursor(org, entries[-1].ordinal)} if more else None
    return Page(entries=entries, query=kept, next_query=follow)


def read_limit(text: str | None, *, allowed: range, default: int) -> int:
    """Return the page size, or refuse what Okta does not document."""
    if text is None:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or int(text) not in allowed:
        raise refusals.invalid("limit", f"limit: must be from {allowed[0]} to {allowed[-1]}.")
    return int(text)


def by_prefix(text: str | None) -> Callable[[SandboxApp], bool]:
    """Return the matcher of `q`: the start of name or label, whatever the case."""
    prefix = (text or "").lower()
    if not prefix:
        return lambda _app: True
    return lambda app: app.label.lower().startswith(prefix) or app.name.lower().startswith(prefix)


def by_filter(text: str | None) -> Callable[[SandboxApp], bool]:
    """Return the matcher of `filter`; a kid matches the ACTIVE key, not the key store."""
    if text is None:
        return lambda _app: True
    expression = EXPRESSION.fullmatch(text)
    if expression is None or expression[1] not in PROPERTIES:
        raise refusals.plain(400, "E0000031", f"filter: {text} is not supported.")
    read, wanted = PROPERTIES[expression[1]], expression[2] or expression[3] or ""
    return lambda app: read(app) == wanted


def write_cursor(org: SandboxOrg, position: int) -> str:
    """Return an opaque cursor that only this org takes."""
    return base64url(f"{position}.{cursor_check(org, position)}".encode())


def read_cursor(org: SandboxOrg, cursor: str | None) -> int:
    """Return the position of a cursor; 0 is before the first entry."""
    if cursor is None:
        return 0
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        position = int(text.partition(".")[0])
    except (Base64Error, ValueError):
        raise refusals.plain(400, "E0000029") from None
    if write_cursor(org, position) != cursor:
        raise refusals.plain(400, "E0000029")
    return position


def cursor_check(org: SandboxOrg, position: int) -> str:
    """Return what ties a cursor to the org."""
    return hashlib.sha256(f"{org.token}:{position}".encode()).hexdigest()[:8]


def page_links(org: SandboxOrg, path: str, page: Page[Entry]) -> tuple[tuple[str, str], ...]:
    """Return one Link header per relation, with the org's canonical URL."""
    address = f"{org.site.base_url}{path}"
    links = [("self", page.query)]
    if page.next_query is not None:
        links.append(("next", page.next_query))
    return tuple(("Link", f'<{address}?{urlencode(query)}>; rel="{rel}"') for rel, query in links)
