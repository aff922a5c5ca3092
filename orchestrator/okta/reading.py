"""Read JSON that comes from outside: leniently where its sense is plain, and in bounded memory."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from orchestrator.okta.caps import MOST_ESCAPES, MOST_OBJECTS, MOST_VALUES

BOM = b"\xef\xbb\xbf"
CONTROLS = bytes.maketrans(bytes(range(32)), b" " * 32)
ESCAPED = re.compile(  # a whole pair of surrogates, half of one, or any other escape in JSON
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

T = TypeVar("T")


def decode(body: bytes, kind: type[T]) -> T:
    """Parse JSON into `kind`; raw line breaks inside strings are read as a space each.

    Okta's own guide prints a key with its base64 wrapped over lines. Half a pair of surrogates,
    which no text can hold, becomes a question mark.

    Raises:
        ValueError: the body is not JSON of that shape (msgspec's errors are ValueErrors), or would
            take far more memory than its bytes.
    """
    refuse_bloat(body, MOST_OBJECTS, MOST_VALUES)
    try:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.json.decode(mended(body), type=kind)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refuse_bloat(body: bytes, most_objects: int, most_values: int) -> None:
    """Refuse JSON of very many small values before any of them is made.

    Raises:
        ValueError: it has more than that.
    """
    if body.count(b"{") > most_objects or body.count(b",") > most_values:
        raise ValueError("too many values")


def mended(body: bytes) -> bytes:
    """Return JSON without what a strict parser stumbles over, though its sense is plain."""
    text = body.replace(b"\r\n", b" ").translate(CONTROLS).removeprefix(BOM)
    if text.count(b"\\") > MOST_ESCAPES:
        return text
    return ESCAPED.sub(lambda match: b"?" if match["half"] else match[0], text)
