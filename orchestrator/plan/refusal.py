"""Why a value is refused, and how much of it a message may show.

Nothing under `auth` is ever shown, and neither is the value of a key that we do not know: it may
be a secret that was put in the wrong place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from pydantic_core import PydanticCustomError

MOST_LISTED = 100  # problems of one plan; the rest are counted
SHOWN = 60  # characters of a value that a message shows
SECRET_WORDS = re.compile(r"token|passw|secret|private_?key|api_?key|credential", re.IGNORECASE)
REFUSED = "refused"  # the pydantic error type of all our own refusals


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands in the tree in place of a value that is already known to be wrong.

    No field accepts it, so validation reports it at its place together with everything else.
    An empty message means that the problem is reported elsewhere.
    """

    message: str
    hint: str | None = None


EMPTY = Refusal("has no value", "give it one, or remove the line")
ALREADY_SAID = Refusal("")


def refused(message: str, hint: str | None = None) -> PydanticCustomError:
    """Return the error that a field raises about its value."""
    return PydanticCustomError(REFUSED, "{message}", {"message": message, "hint": hint})


def not_yet(what: str, instead: str | None = None) -> PydanticCustomError:
    """Return the error for what the plan format names but this version cannot do."""
    return refused(not_yet_message(what), instead)


def not_yet_message(what: str) -> str:
    return f"{what} is not supported yet"


def echo(value: object) -> str:
    """Return a value as a message may show it: quoted, escaped, at most 60 characters."""
    text = str(value)
    if len(text) > SHOWN:
        text = f"{text[: SHOWN - 3]}..."
    return repr(text)[: 4 * SHOWN]


@lru_cache(maxsize=1024)
def closest(word: str, known: tuple[str, ...]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    found = get_close_matches(word.lower(), known, n=1, cutoff=0.7)
    return found[0] if found else None
