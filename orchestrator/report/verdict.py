"""What a run came to in one sentence, and what is left to do about it. Pure; plain text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.engine.gates import numbered
from orchestrator.engine.result import CUT_SHORT, RunResult
from orchestrator.errors import ExitCode
from orchestrator.model import ActivationState, Status, StopCause
from orchestrator.report.document import stem_of
from orchestrator.report.wording import expect_text
from orchestrator.store.base import RunState

AGAIN = "run the same plan again: what is done stays done"
CAUSES = {
    StopCause.INTERRUPT: "somebody interrupted it",
    StopCause.TERMINATE: "it was told to terminate",
    StopCause.ACCESS: "the org refuses the credential",
    StopCause.DEADLINE: "its deadline has passed",
    StopCause.FAILURES: "too many targets failed",
    StopCause.MAX_TARGETS: "it has done as many targets as it may at a time",
    StopCause.JOURNAL: "its journal could not be written",
    StopCause.COLLATERAL: "an activation changed more than the key",
    StopCause.WAVE: "too much of a wave failed",
    StopCause.WAITING: "what is left waits",
}
EXITS = {
    ExitCode.DONE: "done",
    ExitCode.UNEXPECTED: "an unexpected end",
    ExitCode.CHANGED: "done, with changes",
    ExitCode.PARTIAL: "not every target is as it should be",
    ExitCode.ACCESS: "the org refuses the credential",
    ExitCode.SAFETY: "a safety belt has stopped it",
    ExitCode.UNFINISHED: "work remains",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.TERMINATED: "terminated",
}


class Tone(StrEnum):
    """How a verdict is to be taken."""

    GOOD = "good"
    NEUTRAL = "neutral"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the reader is to know if nothing else is read."""

    tone: Tone
    headline: str


def verdict_of(result: RunResult, wrong: int) -> Verdict:
    """Say what a run came to; `wrong` is the number of targets that a person is to look at."""
    if result.record.dry_run:
        return verdict_of_preview(result, wrong)
    total, stop = sum(result.counts.values()), result.stop
    failed = f"{wrong} of {numbered(total)} failed, or {'is' if wrong == 1 else 'are'} in doubt"
    if stop is not None and stop.cause is not StopCause.WAITING:
        calm = stop.cause in CUT_SHORT and not wrong
        headline = f"Stopped before its end: {CAUSES[stop.cause]}"
        headline += f"; {failed}" if wrong else ""
        return Verdict(tone=Tone.WARNING if calm else Tone.BAD, headline=headline)
    if result.record.state is RunState.RUNNING:
        headline = "Not over: the run is under way, or its process has died"
        return Verdict(tone=Tone.WARNING, headline=headline)
    if wrong:
        return Verdict(tone=Tone.BAD, headline=f"Not all is well: {failed}")
    if stop is not None:
        return Verdict(tone=Tone.NEUTRAL, headline="Waiting, and nothing is wrong so far")
    return verdict_of_end(result, total)


def verdict_of_preview(result: RunResult, wrong: int) -> Verdict:
    """Say what a run would come to."""
    total = sum(result.counts.values())
    staged, active = result.counts[Status.PLANNED], result.activations[ActivationState.PLANNED]
    parts = [f"{numbered(staged)} would get the key"] if staged or not active else []
    parts += [f"{active} would be activated"] if active else []
    headline = f"Nothing was changed. {', '.join(parts)}"
    if wrong:
        headline += f"; {wrong} of {total} would fail"
        return Verdict(tone=Tone.BAD, headline=headline)
    if result.stop is not None:
        headline += f"; the preview ended early: {CAUSES[result.stop.cause]}"
        return Verdict(tone=Tone.WARNING, headline=headline)
    return Verdict(tone=Tone.NEUTRAL, headline=headline)


def verdict_of_end(result: RunResult, total: int) -> Verdict:
    """Say what a run came to that has gone to its end without a failure."""
    back = result.activations[ActivationState.ROLLED_BACK]
    if back:
        what = (
            "signs again with its former key" if back == 1 else "sign again with their former key"
        )
        headline = f"Taken back: {share(back, total)} {what}"
        return Verdict(tone=Tone.WARNING, headline=headline)
    if not total:
        return Verdict(tone=Tone.WARNING, headline="Done: there are no targets")
    staged = sum(number for status, number in result.counts.items() if status.is_staged)
    active = sum(number for state, number in result.activations.items() if state.is_active)
    headline = f"Done: {share(staged, total)} {'holds' if staged == 1 else 'hold'} the key"
    if active:
        headline += f", and {'all' if active == total > 1 else active}"
        headline += " signs with it" if active == 1 else " sign with it"
    whole = staged == total and not result.activations[ActivationState.SKIPPED]
    return Verdict(tone=Tone.GOOD if whole else Tone.WARNING, headline=headline)


def share(number: int, total: int) -> str:
    """Say how many of all targets."""
    if number == total:
        return "the only target" if total == 1 else f"all {total} targets"
    return f"{number} of {numbered(total)}"


def remains_of(result: RunResult) -> Iterator[str]:
    """Yield what is left to do, the most pressing first; nothing if nothing is."""
    stop, states = result.stop, result.activations
    if stop is not None:
        for line in stop.detail.split("; "):
            yield f"{'Waiting' if stop.cause is StopCause.WAITING else 'Stopped'}: {line}."
        yield f"What to do: {stop.hint or AGAIN}."
    unknown = states[ActivationState.INTENDED] + states[ActivationState.REVERTING]
    if unknown:
        yield (
            f"{numbered(unknown)} may sign with either key, for the answer to a write was not "
            "seen: run the plan, or the rollback, again and it will look."
        )
    if number := result.counts[Status.FAILED] + states[ActivationState.FAILED]:
        file = f"{stem_of(result.record.plan, result.record.run_id)}.failed.csv"
        yield (
            f"{numbered(number)} failed. Once the cause is mended: "
            f"okta-keys run PLAN --targets @{file}"
        )
    if result.problems:
        verb = "signs" if result.problems == 1 else "sign"
        yield f"{numbered(result.problems)} {verb} with the key, but something is wrong: see below."
    if result.left:
        yield f"Not reached: {numbered(result.left)}."
    pending = result.unactivated - states[ActivationState.INTENDED]
    if pending:
        yield f"Staged, and still to be activated: {numbered(pending)}."
    if result.checksum is not None:
        yield f"To do exactly what this preview shows: {expect_text(result.checksum)}"


def exit_text(code: int) -> str:
    """Say what an exit code means."""
    return EXITS.get(ExitCode(code), "") if code in set(ExitCode) else ""
