"""A keyring in a file, for the program to find by PYTHON_KEYRING_BACKEND."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    """Entries by service and name, of the file that a variable names."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        entries = json.loads(Path(os.environ["TEST_KEYRING"]).read_text())
        found = entries.get(f"{service}/{username}")
        return None if found is None else str(found)

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError
