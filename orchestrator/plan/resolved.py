"""A job whose targets are known: what became of every entry, and the targets as a stream."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from orchestrator.model import AppId, KeyRef, KeySpec, Target
from orchestrator.plan.csv_file import CheckedFile, Entry
from orchestrator.rollout import JobSettings


class Fate(Enum):
    """What becomes of an entry: every entry has exactly one fate, the first that applies."""

    SOURCE = "source"
    EXCLUDED = "excluded"
    DUPLICATE = "duplicate"
    NOT_SIGNING = "not_signing"
    OIDC = "oidc"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """How many entries of a job became targets, and how many did not, and why."""

    targets: int
    duplicates: int  # of this job, or of an earlier job with the same key and aim
    excluded: int
    source: int  # entries that name the source itself
    not_signing: int = 0  # selected, but without a signing key
    oidc: int = 0  # selected, but Okta rotates their keys by itself, and the job does not insist


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedJob:
    """A job whose lists and files have been read, and its targets counted."""

    name: str
    key: KeyRef  # without an app as long as only the org can say which one has the label
    counts: TargetCounts
    entries: tuple[AppId | CheckedFile, ...]
    excluded: frozenset[AppId]
    taken: frozenset[AppId]  # entries that an earlier job with the same claim already has
    wanted: KeySpec
    settings: JobSettings
    activates_source: bool = False  # the source is the last target
    asks: tuple[str, ...] = ()  # what of it only the org can answer, in a fixed form
    is_open: bool = False  # and the org has not been asked

    @property
    def size(self) -> int:
        """Return how many targets `stream` yields."""
        return self.counts.targets

    @property
    def dropped(self) -> Mapping[str, int]:
        """Return how many entries are no targets, by the reason why."""
        counts = self.counts
        selected = {"not_signing": counts.not_signing, "oidc": counts.oidc}
        return {
            "duplicates": counts.duplicates,
            "excluded": counts.excluded,
            "source": counts.source,
            **{why: number for why, number in selected.items() if number},
        }

    def stream(self) -> Iterator[Target]:
        """Yield the targets in the order of the plan, each once; may be called again.

        Files are read anew: no more is held than the set of ids seen. Of an app that is listed
        twice the first entry counts, with its tags.

        Raises:
            PlanError: a file is not as it was when it was checked.
        """
        for entry, fate in judge(
            self.listed(),
            source=self.key.app,
            excluded=self.excluded,
            taken=self.taken,
            activates_source=self.activates_source,
        ):
            if fate is Fate.TARGET:
                yield Target(job=self.name, app=entry.app, tags=entry.tags)

    def listed(self) -> Iterator[Entry]:
        for item in self.entries:
            if isinstance(item, CheckedFile):
                yield from item.entries()
            else:
                yield Entry(item)


def judge(
    entries: Iterable[Entry],
    *,
    source: AppId,
    excluded: Container[AppId],
    taken: Container[AppId],
    activates_source: bool = False,
) -> Iterator[tuple[Entry, Fate]]:
    """Yield every entry with its fate. The one place that decides what is a target.

    With `activates_source` the source is an entry too, and the last one, whether it is listed or
    not; unless it is excluded.
    """
    named_again = Fate.SOURCE  # what becomes of entries that name the source
    if activates_source:
        named_again = Fate.EXCLUDED if source in excluded else Fate.DUPLICATE
    comes_last = bool(source) and named_again is Fate.DUPLICATE
    seen: set[AppId] = set()
    left_out: set[AppId] = set()  # an entry that names it outright still makes it a target
    last = None
    for entry in entries:
        app = entry.app
        if app == source:
            if comes_last and last is None:
                last = entry
            else:
                yield entry, named_again
        elif app in excluded:
            yield entry, Fate.EXCLUDED
        elif app in seen or app in taken:
            yield entry, Fate.DUPLICATE
        elif entry.unfit is None:
            seen.add(app)
            yield entry, Fate.TARGET
        else:
            yield entry, Fate.DUPLICATE if app in left_out else Fate(entry.unfit.value)
            left_out.add(app)
    if comes_last:
        yield last or Entry(source), Fate.DUPLICATE if source in taken else Fate.TARGET
