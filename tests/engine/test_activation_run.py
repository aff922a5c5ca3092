"""Activation of whole objects: nothing but the key changes, whatever the wire does to the calls."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.closing import conclude
from orchestrator.engine.result import exit_code
from orchestrator.errors import ExitCode
from orchestrator.model import Activation, ActivationState, AppId, Proof, Reason, StopCause
from orchestrator.rollout import Inactive, Rollout
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import LoggedCall
from tests.engine.rollout_stage import RolloutStage
from tests.support import SHARED, needs_shared

S = ActivationState
SIGNING = ["SAML_2_0", "SAML_1_1", "WS_FEDERATION", "OPENID_CONNECT"]
SILENT = ["BOOKMARK", "AUTO_LOGIN", "BROWSER_PLUGIN", "BASIC_AUTH", "SECURE_PASSWORD_STORE"]
ODDITIES: dict[str, Any] = {  # what a typed model would lose, or write differently
    "unknown": {"of": ["Okta", None, {}], "later": 12345678901234567890},
    "features": [],
    "profile": {"ümläut": "\u2028 😀", "empty": "", "nothing": None, "list": []},
    "settings": {
        "app": {"url": "https://sp.example.com/?a=b&c=d", "limit": 0.1, "none": None},
        "signOn": {
            "acsEndpoints": [{"url": "https://sp.example.com/acs", "index": 0}],
            "attributeStatements": [
                {"type": "EXPRESSION", "name": "a", "namespace": None, "values": ["user.email"]}
            ],
            "slo": {"enabled": False},
            "requestCompressed": None,
        },
        "notifications": {"vpn": {"network": {"connection": "DISABLED"}, "helpUrl": None}},
    },
}


def but_for_the_key(document: Any) -> Any:
    """Return an app's object without what an activation changes."""
    document = deepcopy(document)
    del document["lastUpdated"]
    document.pop("_links")  # they lead to wherever the sandbox is served
    document["credentials"].pop("signing", None)
    return document


def odd_app(stage: RolloutStage, mode: str) -> AppId:
    """Add an app that is recorded with oddities in every corner."""
    document = stage.document(stage.holders(1, sign_on_mode=mode)[0])
    whole = document | deepcopy(ODDITIES) | {"id": stage.org.new_id("0oa")}
    return AppId(stage.org.add_app(document=whole).id)


async def test_objects_of_all_sign_on_modes_come_back_but_for_the_key() -> None:
    stage = RolloutStage()
    targets = [odd_app(stage, mode) for mode in SIGNING] + stage.holders(2)
    before = {app: stage.document(app) for app in targets}
    former = stage.kids_of(targets)
    result = await stage.finish(stage.job(targets, allow_oidc=True))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)
    for app in targets:
        after = stage.document(app)
        assert json.dumps(but_for_the_key(after)) == json.dumps(but_for_the_key(before[app]))
        assert after["credentials"] == before[app]["credentials"] | {
            "signing": {"kid": stage.key.kid}
        }
    assert stage.org.collateral_changes() == 0

    await stage.roll_back()
    assert stage.kids_of(targets) == former
    for app in targets:
        assert but_for_the_key(stage.document(app)) == but_for_the_key(before[app])
    assert stage.org.collateral_changes() == 0


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=4)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    parts=st.lists(
        st.fixed_dictionaries(
            {
                "profile": objects,
                "settings": objects,
                "visibility": objects,
                "credentials": objects.filter(lambda found: "signing" not in found),
                "later": values,
            }
        ),
        min_size=8,
        max_size=8,
    )
)
async def test_whatever_an_object_holds_comes_back_but_for_the_key(
    parts: list[dict[str, Any]],
) -> None:
    stage = RolloutStage()
    targets = []
    for number, part in enumerate(parts):
        mode = SIGNING[number % len(SIGNING)]
        whole = stage.document(stage.holders(1, sign_on_mode=mode)[0])
        signing = {"signing": whole["credentials"]["signing"]}
        whole |= part | {"credentials": part["credentials"] | signing}
        whole |= {"id": stage.org.new_id("0oa")}
        targets.append(AppId(stage.org.add_app(document=whole).id))
    before = {app: stage.document(app) for app in targets}
    await stage.finish(stage.job(targets, allow_oidc=True))
    assert stage.active() == set(targets)
    for app in targets:
        after = but_for_the_key(stage.document(app))
        assert json.dumps(after) == json.dumps(but_for_the_key(before[app]))
    assert stage.org.collateral_changes() == 0


