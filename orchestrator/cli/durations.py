"""Durations on the command line: written as in plans."""

from __future__ import annotations

from datetime import timedelta
from typing import overload

from pydantic_core import PydanticCustomError

from orchestrator.errors import UsageError
from orchestrator.plan.fields import read_duration


@overload
def duration_of(text: str, option: str) -> timedelta: ...
@overload
def duration_of(text: str | None, option: str) -> timedelta | None: ...


def duration_of(text: str | None, option: str) -> timedelta | None:
    """Return the value of an option, such as 90s, 10m, 2h or 14d.

    Raises:
        UsageError: it is not a duration.
    """
    if text is None:
        return None
    try:
        return timedelta(seconds=read_duration(text))
    except PydanticCustomError as error:
        hint = (error.context or {}).get("hint")
        raise UsageError(f"{option}: {error.message()}", hint=hint) from error
