"""Choose the targets of an execution: those that its run was begun with, else those picked now.

What selectors pick is frozen in the run: the same plan, run again, goes on with the same targets,
and asks the org for nothing. `--new` picks again, and so does a change of the plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cli.options import Execution
from orchestrator.engine.resume import ResolvedJob, digest_of
from orchestrator.errors import UsageError
from orchestrator.holders import Picture, Questions
from orchestrator.inventory.take import id_of_org, take_picture
from orchestrator.model import KeyRef, KeySpec, Target
from orchestrator.okta.api import OktaApi
from orchestrator.plan.resolved import ResolvedJob as PlannedJob
from orchestrator.plan.targets import questions_of_plan, resolve
from orchestrator.rollout import JobSettings
from orchestrator.store.base import Archive, CertificateBook, JobRecord, RunRecord
from orchestrator.store.sqlite import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenJob:
    """A job of a plan with the targets that its run was begun with."""

    planned: PlannedJob
    record: JobRecord
    archive: Archive
    run: RunRecord
    size: int

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def key(self) -> KeyRef:
        return self.record.key

    @property
    def wanted(self) -> KeySpec:
        return self.planned.wanted

    @property
    def settings(self) -> JobSettings:
        return self.planned.settings

    @property
    def dropped(self) -> Mapping[str, int]:
        return self.record.dropped

    @property
    def asks(self) -> tuple[str, ...]:
        return self.planned.asks

    def stream(self) -> Iterator[Target]:
        """Yield the targets in the order in which they were picked."""
        for record in self.archive.targets(self.run.run_id):
            if record.job == self.record.position:
                yield record.target


@dataclass(frozen=True, slots=True)
class Chosen:
    """The jobs of an execution with their targets, and what was learned on the way."""

    jobs: Sequence[ResolvedJob]
    signing: int | None = None  # how many of the org sign with a key; None: nobody counted
    notices: tuple[str, ...] = ()


async def choose(execution: Execution, org: str, store: Store, api: OktaApi) -> Chosen:
    """Return the jobs with their targets. `store` is the one that remembers the plan's runs.

    Costs nothing for a plan that names all of its targets, nor where a run has them already.

    Raises:
        PlanError: a selector picks nothing, or what it must not.
        CallError: the org does not list what is asked for.
        AccessError: the org refuses our credential.
    """
    questions = questions_of_plan(execution.plan)
    if questions.are_none or (is_bare_sandbox(execution) and not execution.is_open):
        return Chosen(execution.asked)
    if is_bare_sandbox(execution):
        raise UsageError(
            "this plan picks its targets out of an org, and the sandbox has none to pick from",
            hint="save your org with `okta-keys inventory --save org.json`, then rehearse with "
            "--sandbox --from org.json",
        )
    begun = None if execution.options.fresh else begun_with(execution, org, store)
    if begun is not None:
        is_open = execution.is_open
        return as_begun(execution, store.archive, begun) if is_open else Chosen(execution.asked)
    book = execution.book or store.certificates(org)
    if questions.asks_ends and execution.book is None:
        book = await certificates_of(api, org, store)
    picture = await take_picture(api, questions, book, clock=execution.clock)
    notices: tuple[str, ...] = ()
    if picture.unknown:
        unknown = len(picture.unknown)
        notices = (f"`expiring_within` passes over {unknown} keys that the org does not show",)
    return Chosen(
        jobs=resolve(execution.plan, picture),
        signing=signing_in(picture, execution.asked) if picture.is_whole else None,
        notices=notices,
    )


async def count_signing(execution: Execution, api: OktaApi, book: CertificateBook) -> int:
    """Count what signs with a key in the org, among what the plan is about. A list call per 200."""
    resources = tuple(dict.fromkeys(job.key.resource for job in execution.asked))
    questions = Questions(resources=resources)
    picture = await take_picture(api, questions, book, clock=execution.clock)
    return signing_in(picture, execution.asked)


def signing_in(picture: Picture, jobs: Sequence[PlannedJob]) -> int:
    return sum(map(picture.signing, {job.key.resource for job in jobs}))


def is_bare_sandbox(execution: Execution) -> bool:
    """Say whether the org is a sandbox that has only what the plan names one by one."""
    return execution.options.sandbox and execution.options.copy_of is None


def begun_with(execution: Execution, org: str, store: Store) -> RunRecord | None:
    """Return the last run of the plan, if it was begun with the plan as it is now."""
    earlier = store.archive.runs(plan=execution.plan.name, org=org)
    if earlier and earlier[0].plan_digest == digest_of(execution.asked):
        return earlier[0]
    return None


def as_begun(execution: Execution, archive: Archive, run: RunRecord) -> Chosen:
    """Return the jobs of a plan with the targets of one of its runs."""
    records = {job.name: job for job in archive.jobs(run.run_id)}
    sizes = Counter(target.job for target in archive.targets(run.run_id))
    jobs = [
        FrozenJob(
            planned=job,
            record=records[job.name],
            archive=archive,
            run=run,
            size=sizes[records[job.name].position],
        )
        for job in execution.asked
    ]
    told = (
        f"the targets are those that run {run.run_id} was begun with, on "
        f"{run.created_at:%Y-%m-%d %H:%M} UTC; --new picks again"
    )
    return Chosen(jobs=jobs, notices=(told,))


async def certificates_of(api: OktaApi, org: str, store: Store) -> CertificateBook:
    """Return what is remembered of an org's certificates, by the id that it says it has.

    That costs no rate limit. An org that does not say who it is, is known by its URL.
    """
    return store.certificates(await id_of_org(api) or org)