@needs_shared
async def test_objects_of_real_orgs_come_back_but_for_the_key() -> None:
    stage = RolloutStage()
    recorded = json.loads((SHARED / "wire" / "app_objects.json").read_text())
    documents = {each["body"]["id"]: each["body"] for each in recorded}
    targets = [AppId(stage.org.add_app(document=each).id) for each in documents.values()]
    signing = {app for app in targets if stage.kid_of(app)}
    assert len(signing) > 5
    rollout = Rollout(inactive=Inactive.ACTIVATE, stop_after_failures=len(targets))
    await stage.finish(stage.job(targets, rollout, allow_oidc=True))
    assert stage.active() == signing
    for app in targets:
        after = stage.document(app)
        assert but_for_the_key(after) == but_for_the_key(documents[app])
    assert stage.org.collateral_changes() == 0
    assert {each.reason for app, each in stage.activations().items() if app not in signing} == {
        Reason.NOT_SIGNING
    }
    await stage.roll_back()
    assert stage.signers() == set()
    assert stage.org.collateral_changes() == 0


async def test_the_former_key_is_in_the_journal_before_a_write_reaches_the_org() -> None:
    stage = RolloutStage()
    targets = stage.holders(25)
    former = stage.kids_of(targets)
    found: dict[AppId, Activation | None] = {}

    def look(call: LoggedCall) -> None:
        if call.method == "PUT":
            app = AppId(str(call.app))
            found[app] = stage.activations().get(app)

    stage.watch(look)
    await stage.finish(stage.job(targets), workers=10)
    assert list(found) == stage.written()
    assert len(found) == len(targets)
    for app, activation in found.items():
        assert activation is not None
        assert (activation.state, activation.previous_kid) == (S.INTENDED, former[app])
        assert activation.fingerprint is not None
        assert activation.last_updated is not None


async def test_a_write_that_hangs_leaves_its_intent() -> None:
    stage = RolloutStage(faults=[Fault(kind="stall", on="update_app", seconds=3600)])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    await stage.abandon(stage.puts, stage.job([target]))
    assert stage.kid_of(target) == former
    intent = stage.activations()[target]
    assert (intent.state, intent.previous_kid, intent.kid) == (S.INTENDED, former, stage.key.kid)
    stage.faults = ()
    await stage.finish(stage.job([target]))
    assert stage.active() == {target}
    assert stage.activations()[target].previous_kid == former


# What is not to be written


async def test_sign_on_modes_without_a_key_are_not_written() -> None:
    stage = RolloutStage()
    silent = [stage.holders(1, sign_on_mode=mode)[0] for mode in SILENT]
    targets = silent + stage.holders(1)
    result = await stage.finish(stage.job(targets, Rollout(stop_after_failures=6)))
    assert exit_code(result) is ExitCode.PARTIAL
    assert stage.active() == set(targets) - set(silent)
    for app in silent:
        activation = stage.activations()[app]
        assert (activation.state, activation.reason) == (S.FAILED, Reason.NOT_SIGNING)
        assert not activation.retryable
        assert activation.previous_kid is None
    reads = len(stage.calls("GET", "/apps/{appId}"))
    await stage.finish(stage.job(targets))
    assert len(stage.calls("GET", "/apps/{appId}")) == reads, "no later run asks again"


async def test_oidc_apps_only_where_the_plan_insists() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1, sign_on_mode="OPENID_CONNECT")
    targets, rollout = [target, *stage.holders(1)], Rollout(stop_after_failures=2)
    await stage.finish(stage.job(targets, rollout))
    refused = stage.activations()[target]
    assert (refused.state, refused.reason) == (S.FAILED, Reason.OIDC)
    assert "allow_oidc" in refused.detail
    assert target not in stage.signers()
    result = await stage.finish(stage.job(targets, rollout, allow_oidc=True))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(targets)


async def test_inactive_apps_are_left_out_or_not_as_the_plan_says() -> None:
    stage = RolloutStage()
    asleep, awake = stage.holders(1, status="INACTIVE"), stage.holders(1)
    result = await stage.finish(stage.job(asleep + awake))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == set(awake)
    skipped = stage.activations()[asleep[0]]
    assert (skipped.state, skipped.reason) == (S.SKIPPED, Reason.INACTIVE)
    assert "INACTIVE" in skipped.detail

    other = RolloutStage()
    asleep = other.holders(1, status="INACTIVE")
    await other.finish(other.job(asleep, Rollout(inactive=Inactive.ACTIVATE)))
    assert other.active() == set(asleep)
    assert other.org.apps[asleep[0]].status == "INACTIVE"


async def test_what_signs_with_the_key_already_is_not_written() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    stage.sign_with(target, stage.key.kid)
    await stage.finish(stage.job([target]))
    assert stage.active() == {target}
    activation = stage.activations()[target]
    assert (activation.proof, activation.previous_kid) == (Proof.READ, None)
    assert "already" in activation.detail
    assert stage.puts() == []
    await stage.roll_back()
    assert stage.active() == {target}, "what the run has not done it does not undo"
    assert stage.puts() == []


