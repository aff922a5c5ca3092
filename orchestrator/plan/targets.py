"""From the lists, selectors and files of a plan to its targets: counted once, then streamed.

resolve(plan)              offline: what selectors pick is left open
resolve(plan, picture)     with a picture of the org, which has to show questions_of_plan(plan)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import Problem
from orchestrator.holders import Picture, Questions, Selector, SelectorKind, questions_of
from orchestrator.model import AppId, KeyKind, KeyRef, Resource
from orchestrator.plan.candidates import Told
from orchestrator.plan.csv_file import CheckedFile, Entry, read_entries
from orchestrator.plan.fields import Share
from orchestrator.plan.files import open_regular, reason, stamp_of
from orchestrator.plan.job import JobSpec, Listed
from orchestrator.plan.problems import refuse
from orchestrator.plan.refusal import MOST_LISTED, echo
from orchestrator.plan.resolved import Fate, ResolvedJob, TargetCounts, judge
from orchestrator.plan.schema import Plan
from orchestrator.plan.selecting import Chooser, unfit
from orchestrator.plan.selectors import SelectorSpec, selectors_in
from orchestrator.plan.settings import job_settings
from orchestrator.plan.tree import Location, path_text

MADE = frozenset({KeyKind.GENERATE, KeyKind.GENERATE_EACH, KeyKind.CSR})

Pick = Callable[[Location, Selector], Iterable[Entry]]  # of a selector, and where it stands


def questions_of_plan(plan: Plan) -> Questions:
    """Say what has to be known of the org to resolve the plan, and to keep to its limits."""
    asked = [(job.resource, selector) for job in plan.jobs for selector in selectors_of(job)]
    is_share = isinstance(plan.limits.max_changes, Share)
    counted = dict.fromkeys(job.resource for job in plan.jobs if is_share)
    return questions_of(asked, counts=counted, oidc=any(map(asks_oidc, plan.jobs)))


def selectors_of(job: JobSpec) -> Iterator[Selector]:
    """Yield all that a job leaves to the org to answer: what its source is, too."""
    source = source_selector(job)
    if source is not None:
        yield source
    yield from selectors_in(job.targets)
    yield from selectors_in(job.exclude)


def asks_oidc(job: JobSpec) -> bool:
    """Say whether it matters to a job when certificates of OIDC apps end.

    Selected, they are left out; but `exclude` holds for those that are listed by their ids, too.
    """
    selectors = chain(
        selectors_in(job.targets if job.allow_oidc else ()), selectors_in(job.exclude)
    )
    return any(selector.kind is SelectorKind.EXPIRING_WITHIN for selector in selectors)


def check_targets(plan: Plan) -> None:
    """Read every CSV file of the plan once.

    Raises:
        PlanError: with the places of what cannot be used, in the plan or in a CSV file; the first
            100 are listed and the others counted.
    """
    resolve(plan)


def resolve(plan: Plan, picture: Picture | None = None) -> tuple[ResolvedJob, ...]:
    """Read every CSV file of the plan, check it, and count the targets of every job.

    Without a picture of the org, selectors pick nothing, and jobs that have any are open.

    Raises:
        PlanError: as `check_targets`; and for selectors that pick nothing, or not what they must.
    """
    resolver = Resolver(plan, picture)
    jobs = tuple(resolver.job(index, job) for index, job in enumerate(plan.jobs))
    if resolver.problems:
        raise refuse(resolver.problems, hidden=resolver.hidden)
    return jobs


class Claim(NamedTuple):
    """What makes two jobs repeat each other on a target: the same key, and the same aim."""

    key: KeyRef
    label: str | None  # of the source, while only the org knows which app that is
    kind: KeyKind
    activates: bool


class Resolver:
    """Reads what the jobs of one plan list, and remembers what is wrong and what is taken."""

    def __init__(self, plan: Plan, picture: Picture | None) -> None:
        self.plan = plan
        self.chooser = None if picture is None else Chooser(picture)
        self.files: dict[Path, CheckedFile] = {}
        self.problems: list[Problem] = []
        self.hidden = 0
        self.keys = [self.key_of(index, job) for index, job in enumerate(plan.jobs)]
        claims = Counter(map(claim_of, plan.jobs, self.keys))
        self.claimed: Mapping[Claim | None, set[AppId]] = {
            claim: set() for claim, count in claims.items() if claim and count > 1
        }
        rollouts = Counter(job.resource for job in plan.jobs if job.activate is not None)
        self.activated: Mapping[Resource, dict[AppId, str]] = {  # by which job
            resource: {} for resource, count in rollouts.items() if count > 1
        }

    def key_of(self, index: int, job: JobSpec) -> KeyRef:
        """Return the key of a job, with the app that holds it if that can be said."""
        app, selector = job.source.holder, source_selector(job)
        if selector and self.chooser:
            location = ("jobs", index, "source", job.resource.value, "label")
            if self.is_right(location, self.chooser.against_source(job.resource, selector)):
                app = self.chooser.picks(job.resource, selector)[0].id
        return KeyRef(app=app, kid=job.source.kid, resource=job.resource)

    def job(self, index: int, job: JobSpec) -> ResolvedJob:
        key, claim = self.keys[index], claim_of(job, self.keys[index])
        excluded = frozenset(
            entry.app
            for entry in self.listed(("jobs", index, "exclude"), job.exclude, self.excluding(job))
        )
        listed = self.listed(("jobs", index, "targets"), job.targets, self.targeting(job))
        activates_source = job.activate is not None and job.activate.source
        judged = judge(
            listed,
            source=key.app,
            excluded=excluded,
            taken=self.claimed.get(claim, ()),
            activates_source=activates_source,
        )
        if job.activate is not None and job.resource in self.activated:
            judged = self.watched(index, job, judged)
        counts, taken = self.count(claim, judged)
        asks = asks_of(job)
        return ResolvedJob(
            name=job.name,
            key=key,
            counts=counts,
            entries=tuple(self.entries(job)),
            excluded=excluded,
            taken=taken,
            wanted=job.source.wanted,
            settings=job_settings(job, self.plan.folder),
            activates_source=activates_source,
            asks=asks,
            is_open=bool(asks) and self.chooser is None,
        )

    def targeting(self, job: JobSpec) -> Pick:
        """Return how selectors of targets pick; what speaks against it becomes a problem."""
        chooser, resource, allow_oidc = self.chooser, job.resource, job.allow_oidc

        def pick(location: Location, selector: Selector) -> Iterator[Entry]:
            if chooser is None:
                return
            told = chooser.against_targets(resource, selector, allow_oidc=allow_oidc)
            if self.is_right(location, told):
                for holder in chooser.picks(resource, selector):
                    yield Entry(holder.id, unfit=unfit(holder, allow_oidc=allow_oidc))

        return pick

    def excluding(self, job: JobSpec) -> Pick:
        """Return how selectors of `exclude` pick: whatever they match, be it nothing."""
        chooser = self.chooser

        def pick(_: Location, selector: Selector) -> Iterator[Entry]:
            found = chooser.picks(job.resource, selector) if chooser else ()
            return (Entry(holder.id) for holder in found)

        return pick

    def watched(
        self, index: int, job: JobSpec, judged: Iterable[tuple[Entry, Fate]]
    ) -> Iterator[tuple[Entry, Fate]]:
        """Pass entries on, and note targets that an earlier job is to activate with its own key."""
        earlier = self.activated[job.resource]
        for entry, fate in judged:
            if fate is Fate.TARGET and earlier.setdefault(entry.app, job.name) != job.name:
                if len(self.problems) < MOST_LISTED:
                    location = self.location_of(index, job, entry)
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

    def location_of(self, index: int, job: JobSpec, entry: Entry) -> Location:
        """Return where a plan lists or selects an app; for one in a CSV file, its job's targets."""
        location = ("jobs", index, "targets")
        if entry.header is not None:
            return location
        for place, item in enumerate(job.targets):
            if item == entry.app or entry.app in self.picked(job, item):
                return (*location, place)
        return ("jobs", index, "activate", "source")

    def listed(self, location: Location, listed: Iterable[Listed], pick: Pick) -> Iterator[Entry]:
        """Yield what is listed, and what selectors pick; problems are kept for later."""
        for index, item in enumerate(listed):
            if not isinstance(item, SelectorSpec):
                yield Entry(item)
            elif item.file is not None:
                path = self.plan.folder / item.file
                yield from self.file_entries((*location, index, "file"), path)
            elif item.selector is not None:
                yield from pick((*location, index, item.selector.kind.value), item.selector)

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

    def is_right(self, location: Location, told: Told | None) -> bool:
        """Note what speaks against a selector, and say whether nothing does."""
        if told is not None:
            self.note(self.problem_at(location, *told))
        return told is None

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

    def entries(self, job: JobSpec) -> Iterator[AppId | CheckedFile]:
        """Yield what a job streams later; files that could not be read are left out."""
        for item in job.targets:
            if not isinstance(item, SelectorSpec):
                yield item
            elif item.file is None:
                yield from self.picked(job, item)
            elif self.plan.folder / item.file in self.files:
                yield self.files[self.plan.folder / item.file]

    def picked(self, job: JobSpec, listed: Listed) -> Iterator[AppId]:
        """Yield what a selector picks and can be a target."""
        selector = listed.selector if isinstance(listed, SelectorSpec) else None
        if selector is None or self.chooser is None:
            return
        for holder in self.chooser.picks(job.resource, selector):
            if unfit(holder, allow_oidc=job.allow_oidc) is None:
                yield holder.id


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


