"""Which proxy the environment means, and which hosts go past it. Pure.

NO_PROXY is read as Go's programs read it: names, each with all names below it; `.name` for only
those below; a port behind either; addresses and networks (CIDR); `*` for everything; between
commas or blanks. It speaks of HTTPS_PROXY: a proxy that is named for Okta alone is always used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote, urlsplit

from orchestrator.plan.org_url import DEFAULT_PORTS, check_proxy_url, is_loopback
from orchestrator.secret import Secret

SEPARATORS = re.compile(r"[\s,]+")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyParts:
    """A proxy as a variable names it, its user and password apart."""

    url: str
    user: str | None = None
    password: Secret | None = None


def read_proxy(text: str) -> ProxyParts | str:
    """Return the parts of a proxy's address, or what is wrong with it, which never quotes it.

    A variable may hold user and password, as is the custom; without a scheme, http is meant.
    """
    url = text if SCHEME.match(text) else f"http://{text}"
    scheme, _, rest = url.partition("://")
    ahead, at, host = rest.rpartition("@")
    user, colon, password = ahead.partition(":")
    if set(ahead) & set("/?#"):  # nobody knows whether the host ends before or behind that
        return "has a user name or a password with one of / ? #: write %2F, %3F or %23"
    bare = f"{scheme.lower()}://{host}"
    problem = check_proxy_url(bare)
    if problem:
        return problem
    return ProxyParts(
        url=bare.removesuffix("/"),
        user=unquote(user) if at else None,
        password=Secret(unquote(password)) if colon else None,
    )


def goes_past(url: str, no_proxy: str) -> bool:
    """Say whether calls to an org go past the proxy that HTTPS_PROXY names."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if is_loopback(host):
        return True
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    entries = filter(None, SEPARATORS.split(no_proxy.strip()))
    return any(is_meant(entry.lower(), host, port) for entry in entries)


def is_meant(entry: str, host: str, port: int | None) -> bool:
    """Say whether an entry of NO_PROXY speaks of a host."""
    if entry == "*":
        return True
    address, block = address_of(host), block_of(entry)
    if block is not None:
        return address is not None and address in block
    match = WITH_PORT.fullmatch(entry)
    if match is None:
        return False
    name, only = match[1].strip("[]").removeprefix("*").rstrip("."), match[2]
    if only is not None and int(only) != port:
        return False
    if address is not None:
        return address == address_of(name)
    if name.startswith("."):
        return len(name) > 1 and host.endswith(name)
    return bool(name) and (host == name or host.endswith(f".{name}"))


def address_of(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def block_of(text: str) -> Block | None:
    """Return an address or a network that stands without a port."""
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
