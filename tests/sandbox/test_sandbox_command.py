"""`okta-keys sandbox` as a process: what it prints is enough to rehearse with, time included."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import anyio
import jwt
from anyio.abc import Process

from tests.cli.forked import okta_keys_forked
from tests.cli.program import started
from tests.sandbox.service_client import FORM, JWT_BEARER, TOKEN_PATH

FORTNIGHT = 14 * 24 * 3600


@asynccontextmanager
async def sandbox(*arguments: object, cwd: Path) -> AsyncIterator[tuple[Process, str]]:
    """Start `okta-keys sandbox`, and read all that it says once it serves."""
    async with started("sandbox", *arguments, cwd=cwd) as process:
        assert process.stdout is not None
        text = ""
        with anyio.fail_after(30):
            while "moves it on" not in text:
                text += (await process.stdout.receive()).decode()
        yield process, text


async def test_it_says_where_it_is_and_how_to_move_its_clock(tmp_path: Path) -> None:
    async with sandbox("--port", "0", "--apps", "2", cwd=tmp_path) as (process, text):
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


async def test_with_oauth_it_hands_out_a_key_and_how_to_use_it(tmp_path: Path) -> None:
    file = tmp_path / "a key.pem"
    async with sandbox("--dpop", "--key-file", file.name, "--apps", "1", cwd=tmp_path) as held:
        process, text = held
        plain = [line for line in text.splitlines() if not line.startswith("export ")]
        said = dict(line.split(": ", 1) for line in plain)
        exports = dict(
            word.split("=", 1)
            for word in shlex.split(text.partition("export ")[2].partition("clock: ")[0])
            if word != "export"
        )
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert said["private_key"] == exports["OKTA_CLIENT_PRIVATEKEY"] == str(file)
        assert said["client_id"] == exports["OKTA_CLIENT_CLIENTID"]
        assert exports["OKTA_CLIENT_ORGURL"] == said["url"]
        assert exports["OKTA_CLIENT_AUTHORIZATIONMODE"] == "PrivateKey"
        refusal = await ask_without_proof(exports, Path(said["private_key"]).read_text())
        assert refusal == "invalid_dpop_proof"  # so the client, its key and its scopes are known
        process.terminate()
        assert await process.wait() == 0
    assert not file.exists()


async def ask_without_proof(exports: dict[str, str], key: str) -> str:
    """Ask for a token with what was exported, and return the error."""
    url, client = exports["OKTA_CLIENT_ORGURL"] + TOKEN_PATH, exports["OKTA_CLIENT_CLIENTID"]
    soon = int(datetime.now(UTC).timestamp()) + 60
    claims = {"iss": client, "sub": client, "aud": url, "exp": soon}
    form = {
        "grant_type": "client_credentials",
        "scope": exports["OKTA_CLIENT_SCOPES"].replace(",", " "),
        "client_assertion_type": JWT_BEARER,
        "client_assertion": jwt.encode(claims, key, "RS256"),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=urlencode(form).encode(), headers=FORM) as reply,
    ):
        error: str = (await reply.json())["error"]
        return error


async def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "sandbox-key.pem"
    file.write_text("mine")
    ended = await okta_keys_forked("sandbox", "--oauth", cwd=tmp_path)
    assert ended.code == 4
    assert "is not overwritten" in ended.err
    assert "--key-file" in ended.err
    assert file.read_text() == "mine"
    idle = await okta_keys_forked("sandbox", "--key-file", "other.pem", cwd=tmp_path)
    assert idle.code == 4
    assert "add --oauth or --dpop" in idle.err
