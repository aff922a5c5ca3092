"""Build wheel and sdist twice, unlike in all that must not matter, and look into what comes out.

Both builds must be the same to the byte, and the same as those in the folder that is named, if one
is. The wheel holds the package's tracked files and nothing else; installed from it and from the
lock file, in a fresh virtual environment, the program works.
"""

# ruff: noqa: INP001, T201, S603

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "orchestrator/"
WHEEL_SUFFIXES = {".py", ".json", ".sql", ".j2", ".html", ".css", ".js", ".typed"}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
ONE = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}
OTHER = {"TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}


def tracked() -> list[str]:
    git = shutil.which("git") or sys.exit("git is needed to know what belongs to the project")
    done = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [name for name in names if (ROOT / name).is_file()]


def copied(names: Sequence[str], into: Path, *, mode: int, newer_by: int) -> Path:
    """Copy files, with other times and without the group's and others' rights if so wished."""
    for name in names:
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path)
        path.chmod(path.stat().st_mode & mode)
        stamp = path.stat().st_mtime + newer_by
        os.utime(path, (stamp, stamp))
    return into


def built(source: Path, environment: Mapping[str, str], *, umask: int) -> dict[str, bytes]:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(source / "out")]
    settings = dict(os.environ) | dict(environment)
    subprocess.run(command, cwd=source, env=settings, umask=umask, check=True, capture_output=True)
    return contents(source / "out")


def contents(folder: Path) -> dict[str, bytes]:
    paths = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return {path.name: path.read_bytes() for path in paths}


def compare(one: Mapping[str, bytes], other: Mapping[str, bytes], what: str) -> None:
    digests = [
        {name: hashlib.sha256(data).hexdigest() for name, data in sorted(built.items())}
        for built in (one, other)
    ]
    if digests[0] != digests[1] or len(digests[0]) != 2:
        sys.exit(f"dist: {what} differ: {digests[0]} and {digests[1]}")


def misplaced_in_wheel(names: Sequence[str], belonging: set[str]) -> set[str]:
    """Return what a wheel has too much or lacks."""
    inside = {name for name in names if ".dist-info/" not in name}
    about = {PurePosixPath(name).name for name in names if ".dist-info/" in name}
    odd = {name for name in inside if PurePosixPath(name).suffix not in WHEEL_SUFFIXES}
    return (inside ^ belonging) | odd | (about ^ METADATA)


def check_contents(folder: Path, names: Sequence[str]) -> None:
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        belonging = {name for name in names if name.startswith(PACKAGE)}
        wrong = misplaced_in_wheel(opened.namelist(), belonging)
    if wrong:
        sys.exit(f"dist: the wheel has what it should not, or lacks: {sorted(wrong)}")
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[1] for name in archive.getnames()}
    strange = inside - set(names) - {"PKG-INFO"}
    if strange:
        sys.exit(f"dist: the sdist has what the project does not: {sorted(strange)}")


def check_install(folder: Path, scratch: Path) -> None:
    """Install the wheel as an operator would who trusts nothing but the lock file."""
    [wheel] = folder.glob("*.whl")
    python, program = scratch / "venv/bin/python", scratch / "venv/bin/okta-keys"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    lock = ROOT / ".ci" / "lock" / "run.txt"
    home = {"OKTA_KEYS_STATE": str(scratch / "state")}
    for command in (
        [sys.executable, "-m", "venv", str(scratch / "venv")],
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)],
        [*pip, "--no-deps", "--no-index", str(wheel)],
        [str(python), "-m", "pip", "check", "--disable-pip-version-check"],
        [str(program), "--version"],
        [str(program), "run", str(ROOT / "plans" / "quickstart.yaml"), "--sandbox"],
    ):
        settings = dict(os.environ) | home
        done = subprocess.run(
            command, cwd=scratch, env=settings, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"dist: {command[-3:]} failed:\n{done.stdout}{done.stderr}")


def main(given: Path | None) -> None:
    names = tracked()
    with tempfile.TemporaryDirectory(prefix="okta-keys-dist-") as name:
        scratch = Path(name)
        one = copied(names, scratch / "one", mode=0o777, newer_by=0)
        other = copied(names, scratch / "elsewhere" / "two", mode=0o700, newer_by=86_400)
        first = built(one, ONE, umask=0o022)
        compare(first, built(other, OTHER, umask=0o077), "two builds of the same commit")
        if given is not None:
            compare(first, contents(given), f"what is in {given} and a fresh build")
        check_contents(one / "out", names)
        check_install(one / "out", scratch)
    for file, data in sorted(first.items()):
        print(f"{hashlib.sha256(data).hexdigest()}  {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
