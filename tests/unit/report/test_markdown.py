"""The report as Markdown: what a reviewer sees of a plan, and that no label ever acts in it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from orchestrator.engine.cautions import Caution, CautionKind
from orchestrator.engine.result import BucketForecast, Forecast, RunResult
from orchestrator.model import (
    NEW_KID,
    Activation,
    ActivationState,
    AppId,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Outcome,
    Reason,
    Status,
    StopCause,
    Target,
)
from orchestrator.report.markdown import LONGEST, MANY, code, markdown_pieces, prose
from orchestrator.store.base import StopRecord, TargetRecord
from tests.unit.results import certificate, job_record, record, run_result, target_record

GOLDEN = Path(__file__).with_name("preview.md")
KEY = KeyRef(
    app=AppId("0oa8ae1t5yev2ajDs0h7"), kid=Kid("w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI")
)
CERTIFICATE = certificate("kJ3bXC1o8dX-2mQ0mD2vVbYJb3xkS6m9T0b0c3Qx1pE")
HOSTILE = (
    "a|b", "`rm`", "``", "<img src=x onerror=alert(1)>", "@octocat", "@org/team", "a@b.example",
    "https://evil.example", "www.evil.example", "[link](https://evil.example)", "![x](//e.example)",
    "#1", "GH-1", "o/r#1", ":tada:", ":+1:", "**bold**", "_it_", "~~gone~~", "&#64;octocat",
    "&lt;b&gt;", "line\nbreak\r\n# heading", "\\|", "\\`", "$x$", "<!-- -->", "</details>",
    "\u202egnp", "\u2028- item", "\x1b[31mred", "a\x00b", "\ud800", "x" * 5000, " ", "Zoë, 日本語",
)  # fmt: skip


def outcome(
    app: str = "0oa8ae0dv4RGQvjyZ0h7",
    label: str | None = "Finance EU",
    status: Status = Status.PLANNED,
    detail: str = "would be cloned",
    **fields: object,
) -> Outcome:
    plain = Outcome(
        target=Target(job="finance-signing", app=AppId(app)),
        key=KEY,
        status=status,
        detail=detail,
        label=label,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]  # the tests name what they change


def activated(each: Outcome, state: ActivationState, detail: str, wave: int = 1) -> TargetRecord:
    activation = Activation(target=each.target, kid=KEY.kid, wave=wave, state=state, detail=detail)
    return target_record(each, wave=wave, activation=activation)


def preview() -> RunResult:
    """Return a preview with something of everything."""
    records = [
        activated(outcome(), ActivationState.PLANNED, "would be activated in place of 3QPkg8jrI"),
        activated(
            outcome("0oa8ae2p000000000001", "Finance | <b>UK</b> @octocat #1 `x`"),
            ActivationState.SKIPPED,
            "the app is INACTIVE",
            wave=2,
        ),
        target_record(
            outcome(
                "0oa8ae2p000000000002",
                None,
                Status.FAILED,
                "app 0oa8ae2p000000000002 is not in the org",
                reason=Reason.TARGET_NOT_FOUND,
            ),
            wave=2,
        ),
    ]
    jobs = (
        job_record(KEY, name="finance-signing", certificate=CERTIFICATE, dropped={"excluded": 2}),
        job_record(
            KeyRef(app=KEY.app, kid=NEW_KID),
            position=1,
            name="hr",
            wanted=KeySpec(kind=KeyKind.GENERATE, validity_years=3),
        ),
        job_record(KEY, position=2, name="lost", problem="the source key cannot be read: E0000007"),
    )
    bucket = BucketForecast(
        bucket="/api/v1/apps",
        calls=120,
        limit_per_window=50,
        share_per_window=45,
        window_seconds=60.0,
        seconds=130.5,
    )
    cautions = (
        Caution(
            kind=CautionKind.ENDS_SOON,
            job="finance-signing",
            detail="the certificate ends in 45 days, on 2026-11-15",
            count=3,
        ),
        Caution(
            kind=CautionKind.INACTIVE,
            job="finance-signing",
            detail="12 targets are not active",
            count=12,
            apps=(AppId("0oa8ae2p000000000001"), AppId("0oa8ae2p000000000002")),
        ),
    )
    result = run_result(records, run=record("20261001T120000Z-00aa11", dry_run=True), jobs=jobs)
    return replace(
        result,
        cautions=cautions,
        checksum="5e" * 32,
        forecast=Forecast(
            buckets=(
                bucket,
                replace(
                    bucket,
                    bucket="GET /api/v1/apps/{id}",
                    calls=3,
                    seconds=0.2,
                    limit_per_window=None,
                ),
            ),
            seconds=130.7,
            sharing={KEY.kid: 7, "new (hr)": 1},
        ),
    )


def text_of(result: RunResult) -> str:
    return "".join(markdown_pieces(result))


def test_a_preview_looks_as_it_was_looked_at() -> None:
    assert text_of(preview()) == GOLDEN.read_text(encoding="utf-8")


def rendered(text: str) -> list[Token]:
    """Return what a reader of Markdown makes of a text, the parts of lines included."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [each for token in tokens for each in (token, *(token.children or ()))]