# What the wire does


LOSSES = [
    Fault(kind="drop", when="before"),
    Fault(kind="drop", when="after"),
    Fault(kind="stall", when="before", seconds=3600),
    Fault(kind="stall", when="after", seconds=3600),
    Fault(kind="error", status=500, when="before"),
    Fault(kind="error", status=503, when="after"),
    Fault(kind="gateway", status=502, when="before"),
    Fault(kind="gateway", status=504, when="after"),
    Fault(kind="truncate"),
    Fault(kind="garbage"),
]


@pytest.mark.parametrize("fault", LOSSES, ids=lambda fault: f"{fault.kind}-{fault.when}")
async def test_a_lost_answer_to_a_write_is_settled_by_a_read(fault: Fault) -> None:
    stage = RolloutStage(faults=[replace(fault, on="update_app", times=1)])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    result = await stage.finish(stage.job([target]))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == {target}
    assert stage.written() == [target], "it has taken effect once"
    activation = stage.activations()[target]
    assert activation.previous_kid == former
    assert activation.evidence.lost_answers == 1
    assert activation.problem is None
    assert stage.org.collateral_changes() == 0
    reads = stage.calls("GET", "/apps/{appId}")
    assert len(reads) == 2, "the object is read again before anything is decided"


@pytest.mark.parametrize(
    "fault", [LOSSES[0], LOSSES[1], LOSSES[6]], ids=lambda fault: f"{fault.kind}-{fault.when}"
)
async def test_when_every_answer_is_lost_the_next_execution_tells(fault: Fault) -> None:
    stage = RolloutStage(faults=[replace(fault, on="update_app")])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    job = stage.job([target])
    await stage.finish(job)
    first = stage.activations()[target]
    assert first.previous_kid == former
    if fault.when == "before":
        assert (first.state, first.reason, first.retryable) == (S.FAILED, Reason.NO_ANSWER, True)
        assert len(stage.puts()) == 4
        stage.faults = ()
        stage.approve(1)
        assert exit_code(await stage.finish(job)) is ExitCode.DONE
    assert stage.active() == {target}
    assert stage.activations()[target].previous_kid == former
    assert stage.written() == [target]
    assert stage.org.collateral_changes() == 0


@pytest.mark.parametrize(
    "fault",
    [Fault(kind="error", status=429, on="update_app", times=1),
     Fault(kind="error", status=409, on="update_app", times=2)],
    ids=["429", "409"],
)  # fmt: skip
async def test_before_a_write_is_sent_again_the_object_is_read_again(fault: Fault) -> None:
    stage = RolloutStage(faults=[fault])
    [target] = stage.holders(1)
    result = await stage.finish(stage.job([target]))
    assert exit_code(result) is ExitCode.DONE
    assert stage.active() == {target}
    story = [
        call.method
        for call in stage.org.log
        if call.template == "/api/v1/apps/{appId}" and call.app == target
    ]
    assert story == ["GET", "PUT"] * ((fault.times or 0) + 1)


@pytest.mark.parametrize("on", ["get_app", "update_app"])
async def test_a_refusal_leaves_the_target_as_it_was(on: Any) -> None:
    stage = RolloutStage(faults=[Fault(kind="reject", status=403, code="E0000006", on=on)])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    await stage.finish(stage.job([target]))
    activation = stage.activations()[target]
    assert (activation.state, activation.reason) == (S.FAILED, Reason.FORBIDDEN)
    assert activation.evidence.okta_code == "E0000006"
    assert stage.kid_of(target) == former


async def test_a_write_that_came_late_is_adopted_with_all_that_was_known_of_it() -> None:
    stage = RolloutStage(faults=[Fault(kind="drop", on="update_app")])
    [target] = stage.holders(1)
    former = stage.kid_of(target)
    await stage.finish(stage.job([target]))
    stage.sign_with(target, stage.key.kid)  # what the org makes of the last call, minutes later
    stage.faults = ()
    stage.approve(1)
    await stage.finish(stage.job([target]))
    activation = stage.activations()[target]
    assert (activation.state, activation.previous_kid) == (S.ACTIVATED, former)
    assert activation.problem is None
    await stage.roll_back()
    assert stage.kid_of(target) == former


@pytest.mark.parametrize("on", ["get_app", "update_app"])
async def test_an_org_that_sends_us_elsewhere_fails_the_target_only(on: Any) -> None:
    stage = RolloutStage()
    targets = stage.holders(2)
    stage.faults = [Fault(kind="redirect", on=on, targets=(targets[0],))]
    await stage.finish(stage.job(targets, Rollout(stop_after_failures=2)))
    assert stage.active() == {targets[1]}
    failed = stage.activations()[targets[0]]
    assert (failed.state, failed.reason) == (S.FAILED, Reason.REJECTED)
    assert "redirect" in failed.detail


