"""The history of a run as a person reads it: what happened, when, and who let it happen. Pure.

Events that tell of one target each are counted together, so that it does not grow with targets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from orchestrator.engine.cautions import CAUTIONED
from orchestrator.engine.confirm import WAVE_CHECKED
from orchestrator.engine.gates import HELD, numbered
from orchestrator.engine.keys import CSR_CREATED, CSR_INTENDED, KEY_INTENDED
from orchestrator.engine.result import HOOK_RAN
from orchestrator.report.wording import STATE_WORDS
from orchestrator.store.base import WAVE_APPROVED, EventKind, EventRecord

MOST = 400  # moments; of more, the first and the last are told
EVERY_WAVE = 0  # what a hold says of the wave when a run is taken back
MADE_BEFORE_WRITING = ("intended", "reverting")  # states in which nothing has happened yet


class Kind(StrEnum):
    """What a moment is about."""

    RUN = "run"
    KEY = "key"
    STAGE = "stage"
    PEOPLE = "people"
    ACTIVATE = "activate"
    BACK = "back"
    HELD = "held"
    HOOK = "hook"


@dataclass(slots=True)
class Moment:
    """Something that happened, once or again and again for a while."""

    at: datetime
    kind: Kind
    text: str
    until: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def counted(self) -> str:
        """Say how often, by what it came to."""
        return ", ".join(f"{number} {word}" for word, number in self.counts.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Moments in the order in which they began; some in the middle may be left out."""

    first: Sequence[Moment]
    left_out: int = 0
    last: Sequence[Moment] = ()


Body = Mapping[str, object]


def timeline_of(events: Iterable[EventRecord], jobs: Mapping[int, str]) -> Timeline:
    """Return the history of a run; `jobs` has the jobs' names by position."""
    teller = Teller(jobs)
    for event in events:
        teller.take(event)
    if len(teller.moments) <= MOST:
        return Timeline(first=teller.moments)
    half = MOST // 2
    return Timeline(
        first=teller.moments[:half],
        left_out=len(teller.moments) - 2 * half,
        last=teller.moments[-half:],
    )


