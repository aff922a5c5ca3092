"""The endpoints of Okta that we call: one method each, in terms of apps and keys.

Source: Okta API reference, "Application SSO credential keys" and "Applications".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, urlencode

from orchestrator.errors import Refused
from orchestrator.model import AppId, KeyRef
from orchestrator.okta.http import Call, Transport
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import Application, CallTrace, JsonWebKey, Reply, next_page

APPS = "/api/v1/apps"
KEYS = f"{APPS}/{{appId}}/credentials/keys"
LARGEST_PAGE = 200

T = TypeVar("T")


class OktaApi:
    """Signing keys and apps of one org. Every method raises what `Transport.send` raises."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.pacer = transport.pacer

    async def clone_key(self, source: KeyRef, target: AppId, trace: CallTrace) -> Reply[JsonWebKey]:
        """Copy a key into the target's key store. It does not become the target's active key.

        Safe to repeat: the second time Okta refuses with the duplicate cause.
        """
        call = Call(
            method="POST",
            template=f"{KEYS}/{{keyId}}/clone",
            path=f"{key_path(source)}/clone?targetAid={quote(target, safe='')}",
            bucket=Bucket.APPS,
            kind=JsonWebKey,
        )
        return await self.transport.send(call, trace)

    async def get_key(self, key: KeyRef, trace: CallTrace) -> Reply[JsonWebKey]:
        """Read one key of an app."""
        return await self.read(f"{KEYS}/{{keyId}}", key_path(key), JsonWebKey, trace)

    async def list_keys(self, app: AppId, trace: CallTrace) -> Reply[list[JsonWebKey]]:
        """Read all keys of an app, in no order to rely on. There is no paging."""
        return await self.read(KEYS, f"{app_path(app)}/credentials/keys", list[JsonWebKey], trace)

    async def get_app(self, app: AppId, trace: CallTrace) -> Reply[Application]:
        """Read one app; its bucket is apart from that of the keys."""
        template, bucket = f"{APPS}/{{appId}}", Bucket.APP_READ
        return await self.read(template, app_path(app), Application, trace, bucket)

    async def read(
        self,
        template: str,
        path: str,
        kind: type[T],
        trace: CallTrace,
        bucket: Bucket = Bucket.APPS,
    ) -> Reply[T]:
        """Send a GET."""
        call = Call(method="GET", template=template, path=path, bucket=bucket, kind=kind)
        return await self.transport.send(call, trace)

    async def list_apps(
        self, trace: CallTrace, *, filter_: str | None = None, page_size: int = LARGEST_PAGE
    ) -> AsyncIterator[Application]:
        """Yield apps page by page, one call a page. `filter_` is one Okta expression.

        Raises:
            Refused: the org refuses a page, or links to anything but its own list.
        """
        query = {"limit": str(page_size)} | ({"filter": filter_} if filter_ else {})
        path: str | None = f"{APPS}?{urlencode(query, quote_via=quote)}"
        while path:
            reply = await self.read(APPS, path, list[Application], trace)
            if reply.refusal:
                raise Refused(
                    f"the org does not list its apps: {reply.refusal}", call=f"GET {APPS}"
                )
            for app in reply.value or ():
                yield app
            try:
                path = next_page(reply.link, APPS)
            except ValueError as error:
                raise Refused(f"the org's list leads elsewhere: {error}") from error


def app_path(app: AppId) -> str:
    return f"{APPS}/{quote(app, safe='')}"


@lru_cache(maxsize=64)  # a run clones few keys into many targets
def key_path(key: KeyRef) -> str:
    return f"{app_path(key.app)}/credentials/keys/{quote(key.kid, safe='')}"
