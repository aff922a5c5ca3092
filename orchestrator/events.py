"""What happened during a run, as frozen records for whoever watches it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.model import (
    Activation,
    AppId,
    Certificate,
    KeyRef,
    Outcome,
    RunId,
    StopCause,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The plan is resolved and the first call is about to be made."""

    run_id: RunId
    plan: str
    org: str
    dry_run: bool
    targets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRead:
    """The source key of a job is known, or is not to be had (`problem`)."""

    job: str
    key: KeyRef
    certificate: Certificate | None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettled:
    """The outcome of a target is final for this run."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMade:
    """A new key exists: it was generated, or its certificate was published."""

    job: str
    key: KeyRef
    adopted: bool  # it was found where an answer had been lost


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveBegun:
    """The gates of a wave are open, and its targets are about to be activated."""

    job: str
    wave: int
    waves: int
    targets: int  # in the wave, whatever their state


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveHeld:
    """A wave goes no further until people say so."""

    job: str
    wave: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSettled:
    """A target's activation, or its way back, has come to something."""

    activation: Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEnded:
    """A command of the plan has run."""

    moment: str
    command: str
    job: str | None
    app: str | None
    ok: bool
    detail: str  # how it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """Something a person should know that changes nothing."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cautioned:
    """There is something to think about in a job."""

    kind: str
    job: str
    detail: str
    count: int  # targets that it is about
    apps: tuple[AppId, ...]  # the first of them


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRetried:
    """An attempt failed in a way that a further attempt may mend."""

    call: str  # method and path template
    attempt: int  # the attempt that failed, from 1
    cause: str
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPaced:
    """A call waits for its rate-limit bucket."""

    bucket: str
    wait_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopping:
    """No further target is started; those in flight are finished."""

    cause: StopCause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Every target has an outcome."""

    counts: dict[str, int]  # by status
    exit_code: int


Event = (
    RunStarted
    | SourceRead
    | KeyMade
    | TargetSettled
    | WaveBegun
    | WaveHeld
    | ActivationSettled
    | HookEnded
    | Noticed
    | Cautioned
    | CallRetried
    | CallPaced
    | RunStopping
    | RunFinished
)


class Observer(Protocol):
    """Told of every event, in order. Must not block; it cannot change the run."""

    def notify(self, event: Event) -> None: ...


class Broadcast:
    """Pass every event to several observers; one that cannot write any more is dropped."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self.observers = list(observers)

    def notify(self, event: Event) -> None:
        for observer in tuple(self.observers):
            try:
                observer.notify(event)
            except OSError as error:  # a closed pipe, a full disk: the run is worth more
                self.observers.remove(observer)
                log.warning("%s is not told of events any more: %s", type(observer).__name__, error)
