"""`okta-keys doctor`: it names exactly what is missing, and writes nothing to the org."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
from aiohttp import web

from orchestrator.sandbox.limits import LimitSettings, Rival
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.disks import disk, make_read_only, may_mount
from tests.cli.forked import okta_keys_forked
from tests.cli.program import Ended
from tests.unit.okta.service_site import ec_key, pem_of, public_jwk_of

LINES = ["versions", "state", "settings", "reach", "tls", "org", "clock", "credential"]
LINES += ["scopes", "role", "limits"]
READ, MANAGE = "okta.apps.read", "okta.apps.manage"
ROTATION = """version: 1
name: rotation
jobs:
  - name: job
    source: {{app: {source}, key: {kid}}}
    targets: [0oa8ae0dv4RGQvjyZ0h7]
    activate: {{}}
"""
IDP = """version: 1
name: idps
jobs:
  - name: job
    resource: idp
    source: {{idp: {source}, key: newest}}
    targets: [0oa8ae0dv4RGQvjyZ0h7]
"""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the doctor said."""

    code: int
    checks: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Mapping[str, str]]

    def the(self, check: str) -> tuple[str, str, str]:
        found = self.checks[check]
        return found["grade"], found["text"], found["remedy"] or ""

    @property
    def failing(self) -> list[str]:
        return [name for name, found in self.checks.items() if found["grade"] == "fail"]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """An org, and the settings with which the doctor is called."""

    org: SandboxOrg
    env: dict[str, str]
    folder: Path
    key: str = field(default_factory=lambda: pem_of(ec_key()))

    def as_service_app(
        self,
        asked: str = f"{READ},{MANAGE}",
        granted: Sequence[str] = (READ, MANAGE),
        *,
        has_role: bool = True,
        requires_dpop: bool = False,
    ) -> None:
        """Let the settings name a service app that the org knows."""
        key = public_jwk_of(ec_key())
        client = self.org.add_service_app(
            public_keys=[key], scopes=granted, has_role=has_role, requires_dpop=requires_dpop
        )
        path = self.folder / "key.pem"
        path.write_text(self.key)
        path.chmod(0o600)
        del self.env["OKTA_CLIENT_TOKEN"]
        self.env.update(
            OKTA_CLIENT_AUTHORIZATIONMODE="PrivateKey",
            OKTA_CLIENT_CLIENTID=client.client_id,
            OKTA_CLIENT_PRIVATEKEY=str(path),
            OKTA_CLIENT_SCOPES=asked,
        )

    async def keys(self, *arguments: object) -> Ended:
        ended = await okta_keys_forked("doctor", *arguments, env=self.env, cwd=self.folder)
        assert "Traceback" not in ended.err, ended.err
        return ended

    async def seen(self, *arguments: object) -> Diagnosis:
        """Call the doctor, and read what it says for programs."""
        ended = await self.keys(*arguments, "--json")
        assert ended.err == ""
        document = json.loads(ended.out)
        assert document["exit_code"] == ended.code
        return Diagnosis(
            code=ended.code,
            checks={check["check"]: check for check in document["checks"]},
            settings={setting["name"]: setting for setting in document["settings"]},
        )


@asynccontextmanager
async def patient_in(folder: Path, **limits: Any) -> AsyncIterator[Patient]:
    org = SandboxOrg(seed=5)
    org.add_app(label="an app")
    async with serve(org, limits=LimitSettings(**limits)) as where:
        env = {
            "OKTA_CLIENT_ORGURL": where.url,
            "OKTA_CLIENT_TOKEN": org.token,
            "OKTA_KEYS_STATE": str(folder / "state"),
        }
        patient = Patient(org=org, env=env, folder=folder)
        yield patient
    assert {call.method for call in org.log if not call.template.startswith("/oauth2")} <= {"GET"}
    assert not any(call.effect for call in org.log)


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    async with patient_in(tmp_path) as found:
        yield found


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_all_is_well(patient: Patient) -> None:
    seen = await patient.seen()
    assert seen.code == 0
    assert list(seen.checks) == LINES
    assert {found["grade"] for found in seen.checks.values()} == {"ok"}
    assert seen.settings["url"]["source"] == "environment OKTA_CLIENT_ORGURL"
    assert patient.org.token not in json.dumps(seen.checks)
    facts = seen.checks["limits"]["facts"]
    assert facts["/api/v1/apps"].items() >= {"limit": 50, "ours": 45}.items()
    assert facts["principal_percentages"] == [50]
    assert not (patient.folder / "state").exists(), "what is missing is not created"


