"""Ask the advisory database about every locked release: pip-audit, with a verdict we can rely on.

A finding fails. So does, with --strict, a database that cannot be asked; without it that is said
loudly and passes, so that the gate also runs where there is no network. pip-audit itself calls a
package "not found" when the database does not answer for it, and succeeds: such an audit has
audited nothing, and is not taken for a clean one.
"""

# ruff: noqa: INP001, T201

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("pypi", "osv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an audit found; `asked` counts the releases that the database knew."""

    asked: int
    skipped: tuple[str, ...]
    findings: tuple[str, ...]

    def exit_code(self, *, strict: bool) -> int:
        if self.findings:
            return 1
        return 1 if strict and (self.skipped or not self.asked) else 0


def verdict_of(answer: Mapping[str, Sequence[Mapping[str, object]]]) -> Verdict:
    """Read pip-audit's JSON."""
    asked, skipped, findings = 0, [], []
    for dependency in answer["dependencies"]:
        release = f"{dependency['name']} {dependency.get('version', '')}".strip()
        if "skip_reason" in dependency:
            skipped.append(release)
            continue
        asked += 1
        for found in dependency["vulns"]:  # type: ignore[attr-defined]
            mended = ", ".join(found["fix_versions"]) or "no release yet"
            findings.append(f"{release}: {found['id']}, mended in {mended}")
    return Verdict(asked=asked, skipped=tuple(skipped), findings=tuple(findings))


def audit(locks: Sequence[Path], service: str) -> Verdict | str:
    """Run pip-audit; return its verdict, or why there is none."""
    command = [sys.executable, "-m", "pip_audit", "-s", service, "--format", "json"]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    for lock in locks:
        command += ["--requirement", str(lock)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        return verdict_of(json.loads(ended.stdout))
    except ValueError:
        said = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        return said[-1]


def main(*, strict: bool) -> int:
    locks = sorted((ROOT / ".ci" / "lock").glob("*.txt"))
    for service in SERVICES:
        verdict = audit(locks, service)
        if isinstance(verdict, str):
            print(f"audit: {service} could not be asked: {verdict[:300]}")
            continue
        if not verdict.asked:
            print(f"audit: {service} answered for none of {len(verdict.skipped)} releases")
            continue
        print(f"audit: {service} answered for {verdict.asked} releases of {len(locks)} lock files")
        for release in verdict.skipped:
            print(f"audit: NOT AUDITED: {release}")
        for finding in verdict.findings:
            print(f"audit: VULNERABLE: {finding}")
        return verdict.exit_code(strict=strict)
    print("audit: NOTHING WAS AUDITED: no advisory database could be reached from here")
    return 1 if strict else 0


if __name__ == "__main__":
    sys.exit(main(strict="--strict" in sys.argv[1:]))
