"""What a preview says of the run to come: its calls, each one, and its time within a tenth.

Only here do tests assert on time: the run is measured against its own estimate, and nearly all of
it is waiting for windows of the org, which no busy machine makes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import (
    NEW_KID,
    AppId,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Verify,
)
from orchestrator.okta.pacer import Bucket
from orchestrator.rollout import JobSettings, Rollout, Size
from orchestrator.sandbox.limits import LimitSettings
from tests.engine.promise_stage import PromiseStage, Ran
from tests.support import NO_LIMITS, PlainJob

SPECS = {
    KeyKind.KID: KeySpec(),
    KeyKind.GENERATE: KeySpec(kind=KeyKind.GENERATE, validity_years=2),
    KeyKind.GENERATE_EACH: KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2),
}
CAREFUL, HALVES = (1, 0.1, 1.0), (0.5, 1.0)  # waves


def limits(window: float, keys: int, apps: int) -> LimitSettings:
    """Return limits that give our token so many calls to the keys, and to whole apps, a window."""
    org = {"apps": 2 * keys, "app.read": 2 * apps, "app.write": 2 * apps}
    return LimitSettings(window_seconds=window, org_limits=org, share=0.5)


@dataclass(kw_only=True)
class Plan:
    """A plan of one job for an org in which all targets sign with one key, as most do."""

    targets: int
    limits: LimitSettings = NO_LIMITS
    waves: tuple[Size, ...] = ()  # none: it only stages
    verify: Verify = Verify.RESPONSE
    kind: KeyKind = KeyKind.KID

    def __post_init__(self) -> None:
        self.stage = PromiseStage(limits=self.limits)
        org = self.stage.org
        source = AppId(org.add_app().id)
        kid = Kid(org.add_key(source))
        former = org.find_holder(source).active_kid
        apps = [org.add_app() for _ in range(self.targets)]
        for app in apps:
            app.choose(org.add_key(app.id, former))
        self.key = KeyRef(app=source, kid=kid if self.kind is KeyKind.KID else NEW_KID)
        if self.kind is KeyKind.GENERATE_EACH:
            self.key = KeyRef(app=AppId(""), kid=NEW_KID)
        rollout = Rollout(waves=self.waves) if self.waves else None
        self.job = PlainJob(
            "job",
            self.key,
            [AppId(app.id) for app in apps],
            wanted=SPECS[self.kind],
            settings=JobSettings(rollout=rollout, verify=self.verify),
        )

    async def carry_out(self) -> tuple[Ran, Ran]:
        """Preview the plan, then run it at once; the org's windows go on."""
        async with self.stage.served():
            ahead = await self.stage.preview(self.job)
            ran = await self.stage.run(self.job)
        assert exit_code(ran.result) is ExitCode.DONE
        assert ahead.promised_calls == ran.calls
        return ahead, ran

    async def assert_estimated(self) -> None:
        ahead, ran = await self.carry_out()
        assert all(call.status < 400 for call in ran.log)
        assert ran.seconds > 3 * self.limits.window_seconds, "else the windows hardly matter"
        ratio = ahead.forecast.seconds / ran.seconds
        assert 0.9 <= ratio <= 1.1, (ahead.forecast.seconds, ran.seconds)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("waves", "verify", "kind"),
    [
        ((), Verify.RESPONSE, KeyKind.KID),
        (CAREFUL, Verify.RESPONSE, KeyKind.KID),
        (HALVES, Verify.RESPONSE, KeyKind.GENERATE),
        (HALVES, Verify.READ_BACK, KeyKind.GENERATE_EACH),
    ],
    ids=["staged", "careful", "generated", "verified"],
)
async def test_the_time_of_100_targets(
    waves: tuple[Size, ...], verify: Verify, kind: KeyKind
) -> None:
    given = limits(4.0, keys=30, apps=40)
    plan = Plan(targets=100, limits=given, waves=waves, verify=verify, kind=kind)
    await plan.assert_estimated()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("waves", [(), CAREFUL, HALVES], ids=["staged", "careful", "halves"])
async def test_the_time_of_500_targets(waves: tuple[Size, ...]) -> None:
    await Plan(targets=500, limits=limits(5.0, keys=100, apps=150), waves=waves).assert_estimated()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("waves", [(), CAREFUL], ids=["staged", "careful"])
async def test_the_time_of_2000_targets(waves: tuple[Size, ...]) -> None:
    await Plan(targets=2000, limits=limits(6.0, keys=360, apps=360), waves=waves).assert_estimated()


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("verify", Verify)
async def test_each_call_is_counted(kind: KeyKind, verify: Verify) -> None:
    plan = Plan(targets=12, waves=(1, 4, 1.0), verify=verify, kind=kind)
    ahead, _ = await plan.carry_out()
    assert sum(ahead.promised_calls.values()) >= 3 * 12


async def test_a_list_that_confirms_a_wave_names_also_what_is_no_target() -> None:
    plan = Plan(targets=3, waves=(1, 1.0), verify=Verify.READ_BACK)
    org = plan.stage.org
    for _ in range(199):  # and one target makes a page
        org.add_app(kids=[plan.key.kid]).choose(plan.key.kid)
    ahead, _ = await plan.carry_out()
    lists_and_keys = 1 + 2 * 3 + (1 + 2)
    assert ahead.promised_calls[Bucket.APPS] == lists_and_keys


@pytest.mark.long
async def test_the_log_of_a_large_wave_has_more_than_one_page() -> None:
    """Each write is two events, and those of the minutes before a wave are looked at with it."""
    ahead, _ = await Plan(targets=1100, waves=(0.5, 1.0)).carry_out()
    assert ahead.promised_calls[Bucket.LOGS] == 2 + 3


async def test_a_preview_learns_the_limit_of_a_bucket_that_it_has_no_other_use_for() -> None:
    plan = Plan(targets=2, kind=KeyKind.GENERATE_EACH, limits=limits(1.0, keys=20, apps=20))
    for app in plan.job.targets:  # which sign with no key whose end would have to be looked up
        plan.stage.org.apps[app].sign_on_mode = "BOOKMARK"
    ahead, _ = await plan.carry_out()
    assert ahead.calls[Bucket.APPS] == 1
    [keys] = (each for each in ahead.forecast.buckets if each.bucket == Bucket.APPS)
    assert (keys.limit_per_window, keys.share_per_window) == (20, 18)


async def test_nothing_after_a_wave_that_is_foreseen_to_fail_is_counted() -> None:
    plan = Plan(targets=4, waves=(1, 1.0))
    plan.stage.org.apps[plan.job.targets[0]].sign_on_mode = "BOOKMARK"
    async with plan.stage.served():
        ahead = await plan.stage.preview(plan.job)
        ran = await plan.stage.run(plan.job)
    assert exit_code(ran.result) is ExitCode.SAFETY
    assert ahead.promised_calls == ran.calls
    assert ran.calls[Bucket.APP_READ] == 1
