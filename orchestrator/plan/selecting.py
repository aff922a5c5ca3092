"""What selectors of a plan pick out of a picture of its org, and what speaks against it. Pure."""

from __future__ import annotations

from collections import Counter

from orchestrator.holders import Holder, Picture, Selector, SelectorKind, selected
from orchestrator.model import Reason, Resource
from orchestrator.plan.candidates import Told, none_fits, nothing, several

MOST_EXPLAINED = 10  # selectors that pick nothing; what may be meant takes time to find


class Chooser:
    """Answers selectors from one picture, each of them once."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.answers: dict[tuple[Resource, Selector], tuple[Holder, ...]] = {}
        self.without_answer = 0

    def picks(self, resource: Resource, selector: Selector) -> tuple[Holder, ...]:
        """Return all that a selector matches, in the order of the org's list."""
        asked = (resource, selector)
        if asked not in self.answers:
            self.answers[asked] = tuple(selected(selector, resource, self.picture))
        return self.answers[asked]

    def against_source(self, resource: Resource, selector: Selector) -> Told | None:
        """Say what is wrong with a label that has to name the one source."""
        found = self.picks(resource, selector)
        if len(found) > 1:
            return several(selector.text, found)
        return None if found else self.nothing(resource, selector)

    def against_targets(
        self, resource: Resource, selector: Selector, *, allow_oidc: bool
    ) -> Told | None:
        """Say what is wrong with what a selector of targets picks."""
        found = self.picks(resource, selector)
        if not found:
            return self.nothing(resource, selector)
        if selector.kind is SelectorKind.LABEL and len(found) > 1:
            return several(selector.text, found)
        left = Counter(unfit(holder, allow_oidc=allow_oidc) for holder in found)
        return None if None in left else none_fits(left, resource)

    def nothing(self, resource: Resource, selector: Selector) -> Told:
        self.without_answer += 1
        explains = self.without_answer <= MOST_EXPLAINED
        return nothing(selector, resource, self.picture, explains=explains)


def unfit(holder: Holder, *, allow_oidc: bool) -> Reason | None:
    """Return why something that a selector picks is no target; None if it is one."""
    if not holder.signs:
        return Reason.NOT_SIGNING
    return Reason.OIDC if holder.is_oidc and not allow_oidc else None
