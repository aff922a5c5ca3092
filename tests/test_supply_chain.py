"""What the project is built from is written down, with hashes, and the release has no loose end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / ".ci" / "lock"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
PINNED = re.compile(r"^[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
FOREIGN = re.compile(r"\$\{\{[^}]*\b(github\.(event|head_ref)|inputs|steps|needs)\b")


@cache
def script(name: str) -> ModuleType:
    """Import a script of `.ci`, which is no package."""
    spec = spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def lock(name: str) -> list[Any]:
    pins: list[Any] = script("sbom").pins_of((LOCKS / f"{name}.txt").read_text())
    return pins


ENVIRONMENTS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.2",
        "sys_platform": system,
        "platform_system": name,
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }
    for python in PYTHONS
    for system, name in SYSTEMS.items()
]


def holding(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that a lock file gives a machine; each package once."""
    found: dict[str, str] = {}
    for pin in lock(name):
        marker = Requirement(f"{pin.name}; {pin.marker}").marker if pin.marker else None
        if marker is None or marker.evaluate(dict(environment)):
            assert pin.name not in found, (pin.name, environment)
            found[pin.name] = pin.version
    return found


def disagreements(wanted: list[str], name: str) -> list[str]:
    """Return what is asked for and not in the lock file, or in another version."""
    wrong = []
    for environment in ENVIRONMENTS:
        held = holding(name, environment)
        for text in wanted:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            version = held.get(canonicalize_name(requirement.name))
            if version is None or version not in requirement.specifier:
                wrong.append(f"{text} has {version} on Python {environment['python_version']}")
    return wrong


def asked(name: str) -> list[str]:
    """Return what pyproject.toml asks for that belongs into a lock file."""
    extras = PROJECT["project"]["optional-dependencies"]
    by_lock: dict[str, list[str]] = {
        "run": PROJECT["project"]["dependencies"],
        "dev": PROJECT["project"]["dependencies"] + extras["dev"] + extras["keyring"],
        "fuzz": extras["fuzz"],
        "build": PROJECT["build-system"]["requires"],
    }
    return by_lock[name]


@pytest.mark.parametrize("name", ["run", "dev", "fuzz", "build"])
def test_the_locks_hold_what_the_project_asks_for(name: str) -> None:
    assert disagreements(asked(name), name) == []


def test_a_lock_that_lacks_something_is_noticed() -> None:
    assert disagreements(["nowhere-at-all>=1"], "run")
    assert disagreements(["anyio<4"], "run")


def test_the_run_lock_holds_nothing_that_nobody_wants() -> None:
    """A requirement that is dropped leaves the lock file too, and what only it wanted."""
    ours = {pin.name for pin in lock("run") if "okta-key-orchestrator" in pin.wanted_by}
    assert ours == {canonicalize_name(Requirement(text).name) for text in asked("run")}
    known = {pin.name for pin in lock("run")} | {"okta-key-orchestrator"}
    assert all(pin.wanted_by and known.issuperset(pin.wanted_by) for pin in lock("run"))


@pytest.mark.parametrize(
    "environment",
    ENVIRONMENTS,
    ids=[f"{env['python_version']}-{env['sys_platform']}" for env in ENVIRONMENTS],
)
def test_users_get_what_was_tested(environment: dict[str, str]) -> None:
    assert holding("run", environment).items() <= holding("dev", environment).items()


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.name)
def test_every_release_is_held_by_hashes_and_by_no_address(path: Path) -> None:
    text = path.read_text()
    pins = script("sbom").pins_of(text)
    assert pins
    assert all(pin.hashes for pin in pins)
    assert not re.search(r"://|--(extra-)?index-url|--find-links|\B/\w+/|@ file", text)


def test_what_is_no_lock_file_is_not_read_as_one() -> None:
    with pytest.raises(ValueError, match="not a line"):
        script("sbom").pins_of("--extra-index-url https://elsewhere.example/simple\n")


def test_installing_takes_only_what_the_locks_name() -> None:
    """Each install is by hashes, or of the project alone."""
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(PIP_INST" in line]
    assert len(lines) == 5
    for line in lines:
        assert "--require-hashes -r .ci/lock/" in line or "--no-deps --no-build-iso" in line
    assert "pip install" not in (ROOT / ".ci" / "run").read_text()


def made_sbom(folder: Path) -> str:
    env = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([sys.executable, ROOT / ".ci" / "sbom.py", folder], env=env, check=True)
    [path] = folder.iterdir()
    return path.read_text()


def test_the_sbom_names_all_and_is_the_same_each_time(tmp_path: Path) -> None:
    text = made_sbom(tmp_path / "one")
    assert text == made_sbom(tmp_path / "two")
    sbom = json.loads(text)
    components = {part["bom-ref"]: part for part in sbom["components"]}
    assert set(components) == {f"pkg:pypi/{pin.name}@{pin.version}" for pin in lock("run")}
    assert all(part["hashes"] for part in components.values())
    root = sbom["metadata"]["component"]["bom-ref"]
    graph = {entry["ref"]: entry["dependsOn"] for entry in sbom["dependencies"]}
    assert set(graph) == {root, *components}
    seen: set[str] = set()
    waiting = [root]
    while waiting:
        reference = waiting.pop()
        if reference not in seen:
            seen.add(reference)
            waiting += graph[reference]
    assert seen == {root, *components}
    assert len(graph[root]) == len(asked("run"))


CLEAN = {"name": "one", "version": "1.0", "vulns": []}
SKIPPED = {"name": "two", "skip_reason": "not found"}
FOUND = {
    "name": "three",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}],
}


