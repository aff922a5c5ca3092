"""A secret does not print, by any of the ways in which Python prints things."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from orchestrator.errors import ConfigError
from orchestrator.secret import MASK, Secret, resolve_reference

VALUE = "00canary-Qx7_token"


def test_no_way_of_printing_shows_it() -> None:
    secret = Secret(VALUE)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>40}",
        "%s" % secret,  # noqa: UP031 - one of the ways
        str([secret]),
        str({"token": secret}),
    ]
    assert all(MASK in text and VALUE not in text for text in shown)
    assert secret.reveal() == VALUE


def test_it_cannot_be_copied_out(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    for escape in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            escape(secret)
        assert VALUE not in "".join(traceback.format_exception(caught.value))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("with %s", secret)
    assert VALUE not in caplog.text


def test_equal_secrets_are_equal() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert hash(Secret(VALUE)) == hash(Secret(VALUE))
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE


def test_a_reference_is_resolved_late() -> None:
    assert resolve_reference("env:TOKEN", {"TOKEN": f" {VALUE}\n"}).reveal() == VALUE


@pytest.mark.parametrize("environ", [{}, {"TOKEN": ""}, {"TOKEN": "  "}])
def test_an_unset_variable_is_an_error_that_names_it(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="TOKEN is not set"):
        resolve_reference("env:TOKEN", environ)
