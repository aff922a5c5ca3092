"""What is told of an error that nobody expected: where, and nothing of the data."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.cli.crash import MOST_FRAMES, crash_text
from orchestrator.cli.main import tell_group
from orchestrator.errors import ConfigError, ExitCode
from orchestrator.secret import Secret
from tests.cli.program import ROOT

VALUE = "canary-Qx7-token"
INSTALLED = "from orchestrator.cli.crash import tell_crashes; tell_crashes()\n"
BEARER = "raise ValueError('Bearer ' + 'canary-of-an-opaque-kind')"


def fail(depth: int = 0) -> None:
    local = f"in a variable: {depth}"
    if depth:
        fail(depth - 1)
    raise ValueError(f"{VALUE}\x1b[2J {Secret(VALUE)}", len(local))


def caught(depth: int = 0) -> BaseException:
    with pytest.raises(ValueError, match=VALUE) as told:
        fail(depth)
    return told.value


def test_it_says_where_and_shows_no_secret_and_no_variable() -> None:
    secret, error = Secret(VALUE), caught()
    told = crash_text(error)
    assert VALUE not in told
    assert "test_crash.py" in told
    assert "in fail" in told
    assert "ValueError: ('[secret]" in told
    assert "in a variable: 0" not in told
    assert "\x1b" not in told
    assert told.splitlines()[-1].startswith("  hint: please report it")
    del secret


def test_what_it_came_from_is_scrubbed_too() -> None:
    secret, error = Secret(VALUE), RuntimeError("the last")
    error.__cause__ = caught()
    error.add_note(f"noted: {secret.reveal()}")
    told = crash_text(ExceptionGroup("several", [error, KeyError(secret.reveal())]))
    assert VALUE not in told
    assert told.count("[secret]") >= 3
    assert "the last" in told


def test_a_deep_recursion_is_told_in_short() -> None:
    told = crash_text(caught(depth=100))
    assert told.count("in fail") <= MOST_FRAMES + 1
    assert len(told.splitlines()) < 60


@pytest.mark.parametrize(
    "script",
    [
        BEARER,
        f"import threading\ndef f(): {BEARER}\nt = threading.Thread(target=f); t.start(); t.join()",
        f"class A:\n  def __del__(self): {BEARER}\na = A()\ndel a",
    ],
)
def test_also_where_no_boundary_is(script: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INSTALLED + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValueError: Bearer [secret]" in ended.stderr
    assert "canary-of" not in ended.stderr.replace(BEARER, "")
    assert "this is a mistake in the program" in ended.stderr


@pytest.mark.parametrize(
    ("inner", "code", "said"),
    [
        ([ConfigError("not so", hint="do")], ExitCode.INVALID, "error: not so\n  hint: do\n"),
        ([KeyboardInterrupt(), KeyboardInterrupt()], ExitCode.INTERRUPTED, "interrupted\n"),
        ([ConfigError("not so"), OSError("odd")], ExitCode.UNEXPECTED, "OSError: odd"),
        ([KeyboardInterrupt(), OSError("odd")], ExitCode.UNEXPECTED, "OSError: odd"),
    ],
)
def test_groups_are_told_by_what_is_in_them(
    inner: list[BaseException], code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell_group(BaseExceptionGroup("group", inner)) is code
    assert said in capsys.readouterr().err


def test_errors_of_ours_are_scrubbed_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret(VALUE)
    tell_group(BaseExceptionGroup("group", [ConfigError(f"refused: {secret.reveal()}")]))
    assert capsys.readouterr().err == "error: refused: [secret]\n"
