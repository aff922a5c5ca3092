"""What is read out of Okta's bodies and headers, rule by rule."""

from __future__ import annotations

import msgspec
import pytest
from multidict import CIMultiDict

from orchestrator.okta.reading import decode
from orchestrator.okta.wire import (
    Application,
    JsonWebKey,
    RateHeaders,
    Refusal,
    epoch_second,
    located_key,
    next_page,
    rate_headers,
    refusal_of,
    whole_numbers,
)

DATE = "Wed, 01 Oct 2025 12:00:00 GMT"
SECOND = 1_759_320_000
EXISTS = "Key already exists in the list of credentials for the target app."
KEYS = "/api/v1/apps/0oaTarget/credentials/keys"
PAGE = "/api/v1/apps"
ROOMY = RateHeaders(limit=50, remaining=10, reset=SECOND + 30, date=SECOND)
CROWDED = RateHeaders(limit=0, remaining=0, reset=SECOND, date=SECOND)


def refusal(
    status: int = 400,
    code: str | None = "E0000001",
    summary: str = "Api validation failed: key",
    causes: tuple[str, ...] = (EXISTS,),
) -> Refusal:
    return Refusal(status=status, code=code, summary=summary, causes=causes)


def error(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


def headers(
    *, date: str | None = DATE, limit: object = 50, remaining: object = 10, reset: object = SECOND
) -> CIMultiDict[str]:
    """Return rate headers; a list stands for a header that is repeated, None for one absent."""
    fields = {"limit": limit, "remaining": remaining, "reset": reset}
    pairs = [("date", date)] if date is not None else []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(f"x-rate-limit-{name}", str(each)) for each in values if each is not None]
    return CIMultiDict(pairs)


def test_an_error_body_is_read_whole() -> None:
    body = error(
        errorCode="E0000001",
        errorSummary="Api validation failed: key",
        errorLink="E0000001",
        errorId="oae1",
        errorCauses=[{"errorSummary": EXISTS}, {"errorSummary": "second"}],
    )
    assert refusal_of(400, body) == refusal(causes=(EXISTS, "second"))


@pytest.mark.parametrize(
    ("body", "code", "summary"),
    [
        (b"", None, "no body"),
        (b" \r\n", None, "no body"),
        (b"{}", None, ""),
        (b'{"errorCode": null}', None, ""),
        (b'{"errorCode": "E0000007", "reason": [1, {"a": 2}]}', "E0000007", ""),
        (b'{"errorSummary": "over\ntwo lines"}', None, "over two lines"),
        (b'\xef\xbb\xbf{"errorSummary": "after a BOM"}', None, "after a BOM"),
    ],
)
def test_an_error_body_may_lack_everything(body: bytes, code: str | None, summary: str) -> None:
    assert refusal_of(403, body) == Refusal(status=403, code=code, summary=summary)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>502 Bad Gateway</html>",
        b"null",
        b"[]",
        b'"E0000001"',
        b'{"errorCode": 7}',
        b'{"errorSummary": null}',
        b'{"errorCauses": ["text"]}',
        b'{"errorCode": "E00',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
    ],
)
def test_what_is_no_error_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one depends on the parser
        refusal_of(400, body)


def test_a_body_nested_without_end_is_a_value_error() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one depends on the parser
        refusal_of(400, b'{"a":' * 100_000)


def test_text_that_cannot_be_encoded_never_gets_in() -> None:
    try:
        summary = refusal_of(400, rb'{"errorSummary": "\ud800"}').summary
    except ValueError:
        return
    summary.encode()


@pytest.mark.parametrize("cause", [EXISTS, "KEY ALREADY EXISTS", "x", "It already exists here"])
def test_the_duplicate_is_known_by_any_of_its_causes(cause: str) -> None:
    assert refusal(causes=("something else", cause)).is_duplicate is (cause != "x")


@pytest.mark.parametrize(
    "near_miss",
    [
        refusal(causes=()),
        refusal(causes=("The key is invalid.",)),
        refusal(summary=EXISTS, causes=()),
        refusal(summary=EXISTS, causes=("already",)),
        refusal(code="E0000007"),
        refusal(code=None),
        refusal(code="e0000001"),
        refusal(status=200),
        refusal(status=403),
        refusal(status=404),
        refusal(status=409),
        refusal(status=500),
        refusal(causes=("already", "exists")),
        refusal(causes=("The app does not already exist.",)),
    ],
    ids=str,
)
def test_what_is_almost_the_duplicate_is_not(near_miss: Refusal) -> None:
    assert not near_miss.is_duplicate