async def test_what_people_are_told(patient: Patient) -> None:
    ended = await patient.keys()
    assert ended.out == ""
    assert all(f"\n{'ok':9}{name} " in f"\n{ended.err}" for name in LINES)
    patient.org.token_role = "none"
    patient.env["COLUMNS"] = "60"
    ended = await patient.keys()
    assert f"\n{'fail':9}role" in ended.err
    assert "hint: the admin who made" in ended.err
    assert max(map(len, ended.err.splitlines())) <= 60
    patient.env["OKTA_CLIENT_ORGURL"] = "https://acme-admin.okta.com"
    ended = await patient.keys()
    assert ended.err.count("skipped") == 1


async def test_a_wrong_address(patient: Patient) -> None:
    patient.env["OKTA_CLIENT_ORGURL"] = f"http://127.0.0.1:{closed_port()}"
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (1, ["reach"])
    assert "no connection: nothing listens on that port" in seen.the("reach")[1]
    assert "are the address and the network right?" in seen.the("reach")[2]
    assert seen.the("credential")[0] == "skipped"


@pytest.mark.parametrize("status", [200, 404])
async def test_an_address_of_something_else(patient: Patient, status: int) -> None:
    async def hello(request: web.BaseRequest) -> web.Response:
        assert "Authorization" not in request.headers
        return web.json_response({"hello": "world"}, status=status)

    runner = web.ServerRunner(web.Server(hello))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    patient.env["OKTA_CLIENT_ORGURL"] = f"http://127.0.0.1:{port}"
    seen = await patient.seen()
    await runner.cleanup()
    assert (seen.code, seen.failing) == (4, ["org"])
    assert "is not an Okta org" in seen.the("org")[1]
    assert "no credential is shown" in seen.the("credential")[1]


async def test_a_network_that_answers_in_place_of_the_org(patient: Patient) -> None:
    async def sign_in(_: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>sign in to our WiFi</html>", content_type="text/html")

    runner = web.ServerRunner(web.Server(sign_in))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = patient.env["OKTA_CLIENT_ORGURL"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    seen = await patient.seen()
    await runner.cleanup()
    assert (seen.code, seen.failing) == (1, ["reach"])
    assert "sign-in page of a network" in seen.the("reach")[2]
    assert f"{url}/.well-known/okta-organization" in seen.the("reach")[2]


async def test_the_address_of_the_admin_console(patient: Patient) -> None:
    patient.env["OKTA_CLIENT_ORGURL"] = "https://acme-admin.okta.com"
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (4, ["settings"])
    assert "drop -admin from the host\nvariable: OKTA_CLIENT_ORGURL" in seen.the("settings")[1]


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("urll: https://acme.okta.com", "did you mean `url`?"),
        ("url: https://acme.okta.com\n    ca_file: gone.pem", "ca_file: "),
        ("url: https://acme.okta.com\n    client_cert: empty", "client certificate or its key"),
    ],
)
async def test_a_wrong_configuration_is_a_matter_of_settings(
    patient: Patient, profile: str, said: str
) -> None:
    del patient.env["OKTA_CLIENT_ORGURL"]
    config = patient.folder / "config.yaml"
    (patient.folder / "empty").write_text("nothing\n")
    (patient.folder / "empty").chmod(0o600)
    config.write_text(f"profiles:\n  acme:\n    {profile}\n")
    seen = await patient.seen("--config", config, "--profile", "acme")
    assert (seen.code, seen.failing) == (4, ["settings"])
    assert said in seen.the("settings")[1]


