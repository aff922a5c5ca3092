"""What to say when a selector picks nothing, or too much: in words, with what may be meant. Pure.

What an org says is foreign text, and so only shown escaped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from heapq import nsmallest
from itertools import islice

from orchestrator.holders import NOUNS, Holder, Picture, Selector, SelectorKind
from orchestrator.model import Reason, Resource
from orchestrator.plan.refusal import echo

INVENTORY = "`okta-keys inventory` shows what there is"
MOST_HOLDERS = 5
MOST_LABELS = 5
MOST_KIDS = 3  # they are long
MOST_ENDS = 3
MOST_COMPARED = 10_000  # labels; comparing takes up to 30 microseconds each
LONGEST_COMPARED = 100  # characters of a label
REGEX_SIGNS = re.compile(r"\\[a-zA-Z]|[\\^$.*+?()\[\]{}|]")
PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")

Told = tuple[str, str]  # message and hint of a problem


def several(label: str, found: Sequence[Holder]) -> Told:
    """Tell that a label does not say which holder is meant."""
    nouns = NOUNS[found[0].resource][1]
    listed = ", ".join(
        f"{plain(holder.id)} ({plain(holder.status) if holder.status else 'no status'})"
        for holder in found[:MOST_HOLDERS]
    )
    more = f" and {len(found) - MOST_HOLDERS} more" if len(found) > MOST_HOLDERS else ""
    message = f"{len(found)} {nouns} have the label {echo(label)}: {listed}{more}"
    return message, "write the id of the one that is meant"


def none_fits(left: Mapping[Reason | None, int], resource: Resource) -> Told:
    """Tell why nothing of what a selector picks can be a target."""
    reasons = []
    if left.get(Reason.NOT_SIGNING):
        reasons.append(f"{left[Reason.NOT_SIGNING]} with no signing key of their own")
    if left.get(Reason.OIDC):
        reasons.append(f"{left[Reason.OIDC]} of OpenID Connect")
    message = f"selects only {NOUNS[resource][1]} that cannot be targets: {', '.join(reasons)}"
    hint = "allow_oidc: true takes those of OpenID Connect" if Reason.OIDC in left else INVENTORY
    return message, hint


def nothing(
    selector: Selector, resource: Resource, picture: Picture, *, explains: bool = True
) -> Told:
    """Tell that a selector picks nothing, and with `explains` what it could pick."""
    noun, nouns = NOUNS[resource]
    message = f"selects no {noun}"
    if selector.kind is SelectorKind.LABEL:
        message = f"no {noun} has the label {echo(selector.text)}"
    if picture.is_whole and not picture.of(resource):
        return message, f"the org shows us no {nouns} at all"
    explained = hints(selector, resource, picture) if explains else iter(())
    return message, next(explained, INVENTORY)


def hints(selector: Selector, resource: Resource, picture: Picture) -> Iterator[str]:
    """Yield what may be meant instead, if anything."""
    holders = picture.of(resource)
    match selector.kind:
        case SelectorKind.LABEL | SelectorKind.LABEL_PREFIX | SelectorKind.LABEL_REGEX:
            labels = closest_labels(selector, holders)
            if labels:
                yield f"the closest labels are {', '.join(map(echo, labels))}"
        case SelectorKind.SIGNING_WITH if picture.is_whole:
            kids = Counter(holder.kid for holder in holders if holder.signs and holder.kid)
            if kids:
                used = (f"{plain(kid)} ({count})" for kid, count in kids.most_common(MOST_KIDS))
                yield f"the keys most in use are {', '.join(used)}"
        case SelectorKind.EXPIRING_WITHIN:
            yield from hints_of_ends(holders, picture)


def hints_of_ends(holders: Sequence[Holder], picture: Picture) -> Iterator[str]:
    ends = (
        (picture.ends[holder.kid], holder.label)
        for holder in holders
        if holder.kid and holder.kid in picture.ends
    )
    soonest = [f"{echo(label)} on {end:%Y-%m-%d}" for end, label in nsmallest(MOST_ENDS, ends)]
    if soonest:
        yield f"the next to end are {', '.join(soonest)}"
    if picture.unknown:
        yield f"when {len(picture.unknown)} certificates end is not known"


def closest_labels(selector: Selector, holders: Sequence[Holder]) -> list[str]:
    """Return a few labels that a selector of labels was probably meant to pick, the best first."""
    text = selector.text[:LONGEST_COMPARED].casefold()
    length = len(text) if selector.kind is SelectorKind.LABEL_PREFIX else LONGEST_COMPARED
    if selector.kind is SelectorKind.LABEL_REGEX:
        text = REGEX_SIGNS.sub("", text)
    compared = {
        holder.label[:length].casefold(): holder.label
        for holder in islice(reversed(holders), MOST_COMPARED)
    }
    holding = islice((each for each in compared if text and text in each), MOST_LABELS)
    best = dict.fromkeys([*holding, *get_close_matches(text, compared, n=MOST_LABELS)])
    return [compared[each] for each in islice(best, MOST_LABELS)]


def plain(text: str) -> str:
    """Return what should be a word of Okta's; escaped, if it is not."""
    return text if PLAIN.fullmatch(text) else echo(text)
