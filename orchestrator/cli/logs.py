"""The log: a line per record on stderr, without secrets and without control codes."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LineFormatter(logging.Formatter):
    """Writes a record, with the traceback it may have, as one scrubbed line.

    All that anybody logs passes here, libraries included: arguments and exceptions are text by now.
    """

    def format(self, record: logging.LogRecord) -> str:
        from orchestrator.scrubbing import scrub
        from orchestrator.writing import on_one_line

        return on_one_line(scrub(super().format(record)).replace("\n", " | "))


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes to stderr, and does not tell the arguments of a record that cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say which record it is; logging itself would print all that it was to say."""
        kind = sys.exc_info()[0]
        with suppress(OSError, ValueError):  # nobody reads stderr any more, or it is closed
            name = kind.__name__ if kind else "unknown"
            self.stream.write(f"a record of {record.name} cannot be written: {name}\n")


def start_logging(*, verbose: bool) -> None:
    """Have everything logged from now on, or only warnings, to what is stderr now."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(LineFormatter(LINE))
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler], force=True)