async def test_a_token_that_has_ended(patient: Patient) -> None:
    patient.org.token_expired = True
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["credential"])
    assert "E0000011" in seen.the("credential")[1]
    assert "create a new token" in seen.the("credential")[2]


async def test_a_scope_that_was_not_granted(patient: Patient) -> None:
    patient.as_service_app(granted=(READ,))
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["credential"])
    assert MANAGE in seen.the("credential")[1] + seen.the("credential")[2]
    assert "Okta API Scopes" in seen.the("credential")[2]


async def test_a_scope_that_was_not_asked_for(patient: Patient) -> None:
    patient.as_service_app(READ)
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["scopes"])
    assert seen.the("scopes")[1] == f"{MANAGE} is missing, to add keys to apps, and use them"
    assert seen.the("role")[0] == "ok"


async def test_a_scope_for_reading(patient: Patient) -> None:
    patient.as_service_app("okta.logs.read", granted=("okta.logs.read",))
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["scopes"])
    assert READ in seen.the("scopes")[1] or MANAGE in seen.the("scopes")[1]
    assert seen.the("credential")[0] == "ok"


@pytest.mark.parametrize("is_app", [False, True])
async def test_a_role_is_missing(patient: Patient, is_app: bool) -> None:
    if is_app:
        patient.as_service_app(has_role=False)
    patient.org.token_role = "none"
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["role"])
    assert "E0000006" in seen.the("role")[1]
    assert "Application Administrator" in seen.the("role")[2]


async def test_dpop_is_demanded(patient: Patient) -> None:
    patient.as_service_app(requires_dpop=True)
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (0, [])
    assert "with DPoP, which it demands (dpop: true" in seen.the("credential")[1]


async def test_a_bearer_token_that_is_bound_to_a_key(patient: Patient) -> None:
    patient.as_service_app(requires_dpop=True)
    app = patient.org.service_apps[patient.env.pop("OKTA_CLIENT_CLIENTID")]
    issued = patient.org.issue_token(
        app, (READ, MANAGE), thumbprint="of-a-key-elsewhere", now=patient.org.epoch()
    )
    for name in ("AUTHORIZATIONMODE", "PRIVATEKEY", "SCOPES"):
        del patient.env[f"OKTA_CLIENT_{name}"]
    patient.env.update(OKTA_CLIENT_AUTHORIZATIONMODE="Bearer", OKTA_CLIENT_TOKEN=issued)
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (5, ["credential"])
    assert "DPoP" in seen.the("credential")[1] + seen.the("credential")[2]


@pytest.mark.parametrize(("skew", "side"), [(600, "behind"), (-600, "ahead of")])
async def test_a_clock_ten_minutes_off(patient: Patient, skew: int, side: str) -> None:
    patient.as_service_app()
    patient.org.skew_seconds = skew
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (0, [])
    assert seen.the("clock")[:2] == ("warn", f"this machine's clock is 10 minutes {side} the org's")
    assert "NTP" in seen.the("clock")[2]


async def test_a_proxy_that_is_down(patient: Patient) -> None:
    port = closed_port()
    config = patient.folder / "config.yaml"
    config.write_text(
        "profiles:\n  acme:\n"
        f"    url: {patient.env['OKTA_CLIENT_ORGURL']}\n    proxy: http://127.0.0.1:{port}\n"
    )
    seen = await patient.seen("--config", config, "--profile", "acme")
    assert (seen.code, seen.failing) == (1, ["reach"])
    assert f"the proxy 127.0.0.1:{port} cannot be reached" in seen.the("reach")[1]
    assert "is the proxy the right one" in seen.the("reach")[2]
    assert seen.settings["proxy"]["value"] == f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not may_mount(), reason="needs to mount a disk")
