"""What is told of an error that nobody expected: where it happened, and nothing of the data."""

from __future__ import annotations

import platform
import sys
import threading
import traceback
from types import TracebackType

from orchestrator import __version__

MOST_FRAMES = 16  # the innermost, of each exception
HINT = "please report it with the lines above; `okta-keys status` tells what was done so far"


def crash_text(error: BaseException) -> str:
    """Return a short traceback, scrubbed and without the values of variables, and what to do."""
    from orchestrator.scrubbing import scrub
    from orchestrator.writing import on_one_line

    told = traceback.TracebackException.from_exception(error, limit=-MOST_FRAMES)
    lines = scrub("".join(told.format())).splitlines()
    where = f"okta-keys {__version__}, Python {platform.python_version()} on {sys.platform}"
    lines += [f"error: this is a mistake in the program ({where})", f"  hint: {HINT}"]
    return "".join(f"{on_one_line(line)}\n" for line in lines)


def tell_crashes() -> None:
    """Have also those told in this way that happen where no boundary of ours is."""
    sys.excepthook = tell_uncaught
    sys.unraisablehook = tell_unraisable
    threading.excepthook = tell_of_thread


def tell_uncaught(
    kind: type[BaseException],  # noqa: ARG001 - Python's signature
    error: BaseException,
    trace: TracebackType | None,  # noqa: ARG001 - likewise
) -> None:
    if not isinstance(error, KeyboardInterrupt):  # a second one, while the program ends
        sys.stderr.write(crash_text(error))


def tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Tell of an error in a finalizer; not of whose it was, for its repr may say anything."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt | None):
        sys.stderr.write(crash_text(unraisable.exc_value))


def tell_of_thread(thrown: threading.ExceptHookArgs) -> None:
    if thrown.exc_value is not None and not isinstance(thrown.exc_value, SystemExit):
        sys.stderr.write(crash_text(thrown.exc_value))
