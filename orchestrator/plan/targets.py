"""From the lists and files of a plan to its targets: counted once, then streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import PlanError, Problem
from orchestrator.model import AppId, KeyKind, KeyRef, KeySpec, Resource, Target
from orchestrator.plan.csv_file import Entry, read_entries
from orchestrator.plan.files import FileStamp, open_regular, reason, stamp_of
from orchestrator.plan.job import FileRef, JobSpec, Selector
from orchestrator.plan.problems import refuse
from orchestrator.plan.refusal import MOST_LISTED, echo
from orchestrator.plan.schema import Plan
from orchestrator.plan.settings import job_settings
from orchestrator.plan.tree import Location, path_text
from orchestrator.rollout import JobSettings

MADE = frozenset({KeyKind.GENERATE, KeyKind.GENERATE_EACH, KeyKind.CSR})


class Fate(Enum):
    """What becomes of an entry: every entry has exactly one fate, the first that applies."""

    SOURCE = "source"
    EXCLUDED = "excluded"
    DUPLICATE = "duplicate"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCounts:
    """How many entries of a job became targets, and how many did not, and why."""

    targets: int
    duplicates: int  # of this job, or of an earlier job with the same key and aim
    excluded: int
    source: int  # entries that name the source itself


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A CSV file as it was when it was checked."""

    path: Path
    stamp: FileStamp

    def entries(self) -> Iterator[Entry]:
        """Read the file again, a record at a time.

        Raises:
            PlanError: it is not as it was when it was checked.
        """
        try:
            handle = open_regular(self.path)
        except (OSError, ValueError) as error:
            raise PlanError([self.problem(f"cannot be read any more: {reason(error)}")]) from None
        with handle:
            self.require_same(stamp_of(handle))
            for entry in read_entries(handle, str(self.path)):
                if isinstance(entry, Problem):
                    raise PlanError([entry])
                yield entry
            self.require_same(stamp_of(handle))

    def require_same(self, stamp: FileStamp) -> None:
        if stamp != self.stamp:
            raise PlanError([self.problem("has changed since it was checked")])

    def problem(self, message: str) -> Problem:
        hint = "run the plan again to use the file as it is now"
        return Problem(file=str(self.path), line=1, column=1, path="", message=message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedJob:
    """A job whose lists and files have been read, and its targets counted."""

    name: str
    key: KeyRef
    counts: TargetCounts
    entries: tuple[AppId | CheckedFile, ...]
    excluded: frozenset[AppId]
    taken: frozenset[AppId]  # entries that an earlier job with the same claim already has
    wanted: KeySpec
    settings: JobSettings

    @property
    def size(self) -> int:
        """Return how many targets `stream` yields."""
        return self.counts.targets

    @property
    def dropped(self) -> Mapping[str, int]:
        """Return how many entries are no targets, by the reason why."""
        counts = self.counts
        return {
            "duplicates": counts.duplicates,
            "excluded": counts.excluded,
            "source": counts.source,
        }

    def stream(self) -> Iterator[Target]:
        """Yield the targets in the order of the plan, each once; may be called again.

        Files are read anew: no more is held than the set of ids seen. Of an app that is listed
        twice the first entry counts, with its tags.

        Raises:
            PlanError: a file is not as it was when it was checked.
        """
        for entry, fate in judge(
            self.listed(), source=self.key.app, excluded=self.excluded, taken=self.taken
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
) -> Iterator[tuple[Entry, Fate]]:
    """Yield every entry with its fate. The one place that decides what is a target."""
    seen: set[AppId] = set()
    for entry in entries:
        app = entry.app
        if app == source:
            yield entry, Fate.SOURCE
        elif app in excluded:
            yield entry, Fate.EXCLUDED
        elif app in seen or app in taken:
            yield entry, Fate.DUPLICATE
        else:
            seen.add(app)
            yield entry, Fate.TARGET


def check_targets(plan: Plan) -> None:
    """Read every CSV file of the plan once.

    Raises:
        PlanError: with the places of what cannot be used, in the plan or in a CSV file; the first
            100 are listed and the others counted.
    """
    resolve(plan)


def resolve(plan: Plan) -> tuple[ResolvedJob, ...]:
    """Read every CSV file of the plan, check it, and count the targets of every job.

    Raises:
        PlanError: as `check_targets`.
    """
    resolver = Resolver(plan)
    jobs = tuple(resolver.job(index, job) for index, job in enumerate(plan.jobs))
    if resolver.problems:
        raise refuse(resolver.problems, hidden=resolver.hidden)
    return jobs


class Claim(NamedTuple):
    """What makes two jobs repeat each other on a target: the same key, and the same aim."""

    key: KeyRef
    kind: KeyKind
    activates: bool


class Resolver:
    """Reads what the jobs of one plan list, and remembers what is wrong and what is taken."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.files: dict[Path, CheckedFile] = {}
        self.problems: list[Problem] = []
        self.hidden = 0
        claims = Counter(map(claim_of, plan.jobs))
        self.claimed: Mapping[Claim | None, set[AppId]] = {
            claim: set() for claim, count in claims.items() if claim and count > 1
        }
        rollouts = Counter(job.resource for job in plan.jobs if job.activate is not None)
        self.activated: Mapping[Resource, dict[AppId, str]] = {  # by which job
            resource: {} for resource, count in rollouts.items() if count > 1
        }

    def job(self, index: int, job: JobSpec) -> ResolvedJob:
        key, claim = key_of(job), claim_of(job)
        excluded = frozenset(
            entry.app for entry in self.listed(("jobs", index, "exclude"), job.exclude)
        )
        listed = self.listed(("jobs", index, "targets"), job.targets)
        judged = judge(listed, source=key.app, excluded=excluded, taken=self.claimed.get(claim, ()))
        if job.activate is not None and job.resource in self.activated:
            judged = self.watched(index, job, judged)
        counts, taken = self.count(claim, judged)
        return ResolvedJob(
            name=job.name,
            key=key,
            counts=counts,
            entries=tuple(self.entries(job.targets)),
            excluded=excluded,
            taken=taken,
            wanted=job.source.wanted,
            settings=job_settings(job, self.plan.folder),
        )

    def watched(
        self, index: int, job: JobSpec, judged: Iterable[tuple[Entry, Fate]]
    ) -> Iterator[tuple[Entry, Fate]]:
        """Pass entries on, and note targets that an earlier job is to activate with its own key."""
        earlier = self.activated[job.resource]
        for entry, fate in judged:
            if fate is Fate.TARGET and earlier.setdefault(entry.app, job.name) != job.name:
                if len(self.problems) < MOST_LISTED:
                    location = entry_location(index, job, entry)
                    self.problems.append(self.contested(location, entry.app, earlier[entry.app]))
                else:
                    self.hidden += 1
            yield entry, fate

    def contested(self, location: Location, app: AppId, job: str) -> Problem:
        return self.problem_at(
            location,
            f"the job {echo(job)} is to activate {app} too, and it signs with one key",
            "leave it to one of the two jobs, or remove `activate` from one",
        )

    def count(
        self, claim: Claim | None, judged: Iterable[tuple[Entry, Fate]]
    ) -> tuple[TargetCounts, frozenset[AppId]]:
        """Count fates, and say which entries an earlier job has; claim the rest for this job."""
        earlier = self.claimed.get(claim)
        counts: Counter[Fate] = Counter()
        mine: set[AppId] = set()
        taken: set[AppId] = set()
        for entry, fate in judged:
            counts[fate] += 1
            if earlier is None:
                continue
            if fate is Fate.TARGET:
                mine.add(entry.app)
            elif fate is Fate.DUPLICATE and entry.app in earlier:
                taken.add(entry.app)
        if earlier is not None:
            earlier |= mine
        return counts_of(counts), frozenset(taken)

    def listed(self, location: Location, selectors: Iterable[Selector]) -> Iterator[Entry]:
        """Yield what selectors list; problems are kept for later."""
        for index, selector in enumerate(selectors):
            if isinstance(selector, FileRef):
                yield from self.file_entries((*location, index, "file"), self.path_of(selector))
            else:
                yield Entry(selector)

    def file_entries(self, location: Location, path: Path) -> Iterator[Entry]:
        try:
            handle = open_regular(path)
        except (OSError, ValueError) as error:
            self.problems.append(self.unreadable(location, path, reason(error)))
            return
        with handle:
            is_new = path not in self.files
            stamp = stamp_of(handle)
            self.files[path] = CheckedFile(path=path, stamp=stamp)
            for entry in read_entries(handle, str(path)):
                if isinstance(entry, Entry):
                    yield entry
                elif is_new:
                    self.note(entry)
            if stamp_of(handle) != stamp:
                self.problems.append(self.unreadable(location, path, "it changes while it is read"))

    def note(self, problem: Problem) -> None:
        if len(self.problems) < MOST_LISTED:
            self.problems.append(problem)
        else:
            self.hidden += 1

    def unreadable(self, location: Location, path: Path, why: str) -> Problem:
        hint = "paths start from the directory of the plan"
        return self.problem_at(location, f"{echo(path)} cannot be read: {why}", hint)

    def problem_at(self, location: Location, message: str, hint: str) -> Problem:
        place = self.plan.origin.place(location)
        return Problem(
            file=self.plan.origin.file,
            line=place.line,
            column=place.column,
            path=path_text(location),
            message=message,
            hint=hint,
        )

    def path_of(self, ref: FileRef) -> Path:
        return self.plan.folder / ref.file

    def entries(self, selectors: Iterable[Selector]) -> Iterator[AppId | CheckedFile]:
        """Yield what a job streams later; files that could not be read are left out."""
        for selector in selectors:
            if not isinstance(selector, FileRef):
                yield selector
            elif self.path_of(selector) in self.files:
                yield self.files[self.path_of(selector)]


def read_app_ids(path: Path) -> list[AppId]:
    """Read the column `app_id` of a CSV file that no plan names.

    Raises:
        PlanError: with every problem of the file and its place.
    """
    problems: list[Problem] = []
    apps: list[AppId] = []
    try:
        with open_regular(path) as handle:
            for entry in read_entries(handle, str(path)):
                if isinstance(entry, Problem):
                    problems.append(entry)
                else:
                    apps.append(entry.app)
    except (OSError, ValueError) as error:
        message = f"cannot be read: {reason(error)}"
        problems = [Problem(file=str(path), line=1, column=1, path="", message=message)]
    if problems:
        raise refuse(problems[:MOST_LISTED], hidden=max(0, len(problems) - MOST_LISTED))
    return apps


def key_of(job: JobSpec) -> KeyRef:
    return KeyRef(app=job.source.holder, kid=job.source.kid, resource=job.resource)


def claim_of(job: JobSpec) -> Claim | None:
    """Return what a job claims of its targets; nothing when it makes a key of its own."""
    kind = job.source.wanted.kind
    if kind in MADE:
        return None
    return Claim(key_of(job), kind, job.activate is not None)


def entry_location(index: int, job: JobSpec, entry: Entry) -> Location:
    """Return where a plan lists an app; for one in a CSV file, the targets of its job."""
    location = ("jobs", index, "targets")
    return location if entry.header else (*location, job.targets.index(entry.app))


def counts_of(fates: Counter[Fate]) -> TargetCounts:
    return TargetCounts(
        targets=fates[Fate.TARGET],
        duplicates=fates[Fate.DUPLICATE],
        excluded=fates[Fate.EXCLUDED],
        source=fates[Fate.SOURCE],
    )
