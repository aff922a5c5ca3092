"""A program that makes every call to one server, and says what came of them in what memory.

    python -m tests.hostile.child URL

It may have no more than a gigabyte of addresses: what would take ten dies of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
from pathlib import Path

from orchestrator.errors import OrchestratorError
from orchestrator.okta.http import Timeouts
from orchestrator.okta.wire import CallTrace
from tests.hostile.caller import caller
from tests.hostile.test_answers import CALLS

MOST_ADDRESSES = 1024 * 1024 * 1024  # bytes
PATIENT = Timeouts(connect=2.0, read=1.0, whole=2.0)


async def main(url: str) -> None:
    """Make every call, and print one object of JSON."""
    said = {}
    async with caller(url, bounds=PATIENT) as api:
        await settle(api.organization(CallTrace()))  # whatever is loaded by the first call
        before = peak()
        for name, send in CALLS.items():
            said[name] = await settle(send(api))
    print(json.dumps({"said": said, "before": before, "peak": peak()}))


async def settle(call: object) -> str:
    try:
        await call  # type: ignore[misc]
    except OrchestratorError as error:
        return f"{type(error).__name__}: {error.message}"
    return "answered"


def peak() -> int:
    """Return the most memory that this process has had, in bytes.

    What getrusage() says begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    asyncio.run(main(sys.argv[1]))
