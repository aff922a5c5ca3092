"""Disks that are small, full or read-only. Only root can have them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

WITHOUT_PRIVILEGE = (  # root, but bound by the permissions of files as anyone else is
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
)


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@cache
def may_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with TemporaryDirectory() as folder:
        return succeeds("mount", "-t", "tmpfs", "none", folder) and succeeds("umount", folder)


@cache
def may_drop_privilege() -> bool:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o500)
        return not succeeds(*WITHOUT_PRIVILEGE, "touch", f"{folder}/x") and succeeds(
            *WITHOUT_PRIVILEGE, "ls", folder
        )


@contextmanager
def disk(folder: Path, *, kilobytes: int = 2048) -> Iterator[Path]:
    """Mount an empty disk of that size on the folder, which is made."""
    folder.mkdir()
    options = f"size={kilobytes}k,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill the disk but for so many bytes; return the file to remove to free it."""
    ballast = folder / "ballast"
    free = shutil.disk_usage(folder).free - leave
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)
    return ballast
