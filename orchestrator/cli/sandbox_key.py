"""The private key of the sandbox's service app, in a file for as long as the sandbox runs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm

from orchestrator.errors import UsageError

DEFAULT_KEY_FILE = Path("sandbox-key.pem")  # in the current folder, where a user looks for it
KEY_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A key, its private half in a file."""

    path: Path  # absolute
    public: Mapping[str, object]  # as JWK


@contextmanager
def key_in_file(path: Path) -> Iterator[KeyFile]:
    """Make a key, and keep it in a new file that only its owner may read, until the block ends.

    The key serves one sandbox and is worthless after it, so the file goes too, unless somebody has
    put something else in its place.

    Raises:
        UsageError: there is such a file, or it cannot be made.
    """
    path = path.absolute()
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(path, text)
    try:
        public = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        yield KeyFile(path=path, public=public | {"use": "sig", "kid": "sandbox"})
    finally:
        with contextlib.suppress(OSError):
            if path.read_bytes() == text:
                path.unlink()


def write_new(path: Path, text: bytes) -> None:
    """Write a file that does not exist yet; no link is followed."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            f"{path} exists, and is not overwritten",
            hint="name another with --key-file, or remove it if no sandbox uses it any more",
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(text)
