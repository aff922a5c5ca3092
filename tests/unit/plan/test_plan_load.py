"""From a file to a plan: what is opened, what it becomes, and what a message never shows."""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import traceback
from pathlib import Path

import pytest

from orchestrator.errors import PlanError
from orchestrator.model import Resource, Verify
from orchestrator.plan.fields import Share
from orchestrator.plan.load import MAX_BYTES, load_plan, load_plan_text
from orchestrator.plan.refusal import MOST_LISTED
from orchestrator.plan.schema import InlineOrg, Limits, Plan
from orchestrator.plan.selectors import SelectorSpec
from orchestrator.plan.tree import Quoted
from orchestrator.rollout import HookMoment

SOURCE = "0oa8ae1t5yev2ajDs0h7"
KID = "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI"
TARGET = "0oa8ae0dv4RGQvjyZ0h7"
JOB = f"jobs: [{{name: one, source: {{app: {SOURCE}, key: {KID}}}, targets: [{TARGET}]}}]\n"
SMALL = f"version: 1\nname: small\n{JOB}"
TOKEN = "00Abc-hunter2-hunter2"


def load(text: str | bytes) -> Plan:
    data = text.encode() if isinstance(text, str) else text
    return load_plan_text(data, file="plan.yaml", folder=Path())


def refusal_of(text: str | bytes) -> PlanError:
    with pytest.raises(PlanError) as caught:
        load(text)
    return caught.value


def test_a_whole_plan() -> None:
    plan = load(
        f"""\
version: 1
name: whole
org: {{url: https://acme.okta.com/, auth: {{token: env:TOKEN}}}}
jobs:
  - name: one
    resource: app
    source: {{app: '{SOURCE}', key: "{KID}"}}
    targets: [{TARGET}, {{file: more.csv}}]
    exclude: [{{file: less.csv}}]
    allow_oidc: false
    activate:
      gate: {{after: 14d, window: "Sat 02:00-06:00 UTC", acknowledged: true}}
      waves: [1, 100%]
    verify: read_back
    cross_check: true
limits:
  workers: 8
  capacity: 50%
  deadline: 2h
  max_targets: 1000
  max_changes: 30
  stop_after_failures: 5%
hooks: [{{on: run_failed, run: [mail]}}]
report: {{dir: out, formats: [csv], handoff: metadata}}
"""
    )
    assert isinstance(plan.org, InlineOrg)
    assert (plan.org.url, str(plan.org.auth.token)) == ("https://acme.okta.com", "env:TOKEN")
    job = plan.jobs[0]
    assert (job.source.app, job.source.key) == (SOURCE, KID)
    assert not isinstance(job.source.app, Quoted)
    assert not isinstance(job.source.key, Quoted)
    assert job.targets == (TARGET, SelectorSpec(file="more.csv"))
    assert plan.limits.model_dump() == {
        "workers": 8,
        "capacity": 0.5,
        "deadline": 7200.0,
        "max_targets": 1000,
        "max_changes": 30,
        "stop_after_failures": 0.05,
    }
    assert isinstance(plan.limits.stop_after_failures, Share)
    assert (job.resource, job.verify, job.allow_oidc, job.cross_check) == (
        Resource.APP,
        Verify.READ_BACK,
        False,
        True,
    )
    assert job.activate is not None
    assert (job.activate.waves, job.activate.gate.acknowledged) == ((1, 1.0), True)
    assert [(hook.on, hook.run) for hook in plan.hooks] == [(HookMoment.RUN_FAILED, ("mail",))]
    assert plan.report.formats == ("csv",)


def test_what_is_absent() -> None:
    plan = load(SMALL)
    assert plan.org is None
    assert plan.limits == Limits()
    assert (plan.limits.workers, plan.limits.capacity) == ("auto", 0.9)
    assert (plan.report.dir, plan.report.formats) == ("reports", ("json", "csv"))


@pytest.mark.parametrize("org", ["{}", "{url: https://acme.okta.com}", "{auth: {token: env:T}}"])
def test_a_partial_org(org: str) -> None:
    assert load(f"{SMALL}org: {org}\n").org is not None


def test_digest_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(SMALL)
    plan = load_plan(path)
    assert plan.digest == hashlib.sha256(SMALL.encode()).hexdigest()
    assert plan.folder == tmp_path


def test_the_origin_is_no_field_of_the_file() -> None:
    error = refusal_of(f"{SMALL}digest: x\nfolder: y\norigin: z\n_origin: z\n")
    assert [problem.path for problem in error.problems] == ["digest", "folder", "origin", "_origin"]


