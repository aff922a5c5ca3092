"""How the org is reached: proxy, trusted certificates, and a certificate of our own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