@pytest.mark.parametrize(
    ("dependencies", "lenient", "strict"),
    [
        ([CLEAN], 0, 0),
        ([CLEAN, FOUND], 1, 1),
        ([SKIPPED, FOUND], 1, 1),
        ([CLEAN, SKIPPED], 0, 1),
        ([SKIPPED], 0, 1),
        ([], 0, 1),
    ],
)
def test_an_audit_fails_on_findings_and_strictly_on_silence(
    dependencies: list[dict[str, object]], lenient: int, strict: int
) -> None:
    verdict = script("audit").verdict_of({"dependencies": dependencies})
    assert verdict.exit_code(strict=False) == lenient
    assert verdict.exit_code(strict=True) == strict
    assert verdict.asked == sum("vulns" in dependency for dependency in dependencies)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("orchestrator/cli/main.py", False),
        ("orchestrator/notes.txt", True),
        ("orchestrator/cli/.env", True),
        ("tests/test_layers.py", True),
        ("x-1.dist-info/licenses/stray.py", True),
    ],
)
def test_a_wheel_with_something_more_is_noticed(name: str, wrong: bool) -> None:
    belonging = {"orchestrator/cli/main.py", *([name] if name.startswith("orch") else [])}
    names = ["orchestrator/cli/main.py", name]
    names += [f"x-1.dist-info/{about}" for about in script("dist").METADATA]
    assert bool(script("dist").misplaced_in_wheel(names, belonging)) is wrong
    assert script("dist").misplaced_in_wheel(names[2:], belonging)


def loose_steps(name: str, job: Mapping[str, Any]) -> Iterator[str]:
    for step in job.get("steps", []):
        if FOREIGN.search(step.get("run", "")):
            yield f"{name} runs a text that others write"
        if "actions/checkout@" not in step.get("uses", ""):
            continue
        if step.get("with", {}).get("persist-credentials") is not False:
            yield f"{name} keeps its token on the disk"
        if "write" in job.get("permissions", {}).values():
            yield f"{name} may write and has a checkout to run"


def loose_ends(text: str) -> list[str]:
    """Return what a workflow does that a stranger could turn against us."""
    workflow = yaml.safe_load(text)
    wrong = [
        f"not pinned by a commit with its version: {used}"
        for used in re.findall(r"uses: (.+)", text)
        if not used.startswith("./") and not PINNED.match(used)
    ]
    if workflow.get("permissions") != {}:
        wrong.append("permissions are given to all jobs")
    if "pull_request_target" in text or "secrets." in text:
        wrong.append("a stranger's change meets a secret")
    for name, job in workflow["jobs"].items():
        if not isinstance(job.get("permissions"), dict):
            wrong.append(f"{name} does not say what it may")
        wrong += loose_steps(name, job)
    return wrong


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_loose_end(path: Path) -> None:
    assert loose_ends(path.read_text()) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
        (" # v7.0.1", ""),
        ("permissions: {}", "permissions: {contents: write}"),
        ("persist-credentials: false", "persist-credentials: true"),
        ("    permissions:\n      contents: read\n", ""),
        ("contents: read", "contents: write"),
        ("run: bash .ci/run", "run: echo ${{ github.event.pull_request.title }}"),
        ("run: bash .ci/run", "run: echo ${{ github.head_ref }}"),
        ("pull_request:", "pull_request_target:"),
    ],
)
def test_a_loose_end_is_noticed(good: str, bad: str) -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert good in text
    assert loose_ends(text.replace(good, bad, 1))


def test_the_same_action_is_pinned_to_the_same_commit_everywhere() -> None:
    used = {
        tuple(match)
        for path in WORKFLOWS
        for match in re.findall(r"uses: ([\w./-]+)@(\w+) # (\S+)", path.read_text())
    }
    assert len(used) == len({name for name, _, _ in used}) >= 5


def test_who_may_prove_what_it_is_runs_none_of_our_code() -> None:
    """The identity that publishes is out of reach of a build, and of what the build depends on."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    trusted = {name for name, job in jobs.items() if "id-token" in job["permissions"]}
    assert trusted == {"attest", "publish"}
    for name in trusted:
        runs = [step["run"] for step in jobs[name]["steps"] if "run" in step]
        assert all(re.fullmatch(r"rm dist/SHA256SUMS dist/\*\.cdx\.json", run) for run in runs)
        assert not any("checkout" in step.get("uses", "") for step in jobs[name]["steps"])
    assert jobs["publish"]["environment"] == "pypi"
    order = ["gate", "build", "attest", "publish", "announce"]
    assert list(jobs) == order
    assert [jobs[name].get("needs") for name in order] == [None, *([name] for name in order[:-1])]


def test_a_release_is_built_from_its_tag_and_checked() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    runs = "\n".join(step["run"] for step in jobs["build"]["steps"] if "run" in step)
    assert '"$GITHUB_REF_NAME" = "v$(' in runs
    assert "make dist-check" in runs
    assert "make sbom" in runs


def test_the_gate_checks_locks_advisories_and_what_is_released() -> None:
    gate = (ROOT / ".ci" / "run").read_text()
    for wanted in ("lock-check audit workflows", "dist-check sbom", "fuzz SECONDS="):
        assert f"make {wanted}" in gate
