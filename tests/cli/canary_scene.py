"""A whole life of the program with a secret that it must not tell, and all that is left of it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

import anyio

from orchestrator.cli.wiring import seed_apps
from orchestrator.plan.load import load_plan
from orchestrator.plan.targets import resolve
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.canary import canary, files_in, jwts, leaks
from tests.cli.forked import okta_keys_forked
from tests.cli.program import Ended, environment, okta_keys
from tests.cli.rollout_site import SIX, rollout_plan

HOOK = """\
#!/bin/sh
# Tell all that a hook gets to know, of itself and of the program that runs it.
{
  env; cat; echo
  for pid in $$ $PPID; do tr '\\0' '\\n' < /proc/$pid/cmdline; grep core /proc/$pid/limits; done
} > "$OUT.$$"
echo "a hook has run"
"""
MOMENTS = ("target_staged", "wave_ready", "target_activated", "run_failed", "run_finished")
FORMATS = ("json", "html", "csv", "junit", "markdown")
TARGETS = SIX[:3]
FAILING = TARGETS[2]

# What no boundary of the program expects, with the credential in its text, and logged before that.
# The first argument says whose: that of a call, or of a request for an access token.
CRASH = """\
import logging, sys
import aiohttp
from orchestrator.cli.main import main_and_exit

place = sys.argv.pop(1)
request = aiohttp.ClientSession._request

async def fail(session, method, url, **given):
    body = given["data"].getvalue() if given.get("data") else b""
    told = {"call": "Authorization" in given["headers"], "token": b"assertion" in body}
    if not told[place]:
        return await request(session, method, url, **given)
    logging.getLogger("aiohttp.client").debug("sending %r, %r", given, body)
    raise RuntimeError(f"planted: {given} {body!r}")

aiohttp.ClientSession._request = fail
main_and_exit()
"""


@dataclass
class Scene:
    """An org, a folder with all that the program writes, and what must not be told."""

    org: SandboxOrg
    url: str
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)  # files in which secrets belong
    env: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, bytes] = field(default_factory=dict)
    is_real: bool = False  # `run` is a program of its own from the first import on
    hidden: str | None = None  # the secret that the program gets in this scene

    @property
    def plan(self) -> Path:
        return self.folder / "plan.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def secret(self, name: str, value: str | None = None) -> str:
        """Return a secret, a new one by default, which must not be told from now on."""
        self.secrets[name] = value or canary()
        return self.secrets[name]

    def source(self, name: str, text: str, *, mode: int = 0o600) -> Path:
        """Write a file in which a secret belongs, outside of all that the program writes."""
        path = self.folder.parent / f"{self.folder.name}-sources" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def profile(self, auth: str, more: str = "") -> None:
        """Write a configuration whose only profile is of the org."""
        path = self.source(
            "config.yaml",
            f"profiles:\n  acme:\n    url: {self.url}\n    auth: {auth}\n{more}",
        )
        self.env["OKTA_KEYS_CONFIG"] = str(path)

    def file_of_the_sdks(self, client: str) -> None:
        """Write the user's file of Okta's SDKs; `client` is what it says of the client."""
        path = self.home / ".okta" / "okta.yaml"
        self.sources.append(path)
        path.parent.mkdir(mode=0o700)
        path.touch(mode=0o600)
        path.write_text(f"okta:\n  client:\n{client}")

    def write_plan(self, *, hook_env: Sequence[str] = ()) -> None:
        hooks = "".join(
            f"  - {{on: {moment}, run: [./hook.sh], env: [OUT, {', '.join(hook_env)}]}}\n"
            for moment in MOMENTS
        )
        report = f"report: {{formats: [{', '.join(FORMATS)}], handoff: metadata}}"
        org = "org: acme\n" if "OKTA_KEYS_CONFIG" in self.env else ""
        self.plan.write_text(rollout_plan(TARGETS, top=f"{org}hooks:\n{hooks}{report}"))

    async def keys(self, *arguments: object, env: Mapping[str, str] | None = None) -> Ended:
        """Run a command, and keep what it says."""
        given = self.env | dict(env or {})
        if self.is_real and arguments[0] == "run":
            ended = await okta_keys(*arguments, env=given, cwd=self.folder)
        else:
            ended = await okta_keys_forked(*arguments, env=given, cwd=self.folder)
        return self.keep(" ".join(map(str, arguments)), ended)

    def keep(self, name: str, ended: Ended) -> Ended:
        name = f"{len(self.evidence)} {name}"
        self.evidence |= {
            f"{name}: stdout": ended.out.encode(),
            f"{name}: stderr": ended.err.encode(),
        }
        return ended

    async def crash(self, place: str, *arguments: object) -> Ended:
        """Run a command in which something happens that nobody expects."""
        argv = [sys.executable, "-c", CRASH, place, *map(str, arguments)]
        with anyio.fail_after(60):
            done = await anyio.run_process(
                argv, env=environment(self.env), cwd=self.folder, check=False
            )
        ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert ended.code == 1, ended.err
        assert "planted" in ended.err, "the crash was told"
        assert "RuntimeError" in ended.err
        assert "[secret]" in ended.err, "there was a secret in it"
        return self.keep(f"crash of {arguments[0]}", ended)

    def told(self) -> list[str]:
        """Return where a secret is told, in all that was said and written."""
        evidence = self.evidence | files_in(self.folder, but=self.sources)
        self.secrets |= {
            f"access token {number}": token for number, token in enumerate(self.org.issued_tokens)
        }
        return leaks(evidence, self.secrets) + [f"a JWT in {place}" for place in jwts(evidence)]


@asynccontextmanager
async def scene(
    folder: Path, *faults: Fault, ssl: SSLContext | None = None, is_real: bool = False
) -> AsyncIterator[Scene]:
    """Serve an org with the apps of the plan; the folder is what the program calls its own."""
    folder = folder / "work"
    folder.mkdir(mode=0o700)
    for name in ("home", "tmp", "state", "hooks"):
        (folder / name).mkdir(mode=0o700)
    hook = folder / "hook.sh"
    hook.write_text(HOOK)
    hook.chmod(0o700)
    org = SandboxOrg(seed=1)
    (folder / "seed.yaml").write_text(rollout_plan(TARGETS))
    seed_apps(org, resolve(load_plan(folder / "seed.yaml")))
    limits, script = LimitSettings(enabled=False), FaultScript.of(list(faults))
    async with serve(org, limits=limits, faults=script, ssl=ssl) as served:
        made = Scene(org, served.url, folder, is_real=is_real)
        made.env |= {
            "HOME": str(made.home),
            "TMPDIR": str(folder / "tmp"),
            "XDG_STATE_HOME": str(made.home / "state"),
            "XDG_CONFIG_HOME": str(made.home / "config"),
            "OKTA_KEYS_STATE": str(folder / "state"),
            "OUT": str(folder / "hooks" / "told"),
            "PATH": os.environ["PATH"],
        }
        yield made
