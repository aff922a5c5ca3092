"""Hooks and hand-off packs in a run: when they come, what they are told, and what they can stop."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.cli.closing import after_words, conclude
from orchestrator.engine.gates import HELD
from orchestrator.engine.result import HOOK_RAN, exit_code
from orchestrator.errors import ExitCode
from orchestrator.events import HookEnded
from orchestrator.model import ActivationState, AppId, KeyKind, KeySpec, Reason, StopCause
from orchestrator.report.document import head_of
from orchestrator.report.handoff import PackWriter
from orchestrator.rollout import HookMoment, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import LoggedCall
from tests.engine.rollout_stage import ORG, PLAN, RUN, RolloutStage, script, target_of, until
from tests.support import PlainJob

M = HookMoment
KEEPS = 'cat >> "heard-$OKTA_KEYS_HOOK"; env | sort > "env-$OKTA_KEYS_HOOK"'


def heard(folder: Path, moment: HookMoment) -> list[dict[str, Any]]:
    """Return what the hooks of a moment were told on their standard input."""
    path = folder / f"heard-{moment.value}"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def env_of(folder: Path, moment: HookMoment) -> dict[str, str]:
    lines = (folder / f"env-{moment.value}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def hooked(folder: Path, *moments: HookMoment, text: str = KEEPS) -> RolloutStage:
    """Return a stage whose plan has one hook for each of these moments."""
    hook = script(folder, "hook.sh", text)
    return RolloutStage(folder=folder, hooks={moment: [hook] for moment in moments})


async def finish_with_last_words(stage: RolloutStage, *jobs: PlainJob) -> None:
    """Execute to the end as the program does, its last hooks included."""
    async with stage.run(*jobs) as run:
        await run.execute()
        result = await conclude(run, stage.store)
        await after_words(run, result, [])


# What hooks are told


async def test_every_moment_has_its_hook(tmp_path: Path) -> None:
    stage = hooked(tmp_path, *M)
    targets = stage.holders(3)
    former = stage.kids_of(targets)
    await finish_with_last_words(stage, stage.job(targets, Rollout(waves=(1, 1.0))))
    assert stage.active() == set(targets)
    ran = Counter(note["on"] for note in stage.notes(HOOK_RAN))
    assert ran == {"target_staged": 3, "wave_ready": 2, "target_activated": 3, "run_finished": 1}

    told = {each["app_id"]: each for each in heard(tmp_path, M.TARGET_STAGED)}
    assert set(told) == set(targets)
    [source] = stage.store.archive.jobs(RUN)
    assert source.certificate is not None
    for each in told.values():
        assert (each["run_id"], each["plan"], each["org"], each["job"]) == (RUN, PLAN, ORG, "job")
        assert (each["kid"], each["status"], each["resource"]) == (stage.key.kid, "cloned", "app")
        assert each["thumbprint"] == source.certificate.thumbprint
        assert each["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert [(each["wave"], each["targets"]) for each in heard(tmp_path, M.WAVE_READY)] == [
        (1, 1),
        (2, 2),
    ]
    for each in heard(tmp_path, M.TARGET_ACTIVATED):
        app = AppId(each["app_id"])
        assert (each["kid"], each["previous_kid"]) == (stage.key.kid, former[app])
        assert each["label"] == stage.org.apps[app].label
    [end] = heard(tmp_path, M.RUN_FINISHED)
    assert (end["exit_code"], end["stop"], end["counts"]["cloned"]) == (0, None, 3)
    assert end["activations"]["activated"] == 3


async def test_plain_values_are_variables_too_and_nothing_else_of_ours_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OKTA_CLIENT_TOKEN", "00secret")
    stage = hooked(tmp_path, M.TARGET_ACTIVATED)
    [target] = stage.holders(1)
    await stage.finish(stage.job([target]))
    env = env_of(tmp_path, M.TARGET_ACTIVATED)
    assert env["OKTA_KEYS_APP_ID"] == target
    assert env["OKTA_KEYS_KID"] == stage.key.kid
    assert env["OKTA_KEYS_WAVE"] == "1"
    assert "00secret" not in str(env)
    assert "OKTA_CLIENT_TOKEN" not in env


async def test_a_hook_comes_after_what_it_tells_of(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED, M.WAVE_READY, M.TARGET_ACTIVATED)
    targets = stage.holders(2)
    seen: list[tuple[int, int]] = []

    def look(call: LoggedCall) -> None:
        if call.method == "PUT":
            seen.append((len(heard(tmp_path, M.WAVE_READY)), len(heard(tmp_path, M.TARGET_STAGED))))

    stage.watch(look)
    await stage.finish(stage.job(targets, Rollout(waves=(1,))), workers=1)
    assert [waves for waves, _ in seen] == [1, 2]
    assert seen[0][1] >= 1, "the first target was staged, and the hook for it has run"
    story = [(note["on"], note["app"]) for note in stage.notes(HOOK_RAN)]
    for app in targets:
        assert story.index(("target_staged", app)) < story.index(("target_activated", app))


SLOW = 'sleep 0.3; echo "$OKTA_KEYS_APP_ID" >> uploaded'


def assert_uploaded_first(stage: RolloutStage, folder: Path) -> list[str]:
    """Look at every write whether its target's hook has run; return those for which it has not."""
    early: list[str] = []

    def look(call: LoggedCall) -> None:
        path = folder / "uploaded"
        done = path.read_text().split() if path.exists() else []
        if call.method == "PUT" and call.app not in done:
            early.append(str(call.app))

    stage.watch(look)
    return early


