"""Each kind of scalar: what is accepted, as what, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic_core import PydanticCustomError

from orchestrator.plan.fields import (
    Share,
    read_app_id,
    read_budget,
    read_count,
    read_duration,
    read_name,
    read_share,
    read_truth,
    read_workers,
)
from orchestrator.plan.filters import read_filter_text
from orchestrator.plan.keys import read_key
from orchestrator.plan.org_url import check_org_url
from orchestrator.plan.refusal import echo
from orchestrator.plan.selectors import (
    LONGEST,
    read_label,
    read_regex,
    read_signing_kid,
    read_within,
)
from orchestrator.plan.tree import Quoted

Reader = Callable[[object], object]


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (read_duration, "90s", 90.0),
        (read_duration, "10m", 600.0),
        (read_duration, "2h", 7200.0),
        (read_duration, "14d", 1209600.0),
        (read_duration, Quoted("2h"), 7200.0),
        (read_duration, 1.5, 1.5),
        (read_share, "90%", 0.9),
        (read_share, "0.5%", 0.005),
        (read_share, "100%", 1.0),
        (read_share, 0.25, 0.25),
        (read_count, "250", 250),
        (read_count, "+7", 7),
        (read_count, 3, 3),
        (read_truth, "true", True),
        (read_truth, "False", False),
        (read_truth, True, True),
        (read_workers, "auto", "auto"),
        (read_workers, "64", 64),
        (read_budget, "5", 5),
        (read_budget, "5%", Share(0.05)),
        (read_name, "finance-2026.q4_b", "finance-2026.q4_b"),
        (read_name, "2026", "2026"),
        (read_name, Quoted("on"), "on"),
        (read_app_id, "00012345678901234567", "00012345678901234567"),
        (read_app_id, "1e500000000000000000", "1e500000000000000000"),
        (read_key, "-" * 20, "-" * 20),
        (read_key, "12345678901234567890", "12345678901234567890"),
        (read_key, "newest", "newest"),
        (read_label, " Finance  HQ ", " Finance  HQ "),
        (read_label, Quoted("2026"), "2026"),
        (read_label, "x" * LONGEST, "x" * LONGEST),
        (read_regex, "^(Fin|HR) ", "^(Fin|HR) "),
        (read_filter_text, ' name\tEQ "and or (x)" ', 'name eq "and or (x)"'),
        (read_filter_text, 'settings.slo.enabled eq "true"', 'settings.slo.enabled eq "true"'),
        (read_filter_text, "settings.slo.enabled eq TRUE", "settings.slo.enabled eq true"),
        (read_filter_text, 'group.id eq "00g1"', 'group.id eq "00g1"'),
        (read_signing_kid, "-" * 43, "-" * 43),
        (read_within, "0060d", "0060d"),
    ],
)
def test_accepted(read: Reader, written: object, meant: object) -> None:
    value = read(written)
    assert value == meant
    assert type(value) is type(meant) or isinstance(value, Share)


@pytest.mark.parametrize(
    ("read", "written"),
    [
        (
            read_duration,
            ["", "0s", "-5m", "5", "5 m", "1h30m", "1.5h", "5M", "9" * 10 + "s", "1:30"],
        ),
        (read_duration, [0, -1.0, float("inf"), float("nan"), True, None, []]),
        (read_share, ["", "%", "0%", "0.0%", "101%", "100.1%", "-5%", "0.9", "90", "9e1%"]),
        (read_share, [0.0, 1.1, float("nan"), 1, None]),
        (read_count, ["0", "-1", "1.0", "1e3", "0x10", "010", "1_000", "٣", "9" * 16, Quoted("4")]),
        (read_count, [0, True, 1.0, None, {}]),
        (read_truth, ["", "yes", "on", "no", "1", "tRUE", Quoted("true"), 1, None]),
        (read_workers, ["0", "65", "Auto", "many", Quoted("4"), 0, 65, None]),
        (read_budget, ["0", "0%", "5 %", 0, 1.5]),
        (read_name, ["", "-a", "a b", "a/b", "é", "n" * 65, "on", "YES", "False", None, 7]),
        (read_app_id, ["", "0oa", "x" * 19, "x" * 21, "0oa8ae0dv4RGQvjyZ0h7\n", "00u" + "x" * 17]),
        (read_app_id, ["0oa8ae0dv4RGQvjyZ0h٣", "0oa8ae0dv4RGQvjy/0h7", None, 5, {"label": "x"}]),
        (read_key, ["", "a" * 19, "a" * 65, "a" * 20 + "=", "newset", "generate", {}]),
        (read_label, ["", "  ", "x" * (LONGEST + 1), None, [], 7]),
        (read_regex, ["", "(", "*", "a{5,3}", "[[x]", "[a--b]", "(" * 900 + ")" * 900, None]),
        (read_filter_text, ["", "name", "name eq", 'name eq ""', 'NAME eq "x"', "name pr", None]),
        (read_filter_text, ['(name eq "x")', 'not name eq "x"', 'status eq "DELETED"']),
        (read_filter_text, ["name eq false", f'name eq "{"x" * 1000}"', 'name eq "x" or id pr']),
        (read_signing_kid, ["", "-" * 42, "-" * 44, "=" * 43, "k" * 43 + "\n", None]),
        (read_within, ["", "60", "0d", "60d ", "2mo", None, 60, 60.0]),
    ],
)
def test_refused(read: Reader, written: list[object]) -> None:
    for value in written:
        with pytest.raises(PydanticCustomError) as caught:
            read(value)
        assert str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.okta.com",
        "https://acme.okta.com/",
        "https://ACME.oktapreview.com:8443",
        "https://id.acme.example",
        "http://localhost:8080",
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:8080",
        "https://our-domain.okta.com",
    ],
)
def test_org_url_accepted(url: str) -> None:
    assert check_org_url(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "https://"),
        ("acme.okta.com", "must start with https://"),
        ("//acme.okta.com", "must start with https://"),
        ("ftp://acme.okta.com", "must start with https://"),
        ("http://acme.okta.com", "could be read on the way"),
        ("http://localhost.evil.example", "could be read on the way"),
        ("http://127.0.0.1.evil.example", "could be read on the way"),
        ("http://evil.example[::1]:8080", "that cannot be read"),
        ("https://", "must start with https://"),
        ("https://joe:hunter2@acme.okta.com", "user name or a password"),
        ("https://@acme.okta.com", "user name or a password"),
        ("https://acme-admin.okta.com", "drop -admin"),
        ("https://ACME-ADMIN.okta.com", "drop -admin"),
        ("https://acme.okta.com/api", "remove the path"),
        ("https://acme.okta.com//", "remove the path"),
        ("https://acme.okta.com?hunter2", "remove the query"),
        ("https://acme.okta.com#", "remove the query"),
        ("https://acme.okta.com?", "remove the query"),
        ("https://acme.okta.com:0", "port"),
        ("https://acme.okta.com:99999", "port"),
        ("https://acme.okta.com:hunter2", "port"),
        ("https://[::1", "cannot be read"),
        ("https://-acme.okta.com", "host that cannot be read"),
        ("https://acme..okta.com", "host that cannot be read"),
        ("https://acme.okta.com\\@evil.example", "without spaces"),
        (" https://acme.okta.com", "without spaces"),
        ("https://ac\tme.okta.com", "without spaces"),
        ("https://acmé.okta.com", "without spaces"),
        ("https://{yourOktaDomain}", "placeholder"),
        ("https://yourOktaDomain.okta.com", "placeholder"),
        ("https://your-domain.okta.com", "placeholder"),
        ("https://${OKTA_DOMAIN}", "placeholder"),
        ("https://<org>.okta.com", "placeholder"),
    ],
)
def test_org_url_refused(url: str, said: str) -> None:
    problem = check_org_url(url)
    assert problem is not None
    assert said in problem
    assert "hunter2" not in problem


def test_echo_is_short_and_printable() -> None:
    assert echo("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert len(echo("x" * 1000)) == 62
    assert echo("\u202eabc").isprintable()
