"""Decide which run an execution belongs to: a new one, or the one that this plan has begun.

The plan may have changed since. What may be done about it is decided here, purely; applying it is
for whoever owns the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.model import AppId, KeyRef, KeySpec, Outcome, Resource, Target
from orchestrator.rollout import JobSettings

BY_KID = KeySpec()


class ResolvedJob(Protocol):
    """A job with its selectors resolved: which key goes where."""

    @property
    def name(self) -> str: ...
    @property
    def key(self) -> KeyRef: ...
    @property
    def wanted(self) -> KeySpec: ...
    @property
    def settings(self) -> JobSettings: ...
    @property
    def size(self) -> int: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def asks(self) -> tuple[str, ...]:
        """What only the org can answer of the job, in a fixed form; nothing without selectors."""
        ...

    def stream(self) -> Iterator[Target]:
        """Yield the targets in order, the same at every call.

        Raises:
            InputError: a file that the targets come from has changed.
        """
        ...


def digest_of(jobs: Iterable[ResolvedJob]) -> str:
    """Return a SHA-256 over what the plan comes to: keys and targets in order, nothing else.

    Comments, limits and report settings may change without making it another rotation; the
    content of a CSV file may not.

    Of a plan with selectors, give the jobs as they are resolved without the org: what is selected
    is frozen in the run, so the selectors count, and not what they would pick today.
    """
    digest = hashlib.sha256()
    for job in jobs:
        digest.update(f"job {job.name} {job.key.app} {job.key.kid}{more_of(job)}\n".encode())
        for ask in job.asks:
            digest.update(f"ask {ask!r}\n".encode())
        for target in job.stream():
            tags = "".join(f" {name!r}={value!r}" for name, value in target.tags.items())
            digest.update(f"{target.app}{tags}\n".encode())
    return digest.hexdigest()


def more_of(job: ResolvedJob) -> str:
    """Return what tells jobs apart whose key is not given by its kid, or is not of an app."""
    resource = "" if job.key.resource is Resource.APP else f" {job.key.resource.value}"
    return resource if job.wanted == BY_KID else f"{resource} {job.wanted!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownJob:
    """A job as the run has it."""

    name: str
    key: KeyRef
    wanted: KeySpec = BY_KID
    unfinished: int  # targets that are not staged


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanges:
    """What is different between a run and the plan as it is now."""

    added: Sequence[Target] = ()
    removed: Sequence[tuple[str, AppId]] = ()  # not staged yet, so nothing speaks against it
    kept: int = 0  # gone from the plan, but staged: that cannot be undone
    new_jobs: Sequence[str] = ()
    rekeyed: Sequence[str] = ()  # jobs that now clone another key
    unfinished: int = field(default=0)  # targets of rekeyed jobs that lack the old key

    @property
    def is_another_rotation(self) -> bool:
        """Say whether the plan now clones other keys than the run did."""
        return bool(self.rekeyed)

    def lines(self) -> list[str]:
        """Explain the changes, one a line."""
        told = [
            (len(self.rekeyed), f"jobs with another key: {', '.join(self.rekeyed)}"),
            (len(self.new_jobs), f"new jobs: {', '.join(self.new_jobs)}"),
            (len(self.added), f"targets added: {some(t.app for t in self.added)}"),
            (len(self.removed), f"targets removed: {some(app for _, app in self.removed)}"),
            (self.kept, "targets gone from the plan that hold the key already, and keep it"),
        ]
        return [f"{number} {text}" for number, text in told if number]


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first few of many names."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def is_rekeyed(known: KnownJob, job: ResolvedJob) -> bool:
    """Say whether the plan's job is now about another key.

    A key that the run has made or looked up is the one that its plan asked for.
    """
    if known.wanted != job.wanted:
        return True
    if job.wanted == BY_KID:
        return known.key != job.key
    return (known.key.app, known.key.resource) != (job.key.app, job.key.resource)


def changes_between(
    known: Mapping[str, KnownJob],
    recorded: Iterable[tuple[Target, Outcome | None]],
    jobs: Sequence[ResolvedJob],
) -> PlanChanges:
    """Compare a run with the plan as it is now."""
    staged: dict[tuple[str, AppId], bool] = {
        (target.job, target.app): outcome is not None and outcome.status.is_staged
        for target, outcome in recorded
    }
    rekeyed = [job.name for job in jobs if job.name in known and is_rekeyed(known[job.name], job)]
    added: list[Target] = []
    planned: set[tuple[str, AppId]] = set()
    for job in jobs:
        for target in job.stream():
            planned.add((job.name, target.app))
            if (job.name, target.app) not in staged:
                added.append(target)
    gone = [pair for pair in staged if pair not in planned]
    return PlanChanges(
        added=added,
        removed=[pair for pair in gone if not staged[pair]],
        kept=sum(staged[pair] for pair in gone),
        new_jobs=[job.name for job in jobs if job.name not in known],
        rekeyed=rekeyed,
        unfinished=sum(known[name].unfinished for name in rekeyed),
    )
