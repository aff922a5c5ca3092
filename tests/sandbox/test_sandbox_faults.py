"""Every kind of fault over real sockets: what the caller sees, and what was really done."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import time
from base64 import b64decode
from typing import Any

import aiohttp
import pytest
import trustme

from orchestrator.errors import UsageError
from orchestrator.sandbox.certs import base64url
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.sandbox.vocabulary import Lie, When
from tests.sandbox.peer import PLENTY, Reply, active_kid, keys_path, opened

SERVER_SIDE, CLIENT_SIDE = ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT


class Scene:
    """An org with a source and a target, and one fault for the clone between them."""

    def __init__(self, fault: Fault) -> None:
        self.org = SandboxOrg(seed=3)
        self.source, self.target = self.org.add_app(), self.org.add_app()
        self.kid = active_kid(self.source)
        self.script = FaultScript.of([fault])

    async def clone(self, **rest: Any) -> Reply:
        async with opened(self.org, faults=self.script) as peer:
            return await peer.clone(self.source, self.kid, self.target.id, **rest)

    @property
    def took_effect(self) -> bool:
        return self.org.holds(self.target.id, self.kid)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [500, 503, 429])
async def test_error(when: When, status: int) -> None:
    scene = Scene(Fault(kind="error", status=status, when=when))
    reply = await scene.clone()
    assert reply.status == status
    codes = {500: "E0000009", 503: "E0000181", 429: "E0000047"}
    assert reply.json()["errorCode"] == codes[status]
    assert scene.took_effect == (when == "after")
    assert scene.org.log[0].effect == (when == "after")
    assert "Location" not in reply.headers


@pytest.mark.parametrize("when", ["before", "after"])
async def test_drop(when: When) -> None:
    scene = Scene(Fault(kind="drop", when=when))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await scene.clone()
    assert scene.took_effect == (when == "after")
    assert (scene.org.log[0].status, scene.org.log[0].fault) == (0, "drop")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_stall_outlasts_the_caller_and_does_not_hold_up_the_end(when: When) -> None:
    scene = Scene(Fault(kind="stall", when=when))
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await scene.clone(seconds=0.2)
    assert time.monotonic() - started < 1.5
    assert scene.took_effect == (when == "after")


async def test_a_short_stall_ends_in_a_closed_connection() -> None:
    scene = Scene(Fault(kind="stall", seconds=0.1))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await scene.clone()


async def test_serving_ends_at_once_while_a_call_is_stalled() -> None:
    scene = Scene(Fault(kind="stall"))
    async with opened(scene.org, faults=scene.script) as peer:
        call = asyncio.create_task(peer.clone(scene.source, scene.kid, scene.target.id))
        await asyncio.sleep(0.1)
        assert not call.done()
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    with pytest.raises(aiohttp.ClientError):
        await call


async def test_truncate_breaks_off_after_the_effect() -> None:
    scene = Scene(Fault(kind="truncate"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await scene.clone()
    assert scene.took_effect


async def test_garbage_has_the_right_status_and_no_json() -> None:
    scene = Scene(Fault(kind="garbage"))
    reply = await scene.clone()
    assert (reply.status, reply.headers["Content-Type"]) == (201, "application/json")
    with pytest.raises(ValueError, match=r"."):
        reply.json()
    assert scene.took_effect


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [502, 503, 504])
async def test_gateway(when: When, status: int) -> None:
    scene = Scene(Fault(kind="gateway", status=status, when=when))
    reply = await scene.clone()
    assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html")
    assert b"<html>" in reply.body
    assert not [name for name in reply.headers if name.lower().startswith(("x-okta", "x-rate"))]
    assert scene.took_effect == (when == "after")


@pytest.mark.parametrize("lie", ["kid", "certificate", "thumbprint", "location"])
async def test_a_lie_is_false_in_one_point_and_stores_nothing(lie: Lie) -> None:
    scene = Scene(Fault(kind="lie", lie=lie))
    truth = scene.org.get_key(scene.source.id, scene.kid)
    reply = await scene.clone()
    key = reply.json()
    der = b64decode(key["x5c"][0])
    falsehoods = {
        "kid": key["kid"] != scene.kid,
        "certificate": key["x5c"] != truth["x5c"],
        "thumbprint": key["x5t#S256"] != base64url(hashlib.sha256(der).digest()),
        "location": f"/{scene.target.id}/" not in reply.headers["Location"],
    }
    assert reply.status == 201
    assert list(key) == list(truth)
    assert [name for name, told in falsehoods.items() if told] == [lie]
    assert not scene.took_effect
    assert (scene.org.log[0].fault, scene.org.log[0].effect) == ("lie", False)


async def test_a_clone_that_must_fail_is_not_lied_about() -> None:
    scene = Scene(Fault(kind="lie"))
    scene.org.add_key(scene.target.id, scene.kid)
    reply = await scene.clone()
    assert reply.status == 400
    assert "already exists" in reply.json()["errorCauses"][0]["errorSummary"]
    assert scene.org.log[0].fault is None


async def test_reject_looks_like_the_duplicate_answer_but_for_its_cause() -> None:
    scene = Scene(Fault(kind="reject"))
    reply = await scene.clone()
    error = reply.json()
    assert (reply.status, error["errorCode"]) == (400, "E0000001")
    assert error["errorSummary"] == "Api validation failed: cloneKey"
    assert error["errorCauses"]
    assert not re.search("already exists", str(error), re.IGNORECASE)
    assert not scene.took_effect


async def test_reject_with_another_status() -> None:
    scene = Scene(Fault(kind="reject", status=403))
    reply = await scene.clone()
    assert (reply.status, reply.json()["errorCode"]) == (403, "E0000006")


async def test_redirect_points_to_another_host() -> None:
    scene = Scene(Fault(kind="redirect", host="evil.example"))
    reply = await scene.clone()
    assert reply.status == 302
    assert reply.headers["Location"].startswith("https://evil.example/")
    assert not scene.took_effect


async def test_a_fault_keeps_to_its_endpoint_targets_and_times() -> None:
    org = SandboxOrg()
    source = org.add_app()
    targets = [org.add_app() for _ in range(3)]
    hit = targets[1]
    script = FaultScript.of([Fault(kind="reject", on="clone", targets=(hit.id,), times=1)])
    async with opened(org, faults=script) as peer:
        listed = await peer.get(keys_path(hit.id))
        replies = [
            await peer.clone(source, active_kid(source), each.id) for each in (*targets, hit)
        ]
    assert listed.status == 200
    assert [reply.status for reply in replies] == [201, 400, 201, 201]


async def test_a_rate_is_repeatable_and_about_right() -> None:
    script = FaultScript.of([Fault(kind="error", rate=0.3, on="list_keys")], seed=7)
    runs = []
    for _ in range(2):
        org = SandboxOrg()
        app = org.add_app()
        async with opened(org, faults=script) as peer:
            for _ in range(150):
                await peer.get(keys_path(app.id))
        runs.append([call.status for call in org.log])
    assert runs[0] == runs[1]
    assert 20 < runs[0].count(503) < 75


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
async def test_serving_to_others_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="loopback"):
        async with serve(SandboxOrg(), host=host):
            pytest.fail("it must not listen")


async def test_a_port_in_use_is_a_clear_error() -> None:
    async with serve(SandboxOrg()) as served:
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(UsageError, match=str(port)):
            async with serve(SandboxOrg(), port=port):
                pytest.fail("it must not listen")


async def test_it_speaks_tls() -> None:
    authority = trustme.CA()
    server, client = (ssl.SSLContext(side) for side in (SERVER_SIDE, CLIENT_SIDE))
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with serve(SandboxOrg(), ssl=server) as served, aiohttp.ClientSession() as session:
        assert served.url.startswith("https://127.0.0.1:")
        async with session.get(f"{served.url}/.well-known/okta-organization", ssl=client) as reply:
            assert (await reply.json())["_links"] == {"organization": {"href": served.url}}


async def test_two_orgs_can_be_served_side_by_side_from_one_task() -> None:
    first, second = SandboxOrg(seed=1), SandboxOrg(seed=2)
    async with opened(first, limits=PLENTY) as one, opened(second, limits=PLENTY) as two:
        assert one.url != two.url
        assert (await two.get("/api/v1/apps")).json() == []
    assert first.token != second.token
