"""What somebody means who picks from a table, and what the table shows."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.picker import (
    Answer,
    Search,
    Stop,
    Take,
    TakeShown,
    Unclear,
    pick,
    read_answer,
)
from orchestrator.inventory.record import Row, rows_of
from tests.inventory.drafts import app, inventory_of

ROWS = tuple(
    rows_of(
        inventory_of(
            app(1, 1, label="Finance"),
            app(2, 2, label="[red]Sales[/] \x1b[31m"),
            app(3, 2, label="Finance EU"),
            days={1: 30, 2: 10},
        )
    )
)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("", Stop()),
        ("  \n", Stop()),
        ("all\n", TakeShown()),
        ("ALL", TakeShown()),
        ("/fin eu\n", Search("fin eu")),
        ("/", Search("")),
        ("3", Take((3,))),
        ("1-3,7\n", Take((1, 2, 3, 7))),
        ("7 1 - 2, 1", Take((7, 1, 2))),
        ("0", Unclear("0: the numbers go from 1 to 9")),
        ("8-10", Unclear("8-10: the numbers go from 1 to 9")),
        ("3-1", Unclear("3-1: the numbers go from 1 to 9")),
        ("1,x", Unclear("'x' is neither a number nor a range such as 1-3")),
        ("-1", Unclear("'-1' is neither a number nor a range such as 1-3")),
        ("9999999999", Unclear("'9999999999' is neither a number nor a range such as 1-3")),
        (",", Unclear("that names no number")),
        ("²", Unclear("'²' is neither a number nor a range such as 1-3")),
    ],
)
def test_what_a_line_means(line: str, meant: Answer) -> None:
    assert read_answer(line, 9) == meant


ranges = st.tuples(st.integers(1, 200), st.integers(0, 20)).map(
    lambda pair: (pair[0], min(200, pair[0] + pair[1]))
)
gaps = st.sampled_from([",", " ", ", ", " ,\t"])


@given(st.lists(st.tuples(ranges, gaps, st.booleans()), min_size=1, max_size=10))
def test_every_way_to_say_numbers_is_understood(
    said: list[tuple[tuple[int, int], str, bool]],
) -> None:
    line = "".join(
        f"{first}{'-' if tight else ' - '}{last}{gap}" if first != last else f"{first}{gap}"
        for (first, last), gap, tight in said
    )
    meant = [number for (first, last), _, _ in said for number in range(first, last + 1)]
    assert read_answer(line, 200) == Take(tuple(dict.fromkeys(meant)))


@given(st.text(), st.integers(1, 50))
def test_no_line_is_taken_for_numbers_that_are_not_there(line: str, count: int) -> None:
    answer = read_answer(line, count)
    if isinstance(answer, Take):
        assert answer.numbers
        assert all(1 <= number <= count for number in answer.numbers)
        assert all(each in "0123456789-, \t\n\r\x0b\x0c" or each.isspace() for each in line)


def picked(*lines: str, rows: tuple[Row, ...] = ROWS) -> tuple[list[str], str]:
    """Return the ids of what is picked by typing these lines, and what is shown."""
    shown = StringIO()
    answers: Iterator[str] = iter(lines)
    console = Console(file=shown, width=120, highlight=False)
    found = pick(rows, read=lambda: f"{next(answers)}\n", console=console)
    return [row.holder.id[-1] for row in found], shown.getvalue()


def test_numbers_are_of_the_table_and_picks_are_in_the_order_of_the_org() -> None:
    ids, shown = picked("3,1")
    assert ids == ["1", "2"]
    first = next(line for line in shown.splitlines() if line.strip().startswith("1 "))
    assert "Sales" in first, "what ends first stands first"
    assert first.split()[-3:] == ["10", "2", "0oa00000000000000002"]


def test_a_search_narrows_what_all_means_and_keeps_the_numbers() -> None:
    assert picked("/fin", "all")[0] == ["1", "3"]
    assert picked("/FIN", "/", "all")[0] == ["1", "2", "3"]
    assert picked("/0oa00000000000000002", "all")[0] == ["2"]
    assert picked("/eu", "1")[0] == ["2"]


def test_all_of_nothing_is_asked_again() -> None:
    ids, shown = picked("/no such app", "all", "/", "all")
    assert ids == ["1", "2", "3"]
    assert "nothing has that in it" in shown


def test_stopping_picks_nothing() -> None:
    assert picked("bad", "")[0] == []
    assert "'bad' is neither" in picked("bad", "")[1]


def test_a_label_is_only_text() -> None:
    shown = picked("")[1]
    assert "\x1b" not in shown
    assert "[red]Sales[/]" in shown


def test_of_many_only_the_first_are_shown() -> None:
    many = tuple(rows_of(inventory_of(*(app(number, number) for number in range(60)))))
    ids, shown = picked("60", rows=many)
    assert len(ids) == 1
    assert "... and 20 more: /text searches" in shown