async def test_an_edit_during_a_lost_write_is_not_written_over() -> None:
    stage = RolloutStage()
    [target] = stage.holders(1)
    stage.faults = [Fault(kind="drop", when="before", on="update_app", times=1)]

    def look(call: LoggedCall) -> None:
        if call.fault == "drop":
            stage.org.update_app(target, stage.document(target) | {"label": "Renamed"})

    stage.watch(look)
    await stage.finish(stage.job([target]))
    activation = stage.activations()[target]
    assert (activation.state, activation.reason) == (S.FAILED, Reason.DRIFT)
    assert stage.org.apps[target].label == "Renamed"
    assert stage.written() == []


# An org that is not to be trusted


async def test_an_echo_that_is_a_lie_is_found_out_by_the_list() -> None:
    stage = RolloutStage(faults=[Fault(kind="lie", lie="echo", on="update_app", times=1)])
    targets = stage.holders(2)
    former = stage.kids_of(targets)
    result = await stage.finish(stage.job(targets, verify="read_back"), workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    assert stage.active() == {targets[1]}
    lied = stage.activations()[targets[0]]
    assert (lied.state, lied.reason) == (S.FAILED, Reason.DRIFT)
    assert f"signs with {former[targets[0]]} now" in lied.detail


async def test_collateral_is_put_back_and_stops_everything() -> None:
    stage = RolloutStage(faults=[Fault(kind="collateral", on="update_app", times=1)])
    targets = stage.holders(3)
    before = {app: stage.document(app) for app in targets}
    result = await stage.finish(stage.job(targets), workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    assert result.stop is not None
    assert result.stop.cause is StopCause.COLLATERAL
    assert targets[0] in result.stop.detail
    assert "look at the app" in str(result.stop.hint)
    [activation] = stage.activations().values()
    assert (activation.state, activation.reason) == (S.FAILED, Reason.COLLATERAL)
    assert activation.changes
    assert all(change in activation.detail for change in activation.changes)
    assert "it has been put back as it was" in activation.detail
    assert stage.active() == set()
    after = {app: stage.document(app) for app in targets}
    for app in targets:
        assert but_for_the_key(after[app]) == but_for_the_key(before[app])
        assert after[app]["credentials"] == before[app]["credentials"]
    assert [call.app for call in stage.puts()] == [targets[0]] * 2, "nobody else is touched"

    stage.faults = ()
    stage.approve(1)
    await stage.finish(stage.job(targets), workers=1)
    assert stage.active() == set(targets[1:]), "a person is to look at the first one"


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (Fault(kind="reject", on="update_app"), "whether it could be put back is NOT known"),
        (Fault(kind="drop", on="update_app"), "whether it could be put back is NOT known"),
        (Fault(kind="collateral", on="update_app"), "it could NOT be put back, and differs in"),
    ],
    ids=["refused", "lost", "again"],
)
async def test_what_could_not_be_put_back_is_said_to_be_so(then: Fault, words: str) -> None:
    stage = RolloutStage(faults=[Fault(kind="collateral", on="update_app", times=1), then])
    targets = stage.holders(2)
    former = stage.kid_of(targets[0])
    result = await stage.finish(stage.job(targets), workers=1)
    assert exit_code(result) is ExitCode.SAFETY
    [activation] = stage.activations().values()
    assert words in activation.detail
    assert words in str(result.stop)
    assert activation.previous_kid == former, "which is what a person needs to mend it"


async def test_collateral_is_put_back_also_while_the_run_is_stopping() -> None:
    stage = RolloutStage(faults=[Fault(kind="collateral", on="update_app", times=1)])
    [target] = stage.holders(1)
    before = stage.document(target)
    with anyio.fail_after(20):
        async with stage.run(stage.job([target])) as run:
            stage.watch(
                lambda call: (
                    run.stop(StopCause.INTERRUPT, "SIGINT") if call.method == "PUT" else None
                )
            )
            await run.execute()
            await conclude(run, stage.store)
    assert stage.kid_of(target) == before["credentials"]["signing"]["kid"]
    assert but_for_the_key(stage.document(target)) == but_for_the_key(before)
    [activation] = stage.activations().values()
    assert "it has been put back as it was" in activation.detail


async def test_every_target_whose_write_did_too_much_is_put_back() -> None:
    stage = RolloutStage()
    targets = stage.holders(8)
    stage.faults = [
        Fault(kind="collateral", on="update_app", targets=(app,), times=1) for app in targets
    ]
    before = {app: stage.document(app) for app in targets}
    await stage.finish(stage.job(targets), workers=4)
    assert stage.active() == set()
    for app in targets:
        assert but_for_the_key(stage.document(app)) == but_for_the_key(before[app])