async def test_a_state_that_can_only_be_read(patient: Patient) -> None:
    with disk(patient.folder / "disk") as mounted:
        make_read_only(mounted)
        patient.env["OKTA_KEYS_STATE"] = str(mounted / "state")
        seen = await patient.seen()
    assert (seen.code, seen.failing) == (4, ["state"])
    assert seen.the("state")[1] == "the disk is read-only"
    assert "--state" in seen.the("state")[2]
    assert seen.the("credential")[0] == "ok", "the rest is looked at all the same"


async def test_a_setting_that_a_run_stumbles_over(patient: Patient) -> None:
    patient.env["OKTA_KEYS_KEEP_DAYS"] = "a while"
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (4, ["settings"])


async def test_a_state_where_a_file_is(patient: Patient) -> None:
    file = patient.folder / "file"
    file.touch()
    patient.env["OKTA_KEYS_STATE"] = str(file)
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (4, ["state"])
    link = patient.folder / "link"
    link.symlink_to(patient.folder / "gone")
    patient.env["OKTA_KEYS_STATE"] = str(link)
    seen = await patient.seen()
    assert (seen.code, seen.failing) == (4, ["state"])


@pytest.mark.parametrize(
    ("key", "mode", "said"),
    [
        (None, 0o600, "PRIVATEKEY"),
        ("not a key", 0o600, "cannot be read"),
        (pem_of(ec_key(), passphrase="open"), 0o600, "it is encrypted"),
        (pem_of(ec_key()), 0o644, "chmod 600"),
    ],
)
async def test_a_key_that_cannot_be_read(
    patient: Patient, key: str | None, mode: int, said: str
) -> None:
    patient.as_service_app()
    path = patient.folder / "key.pem"
    if key is None:
        path.unlink()
    else:
        path.write_text(key)
        path.chmod(mode)
    seen = await patient.seen()
    assert seen.code == 4
    [check] = seen.failing
    assert said in seen.the(check)[1] + seen.the(check)[2] + str(seen.checks[check]["facts"])
    assert seen.the("limits")[0] == "skipped"


async def test_what_a_plan_needs_is_looked_at(patient: Patient) -> None:
    source = patient.org.add_app(label="source")
    kid = patient.org.add_key(source.id)
    plan = patient.folder / "plan.yaml"
    plan.write_text(ROTATION.format(source=source.id, kid=kid))
    seen = await patient.seen(plan)
    assert seen.code == 0
    assert seen.the("source")[:2] == ("ok", f"the source {source.id} has the key {kid}")
    assert seen.the("log")[0] == "ok"
    assert seen.the("plan")[:2] == ("ok", "1 job, 1 target")
    assert seen.the("reports")[:2] == ("ok", "reports can be written")
    assert not (patient.folder / "reports").exists()
    plan.write_text(ROTATION.format(source="0oa8ae0dv4RGQvjyZ0h8", kid=kid))
    patient.org.log_readable = False
    seen = await patient.seen(plan)
    assert (seen.code, seen.failing) == (1, ["source"])
    assert "0oa8ae0dv4RGQvjyZ0h8" in seen.the("source")[1]
    assert "inventory" in seen.the("source")[2]
    assert seen.the("log")[0] == "warn", "a run does without it"


async def test_what_would_end_a_run_of_the_plan_in_the_middle(patient: Patient) -> None:
    source = patient.org.add_app(label="source")
    kid = patient.org.add_key(source.id)
    plan = patient.folder / "plan.yaml"
    script = patient.folder / "upload.sh"
    plan.write_text(
        ROTATION.format(source=source.id, kid=kid)
        + "hooks:\n  - {on: target_staged, run: [./upload.sh]}\n  - {on: run_failed, run: [true]}\n"
        + "report: {dir: plan.yaml/reports}\n"
    )
    url = patient.env["OKTA_CLIENT_ORGURL"]
    (patient.folder / "okta-keys.yaml").write_text(
        f"profiles: {{acme: {{url: '{url}', protected: [0oa8ae0dv4RGQvjyZ0h7]}}}}\n"
    )
    seen = await patient.seen(plan)
    assert (seen.code, seen.failing) == (1, ["reports", "commands", "plan"])
    assert "no report can be written to plan.yaml/reports" in seen.the("reports")[1]
    assert seen.the("commands")[1].startswith(f"{script}: there is no such program")
    assert "0oa8ae0dv4RGQvjyZ0h7" in seen.the("plan")[1]
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    seen = await patient.seen(plan)
    assert seen.the("commands")[:2] == ("ok", f"{script}, true can be run")


