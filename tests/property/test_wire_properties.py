"""Whatever bytes and headers come: they are read, or refused in one way, and never more."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from orchestrator.errors import InputError
from orchestrator.okta.certificates import (
    der_of,
    read_certificate_file,
    thumbprint_of,
    x5c_in_metadata,
)
from orchestrator.okta.objects import IdentityProvider, LogEvent, Organization
from orchestrator.okta.reading import decode
from orchestrator.okta.wire import (
    Application,
    JsonWebKey,
    Refusal,
    SigningRequest,
    located_key,
    meaning_of,
    next_page,
    rate_headers,
    refusal_of,
    whole_numbers,
)

patient = settings(deadline=None, max_examples=150)
PATH = "/api/v1/apps"
IDS = st.text("abcXYZ019-_", min_size=1)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
fields = st.sampled_from(
    ["errorCode", "errorSummary", "errorCauses", "kid", "x5c", "id", "credentials", "signing"]
) | st.sampled_from(["protocol", "csr", "actor", "target", "transaction", "outcome", "published"])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(fields, inner), max_leaves=10
)
bodies = (
    st.binary()
    | documents.map(lambda document: json.dumps(document).encode())
    | documents.map(lambda document: json.dumps(document, ensure_ascii=False, indent="\n"))
    .map(lambda text: text.replace("\\n", "\n"))
    .map(lambda text: text.encode("utf-8", "surrogatepass"))
)
printable = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))
urls = st.text("htps:/.?#[]@%&=<>;,rel\"'é \t\n" + "api") | printable
links = urls | st.builds('<{}>; rel="next"'.format, urls) | st.builds("<{}>;rel=next".format, urls)


def reads_or_refuses(read: Callable[[], object]) -> bool:
    """Say whether it was read; any error but a ValueError fails the test."""
    try:
        read()
    except ValueError:
        return False
    return True


@patient
@pytest.mark.parametrize(
    "kind",
    [
        JsonWebKey,
        Application,
        list[Application],
        IdentityProvider,
        SigningRequest,
        LogEvent,
        Organization,
    ],
)
@given(body=bodies)
@example(body=b'{"x5c": ["a\nb"]}')
@example(body=b"NaN")
@example(body=b'{"id": ' + b"9" * 5000 + b"}")
def test_any_body_is_read_or_a_value_error(kind: type[object], body: bytes) -> None:
    if reads_or_refuses(lambda: decode(body, kind)):
        value = decode(body, kind)
        assert isinstance(value, list if kind == list[Application] else kind)


@patient
@given(status=st.integers(300, 599), body=bodies)
def test_any_error_body_is_a_refusal_or_a_value_error(status: int, body: bytes) -> None:
    if reads_or_refuses(lambda: refusal_of(status, body)):
        refusal = refusal_of(status, body)
        assert refusal.status == status
        assert isinstance(str(refusal), str)
        assert refusal.missing_id is None or status == 404
        assert not refusal.is_duplicate or status == 400


@patient
@given(
    code=st.none() | st.text(), summary=st.text(), causes=st.lists(st.text(), max_size=3).map(tuple)
)
def test_an_error_body_comes_back_as_it_was(
    code: str | None, summary: str, causes: tuple[str, ...]
) -> None:
    document = {
        "errorCode": code,
        "errorSummary": summary,
        "errorCauses": [{"errorSummary": cause, "more": 1} for cause in causes],
    }
    body = json.dumps(document, ensure_ascii=False).encode()
    assert refusal_of(400, body) == Refusal(status=400, code=code, summary=summary, causes=causes)


@patient
@given(location=urls)
def test_any_location_is_read_or_a_value_error(location: str) -> None:
    reads_or_refuses(lambda: located_key(location))


@patient
@given(app=IDS, kid=IDS, host=st.sampled_from(["", "https://a.okta.com", "http://b:1", "//c"]))
def test_a_location_of_a_key_gives_its_parts_back(app: str, kid: str, host: str) -> None:
    assert located_key(f"{host}/api/v1/apps/{app}/credentials/keys/{kid}") == (app, kid)


@patient
@given(link=st.lists(links, max_size=4))
def test_any_link_leads_to_the_same_path_or_nowhere(link: list[str]) -> None:
    def read() -> None:
        page = next_page(link, PATH)
        assert page is None or page.startswith(f"{PATH}?")

    reads_or_refuses(read)


@patient
@given(
    host=IDS,
    cursor=IDS,
    others=st.lists(st.sampled_from(["self", "prev", "first"]), max_size=3),
    place=st.integers(0, 3),
    joined=st.booleans(),
)
def test_the_next_page_is_found_among_other_links(
    host: str, cursor: str, others: list[str], place: int, joined: bool
) -> None:
    link = [f'<https://{host}{PATH}?limit=200>; rel="{rel}"' for rel in others]
    link.insert(place, f'<https://{host}{PATH}?after={cursor}&limit=200>; rel="next"')
    given_link = [", ".join(link)] if joined else link
    assert next_page(given_link, PATH) == f"{PATH}?after={cursor}&limit=200"


@patient
@given(texts=st.lists(st.text() | st.integers().map(str)))
def test_whole_numbers_never_fail_and_are_never_negative(texts: list[str]) -> None:
    assert all(0 <= number < 10**15 for number in whole_numbers(texts))


@patient
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from([f"X-Rate-Limit-{name}" for name in ("Limit", "Remaining", "Reset")]),
            st.integers(-1, 10**6).map(str) | printable,
        )
    )
)
def test_rate_headers_are_whole_or_none(pairs: list[tuple[str, str]]) -> None:
    date = ("Date", "Wed, 01 Oct 2025 12:00:00 GMT")
    rate = rate_headers(CIMultiDict([*pairs, date]))
    remaining = whole_numbers([text for name, text in pairs if name.endswith("Remaining")])
    if rate is not None:
        assert rate.remaining == min(remaining)
        assert str(rate.limit) in {text.lstrip("0") or "0" for _, text in pairs}


@patient
@given(date=printable | st.from_regex(r"\w{3}, \d{2} Oct \d{4,6} \d\d?:\d\d:\d\d [+-]\d{4}"))
def test_any_date_of_a_sane_length_is_read_or_ignored(date: str) -> None:
    rate_headers(CIMultiDict([("Date", date)]))


@patient
@given(status=st.integers(300, 599), code=st.none() | st.text(), challenge=printable)
def test_every_answer_means_something(status: int, code: str | None, challenge: str) -> None:
    assert meaning_of(status, None, code, challenge).value


@patient
@given(published=st.none() | st.text() | st.datetimes(timezones=st.timezones()).map(str))
def test_the_moment_of_any_event_is_read_or_none(published: str | None) -> None:
    at = LogEvent(published=published).published_at
    assert at is None or at.tzinfo is not None


xml_pieces = (
    st.sampled_from(["<a>", "</a>", "<ds:X509Certificate>", "</ds:X509Certificate>", "QUJD"])
    | st.sampled_from([" \n", "&#x20;", "&x;", "<![CDATA[", "]]>", "<!--", "-->", "<b c='d'/>"])
    | st.sampled_from(["<r xmlns:ds='http://www.w3.org/2000/09/xmldsig#'>", "</r>"])
    | st.sampled_from(["<!DOCTYPE a>", "<?xml version='1.0'?>"])
)


@patient
@given(xml=st.binary() | st.lists(xml_pieces, max_size=12).map(lambda each: "".join(each).encode()))
def test_any_metadata_is_read_or_a_value_error(xml: bytes) -> None:
    if reads_or_refuses(lambda: x5c_in_metadata(xml)):
        assert all(not set(text) & set(" \t\r\n") for text in x5c_in_metadata(xml))


@patient
@given(data=st.binary() | st.binary().map(lambda data: b"-----BEGIN CERTIFICATE-----" + data))
def test_any_file_is_certificates_or_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        read_certificate_file(data)


@patient
@given(text=st.text())
def test_any_x5c_is_decoded_or_a_value_error(text: str) -> None:
    if reads_or_refuses(lambda: der_of(text)):
        assert len(thumbprint_of(der_of(text))) == 43
