"""The way to the org over real sockets: what TLS holds to, and what becomes of proxies."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Thread

import aiohttp
import anyio
import pytest
import trustme
from aiohttp.client_reqrep import ConnectionKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError, NoAnswer, Transient
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.model import AppId
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken
from orchestrator.okta.http import Timeouts
from orchestrator.okta.network import Network, tls_context
from orchestrator.okta.retry import RetryPolicy
from orchestrator.okta.unreached import failure_of_exchange
from orchestrator.okta.wire import CallTrace
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess

APP = AppId("0oa8ae1t5yev2ajDs0h7")
TOKEN, PASSWORD = "00canary-token", "hunter2-ü:@"
FEW = RetryPolicy(attempts=2, rate_refusals=2, first_wait=0.01, longest_wait=0.02)
SHORT = Timeouts(connect=2.0, read=2.0, whole=4.0)
BODY = b"[]"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


@dataclass(frozen=True)
class Authority:
    """A CA, and files with what it signs."""

    ca: trustme.CA
    folder: Path

    @property
    def ca_file(self) -> Path:
        path = self.folder / "ca.pem"
        if not path.exists():
            self.ca.cert_pem.write_to_path(path)
        return path

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("localhost",))).configure_cert(context)
        return context

    def client_files(self) -> tuple[Path, Path]:
        made = self.ca.issue_cert("orchestrator@example.com")
        cert, key = self.folder / "client.pem", self.folder / "client.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return cert, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(trustme.CA(), tmp_path_factory.mktemp("ca"))


@dataclass
class Server:
    """An org, or a proxy, that notes the heads of the requests it gets."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)  # tunnels

    @property
    def text(self) -> str:
        return "\n".join(self.heads)


