"""An object that goes back to Okta is the one that came, but for the kid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import Kid, Resource
from orchestrator.okta.document import (
    MOST_CHANGES,
    SIGNING,
    SignerDocument,
    changes_between,
    fingerprint,
)

quick = settings(deadline=None, max_examples=70)
patient = settings(deadline=None, max_examples=200)
resources = st.sampled_from(Resource)
kids = st.text("abcXYZ019-_", min_size=1, max_size=44).map(Kid)

# JSON as text, so that what no JSON library writes is tried too.

space = st.text(" \t\r\n", max_size=3)
hex_digits = st.text("0123456789abcdefABCDEF", min_size=4, max_size=4)
plain = st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc", "Cs"])
escapes = st.sampled_from([rf"\{c}" for c in '"\\/bfnrt']) | hex_digits.map(lambda h: rf"\u{h}")
strings = st.lists(plain | escapes, max_size=6).map(lambda parts: f'"{"".join(parts)}"')
digits = st.text("0123456789", max_size=5)
numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "7", "1" * 30, "9" * 5000]),
    digits.map(lambda d: f".{d}" if d else ""),
    st.sampled_from(["", "e5", "E-400", "e+999999"]),
)
scalars = strings | numbers | st.sampled_from(["null", "true", "false"])


@st.composite
def objects(draw: st.DrawFn, values: st.SearchStrategy[str], *fixed: tuple[str, str]) -> str:
    """Draw an object with some members of any name and the fixed ones among them."""
    members = draw(st.lists(st.tuples(strings, values), max_size=4))
    taken = {json.loads(name) for name, _ in fixed}
    members = [member for member in members if json.loads(member[0]) not in taken]
    for member in fixed:
        members.insert(draw(st.integers(0, len(members))), member)
    written = [
        f"{draw(space)}{name}{draw(space)}:{draw(space)}{value}{draw(space)}"
        for name, value in members
    ]
    return "{" + (",".join(written) or draw(space)) + "}"


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = [f"{draw(space)}{item}{draw(space)}" for item in draw(st.lists(values, max_size=3))]
    return "[" + (",".join(items) or draw(space)) + "]"


values = st.recursive(scalars, lambda inner: objects(inner) | arrays(inner), max_leaves=6)


@st.composite
def signers(draw: st.DrawFn) -> tuple[Resource, bytes, Kid]:
    """Draw the text of an app or an identity provider, and the kid it signs with."""
    resource, kid = draw(resources), draw(kids)
    written = json.dumps(kid)
    for name in ("kid", *reversed(SIGNING[resource])):
        escaped = rf'"\u{ord(name[0]):04x}{name[1:]}"'
        quoted = draw(st.sampled_from([f'"{name}"', escaped]))
        is_top = name == SIGNING[resource][0]
        fixed = [(quoted, written), *([('"id"', '"0oa1"')] if is_top else [])]
        written = draw(objects(values, *fixed))
    text = f"{draw(space)}{written}{draw(space)}"
    return resource, text.encode(), kid


def loaded(body: bytes) -> Any:
    """Read JSON with numbers as they are written."""
    return json.loads(body, parse_int=str, parse_float=str)


def with_kid_replaced(document: Any, resource: Resource, kid: str) -> Any:
    signing = document
    for name in SIGNING[resource]:
        signing = signing[name]
    signing["kid"] = kid
    return document


@quick
@given(drawn=signers(), kid=kids)
def test_nothing_changes_but_the_kid(drawn: tuple[Resource, bytes, Kid], kid: Kid) -> None:
    resource, body, old = drawn
    document = SignerDocument.parse(body, resource)
    changed = document.with_kid(kid)
    assert document.body == body
    assert document.active_kid == old
    assert document.kid_span is not None
    start, end = (len(document.text[:at].encode()) for at in document.kid_span)
    assert changed == body[:start] + json.dumps(kid).encode() + body[end:]
    assert loaded(changed) == with_kid_replaced(loaded(body), resource, kid)


@quick
@given(drawn=signers(), kid=kids)
def test_the_exchange_can_be_read_and_undone(drawn: tuple[Resource, bytes, Kid], kid: Kid) -> None:
    resource, body, old = drawn
    document = SignerDocument.parse(body, resource)
    changed = SignerDocument.parse(document.with_kid(kid), resource)
    assert changed.active_kid == kid
    assert document.with_kid(old) == body
    assert changed.with_kid(old) == body


@quick
@given(drawn=signers(), kid=kids)
def test_the_exchange_is_no_change_beyond_the_key(
    drawn: tuple[Resource, bytes, Kid], kid: Kid
) -> None:
    resource, body, _ = drawn
    changed = SignerDocument.parse(body, resource).with_kid(kid)
    assert changes_between(body, changed, resource) == ()
    assert fingerprint(body, resource) == fingerprint(changed, resource)


EXCHANGE: tuple[Any, ...] = (
    test_nothing_changes_but_the_kid,
    test_the_exchange_can_be_read_and_undone,
    test_the_exchange_is_no_change_beyond_the_key,
)


@pytest.mark.long
@patient
@given(drawn=signers(), kid=kids)
def test_all_of_this_is_so_of_every_exchange(drawn: tuple[Resource, bytes, Kid], kid: Kid) -> None:
    for test in EXCHANGE:
        test.hypothesis.inner_test(drawn, kid)


secrets = st.text("abcdef0123456789", min_size=12, max_size=12)


@quick
@given(drawn=signers(), secret=secrets)
def test_a_document_shows_nothing_of_itself(
    drawn: tuple[Resource, bytes, Kid], secret: str
) -> None:
    check_hidden(drawn, secret)


@pytest.mark.long
@patient
@given(drawn=signers(), secret=secrets)
def test_no_document_shows_anything_of_itself(
    drawn: tuple[Resource, bytes, Kid], secret: str
) -> None:
    check_hidden(drawn, secret)


def check_hidden(drawn: tuple[Resource, bytes, Kid], secret: str) -> None:
    resource, body, old = drawn
    with_secret = body.replace(b"{", b'{"client_secret":"' + secret.encode() + b'",', 1)
    if with_secret.endswith(b",}"):
        return
    document = SignerDocument.parse(with_secret, resource)
    for text in (repr(document), str(document), f"{document}"):
        assert secret not in text
        assert old not in text or len(old) < 5  # a short one may be in any text


@patient
@given(body=st.binary() | values.map(str.encode), resource=resources)
def test_any_body_is_read_or_a_value_error(body: bytes, resource: Resource) -> None:
    for read in (
        lambda: SignerDocument.parse(body, resource),
        lambda: changes_between(body, b"{}", resource),
        lambda: fingerprint(body, resource),
    ):
        try:
            read()
        except ValueError as error:
            assert error.__cause__ is None  # its text would hold the body  # noqa: PT017
            assert error.__context__ is None  # noqa: PT017


@pytest.mark.parametrize("resource", Resource)
@quick
@given(before=objects(values), after=objects(values))
def test_changes_are_few_sorted_and_the_same_both_ways(
    resource: Resource, before: str, after: str
) -> None:
    check_changes(resource, before, after)


@pytest.mark.long
@patient
@given(resource=resources, before=objects(values), after=objects(values))
def test_all_changes_are_few_sorted_and_the_same_both_ways(
    resource: Resource, before: str, after: str
) -> None:
    check_changes(resource, before, after)


def check_changes(resource: Resource, before: str, after: str) -> None:
    old, new = before.encode(), after.encode()
    changes = changes_between(old, new, resource)
    assert changes == changes_between(new, old, resource)
    assert len(changes) <= MOST_CHANGES + 1
    named = [change for change in changes if change != "..."]
    assert named == sorted(named)
    assert (changes == ()) == (fingerprint(old, resource) == fingerprint(new, resource))


@quick
@given(document=objects(values), resource=resources)
def test_an_object_is_like_itself_however_it_is_written(document: str, resource: Resource) -> None:
    """Order, white space and escapes are no content; the last of two alike names counts."""
    body = document.encode()
    rewritten = rewrite(body)
    assert changes_between(body, rewritten, resource) == ()
    assert fingerprint(body, resource) == fingerprint(rewritten, resource)


def rewrite(body: bytes) -> bytes:
    """Write a document anew: sorted, indented, numbers untouched."""
    marks: list[str] = []

    def mark(number: str) -> str:
        marks.append(number)
        return f"\0number {len(marks) - 1}\0"

    document = json.loads(body, parse_int=mark, parse_float=mark)
    text = json.dumps(document, sort_keys=True, indent=1)
    for index, number in enumerate(marks):
        text = text.replace(f'"\\u0000number {index}\\u0000"', number)
    return text.encode()