class Teller:
    """Takes the events of a run in order, and makes moments of them."""

    def __init__(self, jobs: Mapping[int, str]) -> None:
        self.jobs = jobs
        self.moments: list[Moment] = []
        self.open: dict[tuple[object, ...], Moment] = {}  # those of the session, by what they count
        self.sessions = 0
        self.goes_back = False  # the session takes the run back

    def take(self, event: EventRecord) -> None:
        """Take one event; of a kind that is not known, that it was there."""
        body = event.body
        match event.kind:
            case EventKind.TARGET_SETTLED:
                self.count(event, Kind.STAGE, "Staging", words(str(body.get("status"))))
            case EventKind.ACTIVATION_NOTED:
                self.take_activation(event)
            case EventKind.TARGETS_ADDED:
                self.count_targets(event, "added by the plan")
            case EventKind.TARGETS_REMOVED:
                self.count_targets(event, "removed from the plan")
            case EventKind.TARGETS_ACKNOWLEDGED:
                targets = body.get("targets")
                self.count(
                    event,
                    Kind.PEOPLE,
                    f"{body.get('by')} acknowledged",
                    "targets",
                    len(targets) if isinstance(targets, list) else 1,
                )
            case _ if event.kind == HOOK_RAN:
                ok = body.get("exit_code") == 0
                self.count(event, Kind.HOOK, f"Hook {body.get('on')}", "ran" if ok else "failed")
            case _ if event.kind != CAUTIONED:  # those have a place of their own
                for kind, text in self.told(event):
                    self.moments.append(Moment(event.at, kind, text))

    def take_activation(self, event: EventRecord) -> None:
        state = str(event.body.get("state"))
        if state in MADE_BEFORE_WRITING:
            return
        what, kind = ("Taking back", Kind.BACK) if self.goes_back else ("Activation", Kind.ACTIVATE)
        target = event.body.get("target")
        job = target.get("job") if isinstance(target, Mapping) else None
        wave = event.body.get("wave")  # a preview that was not told has 0
        text = f"{what}, job {job}" + (f", wave {wave}" if wave else "")
        self.count(event, kind, text, STATE_WORDS_BY_NAME.get(state, words(state)))

    def count_targets(self, event: EventRecord, what: str) -> None:
        listed = event.body.get("targets", event.body.get("apps"))
        number = len(listed) if isinstance(listed, list) else 1
        text = f"Targets of {self.job(event.body)}"
        self.count(event, Kind.RUN, text, what, number)

    def count(
        self, event: EventRecord, kind: Kind, text: str, outcome: str, number: int = 1
    ) -> None:
        """Count an event together with others of its session that are like it."""
        moment = self.open.get((kind, text))
        if moment is None:
            moment = self.open[kind, text] = Moment(event.at, kind, text)
            self.moments.append(moment)
        elif event.at > moment.at:
            moment.until = event.at
        moment.counts[outcome] += number

    def told(self, event: EventRecord) -> Iterator[tuple[Kind, str]]:
        """Yield what there is to say of an event that stands alone."""
        body, job = event.body, self.job(event.body)
        match event.kind:
            case EventKind.RUN_CREATED:
                yield Kind.RUN, "The run was begun"
            case EventKind.PLAN_CHANGED:
                yield Kind.RUN, "The plan was changed"
            case EventKind.SESSION_STARTED:
                self.sessions += 1
                self.open.clear()
                self.goes_back = False
                yield Kind.RUN, f"Session {self.sessions} began{session_text(body)}"
            case EventKind.SESSION_ENDED:
                yield Kind.RUN, f"Session {self.sessions} ended{end_text(body)}"
            case EventKind.SOURCE_READ:
                yield source_moment(job, body)
            case EventKind.WAVES_ASSIGNED:
                yield Kind.ACTIVATE, f"Waves of {job}: {waves_text(body)}"
            case _:
                yield self.told_of_others(event.kind, job, body)

    def told_of_others(self, kind: str, job: str, body: Body) -> tuple[Kind, str]:
        """Return what there is to say of what the engine and people have noted."""
        wave = body.get("wave")
        if kind == WAVE_APPROVED:
            what = "all waves" if wave == EVERY_WAVE else f"wave {wave}"
            return Kind.PEOPLE, f"{body.get('by')} approved {what} of {job}"
        if kind == HELD:
            if wave == EVERY_WAVE:
                self.goes_back = True
                return Kind.BACK, f"J{job[1:]} is taken back: {body.get('detail')}"
            return Kind.HELD, f"Wave {wave} of {job} is held: {body.get('detail')}"
        if kind == WAVE_CHECKED:
            return Kind.ACTIVATE, f"Wave {wave} of {job} was held against the System Log"
        if kind == KEY_INTENDED:
            return Kind.KEY, f"A new key is about to be made for {job}"
        if kind == CSR_INTENDED:
            return Kind.KEY, f"A signing request is about to be made for {job}"
        if kind == CSR_CREATED:
            return Kind.KEY, f"The signing request {body.get('id')} of {job} is there"
        return Kind.RUN, words(kind).capitalize()

    def job(self, body: Body) -> str:
        position = body.get("job")
        name = self.jobs.get(position) if isinstance(position, int) else None
        return f"job {name}" if name is not None else "a job"


STATE_WORDS_BY_NAME = {state.value: word for state, word in STATE_WORDS.items()}


def words(name: str) -> str:
    return name.replace("_", " ")


def session_text(body: Body) -> str:
    session = body.get("session")
    if not isinstance(session, Mapping):
        return ""
    return f" on {session.get('host')}, version {session.get('version')}"


def end_text(body: Body) -> str:
    stop = body.get("stop")
    why = f": {stop.get('detail')}" if isinstance(stop, Mapping) else ""
    return f" with exit code {body.get('exit_code')}{why}"


def source_moment(job: str, body: Body) -> tuple[Kind, str]:
    if body.get("problem"):
        return Kind.HELD, f"The key of {job} cannot be used: {body.get('problem')}"
    certificate = body.get("certificate")
    until = certificate.get("not_after") if isinstance(certificate, Mapping) else None
    return Kind.KEY, f"The key of {job} is known" + (
        f", valid until {str(until)[:10]}" if until else ""
    )


def waves_text(body: Body) -> str:
    """Say how many targets each wave takes, of many waves only the first."""
    sizes: list[int] = []
    waves = body.get("waves")
    for pair in waves if isinstance(waves, list) else ():
        match pair:
            case [int(), int(size)]:
                sizes.append(size)
    shown = ", ".join(map(str, sizes[:10]))
    return f"{numbered(sum(sizes))} in {len(sizes)} ({shown}{', ...' if len(sizes) > 10 else ''})"
