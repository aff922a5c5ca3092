"""The ways in which a secret gets to the program."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache

import anyio
import trustme
from anyio.abc import ByteStream, SocketAttribute
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import RSAAlgorithm

from orchestrator.sandbox.clientele import SandboxServiceApp
from tests.cli.canary import parts_of_key
from tests.cli.canary_scene import Scene
from tests.cli.program import ROOT

CLIENT, TERRAFORM = "OKTA_CLIENT_", "OKTA_API_"


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk_of_key() -> str:
    jwk = json.loads(RSAAlgorithm.to_jwk(key()))
    return json.dumps({name: value for name, value in jwk.items() if name != "key_ops"})


def pem_of_key(passphrase: str | None = None) -> str:
    hidden = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden).decode()


def service_app(scene: Scene, *texts: str, dpop: bool = False) -> SandboxServiceApp:
    """Add the app of the key to the org; no part of the key, as it is written, may be told."""
    public = json.loads(RSAAlgorithm.to_jwk(key().public_key()))
    public.pop("key_ops", None)
    for number, text in enumerate((jwk_of_key(), pem_of_key(), *texts)):
        scene.secrets |= {
            f"{name} of form {number}": part for name, part in parts_of_key(text).items()
        }
    return scene.org.add_service_app(public_keys=[public], requires_dpop=dpop)


def api_token(scene: Scene) -> str:
    """Make the org's API token the secret."""
    scene.org.token = scene.hidden = scene.secret("API token")
    return scene.org.token


def access_token(scene: Scene) -> str:
    """Have the org issue an access token, which is the secret."""
    app = service_app(scene)
    now = scene.org.epoch()
    scene.hidden = scene.org.issue_token(app, app.scopes, thumbprint=None, now=now)
    return scene.hidden


def by_url(scene: Scene, **variables: str) -> None:
    scene.env |= {"OKTA_CLIENT_ORGURL": scene.url, **variables}


def token_by_variable(scene: Scene) -> None:
    by_url(scene, OKTA_CLIENT_TOKEN=api_token(scene))


def token_by_another_variable(scene: Scene) -> None:
    scene.env["ACME_TOKEN"] = api_token(scene)
    scene.profile("{token: env:ACME_TOKEN}")


def token_by_variable_of_terraform(scene: Scene) -> None:
    by_url(scene, OKTA_API_TOKEN=api_token(scene))


def token_by_file(scene: Scene) -> None:
    scene.profile(f"{{token: file:{scene.source('token', api_token(scene))}}}")


def token_by_command(scene: Scene) -> None:
    file = scene.source("token", api_token(scene))
    program = scene.source("mint.sh", f"#!/bin/sh\ncat {file}\n", mode=0o700)
    scene.profile(f'{{token: "cmd:[{program}]"}}')


def token_by_keyring(scene: Scene) -> None:
    scene.env |= {
        "PYTHON_KEYRING_BACKEND": "tests.cli.keyrings.FileKeyring",
        "PYTHONPATH": str(ROOT),
        "TEST_KEYRING": str(scene.source("keyring", json.dumps({"okta/acme": api_token(scene)}))),
    }
    scene.profile("{token: keyring:okta/acme}")


def token_by_file_of_the_sdks(scene: Scene) -> None:
    scene.file_of_the_sdks(f"    orgUrl: {scene.url}\n    token: {api_token(scene)}\n")


def bearer_by_variable(scene: Scene) -> None:
    by_url(scene, OKTA_CLIENT_TOKEN=access_token(scene), OKTA_CLIENT_AUTHORIZATIONMODE="Bearer")


def bearer_by_file(scene: Scene) -> None:
    scene.profile(f"{{bearer: file:{scene.source('token', access_token(scene))}}}")


def bearer_by_variable_of_terraform(scene: Scene) -> None:
    by_url(scene, OKTA_ACCESS_TOKEN=access_token(scene))


def pem_by_variable(scene: Scene) -> None:
    scene.hidden = pem_of_key()
    by_url(
        scene,
        OKTA_CLIENT_CLIENTID=service_app(scene).client_id,
        OKTA_CLIENT_PRIVATEKEY=scene.hidden,
        OKTA_CLIENT_AUTHORIZATIONMODE="PrivateKey",
        OKTA_CLIENT_SCOPES="okta.apps.read okta.apps.manage",
    )


def jwk_by_variable(scene: Scene) -> None:
    pem_by_variable(scene)
    scene.env["OKTA_CLIENT_PRIVATEKEY"] = scene.hidden = jwk_of_key()


def pem_by_variable_of_terraform(scene: Scene) -> None:
    scene.hidden = pem_of_key()
    by_url(
        scene,
        OKTA_API_CLIENT_ID=service_app(scene).client_id,
        OKTA_API_PRIVATE_KEY=scene.hidden,
        OKTA_API_SCOPES="okta.apps.read,okta.apps.manage",
    )


