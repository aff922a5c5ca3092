"""The endpoints of Okta that we call: one method each, in terms of apps and keys.

Identity providers are apps to all methods that take a `resource`. Source: Okta API reference,
"Application SSO credential keys", "Identity provider signing keys" and "System Log".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar
from urllib.parse import quote

from orchestrator.model import AppId, CsrRequest, KeyRef, Kid, Resource
from orchestrator.okta.call import Call
from orchestrator.okta.caps import KEYS_BODY, SIGNER_BODY
from orchestrator.okta.certificates import x5c_in_metadata
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.endpoints import (
    ENDPOINTS,
    LOGS,
    ORGANIZATION,
    PRINCIPALS,
    clone_path,
    key_path,
    metadata_path,
    path_of,
    segment,
)
from orchestrator.okta.http import Transport
from orchestrator.okta.objects import (
    IdentityProvider,
    LogEvent,
    Organization,
    PrincipalLimit,
    csr_body,
)
from orchestrator.okta.pacer import Bucket, Slot
from orchestrator.okta.pages import pages
from orchestrator.okta.wire import (
    Application,
    CallTrace,
    JsonWebKey,
    Reply,
    SigningRequest,
)

APPS = ENDPOINTS[Resource.APP].root
IDPS = ENDPOINTS[Resource.IDP].root
LARGEST_PAGE = 200
LARGEST_LOG_PAGE = 1000

T = TypeVar("T")


class OktaApi:
    """Signing keys, and what signs with them, of one org.

    Every method raises what `Transport.send` raises.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.pacer = transport.pacer

    # Keys

    async def clone_key(self, source: KeyRef, target: AppId, trace: CallTrace) -> Reply[JsonWebKey]:
        """Copy a key into the target's key store. It does not become the target's active key.

        Safe to repeat: the second time Okta refuses with the duplicate cause.
        """
        endpoints = ENDPOINTS[source.resource]
        call = Call(
            method="POST",
            template=f"{endpoints.keys_template}/{{keyId}}/clone",
            path=clone_path(source, target),
            bucket=endpoints.bucket,
            kind=JsonWebKey,
        )
        return await self.transport.send(call, trace)

    async def get_key(self, key: KeyRef, trace: CallTrace) -> Reply[JsonWebKey]:
        """Read one key."""
        endpoints = ENDPOINTS[key.resource]
        template = f"{endpoints.keys_template}/{{keyId}}"
        return await self.get(template, key_path(key), endpoints.bucket, JsonWebKey, trace)

    async def list_keys(
        self, app: AppId, trace: CallTrace, *, resource: Resource = Resource.APP
    ) -> Reply[list[JsonWebKey]]:
        """Read all keys of an app, in no order to rely on. There is no paging."""
        endpoints = ENDPOINTS[resource]
        call = Call(
            method="GET",
            template=endpoints.keys_template,
            path=f"{path_of(app, resource)}/credentials/keys",
            bucket=endpoints.bucket,
            kind=list[JsonWebKey],
            most_bytes=KEYS_BODY,
        )
        return await self.transport.send(call, trace)

    async def generate_key(
        self,
        app: AppId,
        validity_years: int,
        trace: CallTrace,
        *,
        resource: Resource = Resource.APP,
    ) -> Reply[JsonWebKey]:
        """Make a new key, for 2 to 10 years; not repeatable. It does not become active.

        Real orgs answer 201 for both resources, Okta's reference says 200 for identity providers.
        """
        endpoints = ENDPOINTS[resource]
        keys = f"{path_of(app, resource)}/credentials/keys"
        call = Call(
            method="POST",
            template=f"{endpoints.keys_template}/generate",
            path=f"{keys}/generate?validityYears={validity_years}",
            bucket=endpoints.bucket,
            kind=JsonWebKey,
            repeatable=False,
        )
        return await self.transport.send(call, trace)

    # Certificate signing requests

    async def create_csr(
        self,
        app: AppId,
        request: CsrRequest,
        trace: CallTrace,
        *,
        resource: Resource = Resource.APP,
    ) -> Reply[SigningRequest]:
        """Make a key pair, unlisted, and a signing request for it; not repeatable."""
        endpoints = ENDPOINTS[resource]
        call = Call(
            method="POST",
            template=endpoints.csrs_template,
            path=f"{path_of(app, resource)}/credentials/csrs",
            bucket=endpoints.bucket,
            kind=SigningRequest,
            body=csr_body(request),
            content_type="application/json",
            repeatable=False,
        )
        return await self.transport.send(call, trace)

    async def list_csrs(
        self, app: AppId, trace: CallTrace, *, resource: Resource = Resource.APP
    ) -> Reply[list[SigningRequest]]:
        """Read the signing requests that are not published yet. There is no paging."""
        endpoints = ENDPOINTS[resource]
        path = f"{path_of(app, resource)}/credentials/csrs"
        return await self.get(
            endpoints.csrs_template, path, endpoints.bucket, list[SigningRequest], trace
        )

    async def publish_csr(
        self,
        app: AppId,
        csr_id: str,
        certificate_pem: bytes,
        trace: CallTrace,
        *,
        resource: Resource = Resource.APP,
    ) -> Reply[JsonWebKey]:
        """Turn a signing request and its certificate into a key; not repeatable.

        The request is gone afterwards. The key does not become active.
        """
        endpoints = ENDPOINTS[resource]
        csr = f"{path_of(app, resource)}/credentials/csrs/{segment(csr_id)}"
        call = Call(
            method="POST",
            template=f"{endpoints.csrs_template}/{{csrId}}/lifecycle/publish",
            path=f"{csr}/lifecycle/publish",
            bucket=endpoints.bucket,
            kind=JsonWebKey,
            body=certificate_pem,
            content_type="application/x-pem-file",
            repeatable=False,
        )
        return await self.transport.send(call, trace)

    # Apps and identity providers

    async def get_signer(
        self, app: AppId, trace: CallTrace, *, resource: Resource = Resource.APP
    ) -> Reply[SignerDocument]:
        """Read one app whole; its bucket is apart from that of the keys."""
        endpoints = ENDPOINTS[resource]
        call = Call(
            method="GET",
            template=endpoints.template,
            path=path_of(app, resource),
            bucket=endpoints.read_bucket,
            kind=SignerDocument,
            reader=partial(SignerDocument.parse, resource=resource),
            most_bytes=SIGNER_BODY,
        )
        return await self.transport.send(call, trace)

    def write_slot(
        self, resource: Resource, trace: CallTrace
    ) -> AbstractAsyncContextManager[Slot | None]:
        """Wait now for the slot of a `put_signer`, so that nothing waits between read and write.

        There is none for identity providers: their reads share the bucket of their writes, and
        would wait for slots that others hold while waiting for reads.
        """
        if resource is Resource.IDP:
            return nullcontext()
        return self.transport.slot(ENDPOINTS[resource].write_bucket, trace)

    async def put_signer(
        self,
        app: AppId,
        body: bytes,
        trace: CallTrace,
        *,
        resource: Resource = Resource.APP,
        slot: Slot | None = None,
    ) -> Reply[bytes]:
        """Replace one app whole, and return it as the org has it then; not repeatable.

        There is no If-Match: what somebody else wrote since the read is overwritten. With a slot
        it is sent once and at once, so on a `NoAnswer` that is not `lost`, read again and retry.
        """
        endpoints = ENDPOINTS[resource]
        call = Call(
            method="PUT",
            template=endpoints.template,
            path=path_of(app, resource),
            bucket=endpoints.write_bucket,
            kind=bytes,
            reader=lambda echo: SignerDocument.parse(echo, resource).body,
            body=body,
            content_type="application/json",
            repeatable=False,
        )
        return await self.transport.send(call, trace, slot)

    async def list_apps(
        self, trace: CallTrace, *, filter_: str | None = None, page_size: int = LARGEST_PAGE
    ) -> AsyncIterator[Application]:
        """Yield apps page by page, one call a page. `filter_` is one Okta expression.

        Raises:
            Refused: the org refuses a page, or links to anything but its own list.
        """
        query = {"limit": str(page_size)} | ({"filter": filter_} if filter_ else {})
        async for page in pages(self.transport, APPS, query, Bucket.APPS, Application, trace):
            for app in page:
                yield app

    async def signers_with(
        self, kid: Kid, trace: CallTrace, *, resource: Resource = Resource.APP
    ) -> AsyncIterator[Application]:
        """Yield what signs with a key now; identity providers in the words of apps.

        Okta can filter apps by their active key, and identity providers by nothing of the kind.
        The filter alone is never trusted. Raises as `list_apps` does.
        """
        if resource is Resource.IDP:
            signers = self.list_idps(trace)
        else:
            signers = self.list_apps(trace, filter_=f'credentials.signing.kid eq "{segment(kid)}"')
        async for signer in signers:
            if signer.active_kid == kid:
                yield signer

    async def list_idps(self, trace: CallTrace) -> AsyncIterator[Application]:
        """Yield identity providers in the words of apps; pages and errors as in `list_apps`."""
        query = {"limit": str(LARGEST_PAGE)}
        async for page in pages(self.transport, IDPS, query, Bucket.IDPS, IdentityProvider, trace):
            for idp in page:
                yield idp.as_application

    async def get_metadata(self, app: AppId, kid: Kid, trace: CallTrace) -> Reply[bytes]:
        """Read an app's SAML metadata as it is, or will be, with one of its keys active."""
        call = Call(
            method="GET",
            template=f"{ENDPOINTS[Resource.APP].template}/sso/saml/metadata",
            path=metadata_path(app, kid),
            bucket=Bucket.APPS,
            kind=bytes,
            reader=read_metadata,
            accept="application/xml",
            most_bytes=SIGNER_BODY,
        )
        return await self.transport.send(call, trace)

    # The org

    async def log_events(
        self, since: datetime, until: datetime, filter_: str, trace: CallTrace
    ) -> AsyncIterator[LogEvent]:
        """Yield the events of the System Log between two moments of the org's clock, oldest first.

        `filter_` is a SCIM expression. One call per 1000 events, of a bucket of its own.

        Raises:
            Refused: the org refuses a page, or links to anything but its log.
            ScopeMissing: the token may not read the log (okta.logs.read); like any AccessError it
                ends a run unless it is caught.
        """
        query = {
            "since": moment(since),
            "until": moment(until),  # without it, the next link of an ascending list never ends
            "filter": filter_,
            "limit": str(LARGEST_LOG_PAGE),
            "sortOrder": "ASCENDING",
        }
        async for page in pages(self.transport, LOGS, query, Bucket.LOGS, LogEvent, trace):
            if not page:
                return
            for event in page:
                yield event

    async def organization(self, trace: CallTrace) -> Reply[Organization]:
        """Ask who the org is, without a credential; also the cheapest way to its clock."""
        call = Call(
            method="GET",
            template=ORGANIZATION,
            path=ORGANIZATION,
            bucket=Bucket.ORG,
            kind=Organization,
            signed=False,
        )
        return await self.transport.send(call, trace)

    async def principal_limits(
        self, principal_type: Literal["SSWS_TOKEN", "OAUTH_CLIENT"], trace: CallTrace
    ) -> Reply[list[PrincipalLimit]]:
        """Ask which part of the org's rate limits tokens, or service apps, may use."""
        query = quote(f'principalType eq "{principal_type}"')
        path = f"{PRINCIPALS}?filter={query}"
        return await self.get(PRINCIPALS, path, Bucket.PRINCIPALS, list[PrincipalLimit], trace)

    # What the methods above share

    async def get(
        self, template: str, path: str, bucket: Bucket, kind: type[T], trace: CallTrace
    ) -> Reply[T]:
        """Send a GET."""
        call = Call(method="GET", template=template, path=path, bucket=bucket, kind=kind)
        return await self.transport.send(call, trace)


def moment(at: datetime) -> str:
    """Return a moment as Okta writes it: ISO 8601 in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_metadata(body: bytes) -> bytes:
    """Return a body that is SAML metadata.

    Raises:
        ValueError: it is not.
    """
    x5c_in_metadata(body)
    return body
