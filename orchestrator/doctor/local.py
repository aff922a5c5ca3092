"""What can be looked at on this machine, without a call: versions, folders, programs."""

from __future__ import annotations

import os
import platform
import shutil
import ssl
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.doctor.checks import Finding, Grade, failed
from orchestrator.errors import ExitCode, StateError, StateUnusable
from orchestrator.store.failures import told_as
from orchestrator.store.sqlite import FILE_NAME, Store

PACKAGES = ("aiohttp", "anyio", "cryptography", "msgspec", "pydantic", "pyjwt")
LITTLE_SPACE = 64 * 1024 * 1024  # bytes; a run of 10,000 targets needs about a third of it


def versions_finding() -> Finding:
    """Say what runs here."""
    libraries = {name: version_of(name) for name in PACKAGES}
    facts = {
        "okta-keys": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "openssl": ssl.OPENSSL_VERSION,
        **libraries,
    }
    text = f"okta-keys {__version__}, Python {facts['python']}, {ssl.OPENSSL_VERSION}"
    return Finding(check="versions", grade=Grade.OK, text=text, facts=facts)


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def state_finding(folder: Path, clock: Clock) -> Finding:
    """Say whether runs can be remembered there. What is missing is not created."""
    try:
        with told_as(StateUnusable, folder):
            look_at(folder, clock)
            free = shutil.disk_usage(nearest(folder)).free
    except StateError as error:
        return failed("state", error)
    facts = {"folder": str(folder), "free_bytes": free}
    if free < LITTLE_SPACE:
        return Finding(
            check="state",
            grade=Grade.WARN,
            text=f"{folder} has {free // 1024**2} MiB left",
            remedy="free some space: a run that cannot write its journal stops",
            facts=facts,
        )
    return Finding(check="state", grade=Grade.OK, text=f"{folder} can be written", facts=facts)


def look_at(folder: Path, clock: Clock) -> None:
    """Try what a run would need.

    Raises:
        OSError, StateError: it would fail.
    """
    file = folder / FILE_NAME
    with tempfile.TemporaryFile(dir=nearest(folder)):
        pass
    if file.exists():
        with Store.open(file, clock=clock):
            pass


def reports_finding(folder: Path) -> Finding:
    """Say whether reports can be written there: a run finds that out when all is done."""
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)):
            pass
    except OSError as error:
        return Finding(
            check="reports",
            grade=Grade.FAIL,
            text=f"no report can be written to {folder}: {(error.strerror or '').lower()}",
            remedy="name another folder: report.dir of the plan, or --report-dir of the run",
        )
    return Finding(check="reports", grade=Grade.OK, text=f"{folder} can be written")


def commands_finding(programs: Sequence[str], search: str | None) -> Finding:
    """Say whether the programs that a plan names can be run; `search` is the PATH."""
    lacking = [each for each in programs if shutil.which(each, path=search) is None]
    if not lacking:
        text = f"{', '.join(programs)} can be run"
        return Finding(check="commands", grade=Grade.OK, text=text)
    return Finding(
        check="commands",
        grade=Grade.FAIL,
        text=f"{', '.join(lacking)}: there is no such program, or it may not be run",
        remedy="correct the plan, or chmod +x; a program with a slash starts from the folder of the"
        " plan, any other is looked for on the PATH",
        exit_code=ExitCode.INVALID,
    )


def nearest(folder: Path) -> Path:
    """Return the folder, or what it would be made in; a link that leads nowhere is in the way."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder
