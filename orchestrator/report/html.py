"""The report as one HTML page: for a manager to read, and for an auditor to keep.

It stands alone: nothing is fetched, and a policy in the page forbids that. Text of an org is
foreign: the templates escape whatever they are given, and what cannot be seen is shown as its code.
Jinja2 is loaded here and nowhere else.
"""

from __future__ import annotations

import hashlib
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TypeVar

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from orchestrator import __version__
from orchestrator.engine.result import RunResult
from orchestrator.model import ActivationState, Status
from orchestrator.report.document import head_of, row_of, rows_of
from orchestrator.report.evidence import facts_of
from orchestrator.report.parts import TargetRow
from orchestrator.report.survey import MOST_FORMER, MOST_WAVES, needs_a_person, survey_of
from orchestrator.report.timeline import timeline_of
from orchestrator.report.verdict import exit_text, remains_of, verdict_of
from orchestrator.report.wording import (
    dropped_text,
    duration,
    key_text,
    limit_text,
    sharing_text,
    word_of,
)

LARGE = 5000  # targets; beyond it their evidence stands in plain lines, which costs browsers less
BATCH = 1000  # targets to a table; browsers lay out only the tables that are unfolded
PIECES = 200  # of the template's, to a piece of ours
KEPT = frozenset("\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")  # words and emoji need them
TONES: Mapping[str, str] = {  # of outcomes and states: those of one name are taken alike
    Status.PLANNED: "neutral",
    Status.CLONED: "good",
    Status.GENERATED: "good",
    Status.ALREADY_PRESENT: "good",
    Status.FAILED: "bad",
    Status.SKIPPED: "warning",
    ActivationState.INTENDED: "bad",
    ActivationState.ACTIVATED: "good",
    ActivationState.VERIFIED: "good",
    ActivationState.REVERTING: "bad",
    ActivationState.ROLLED_BACK: "warning",
}

T = TypeVar("T")


def html_pieces(result: RunResult) -> Iterator[str]:
    """Yield the page in pieces."""
    survey, total = survey_of(result), sum(result.counts.values())
    stream = (
        templates()
        .get_template("report.html")
        .stream(
            head=head_of(result),
            verdict=verdict_of(result, survey.wrongs),
            remains=list(remains_of(result)),
            jobs=survey.jobs,
            wrong=[
                row_of(record.outcome, record, dry_run=result.record.dry_run, packs=result.packs)
                for record in survey.wrong
                if record.outcome is not None
            ],
            wrongs=survey.wrongs,
            any_dropped=any(map(dropped_text, result.jobs)),
            counts=counts_of(result),
            choices=choices_of(result, survey.wrongs),
            forecast=result.forecast,
            timeline=timeline_of(result.events, {job.position: job.name for job in result.jobs}),
            batches=batches(rows_of(result), BATCH),
            batch_size=BATCH,
            is_large=total > LARGE,
            total=total,
            policy=policy(),
            version=__version__,
        )
    )
    stream.enable_buffering(PIECES)
    return stream


def counts_of(result: RunResult) -> list[tuple[str, int, str]]:
    """Return what targets came to: a word, how many, and how that is to be taken."""
    counts = [
        (status.value.replace("_", " "), number, TONES[status])
        for status, number in result.counts.items()
        if number
    ]
    return counts + [
        (word_of(state), number, TONES[state])
        for state, number in result.activations.items()
        if number
    ]


def choices_of(result: RunResult, wrongs: int) -> list[tuple[str, str, int]]:
    """Return what the targets can be narrowed down to: a class, its words, and how many."""
    choices = [("wrong", "failed or in doubt", wrongs)]
    choices += [
        (f"s-{status.value}", status.value.replace("_", " "), number)
        for status, number in result.counts.items()
    ]
    choices += [
        (f"a-{state.value}", word_of(state), number) for state, number in result.activations.items()
    ]
    return [choice for choice in choices if choice[2]]


def classes(row: TargetRow) -> str:
    """Return what a target can be found by, in the terms of `choices_of`."""
    found = [f"s-{row.status.value}"]
    if row.activation is not None:
        found.append(f"a-{row.activation.state.value}")
    if needs_a_person(row.status, row.activation):
        found.append("wrong")
    return " ".join(found)


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the rows in lists of that size."""
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch


def visible(value: object) -> object:
    """Return what a template shows in place of a value: its text, with nothing hidden in it.

    Controls, marks that turn the direction of writing, and what has no encoding stand as their
    code. Markup is the templates' own.
    """
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(seen, text))


def seen(character: str) -> str:
    kind = unicodedata.category(character)
    is_hidden = (kind[0] == "C" or kind in ("Zl", "Zp")) and character not in KEPT
    return f"[U+{ord(character):04X}]" if is_hidden else character


def moment(at: datetime | None) -> str:
    """Return a time as a person reads it, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at is not None else ""


def days(end: datetime, since: datetime) -> str:
    """Say how long something lasts at a moment, in days."""
    left = (end - since).days
    return f"in {left:,} days" if left >= 0 else "it has ended"


@cache
def templates() -> Environment:
    """Return the templates, with all that they may use."""
    environment = Environment(
        loader=FunctionLoader(source_of),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "words": lambda name: str(name).replace("_", " "),
        "moment": moment,
        "iso": datetime.isoformat,
        "duration": duration,
        "tone": TONES.__getitem__,
        "word_of": word_of,
        "classes": classes,
        "facts_of": facts_of,
        "exit_text": exit_text,
        "key_text": key_text,
        "dropped_text": dropped_text,
        "limit_text": limit_text,
    }
    environment.globals = {
        "days": days,
        "sharing_text": sharing_text,
        "most_former": MOST_FORMER,
        "most_waves": MOST_WAVES,
    }
    return environment


def source_of(name: str) -> str:
    return files("orchestrator.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def policy() -> str:
    """Return the page's Content-Security-Policy: its own style and script, and nothing else."""
    style, script = (digest(templates().get_template(name).render()) for name in INLINE)
    return (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; "
        "base-uri 'none'; form-action 'none'"
    )


INLINE = ("report.css", "report.js")


def digest(text: str) -> str:
    """Return a source expression of CSP for an inline block (CSP 3, 2.3.1)."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
