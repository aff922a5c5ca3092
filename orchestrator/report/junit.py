"""The report as JUnit XML, for whatever shows tests: a job is a suite, a target is a test.

It keeps to what the schemas of Jenkins and of Ant have in common. A target passes when it has come
as far as the plan means it to. It fails when the org said no, or something is not as it should be;
it is an error when nobody knows what became of it, or our own side is why; the others are skipped.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from itertools import groupby
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from orchestrator.engine.result import RunResult
from orchestrator.model import Outcome, Reason, Status
from orchestrator.report.document import row_of
from orchestrator.report.evidence import facts_of
from orchestrator.report.wording import key_text, word_of
from orchestrator.store.base import JobRecord, TargetRecord

OURS = frozenset(  # reasons for which nobody can blame the target
    {
        Reason.ACCESS_REFUSED,
        Reason.INTERRUPTED,
        Reason.NO_ANSWER,
        Reason.SOURCE_UNUSABLE,
    }
)
# XML 1.0 has no way to write any other character, not even as a reference (section 2.2)
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Result(StrEnum):
    """What a test came to, under the name of its element."""

    PASSED = "passed"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a target came to as a test."""

    result: Result
    message: str
    kind: str = ""  # of a failure or error


def write_junit(result: RunResult, file: TextIO) -> None:
    """Write one document, without holding it in memory."""
    file.writelines(junit_pieces(result))


def junit_pieces(result: RunResult) -> Iterator[str]:
    """Yield the document in pieces: a suite for each job, in the order of the plan."""
    counts: dict[int, Counter[Result]] = {job.position: Counter() for job in result.jobs}
    waits: Counter[int] = Counter()  # in milliseconds
    for each in result.records:
        if each.outcome is not None:
            found = judge(each, each.outcome).result
            counts.setdefault(each.job, Counter())[found] += 1
            waits[each.job] += round(1000 * seconds_of(each, each.outcome))
    record, jobs = result.record, {job.position: job for job in result.jobs}
    took = (record.updated_at - record.created_at).total_seconds()
    total = sum(counts.values(), Counter())
    name = f"DRY RUN {record.plan}" if record.dry_run else record.plan
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites{attributes(name=name, **sizes(total), time=f'{max(took, 0):.3f}')}>\n"
    left = deque(sorted(jobs))
    for position, group in groupby(result.records, key=lambda each: each.job):
        while left and left[0] < position:
            yield from suite(result, jobs[left.popleft()], Counter(), 0, ())
        if left and left[0] == position:
            left.popleft()
        job = jobs.get(position)
        yield from suite(result, job, counts.get(position, Counter()), waits[position], group)
    for rest in left:
        yield from suite(result, jobs[rest], Counter(), 0, ())
    yield "</testsuites>\n"


def suite(
    result: RunResult,
    job: JobRecord | None,
    counts: Counter[Result],
    milliseconds: int,
    records: Iterable[TargetRecord],
) -> Iterator[str]:
    """Yield the suite of a job, line by line."""
    record = result.record
    name = f"{record.plan}.{job.name}" if job is not None else record.plan
    head = attributes(
        name=name,
        **sizes(counts),
        skipped=str(counts[Result.SKIPPED]),
        time=f"{milliseconds / 1000:.3f}",
        timestamp=f"{record.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
    )
    yield f"  <testsuite{head}>\n    <properties>\n"
    facts = {
        "org": record.org,
        "plan": record.plan,
        "plan_sha256": record.plan_digest,
        "run_id": record.run_id,
        "dry_run": str(record.dry_run).lower(),
    }
    if job is not None:
        facts["key"] = key_text(job)
    for name, value in facts.items():
        yield f"      <property{attributes(name=name, value=value)}/>\n"
    yield "    </properties>\n"
    for each in records:
        if each.outcome is not None:
            yield from case(record.plan, each, each.outcome, dry_run=record.dry_run)
    if job is not None and job.problem:
        yield f"    <system-err>{legal(escape(job.problem))}</system-err>\n"
    yield "  </testsuite>\n"