async def test_a_plan_that_is_wrong_is_told_with_its_places(patient: Patient) -> None:
    plan = patient.folder / "plan.yaml"
    text = ROTATION.format(source="0oa8ae0dv4RGQvjyZ0h8", kid="k" * 43)
    plan.write_text(text.replace("[0oa8ae0dv4RGQvjyZ0h7]", "[{file: gone.csv}]"))
    ended = await patient.keys(plan)
    assert ended.code == 4
    assert "plan.yaml:6:22: jobs[0].targets[0].file" in ended.err


async def test_what_a_plan_for_identity_providers_needs(patient: Patient) -> None:
    patient.as_service_app()
    source = patient.org.add_idp(name="source")
    plan = patient.folder / "plan.yaml"
    plan.write_text(IDP.format(source=source.id))
    seen = await patient.seen(plan)
    assert seen.code == 5
    assert "okta.idps.read is missing" in seen.the("scopes")[1]
    assert "idps" in seen.failing


async def test_who_may_only_see_to_identity_providers_needs_nothing_of_apps(
    patient: Patient,
) -> None:
    scopes = ("okta.idps.manage", "okta.idps.read")
    patient.as_service_app(",".join(scopes), granted=scopes)
    plan = patient.folder / "plan.yaml"
    plan.write_text(IDP.format(source=patient.org.add_idp(name="source").id))
    seen = await patient.seen(plan)
    assert (seen.code, seen.failing) == (0, [])
    assert seen.the("role")[1].startswith("identity providers may be read")
    assert seen.the("limits")[1].startswith("600 calls a minute for keys")
    assert seen.the("idps")[0] == "ok"
    assert [call.template for call in patient.org.log].count("/api/v1/idps") == 1


async def test_a_second_handshake_that_breaks_off_is_no_mistake_of_the_program(
    patient: Patient, tmp_path: Path
) -> None:
    """As behind a balancer whose other half is down: calls are answered, more or less."""
    authority, ca_file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=answer_first, args=(listener, context), daemon=True).start()
        patient.env["OKTA_CLIENT_ORGURL"] = f"https://localhost:{listener.getsockname()[1]}"
        patient.env["SSL_CERT_FILE"] = str(ca_file)
        seen = await patient.seen()
        listener.shutdown(socket.SHUT_RDWR)
    grade, text, _ = seen.the("tls")
    assert grade == "warn"
    assert text.startswith("a second handshake did not come about: ")
    assert seen.the("org")[0] == "ok"


def answer_first(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Answer on the first connection, and close every other one before its handshake."""
    body = b'{"id": "00o1"}'
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with suppress(OSError):
        talk, _ = listener.accept()
        with context.wrap_socket(talk, server_side=True) as first:
            first.recv(65536)
            first.sendall(answer + body)
        while True:
            other, _ = listener.accept()
            other.recv(65536)
            other.shutdown(socket.SHUT_RDWR)
            other.close()


async def test_a_bucket_that_others_use(tmp_path: Path) -> None:
    rival = Rival(share=1.0, burst=20)
    async with patient_in(tmp_path, rival=rival) as patient:
        seen = await patient.seen()
    assert seen.the("limits")[0] == "warn"
    assert "of these are in use now" in seen.the("limits")[1]


async def test_a_sandbox_has_nothing_to_complain_of(patient: Patient) -> None:
    seen = await patient.seen("--sandbox")
    assert seen.code == 0
    assert seen.the("settings")[1] == "a sandbox in this process"
