"""Secrets that nothing else in the world contains, and the search for them in all that is left.

A canary is looked for in every way in which a program may write it by accident, base64 included
at any offset: a password within `user:password` has another base64 than by itself.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote, quote_plus

SHORTEST = 12  # of what is looked for: chance must not find it
# No text of ours has one: assertions, proofs and access tokens of service apps do.
JWT = re.compile(rb"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")


def canary(length: int = 24) -> str:
    """Return a new one, which has the alphabet of tokens and is long enough for every check."""
    return f"00canary{token_urlsafe(length)}"


def forms_of(value: str) -> set[bytes]:
    """Return the ways in which a secret may be written."""
    plain = value.encode()
    texts = {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe="")}
    texts |= {quote_plus(value), json.dumps(json.dumps(value))[3:-3]}
    found = {text.encode() for text in texts} | {plain.hex().encode(), plain.hex().upper().encode()}
    for offset in range(3):
        # The first digits hold what stands before, the last what stands behind.
        digits = b64encode(bytes(offset) + plain)
        begin, end = (0, 2, 3)[offset], (len(plain) + offset) // 3 * 4
        inner = digits[begin:end]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return {form for form in found if len(form) >= SHORTEST}


def parts_of_key(text: str) -> dict[str, str]:
    """Return what is secret of a private key in PEM or as a JWK, each by itself."""
    if text.startswith("{"):
        jwk = json.loads(text)
        return {name: jwk[name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in jwk}
    lines = [line for line in text.splitlines() if line and not line.startswith("-")]
    # The first line of PKCS 8 says what kind of key it is, and is the same for all keys.
    return {f"line {number}": line for number, line in enumerate(lines) if number and line}


def leaks(evidence: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Return where which secret is."""
    wanted = {form: name for name, value in secrets.items() for form in forms_of(value)}
    return [
        f"{name} as {form[:6]!r}... in {place}"
        for place, data in evidence.items()
        for form, name in wanted.items()
        if form in data
    ]


def jwts(evidence: Mapping[str, bytes]) -> list[str]:
    return [place for place, data in evidence.items() if JWT.search(data)]


def files_in(folder: Path, *, but: Iterable[Path] = ()) -> dict[str, bytes]:
    """Return what all files below a folder hold, and their names; `but` is where secrets belong."""
    left_out = {path.resolve() for path in but}
    found = dict(contents(folder, left_out))
    names = "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return found | {"names of files": names.encode()}


def contents(folder: Path, left_out: set[Path]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.resolve() not in left_out:
            yield str(path.relative_to(folder)), path.read_bytes()
