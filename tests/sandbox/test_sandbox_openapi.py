"""Every answer fits Okta's OpenAPI document, where that document is at hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from orchestrator.sandbox.documents import CATALOG_NAMES
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.routes import ENDPOINTS
from tests.sandbox.originals import copy_of, holder, original
from tests.sandbox.peer import Reply, active_kid, app_path, keys_path, opened

DOCUMENT = Path(__file__).parents[3] / "shared" / "openapi" / "okta-keys.openapi.yaml"
PARAMETERS = {"/apps/{appId}/credentials/keys/{kid}": "/apps/{appId}/credentials/keys/{keyId}"}
CSR_VERBS = [("list", "s"), ("create", ""), ("get", ""), ("delete", ""), ("publish", "")]
MODES = [
    "AUTO_LOGIN",
    "BASIC_AUTH",
    "BOOKMARK",
    "BROWSER_PLUGIN",
    "OPENID_CONNECT",
    "SAML_1_1",
    "SAML_2_0",
    "SECURE_PASSWORD_STORE",
    "WS_FEDERATION",
]

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="Okta's document is not at hand")


@cache
def document() -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(DOCUMENT.read_text(), Loader=loader)  # noqa: S506 - both are safe loaders


@cache
def registry() -> Registry[Any]:
    resource = DRAFT4.create_resource(document())
    empty: Registry[Any] = Registry()
    filled: Registry[Any] = empty.with_resource("urn:okta", resource)
    return filled


def violations(schema: str, value: object) -> list[str]:
    """Return what is wrong with a value.

    Nulls are left out first: Okta's recorded apps hold nulls where its document allows none.
    """
    validator = OAS30Validator({"$ref": f"urn:okta#{schema}"}, registry=registry())
    return [error.message for error in validator.iter_errors(without_nulls(value))]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def schema_of(method: str, template: str, status: int) -> str:
    """Return the pointer to the schema of an answer, following the response's own reference."""
    path = template
    for ours, theirs in PARAMETERS.items():
        path = path.replace(ours, theirs)
    escaped = path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    response = document()["paths"][path][method.lower()]["responses"][str(status)]
    pointer = response.get("$ref", "#").removeprefix("#")
    base = pointer or f"/paths/{escaped}/{method.lower()}/responses/{status}"
    return f"{base}/content/application~1json/schema"


def check(reply: Reply, method: str, template: str) -> None:
    found = violations(schema_of(method, template, reply.status), reply.json())
    assert found == [], f"{method} {template} {reply.status}"


def test_the_validator_can_fail() -> None:
    assert violations("/components/schemas/JsonWebKey", {"x5c": "not a list"})
    assert violations("/components/schemas/Error", {"errorCauses": "none"})


async def test_answers_of_the_key_and_app_endpoints_fit() -> None:
    org = SandboxOrg()
    source, target = org.add_app(), org.add_app()
    kid = active_kid(source)
    missing = "0oaunknown"
    app, keys = "/api/v1/apps/{appId}", "/api/v1/apps/{appId}/credentials/keys"
    async with opened(org) as peer:
        check(await peer.get("/api/v1/apps"), "GET", "/api/v1/apps")
        full = await peer.get(app_path(source.id))
        check(full, "GET", app)
        check(await peer.get(app_path(missing)), "GET", app)
        check(await peer.put(app_path(source.id), full.json()), "PUT", app)
        check(await peer.put(app_path(source.id), {}), "PUT", app)
        check(await peer.put(app_path(missing), full.json()), "PUT", app)
        check(await peer.get(keys_path(source.id)), "GET", keys)
        check(await peer.get(keys_path(missing)), "GET", keys)
        check(await peer.get(f"{keys_path(source.id)}/{kid}"), "GET", f"{keys}/{{kid}}")
        check(await peer.get(f"{keys_path(target.id)}/{kid}"), "GET", f"{keys}/{{kid}}")
        for query in ("validityYears=3", "validityYears=1"):
            reply = await peer.post(f"{keys_path(source.id)}/generate?{query}")
            check(reply, "POST", f"{keys}/generate")
        clones = [await peer.clone(source, kid, each) for each in (target.id, target.id, missing)]
        for reply in clones:
            check(reply, "POST", f"{keys}/{{kid}}/clone")
    assert [reply.status for reply in clones] == [201, 400, 404]


async def test_injected_403_and_429_fit() -> None:
    org = SandboxOrg()
    app = org.add_app()
    faults = [Fault(kind="reject", status=403, times=1), Fault(kind="error", status=429)]
    keys = "/api/v1/apps/{appId}/credentials/keys"
    async with opened(org, faults=FaultScript.of(faults)) as peer:
        replies = [await peer.get(keys_path(app.id)) for _ in range(2)]
    assert [reply.status for reply in replies] == [403, 429]
    for reply in replies:
        check(reply, "GET", keys)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE"])
def test_an_app_of_every_sign_on_mode_fits_its_schema(mode: str, status: str) -> None:
    app = SandboxOrg().add_app(sign_on_mode=mode, status=status)
    mapping = document()["components"]["schemas"]["Application"]["discriminator"]["mapping"]
    assert violations(mapping[mode].removeprefix("#"), app.document()) == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_copied_app_of_every_sign_on_mode_fits_its_schema(mode: str) -> None:
    name = CATALOG_NAMES.get(mode, "amazon_aws")
    copied = [
        holder(1, "s" * 43, name=name, sign_on_mode=mode, other_keys=["k" * 43]),
        holder(2, None, name=name, sign_on_mode=mode, status="INACTIVE", last_updated=None),
    ]
    async with opened(copy_of(original(holders=copied))) as peer:
        listed = await peer.get("/api/v1/apps")
        check(listed, "GET", "/api/v1/apps")
        keys = await peer.get(keys_path(copied[0]["id"]))
        check(keys, "GET", "/api/v1/apps/{appId}/credentials/keys")
    mapping = document()["components"]["schemas"]["Application"]["discriminator"]["mapping"]
    assert [app["label"] for app in listed.json()] == ["App 1", "App 2"]
    for app in listed.json():
        assert violations(mapping[mode].removeprefix("#"), app) == []


async def test_a_copied_identity_provider_fits_its_schema() -> None:
    async with opened(copy_of(original())) as peer:
        listed = await peer.get("/api/v1/idps")
        check(listed, "GET", "/api/v1/idps")
    assert len(listed.json()) == 3


async def test_the_rate_limits_of_principals_fit() -> None:
    path = "/api/v1/principal-rate-limits"
    async with opened(SandboxOrg()) as peer:
        listed = await peer.get(path, query={"filter": 'principalType eq "SSWS_TOKEN"'})
        check(listed, "GET", path)
        check(await peer.get(path), "GET", path)
    assert len(listed.json()) == 1


def test_every_endpoint_that_the_document_knows_is_named_alike() -> None:
    known = document()["paths"]
    absent = []
    for endpoint in ENDPOINTS:
        path = endpoint.template
        for ours, theirs in PARAMETERS.items():
            path = path.replace(ours, theirs)
        if endpoint.method.lower() not in known.get(path, {}):
            absent.append(endpoint.name)
    of_idps = [f"{verb}_idp_csr{s}" for verb, s in CSR_VERBS]  # documented for apps alone
    assert absent == ["activate", "deactivate", *of_idps, "token", "organization"]
