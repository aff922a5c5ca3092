"""What stops a file from being YAML at all, said at its place and in plain words."""

from __future__ import annotations

import re

import yaml

from orchestrator.errors import PlanError, Problem
from orchestrator.plan.tree import Place

BOM = b"\xef\xbb\xbf"
WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
NOT_PRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)

# What the parser says (part of it): what to tell a person, and what to do.
PLAIN_WORDS = (
    (
        "mapping values are not allowed",
        "a colon stands where no key can be",
        "check the indentation of this line, and quote text that contains a colon and a space",
    ),
    (
        "could not find expected ':'",
        "a key without a colon",
        "write key: value, with a space after the colon",
    ),
    (
        "did not find expected ',' or ']'",
        "a list in [ ] goes wrong here",
        "put a comma between the items and ] at the end",
    ),
    (
        "did not find expected ',' or '}'",
        "a mapping in { } goes wrong here",
        "put a comma between the entries and } at the end",
    ),
    (
        "did not find expected '-' indicator",
        "this line does not belong to the list above it",
        "indent it like the items of the list, or start it with a dash",
    ),
    (
        "did not find expected key",
        "this line does not belong to the mapping above it",
        "indent it like the keys above",
    ),
    ("unexpected end of stream", "quotes are opened and never closed", "add the closing quote"),
    (
        "block sequence entries are not allowed",
        "a list cannot start here",
        "put the dash on a line of its own",
    ),
    (
        "unknown escape character",
        "a backslash in double quotes",
        "use single quotes, in which a backslash is itself",
    ),
    (
        "cannot start any token",
        "no value can start with this character",
        "put the value in quotes",
    ),
    (
        "found unexpected ':'",
        "a colon stands before [ or {",
        'put the text in quotes, such as "cmd:[pass, okta]", or a space after the colon',
    ),
    ("nested", "nested too deep", "six levels or so are enough"),
)


def decode(data: bytes, file: str) -> str:
    """Return the text of a UTF-8 file, without the byte order mark that may begin it.

    Raises:
        PlanError: the bytes are not UTF-8, or hold control characters.
    """
    data = data.removeprefix(BOM)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = undecodable(data, error, file)
    else:
        control = NOT_PRINTABLE.search(text)
        if control is None:
            return text
        code = f"U+{ord(control[0]):04X}"
        place = place_at(text, control.start())
        bad = problem(file, place, f"the control character {code} is not allowed", "remove it")
    raise PlanError([bad])


def undecodable(data: bytes, error: UnicodeDecodeError, file: str) -> Problem:
    if data.startswith(WIDE_BOMS):
        return problem(file, Place(1, 1), "the file is UTF-16", "save it as UTF-8")
    place = place_at(data[: error.start].decode("utf-8"), error.start)
    text = f"the byte 0x{data[error.start]:02x} is not UTF-8"
    return problem(file, place, text, "save the file as UTF-8")


def place_at(text: str, index: int) -> Place:
    """Return the line and column of a character of `text`."""
    line, start = 1, 0
    for line_break in LINE_BREAK.finditer(text, 0, min(index, len(text))):
        line, start = line + 1, line_break.end()
    return Place(line, min(index, len(text)) - start + 1)


def syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """Return where and why the parser gave up."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    said = f"{getattr(error, 'context', None) or ''} {getattr(error, 'problem', None) or ''}"
    lines = LINE_BREAK.split(text)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation:
        place = Place(place.line, indentation.index("\t") + 1)
        return problem(file, place, "a tab in the indentation", "indent with spaces")
    for sign, message, hint in PLAIN_WORDS:
        if sign in said:
            begun = beginning(error, place)
            return problem(file, place, f"not valid YAML: {message}", f"{hint}{begun}")
    return problem(file, place, "not valid YAML", "check the lines just above, too")


def beginning(error: yaml.YAMLError, place: Place) -> str:
    """Return where the list, mapping or text began that goes wrong at `place`."""
    context = getattr(error, "context_mark", None)
    if context is None or context.line + 1 == place.line:
        return ""
    return f"; it begins on line {context.line + 1}"


def problem(file: str, place: Place, message: str, hint: str) -> Problem:
    return Problem(
        file=file, line=place.line, column=place.column, path="", message=message, hint=hint
    )