def pem_with_passphrase(scene: Scene) -> None:
    scene.hidden = passphrase = scene.secret("passphrase")
    pem = pem_of_key(passphrase)
    app = service_app(scene, pem)
    scene.env["ACME_PASSPHRASE"] = passphrase
    scene.profile(
        f"{{client_id: {app.client_id}, private_key: file:{scene.source('key.pem', pem)}, "
        "passphrase: env:ACME_PASSPHRASE}"
    )


def pem_with_dpop(scene: Scene) -> None:
    scene.hidden = pem_of_key()
    app = service_app(scene, dpop=True)
    file = scene.source("key.pem", scene.hidden)
    scene.profile(f"{{client_id: {app.client_id}, private_key: file:{file}}}")


def secrets_in_the_org(scene: Scene) -> None:
    """Put secrets where admins keep them: into the settings of apps, and of identity providers."""
    by_url(scene, OKTA_CLIENT_TOKEN=api_token(scene))
    for app in list(scene.org.apps.values()):
        document = app.document()
        settings = document.get("settings")
        assert isinstance(settings, dict)
        document["settings"] = settings | {
            "app": {"apiSecret": scene.secret(f"secret of {app.id}")}
        }
        scene.org.update_app(app.id, document)
        assert scene.secrets[f"secret of {app.id}"] in json.dumps(app.document())
    idp = scene.org.add_idp("0oa8ae1t5yev2ajDsidp", name="Partner")
    document = idp.document()
    document["protocol"]["credentials"]["client"] = {  # type: ignore[index]
        "client_id": "acme",
        "client_secret": scene.secret("client secret"),
    }
    idp.replace(document, scene.org.epoch())
    assert scene.secrets["client secret"] in json.dumps(idp.document())


def secrets_of_the_way(scene: Scene, authority: trustme.CA, proxy_port: int) -> None:
    """Have the org reached by a proxy with a password, and with a certificate of our own."""
    made = authority.issue_cert("orchestrator@example.com")
    key_pem = made.private_key_pem.bytes().decode()
    scene.secrets |= parts_of_key(key_pem)
    cert = scene.source("client.pem", made.cert_chain_pems[0].bytes().decode())
    ca_file = scene.source("ca.pem", authority.cert_pem.bytes().decode())
    scene.env["ACME_PROXY"] = scene.secret("password of the proxy")
    unused = f"http://me:{scene.secret('password of another proxy')}@127.0.0.1:1"
    scene.env |= {"HTTPS_PROXY": unused, "https_proxy": unused}
    other = f"http://me:{scene.secret('password of the proxy for Terraform')}@127.0.0.1:1"
    scene.env |= {
        "OKTA_HTTP_PROXY": other,
        "OKTA_CLIENT_PROXY_HOST": "127.0.0.1",
        "OKTA_CLIENT_PROXY_PORT": "1",
        "OKTA_CLIENT_PROXY_USERNAME": "me",
        "OKTA_CLIENT_PROXY_PASSWORD": scene.secret("password of the proxy for Okta"),
    }
    scene.file_of_the_sdks(
        f"    orgUrl: {scene.url}\n    proxy: {{host: 127.0.0.1, port: 1, username: me, "
        f"password: {scene.secret('password of the proxy in a file')}}}\n"
    )
    scene.env["ACME_TOKEN"] = api_token(scene)
    scene.profile(
        "{token: env:ACME_TOKEN}",
        f"    proxy: {{url: 'http://127.0.0.1:{proxy_port}', user: me, password: env:ACME_PROXY}}\n"
        f"    ca_file: {ca_file}\n    client_cert: {cert}\n"
        f"    client_key: {scene.source('client.key', key_pem)}\n",
    )


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve a proxy for CONNECT that takes any password; yield its port and what it was told."""
    heads: list[bytes] = []

    async def pump(source: ByteStream, drain: ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await drain.send(await source.receive())
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await drain.send_eof()

    async def handle(client: ByteStream) -> None:
        async with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await client.receive()
            heads.append(head)
            host, _, port = head.split()[1].decode().rpartition(":")
            async with await anyio.connect_tcp(host, int(port)) as org:
                await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with anyio.create_task_group() as both:
                    both.start_soon(pump, client, org)
                    both.start_soon(pump, org, client)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port), heads  # noqa: S610 - not Django's
        group.cancel_scope.cancel()


CHANNELS: dict[str, Callable[[Scene], None]] = {
    each.__name__.replace("_", " "): each
    for each in (
        token_by_variable,
        token_by_another_variable,
        token_by_variable_of_terraform,
        token_by_file,
        token_by_command,
        token_by_keyring,
        token_by_file_of_the_sdks,
        bearer_by_variable,
        bearer_by_file,
        bearer_by_variable_of_terraform,
        pem_by_variable,
        jwk_by_variable,
        pem_by_variable_of_terraform,
        pem_with_passphrase,
        pem_with_dpop,
        secrets_in_the_org,
    )
}
