"""What can be looked at on this machine, without a call: versions, and the state folder."""

from __future__ import annotations

import platform
import shutil
import ssl
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orchestrator import __version__
from orchestrator.clock import Clock
from orchestrator.doctor.checks import Finding, Grade, failed
from orchestrator.errors import StateError, StateUnusable
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


def nearest(folder: Path) -> Path:
    """Return the folder, or what it would be made in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
