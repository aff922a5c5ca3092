"""`okta-keys sandbox` as a process: what it prints is enough to rehearse with, time included."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import anyio

from tests.cli.program import started

FORTNIGHT = 14 * 24 * 3600


async def test_it_says_where_it_is_and_how_to_move_its_clock(tmp_path: Path) -> None:
    async with started("sandbox", "--port", "0", "--apps", "2", cwd=tmp_path) as process:
        assert process.stdout is not None
        text = ""
        with anyio.fail_after(30):
            while "clock: " not in text:
                text += (await process.stdout.receive()).decode()
        said = dict(line.split(": ", 1) for line in text.splitlines())
        address = re.search(r"POST (\S+)SECONDS", said["clock"])
        assert address is not None
        assert address[1].startswith(said["url"])
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{address[1]}{FORTNIGHT}") as reply,
        ):
            moved = datetime.fromisoformat((await reply.json())["now"])
        ahead = (moved - datetime.now(UTC)).total_seconds()
        assert abs(ahead - FORTNIGHT) < 60
        process.terminate()
        assert await process.wait() == 0
