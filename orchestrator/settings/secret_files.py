"""Read a secret from a file, unless others than its owner could have read or changed it.

The file must belong to this user or to root, and its mode must not let anybody else in. Two kinds
of mounted files are made by others, with modes that a program cannot change:

- What systemd puts below $CREDENTIALS_DIRECTORY (LoadCredential= and its kin). Where the service
  has a user of its own, an access list lets that user in, and shows as a mode of 0440. So the
  group may read there. systemd.exec(5), "Credentials".
- What Kubernetes mounts of a Secret: `token -> ..data/token`, `..data -> ..2026_01_31_...`, files
  of root, by default 0644. Their modes say nothing of the machine: the volume is in memory, and
  only the containers of one pod have it. It is told from a careless file by four things that must
  all hold: the links are as Kubernetes makes them; file and folder belong to root; nobody but root
  may write to it; and this user could not mend it, because it is not root or the mount is
  read-only. On a shared machine no user can make that up, as nobody can give a file to root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import ConfigError
from orchestrator.plan.files import located, open_regular, reason
from orchestrator.plan.references import CREDENTIALS, SecretReference

MAX_BYTES = 64 * 1024
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
MOUNTED = "mount it with mode 0400 (of a Secret of Kubernetes: defaultMode: 0400)"
OWN_IT = "chown it to the user that runs okta-keys"
GROUP_READS = stat.S_IRGRP
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What decides whether a secret may be read from a file."""

    mode: int
    owner: int
    us: int  # our effective user id
    is_credential: bool = False  # of systemd
    is_mounted_secret: bool = False  # linked as Kubernetes links, in a folder of root
    is_read_only: bool = False  # the mount


def objection(facts: FileFacts) -> tuple[str, str] | None:
    """Return why a secret must not be read from a file, and what to do; None if it may."""
    mode = stat.S_IMODE(facts.mode)
    if facts.owner not in (facts.us, 0):
        return "belongs to another user", OWN_IT
    if not mode & OTHERS:
        return None
    if facts.is_credential and not mode & (OTHERS & ~GROUP_READS):
        return None
    is_beyond_us = facts.us != 0 or facts.is_read_only
    is_of_root = facts.owner == 0 and not mode & OTHERS_WRITE
    if facts.is_mounted_secret and is_of_root and is_beyond_us:
        return None
    done = "changed" if mode & OTHERS_WRITE else "read"
    hint = MOUNTED if facts.is_read_only or facts.is_mounted_secret else "chmod 600"
    if hint == "chmod 600" and facts.owner != facts.us:  # so that we can read it afterwards
        hint = f"{OWN_IT}, and chmod 600"
    return f"can be {done} by others (its mode is {mode:04o})", hint


def read_secret_file(
    reference: SecretReference, *, environ: Mapping[str, str], folder: Path
) -> str:
    """Return the text of a file that holds a secret. Links are followed, then what they lead to is
    judged.

    Raises:
        ConfigError: it is not there, is not for our eyes only, or is no text.
    """
    path = path_of(reference, environ, folder)
    try:
        with open_regular(path) as handle:
            against = objection(facts_of(handle, path, environ))
            data = b"" if against else handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{reference} cannot be read: {reason(error)}", hint=f"looked for at {path}"
        ) from None
    if against:
        why, remedy = against
        hint = f"chmod 600 {path}" if remedy == "chmod 600" else remedy
        raise ConfigError(f"{reference} is refused: the file {why}", hint=hint)
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{reference} is larger than {MAX_BYTES // 1024} KiB", hint="is it the right file?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # the error holds the data
    raise ConfigError(f"{reference} is not UTF-8 text", hint="a key must be PEM or JWK, not DER")


def path_of(reference: SecretReference, environ: Mapping[str, str], folder: Path) -> Path:
    """Return the path of a file; $CREDENTIALS_DIRECTORY is systemd's, and only set by it."""
    [text] = reference.words
    if not text.startswith(CREDENTIALS):
        return located(text, folder)
    credentials = environ.get(CREDENTIALS_VARIABLE, "").strip()
    if not credentials:
        raise ConfigError(
            f"{reference} cannot be read: {CREDENTIALS_VARIABLE} is not set",
            hint="systemd sets it for a service with LoadCredential=",
        )
    return Path(credentials + text.removeprefix(CREDENTIALS))


def facts_of(handle: BinaryIO, path: Path, environ: Mapping[str, str]) -> FileFacts:
    """Look at the open file, and at how its path leads there."""
    status = os.fstat(handle.fileno())
    return FileFacts(
        mode=status.st_mode,
        owner=status.st_uid,
        us=os.geteuid(),
        is_credential=is_credential(path, environ),
        is_mounted_secret=is_mounted_secret(path, status),
        is_read_only=bool(os.fstatvfs(handle.fileno()).f_flag & os.ST_RDONLY),
    )


def is_credential(path: Path, environ: Mapping[str, str]) -> bool:
    """Say whether a file is one that systemd handed to this service."""
    folder = environ.get(CREDENTIALS_VARIABLE, "").strip()
    return bool(folder) and path.resolve().is_relative_to(Path(folder).resolve())


def is_mounted_secret(path: Path, opened: os.stat_result) -> bool:
    """Say whether an open file is linked as Kubernetes links a Secret, in folders of root."""
    data = path.parent / "..data"
    try:
        version, entry = str(data.readlink()), str(path.readlink())
        real = path.parent / version
        is_linked = version.startswith("..") and "/" not in version and version != ".."
        is_linked = is_linked and entry == f"..data/{path.name}"
        is_of_root = all(each.lstat().st_uid == 0 for each in (path.parent, real))
        return is_linked and is_of_root and os.path.samestat((real / path.name).lstat(), opened)
    except OSError:  # there are no such links
        return False
