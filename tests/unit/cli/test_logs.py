"""The log says one line per record, and none of them tells a secret."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from orchestrator.cli.logs import LINE, LineFormatter, LineHandler
from orchestrator.secret import MASK, Secret
from tests.cli.program import ROOT

VALUE = "canary-Qx7-token"
TOO_FEW = "%s and %s"


class Unprintable:
    """What has no text, and would tell a secret if it were asked otherwise."""

    def __str__(self) -> str:
        raise ValueError(VALUE)

    def __repr__(self) -> str:
        return f"Unprintable({VALUE})"


@pytest.fixture
def stream() -> Iterator[StringIO]:
    """Return what a logger of its own writes to, in the way of the program."""
    stream = StringIO()
    handler = LineHandler(stream)
    handler.setFormatter(LineFormatter(LINE))
    log.addHandler(handler)
    yield stream
    log.removeHandler(handler)


log = logging.Logger("aiohttp.of.a.library", logging.DEBUG)  # noqa: LOG001 - of no other handlers


def test_arguments_of_libraries_are_scrubbed(stream: StringIO) -> None:
    secret = Secret(VALUE)
    log.debug("headers: %r", {"Authorization": f"Whatever {secret.reveal()}"})
    log.warning("%s: %s", secret, b"Authorization: SSWS 00abcdefghijklmnop")
    assert VALUE not in stream.getvalue()
    assert "00abcdefghijklmnop" not in stream.getvalue()
    assert stream.getvalue().count(MASK) == 3


def test_tracebacks_are_one_line_and_scrubbed(stream: StringIO) -> None:
    secret = Secret(VALUE)
    try:
        int(secret.reveal())
    except ValueError:
        log.exception("failed", stack_info=True)
    told = stream.getvalue()
    assert told.count("\n") == 1
    assert re.search(r"ValueError: .*'\[secret\]' \| Stack", told)
    assert VALUE not in told


def test_control_codes_do_nothing(stream: StringIO) -> None:
    log.warning("a label: %s", "x\x1b[2J\r\nERROR root: forged\x85\u2028\u202eend")
    told = stream.getvalue()
    assert told.count("\n") == 1
    assert told.isprintable() or told[:-1].isprintable()
    assert "\u202e" not in told


def test_what_cannot_be_written_does_not_tell_its_arguments(stream: StringIO) -> None:
    log.warning("of %s", Unprintable())
    log.warning(TOO_FEW, VALUE)
    told = stream.getvalue()
    assert told.splitlines() == [
        f"a record of {log.name} cannot be written: ValueError",
        f"a record of {log.name} cannot be written: TypeError",
    ]


def test_a_stream_that_is_closed_is_no_reason_to_fail(stream: StringIO) -> None:
    stream.close()
    log.warning("nobody reads this")


@pytest.mark.parametrize(
    ("verbose", "levels"), [(True, {"DEBUG", "WARNING"}), (False, {"WARNING"})]
)
def test_the_log_is_on_stderr_alone(*, verbose: bool, levels: set[str]) -> None:
    script = (
        "import logging; from orchestrator.cli.logs import start_logging;"
        "logging.basicConfig(); start_logging(verbose=False);"
        f"start_logging(verbose={verbose});"
        "logging.getLogger('a').debug('fine'); logging.getLogger('b').warning('not so')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    assert {line.split()[2] for line in ended.stderr.splitlines()} == levels
    assert len(ended.stderr.splitlines()) == len(levels)
