"""How reports for people put things, on the screen as in Markdown. Plain text: escape it."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.result import BucketForecast, RunResult
from orchestrator.model import NEW_KID, ActivationState, KeyKind
from orchestrator.store.base import JobRecord

STATE_WORDS = {  # where they stand beside outcomes of staging
    ActivationState.PLANNED: "to be activated",
    ActivationState.FAILED: "failed to activate",
    ActivationState.SKIPPED: "not activated",
}
CHECKSUM_DIGITS = 16  # that a command line shows


def key_text(job: JobRecord) -> str:
    """Say which key a job is about, as far as it is known."""
    if job.wanted.kind is KeyKind.GENERATE_EACH:
        return f"a new key for every target, for {job.wanted.validity_years} years"
    owner = f"of {job.key.resource} {job.key.app}"
    if job.key.is_known:
        return f"key {job.key.kid} {owner}"
    if job.wanted.kind is KeyKind.GENERATE:
        return f"a new key {owner}, for {job.wanted.validity_years} years"
    if job.wanted.kind is KeyKind.CSR:
        return f"a key {owner} whose certificate is still to be signed"
    return f"the {job.wanted.kind.value} key {owner}"


def dropped_text(job: JobRecord) -> str:
    """Say how many targets of the plan were never meant, and why; empty if there are none."""
    return ", ".join(f"{number} {why}" for why, number in job.dropped.items() if number)


def sharing_text(kid: str, apps: int) -> str:
    """Say how many apps will share a key, named as a forecast names it."""
    noun = "app shares" if apps == 1 else "apps will share"
    is_new = kid.startswith(f"{NEW_KID} ")
    key = f"the new key of job {kid[len(NEW_KID) + 2 : -1]}" if is_new else f"key {kid}"
    return f"at least {apps} {noun} {key}"


def limit_text(bucket: BucketForecast) -> str:
    """Say how fast calls to a bucket may go."""
    if bucket.limit_per_window is None:
        return "without a known limit"
    return (
        f"at {bucket.share_per_window} of {bucket.limit_per_window} "
        f"every {bucket.window_seconds:.0f} s"
    )


def expect_text(checksum: str) -> str:
    """Return the command that does what a preview has shown, or nothing."""
    return f"okta-keys run PLAN --expect {checksum[:CHECKSUM_DIGITS]}"


def counted(result: RunResult) -> Iterator[str]:
    """Yield how many targets came to what, first as staged, then as activated."""
    for status, number in result.counts.items():
        if number:
            yield f"{number} {status.value.replace('_', ' ')}"
    for state, number in result.activations.items():
        if number:
            yield f"{number} {word_of(state)}"
    if result.problems:
        yield f"{result.problems} with a problem"


def word_of(state: ActivationState) -> str:
    """Return the word for a state where it stands beside outcomes of staging."""
    return STATE_WORDS.get(state, state.value.replace("_", " "))


def duration(seconds: float) -> str:
    """Return a time span as a person would say it."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
