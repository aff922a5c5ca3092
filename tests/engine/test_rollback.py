"""The way back: every target signs again with what it signed with before, and with nothing else."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.engine.gates import HELD
from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import ActivationSettled
from orchestrator.model import ActivationState, AppId, Kid, Proof, Reason, StopCause
from orchestrator.report.document import head_of
from orchestrator.rollout import Gate, Inactive, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall
from tests.engine.rollout_stage import PATIENT, RolloutStage, cut_short, until
from tests.support import NO_LIMITS, PlainJob

S = ActivationState


class Rotated(RolloutStage):
    """A stage on which the first waves of a run are active."""

    targets: list[AppId]
    former: dict[AppId, Kid | None]
    job_of_all: PlainJob

    async def rotate(self, rollout: Rollout | None = None, **settings: Any) -> None:
        self.targets = self.holders(8)
        self.former = self.kids_of(self.targets)
        self.job_of_all = self.job(self.targets, rollout or Rollout(waves=(2, 3, 3)), **settings)
        await self.finish(self.job_of_all)

    def states(self) -> list[ActivationState]:
        return [activation.state for activation in self.activations().values()]

    def is_as_before(self, apps: list[AppId]) -> bool:
        return self.kids_of(apps) == {app: self.former[app] for app in apps}


async def rotated(rollout: Rollout | None = None, **settings: Any) -> Rotated:
    stage = Rotated()
    await stage.rotate(rollout, **settings)
    return stage


async def test_a_whole_run_is_taken_back() -> None:
    stage = await rotated()
    assert stage.active() == set(stage.targets)
    rollback = await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert set(stage.states()) == {S.ROLLED_BACK}
    assert rollback.states == {S.ROLLED_BACK: 8}
    assert rollback.context.activated == 8
    assert rollback.context.failures == 0
    for activation in stage.activations().values():
        assert activation.proof is Proof.RESPONSE
        assert activation.kid == stage.key.kid
        assert "signs again with" in activation.detail
    assert stage.org.collateral_changes() == 0
    stage.check_history()


async def test_the_report_says_what_cannot_be_taken_back() -> None:
    stage = await rotated()
    assert head_of(stage.result()).remarks == []
    await stage.roll_back()
    result = stage.result()
    [remark] = head_of(result).remarks
    assert "the 8 apps that were given the key hold it still" in remark
    assert all(stage.org.holds(app, stage.key.kid) for app in stage.targets)
    assert head_of(result).summary.rolled_back == 8
    assert head_of(result).summary.activated == 0


async def test_one_wave() -> None:
    stage = await rotated()
    await stage.roll_back(wave=2)
    assert stage.is_as_before(stage.targets[2:5])
    assert stage.active() == {*stage.targets[:2], *stage.targets[5:]}
    assert len(stage.puts()) == 8 + 3


async def test_some_targets() -> None:
    stage = await rotated()
    chosen = [stage.targets[0], stage.targets[6]]
    await stage.roll_back(only=chosen)
    assert stage.is_as_before(chosen)
    assert stage.active() == set(stage.targets) - set(chosen)
    await stage.roll_back(only=chosen[:1], wave=1)
    assert len(stage.puts()) == 8 + 2


async def test_a_dry_run_reads_and_writes_nothing() -> None:
    stage = await rotated()
    third = stage.sign_with(stage.targets[3])
    before, calls = stage.store.archive.run("r"), len(stage.org.log)
    stage.recorder.events.clear()
    rollback = await stage.roll_back(dry_run=True)
    made = stage.org.log[calls:]
    assert [(call.method, call.template) for call in made] == [("GET", "/api/v1/apps/{appId}")] * 8
    assert stage.store.archive.run("r") == before, "not even an event"
    assert rollback.states == {S.PLANNED: 7, S.FAILED: 1}
    found = {
        event.activation.target.app: event.activation for event in stage.told(ActivationSettled)
    }
    planned, drifted = found[stage.targets[0]], found[stage.targets[3]]
    assert f"would sign again with {stage.former[stage.targets[0]]}" in planned.detail
    assert drifted.reason is Reason.DRIFT
    assert third in drifted.detail


async def test_only_what_the_run_has_activated_is_touched() -> None:
    stage = await rotated(Rollout(gate=Gate(approval=True), waves=(3,)))
    stage.approve(1)
    await stage.finish(stage.job_of_all)
    assert stage.active() == set(stage.targets[:3])
    stage.sign_with(stage.targets[5], stage.key.kid)  # somebody else, by hand
    await stage.roll_back()
    assert stage.is_as_before(stage.targets[:3])
    assert stage.kid_of(stage.targets[5]) == stage.key.kid
    assert sorted(stage.written()) == sorted([*stage.targets[:3]] * 2)


async def test_a_second_time_is_a_no_op() -> None:
    stage = await rotated()
    await stage.roll_back()
    calls = len(stage.org.log)
    rollback = await stage.roll_back()
    assert len(stage.org.log) == calls
    assert rollback.states == {}
    assert stage.is_as_before(stage.targets)


async def test_a_third_key_is_left_alone() -> None:
    stage = await rotated()
    third = stage.sign_with(stage.targets[4])
    rollback = await stage.roll_back()
    assert rollback.context.failures == 1
    assert stage.kid_of(stage.targets[4]) == third
    drifted = stage.activations()[stage.targets[4]]
    assert (drifted.state, drifted.reason) == (S.FAILED, Reason.DRIFT)
    assert third in drifted.detail
    assert drifted.previous_kid == stage.former[stage.targets[4]], "it stays on record"
    others = [app for app in stage.targets if app != stage.targets[4]]
    assert stage.is_as_before(others)


async def test_what_somebody_has_taken_back_already_needs_no_write() -> None:
    stage = await rotated()
    stage.sign_with(stage.targets[0], stage.former[stage.targets[0]])
    rollback = await stage.roll_back()
    assert rollback.states == {S.ROLLED_BACK: 8}
    assert stage.activations()[stage.targets[0]].proof is Proof.READ
    assert stage.written().count(stage.targets[0]) == 1


async def test_edits_since_then_are_kept() -> None:
    stage = await rotated()
    app = stage.targets[0]
    stage.org.update_app(app, stage.document(app) | {"label": "Renamed"})
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert stage.document(app)["label"] == "Renamed"
    assert stage.org.collateral_changes() == 0


async def test_oidc_and_inactive_apps_go_back_whatever_the_plan_says_of_the_way_out() -> None:
    stage = RolloutStage()
    targets = stage.holders(1, sign_on_mode="OPENID_CONNECT") + stage.holders(1)
    former = stage.kids_of(targets)
    rollout = Rollout(inactive=Inactive.SKIP)
    await stage.finish(stage.job(targets, rollout, allow_oidc=True))
    stage.org.set_status(targets[1], "INACTIVE")
    await stage.roll_back()
    assert stage.kids_of(targets) == former


# Later executions of the run


async def test_after_it_the_run_stands_still_until_people_let_it_go() -> None:
    stage = await rotated(Rollout(waves=(2, 3, 3), gate=Gate(acknowledged=True)))
    stage.acknowledge(*stage.targets[:2])
    await stage.finish(stage.job_of_all)
    await stage.roll_back()
    stage.acknowledge(*stage.targets[2:])
    result = await stage.finish(stage.job_of_all)
    assert exit_code(result) is ExitCode.SAFETY
    assert result.stop is not None
    assert result.stop.cause is StopCause.WAVE
    assert "rolled back" in result.stop.detail
    assert stage.signers() == set()
    assert {note["wave"] for note in stage.notes(HELD)} == {0}

    stage.approve(0)
    result = await stage.finish(stage.job_of_all)
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(stage.targets[2:]), "what was taken back stays so"
    assert stage.is_as_before(stage.targets[:2])


# What the wire, and people, do meanwhile


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="drop", when="before", on="update_app", times=3),
        Fault(kind="drop", when="after", on="update_app", times=3),
        Fault(kind="error", status=503, when="after", on="update_app", times=3),
        Fault(kind="error", status=429, on="update_app", times=3),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.when}",
)
async def test_lost_answers_are_settled_by_a_read(fault: Fault) -> None:
    stage = await rotated()
    stage.faults = [fault]
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert set(stage.states()) == {S.ROLLED_BACK}
    assert sorted(stage.written()) == sorted(stage.targets * 2)
    assert stage.org.collateral_changes() == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_in_the_middle_is_taken_up_again(when: Any) -> None:
    stage = await rotated()
    stage.faults = [
        Fault(kind="stall", when=when, seconds=3600, on="update_app", targets=(stage.targets[4],))
    ]
    async with stage.way_back(timeouts=PATIENT, workers=2) as rollback:
        await cut_short(rollback.execute, lambda: stage.puts()[-1].app == stage.targets[4])
    caught = stage.activations()[stage.targets[4]]
    assert caught.state is S.REVERTING
    assert caught.previous_kid == stage.former[stage.targets[4]]
    done = [app for app, each in stage.activations().items() if each.state is S.ROLLED_BACK]
    assert done
    stage.faults = []
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert set(stage.states()) == {S.ROLLED_BACK}
    assert sorted(stage.written()) == sorted(stage.targets * 2), "nobody is written twice"
    stage.check_history()


async def test_the_former_key_is_on_record_whenever_a_write_reaches_the_org() -> None:
    stage = await rotated()
    found: dict[AppId, tuple[ActivationState, Kid | None]] = {}

    def look(call: LoggedCall) -> None:
        if call.method == "PUT":
            activation = stage.activations()[AppId(str(call.app))]
            found[activation.target.app] = (activation.state, activation.previous_kid)

    stage.watch(look)
    await stage.roll_back()
    assert found == {app: (S.REVERTING, kid) for app, kid in stage.former.items()}


async def test_a_stop_settles_what_is_under_way_and_the_next_one_does_the_rest() -> None:
    stage = await rotated()
    stage.limits = LimitSettings(enabled=False, latency_seconds=(0.4, 0.8))
    puts = len(stage.puts())
    with anyio.fail_after(20):
        async with stage.way_back(workers=2) as rollback, anyio.create_task_group() as group:
            group.start_soon(rollback.execute)
            await until(lambda: len(stage.puts()) >= puts + 3)
            rollback.stop(StopCause.INTERRUPT, "SIGINT received")
    back = [app for app, each in stage.activations().items() if each.state is S.ROLLED_BACK]
    assert 3 <= len(back) < 8
    assert stage.is_as_before(back)
    assert stage.active() == set(stage.targets) - set(back)
    stage.limits = NO_LIMITS
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)


async def test_a_refused_write_leaves_the_target_active_and_says_so() -> None:
    stage = await rotated()
    stuck = stage.targets[1]
    stage.faults = [
        Fault(kind="reject", status=403, code="E0000006", on="update_app", targets=(stuck,))
    ]
    rollback = await stage.roll_back()
    assert rollback.context.failures == 1
    assert stage.active() == {stuck}
    assert "could not be rolled back" in str(stage.activations()[stuck].problem)
    stage.faults = []
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert stage.activations()[stuck].problem is None


async def test_a_target_that_is_gone_stops_nobody() -> None:
    stage = await rotated()
    stage.org.remove_app(stage.targets[0])
    rollback = await stage.roll_back()
    assert rollback.context.failures == 1
    assert stage.is_as_before(stage.targets[1:])


async def test_collateral_on_the_way_back_is_put_back_and_stops_it() -> None:
    stage = await rotated()
    before = stage.document(stage.targets[0])
    stage.faults = [Fault(kind="collateral", on="update_app", targets=(stage.targets[0],), times=1)]
    rollback = await stage.roll_back(workers=1)
    assert rollback.stop_reason is not None
    assert rollback.stop_reason.cause is StopCause.COLLATERAL
    after = stage.document(stage.targets[0])
    assert {**after, "lastUpdated": None} == {**before, "lastUpdated": None}
    activation = stage.activations()[stage.targets[0]]
    assert activation.state.is_active
    assert "the org changed more than the key" in str(activation.problem)
    assert stage.active() == set(stage.targets)


async def test_a_lost_credential_stops_it_at_once() -> None:
    stage = await rotated()
    stage.faults = [Fault(kind="reject", status=401, code="E0000011", on="get_app")]
    rollback = await stage.roll_back(workers=1)
    assert rollback.stop_reason is not None
    assert rollback.stop_reason.cause is StopCause.ACCESS
    assert stage.active() == set(stage.targets)


async def test_an_activation_whose_end_nobody_knows_is_taken_back_too() -> None:
    stage = Rotated()
    stage.targets = stage.holders(1)
    stage.former = stage.kids_of(stage.targets)
    stage.faults = [Fault(kind="stall", when="after", seconds=3600, on="update_app")]
    await stage.abandon(stage.puts, stage.job(stage.targets))
    stage.faults = []
    assert stage.kid_of(stage.targets[0]) == stage.key.kid
    await stage.roll_back()
    assert stage.is_as_before(stage.targets)
    assert stage.states() == [S.ROLLED_BACK]


async def test_the_targets_of_one_job_leave_those_of_another_alone() -> None:
    stage = RolloutStage()
    one, two = stage.holders(2), stage.holders(2)
    jobs = [stage.job(one, name="one"), stage.job(two, name="two")]
    former = stage.kids_of(one + two)
    await stage.finish(*jobs)
    await stage.roll_back(only=two)
    assert stage.kids_of(two) == {app: former[app] for app in two}
    assert stage.active() == set(one)