def cells_of(text: str) -> list[list[str]]:
    """Return the text of every row of the last table, as a reader sees it."""
    rows: list[list[str]] = []
    for token in rendered(text):
        if token.type == "thead_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(map(seen_of, token.children or ())))
    return rows[1:]


def seen_of(token: Token) -> str:
    return "" if token.type == "html_inline" else token.content.replace("\u2060", "")


def plain(label: str) -> str:
    """Return a label without what cannot be seen, as the report shows it."""
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in label)
    return " ".join(visible.split())


KINDS = {  # all that a report consists of
    "inline", "text", "softbreak", "code_inline", "html_inline", "html_block",
    "strong_open", "strong_close",
} | {
    f"{name}_{end}"
    for name in ("heading", "paragraph", "bullet_list", "list_item", "table", "thead", "tbody",
                 "tr", "th", "td")
    for end in ("open", "close")
}  # fmt: skip


def assert_inert(text: str) -> None:
    """Check that nothing in a report leads anywhere, is HTML of others, or notifies anybody."""
    for token in rendered(text):
        assert token.type in KINDS, token
        if token.type == "html_inline":
            assert token.content in ("<code>", "</code>")
        if token.type == "html_block":
            assert re.fullmatch(
                r"(<details>\n<summary>\d+ rows</summary>|</details>)\n?", token.content
            )
        if token.type == "text":  # where GitHub looks for what to link and whom to notify
            assert not re.search(r"[@#]\w|:[\w+-]+:|\bGH-\d", token.content), token
    spans = re.sub(r"`[^`\n]+`", "", text)
    assert not re.search(r"://|www\.|[`@\[\]\\]|<(?!/?(?:code|details|summary)>)", spans)
    for line in spans.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 7


labels = st.sampled_from(HOSTILE) | st.text(max_size=30) | st.text("@#:`|<>[]()!*_~\\ &;w./-GH1x")


@settings(max_examples=60, deadline=None)
@given(st.lists(labels, min_size=1, max_size=5), labels)
def test_no_label_acts(names: list[str], word: str) -> None:
    apps = [f"0oa{number:017d}" for number in range(len(names))]
    outcomes = [
        outcome(app, label, Status.FAILED, f"{word} refused", reason=Reason.REJECTED)
        for app, label in zip(apps, names, strict=True)
    ]
    stop = StopRecord(cause=StopCause.FAILURES, detail=word)
    caution = Caution(kind=CautionKind.SHA1, job=word, detail=word, count=1, apps=(AppId(word),))
    jobs = (
        job_record(replace(KEY, kid=Kid(word)), name=word, problem=word),
        job_record(KEY, position=1, name="other"),
    )
    result = replace(run_result(outcomes, jobs=jobs, stop=stop), cautions=(caution,))
    text = text_of(result)
    assert_inert(text)
    rows = cells_of(text)
    assert [row[1] for row in rows] == apps
    for row, label in zip(rows, names, strict=True):
        shown = row[2]
        assert shown == plain(label) or (shown[-1] == "…" and plain(label).startswith(shown[:-1]))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_neither_a_name_nor_a_sentence_acts(hostile: str) -> None:
    assert_inert(f"- {code(hostile)}\n- so: {prose(hostile)}\n")


