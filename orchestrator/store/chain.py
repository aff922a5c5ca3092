"""The chain of hashes over a run's events: an edit, a removal or a swap breaks it.

hash(n) = SHA-256(hash(n-1) || canonical JSON of {at, body, kind, seq}), and hash(0) comes from the
run's id, so that the history of one run cannot stand in for another's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.model import RunId


def canonical(value: object) -> str:
    """Return the one JSON text for a value: ASCII, keys in order, no spaces.

    ASCII because an answer from the org may hold lone surrogates, which no encoding takes.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value is not JSON.
    """
    return json.dumps(
        value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
    )


@lru_cache(maxsize=64)
def quoted(text: str) -> str:
    """Return the JSON of a text that stands in many events: a kind, a time."""
    return canonical(text)


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of a chain: how many events it has, and the hash of the last."""

    seq: int
    digest: bytes

    def extend(self, *, at: str, kind: str, body: str) -> Tip:
        """Return the tip after one more event. `body` is canonical JSON already."""
        seq = self.seq + 1
        text = f'{{"at":{quoted(at)},"body":{body},"kind":{quoted(kind)},"seq":{seq}}}'
        return Tip(
            seq, hashlib.sha256(self.digest + text.encode("utf-8", "surrogatepass")).digest()
        )


def genesis(run_id: RunId) -> Tip:
    """Return the tip of a run that has no event yet."""
    return Tip(0, hashlib.sha256(b"okta-keys run " + run_id.encode()).digest())