def source_selector(job: JobSpec) -> Selector | None:
    """Return what picks the source, where the plan gives its label."""
    label = job.source.label
    return None if label is None else Selector(kind=SelectorKind.LABEL, text=label)


def asks_of(job: JobSpec) -> tuple[str, ...]:
    """Return what of a job only the org can answer, and what it is for, each once."""
    source, is_target = source_selector(job), job.activate is not None and job.activate.source
    asks = [f"{'source and target' if is_target else 'source'} {source}"] if source else []
    target = "target, also OIDC" if job.allow_oidc else "target"
    asks += (f"{target} {selector}" for selector in selectors_in(job.targets))
    asks += (f"exclude {selector}" for selector in selectors_in(job.exclude))
    return tuple(dict.fromkeys(asks))


def claim_of(job: JobSpec, key: KeyRef) -> Claim | None:
    """Return what a job claims of its targets; nothing when it makes a key of its own."""
    kind = job.source.wanted.kind
    if kind in MADE:
        return None
    label = None if key.app else job.source.label
    return Claim(key, label, kind, job.activate is not None)


def counts_of(fates: Counter[Fate]) -> TargetCounts:
    return TargetCounts(
        targets=fates[Fate.TARGET],
        duplicates=fates[Fate.DUPLICATE],
        excluded=fates[Fate.EXCLUDED],
        source=fates[Fate.SOURCE],
        not_signing=fates[Fate.NOT_SIGNING],
        oidc=fates[Fate.OIDC],
    )
