"""What holds keys in an org, as its lists show it, and the selectors that pick among it. Pure.

questions_of(...)             what a set of selectors has to know of the org
matches(selector, holder, picture)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from orchestrator.model import AppId, Kid, Resource

MOST_SHARING = 50  # holders of one key without a word: so many are in danger when it leaks
OIDC = "OPENID_CONNECT"
NOUNS: Mapping[Resource, tuple[str, str]] = {  # one, and many
    Resource.APP: ("app", "apps"),
    Resource.IDP: ("identity provider", "identity providers"),
}
SAML_IDP = "SAML2"  # the only type of identity provider that signs with a key of Okta's
FILTER = re.compile(r'\s*(?P<property>[A-Za-z_.]+)\s+eq\s+"(?P<value>[^"\\]*)"\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An app, or an identity provider, as a list of its org shows it."""

    id: AppId
    resource: Resource = Resource.APP
    label: str = ""  # of an identity provider: its name
    name: str | None = None  # which integration an app is made from, in Okta's catalog
    sign_on_mode: str | None = None  # of an identity provider: its type
    status: str | None = None
    kid: Kid | None = None  # it signs with
    last_updated: str | None = None

    @property
    def signs(self) -> bool:
        """Say whether it signs with a key that can be replaced."""
        can = self.resource is Resource.APP or self.sign_on_mode == SAML_IDP
        return self.kid is not None and can

    @property
    def is_oidc(self) -> bool:
        """Say whether Okta rotates its keys by itself."""
        return self.resource is Resource.APP and self.sign_on_mode == OIDC

    @property
    def is_active(self) -> bool:
        """Say whether people can use it; a list that does not say counts as yes."""
        return self.status in (None, "ACTIVE")


LISTED: Mapping[str, Callable[[Holder], str | None]] = {  # what filters ask, and a list shows
    "id": lambda holder: holder.id,
    "status": lambda holder: holder.status,
    "name": lambda holder: holder.name,
    "credentials.signing.kid": lambda holder: holder.kid,
}


class SelectorKind(StrEnum):
    """By what a plan picks targets out of an org."""

    LABEL = "label"
    LABEL_PREFIX = "label_prefix"
    LABEL_REGEX = "label_regex"
    FILTER = "filter"
    SIGNING_WITH = "signing_with"
    EXPIRING_WITHIN = "expiring_within"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One way in which a plan names targets, other than one by one."""

    kind: SelectorKind
    text: str  # as the plan writes it: a label, a pattern, an expression, a kid, a duration
    seconds: float = 0.0  # of `expiring_within`

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An org at one moment, as far as selectors ask about it."""

    at: datetime  # on the org's clock
    holders: Mapping[Resource, Sequence[Holder]]  # in the order of the org's lists
    ends: Mapping[Kid, datetime] = field(default_factory=dict)  # of certificates, where known
    unknown: Mapping[Kid, str] = field(default_factory=dict)  # why an end that is asked for is not
    filtered: Mapping[str, frozenset[AppId]] = field(default_factory=dict)  # what Okta lets through
    is_whole: bool = True  # the lists were not narrowed to what one selector asks for

    def of(self, resource: Resource) -> Sequence[Holder]:
        return self.holders.get(resource, ())

    def signing(self, resource: Resource) -> int:
        """Count what signs with a key; only of a whole picture."""
        return sum(holder.signs for holder in self.of(resource))


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What has to be known of an org for a set of selectors to be answered."""

    resources: tuple[Resource, ...] = ()  # whose lists are needed
    filters: tuple[str, ...] = ()  # what only Okta itself can answer, one list call each or more
    asks_ends: bool = False  # when certificates end
    asks_oidc: bool = False  # also those of OIDC apps
    narrow: str | None = None  # a filter that lets through all that is asked for

    @property
    def are_none(self) -> bool:
        return not self.resources


@lru_cache(maxsize=256)
def read_filter(expression: str) -> tuple[str, str] | None:
    """Return property and value of a filter that can be answered from the list alone, or None.

    Okta takes one expression with `eq` (List applications, parameter `filter`).
    """
    match = FILTER.fullmatch(expression)
    if match is None or match["property"] not in LISTED:
        return None
    return match["property"], match["value"]


def okta_filter(selector: Selector) -> str | None:
    """Return the filter with which Okta lists all that a selector matches, where there is one."""
    if selector.kind is SelectorKind.SIGNING_WITH:
        return f'credentials.signing.kid eq "{selector.text}"'
    return selector.text if selector.kind is SelectorKind.FILTER else None


def questions_of(
    selectors: Iterable[tuple[Resource, Selector]],
    *,
    counts: Iterable[Resource] = (),
    oidc: bool = False,
) -> Questions:
    """Say what has to be known of the org; `counts`: whose signing holders are to be counted.

    A lone selector that Okta can answer itself narrows the list: that spares most of its pages.
    """
    asked = list(dict.fromkeys(selectors))
    counted = tuple(counts)
    resources = tuple(dict.fromkeys([*(resource for resource, _ in asked), *counted]))
    narrow = None
    if len(asked) == 1 and not counted and asked[0][0] is Resource.APP:
        narrow = okta_filter(asked[0][1])
    filters = (
        selector.text
        for _, selector in asked
        if selector.kind is SelectorKind.FILTER and read_filter(selector.text) is None
    )
    return Questions(
        resources=resources,
        filters=() if narrow else tuple(dict.fromkeys(filters)),
        asks_ends=any(selector.kind is SelectorKind.EXPIRING_WITHIN for _, selector in asked),
        asks_oidc=oidc,
        narrow=narrow,
    )


def matches(selector: Selector, holder: Holder, picture: Picture) -> bool:
    """Say whether a selector picks a holder. Whether that can be a target is not asked here."""
    match selector.kind:
        case SelectorKind.LABEL:
            return holder.label == selector.text
        case SelectorKind.LABEL_PREFIX:
            return holder.label.startswith(selector.text)
        case SelectorKind.LABEL_REGEX:
            return re.search(selector.text, holder.label) is not None
        case SelectorKind.SIGNING_WITH:
            return holder.kid == selector.text
        case SelectorKind.FILTER:
            return passes(selector.text, holder, picture)
        case SelectorKind.EXPIRING_WITHIN:
            end = picture.ends.get(holder.kid) if holder.kid else None
            return end is not None and end - picture.at <= timedelta(seconds=selector.seconds)


def passes(expression: str, holder: Holder, picture: Picture) -> bool:
    """Say whether a filter lets a holder through: from the list, else from what Okta said."""
    local = read_filter(expression)
    if local is None:
        return holder.id in picture.filtered.get(expression, frozenset())
    property_, value = local
    return LISTED[property_](holder) == value


def selected(selector: Selector, resource: Resource, picture: Picture) -> Iterator[Holder]:
    """Yield what a selector picks, in the order of the org's list."""
    return (holder for holder in picture.of(resource) if matches(selector, holder, picture))