def many(number: int, label: str = "Finance", status: Status = Status.CLONED) -> list[Outcome]:
    return [outcome(f"0oa{each:017d}", label, status, "cloned") for each in range(number)]


@pytest.mark.parametrize(
    ("number", "label"),
    [(MANY, "Finance"), (900, "Finance"), (2000, "F"), (3000, "@|`<" * 30), (3000, "金" * 99)],
    ids=["few", "many", "more than are listed", "hostile", "wide"],
)
def test_what_a_comment_has_no_room_for_is_counted(number: int, label: str) -> None:
    text = text_of(run_result(many(number, label), jobs=(job_record(KEY),)))
    assert len(text.encode("utf-16-le")) // 2 <= LONGEST
    shown = len(re.findall("^. `0oa", text, re.MULTILINE))
    left = re.search(r"\.\.\. and (\d+) more", text)
    assert shown + (int(left[1]) if left else 0) == number
    assert (left is None) is (number <= 900)
    assert shown >= min(number, 40)
    assert ("<details>" in text) is ("</details>" in text) is (number > MANY)


def test_a_report_without_room_for_its_jobs_says_so() -> None:
    jobs = tuple(
        job_record(KEY, position=number, name=f"{number}" + "@" * 99, problem="|" * 300)
        for number in range(500)
    )
    cautions = [
        Caution(kind=CautionKind.SHA1, job="@" * 99, detail="|" * 300, count=1, apps=(KEY.app,))
        for _ in range(500)
    ]
    result = run_result([*many(30), *many(30, status=Status.FAILED)], jobs=jobs)
    text = text_of(replace(result, cautions=tuple(cautions)))
    assert len(text) <= LONGEST
    assert len(re.findall(r"\.\.\. and \d+ more", text)) >= 4
    assert text.count("<details>") == text.count("</details>")


def test_of_many_targets_those_that_failed_stand_first() -> None:
    failed = outcome("0oaFAILED", "Finance", Status.FAILED, "gone", reason=Reason.REJECTED)
    wrong = activated(outcome("0oaWRONG", status=Status.CLONED), ActivationState.FAILED, "drift")
    text = text_of(run_result([*many(MANY), failed, wrong]))
    first, second = text.index("### Failed"), text.index("### Targets")
    assert first < text.index("0oaFAILED") < text.index("0oaWRONG") < second
    assert text.count("0oaFAILED") == 2
    assert "### Failed" not in text_of(run_result([*many(MANY - 1), failed]))


def test_a_run_that_is_over_is_told_as_such() -> None:
    stop = StopRecord(cause=StopCause.DEADLINE, detail="the deadline of 60 seconds has passed")
    record = activated(outcome(status=Status.CLONED), ActivationState.ACTIVATED, "signs with kid")
    text = text_of(run_result([record], jobs=(job_record(KEY),), stop=stop))
    assert text.startswith("## Run of plan `finance`\n")
    assert "Stopped: the deadline of 60 seconds has passed" in text
    assert "exit code 7" in text
    assert "| Outcome |" in text
    assert "DRY RUN" not in text
    assert "Checksum" not in text


def test_a_plan_without_targets_has_no_table_of_them() -> None:
    text = text_of(run_result())
    assert "**no targets**" in text
    assert "### Targets" not in text