async def test_no_target_is_activated_before_its_staging_hook_has_ended(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED, text=SLOW)
    targets = stage.holders(4)
    early = assert_uploaded_first(stage, tmp_path)
    await stage.finish(stage.job(targets, Rollout(waves=(1, 1.0))))
    assert stage.active() == set(targets)
    assert early == []


async def test_nor_is_one_whose_hook_the_last_execution_did_not_get_to(tmp_path: Path) -> None:
    stage = RolloutStage(folder=tmp_path)
    targets = stage.holders(4)
    job = stage.job(targets, Rollout(waves=(2,), pause_seconds=3600.0))
    await stage.finish(job, max_targets=1)
    stage.hooks = {M.TARGET_STAGED: [script(tmp_path, "hook.sh", SLOW)]}
    early = assert_uploaded_first(stage, tmp_path)
    await stage.finish(job)
    assert stage.active() == set(targets[:2])
    assert early == []


async def test_a_stop_does_not_wait_for_a_hook_of_a_target_to_activate_it(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED, text="touch begun; sleep 0.5")
    targets = stage.holders(1)
    async with stage.run(stage.job(targets)) as run, anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await until((tmp_path / "begun").exists)
        await anyio.sleep(0.2)  # a look at the wave is due, and finds the target staged
        run.stop(StopCause.INTERRUPT, "SIGINT received")
    assert stage.puts() == []
    assert stage.activations() == {}


# What hooks can stop


async def test_a_wave_waits_for_a_hook_that_says_no(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.WAVE_READY, text='test "$OKTA_KEYS_WAVE" = 1 || test -e go')
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(1, 1.0)))
    result = await stage.finish(job)
    assert result.stop is not None
    assert result.stop.cause is StopCause.WAITING
    assert exit_code(result) is ExitCode.DONE
    assert "wave 2 waits for ./hook.sh failed with exit code 1" in result.stop.detail
    assert stage.active() == {targets[0]}
    ran = len(stage.notes(HOOK_RAN))
    await stage.finish(job)
    assert len(stage.notes(HOOK_RAN)) == ran + 1, "asked once in each execution"
    (tmp_path / "go").touch()
    assert (await stage.finish(job)).stop is None
    assert stage.active() == set(targets)


