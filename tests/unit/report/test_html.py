"""The report as a page: it says what there is to say, stands alone, and no label acts in it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.cautions import Caution, CautionKind
from orchestrator.engine.result import HookTally, RunResult
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.report import html
from orchestrator.report.formats import WRITERS
from orchestrator.report.html import html_pieces, visible
from orchestrator.store.base import EventKind, EventRecord, StopRecord, TargetRecord
from tests.unit.results import NOON, certificate, job_record, record, run_result, target_record

KEY = KeyRef(app=AppId("0oaSource"), kid=Kid("new-kid"))
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title></style></script><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% include 'report.js' %} {# #}",
    "<!-- -->]]>",
    "&lt;b&gt;&#60;b&#62;",
    "evil \u202etxt.exe\u202c \u2066x",
    "bell\x07 escape\x1b[31m nul\x00 \x9b",
    "half \ud83d of a pair \udcff",
    "line\r\nbreak\u2028and\u2029more",
]
VOID = {"meta", "br", "input", "img", "link", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.pieces: list[str] = []
        self.comments = 0
        self.feed(text)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)
        self.pieces.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002 - its name is given
        self.comments += 1

    def text(self, *tags: str) -> str:
        return " ".join(piece for tag in tags for piece in self.texts.get(tag, []))

    @property
    def all_text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


def page_of(result: RunResult) -> Page:
    return Page("".join(html_pieces(result)))


def full(word: str) -> RunResult:
    """Return a result in which everything that an org, a file or a hook may say is `word`."""
    evidence = Evidence(
        http_status=400,
        okta_code=word,
        causes=(word, word),
        location_app=AppId(word),
        request_ids=(word,),
        attempts=2,
        lost_answers=1,
        waited_seconds=1.5,
    )
    target = Target(
        job=word, app=AppId(word), tags={"owner": word.encode(errors="replace").decode()}
    )
    outcome = Outcome(
        target=target,
        key=KEY,
        status=Status.CLONED,
        detail=word,
        label=word,
        evidence=evidence,
        settled_at=NOON,
    )
    activation = Activation(
        target=target,
        kid=Kid("new-kid"),
        wave=1,
        state=ActivationState.ACTIVATED,
        detail=word,
        previous_kid=Kid("old-kid"),
        problem=word,
        evidence=evidence,
        at=NOON,
    )
    failed = replace(outcome, status=Status.FAILED, reason=Reason.REJECTED)
    named = replace(certificate("t"), subject=word, signature_hash=word)
    jobs = (
        job_record(KEY, name=word, certificate=named, dropped={word: 1}),
        job_record(KEY, position=1, name="other", problem=word),
    )
    hook = {"on": word, "argv": [word], "job": word, "app": word, "exit_code": 1}
    hook |= {"timed_out": False, "error": None, "output": word}
    events = [
        event(1, EventKind.SESSION_STARTED, {"session": {"host": word, "version": word}}),
        event(2, "wave_approved", {"job": 0, "wave": 1, "by": word}),
        event(3, "wave_held", {"job": 0, "wave": 1, "detail": word}),
        event(4, word or "none", {"job": 0}),
    ]
    plain = run_result(
        [target_record(outcome, wave=1, activation=activation), failed],
        run=replace(record(), events=4),
        jobs=jobs,
        stop=StopRecord(cause=StopCause.FAILURES, detail=word, hint=word),
    )
    return replace(
        plain,
        cautions=(Caution(kind=CautionKind.SHA1, job="job", detail=word, count=2),),
        hooks=HookTally(ran=1, failed=1, failures=(hook,)),
        events=events,
    )


def event(seq: int, kind: str, body: dict[str, object]) -> EventRecord:
    return EventRecord(seq=seq, at=NOON, kind=kind, body=body)


def assert_as_harmless(word: str) -> None:
    """Check that a text makes neither an element nor an attribute, and is there to be read."""
    found, harmless = page_of(full(word)), page_of(full("harmless"))
    assert found.elements == harmless.elements
    assert found.comments == 0
    shown = " ".join(str(visible(word)).split())
    assert shown in found.all_text
    assert found.text("script", "style") == harmless.text("script", "style")
    for tag, name, value in found.values:
        if name == "href":
            assert (tag, value) == ("a", "#targets")


@pytest.mark.parametrize("word", [word for word in HOSTILE if word.isprintable()])
def test_no_text_acts(word: str) -> None:
    assert_as_harmless(word)


@settings(max_examples=25, deadline=None)
@given(st.text("<>\"'&=/!-{}%# ax\u202e\x00", min_size=1).filter(lambda text: text.strip()))
def test_whatever_is_typed_is_text(word: str) -> None:
    found, harmless = page_of(labelled(word)), page_of(labelled("harmless"))
    assert found.elements == harmless.elements
    assert " ".join(str(visible(word)).split()) in found.all_text


def labelled(label: str) -> RunResult:
    outcome = Outcome(
        target=Target(job="job", app=AppId("0oaTarget")),
        key=KEY,
        status=Status.FAILED,
        detail=label,
        label=label,
        reason=Reason.REJECTED,
    )
    return run_result([outcome], jobs=(job_record(KEY),))


@pytest.mark.parametrize("label", HOSTILE)
def test_what_cannot_be_seen_is_shown_as_its_code(label: str) -> None:
    text = "".join(html_pieces(labelled(label)))
    text.encode("utf-8")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text
    )


def test_letters_of_every_writing_are_left_as_they_are() -> None:
    for text in ("Zoë", "金融", "עברית", "\u0645\u06cc\u200c\u062e", "👩\u200d💻"):
        assert visible(text) == text
    assert visible("a\u202eb\x00") == "a[U+202E]b[U+0000]"


def test_the_policy_allows_the_page_its_own_style_and_script_only() -> None:
    page = page_of(labelled("x"))
    [policy] = [
        value for _, name, value in page.values if name == "content" and "default-src" in value
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert set(rules) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    assert {rules[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        [text] = page.texts[tag]
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert {name for _, names in page.elements for name in names}.isdisjoint({"style", "src"})
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    assert {tag for tag, _ in page.elements}.isdisjoint({"link", "img", "iframe", "form", "object"})


def test_headings_stand_in_order_and_tables_name_their_columns() -> None:
    page = page_of(full("word"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - level <= 1 for level, later in pairwise(levels))
    assert all("scope" in names for tag, names in page.elements if tag == "th")
    assert ("html", ("lang",)) in page.elements
    labelled_by = {value for _, name, value in page.values if name in ("aria-labelledby", "for")}
    ids = [value for _, name, value in page.values if name == "id"]
    assert {each for value in labelled_by for each in value.split()} <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_page_tells_what_an_auditor_asks() -> None:
    result = full("word")
    text = page_of(result).all_text
    for told in (
        "Stopped before its end: too many targets failed",
        result.record.run_id,
        result.record.plan_digest,
        result.record.head,
        "2026-10-01 12:00:00",
        "2036-10-01",
        "before old-kid",
        "after new-kid",
        "Signed before with old-kid",
        "HTTP 400",
        "Session 1 began",
        "word approved wave 1 of job word",
        "okta-keys run PLAN --targets @finance-r1.failed.csv",
    ):
        assert told in text, told


def test_former_keys_have_the_certificate_that_was_read() -> None:
    asked: list[list[Kid]] = []

    def certificates(kids: object) -> dict[Kid, object]:
        asked.append(list(kids))  # type: ignore[call-overload]
        return {Kid("old-kid"): certificate("forged")}

    result = replace(full("word"), certificates=certificates)  # type: ignore[arg-type]
    text = page_of(result).all_text
    assert asked == [[Kid("old-kid")]]
    assert "forged" not in text, "its facts are not those of its x5c"
    assert "never read" in text


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_dry_run_is_told_of_as_such(dry_run: bool) -> None:
    outcome = replace(next(labelled("x").outcomes), status=Status.PLANNED, reason=None)
    result = run_result([outcome], run=record(dry_run=dry_run), jobs=(job_record(KEY),))
    page = page_of(replace(result, checksum="5e" * 32 if dry_run else None))
    assert ("DRY RUN" in page.all_text) is dry_run
    assert ("--expect 5e5e5e5e5e5e5e5e" in page.all_text) is dry_run
    assert page.text("title").startswith("DRY RUN: ") is dry_run


def many(number: int) -> Iterator[TargetRecord]:
    for each in range(number):
        target = Target(job="job", app=AppId(f"0oa{each:017d}"))
        yield target_record(
            Outcome(target=target, key=KEY, status=Status.CLONED, detail="said", label="Finance")
        )


def test_many_targets_are_folded_and_all_there() -> None:
    result = run_result(many(2 * html.BATCH + 1), jobs=(job_record(KEY),))
    page = page_of(result)
    folds = [value for tag, name, value in page.values if tag == "details" and name == "class"]
    assert folds == ["batch"] * 3
    assert sum(value == "s-cloned" for _, _, value in page.values) == 2 * html.BATCH + 1 + 1
    assert "Targets 2,001 to 2,001" in page.all_text


class Endless:
    """Targets of which only so many were ever asked for."""

    def __init__(self) -> None:
        self.passes = 0
        self.asked = 0

    def __iter__(self) -> Iterator[TargetRecord]:
        self.passes += 1
        for each in many(3 * html.BATCH):
            self.asked += self.passes == 2
            yield each


def test_a_page_is_made_a_batch_at_a_time() -> None:
    targets = Endless()
    result = replace(run_result(jobs=(job_record(KEY),)), records=targets)
    pieces = html_pieces(result)
    while targets.asked == 0:
        next(pieces)
    assert targets.asked <= html.BATCH
    assert max(map(len, pieces)) < 300_000


def test_a_run_without_anything_has_a_page() -> None:
    text = page_of(run_result()).all_text
    assert "The run has no targets." in text
    assert "Nothing." in text


def test_nobody_else_waits_for_the_templates() -> None:
    assert set(WRITERS) == {"json", "html", "csv", "junit", "markdown"}
    code = "import sys, orchestrator.report.formats; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
