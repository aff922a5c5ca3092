"""The checksum of what a plan would do: a preview shows it, and `run --expect` insists on it. Pure.

It is a SHA-256 over a text of our own, field by field, so that neither the order of mappings nor
the version of Python has a part in it. Each field stands with its name and its length, so that no
two plans have one text. What does not change what is done is left out: how fast, how it is
reported, comments, the further columns of CSV files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from orchestrator.engine.resume import ResolvedJob
from orchestrator.model import CsrRequest, KeyRef, KeySpec
from orchestrator.rollout import (
    Blackout,
    Gate,
    HookCommand,
    HookMoment,
    JobSettings,
    Rollout,
    Size,
    Window,
)

VERSION = "1"  # of the text; whoever changes what it says changes this
SHORTEST = 12  # hex digits of a checksum that will do
PREFIX = "sha256:"

Value = str | int | float | bool | datetime | None
Field = tuple[str, Value]


def checksum_of(
    plan: str,
    org: str,
    jobs: Iterable[ResolvedJob],
    hooks: Mapping[HookMoment, Sequence[HookCommand]],
    *,
    keys: Mapping[str, KeyRef] | None = None,
) -> str:
    """Return the checksum, in hex, of all that a run of these jobs would do to an org.

    `keys` are those that were looked up, by the names of their jobs. The targets are streamed, so
    that their number costs no memory.

    Raises:
        InputError: a file that targets come from has changed.
    """
    digest = hashlib.sha256()
    for name, value in fields_of(plan, org, jobs, hooks, keys or {}):
        text = text_of(value).encode("utf-8", "surrogatepass")
        digest.update(b"%s %d:%s\n" % (name.encode(), len(text), text))
    return digest.hexdigest()


def matches_checksum(given: str, actual: str) -> bool:
    """Say whether somebody means this checksum: all of it, or its first 12 digits or more."""
    digits = given.strip().lower().removeprefix(PREFIX)
    is_long = re.fullmatch(f"[0-9a-f]{{{SHORTEST},64}}", digits) is not None
    return is_long and actual.lower().startswith(digits)


def text_of(value: Value) -> str:
    """Return a value in one way only; values of different types never look alike."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"count {value:d}"
        case float():
            return f"number {value:.17g}"  # as many digits as tell any two apart
        case datetime():
            return f"at {value.astimezone(UTC).isoformat(timespec='microseconds')}"
        case str():
            return f"text {value}"


def fields_of(
    plan: str,
    org: str,
    jobs: Iterable[ResolvedJob],
    hooks: Mapping[HookMoment, Sequence[HookCommand]],
    keys: Mapping[str, KeyRef],
) -> Iterator[Field]:
    """Yield all that makes a change set what it is, targets last in every job."""
    yield "version", VERSION
    yield "plan", plan
    yield "org", org
    for moment in HookMoment:
        for command in hooks.get(moment, ()):
            yield "hook", moment.value
            yield from command_fields(command)
    for job in jobs:
        yield "job", job.name
        yield from key_fields(keys.get(job.name, job.key), job.wanted)
        yield from settings_fields(job.settings)
        for target in job.stream():
            yield "target", target.app


def key_fields(key: KeyRef, wanted: KeySpec) -> Iterator[Field]:
    """Yield which key it is; of one that is still to come, how it is to be made or found."""
    yield "resource", key.resource.value
    yield "source", key.app
    yield "kid", key.kid
    if key.is_known:
        return
    yield "key", wanted.kind.value
    yield "validity_years", wanted.validity_years
    if wanted.csr is not None:
        yield from request_fields(wanted.csr)


def request_fields(request: CsrRequest) -> Iterator[Field]:
    yield "csr.country", request.country
    yield "csr.state", request.state
    yield "csr.locality", request.locality
    yield "csr.organization", request.organization
    yield "csr.organizational_unit", request.organizational_unit
    yield "csr.common_name", request.common_name
    for name in request.dns_names:
        yield "csr.dns_name", name


def settings_fields(settings: JobSettings) -> Iterator[Field]:
    yield "verify", settings.verify.value
    yield "allow_oidc", settings.allow_oidc
    yield "cross_check", settings.cross_check
    yield "activates", settings.rollout is not None
    if settings.rollout is not None:
        yield from rollout_fields(settings.rollout)


def rollout_fields(rollout: Rollout) -> Iterator[Field]:
    for size in rollout.waves:
        yield "wave", written(size)
    yield "pause", float(rollout.pause_seconds)
    yield "stop_after_failures", written(rollout.stop_after_failures)
    yield "inactive", rollout.inactive.value
    yield from gate_fields(rollout.gate)


def written(size: Size) -> Value:
    """Return a size as it is: a count of 1 is not all, and a share of 1.0 is."""
    return size


def gate_fields(gate: Gate) -> Iterator[Field]:
    yield "after", None if gate.after_seconds is None else float(gate.after_seconds)
    yield "not_before", gate.not_before
    for window in gate.windows:
        yield from window_fields(window)
    for blackout in gate.blackout:
        yield from blackout_fields(blackout)
    yield "acknowledged", gate.acknowledged
    yield "approval", gate.approval
    if gate.acknowledge_by is not None:
        yield "acknowledge_by", True
        yield from command_fields(gate.acknowledge_by)


def window_fields(window: Window) -> Iterator[Field]:
    yield "window", " ".join(map(str, sorted(window.days)))
    yield "window.start", window.start.isoformat("microseconds")
    yield "window.end", window.end.isoformat("microseconds")
    yield "window.zone", window.zone


def blackout_fields(blackout: Blackout) -> Iterator[Field]:
    yield "blackout", blackout.first.isoformat()
    yield "blackout.last", blackout.last.isoformat()
    yield "blackout.zone", blackout.zone


def command_fields(command: HookCommand) -> Iterator[Field]:
    for argument in command.argv:
        yield "command.argument", argument
    yield "command.timeout", float(command.timeout)
    for variable in command.env:
        yield "command.env", variable
