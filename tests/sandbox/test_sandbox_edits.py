"""What may go wrong around a PUT: others who edit, an org that changes too much, false echoes."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from orchestrator.clock import SystemClock
from orchestrator.sandbox.editor import edit
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.vocabulary import Edit, EndpointName, FaultKind, Resource, When
from tests.sandbox.authority import der_of, issued
from tests.sandbox.peer import Peer, active_kid, app_path, csrs_path, idp_path, keys_path, opened


class Scene:
    """An app, or an IdP, that holds a second key."""

    def __init__(self, *faults: Fault, resource: Resource = "app") -> None:
        self.org = SandboxOrg(seed=3)
        self.holder = self.org.add_app() if resource == "app" else self.org.add_idp()
        self.old = active_kid(self.holder)
        self.new = self.org.add_key(self.holder.id)
        self.script = FaultScript.of(faults)
        self.path = app_path(self.holder.id) if resource == "app" else idp_path(self.holder.id)
        self.title = "label" if resource == "app" else "name"

    def opened(self) -> Any:
        return opened(self.org, faults=self.script)

    def changed(self, document: Any) -> Any:
        """Put the new key into a document that was read."""
        whole = document if self.title == "label" else document["protocol"]
        whole["credentials"]["signing"]["kid"] = self.new
        return document

    async def activate(self, peer: Peer) -> Any:
        document = (await peer.get(self.path)).json()
        return await peer.put(self.path, self.changed(document))

    def kid_in(self, document: Any) -> Any:
        whole = document if self.title == "label" else document["protocol"]
        return whole["credentials"]["signing"]["kid"]


BOTH = pytest.mark.parametrize("resource", ["app", "idp"])


@BOTH
async def test_an_edit_after_a_read_shows_in_the_next_one(resource: Resource) -> None:
    on: EndpointName = "get_app" if resource == "app" else "get_idp"
    scene = Scene(Fault(kind="edit", on=on, when="after", times=1), resource=resource)
    async with scene.opened() as peer:
        first, second = [(await peer.get(scene.path)).json() for _ in range(2)]
    assert second[scene.title] == first[scene.title] + " (edited)"
    assert second["lastUpdated"] > first["lastUpdated"]
    assert [(call.fault, call.effect) for call in scene.org.log] == [("edit", False), (None, False)]
    assert scene.org.collateral_changes() == 0


@BOTH
async def test_an_edit_before_a_read_shows_in_it(resource: Resource) -> None:
    scene = Scene(Fault(kind="edit", when="before"), resource=resource)
    title = scene.holder.title
    async with scene.opened() as peer:
        document = (await peer.get(scene.path)).json()
    assert document[scene.title] == f"{title} (edited)" == scene.holder.title


@BOTH
async def test_a_put_over_an_edit_takes_it_back_and_is_collateral(resource: Resource) -> None:
    on: EndpointName = "get_app" if resource == "app" else "get_idp"
    scene = Scene(Fault(kind="edit", on=on, when="after", times=1), resource=resource)
    title = scene.holder.title
    async with scene.opened() as peer:
        echo = await scene.activate(peer)
    assert echo.json()[scene.title] == title
    assert scene.org.log[1].collateral == (scene.title,)
    assert scene.org.collateral_changes() == 1


@BOTH
async def test_the_old_key_comes_back_right_after_the_put(resource: Resource) -> None:
    on: EndpointName = "update_app" if resource == "app" else "update_idp"
    fault = Fault(kind="edit", edit="revert", on=on, when="after", times=1)
    scene = Scene(fault, resource=resource)
    async with scene.opened() as peer:
        echo = (await scene.activate(peer)).json()
        after = (await peer.get(scene.path)).json()
    assert scene.kid_in(echo) == scene.new, "the echo is truthful as of its moment"
    assert scene.kid_in(after) == scene.old == scene.holder.active_kid
    put = scene.org.log[1]
    assert (put.fault, put.kid_before, put.kid_after) == ("edit", scene.old, scene.new)
    assert put.collateral == ()
    assert scene.org.holds(scene.holder.id, scene.new)


async def test_an_edit_before_a_put_is_not_the_puts_doing() -> None:
    scene = Scene(Fault(kind="edit", edit="kid", on="update_app", when="before"))
    third = scene.org.add_key(scene.holder.id)
    async with scene.opened() as peer:
        await scene.activate(peer)
        found = (await peer.get("/api/v1/logs")).json()
    put = scene.org.log[1]
    assert (put.kid_before, put.kid_after) == (scene.new, scene.new)
    assert third != scene.new, "the editor takes the key that was there longest"
    kinds = [event["eventType"] for event in found]
    update, rotate = "application.lifecycle.update", "app.keys.rotate"
    assert kinds == [update, rotate, update]
    assert [event["actor"]["id"] == scene.org.caller.id for event in found] == [False, False, True]
    assert found[0]["transaction"]["id"] != found[2]["transaction"]["id"]


def test_the_editor_makes_a_key_where_there_is_no_other() -> None:
    org = SandboxOrg()
    app, silent = org.add_app(), org.add_app(sign_on_mode="BOOKMARK")
    org.add_key(silent.id)
    own = app.active_kid
    assert edit(org, app, "kid")
    assert app.active_kid not in (None, own)
    assert org.holds(app.id, active_kid(app))
    assert len(org.list_keys(app.id)) == 2
    assert edit(org, app, "kid")
    assert app.active_kid == own
    assert not edit(org, silent, "kid")
    assert silent.active_kid is None


def test_there_is_nothing_to_revert_without_a_put() -> None:
    org = SandboxOrg()
    app = org.add_app()
    assert not edit(org, app, "revert")
    org.update_app(app.id, app.document())
    assert not edit(org, app, "revert"), "the PUT has kept the key"
    assert app.active_kid == app.own_kid


async def test_an_edit_of_what_is_not_there_is_none() -> None:
    scene = Scene(Fault(kind="edit", when="after"))
    async with scene.opened() as peer:
        missing = await peer.get(app_path("0oaunknown"))
        listed = await peer.get("/api/v1/apps")
    assert (missing.status, listed.status) == (404, 200)
    assert [call.fault for call in scene.org.log] == [None, None]


async def test_an_edit_strikes_the_target_of_a_clone() -> None:
    scene = Scene(Fault(kind="edit", on="clone", when="after"))
    source = scene.org.add_app()
    async with scene.opened() as peer:
        reply = await peer.clone(source, active_kid(source), scene.holder.id)
    assert reply.status == 201
    assert scene.holder.title.endswith("(edited)")
    assert not source.title.endswith("(edited)")


# An org that changes too much


async def spoilt(scene: Scene) -> tuple[Any, Any]:
    async with scene.opened() as peer:
        before = (await peer.get(scene.path)).json()
        echo = (await scene.activate(peer)).json()
        assert (await peer.get(scene.path)).json() == echo
    assert scene.holder.active_kid == scene.new
    return before, echo


async def test_collateral_loses_the_profile_and_the_echo_shows_it() -> None:
    scene = Scene(Fault(kind="collateral", times=1))
    profile = {"profile": {"owner": "me"}}
    scene.org.update_app(scene.holder.id, scene.holder.document() | profile)
    before, echo = await spoilt(scene)
    assert "profile" in before
    assert "profile" not in echo
    put = scene.org.log[2]
    assert (put.fault, put.effect, put.collateral) == ("collateral", True, ("profile",))


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ("SAML_2_0", "settings.signOn.honorForceAuthn"),
        ("SAML_1_1", "accessibility.selfService"),
        ("OPENID_CONNECT", "accessibility.selfService"),
    ],
)
async def test_collateral_finds_something_in_every_app(mode: str, path: str) -> None:
    scene = Scene(Fault(kind="collateral", times=1))
    scene.holder = scene.org.add_app(sign_on_mode=mode)
    scene.path = app_path(scene.holder.id)
    scene.new = scene.org.add_key(scene.holder.id)
    await spoilt(scene)
    assert scene.org.log[2].collateral == (path,)
    assert scene.org.collateral_changes() == 1


async def test_collateral_in_an_idp_and_its_repair() -> None:
    scene = Scene(Fault(kind="collateral", times=1), resource="idp")
    async with scene.opened() as peer:
        before = (await peer.get(scene.path)).json()
        echo = (await scene.activate(peer)).json()
        repaired = (await peer.put(scene.path, before)).json()
    assert echo["policy"]["maxClockSkew"] != before["policy"]["maxClockSkew"]
    assert repaired == before | {"lastUpdated": repaired["lastUpdated"]}
    assert [call.collateral for call in scene.org.log[2:]] == [("policy.maxClockSkew",)] * 2


async def test_a_refused_put_has_no_collateral() -> None:
    scene = Scene(Fault(kind="collateral"))
    async with scene.opened() as peer:
        await peer.put(scene.path, {"label": "x"})
    assert scene.org.collateral_changes() == 0


# False echoes


@BOTH
async def test_a_false_echo_claims_what_was_not_done(resource: Resource) -> None:
    scene = Scene(Fault(kind="lie", lie="echo", times=1), resource=resource)
    async with scene.opened() as peer:
        echo = await scene.activate(peer)
        after = (await peer.get(scene.path)).json()
        found = (await peer.get("/api/v1/logs")).json()
    assert echo.status == 200
    assert scene.kid_in(echo.json()) == scene.new
    assert echo.json()["lastUpdated"] > after["lastUpdated"]
    assert scene.kid_in(after) == scene.old == scene.holder.active_kid
    put = scene.org.log[1]
    assert (put.fault, put.effect, put.kid_after) == ("lie", False, None)
    assert found == []


async def test_a_put_that_must_fail_is_not_lied_about() -> None:
    scene = Scene(Fault(kind="lie", lie="echo"))
    async with scene.opened() as peer:
        refused = await peer.put(scene.path, {"label": "x"})
        missing = await peer.put(app_path("0oaunknown"), {})
    assert (refused.status, missing.status) == (400, 404)
    assert [call.fault for call in scene.org.log] == [None, None]


async def test_a_lie_about_the_clone_of_an_idp_key() -> None:
    scene = Scene(Fault(kind="lie", lie="location"), resource="idp")
    target = scene.org.add_idp()
    path = f"{scene.path}/credentials/keys/{scene.new}/clone?targetIdpId={target.id}"
    async with scene.opened() as peer:
        reply = await peer.post(path)
    assert reply.status == 201
    assert f"/idps/{scene.holder.id}/" in reply.headers["Location"]
    assert not scene.org.holds(target.id, scene.new)


# The other faults, on every call that changes something

WRITES: tuple[EndpointName, ...] = (
    "generate", "create_csr", "publish_csr", "delete_csr", "update_app", "deactivate",
    "generate_idp_key", "clone_idp_key", "create_idp_csr", "publish_idp_csr", "delete_idp_csr",
    "update_idp",
)  # fmt: skip


async def write(peer: Peer, on: EndpointName) -> Any:
    """Make the call that a fault waits for, after what it takes to be able to."""
    org = peer.org
    holder = org.add_idp() if "idp" in on else org.add_app()
    keys = csrs_path(holder).replace("/csrs", "/keys")
    path = keys.removesuffix("/credentials/keys")
    if on in ("update_app", "update_idp"):
        return await peer.put(path, holder.document())
    if on == "deactivate":
        return await peer.post(f"{path}/lifecycle/deactivate")
    if on.startswith("generate"):
        return await peer.post(f"{keys}/generate?validityYears=2")
    if on.startswith("clone"):
        target = org.add_idp()
        return await peer.post(f"{keys}/{holder.active_kid}/clone?targetIdpId={target.id}")
    made = await peer.post(csrs_path(holder), body={"subject": {"commonName": "x"}})
    if on.startswith("create"):
        return made
    csr = made.json()
    if on.startswith("delete"):
        return await peer.delete(f"{csrs_path(holder)}/{csr['id']}")
    return await peer.post(
        f"{csrs_path(holder)}/{csr['id']}/lifecycle/publish",
        data=der_of(issued(csr["csr"])),
        headers={"Content-Type": "application/pkix-cert"},
    )


@pytest.mark.parametrize("on", WRITES)
async def test_a_write_has_its_effect_and_no_fault(on: EndpointName) -> None:
    org = SandboxOrg()
    async with opened(org) as peer:
        reply = await write(peer, on)
    assert reply.status in (200, 201, 204), reply.body
    assert (org.log[-1].effect, org.log[-1].fault) == (True, None)


@pytest.mark.parametrize("on", WRITES)
@pytest.mark.parametrize("kind", ["error", "gateway", "drop", "stall"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_write_is_lost_before_or_after_its_effect(
    on: EndpointName, kind: FaultKind, when: When
) -> None:
    org = SandboxOrg()
    script = FaultScript.of([Fault(kind=kind, on=on, when=when, seconds=0.05)])
    async with opened(org, faults=script) as peer:
        if kind in ("error", "gateway"):
            assert (await write(peer, on)).status in (502, 503)
        else:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await write(peer, on)
    call = org.log[-1]
    assert (call.fault, call.effect) == (kind, when == "after")
    if on.startswith("update"):
        assert (call.kid_after is not None) == (when == "after")


@pytest.mark.parametrize("on", WRITES)
@pytest.mark.parametrize("kind", ["truncate", "garbage"])
async def test_a_write_is_done_though_its_answer_is_spoilt(
    on: EndpointName, kind: FaultKind
) -> None:
    org = SandboxOrg()
    script = FaultScript.of([Fault(kind=kind, on=on)])
    async with opened(org, faults=script) as peer:
        try:
            reply = await write(peer, on)
        except aiohttp.ClientPayloadError:
            assert kind == "truncate"
        else:
            assert not reply.body.startswith(b"{")
    assert (org.log[-1].fault, org.log[-1].effect) == (kind, True)


async def test_a_rejected_certificate_looks_like_oktas() -> None:
    org = SandboxOrg()
    script = FaultScript.of([Fault(kind="reject", on="publish_csr")])
    async with opened(org, faults=script) as peer:
        reply = await write(peer, "publish_csr")
    assert reply.json()["errorSummary"] == "Api validation failed: certificate"
    assert org.log[-1].effect is False


async def test_a_fault_on_an_idp_keeps_to_its_targets() -> None:
    org = SandboxOrg()
    source, hit, spared = org.add_idp(), org.add_idp(), org.add_idp()
    script = FaultScript.of([Fault(kind="error", on="clone_idp_key", targets=(hit.id,))])
    path = f"{idp_path(source.id)}/credentials/keys/{source.active_kid}/clone"
    async with opened(org, faults=script) as peer:
        replies = [await peer.post(f"{path}?targetIdpId={each.id}") for each in (hit, spared)]
        listed = await peer.get(keys_path(org.add_app().id))
    assert [reply.status for reply in replies] == [503, 201]
    assert listed.status == 200


class Restless(SystemClock):
    """A clock on which half a second passes with every look at it."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks / 2


@pytest.mark.parametrize("what", ["label", "kid"])
def test_a_change_has_one_time_wherever_it_is_told(what: Edit) -> None:
    org = SandboxOrg(clock=Restless())
    app = org.add_app()
    org.add_key(app.id)
    assert edit(org, app, what)
    told = [event for event in org.system_log.events if event.at == app.updated]
    assert len(told) == (2 if what == "kid" else 1)
