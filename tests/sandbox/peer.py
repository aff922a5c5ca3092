"""A plain HTTP caller for the tests of the sandbox: it knows nothing of our own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from orchestrator.sandbox.apps import SandboxApp
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve

PLENTY = LimitSettings(
    org_limits=dict.fromkeys(("apps", "app.read", "app.write", "v1", "logs"), 100_000)
)


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
        data: bytes | None = None,
        seconds: float = 10.0,
    ) -> Reply:
        """Send a request with a JSON body, with bytes, or with neither."""
        async with self.session.request(
            method,
            self.url + path,
            params=query,
            headers=headers,
            json=body,
            data=data,
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

    async def delete(self, path: str, **rest: Any) -> Reply:
        return await self.send("DELETE", path, **rest)

    async def activate(self, app: SandboxApp, kid: str, **rest: Any) -> Reply:
        """Read an app and put it back with another signing key, as a careful client does."""
        document = (await self.get(app_path(app.id))).json()
        document["credentials"]["signing"]["kid"] = kid
        return await self.put(app_path(app.id), document, **rest)

    async def clone(self, source: SandboxApp, kid: str, target: str, **rest: Any) -> Reply:
        return await self.post(f"{keys_path(source.id)}/{kid}/clone?targetAid={target}", **rest)


def app_path(app_id: str) -> str:
    return f"/api/v1/apps/{app_id}"


def idp_path(idp_id: str) -> str:
    return f"/api/v1/idps/{idp_id}"


def csrs_path(holder: KeyHolder) -> str:
    return f"/api/v1/{holder.resource}s/{holder.id}/credentials/csrs"


def keys_path(app_id: str) -> str:
    return f"{app_path(app_id)}/credentials/keys"


def active_kid(holder: KeyHolder) -> str:
    assert holder.active_kid is not None
    return holder.active_kid


@asynccontextmanager
async def opened(
    org: SandboxOrg, *, limits: LimitSettings = PLENTY, faults: FaultScript | None = None
) -> AsyncIterator[Peer]:
    """Serve the org, and return a caller that holds its token."""
    async with serve(org, limits=limits, faults=faults) as served:
        headers = {"Authorization": f"SSWS {org.token}"}
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(headers=headers, cookie_jar=jar) as session:
            # Otherwise aiohttp quietly sends a PUT, DELETE or GET again whose answer was lost.
            session._retry_connection = False
            yield Peer(url=served.url, org=org, session=session)
