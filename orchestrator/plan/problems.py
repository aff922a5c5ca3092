"""From what validation says to problems at their places, in order, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from orchestrator.errors import PlanError, Problem
from orchestrator.plan.refusal import MOST_LISTED, REFUSED, Refusal
from orchestrator.plan.tree import path_text, place_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

KEY_STEP = "[key]"  # pydantic's last step to a key that our own reader refuses

SHAPES = {
    "model_type": ("must be a mapping", "write it as key: value lines below"),
    "dict_type": ("must be a mapping", "write it as key: value lines below"),
    "tuple_type": ("must be a list", "write it as lines that start with a dash"),
    "too_short": ("is empty", "give at least one"),
}

MISSING = {
    "version": "write version: 1",
    "name": "it identifies the plan or job in locks and reports",
    "jobs": "list at least one job",
    "source": "write source: {app: an app id, key: a kid}",
    "key": "write a kid, active, newest, or {generate: {validity_years: 3}}",
    "subject": "write subject: {common_name: ...}",
    "common_name": "the name that the certificate is for",
    "on": "say when it runs, such as on: target_staged",
    "run": "write the command as a list: [./upload.sh, --fast]",
    "targets": "list app ids, selectors such as {label: Finance EU}, or {file: targets.csv}",
    "label": "write {label: Finance HQ}, or the id in place of the mapping",
    "url": "write url: and the address of the org, such as https://acme.okta.com",
}


def problems_of(error: ValidationError, tree: object, file: str) -> Iterator[Problem]:
    """Yield every problem that validation found. No value is shown but by our own refusals."""
    for detail in error.errors(include_url=False):
        found = problem_of(detail, tree, file)
        if found is not None:
            yield found


def problem_of(detail: ErrorDetails, tree: object, file: str) -> Problem | None:
    location = [step for step in detail["loc"] if not (isinstance(step, str) and step[0:1] == "<")]
    is_about_key = detail["type"] == "extra_forbidden"
    if detail["type"] == REFUSED and location and location[-1] == KEY_STEP:
        location, is_about_key = location[:-1], True
    explained = explain(detail)
    if explained is None:
        return None
    message, hint = explained
    place = place_of(tree, location, at_key=is_about_key)
    return Problem(
        file=file,
        line=place.line,
        column=place.column,
        path=path_text(location),
        message=message,
        hint=hint,
    )


def explain(detail: ErrorDetails) -> tuple[str, str | None] | None:
    """Return message and hint, or None when the problem is reported elsewhere."""
    value = detail["input"]
    if isinstance(value, Refusal):
        return (value.message, value.hint) if value.message else None
    kind = detail["type"]
    if kind == REFUSED:
        context = detail["ctx"]
        return context["message"], context["hint"]
    if kind == "missing":
        return "is missing", MISSING.get(str(detail["loc"][-1]))
    if kind == "too_short" and value:
        return None  # it has items, and each of them is reported
    return SHAPES.get(kind, ("cannot be used", None))


def refuse(found: Iterable[Problem], *, hidden: int = 0) -> PlanError:
    """Return the error that lists problems by place, without repeats, and counts the rest.

    `hidden` more were counted before and not kept.
    """
    ordered = sorted(set(found), key=reading_order)
    return PlanError(ordered[:MOST_LISTED], hidden=hidden + len(ordered[MOST_LISTED:]))


def reading_order(problem: Problem) -> tuple[bool, str, int, int, str, str]:
    """Put the version first: every other problem depends on which format the plan is in."""
    return (
        problem.path != "version",
        problem.file,
        problem.line,
        problem.column,
        problem.path,
        problem.message,
    )
