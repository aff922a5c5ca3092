"""Every error this program raises on purpose.

OrchestratorError            exit 1   the base; anything else that escapes is a bug
├── InputError               exit 4   what the user gave us cannot be used
│   ├── PlanError                     the plan, or another file like it; carries every problem
│   ├── ConfigError                   environment or settings
│   ├── FaultScriptError              the sandbox's fault file
│   └── UsageError                    the command line
├── AccessError              exit 5   the org refuses our credential for every call
│   ├── TokenRejected
│   ├── ClientRejected                the org gives the service app no token
│   └── ScopeMissing
├── SafetyError              exit 6   a belt of the plan says no; nothing was called
├── StateError               exit 1   the journal cannot be written or read
│   └── StateUnusable        exit 4   found before any call was made
├── LockHeld                 exit 11  another run of this plan and org is under way
├── ReportError              exit 1   the report could not be written
└── CallError                exit 1   one API call failed for good; an outcome, not a crash
    ├── Transient                     one attempt failed; never leaves the client
    ├── NoAnswer                      connection lost, time-out, unreadable answer
    ├── Refused                       the org answered with an error
    └── Halted                        the run stopped before the call could be sent

A message never holds a secret; `context` holds only values that are safe to print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller. Documented in `--help`; never renumbered."""

    DONE = 0
    UNEXPECTED = 1
    CHANGED = 2
    PARTIAL = 3
    INVALID = 4
    ACCESS = 5
    SAFETY = 6
    UNFINISHED = 7
    LOCKED = 11
    INTERRUPTED = 130
    TERMINATED = 143


class OrchestratorError(Exception):
    """The base of all our errors: a message, what to do next, and safe context."""

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, hint: str | None = None, **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = {name: value for name, value in context.items() if value is not None}

    def diagnostics(self) -> str:
        """Return the text for the operator: message, context, hint, one per line."""
        lines = [self.message]
        lines += [f"  {name}: {value}" for name, value in self.context.items()]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class InputError(OrchestratorError):
    """What the user gave us cannot be used; nothing was called."""

    exit_code = ExitCode.INVALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a file: where, on which field, and what to do about it."""

    file: str
    line: int  # 1-based
    column: int  # 1-based
    path: str  # e.g. jobs[0].targets[3]; empty for the file as a whole
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        field = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{field}{self.message}{hint}"


class PlanError(InputError):
    """The plan, or another file that is read like it, is wrong.

    `problems` lists every reason, in file order; `what` is the name of the file for people.
    """

    def __init__(
        self, problems: Sequence[Problem], *, hidden: int = 0, what: str = "the plan"
    ) -> None:
        self.problems = tuple(problems)
        self.hidden = hidden  # further problems of the same kind that are not listed
        total = len(self.problems) + hidden
        noun = "problem" if total == 1 else "problems"
        super().__init__(f"{total} {noun} in {what}")

    def diagnostics(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.hidden:
            lines.append(f"... and {self.hidden} more")
        lines.append(self.message)
        return "\n".join(lines)


class ConfigError(InputError):
    """The environment or a setting is missing or wrong."""


class FaultScriptError(InputError):
    """The sandbox's fault file is wrong."""


class UsageError(InputError):
    """The command line is wrong."""


class AccessError(OrchestratorError):
    """The org refuses this credential for every call, so the whole run stops."""

    exit_code = ExitCode.ACCESS


class TokenRejected(AccessError):
    """The org does not accept the token (401 E0000011)."""


class ClientRejected(AccessError):
    """The org's token endpoint refuses the service app for good (RFC 6749 section 5.2)."""


class ScopeMissing(AccessError):
    """The token lacks an OAuth scope (403, RFC 6750 section 3.1 insufficient_scope)."""


class SafetyError(OrchestratorError):
    """A safety belt of the plan says no; nothing was called."""

    exit_code = ExitCode.SAFETY


class StateError(OrchestratorError):
    """The journal cannot be written or read."""


class StateUnusable(StateError):
    """The journal cannot be used; found before any call was made."""

    exit_code = ExitCode.INVALID


class LockHeld(OrchestratorError):
    """Another run of this plan and org is under way."""

    exit_code = ExitCode.LOCKED


class ReportError(OrchestratorError):
    """The report could not be written."""


class CallError(OrchestratorError):
    """One API call failed for good. The engine turns it into a target's outcome."""


class Transient(CallError):
    """One attempt failed in a way that a further attempt may mend."""

    def __init__(
        self,
        cause: str,
        *,
        lost: bool = False,
        answered: bool = False,
        limited: bool = False,
        wait: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(cause, request_id=request_id)
        self.lost = lost  # the call may have taken effect
        self.answered = answered  # the org itself answered, so the call is over
        self.limited = limited  # a rate limit said so; the pacing knows when to go on
        self.wait = wait  # seconds the org asked for


class NoAnswer(CallError):
    """No usable answer came back. Whether the call took effect is not known if it is `lost`."""

    def __init__(
        self,
        message: str,
        *,
        lost: bool = False,
        answered: bool = True,
        hint: str | None = None,
        **context: object,
    ) -> None:
        super().__init__(message, hint=hint, **context)
        self.lost = lost  # an attempt may have taken effect; if not, nothing has happened
        self.answered = answered  # False: an attempt without an answer may still be under way


class Refused(CallError):
    """The org answered, with an error that a retry will not change."""


class Halted(CallError):
    """The run is stopping, and this call was not sent."""
