"""Take secrets out of a text: the second net, for what the first, `Secret`, does not hold.

It knows the values of all that are a `Secret` now, in the ways in which they may be written, and
what credentials look like. It cannot know a secret that was never one of ours and looks like none.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote
from weakref import WeakKeyDictionary

from orchestrator.secret import LIVING, MASK, Secret

SHORTEST = 6  # characters; to mask the word `key` everywhere would help nobody
SHORTEST_LINE = 16  # of a value of many lines, such as a private key
PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "k")  # of a JWK, RFC 7518 section 6

# No two matches of one pattern can begin within a run of the same characters, so that long texts
# of others take no more time than their length.
BEFORE = r"(?<![\w-])"
SCHEMES = ("ssws", "bearer", "dpop", "basic")
FIELDS = (
    *("access_token", "refresh_token", "id_token"),
    *("client_assertion", "assertion", "client_secret", "passphrase"),
)
QUOTE = r"\\?[\"']"  # also within a text that JSON has quoted

# Per pattern: texts of which one is in every match, in small letters, for most texts have none; and
# what matches. Its first group is shown.
PATTERNS = tuple(
    (markers, re.compile(pattern, flags))
    for markers, pattern, flags in (
        (
            ("private key-",),
            r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)",
            re.DOTALL,
        ),
        (  # not the parameters of a challenge: Bearer realm="..."
            SCHEMES,
            rf"({BEFORE}(?:{'|'.join(SCHEMES)})\s+)(?![a-z_]+=)[\w.~+/-]{{16,}}=*",
            re.IGNORECASE,
        ),
        (
            ("authorization",),
            rf"(authorization\W{{1,6}}(?:{'|'.join(SCHEMES)})\s+)(?![a-z_]+=)[^\s\"',]+",
            re.IGNORECASE,
        ),
        (FIELDS, rf"({BEFORE}(?:{'|'.join(FIELDS)})=)[^&\s\"']+", re.IGNORECASE),
        (
            FIELDS,
            rf"({QUOTE}(?:{'|'.join(FIELDS)}){QUOTE}\s*:\s*{QUOTE})[^\"'\\]+",
            re.IGNORECASE,
        ),
        (
            ("'", '"'),
            rf"({QUOTE}(?:{'|'.join(PRIVATE_MEMBERS)}){QUOTE}\s*:\s*{QUOTE})[\w-]{{16,}}=*",
            0,
        ),
        # a JWT: a JSON object in base64url
        (("eyj",), rf"(){BEFORE}eyJ[\w-]{{5,}}\.[\w-]+\.[\w-]*", 0),
        (("00",), rf"(){BEFORE}00[\w-]{{40}}(?![\w-])", 0),  # an API token of Okta
        (("://",), r"(://[^/\s:@]*:)[^\s/\"']+(?=@)", 0),  # a password in a URL
    )
)

forms: WeakKeyDictionary[Secret, frozenset[str]] = WeakKeyDictionary()


def scrub(text: str) -> str:
    """Return a text without the values of our secrets, and without what looks like one."""
    # The longest first, whosever it is: one secret may be the beginning of another.
    for form in sorted((each for each in known_forms() if each in text), key=len, reverse=True):
        text = text.replace(form, MASK)
    lowered = text.lower()
    for markers, pattern in PATTERNS:
        if any(marker in lowered for marker in markers):
            text = pattern.sub(rf"\1{MASK}", text)
    return text


def known_forms() -> Iterator[str]:
    """Yield the ways in which the secrets of now may be written."""
    for reference in LIVING.valuerefs():  # a list made at once: other threads make secrets too
        secret = reference()
        if secret is None:
            continue
        found = forms.get(secret)
        if found is None:
            found = forms[secret] = frozenset(forms_of(secret.reveal()))
        yield from found


def forms_of(value: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written; none of one that is too short."""
    data = value.encode("utf-8", "surrogatepass")
    if len(value) >= SHORTEST:
        yield b64encode(data).decode()
        yield urlsafe_b64encode(data).decode().rstrip("=")
        yield data.hex()
    for part in parts_of(value):
        yield part
        yield json.dumps(part)[1:-1]
        yield repr(part)[1:-1]
        yield quote(part, safe="", errors="surrogatepass")


def parts_of(value: str) -> Iterator[str]:
    """Yield a value and what of it is as secret by itself: lines of a PEM, members of a JWK."""
    whole = value.strip()
    if len(whole) >= SHORTEST:
        yield whole
    lines = [line.strip() for line in whole.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE and line[:1] != "-")
    if whole.startswith("{"):
        try:
            jwk = json.loads(whole)
        except (ValueError, RecursionError):
            return
        members = [jwk.get(name) for name in PRIVATE_MEMBERS]
        yield from (text for text in members if isinstance(text, str) and len(text) >= SHORTEST)
