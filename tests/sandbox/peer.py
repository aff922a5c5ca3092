"""A plain HTTP caller for the tests of the sandbox: it knows nothing of our own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxApp, SandboxOrg
from orchestrator.sandbox.serve import serve

PLENTY = LimitSettings(org_limits={"apps": 100_000, "app.read": 100_000, "app.write": 100_000})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rate(self) -> tuple[int, int, int]:
        """Limit, remaining and reset."""
        names = ("Limit", "Remaining", "Reset")
        limit, remaining, reset = (int(self.headers[f"X-Rate-Limit-{name}"]) for name in names)
        return limit, remaining, reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    url: str
    org: SandboxOrg
    session: aiohttp.ClientSession

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = 10.0,
    ) -> Reply:
        async with self.session.request(
            method,
            self.url + path,
            params=query,
            headers=headers,
            json=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response:
            content = await response.read()
            return Reply(status=response.status, headers=response.headers, body=content)

    async def get(self, path: str, **rest: Any) -> Reply:
        return await self.send("GET", path, **rest)

    async def post(self, path: str, **rest: Any) -> Reply:
        return await self.send("POST", path, **rest)

    async def put(self, path: str, body: object, **rest: Any) -> Reply:
        return await self.send("PUT", path, body=body, **rest)

    async def clone(self, source: SandboxApp, kid: str, target: str, **rest: Any) -> Reply:
        return await self.post(f"{keys_path(source.id)}/{kid}/clone?targetAid={target}", **rest)


def app_path(app_id: str) -> str:
    return f"/api/v1/apps/{app_id}"


def keys_path(app_id: str) -> str:
    return f"{app_path(app_id)}/credentials/keys"


def active_kid(app: SandboxApp) -> str:
    assert app.active_kid is not None
    return app.active_kid


@asynccontextmanager
async def opened(
    org: SandboxOrg, *, limits: LimitSettings = PLENTY, faults: FaultScript | None = None
) -> AsyncIterator[Peer]:
    """Serve the org, and return a caller that holds its token."""
    async with serve(org, limits=limits, faults=faults) as served:
        headers = {"Authorization": f"SSWS {org.token}"}
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(headers=headers, cookie_jar=jar) as session:
            yield Peer(url=served.url, org=org, session=session)