@asynccontextmanager
async def org(context: ssl.SSLContext | None) -> AsyncIterator[Server]:
    """Serve an org that answers everything with the same.

    By blocking sockets: asyncio drops the alert by which TLS says why a handshake has failed.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(port=listener.getsockname()[1])
        thread = Thread(target=answer_all, args=(listener, context, server), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def answer_all(listener: socket.socket, context: ssl.SSLContext | None, server: Server) -> None:
    with suppress(OSError):
        while True:
            talk, _ = listener.accept()
            Thread(target=answer, args=(talk, context, server), daemon=True).start()


def answer(talk: socket.socket, context: ssl.SSLContext | None, server: Server) -> None:
    talk.settimeout(5)
    with suppress(OSError), talk, talk.dup() as bare:
        if context is None:
            talk.recv(65536)
            talk.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            secure = context.wrap_socket(talk, server_side=True)
        except ssl.SSLError:  # what is left unread would overtake the alert, as a reset
            bare.shutdown(socket.SHUT_WR)
            while bare.recv(65536):
                pass
            return
        with secure:
            while head := secure.recv(65536):
                server.heads.append(head.decode())
                secure.sendall(ANSWER)


@asynccontextmanager
async def proxy(
    *, refuses: int = 0, signs_in: str | None = None, context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Serve a proxy for CONNECT; `signs_in` is the user and password that it insists on."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        server.heads.append(head)
        expected = base64.b64encode((signs_in or "").encode()).decode()
        status = refuses
        if signs_in is not None and f"Proxy-Authorization: Basic {expected}\r\n" not in head:
            status = 407
        if status:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            await writer.drain()
            return
        where = head.split()[1]
        server.opened.append(where)
        name, _, port = where.rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(name, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with listening(server, handle, context):
        yield server


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(
    server: Server,
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None,
) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def client(url: str, network: Network, bounds: Timeouts = SHORT) -> AsyncIterator[OktaApi]:
    async with open_api(
        OrgAccess(url=url, credential=ApiToken(token=Secret(TOKEN)), network=network),
        capacity=1.0,
        bounds=bounds,
        clock=SystemClock(),
        halt=Halt(),
        random=Random(0),
        observer=Broadcast(),
        retry=FEW,
    ) as api:
        yield api


async def ask(server: Server, network: Network, *, host: str = "localhost") -> None:
    async with client(f"https://{host}:{server.port}", network) as api:
        await api.list_keys(APP, CallTrace())


async def refusal(server: Server, network: Network, *, host: str = "localhost") -> NoAnswer:
    with pytest.raises(NoAnswer) as caught:
        await ask(server, network, host=host)
    assert TOKEN not in caught.value.diagnostics()
    assert "hunter2" not in caught.value.diagnostics()
    return caught.value


async def test_a_ca_of_ones_own_is_trusted_where_it_is_named(authority: Authority) -> None:
    async with org(authority.server()) as server:
        await ask(server, Network(ca_file=authority.ca_file))
    assert "SSWS 00canary-token" in server.text


async def test_a_foreign_ca_gets_no_token(authority: Authority, tmp_path: Path) -> None:
    other = Authority(trustme.CA(), tmp_path)
    async with org(authority.server()) as server:
        for network in (Network(), Network(ca_file=other.ca_file)):
            error = await refusal(server, network)
            assert (
                error.message
                == f"the certificate of https://localhost:{server.port} is not trusted"
            )
            assert "ca_file" in str(error.hint)
            assert not error.lost
    assert not server.heads


async def test_a_certificate_for_another_host_gets_no_token(authority: Authority) -> None:
    async with org(authority.server("acme.okta.com")) as server:
        error = await refusal(server, Network(ca_file=authority.ca_file))
    assert "another host" in str(error.hint)
    assert not server.heads


@contextmanager
def old_versions_allowed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


async def test_a_server_that_knows_only_old_tls_is_refused(authority: Authority) -> None:
    context = authority.server()
    with old_versions_allowed():
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with org(context) as server:
        error = await refusal(server, Network(ca_file=authority.ca_file))
    assert "speaks no TLS that is new enough" in error.message
    assert not server.heads


async def test_tls_1_2_is_new_enough(authority: Authority) -> None:
    context = authority.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with org(context) as server:
        await ask(server, Network(ca_file=authority.ca_file))
    assert server.heads


async def test_what_speaks_no_tls_is_told_so(authority: Authority) -> None:
    async with org(None) as server:
        error = await refusal(server, Network(ca_file=authority.ca_file))
    assert "does not speak TLS" in error.message


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_of_ours_is_presented_where_it_is_demanded(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server()
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    cert, key = authority.client_files()
    async with org(context) as server:
        error = await refusal(server, Network(ca_file=authority.ca_file))
        assert "client_cert" in str(error.hint), error.diagnostics()
        await ask(server, Network(ca_file=authority.ca_file, client_cert=cert, client_key=key))
        both = authority.folder / "both.pem"
        both.write_bytes(cert.read_bytes() + key.read_bytes())
        await ask(server, Network(ca_file=authority.ca_file, client_cert=both))
    assert len(server.heads) == 2


async def test_a_client_certificate_of_another_ca_is_not_accepted(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(trustme.CA(), tmp_path)
    cert, key = other.client_files()
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    async with org(context) as server:
        error = await refusal(
            server, Network(ca_file=authority.ca_file, client_cert=cert, client_key=key)
        )
    assert "does not accept our client certificate" in error.message


def test_files_that_cannot_be_used_are_told_before_any_call(
    authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.client_files()
    empty, gone = tmp_path / "empty.pem", tmp_path / "gone.pem"
    empty.write_text("")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # nobody writes into it
    locked = tmp_path / "locked.pem"
    private = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")
        )
    )
    (tmp_path / "other").mkdir()
    _, foreign = Authority(authority.ca, tmp_path / "other").client_files()
    for network, message in (
        (Network(ca_file=empty), "holds none that can be read"),
        (Network(ca_file=gone), "cannot be read: there is no such file"),
        (Network(ca_file=tmp_path), "cannot be read: it is a directory"),
        (Network(ca_file=pipe), "cannot be read: it is a named pipe"),
        (Network(client_cert=gone), "cannot be read: there is no such file"),
        (Network(client_cert=pipe, client_key=key), "cannot be read: it is a named pipe"),
        (Network(client_cert=cert, client_key=pipe), "cannot be read: it is a named pipe"),
        (Network(client_cert=empty), "cannot be read"),
        (Network(client_cert=cert, client_key=locked), "is encrypted"),
        (Network(client_cert=cert, client_key=foreign), "does not belong to"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            tls_context(network)
        assert str(tmp_path) in caught.value.diagnostics()


def test_every_context_checks_certificates_and_names() -> None:
    context = tls_context(Network())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_calls_go_through_the_proxy_and_the_token_does_not_stay_there(
    authority: Authority,
) -> None:
    async with org(authority.server()) as server, proxy() as between:
        way = Network(ca_file=authority.ca_file, proxy=f"http://127.0.0.1:{between.port}")
        await ask(server, way)
    assert between.opened == [f"localhost:{server.port}"]
    assert TOKEN in server.text
    assert TOKEN not in between.text
    assert "authorization" not in between.text.lower()


async def test_the_proxy_learns_its_password_and_the_org_does_not(authority: Authority) -> None:
    async with org(authority.server()) as server, proxy(signs_in=f"me:{PASSWORD}") as between:
        way = Network(
            ca_file=authority.ca_file,
            proxy=f"http://127.0.0.1:{between.port}",
            proxy_user="me",
            proxy_password=Secret(PASSWORD),
        )
        async with client(f"https://localhost:{server.port}", way) as api:
            await api.list_keys(APP, CallTrace())
            await api.list_keys(APP, CallTrace())
    assert len(between.opened) == 1  # one tunnel for both
    assert len(server.heads) == 2
    assert "Proxy-Authorization" not in server.text


async def test_a_proxy_over_tls_is_held_to_its_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    async with org(authority.server()) as server:
        async with proxy(context=authority.server()) as between:
            way = Network(ca_file=authority.ca_file, proxy=f"https://localhost:{between.port}")
            await ask(server, way)
            assert between.opened
        other = Authority(trustme.CA(), tmp_path)
        async with proxy(context=other.server()) as between:
            way = Network(ca_file=authority.ca_file, proxy=f"https://localhost:{between.port}")
            error = await refusal(server, way)
    assert error.message == f"the certificate of the proxy localhost:{between.port} is not trusted"
    assert len(server.heads) == 1


async def test_a_password_that_is_no_text_reaches_the_proxy_as_it_is() -> None:
    password = Secret(os.fsdecode(b"p\xff"))  # as the environment has it
    async with proxy(refuses=407) as between:
        url = f"http://127.0.0.1:{between.port}"
        way = Network(proxy=url, proxy_user="u", proxy_password=password)
        await refusal(Server(port=443), way)
    assert f"Basic {base64.b64encode(b'u:p' + bytes([255])).decode()}" in between.text


@pytest.mark.parametrize(
    ("status", "message", "asked"),
    [
        (407, "the proxy wants to know who we are", 1),
        (403, "does not open the way", 1),
        (503, "after 2 attempts: the proxy could not open the way to the org (503)", 2),
    ],
)
async def test_a_proxy_that_refuses_is_named_and_the_org_is_not_blamed(
    authority: Authority, status: int, message: str, asked: int
) -> None:
    async with org(authority.server()) as server, proxy(refuses=status) as between:
        way = Network(
            ca_file=authority.ca_file,
            proxy=f"http://127.0.0.1:{between.port}",
            proxy_user="me",
            proxy_password=Secret(PASSWORD),
        )
        error = await refusal(server, way)
    assert message in error.message
    assert len(between.heads) == asked
    assert not error.lost
    assert not server.heads


async def test_a_proxy_that_is_down_is_named(authority: Authority) -> None:
    async with org(authority.server()) as server:
        async with proxy() as between:
            pass
        way = Network(ca_file=authority.ca_file, proxy=f"http://127.0.0.1:{between.port}")
        error = await refusal(server, way)
    where = f"the proxy 127.0.0.1:{between.port}"
    assert f"{where} cannot be reached: nothing listens on that port" in error.message
    assert not error.lost


async def test_a_proxy_that_stays_silent_is_not_waited_for_as_an_org_is(
    authority: Authority,
) -> None:
    bounds = Timeouts(connect=0.2, read=0.2, whole=60.0)
    silent = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await asyncio.sleep(60)
        writer.close()

    async with org(authority.server()) as server, listening(silent, handle, None):
        way = Network(ca_file=authority.ca_file, proxy=f"http://127.0.0.1:{silent.port}")
        with anyio.fail_after(20):
            async with client(f"https://localhost:{server.port}", way, bounds) as api:
                with pytest.raises(NoAnswer) as caught:
                    await api.list_keys(APP, CallTrace())
    assert "no connection: nobody answered in time" in caught.value.message
    assert not caught.value.lost
    assert not server.heads


def key_of(host: str) -> ConnectionKey:
    return ConnectionKey(host, 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            aiohttp.ClientConnectorDNSError(key_of("acme.okta.com"), OSError(-2, "hunter2")),
            "the host name acme.okta.com is not known",
        ),
        (
            aiohttp.ClientConnectorDNSError(key_of("proxy.acme"), OSError(-2, "hunter2")),
            "the proxy's host name proxy.acme is not known",
        ),
        (
            aiohttp.ClientProxyConnectionError(key_of("::1"), OSError(errno.EHOSTUNREACH, "")),
            "the proxy [::1]:443 cannot be reached: no route to host",
        ),
        (
            aiohttp.ClientConnectorError(key_of("acme.okta.com"), OSError("hunter2 everywhere")),
            "no connection: OSError",
        ),
        (
            aiohttp.ClientConnectorError(key_of("acme.okta.com"), ConnectionRefusedError()),
            "no connection: nothing listens on that port",
        ),
        (aiohttp.ConnectionTimeoutError("hunter2"), "nobody answered in time"),
    ],
)
def test_why_there_is_no_connection(failure: aiohttp.ClientError, said: str) -> None:
    error = failure_of_exchange(failure, "https://acme.okta.com")
    assert isinstance(error, Transient)
    assert not error.lost
    assert said in error.message
    assert "hunter2" not in error.message


@pytest.mark.parametrize(
    ("url", "whose"),
    [("https://[::1]:8443", "https://[::1]:8443"), ("https://a.okta.com", "the proxy [::1]:8443")],
)
def test_a_certificate_at_an_ipv6_address_is_told_like_any_other(url: str, whose: str) -> None:
    key = key_of("::1")._replace(port=8443)
    error = aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError())
    assert f"certificate of {whose} is not trusted" in failure_of_exchange(error, url).message


async def test_no_variable_and_no_netrc_says_which_way_calls_go(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with org(authority.server()) as server:
        await ask(server, Network(ca_file=authority.ca_file))
    assert "Basic" not in server.text
