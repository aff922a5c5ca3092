"""Close what the system leaves open by default, before there is any secret in memory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

PR_SET_DUMPABLE = 4  # prctl(2)
OURS_ALONE = 0o077
AS_IT_IS = -1  # of subprocess.Popen

former: dict[str, int] = {}  # what the caller had set, for the commands that we run for him


def lock_down() -> None:
    """Leave no core dumps, let nobody of our user look into our memory, create for us alone.

    A core dump would hold every secret. Its size limit does not bind a system that pipes dumps to
    a program (core(5)), so on Linux the process is not dumpable either; then also other processes
    of the same user can neither attach to it nor read its environment and memory in /proc
    (ptrace(2), proc(5)). Children that start another program are dumpable again, but the limit
    holds for them too.

    What it cannot do: root may do all this still; secrets may be swapped out; Python leaves copies
    of them in memory; and the environment that a secret came with is what the caller made it, so
    another process that has it shows it. Where the system knows no such thing, nothing is done.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    former["umask"] = os.umask(OURS_ALONE)


def callers_umask() -> int:
    """Return the umask that the caller had set, for commands of the plan to begin with."""
    return former.get("umask", AS_IT_IS)
