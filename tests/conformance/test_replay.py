"""Recorded calls on identity providers, made again: the sandbox answers as the real org did."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.conformance.reference import WIRE, Recorded, recorded_exchanges

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason="no recorded exchanges")

FILES = ("clone_idp_signing_key", "generate_get_idp_signing_key", "list_idp_signing_keys")


def exchanges_of(file: str) -> list[Recorded]:
    return [exchange for exchange in recorded_exchanges() if exchange.file == file]


def org_of(exchanges: list[Recorded]) -> SandboxOrg:
    """Return an org with the IdPs that the recording created, as it created them."""
    org = SandboxOrg()
    for exchange in exchanges:
        if exchange.method == "POST" and exchange.url.path == "/api/v1/idps":
            org.add_idp(document=exchange.document)
    return org


def shape_of(value: Any) -> Any:
    """Return the names and types in a JSON value."""
    if isinstance(value, dict):
        return [(name, shape_of(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [shape_of(inner) for inner in value]
    return type(value).__name__


@pytest.mark.parametrize("file", FILES)
async def test_a_recording_is_answered_alike(file: str) -> None:
    exchanges = exchanges_of(file)
    org = org_of(exchanges)
    kids: dict[str, str] = {}  # of the recording -> of the sandbox
    headers = {"Authorization": f"SSWS {org.token}"}
    replayed = 0
    async with serve(org) as served, aiohttp.ClientSession(headers=headers) as session:
        for exchange in exchanges:
            if "/credentials/keys" not in exchange.url.path:
                continue
            target = exchange.target
            for theirs, ours in kids.items():
                target = target.replace(theirs, ours)
            async with session.request(exchange.method, served.url + target) as answer:
                body = await answer.json()
            replayed += 1
            assert answer.status == exchange.status, exchange
            assert shape_of(body) == shape_of(exchange.document), exchange
            if exchange.url.path.endswith("/generate"):
                kids[exchange.document["kid"]] = body["kid"]
            if exchange.status == 201:
                path = exchange.headers["Location"].partition("/api/")[2]
                for theirs, ours in kids.items():
                    path = path.replace(theirs, ours)
                assert answer.headers["Location"] == f"{served.url}/api/{path}"
            if isinstance(body, list):
                *made, own = [key["kid"] for key in exchange.document]
                assert own not in kids
                assert [key["kid"] for key in body][:-1] == [kids[kid] for kid in made]
    assert replayed >= 2
    assert kids


@pytest.mark.parametrize("file", FILES)
async def test_a_recorded_idp_is_shown_as_it_was(file: str) -> None:
    exchanges = exchanges_of(file)
    org = org_of(exchanges)
    headers = {"Authorization": f"SSWS {org.token}"}
    async with serve(org) as served, aiohttp.ClientSession(headers=headers) as session:
        for idp_id in org.idps:
            path = f"{served.url}/api/v1/idps/{idp_id}"
            recorded = next(e.document for e in exchanges if (e.document or {}).get("id") == idp_id)
            async with session.get(path) as answer:
                assert json.dumps(await answer.json()) == json.dumps(recorded)
            async with session.put(path, json=recorded) as answer:
                echo = await answer.json()
                assert echo == recorded | {"lastUpdated": echo["lastUpdated"]}
    assert org.collateral_changes() == 0
    assert org.idps
