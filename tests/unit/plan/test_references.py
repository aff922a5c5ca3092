"""References to secrets: what they say, how they print, and what is refused unseen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from orchestrator.plan.references import (
    TEXT,
    ReferenceKind,
    SecretReference,
    read_reference,
    variable_reference,
)
from orchestrator.plan.tree import Quoted

TOKEN = "00hunter2-hunter2-hunter2-hunter2-hunter2-"


@pytest.mark.parametrize(
    ("written", "kind", "words", "shown"),
    [
        ("env:OKTA_API_TOKEN", "env", ("OKTA_API_TOKEN",), "env:OKTA_API_TOKEN"),
        (Quoted("env:_"), "env", ("_",), "env:_"),
        ("file:/run/secrets/okta", "file", ("/run/secrets/okta",), "file:/run/secrets/okta"),
        ("file:~/my key.pem", "file", ("~/my key.pem",), "file:~/my key.pem"),
        ("file:${CREDENTIALS_DIRECTORY}/t", "file", ("${CREDENTIALS_DIRECTORY}/t",), None),
        ("cmd:[pass, show, okta]", "cmd", ("pass", "show", "okta"), "cmd:[pass, ...]"),
        ("cmd:[pass]", "cmd", ("pass",), "cmd:[pass]"),
        ('cmd: ["a b", \'[c]\', "d, e", 7] ', "cmd", ("a b", "[c]", "d, e", "7"), None),
        ({"cmd": ["pass", "okta"]}, "cmd", ("pass", "okta"), "cmd:[pass, ...]"),
        ("keyring:okta-keys/acme", "keyring", ("okta-keys", "acme"), "keyring:okta-keys/acme"),
        ("keyring:https://a.okta.com/x", "keyring", ("https://a.okta.com", "x"), None),
    ],
)
def test_what_a_reference_says(
    written: object, kind: str, words: tuple[str, ...], shown: str | None
) -> None:
    reference = read_reference(written)
    assert reference == SecretReference(kind=ReferenceKind(kind), words=words)
    assert str(reference) == (shown or str(reference))
    assert read_reference(reference) is reference
    assert all(type(word) is str for word in reference.words)
    if isinstance(written, str):
        assert re.fullmatch(TEXT, written)  # so the schema says the same


def test_a_command_prints_without_its_arguments() -> None:
    reference = read_reference({"cmd": ["curl", "--user", "hunter2"], "env": ["VAULT_ADDR"]})
    assert reference.env == ("VAULT_ADDR",)
    assert "hunter2" not in f"{reference} {reference!r} {[reference]}"
    assert repr(variable_reference("A")) == "<env:A>"


WRONG: list[tuple[object, str]] = [
    ("", "never the secret itself"),
    (TOKEN, "never the secret itself"),
    (None, "never the secret itself"),
    (["env:A"], "never the secret itself"),
    (f"ENV:{TOKEN}", "is not a known kind of reference"),
    (f"vault:{TOKEN}", "never the secret itself"),
    ("env:", "does not name an environment variable"),
    ("env:1A", "does not name an environment variable"),
    ("env:A B", "does not name an environment variable"),
    ("env:A\n", "does not name an environment variable"),
    ("file:", "does not name a file"),
    ("file: /x", "does not name a file"),
    ("file:/x\n", "does not name a file"),
    ("file:/x\x1b[2J", "does not name a file"),
    ("file://host/x", "does not name a file"),
    (f"file:{TOKEN}", "does not name a file"),
    ("file:${HOME}/hunter2", "begins with a variable"),
    ("file:$HOME/hunter2", "begins with a variable"),
    ("file:${CREDENTIALS_DIRECTORY}", "begins with a variable"),
    ("file:${CREDENTIALS_DIRECTORY}x/hunter2", "begins with a variable"),
    ("cmd:", "as a list of texts"),
    ("cmd:pass show hunter2", "as a list of texts"),
    ("cmd:[]", "names no program"),
    ("cmd:['']", "names no program"),
    ("cmd:[[a]]", "names no program"),
    ("cmd:[a, [b]]", "has an argument that is not a text"),
    ("cmd:[a, ~]", "has an argument that is not a text"),
    ('cmd:["a\\0"]', "cannot be printed"),
    ('cmd:[a, "\\0"]', "has an argument that is not a text"),
    ("cmd:[hunter2", "is not a list that can be read"),
    ("cmd:[hunter2] x", "is not a list that can be read"),
    ("cmd:[a, !hunter2 b]", "is not a list that can be read"),
    ("cmd:[a, *hunter2]", "is not a list that can be read"),
    ({"cmd": "hunter2"}, "as a list of texts"),
    ({"cmd": []}, "names no program"),
    ({}, "anything but `cmd` and `env`"),
    ({"env": ["A"]}, "anything but `cmd` and `env`"),
    ({"cmd": ["a"], "hunter2": 1}, "anything but `cmd` and `env`"),
    ({"cmd": ["a"], "env": "hunter2"}, "has an `env` that is not a list"),
    ({"cmd": ["a"], "env": ["A=hunter2"]}, "does not list names"),
    ("keyring:", "does not name an entry"),
    ("keyring:hunter2", "does not name an entry"),
    ("keyring:/x", "does not name an entry"),
    ("keyring:x/", "does not name an entry"),
    ("keyring:x\n/y", "does not name an entry"),
]


@pytest.mark.parametrize(("written", "said"), WRONG)
def test_what_is_refused_is_never_shown(written: object, said: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        read_reference(written)
    assert said in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.context} {caught.value!r}"
    assert caught.value.__cause__ is caught.value.__context__ is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.sampled_from(["env:", "file:", "cmd:[", "keyring:"]), st.text())
def test_any_text_is_a_reference_or_refused(start: str, rest: str) -> None:
    try:
        reference = read_reference(start + rest)
    except PydanticCustomError:
        return
    assert str(reference).isprintable()
