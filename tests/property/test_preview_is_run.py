"""A run keeps what its preview has promised, whatever the org and the plan, faults aside.

What a preview cannot promise, and why:

- Which of two jobs that clone one key into one app does it, and which finds it there: they may go
  at the same time. That one of them does is promised.
- What `active` and `newest` mean once an earlier job of the same plan has been at that very source;
  so here no job touches another's source. Likewise, what is done by others in the meantime.
- That the org takes a write at all: a role that may read and not write shows in no read.
- How far a run gets that a failure budget, a deadline or `max_targets` ends; but a wave of which
  everything is foreseen to fail holds its job, and nothing after it is activated.
- When the CA's answer comes: a job whose key is a CSR stages nothing before, and all of it after.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings

from orchestrator.clock import SystemClock
from orchestrator.engine.resume import ResolvedJob
from orchestrator.errors import PlanError
from orchestrator.inventory.take import take_picture
from orchestrator.model import Activation, ActivationState, KeyKind, Outcome, Reason, Status
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.targets import questions_of_plan, resolve
from orchestrator.store.base import TargetRecord
from orchestrator.store.sqlite import Store
from tests.engine.promise_stage import PromiseStage, Ran
from tests.property.promise_world import World, worlds

slow = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # to explain takes minutes
)


@given(world=worlds())
@settings(slow, max_examples=10)
def test_a_run_keeps_what_its_preview_has_promised(world: World) -> None:
    anyio.run(keep_promises, world)


@pytest.mark.long
@pytest.mark.timeout(900)
@given(world=worlds())
@settings(slow, max_examples=600)
def test_many_runs_keep_what_their_previews_have_promised(world: World) -> None:
    anyio.run(keep_promises, world)


async def keep_promises(world: World) -> None:
    stage = PromiseStage(org=world.org)
    async with stage.served():
        jobs = await resolved(stage, world)
        assert same(jobs, await resolved(stage, world)), "asking twice changes nothing"
        ahead = await stage.preview(*jobs)
        ran = await stage.run(*jobs)
        if waits := {job.name for job in jobs if job.wanted.kind is KeyKind.CSR}:
            assert_untouched(ran, waits)
            published = await stage.publish(*jobs)
            again = await stage.run(*jobs)
            ran = Ran(
                result=again.result,
                records=again.records,
                log=(*ran.log, *published, *again.log),
                seconds=0.0,
            )
    assert_kept(ahead.records, ran.records)
    assert_true_to_the_org(ran.records, world)
    fails = ran.result.counts[Status.FAILED]  # and is tried again, where the plan is run twice
    if all(job.problem is None for job in ran.result.jobs) and not (waits and fails):
        assert ahead.promised_calls == ran.calls


async def resolved(stage: PromiseStage, world: World) -> Sequence[ResolvedJob]:
    """Load the plan, and resolve it against the org."""
    try:
        plan = load_plan_text(world.plan(), file="plan.yaml", folder=Path())
        picture = None
        questions = questions_of_plan(plan)
        if not questions.are_none:
            with Store.memory(clock=SystemClock()) as store:
                async with stage.connected() as api:
                    book = store.certificates("o")
                    picture = await take_picture(api, questions, book, clock=SystemClock())
        return resolve(plan, picture)
    except PlanError:  # two jobs activate one app, a selector picks nothing, or the like
        reject()


def same(jobs: Sequence[ResolvedJob], others: Sequence[ResolvedJob]) -> bool:
    """Say whether jobs have the same targets in the same order."""
    return [list(job.stream()) for job in jobs] == [list(job.stream()) for job in others]


def assert_untouched(ran: Ran, waiting: set[str]) -> None:
    """Of jobs that wait for a CA, nothing is staged, unless their source is no good at all."""
    for record in ran.records:
        if record.target.job in waiting:
            assert record.outcome is not None
            reasons = (Reason.NOT_REACHED, Reason.SOURCE_UNUSABLE)
            assert (record.outcome.status, record.outcome.reason in reasons) == (
                Status.SKIPPED,
                True,
            )


def assert_kept(promised: Sequence[TargetRecord], kept: Sequence[TargetRecord]) -> None:
    assert [(each.target, each.wave) for each in promised] == [
        (each.target, each.wave) for each in kept
    ]
    keys = Counter(key_and_app(each) for each in promised)
    held = held_jobs(promised)
    for before, after in zip(promised, kept, strict=True):
        assert before.outcome is not None
        assert after.outcome is not None
        is_shared = keys[key_and_app(before)] > 1
        assert staging_of(after.outcome) in possible(before.outcome, is_shared=is_shared), after
        if (before.wave or 0) > held.get(before.job, sys.maxsize):
            assert after.activation is None
        else:
            assert activation_of(before.activation) == activation_of(after.activation), after
    for place, number in keys.items():
        if number > 1:
            assert_one_clone(place, promised, kept)


def held_jobs(promised: Sequence[TargetRecord]) -> dict[int, int]:
    """Return the first wave of each job, by position, of which all is foreseen to fail."""
    waves: dict[tuple[int, int], list[bool]] = {}
    for record in promised:
        fails = record.activation is not None and record.activation.is_failure
        waves.setdefault((record.job, record.wave or 0), []).append(fails)
    held = sorted((job, wave) for (job, wave), fails in waves.items() if all(fails))
    return dict(reversed(held))


def key_and_app(record: TargetRecord) -> tuple[str, str]:
    """Return what tells apart what is cloned where; of keys to be made, no two are the same."""
    assert record.outcome is not None
    key = record.outcome.key
    return (key.kid if key.is_known else f"{key.kid} {record.target.job}", record.target.app)


def assert_one_clone(
    place: tuple[str, str], promised: Sequence[TargetRecord], kept: Sequence[TargetRecord]
) -> None:
    """One of the jobs that are to clone a key into an app does it, and the others find it there."""
    statuses = Counter(
        after.outcome.status
        for before, after in zip(promised, kept, strict=True)
        if key_and_app(before) == place and before.outcome and after.outcome
        if before.outcome.status is Status.PLANNED
    )
    assert statuses[Status.CLONED] == (1 if statuses else 0), statuses


def staging_of(outcome: Outcome) -> tuple[Status, Reason | None]:
    return outcome.status, outcome.reason


def possible(promised: Outcome, *, is_shared: bool) -> Iterator[tuple[Status, Reason | None]]:
    """Yield what may become of a target of which a preview has said this."""
    if promised.status is not Status.PLANNED:
        yield staging_of(promised)
        return
    yield Status.CLONED, None
    yield Status.GENERATED, None
    if is_shared:
        yield Status.ALREADY_PRESENT, None


def activation_of(activation: Activation | None) -> tuple[object, ...] | None:
    """Return what is to be the same of an activation ahead of it and after it."""
    if activation is None:
        return None
    signs = activation.state is ActivationState.PLANNED or activation.state.is_active
    state = "signs" if signs else activation.state
    return state, activation.reason, activation.previous_kid, activation.retryable


def assert_true_to_the_org(kept: Sequence[TargetRecord], world: World) -> None:
    """What a run claims is what the org shows."""
    for record in kept:
        app, outcome, activation = record.target.app, record.outcome, record.activation
        assert outcome is not None
        if outcome.status.is_staged:
            assert world.org.holds(app, outcome.key.kid)
            assert outcome.proof is not None
        if activation is not None and activation.state.is_active:
            assert world.org.find_holder(app).active_kid == activation.kid == outcome.key.kid
