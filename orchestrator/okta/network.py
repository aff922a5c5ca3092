"""How the org is reached: proxy, trusted certificates, and a certificate of our own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from orchestrator.errors import ConfigError
from orchestrator.plan.files import open_regular, reason
from orchestrator.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The way to the org, where it is not the plain one."""

    proxy: str | None = None  # http://host:port, without a user name or a password
    proxy_user: str | None = None
    proxy_password: Secret | None = None
    ca_file: Path | None = None  # PEM; trusted beside what the system trusts
    client_cert: Path | None = None  # PEM, for mutual TLS; the key may be in the same file
    client_key: Path | None = None


PLAIN = Network()


def tls_context(network: Network) -> ssl.SSLContext:
    """Return what every TLS connection is held to: TLS 1.2 or later, certificate and host name.

    What the system trusts is what OpenSSL says: SSL_CERT_FILE and SSL_CERT_DIR stand in place of
    its own. `ca_file` is trusted beside that. Takes about 20 ms.

    Raises:
        ConfigError: a file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(("http/1.1",))
    if network.ca_file is not None:
        trust(context, network.ca_file)
    if network.client_cert is not None:
        present(context, network.client_cert, network.client_key)
    return context


def trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        open_regular(path).close()  # OpenSSL would wait on a pipe for ever
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:  # before OSError, of which it is one
        raise ConfigError(
            "the file of trusted certificates holds none that can be read",
            hint="PEM is needed: -----BEGIN CERTIFICATE-----",
            ca_file=path,
        ) from error
    except OSError as error:
        raise ConfigError(
            f"the file of trusted certificates cannot be read: {reason(error)}", ca_file=path
        ) from error


def present(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Prove ourselves with a certificate, where the server asks for one (mutual TLS)."""
    file = key or cert

    def refuse_passphrase() -> NoReturn:  # without it OpenSSL asks at the terminal
        raise ConfigError(
            "the key of the client certificate is encrypted",
            hint=f"openssl pkey -in {file} -out KEY.pem writes it without a passphrase; "
            "then chmod 600 KEY.pem",
            client_key=file,
        )

    try:
        for path in (cert, file):
            open_regular(path).close()
        context.load_cert_chain(cert, key, password=refuse_passphrase)
    except ssl.SSLError as error:
        mismatched = error.reason == "KEY_VALUES_MISMATCH"
        raise ConfigError(
            "the key does not belong to the client certificate"
            if mismatched
            else "the client certificate or its key cannot be read",
            hint="both are PEM; the key may follow the certificate in the same file",
            client_cert=cert,
            client_key=file,
        ) from error
    except OSError as error:
        raise ConfigError(
            f"the client certificate or its key cannot be read: {reason(error)}",
            client_cert=cert,
            client_key=file,
        ) from error
