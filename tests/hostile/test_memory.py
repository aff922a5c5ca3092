"""What a hostile server makes us hold in memory: a child process says how much it was."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable

import pytest

from tests.hostile.caller import TOKEN
from tests.hostile.deeds import ALL, says
from tests.hostile.server import MEBIBYTE, hostile

pytestmark = pytest.mark.long

MOST = 200 * MEBIBYTE  # of the whole process
HEAPS: dict[str, Callable[[], bytes]] = {  # within the caps of bodies, and much larger once read
    "a page of empty objects": lambda: b"[" + b"{}," * 5_000_000 + b"{}]",
    "a page of objects": lambda: b"[" + b"{}," * 190_000 + b"{}]",
    "a page of numbers": lambda: b"[" + b"1," * 7_000_000 + b"1]",
    "a page of a million": lambda: b"[" + b"1," * 999_000 + b"1]",
    "a page of lists": lambda: b"[" + b"[]," * 999_000 + b"[]]",
    "a page of small apps": lambda: b"[" + b'{"id":"a"},' * 190_000 + b'{"id":"a"}]',
    "a page of breaks": lambda: b"\n" * 16 * MEBIBYTE,
    "a page of escapes": lambda: b'["' + b"\\ud800" * 2_000_000 + b'"]',
    "a page in UTF-16": lambda: ("[" + " " * 8_000_000 + "]").encode("utf-16"),
    "an app of numbers": lambda: b'{"id":"a","n":[' + b"1," * 99_000 + b"1]}",
    "an app of objects": lambda: b'{"id":"a","n":[' + b'{"a":1},' * 19_000 + b"1]}",
    "an app of one number": lambda: b'{"id":"a","n":' + b"1" * 2_000_000 + b"}",
    "metadata of elements": lambda: b"<a>" + b"<b/>" * 500_000 + b"</a>",
    "metadata of certificates": lambda: (
        b'<a xmlns="http://www.w3.org/2000/09/xmldsig#">'
        + b"<X509Certificate/>" * 110_000
        + b"</a>"
    ),
}
VOLUMES = [name for name in ALL if re.search("body|bomb|flood|without end|nested|length", name)]


@pytest.mark.parametrize("name", [*VOLUMES, *HEAPS])
async def test_no_answer_takes_more_memory_than_is_good(name: str) -> None:
    deed = ALL[name] if name in ALL else says(200, HEAPS[name]())
    async with hostile(deed) as org:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.hostile.child", org.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(child.communicate(), 110)
    assert child.returncode == 0, err.decode()
    told = json.loads(out)
    assert told["peak"] < MOST, told
    assert TOKEN.encode() not in out + err
    assert len(told["said"]) == 6
