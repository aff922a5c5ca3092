"""A secret does not print, by any of the ways in which Python and libraries print things."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import os
import pickle
import pprint
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from io import StringIO

import msgspec
import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter
from rich.console import Console
from rich.traceback import Traceback

from orchestrator.secret import LIVING, MASK, Secret

VALUE = "00canary-Qx7_token"


@dataclass(frozen=True)
class Holder:
    """What has a secret, as a credential does."""

    secret: Secret


class Model(BaseModel):
    """Likewise, of pydantic."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    secret: Secret


def of_rich(secret: Secret) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(secret, Holder(secret), {"secret": secret})
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # it is a StringIO


def of_members(secret: Secret) -> str:
    """Return all that can be had of an object without calling what it has."""
    return repr([inspect.getmembers(secret), dir(secret), getattr(secret, "__dict__", None)])


WAYS: dict[str, Callable[[Secret], object]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": lambda secret: f"{secret} {secret!r:>40} {secret:x}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways
    "fields of format": "{0._tell} {0.reveal}".format,
    "in a list": lambda secret: str([secret]),
    "in a dict": lambda secret: str({"token": secret, secret: 1}),
    "in a dataclass": lambda secret: repr(Holder(secret)),
    "in a model": lambda secret: repr(Model(secret=secret)) + str(Model(secret=secret)),
    "as an exception": lambda secret: "".join(traceback.format_exception(ValueError(secret))),
    "pprint": pprint.pformat,
    "rich": of_rich,
    "members": of_members,
    "vars": vars,
    "pickle": pickle.dumps,
    "pickle, protocol 0": lambda secret: pickle.dumps(secret, 0),
    "state": lambda secret: secret.__getstate__(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "asdict": lambda secret: asdict(Holder(secret)),
    "astuple": lambda secret: repr(astuple(Holder(secret))),
    "json": json.dumps,
    "json by str": lambda secret: json.dumps([secret], default=str),
    "json by vars": lambda secret: json.dumps([secret], default=vars),
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec builtins": msgspec.to_builtins,
    "msgspec of a dataclass": lambda secret: msgspec.json.encode(Holder(secret)),
    "pydantic": lambda secret: Model(secret=secret).model_dump_json(),
    "pydantic python": lambda secret: repr(Model(secret=secret).model_dump()),
    "pydantic any": lambda secret: pydantic_core.to_json(secret, serialize_unknown=True),
    "pydantic adapter": lambda secret: TypeAdapter(object).dump_json(secret),
    "iterate": list,  # type: ignore[dict-item]
    "slice": lambda secret: secret[:2],  # type: ignore[index]
    "length": len,  # type: ignore[dict-item]
    "add": lambda secret: "token " + secret,  # type: ignore[operator]
    "join": lambda secret: " ".join(2 * [secret]),  # type: ignore[arg-type]
    "bytes": bytes,  # type: ignore[dict-item]
    "encode": lambda secret: secret.encode(),  # type: ignore[attr-defined]
    "path": os.fspath,  # type: ignore[dict-item]
    "number": int,  # type: ignore[dict-item]
    "order": lambda secret: secret < Secret("x"),  # type: ignore[operator]
    "contains": lambda secret: "canary" in secret,  # type: ignore[operator]
    "set an attribute": lambda secret: setattr(secret, "value", 1),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_showing_it_shows_it(way: str) -> None:
    """Most are refused; what they refuse with does not tell it either."""
    try:
        shown = WAYS[way](Secret(VALUE))
    except Exception as error:  # noqa: BLE001 - each way has its own
        shown = "".join(traceback.format_exception(error))
    told = shown.decode("utf-8", "replace") if isinstance(shown, bytes) else repr(shown)
    assert VALUE not in told
    assert "canary" not in told.replace('"canary" in', "")


def test_it_cannot_be_copied_out() -> None:
    for escape in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            escape(Secret(VALUE))


def test_it_is_logged_as_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("with %s", Secret(VALUE))
    assert MASK in caplog.text
    assert VALUE not in caplog.text


def fail_with(secret: Secret) -> None:
    holder, several = Holder(secret), {"one": [secret]}
    raise ValueError(f"{holder} {several}")


def test_a_traceback_that_shows_variables_does_not_show_it() -> None:
    """But what `reveal` returns it would show: that is why this program makes none."""
    secret, revealed = Secret(VALUE), Secret("canary" + "-revealed").reveal()
    try:
        fail_with(secret)
    except ValueError as error:
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        console = Console(file=StringIO(), width=200)
        console.print(
            Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        )
        shown += str(console.file.getvalue())  # type: ignore[attr-defined]  # it is a StringIO
    assert "holder" in shown, "the variables were shown"
    assert revealed in shown, "a plain string would be found"
    assert VALUE not in shown


@given(st.text(), st.text())
def test_secrets_are_equal_as_their_values_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one).reveal() == one
    assert Secret(one) != one


def test_surrogates_are_no_reason_to_fail() -> None:
    assert Secret("\udcff") == Secret("\udcff") != Secret("\udcfe")


def test_a_hash_is_of_no_use_in_another_process() -> None:
    """With a seed that is known, the hash of a string could be found by trying."""
    script = f"from orchestrator.secret import Secret; print(hash(Secret({VALUE!r})))"
    env = os.environ | {"PYTHONHASHSEED": "0"}
    told = {
        subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(told) == 2


def test_what_is_gone_is_not_kept() -> None:
    secret = Secret(VALUE)
    assert secret in LIVING.values()
    number = id(secret)
    del secret
    assert number not in LIVING