def test_a_byte_order_mark_and_carriage_returns_are_fine() -> None:
    plan = load(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert plan.name == "small"


def test_a_small_alias_stands_for_its_value() -> None:
    two = f"{SMALL.replace('[' + TARGET, '&all [' + TARGET)}"
    plan = load(
        two.replace(
            "]}]", f"]}}, {{name: two, source: {{app: {TARGET}, key: {KID}}}, targets: *all}}]"
        )
    )
    assert plan.jobs[0].targets == plan.jobs[1].targets


def test_a_plan_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(SMALL).limits.workers = 3  # type: ignore[misc] # that is the test


def test_problems_are_listed_by_place_and_the_rest_counted() -> None:
    bad = ", ".join(f"id{number}" for number in range(250))
    error = refusal_of(SMALL.replace(TARGET, bad))
    assert len(error.problems) == MOST_LISTED
    assert error.hidden == 150
    places = [(problem.line, problem.column) for problem in error.problems]
    assert places == sorted(places)


def test_a_problem_shared_by_an_alias_is_said_for_both_paths() -> None:
    error = refusal_of("version: 1\nname: x\njobs: [&j {name: one}, *j]\n")
    assert {problem.path for problem in error.problems} >= {"jobs[0].targets", "jobs[1].targets"}


def test_gc_is_left_as_it_was() -> None:
    refusal_of("version: [")
    assert gc.isenabled()
    gc.disable()
    try:
        load(SMALL)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "org",
    [
        f"auth: {{token: {TOKEN}}}",
        f"auth: {{token: [{TOKEN}]}}",
        f"auth: {{token: {{{TOKEN}: 1}}}}",
        f"auth: {{{TOKEN}: token}}",
        f"auth: {{{TOKEN}: 1, {TOKEN}: 2}}",
        f"auth: {{token: !{TOKEN} x}}",
        f"auth: {{token: *{TOKEN}}}",
        f"auth: {{tokn: {TOKEN}}}",
        f"auth: {{private_key: {TOKEN}}}",
        f"auth: {{private_key: env:A, client_id: '-{TOKEN}'}}",
        f"auth: {{private_key: env:A, client_id: abcdef, key_id: '{TOKEN} '}}",
        f"auth: {{private_key: env:A, client_id: abcdef, scopes: [{TOKEN}]}}",
        f"auth: {{private_key: env:A, client_id: abcdef, scopes: {TOKEN}}}",
        f"auth: {{private_key: env:A, client_id: abcdef, dpop: {TOKEN}}}",
        f"auth: {{token: env:A, private_key: {TOKEN}}}",
        f"auth: {{token: {{{TOKEN}: 1, {TOKEN}: 2}}}}",
        f"auth: {{token: {{cmd: {TOKEN}}}}}",
        f"auth: {{token: {{cmd: [[{TOKEN}]]}}}}",
        f"auth: {{token: {{cmd: [a], env: [{TOKEN}]}}}}",
        f"auth: {{token: {{cmd: [a], env: {TOKEN}}}}}",
        f"auth: {{token: {{cmd: [a], {TOKEN}: b}}}}",
        f"auth: {{token: 'cmd: {TOKEN}'}}",
        f"auth: {{token: 'cmd:[{TOKEN}'}}",
        f"auth: {{token: 'env:{TOKEN}'}}",
        f"auth: {{token: 'keyring:{TOKEN}'}}",
        f"auth: {{token: 'file://{TOKEN}'}}",
        f"auth: {{token: 'fil:{TOKEN}'}}",
        f"auth: {TOKEN}",
        f"auth: [{TOKEN}]",
        f"{{auth: {{token: {TOKEN}",
        f'auth: {{token: "{TOKEN}',
        f"token: {TOKEN}",
        f"api_token: {TOKEN}",
        f"url: https://{TOKEN}@acme.okta.com",
        f"url: https://acme.okta.com?token={TOKEN}",
        f"url: {TOKEN}",
    ],
)
def test_no_message_shows_a_secret(org: str) -> None:
    for text in (f"{SMALL}org:\n  {org}\n", f"{SMALL}org: {{{org}}}\n"):
        error = refusal_of(text)
        shown = "".join(traceback.format_exception(error))
        assert "hunter2" not in shown + error.diagnostics() + repr(error.problems)
        assert error.__cause__ is error.__context__ is None


def test_an_org_as_text_may_be_a_secret() -> None:
    assert "hunter2" not in refusal_of(f"{SMALL}org: {TOKEN}\n").diagnostics()


@pytest.mark.parametrize("key", ["token", "password", "client_secret", "private_key", "colour"])
def test_the_value_of_an_unknown_key_is_never_shown(key: str) -> None:
    assert "hunter2" not in refusal_of(f"{SMALL}{key}: {TOKEN}\n").diagnostics()


def message_of(path: Path) -> str:
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    [problem] = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (1, 1, "")
    return problem.message


def test_a_missing_file(tmp_path: Path) -> None:
    assert "there is no such file" in message_of(tmp_path / "none.yaml")


def test_a_directory(tmp_path: Path) -> None:
    assert "it is a directory" in message_of(tmp_path)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "it is a named pipe" in message_of(path)


def test_a_device() -> None:
    assert "it is a device" in message_of(Path("/dev/zero"))


def test_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert "it is a socket" in message_of(tmp_path / "s")


def test_a_path_that_cannot_be() -> None:
    assert "cannot be read" in message_of(Path("a\0b"))
    assert "cannot be read" in message_of(Path("a" * 5000))


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    assert "larger than 64 MiB" in message_of(path)
