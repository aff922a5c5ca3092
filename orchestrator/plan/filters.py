"""Filters of Okta's app list, as a plan writes them: one expression with `eq`."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from orchestrator.holders import LISTED
from orchestrator.plan.fields import text_of
from orchestrator.plan.refusal import closest, echo, refused

PROPERTIES = (*LISTED, "user.id", "group.id", "settings.slo.enabled")  # the last: for Okta only
SLO = "settings.slo.enabled"  # the one property that is true or false
STATUSES = ("ACTIVE", "INACTIVE")  # of what a list of apps shows
HAS_STATUS = " or ".join(STATUSES)
LONGEST_FILTER = 1000  # characters
EXPRESSION = re.compile(
    r'\s*(?P<property>[A-Za-z_.]+)\s+eq\s+(?P<value>"[^"\\]+"|true|false)\s*', re.IGNORECASE
)
OPERATOR = re.compile(r"\s*\S+\s+(?P<operator>co|ew|ge|gt|le|lt|ne|pr|sw)\b.*", re.DOTALL)
IN_QUOTES = re.compile(r'"[^"]*"')
COMBINED = re.compile(r"\b(?:and|or|not)\b|[()\[\]]", re.IGNORECASE)
EXAMPLE = 'name eq "amazon_aws"'
FILTER = (
    rf"\s*(?:(?:id|name|credentials\.signing\.kid|user\.id|group\.id|{re.escape(SLO)})"
    rf'\s+[Ee][Qq]\s+"[^"\\]+"|status\s+[Ee][Qq]\s+"(?:{"|".join(STATUSES)})"'
    rf"|{re.escape(SLO)}\s+[Ee][Qq]\s+(?:true|false))\s*"
)


def read_filter_text(value: object) -> str:
    """Return a filter with single spaces, as it is sent to Okta.

    Okta takes a single expression, with the operator `eq` alone (List applications, `filter`).
    """
    text = text_of(value, f"a filter such as {EXAMPLE}")
    match = EXPRESSION.fullmatch(text)
    if match is None or len(text) > LONGEST_FILTER:
        raise refused(f"{echo(text)} is not a filter of apps", filter_hint(text))
    property_, given = match["property"], match["value"]
    is_quoted = given.startswith('"')
    if property_ not in PROPERTIES:
        raise refused(
            f"{echo(property_)} is not what apps are filtered by", property_hint(property_)
        )
    if property_ != SLO and not is_quoted:
        raise refused(f"the value {given} must be in quotes", f'write {property_} eq "{given}"')
    if property_ == "status" and given[1:-1] not in STATUSES:
        raise refused(f"{echo(given[1:-1])} is not a status of apps", f"it is {HAS_STATUS}")
    return f"{property_} eq {given if is_quoted else given.lower()}"


def filter_hint(text: str) -> str:
    """Say what is wrong with a filter that cannot be read."""
    if len(text) > LONGEST_FILTER:
        return f"at most {LONGEST_FILTER} characters"
    if text.count('"') % 2:
        return "a quote is opened and not closed"
    if COMBINED.search(IN_QUOTES.sub("", text)):
        return "Okta takes one expression: targets are the union of all lines, less `exclude`"
    operator = OPERATOR.fullmatch(text)
    if operator:
        return f"Okta knows `eq` here, not `{operator['operator']}`; or select by label_prefix"
    if "'" in text or '"' not in text:
        return f"write the value in double quotes: {EXAMPLE}"
    return f"a property, eq and a value, such as {EXAMPLE}"


def property_hint(text: str) -> str:
    if text.lower() == "label":
        return "to select by label, write {label: ...} instead"
    meant = closest(text, PROPERTIES)
    return f"did you mean {meant}?" if meant else f"known here: {', '.join(PROPERTIES)}"


FilterField: TypeAlias = Annotated[
    str,
    PlainValidator(read_filter_text),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{FILTER}$",
            "maxLength": LONGEST_FILTER,
            "examples": [EXAMPLE],
        }
    ),
]
