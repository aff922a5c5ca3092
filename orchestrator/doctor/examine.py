"""Look at an org the way a run would, reading only: one finding after the other.

About five calls, and one per source of the plan. What a failure leaves without ground is skipped,
so that the first failing line is the one to mend.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import anyio
from anyio.streams.tls import TLSAttribute

from orchestrator.clock import Clock
from orchestrator.doctor.checks import (
    Finding,
    Grade,
    TlsFacts,
    allowed_finding,
    clock_finding,
    credential_finding,
    failed,
    limits_finding,
    optional,
    organization_finding,
    refused_finding,
    role_finding,
    scopes_finding,
    skipped,
    tls_finding,
)
from orchestrator.errors import OrchestratorError, ScopeMissing, Transient
from orchestrator.model import KeyRef, Resource
from orchestrator.okta.api import OktaApi, moment
from orchestrator.okta.call import Call
from orchestrator.okta.caps import SIGNER_BODY
from orchestrator.okta.credentials import Credential, ServiceApp
from orchestrator.okta.endpoints import ENDPOINTS, LOGS, ORGANIZATION
from orchestrator.okta.network import Network, tls_context
from orchestrator.okta.objects import PrincipalLimit
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.permissions import Need
from orchestrator.okta.service_app import ServiceAppCalls
from orchestrator.okta.wire import CallTrace, Reply

HANDSHAKE_SECONDS = 10.0
MOST_SOURCES = 20  # that are looked at, each by a call of the scarce bucket
AFTER_CREDENTIAL = ("scopes", "role", "limits")
AFTER_REACH = ("tls", "org", "clock", "credential", *AFTER_CREDENTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is going to be done, as far as it needs permission."""

    needs: tuple[Need, ...]
    apps: bool = True
    idps: bool = False
    log: bool = False
    sources: Sequence[KeyRef] = ()