async def test_a_failing_hook_is_a_problem_of_the_activated_target(tmp_path: Path) -> None:
    stage = hooked(
        tmp_path, M.TARGET_ACTIVATED, text='echo "no SP"; ! grep -q "$OKTA_KEYS_APP_ID" bad'
    )
    targets = stage.holders(5)
    (tmp_path / "bad").write_text(f"{targets[0]}\n{targets[1]}\n")
    job = stage.job(targets, Rollout(waves=(4, 1.0), stop_after_failures=2))
    result = await stage.finish(job, workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    assert stage.active() == set(targets[:2]), "it counts against what the wave may fail"
    assert [note["wave"] for note in stage.notes(HELD)] == [1]
    for app in targets[:2]:
        activation = stage.activations()[app]
        assert activation.state is ActivationState.ACTIVATED
        assert activation.problem == "./hook.sh failed with exit code 1"
        assert activation.previous_kid is not None
    assert result.problems == 2


async def test_a_target_whose_staging_hook_fails_is_not_activated(tmp_path: Path) -> None:
    """What the hook was to do, such as an upload to the provider, is not done."""
    stage = hooked(tmp_path, M.TARGET_STAGED, text="echo sorry >&2; exit 3")
    job = stage.job(targets := stage.holders(2))
    result = await stage.finish(job)
    assert stage.active() == set()
    assert stage.puts() == []
    assert exit_code(result) is ExitCode.SAFETY
    assert result.hooks.failed == 2
    reasons = {each.reason for each in stage.activations().values()}
    assert reasons == {Reason.HOOK}

    [command] = stage.hooks[M.TARGET_STAGED]
    (tmp_path / command.argv[0]).write_text("#!/bin/sh\nexit 0\n")
    stage.approve(1)
    assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.active() == set(targets)
    assert [note["exit_code"] for note in stage.notes(HOOK_RAN)] == [3, 3, 0, 0]


async def test_the_last_hook_of_a_run_that_fails(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.RUN_FAILED, M.RUN_FINISHED)
    targets = stage.holders(2)
    stage.faults = [Fault(kind="reject", on="update_app")]
    job = stage.job(targets)
    await finish_with_last_words(stage, job)
    [told] = heard(tmp_path, M.RUN_FAILED)
    assert told["exit_code"] == ExitCode.SAFETY
    assert "is held" in told["stop"]
    assert heard(tmp_path, M.RUN_FINISHED) == []


async def test_a_run_that_waits_has_neither_failed_nor_finished(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.RUN_FAILED, M.RUN_FINISHED)
    await finish_with_last_words(
        stage, stage.job(stage.holders(2), Rollout(waves=(1,), pause_seconds=3600.0))
    )
    assert stage.notes(HOOK_RAN) == []


async def test_all_hooks_of_a_moment_run_in_order_whatever_the_first_says(tmp_path: Path) -> None:
    first = script(tmp_path, "first.sh", "echo first >> order; exit 1")
    second = script(tmp_path, "second.sh", "echo second >> order")
    stage = RolloutStage(folder=tmp_path, hooks={M.TARGET_ACTIVATED: [first, second]})
    [target] = stage.holders(1)
    await stage.finish(stage.job([target]))
    assert (tmp_path / "order").read_text().split() == ["first", "second"]
    assert stage.activations()[target].problem == "./first.sh failed with exit code 1"


# What is kept of them


async def test_what_a_hook_says_is_kept_as_evidence(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED, text="echo uploaded; echo oops >&2; exit 4")
    [target] = stage.holders(1)
    result = await stage.finish(stage.job([target]))
    [note] = stage.notes(HOOK_RAN)
    assert (note["on"], note["job"], note["app"]) == ("target_staged", "job", target)
    assert (note["exit_code"], note["timed_out"], note["argv"]) == (4, False, ["./hook.sh"])
    assert note["output"] == "uploaded\noops\n"
    part = head_of(result).hooks
    assert (part.ran, part.failed) == (1, 1)
    [failure] = part.failures
    assert (failure.app, failure.exit_code, failure.output) == (target, 4, "uploaded\noops\n")
    [ended] = stage.told(HookEnded)
    assert (ended.app, ended.ok, ended.detail) == (target, False, "failed with exit code 4")
    stage.check_history()


async def test_of_much_output_the_end_is_kept(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED, text="seq 1 100000; echo the end")
    await stage.finish(stage.job(stage.holders(1)))
    [note] = stage.notes(HOOK_RAN)
    assert len(str(note["output"])) <= 4096
    assert str(note["output"]).endswith("100000\nthe end\n")


async def test_a_hook_that_does_not_end_or_is_not_there(tmp_path: Path) -> None:
    slow = script(tmp_path, "slow.sh", "echo waiting; sleep 600")
    stage = RolloutStage(folder=tmp_path)
    stage.hooks = {
        M.TARGET_ACTIVATED: [type(slow)(argv=slow.argv, timeout=6.0), type(slow)(argv=("./none",))]
    }
    await stage.finish(stage.job(stage.holders(1)))
    first, second = stage.notes(HOOK_RAN)
    assert (first["timed_out"], first["exit_code"], first["output"]) == (True, None, "waiting\n")
    assert second["exit_code"] is None
    assert "does not exist" in str(second["error"])


# Over a resume


async def test_a_target_that_was_staged_before_is_made_up_for_once(tmp_path: Path) -> None:
    stage = RolloutStage(folder=tmp_path)
    targets = stage.holders(4)
    job = stage.job(targets)
    await stage.finish(job, max_targets=2)
    stage.hooks = {M.TARGET_STAGED: [script(tmp_path, "hook.sh", KEEPS)]}
    await stage.finish(job)
    assert Counter(each["app_id"] for each in heard(tmp_path, M.TARGET_STAGED)) == Counter(targets)
    await stage.finish(job)
    assert len(heard(tmp_path, M.TARGET_STAGED)) == 4
    assert len(stage.calls("POST", "/clone")) == 4


async def test_after_a_crash_between_clone_and_hook_the_hook_comes(tmp_path: Path) -> None:
    stage = hooked(tmp_path, M.TARGET_STAGED)
    targets = stage.holders(6)
    stage.faults = [Fault(kind="stall", seconds=3600, on="clone", targets=tuple(targets[3:]))]
    job = stage.job(targets)
    await stage.abandon(lambda: len(stage.calls("POST", "/clone")) >= 4, job, workers=1)
    stage.faults = ()
    await stage.finish(job)
    told = Counter(each["app_id"] for each in heard(tmp_path, M.TARGET_STAGED))
    assert set(told) == set(targets)
    assert all(times == 1 for app, times in told.items() if app in targets[:2])


# Packs


def packs_in(folder: Path) -> PackWriter:
    return PackWriter(folder / "packs", plan=PLAN, run_id=RUN, org=ORG)


async def test_every_staged_target_has_a_pack_before_anything_is_activated(tmp_path: Path) -> None:
    stage = RolloutStage(packs=packs_in(tmp_path))
    fresh, holding = stage.holders(3), stage.holders(1, kids=[stage.key.kid])
    targets = fresh + holding
    missing: list[str | None] = []

    def look(call: LoggedCall) -> None:
        app = AppId(str(call.app))
        if call.method == "PUT" and not packs_in(tmp_path).has(target_of(app), stage.key.kid):
            missing.append(app)

    stage.watch(look)
    await stage.finish(stage.job(targets), handoff_metadata=True)
    assert stage.active() == set(targets)
    assert missing == []
    for app in targets:
        folder = tmp_path / "packs" / "job" / app
        facts = json.loads((folder / "pack.json").read_text())
        assert (facts["kid"], facts["app_id"]) == (stage.key.kid, app)
        x5c = stage.org.material(stage.key.kid).x5c
        assert x5c in (folder / "metadata.xml").read_text()
        assert x5c[:40] in (folder / "certificate.pem").read_text()


async def test_a_pack_that_is_lost_is_written_again(tmp_path: Path) -> None:
    stage = RolloutStage(packs=packs_in(tmp_path))
    targets = stage.holders(3)
    job = stage.job(targets, Rollout(waves=(1,), pause_seconds=3600.0))
    await stage.finish(job)
    root = tmp_path / "packs" / "job"
    shutil.rmtree(root / targets[0])
    (root / targets[1] / "certificate.pem").write_text("torn")
    kept = (root / targets[2]).stat()
    await stage.finish(job)
    for app in targets:
        assert packs_in(tmp_path).has(target_of(app), stage.key.kid)
    assert (root / targets[2]).stat().st_mtime_ns == kept.st_mtime_ns
    assert len(stage.calls("POST", "/clone")) == 3
    assert stage.calls("GET", "/sso/saml/metadata") == [], "the plan does not ask for it"


async def test_a_pack_can_do_without_the_metadata(tmp_path: Path) -> None:
    stage = RolloutStage(packs=packs_in(tmp_path))
    [target] = stage.holders(1)
    stage.faults = [Fault(kind="drop", on="metadata")]
    await stage.finish(stage.job([target]), handoff_metadata=True)
    assert packs_in(tmp_path).has(target_of(target), stage.key.kid)
    assert not (tmp_path / "packs" / "job" / target / "metadata.xml").exists()
    assert any("has no metadata" in text for text in stage.notices())
    assert stage.active() == {target}


async def test_a_pack_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "packs").write_text("a file where a folder is to be")
    stage = RolloutStage(packs=packs_in(tmp_path))
    targets = stage.holders(2)
    await stage.finish(stage.job(targets))
    assert stage.active() == set(targets)
    assert any("hand-off pack" in text for text in stage.notices())


async def test_targets_with_keys_of_their_own_have_their_own_packs(tmp_path: Path) -> None:
    stage = RolloutStage(packs=packs_in(tmp_path))
    targets = stage.holders(2)
    wanted = KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=2)
    job = stage.job(targets, Rollout(waves=(1,), pause_seconds=3600.0), wanted=wanted)
    result = await stage.finish(job)
    kids = {outcome.target.app: outcome.key.kid for outcome in result.outcomes}
    assert len(set(kids.values())) == 2
    assert all(packs_in(tmp_path).has(target_of(app), kid) for app, kid in kids.items())
    shutil.rmtree(tmp_path / "packs")
    await stage.finish(job)
    assert all(packs_in(tmp_path).has(target_of(app), kid) for app, kid in kids.items())


async def test_a_dry_run_runs_no_hook_and_writes_no_pack(tmp_path: Path) -> None:
    stage = hooked(tmp_path, *M)
    stage.packs = packs_in(tmp_path)
    await stage.preview(stage.job(stage.holders(2)))
    assert not (tmp_path / "packs").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["hook.sh"]
