"""Is this the address of an Okta org, and are two of the same? Pure, and never repeats them."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){HOST_LABEL}(?:\.{HOST_LABEL})*")
PLACEHOLDER = re.compile(
    r"[{}<>$]|your-?_?okta-?_?domain|\byour-?_?(?:domain|org|company)\b", re.IGNORECASE
)
BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")  # around an IPv6 address, nothing beside
A_PROXY = "http://proxy.acme.com:8080"
DEFAULT_PORTS = {"https": 443, "http": 80}
VISIBLE = re.compile(r"[\x21-\x7e]+")


def check_org_url(url: str) -> str | None:
    """Return what is wrong with the address of an org, or None.

    A single slash at the end is allowed. An answer never quotes the address, which may hold a
    password.
    """
    if PLACEHOLDER.search(url):
        return "is a placeholder: write the address of your org, such as https://acme.okta.com"
    if not VISIBLE.fullmatch(url) or "\\" in url:
        return "must be an address such as https://acme.okta.com, without spaces"
    parts = parts_of(url)
    if parts is None:
        return "has a host or a port that cannot be read"
    if parts.port == 0:
        return "has a port that cannot be read"
    return check_scheme(parts) or check_host(parts) or check_rest(url, parts)


def check_proxy_url(url: str) -> str | None:
    """Return what is wrong with the address of a proxy in a file, or None. As `check_org_url`."""
    parts = parts_of(url) if VISIBLE.fullmatch(url) and "\\" not in url else None
    if parts is None or not parts.netloc or parts.port == 0:
        return f"must be an address such as {A_PROXY}"
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy, which is not supported: an HTTP proxy is needed"
    if parts.scheme not in DEFAULT_PORTS:
        return "must start with http:// or https://"
    if "@" in parts.netloc:
        return "must not contain a user name or a password"
    return check_name(parts) or check_rest(url, parts)


def parts_of(url: str) -> SplitResult | None:
    """Return an address in parts, whose port can be read; None if it is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it is read here, or never
    except ValueError:
        return None
    return parts


def is_same_org(one: str, other: str) -> bool:
    """Say whether two usable addresses lead to the same host and port.

    Other names of an org, such as a domain of its own, are not known here.
    """
    return origin_of(one) == origin_of(other)


@lru_cache(maxsize=4096)  # each of many profiles is compared with all the others
def origin_of(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def check_scheme(parts: SplitResult) -> str | None:
    if not parts.scheme or not parts.netloc:
        return "must start with https://, such as https://acme.okta.com"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return None
    if parts.scheme == "http":
        return "must start with https://: over http:// the token could be read on the way"
    return "must start with https://"


def check_host(parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    if "@" in parts.netloc:
        return "must not contain a user name or a password"
    if "-admin." in host:
        return "is the address of the admin console: drop -admin from the host"
    return check_name(parts)


def check_name(parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    is_clean = "[" not in parts.netloc or BRACKETS.fullmatch(parts.netloc)
    if not is_clean or not (is_address(host) or HOST_NAME.fullmatch(host)):
        return "has a host that cannot be read"
    return None


def check_rest(url: str, parts: SplitResult) -> str | None:
    if parts.path not in ("", "/"):
        return "must end after the host: remove the path"
    if "?" in url or "#" in url:
        return "must end after the host: remove the query and the fragment"
    return None


def is_loopback(host: str) -> bool:
    """Say whether `host` names this machine: localhost, 127.0.0.0/8 or ::1."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
