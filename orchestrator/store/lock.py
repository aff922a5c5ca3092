"""One run of a plan and org at a time, and where the state is kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_state_path

from orchestrator.clock import Clock
from orchestrator.errors import LockHeld, StateUnusable
from orchestrator.store.base import Session
from orchestrator.store.failures import told_as
from orchestrator.writing import write_whole

POLL_SECONDS = 0.2
LONGEST_SLUG = 40  # characters; a file name may have 255 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    since: datetime
    command: str


class RunLock:
    """Held between `take` and `free`; the kernel frees it with the process, however that dies.

    Beside the lock stands a note of its holder, for people alone: it decides nothing, so one that
    a dead process left behind is in nobody's way.
    """

    def __init__(
        self,
        folder: Path,
        plan: str,
        org: str,
        *,
        session: Session,
        clock: Clock,
    ) -> None:
        self.plan = plan
        self.org = org
        self.session = session
        self.clock = clock
        self.path = folder / f"{lock_name(plan, org)}.lock"
        self.note = self.path.with_suffix(".holder.json")
        self.lock = FileLock(self.path, timeout=0, mode=0o600)

    async def take(self, *, patience_seconds: float) -> None:
        """Take the lock; give it back with `free`.

        Raises:
            LockHeld: another process still has it after so long; names it.
            StateUnusable: the lock cannot be written.
        """
        deadline = self.clock.monotonic() + patience_seconds
        while True:
            try:
                self.take_now()
            except LockHeld:
                if self.clock.monotonic() >= deadline:
                    raise
                await self.clock.sleep(POLL_SECONDS)
            else:
                return

    def take_now(self) -> None:
        """Take the lock without waiting.

        Raises:
            LockHeld: another process has it; names it.
            StateUnusable: the lock cannot be written.
        """
        with told_as(StateUnusable, self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self.lock.acquire()
            except Timeout:
                raise self.held() from None
            try:
                self.write_note()
            except OSError:
                self.lock.release()
                raise

    def free(self) -> None:
        """Give the lock back."""
        with suppress(OSError):  # the note decides nothing, and the run is over
            self.note.unlink()
        self.lock.release()

    def write_note(self) -> None:
        holder = Holder(
            pid=self.session.pid,
            host=self.session.host,
            since=self.clock.wall(),
            command=self.session.command,
        )
        text = json.dumps(msgspec.to_builtins(holder))
        write_whole(self.note, lambda file: file.write(text))

    def held(self) -> LockHeld:
        """Say who has the lock, as far as the note beside it is to be believed."""
        what = f"another run of plan {self.plan!r} on {self.org} is under way"
        holder = read_note(self.note)
        if holder is None or not may_be_alive(holder, self.session.host):
            return LockHeld(what, hint="wait for it to end, or see: ps -ef | grep okta-keys")
        return LockHeld(
            what,
            hint=f"wait for it to end, or see what it does: ps -p {holder.pid} -f",
            pid=holder.pid,
            host=holder.host,
            since=holder.since.isoformat(timespec="seconds"),
            command=holder.command,
        )


def is_worked_on(folder: Path, plan: str, org: str, host: str) -> bool:
    """Say whether a process seems to hold the plan's lock, without touching the lock."""
    note = folder / f"{lock_name(plan, org)}.holder.json"
    holder = read_note(note)
    return holder is not None and may_be_alive(holder, host)


def lock_name(plan: str, org: str) -> str:
    """Return a file name that people recognise, and that no other plan and org have."""
    digest = hashlib.sha256(f"{len(plan)}:{plan}{org}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug(plan)}@{slug(org.removeprefix('https://'))}-{digest[:12]}"


def slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:LONGEST_SLUG] or "x"


def read_note(path: Path) -> Holder | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holder)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None


def may_be_alive(holder: Holder, host: str) -> bool:
    """Say whether the note can be of the present holder, and not of one that has died."""
    if holder.host != host:
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def state_folder(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where the state is kept: `--state`, OKTA_KEYS_STATE, or the user's state folder."""
    if given is not None:
        return given.expanduser()
    named = environ.get("OKTA_KEYS_STATE", "").strip()
    return Path(named).expanduser() if named else user_state_path("okta-keys", appauthor=False)
