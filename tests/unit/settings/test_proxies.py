"""How the address of a proxy is read from a variable, and which hosts go past it."""

from __future__ import annotations

import pytest

from orchestrator.secret import Secret
from orchestrator.settings.proxies import ProxyParts, goes_past, read_proxy

ACME = "https://acme.okta.com"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://proxy:3128", ProxyParts(url="http://proxy:3128")),
        ("http://proxy:3128/", ProxyParts(url="http://proxy:3128")),
        ("HTTPS://proxy.acme.com", ProxyParts(url="https://proxy.acme.com")),
        ("proxy:3128", ProxyParts(url="http://proxy:3128")),
        ("10.0.0.1:3128", ProxyParts(url="http://10.0.0.1:3128")),
        ("http://[::1]:3128", ProxyParts(url="http://[::1]:3128")),
        ("http://me@proxy:1", ProxyParts(url="http://proxy:1", user="me")),
        (
            "http://me:p%40ss%2Fw@proxy:1",
            ProxyParts(url="http://proxy:1", user="me", password=Secret("p@ss/w")),
        ),
        (
            "me:p@ss@proxy:1",
            ProxyParts(url="http://proxy:1", user="me", password=Secret("p@ss")),
        ),
    ],
)
def test_the_address_of_a_proxy_and_who_we_are_to_it(text: str, parts: ProxyParts) -> None:
    assert read_proxy(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "socks5://me:hunter2@proxy:1080",
        "socks5h://proxy",
        "ftp://me:hunter2@proxy",
        "http://me:hunter2@",
        "http://me:hun/ter2@proxy",
        "http://proxy/hunter2",
        "http://proxy?x=hunter2@other",
        "http://proxy:port",
        "http://proxy:99999",
        "http://",
        "http://hunter2 hunter2",
    ],
)
def test_what_is_no_proxy_is_refused_and_not_repeated(text: str) -> None:
    problem = read_proxy(text)
    assert isinstance(problem, str)
    assert "hunter2" not in problem
    assert "SOCKS" in problem or not text.startswith("socks")


@pytest.mark.parametrize(
    ("url", "no_proxy", "past"),
    [
        (ACME, "", False),
        (ACME, "*", True),
        (ACME, "other.com, *", True),
        (ACME, "acme.okta.com", True),
        (ACME, "ACME.Okta.COM.", True),
        (ACME, "okta.com", True),
        (ACME, ".okta.com", True),
        (ACME, "*.okta.com", True),
        (ACME, "kta.com", False),
        (ACME, "me.okta.com", False),
        (ACME, ".acme.okta.com", False),
        (ACME, "okta.com:443", True),
        (ACME, "okta.com:8443", False),
        (f"{ACME}:8443", "okta.com:8443", True),
        (ACME, "a.com b.com\tokta.com", True),
        (ACME, ".", False),
        (ACME, ",,", False),
        (ACME, "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.1.2.3", "10.1.2.3:443", True),
        ("https://10.1.2.3", "10.1.2.3:80", False),
        ("https://10.1.2.3", "2.3", False),
        ("https://10.1.2.3", "11.0.0.0/8", False),
        ("https://[fd00::7]", "fd00::/8", True),
        ("https://[fd00::7]", "[fd00::7]", True),
        ("https://[fd00::7]", "[fd00::7]:443", True),
        ("https://[fd00::7]", "[fd00::7]:444", False),
        ("http://localhost:8080", "", True),
        ("http://127.0.0.2:8080", "", True),
        ("http://[::1]:8080", "", True),
    ],
)
def test_which_hosts_go_past_the_proxy(url: str, no_proxy: str, past: bool) -> None:
    assert goes_past(url, no_proxy) is past