@pytest.mark.parametrize(
    ("status", "summary", "missing"),
    [
        (404, "Not found: Resource not found: 0oaX (AppInstance)", "0oaX"),
        (404, "Not found: Resource not found: kid_-9 (KeyStore)", "kid_-9"),
        (404, "Resource not found: 0oaX", "0oaX"),
        (404, "Not found", None),
        (404, "", None),
        (400, "Resource not found: 0oaX (AppInstance)", None),
    ],
)
def test_a_404_may_name_what_is_missing(status: int, summary: str, missing: str | None) -> None:
    assert refusal(status, "E0000007", summary, ()).missing_id == missing


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (refusal(causes=()), "400 E0000001: Api validation failed: key"),
        (refusal(causes=("a", "b")), "400 E0000001: Api validation failed: key (a; b)"),
        (refusal(403, None, "no body", ()), "403 without an Okta code: no body"),
    ],
)
def test_a_refusal_reads_as_one_line(given: Refusal, text: str) -> None:
    assert str(given) == text


def test_a_key_is_read_under_its_names_on_the_wire() -> None:
    body = b'{"kid": "k", "x5c": ["MII\nC"], "x5t#S256": "t", "expiresAt": "later", "kty": "RSA"}'
    key = decode(body, JsonWebKey)
    assert (key.kid, key.x5c, key.x5t_s256, key.expires_at) == ("k", ["MII C"], "t", "later")


def test_a_key_may_lack_everything() -> None:
    assert decode(b"{}", JsonWebKey) == JsonWebKey()


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b"\n\t"])
def test_raw_line_breaks_inside_strings_are_let_through(line_break: bytes) -> None:
    body = b'{"x5c": ["MII' + line_break + b'C"]}'
    [text] = decode(body, JsonWebKey).x5c
    assert text.split() == ["MII", "C"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"kid": 1}', b'{"x5c": "MIIC"}', b'{"x5c": "a\nb"}', b"{}{}", b"{'a': 1}"]
)
def test_leniency_ends_at_line_breaks(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one depends on the parser
        decode(body, JsonWebKey)


@pytest.mark.parametrize(
    ("body", "active"),
    [
        (b'{"id": "0oa", "credentials": {"signing": {"kid": "k"}}}', "k"),
        (b'{"id": "0oa", "credentials": {"signing": {}}, "signOnMode": null}', None),
        (b'{"id": "0oa", "credentials": {"signing": null}}', None),
        (b'{"id": "0oa", "credentials": null}', None),
        (b'{"id": "0oa"}', None),
    ],
)
def test_the_active_kid_may_be_missing_at_any_depth(body: bytes, active: str | None) -> None:
    assert decode(body, Application).active_kid == active


def test_an_app_without_an_id_is_none() -> None:
    with pytest.raises(ValueError, match="id"):
        decode(b'{"label": "Finance"}', Application)


def test_rate_headers_are_read_whatever_their_case() -> None:
    assert rate_headers(headers(reset=SECOND + 30)) == ROOMY


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "expected"),
    [
        ([100, 50], [70, 20], [SECOND, SECOND + 9], (50, 20, SECOND + 9)),
        ([100, 50], [5, 20], [SECOND, SECOND + 9], (100, 5, SECOND)),
        ([100], [70, 20], [SECOND], (100, 20, SECOND)),
        ([100, 50], [20], [SECOND, SECOND + 9], (100, 20, SECOND)),
        ([100, 50], [7, 7], [SECOND, SECOND + 9], (100, 7, SECOND)),
        (["50", "junk"], ["10", "-1"], [SECOND, ""], (50, 10, SECOND)),
    ],
)
def test_of_repeated_headers_the_smaller_remaining_binds(
    limit: object, remaining: object, reset: object, expected: tuple[int, int, int]
) -> None:
    rate = rate_headers(headers(limit=limit, remaining=remaining, reset=reset))
    assert rate is not None
    assert (rate.limit, rate.remaining, rate.reset) == expected


@pytest.mark.parametrize(
    "value", [None, "", "-1", "+1", "1.5", "1e3", "ten", "10, 20", "²", "9" * 16]
)
@pytest.mark.parametrize("field", ["limit", "remaining", "reset"])
def test_rate_headers_are_all_or_nothing(field: str, value: str | None) -> None:
    assert rate_headers(headers(**{field: value})) is None


@pytest.mark.parametrize("date", [None, "", "soon", "2025-10-01T12:00:00Z", str(SECOND)])
def test_rate_headers_without_the_time_of_the_server_are_none(date: str | None) -> None:
    assert rate_headers(headers(date=date)) is None


