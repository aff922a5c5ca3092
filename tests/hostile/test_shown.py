"""Whatever an org says steers no terminal, turns no text around and begins no line of its own."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.logs import LINE, LineFormatter
from orchestrator.cli.main import print_error
from orchestrator.cli.render import escape, print_note
from orchestrator.errors import Refused
from orchestrator.hooks import harmless
from orchestrator.okta.wire import refusal_of
from orchestrator.report.markdown import code, prose
from orchestrator.writing import as_words, on_lines, on_one_line

CODES = [*range(32), *range(127, 160), 0x61C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF]
MARKS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xDFFF, 0xE0041]
STEERING = frozenset(map(chr, [*CODES, *MARKS]))
HOSTILE = "Fin\x1b]0;owned\x07\x1b[2J\u202egnp\r\n  hint: run evil\x9b31m\ud800\u2028[red]x[/]"
texts = st.text(st.sampled_from(sorted(STEERING)) | st.characters(), max_size=30)


@given(text=texts)
def test_nothing_that_steers_is_left_on_a_line(text: str) -> None:
    line = on_one_line(text)
    assert not STEERING & set(line)
    assert on_one_line(line) == line
    assert len(line) == len(text)
    line.encode()


@given(text=texts, longest=st.integers(1, 40))
def test_words_are_on_one_line_and_short(text: str, longest: int) -> None:
    words = as_words(text, longest)
    assert words.isprintable()
    assert len(words) <= longest


@given(text=texts)
def test_lines_stay_lines_and_nothing_else(text: str) -> None:
    lines = on_lines(text)
    assert not (STEERING - set("\n\t")) & set(lines)
    assert lines.count("\n") == text.count("\n")
    assert not (STEERING - set("\n\t")) & set(harmless(text.encode("utf-8", "surrogatepass")))


@given(text=st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_what_shows_stays_as_it_is(text: str) -> None:
    assert on_one_line(text) == text == on_lines(text)


@pytest.mark.parametrize("shown", [escape, as_words, prose, code, on_one_line])
def test_wherever_it_is_shown(shown: object) -> None:
    text = shown(HOSTILE)  # type: ignore[operator]
    assert not STEERING & set(text)


def test_an_error_that_quotes_the_org_is_lines_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    body = b'{"errorCode":"E0000001","errorSummary":"no\\n  hint: run evil\\u001b[2J\\u202e"}'
    print_error(Refused(f"the org refuses: {refusal_of(400, body)}", hint="ask an admin"))
    said = capsys.readouterr().err
    assert not (STEERING - {"\n"}) & set(said)
    assert said.splitlines()[1:] == ["  hint: ask an admin"]


def test_an_error_cannot_steer_by_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(Refused("no", filter=HOSTILE))
    assert not (STEERING - {"\n"}) & set(capsys.readouterr().err)


def test_a_log_record_is_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "said %s", (HOSTILE,), None)
    assert not STEERING & set(LineFormatter(LINE).format(record))


def test_a_note_is_one_line() -> None:
    file = io.StringIO()
    print_note(Console(file=file, force_terminal=False), HOSTILE)
    assert not STEERING & set(file.getvalue().removesuffix("\n"))