def case(plan: str, record: TargetRecord, outcome: Outcome, *, dry_run: bool) -> Iterator[str]:
    """Yield the test of a target, with its evidence."""
    target, judged = record.target, judge(record, outcome)
    label = outcome.label or (record.activation.label if record.activation else None)
    head = attributes(
        classname=f"{plan}.{target.job}",
        name=f"{label} ({target.app})" if label else target.app,
        time=f"{seconds_of(record, outcome):.3f}",
    )
    yield f"    <testcase{head}>\n"
    if judged.result is Result.SKIPPED:
        yield f"      <skipped{attributes(message=judged.message)}/>\n"
    elif judged.result is not Result.PASSED:
        told = attributes(message=judged.message, type=judged.kind)
        yield f"      <{judged.result.value}{told}/>\n"
    row = row_of(outcome, record, dry_run=dry_run)
    lines = "\n".join(f"{name}: {value}" for name, value in facts_of(row))
    yield f"      <system-out>{legal(escape(lines))}</system-out>\n    </testcase>\n"


def judge(record: TargetRecord, outcome: Outcome) -> Judgement:
    """Say what a target came to as a test."""
    activation = record.activation
    kind = outcome.reason.value if outcome.reason else outcome.status.value
    if outcome.status is Status.FAILED:
        found = Result.ERROR if outcome.reason in OURS else Result.FAILURE
        return Judgement(result=found, message=outcome.detail, kind=kind)
    if activation is None:
        return judge_staged(record, outcome)
    word, detail = word_of(activation.state), activation.detail
    kind = activation.reason.value if activation.reason else activation.state.value
    if activation.problem is not None:
        return Judgement(result=Result.FAILURE, message=activation.problem, kind="problem")
    if activation.is_failure:
        found = Result.ERROR if activation.reason in OURS else Result.FAILURE
        return Judgement(result=found, message=detail, kind=kind)
    if activation.state.is_unknown:
        return Judgement(result=Result.ERROR, message=f"{word}: {detail}", kind=kind)
    if activation.state.is_active:
        return Judgement(result=Result.PASSED, message=detail)
    return Judgement(result=Result.SKIPPED, message=f"{word}: {detail}")


def judge_staged(record: TargetRecord, outcome: Outcome) -> Judgement:
    """As `judge`, of a target whose activation was not begun, or is not wanted."""
    if outcome.status is Status.PLANNED:
        return Judgement(result=Result.SKIPPED, message=f"dry run: {outcome.detail}")
    if outcome.reason is Reason.SOURCE_UNUSABLE:  # or a job that cannot be done would look well
        kind = Reason.SOURCE_UNUSABLE.value
        return Judgement(result=Result.ERROR, message=outcome.detail, kind=kind)
    if outcome.status is Status.SKIPPED:
        return Judgement(result=Result.SKIPPED, message=outcome.detail)
    if record.wave is not None:
        message = f"staged; its activation is still to come, in wave {record.wave}"
        return Judgement(result=Result.SKIPPED, message=message)
    return Judgement(result=Result.PASSED, message=outcome.detail)


def seconds_of(record: TargetRecord, outcome: Outcome) -> float:
    """Return how long a target has waited for its calls; how long they took is not kept."""
    activation = record.activation
    more = activation.evidence.waited_seconds if activation is not None else 0.0
    return max(0.0, outcome.evidence.waited_seconds + more)


def sizes(counts: Counter[Result]) -> dict[str, str]:
    return {
        "tests": str(counts.total()),
        "failures": str(counts[Result.FAILURE]),
        "errors": str(counts[Result.ERROR]),
    }


def attributes(**values: str) -> str:
    """Return the attributes of an element, each with the space before it."""
    return "".join(f" {name}={legal(quoteattr(value))}" for name, value in values.items())


def legal(text: str) -> str:
    """Return a text without what XML cannot hold."""
    return ILLEGAL.sub("", text)
