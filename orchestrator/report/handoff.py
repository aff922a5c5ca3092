"""Write hand-off packs to disk: one folder per target, whole or not there at all.

A folder is made beside its place under a hidden name, and moved. Every step goes by the handles of
the folders above it, so no link that somebody puts in the way leads out of the root.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.errors import ReportError
from orchestrator.model import HandoffPack, Kid, RunId, Target
from orchestrator.plan.fields import app_id_pattern, name_pattern
from orchestrator.report.pack import FACTS, PackFacts, contents_of

# O_NONBLOCK: opening what turns out to be a named pipe must not wait for its other end
OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class PackWriter:
    """Writes packs below a root folder, as `<job>/<app id>`, readable by their owner only.

    It blocks. Packs of different targets may be written at the same time, from any thread.
    """

    def __init__(self, root: Path, *, plan: str, run_id: RunId, org: str) -> None:
        self.root = root
        self.plan = plan
        self.run_id = run_id
        self.org = org

    def has(self, target: Target, kid: Kid) -> bool:
        """Say whether the pack of a target for this key is there, and whole."""
        if not is_nameable(target):
            return False
        try:
            with (
                opened(self.root) as root,
                opened(target.job, inside=root) as job,
                opened(target.app, inside=job) as folder,
            ):
                facts = PackFacts.model_validate_json(read_file(FACTS, inside=folder))
                sizes = sizes_in(folder)
        except (OSError, ValueError):  # pydantic's errors are ValueErrors
            return False
        found = (facts.org, facts.job, facts.app_id, facts.kid)
        return found == (self.org, target.job, target.app, kid) and all(
            sizes.get(file.name) == file.size for file in facts.files
        )

    def write(self, pack: HandoffPack) -> Path:
        """Write a pack, in place of an earlier one of the same target; return its folder.

        Raises:
            ReportError: it cannot be written, its certificate is not what it is said to be, or no
                plan has such a job or app.
        """
        target = pack.target
        path = self.root / self.index_path(target)
        files = contents_of(pack, plan=self.plan, run_id=self.run_id, org=self.org)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with opened(self.root) as root:
                with suppress(FileExistsError):
                    os.mkdir(target.job, mode=0o700, dir_fd=root)
                with opened(target.job, inside=root) as job:
                    put_folder(target.app, files, inside=job)
        except OSError as error:
            raise ReportError(
                f"the hand-off pack cannot be written to {path}: {error.strerror}",
                hint="see that the disk has space, and that nothing else stands in the way",
            ) from error
        return path

    def index_path(self, target: Target) -> str:
        """Return where the pack of a target is, seen from the root.

        Raises:
            ReportError: no plan has such a job or app.
        """
        if not is_nameable(target):
            raise ReportError(f"app {target.app!r} of job {target.job!r} cannot name a folder")
        return f"{target.job}/{target.app}"


def is_nameable(target: Target) -> bool:
    """Say whether job and app are named as a plan may name them, which is safe in a path."""
    return bool(name_pattern.fullmatch(target.job) and app_id_pattern.fullmatch(target.app))


@contextmanager
def opened(folder: Path | str, *, inside: int | None = None) -> Iterator[int]:
    """Open a folder by its name in another, which must be no link; or a path, whatever it is."""
    flags = os.O_RDONLY | os.O_DIRECTORY | (0 if inside is None else os.O_NOFOLLOW)
    handle = os.open(folder, flags, dir_fd=inside)
    try:
        yield handle
    finally:
        os.close(handle)


def put_folder(name: str, files: Mapping[str, bytes], *, inside: int) -> None:
    """Put a folder with these files in place, whatever stands there.

    A process that dies leaves hidden folders at most; the next one to come here removes them.
    """
    draft, former = f".{name}.new", f".{name}.old"
    remove(draft, inside=inside)
    remove(former, inside=inside)
    try:
        make_folder(draft, files, inside=inside)
        with suppress(FileNotFoundError):
            os.rename(name, former, src_dir_fd=inside, dst_dir_fd=inside)
        os.rename(draft, name, src_dir_fd=inside, dst_dir_fd=inside)
    except BaseException:
        with suppress(OSError):
            remove(draft, inside=inside)
        raise
    os.fsync(inside)
    with suppress(OSError):  # the pack is in place
        remove(former, inside=inside)


def make_folder(name: str, files: Mapping[str, bytes], *, inside: int) -> None:
    """Make a folder with these files, and have all of it on the disk."""
    os.mkdir(name, mode=0o700, dir_fd=inside)
    with opened(name, inside=inside) as folder:
        for file_name, data in files.items():
            with os.fdopen(os.open(file_name, NEW_FILE, 0o600, dir_fd=folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        os.fsync(folder)


def remove(name: str, *, inside: int) -> None:
    """Remove a file, a link or a folder with all it holds, if there is one."""
    try:
        os.unlink(name, dir_fd=inside)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # PermissionError: POSIX's word for a folder
        shutil.rmtree(name, dir_fd=inside)


def read_file(name: str, *, inside: int) -> bytes:
    with os.fdopen(os.open(name, OLD_FILE, dir_fd=inside), "rb") as file:
        return file.read()


def sizes_in(folder: int) -> dict[str, int]:
    """Return the sizes of the files in a folder, links aside."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.is_file(follow_symlinks=False)
        }