class Examination:
    """One look at one org."""

    def __init__(
        self,
        api: OktaApi,
        *,
        credential: Credential,
        network: Network,
        wanted: Wanted,
        capacity: float,
        clock: Clock,
    ) -> None:
        self.api = api
        self.url = api.transport.url
        self.credential = credential
        self.network = network
        self.wanted = wanted
        self.at = ENDPOINTS[Resource.APP if wanted.apps else Resource.IDP]
        self.capacity = capacity
        self.clock = clock
        self.trace = CallTrace()

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield what is found, in an order in which each stands on those before it."""
        try:
            organization = await self.api.organization(self.trace)
        except OrchestratorError as error:
            yield failed("reach", error, error.hint or self.way_remedy(error))
            for check in AFTER_REACH:
                yield skipped(check, "the org could not be reached")
            return
        through = f" through the proxy {self.network.proxy}" if self.network.proxy else ""
        yield Finding(check="reach", grade=Grade.OK, text=f"{self.url} answers{through}")
        yield await self.tls()
        found = organization_finding(organization, self.url)
        yield found
        yield clock_finding(self.ahead_seconds())
        if found.grade is Grade.FAIL:
            for check in ("credential", *AFTER_CREDENTIAL):
                yield skipped(check, "no credential is shown to what is not an Okta org")
            return
        async for finding in self.permissions():
            yield finding

    async def permissions(self) -> AsyncIterator[Finding]:
        """Yield what the credential is good for."""
        first: Reply[bytes] | ScopeMissing
        read: Reply[bytes] | OrchestratorError
        try:
            first = await self.read(self.at.root, self.at.bucket, "limit=1")
        except ScopeMissing as error:
            first = error  # so the token itself is good
        except OrchestratorError as error:
            yield failed("credential", error)
            for check in AFTER_CREDENTIAL:
                yield skipped(check, "the credential is not accepted")
            return
        auth = self.api.transport.auth
        token = auth.token if isinstance(auth, ServiceAppCalls) else None
        yield credential_finding(self.credential, token)
        yield scopes_finding(self.credential, token, self.wanted.needs, first)
        yield role_finding(first, "apps" if self.wanted.apps else "identity providers")
        if self.wanted.idps:
            idps = ENDPOINTS[Resource.IDP]
            read = first  # where nothing but identity providers is wanted
            if self.wanted.apps:
                read = await self.tried(idps.root, idps.bucket, "limit=1")
            yield allowed_finding("idps", idps.root, read)
        if self.wanted.log:
            since = self.api.pacer.org_time(self.clock.wall()) - timedelta(minutes=1)
            query = f"limit=1&since={quote(moment(since))}"
            read = await self.tried(LOGS, Bucket.LOGS, query)
            yield optional(allowed_finding("log", LOGS, read))
        for key in self.wanted.sources[:MOST_SOURCES]:
            yield await self.source(key)
        more = len(self.wanted.sources) - MOST_SOURCES
        if more > 0:
            text = f"{more} more sources are not looked at"
            yield Finding(check="source", grade=Grade.OK, text=text)
        yield await self.limits()

    # Each look

    def way_remedy(self, error: OrchestratorError) -> str:
        """Say what to look at where the org could not be reached, and the error does not."""
        if isinstance(error.__cause__, Transient) and error.__cause__.answered:
            return (
                "does something else answer, such as the sign-in page of a network? Open"
                f" {self.url}{ORGANIZATION}"
            )
        if self.network.proxy:
            return f"is the proxy the right one, and may it open the way to {self.url}?"
        return (
            "are the address and the network right? If only a proxy leads out, name it: proxy of"
            " the profile, or HTTPS_PROXY"
        )

    async def tls(self) -> Finding:
        """Look at the handshake that every call begins with."""
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            text = "plain http, to this machine only"
            return Finding(check="tls", grade=Grade.OK, text=text)
        if self.network.proxy:
            return Finding(check="tls", grade=Grade.OK, text="trusted, through the proxy")
        try:
            with anyio.fail_after(HANDSHAKE_SECONDS):
                tls = await handshake(parts.hostname or "", parts.port or 443, self.network)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            text = f"a second handshake did not come about: {type(error).__name__}"
            return Finding(check="tls", grade=Grade.WARN, text=text)
        return tls_finding(tls, self.clock.wall())

    def ahead_seconds(self) -> float | None:
        """Return by how much this machine's clock is ahead of the org's, to a second or so."""
        pacer, wall = self.api.pacer, self.clock.wall()
        return (wall - pacer.org_time(wall)).total_seconds() if pacer.has_org_time else None

    async def read(self, root: str, bucket: Bucket, query: str) -> Reply[bytes]:
        """Read the smallest part of a list; what is in it does not matter here."""
        call = Call(
            method="GET",
            template=root,
            path=f"{root}?{query}",
            bucket=bucket,
            kind=bytes,
            reader=lambda body: body,
            most_bytes=SIGNER_BODY,
        )
        return await self.api.transport.send(call, self.trace)

    async def tried(
        self, root: str, bucket: Bucket, query: str
    ) -> Reply[bytes] | OrchestratorError:
        """Read the smallest part of a list, or return why it cannot be read."""
        try:
            return await self.read(root, bucket, query)
        except OrchestratorError as error:
            return error

    async def source(self, key: KeyRef) -> Finding:
        """Say whether a source of the plan, and its key where it is named, can be read."""
        check, name = "source", f"the source {key.app}"
        try:
            if key.is_known:
                found = (await self.api.get_key(key, self.trace)).refusal
            else:
                found = (
                    await self.api.get_signer(key.app, self.trace, resource=key.resource)
                ).refusal
        except OrchestratorError as error:
            return failed(check, error)
        if found is not None:
            return refused_finding(check, name, found)
        what = f"{name} has the key {key.kid}" if key.is_known else f"{name} can be read"
        return Finding(check=check, grade=Grade.OK, text=what)

    async def limits(self) -> Finding:
        """Look at what the answers so far announced, and at the share of this credential."""
        now = {bucket: self.api.pacer.view(bucket) for bucket in Bucket}
        views = {bucket: view for bucket, view in now.items() if view is not None}
        return limits_finding(views, self.capacity, await self.shares(), self.at.bucket)

    async def shares(self) -> list[PrincipalLimit] | None:
        """Return which part of the org's limits a credential like ours may use; None: not told."""
        try:
            return await own_shares(self.api, self.credential, self.trace)
        except OrchestratorError:
            return None


async def own_shares(
    api: OktaApi, credential: Credential, trace: CallTrace
) -> list[PrincipalLimit] | None:
    """Ask for the shares of service apps, or of API tokens, and keep our own where it is named."""
    is_app = isinstance(credential, ServiceApp)
    reply = await api.principal_limits("OAUTH_CLIENT" if is_app else "SSWS_TOKEN", trace)
    if reply.value is None:
        return None
    if isinstance(credential, ServiceApp):
        return [each for each in reply.value if each.principal_id == credential.client_id]
    return reply.value


async def handshake(host: str, port: int, network: Network) -> TlsFacts:
    """Return what a TLS handshake shows; nothing is sent after it."""
    stream = await anyio.connect_tcp(
        host,
        port,
        ssl_context=tls_context(network),
        tls_hostname=host,
        tls_standard_compatible=False,
    )
    async with stream:
        shown = stream.extra(TLSAttribute.peer_certificate, None) or {}  # noqa: S610 - anyio's, not Django's
        version = stream.extra(TLSAttribute.tls_version)  # noqa: S610
    until = shown.get("notAfter")
    seconds = ssl.cert_time_to_seconds(until) if isinstance(until, str) else None
    return TlsFacts(
        version=version,
        not_after=None if seconds is None else datetime.fromtimestamp(seconds, UTC),
        issuer=name_in(shown.get("issuer", ())),
    )


def name_in(subject: object) -> str | None:
    """Return the organization, else the common name, of a name as `ssl` shows it."""
    pairs: dict[str, str] = {}
    if isinstance(subject, tuple):
        for part in subject:
            pairs.update(part)
    return pairs.get("organizationName") or pairs.get("commonName")