def test_a_limit_of_zero_is_kept_for_it_tells_the_concurrency_limit() -> None:
    assert rate_headers(headers(limit=0, remaining=0)) == CROWDED


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["0", "007", "50"], [0, 7, 50]),
        (["9" * 15, "9" * 16], [10**15 - 1]),
        (["", " 1", "-1", "0x1", "1_0", "٣", "²"], []),
    ],
)
def test_whole_numbers_are_plain_digits(texts: list[str], numbers: list[int]) -> None:
    assert whole_numbers(texts) == numbers


@pytest.mark.parametrize(
    ("text", "second"),
    [
        (DATE, SECOND),
        ("Wednesday, 01-Oct-25 12:00:00 GMT", SECOND),
        ("Wed, 01 Oct 2025 14:00:00 +0200", SECOND),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 946_684_800),
        ("Thu, 31 Dec 2199 23:59:59 GMT", 7_258_118_399),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),  # in no year in which this runs
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("", None),
        ("Wed, 32 Oct 2025 12:00:00 GMT", None),
        ("Wed, 01 Oct 2025 12:00:00 +9999", None),
    ],
)
def test_http_dates(text: str, second: int | None) -> None:
    assert epoch_second(text) == second


@pytest.mark.parametrize(
    "date", [f"01 Oct {'9' * 20} 12:00:00 GMT", f"01 Oct 2025 {'9' * 20}:00 GMT"]
)
def test_a_date_beyond_all_calendars_is_none(date: str) -> None:
    assert epoch_second(date) is None


@pytest.mark.parametrize(
    "location",
    [
        f"https://acme.okta.com{KEYS}/kid-_1",
        f"https://elsewhere.example{KEYS}/kid-_1",
        f"{KEYS}/kid-_1",
        f"{KEYS}/kid-_1?expand=all#top",
        f"https://acme.okta.com/prefix{KEYS}/kid-_1",
        f"{KEYS.replace('apps', 'idps')}/kid-_1",
    ],
)
def test_a_location_names_app_and_key_whatever_its_host(location: str) -> None:
    assert located_key(location) == ("0oaTarget", "kid-_1")


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        KEYS,
        f"{KEYS}/",
        f"{KEYS}/kid/",
        f"{KEYS}/kid/clone",
        "/api/v1/apps//credentials/keys/kid",
        "/api/v1/apps/0oaTarget/more/credentials/keys/kid",
        "/api/v1/users/00u/credentials/keys/kid",
        "/api/v2/apps/0oaTarget/credentials/keys/kid",
        f"https://acme.okta.com/?next={KEYS}/kid",
        f"https://acme.okta.com/#{KEYS}/kid",
    ],
)
def test_any_other_location_names_nothing(location: str | None) -> None:
    assert located_key(location) is None


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ([], None),
        ([""], None),
        (["<https://acme.okta.com/api/v1/apps>; rel=self"], None),
        (["<https://acme.okta.com/api/v1/apps?after=1>; rel=next"], "?after=1"),
        (['<https://acme.okta.com/api/v1/apps?after=1>; rel="next"'], "?after=1"),
        (['</api/v1/apps?after=1&limit=2>;rel="next"'], "?after=1&limit=2"),
        (['<https://evil.example/api/v1/apps?after=1>; rel="next"'], "?after=1"),
        (['<//evil.example/api/v1/apps?after=1>; rel="next"'], "?after=1"),
        (
            ['<https://a.b/api/v1/apps>; rel="self", <https://a.b/api/v1/apps?n=2>; rel="next"'],
            "?n=2",
        ),
        (
            ['<https://a.b/api/v1/apps?n=2>; rel="next", <https://a.b/elsewhere>; rel="self"'],
            "?n=2",
        ),
        (
            ["<https://a.b/api/v1/apps>; rel=self", "<https://a.b/api/v1/apps?n=2>; rel=next"],
            "?n=2",
        ),
        (['<https://a.b/api/v1/apps?q=a,b>; title="x"; rel="next"'], "?q=a,b"),
        (['<https://a.b/api/v1/apps?n=2>; rel="nextish"'], None),
        (["https://a.b/api/v1/apps?n=2; rel=next"], None),
    ],
)
def test_the_next_page_is_path_and_query_without_the_host(
    link: list[str], page: str | None
) -> None:
    assert next_page(link, PAGE) == (PAGE + page if page else None)


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.okta.com/api/v1/users?after=1",
        "https://acme.okta.com/api/v1/apps/?after=1",
        "https://acme.okta.com/api/v1/apps/../users",
        "?after=1",
        "",
    ],
)
def test_a_next_page_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=PAGE):
        next_page([f'<{url}>; rel="next"'], PAGE)
