"""The reference material beside the project: Okta's guide, its OpenAPI document, recordings.

The folder is not part of the project. Tests that read it skip where it is absent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

SHARED = Path(__file__).parents[2].parent / "shared"
SEED = SHARED / "seed"
WIRE = SHARED / "wire"
OPENAPI = SHARED / "openapi" / "okta-keys.openapi.yaml"


def needs(path: Path) -> pytest.MarkDecorator:
    """Return the mark that skips a test where the reference material is absent."""
    return pytest.mark.skipif(not path.exists(), reason=f"no reference material: {path.name}")


def read_json(name: str) -> Any:
    """Return a file of recordings; nothing where there is none, so that collecting works."""
    path = WIRE / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def body_of(document: object) -> bytes:
    """Write a document as Okta does: in UTF-8, without spaces."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One exchange with a real org, tokens taken out."""

    file: str
    index: int
    method: str
    url: URL
    status: int
    headers: CIMultiDictProxy[str]
    document: Any  # the parsed body; None where there was none

    @property
    def body(self) -> bytes:
        """Return the body as it came."""
        return b"" if self.document is None else body_of(self.document)

    @property
    def target(self) -> str:
        """Return path and query."""
        return self.url.raw_path_qs

    def __str__(self) -> str:
        return f"{self.file}-{self.index}-{self.method}-{self.status}"


def recorded_exchanges() -> list[Recorded]:
    """Return every recorded exchange, file by file and in the order they were made."""
    return [
        new_recorded(path.stem, index, entry)
        for path in sorted(WIRE.glob("*.json"))
        for index, entry in enumerate(read_json(path.name))
        if "response" in entry
    ]


def new_recorded(file: str, index: int, entry: Any) -> Recorded:
    answer = entry["response"]
    return Recorded(
        file=file,
        index=index,
        method=entry["request"]["method"],
        url=URL(entry["request"]["url"], encoded=True),
        status=answer["status"],
        headers=CIMultiDictProxy(CIMultiDict(answer["headers"])),
        document=answer.get("body"),
    )
