"""A whole rotation and its way back, and what must be true whenever a program has died over it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from orchestrator.engine.activation import is_legal
from orchestrator.engine.keys import CSR_INTENDED, KEY_INTENDED
from orchestrator.model import ActivationState, Status
from orchestrator.store.base import EventKind, RunRecord, RunState, TargetRecord
from orchestrator.store.sqlite import Store
from tests.crash.child import Orders, Step
from tests.crash.scene import KID, SOURCE, Backdrop
from tests.crash.wire import Moment, SeenCall, Trap
from tests.sandbox.authority import issued, pem_of

GENERATE = "{generate: {validity_years: 3}}"
EACH_TARGET = "{generate: {each_target: true, validity_years: 3}}"
CSR = "{csr: {subject: {common_name: sso.acme.com}, san: [sso.acme.com]}}"
HELD = 6  # the exit code of a run that activates nothing further until a person says so


class Kind(StrEnum):
    """What a call is for."""

    CLOCK = "clock"
    GENERATE = "generate"
    KEYS = "keys"  # all of an app
    REQUEST = "request"  # a CSR is made
    REQUESTS = "requests"  # and looked for
    PUBLISH = "publish"
    CLONE = "clone"
    KEY = "key"  # one of an app
    READ = "read"  # the whole app
    WRITE = "write"
    LIST = "list"
    LOGS = "logs"


APP = "/api/v1/apps/[^/]+"
CALLS = {  # all that a program may ask for
    Kind.CLOCK: "GET /.well-known/okta-organization",
    Kind.GENERATE: f"POST {APP}/credentials/keys/generate",
    Kind.KEYS: f"GET {APP}/credentials/keys",
    Kind.REQUEST: f"POST {APP}/credentials/csrs",
    Kind.REQUESTS: f"GET {APP}/credentials/csrs",
    Kind.PUBLISH: f"POST {APP}/credentials/csrs/[^/]+/lifecycle/publish",
    Kind.CLONE: f"POST {APP}/credentials/keys/[^/]+/clone",
    Kind.KEY: f"GET {APP}/credentials/keys/[^/]+",
    Kind.READ: f"GET {APP}",
    Kind.WRITE: f"PUT {APP}",
    Kind.LIST: "GET /api/v1/apps",
    Kind.LOGS: "GET /api/v1/logs",
}
ONCE = (  # in one session, for each app
    Kind.GENERATE,
    Kind.REQUEST,
    Kind.PUBLISH,
    Kind.CLONE,
    Kind.READ,
    Kind.WRITE,
)


def kind_of(call: SeenCall) -> Kind:
    text = f"{call.method} {call.path}"
    return next(kind for kind, pattern in CALLS.items() if re.fullmatch(pattern, text))


def app_of(call: SeenCall) -> str:
    """Return the app that a call is about: of a clone, the target."""
    parts = call.path.split("/")
    return call.target or (parts[4] if len(parts) > 4 else "")


def nth(kind: Kind, moment: Moment, number: int = 1) -> Trap:
    """Return the trap for the n-th call of a kind."""
    numbers = count(1)
    return Trap(fits=lambda call: kind_of(call) is kind and next(numbers) == number, moment=moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What a journal holds of a rotation."""

    run: RunRecord | None = None
    records: tuple[TargetRecord, ...] = ()
    keyed: frozenset[str] = frozenset()  # apps whose new key is known
    requested: frozenset[str] = frozenset()  # apps whose CSR is known
    intended: frozenset[str] = frozenset()  # apps for which a key, or a CSR, was to be made

    def by_state(self, *states: ActivationState) -> frozenset[str]:
        return frozenset(
            each.target.app
            for each in self.records
            if each.activation is not None and each.activation.state in states
        )

    @property
    def staged(self) -> frozenset[str]:
        return frozenset(
            each.target.app
            for each in self.records
            if each.outcome is not None and each.outcome.status.is_staged
        )

    @property
    def active(self) -> frozenset[str]:
        return self.by_state(ActivationState.ACTIVATED, ActivationState.VERIFIED)

    @property
    def taken_back(self) -> frozenset[str]:
        return self.by_state(ActivationState.ROLLED_BACK)

    @property
    def done(self) -> Mapping[Kind, frozenset[str]]:
        """Return the apps for which calls have done their work, so that none is sent again."""
        switched = self.active | self.taken_back
        return {
            Kind.GENERATE: self.keyed,
            Kind.REQUEST: self.requested | self.keyed,
            Kind.PUBLISH: self.keyed,
            Kind.CLONE: self.staged,
            Kind.READ: switched,
            Kind.WRITE: switched,
        }


@dataclass
class RotationScene(Backdrop):
    """A plan that goes the whole way: it makes a key, stages, activates and verifies it."""

    key: str = GENERATE
    verify: str = "read_back"
    top: str = ""  # further lines of the plan
    known: Ledger = field(default_factory=Ledger)  # to the journal, when the last program ended
    spare: Counter[Kind] = field(default_factory=Counter)  # calls in flight at the kills
    goes_back: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if SOURCE not in self.org.apps:
            self.org.add_app(SOURCE)
        self.former = {app: self.kid_of(app) for app in (SOURCE, *self.targets)}
        self.held = {app: self.kids_in(app) for app in (SOURCE, *self.targets)}

    def plan_text(self) -> str:
        source = f"{{key: {self.key}}}" if self.is_each else f"{{app: {SOURCE}, key: {self.key}}}"
        return (
            f"version: 1\nname: rotation\n{self.top}\njobs:\n  - name: job\n"
            f"    source: {source}\n    targets: [{', '.join(self.targets)}]\n"
            "    activate: {waves: [1, 100%]}\n    cross_check: true\n"
            f"    verify: {self.verify}\n"
            f"limits: {{workers: {self.workers}}}\n"
        )

    @property
    def is_each(self) -> bool:
        """Say whether every target gets a key of its own."""
        return self.key == EACH_TARGET

    @property
    def makers(self) -> set[str]:
        """Return the apps that get a key of their own."""
        if self.key == KID:
            return set()
        return set(self.targets) if self.is_each else {SOURCE}

    # The org

    def kid_of(self, app: str) -> str | None:
        """Return what an app signs with, if its sign-on mode has a key."""
        return self.org.apps[app].active_kid

    def kids_in(self, app: str) -> set[str]:
        """Return the keys that an app holds."""
        return {str(key["kid"]) for key in self.org.list_keys(app)}

    def new_keys(self, app: str) -> set[str]:
        return self.kids_in(app) - self.held[app]

    def switched(self) -> set[str]:
        """Return the apps that do not sign with their former key."""
        return {app for app, kid in self.former.items() if self.kid_of(app) != kid}

    def effects(self, method: str, end: str) -> Counter[str]:
        """Count the calls of a kind that changed the org, by the app that they were about."""
        return Counter(
            str(call.target or call.app)
            for call in self.org.log
            if call.effect and call.method == method and call.template.endswith(end)
        )

    def made(self) -> Counter[str]:
        """Count the new keys by the app that they were made for."""
        return self.effects("POST", "/keys/generate") + self.effects("POST", "/publish")

    def cloned(self) -> Counter[str]:
        return self.effects("POST", "/clone")

    def written(self) -> Counter[str]:
        return self.effects("PUT", "/api/v1/apps/{appId}")

    # Running

    def back_orders(self, die_at: Step | None = None) -> Orders:
        """Return the orders to take the run back."""
        self.goes_back = True
        where = ("--report-dir", str(self.reports))
        return self.orders("rollback", "latest", *where, die_at=die_at)

    async def run_until_call(self, trap: Trap) -> int:
        return await self.carry_out(self.run_orders(), trap=trap)

    async def roll_back(self, die_at: Step | None = None, trap: Trap | None = None) -> int:
        """Take the run back; return the exit code, or KILLED."""
        return await self.carry_out(self.back_orders(die_at=die_at), trap=trap)

    async def rotate(self) -> None:
        """Run the plan to its end, undisturbed."""
        assert await self.run() == 0, self.said()
        self.check(in_flight=0)

    def publish_orders(self, die_at: Step | None = None) -> Orders:
        """Return the orders to publish a certificate that a CA has signed for the run's request."""
        signed = self.folder / "signed.pem"
        if not signed.exists():
            [request] = self.reports.glob("*.csr.pem")
            signed.write_bytes(pem_of(issued_for(request.read_bytes())))
        where = ("--report-dir", str(self.reports))
        return self.orders("csr", "publish", "latest", str(signed), *where, die_at=die_at)

    # Checking

    async def check_crash(self) -> Ledger:
        """Check what is to be true between a kill and the next program."""
        await self.wire.quiet()
        return self.check(in_flight=self.workers)

    def check(self, *, in_flight: int) -> Ledger:
        """Check what is to be true whenever no program is at work.

        At its end so many calls of a kind, at most, may have been on their way.
        """
        ledger = self.ledger()
        self.check_org()
        self.check_claims(ledger)
        self.check_calls(ledger, in_flight)
        self.known = ledger
        return ledger

    def ledger(self) -> Ledger:
        """Read the journal, which must be whole."""
        with self.copied() as store:
            runs = store.archive.runs() if store else []
            if store is None or not runs:
                return Ledger()
            [run] = runs
            self.check_history(store, run)
            return ledger_of(store, run)

    def check_history(self, store: Store, run: RunRecord) -> None:
        """Check that no activation is claimed whose former key was not recorded before."""
        assert store.archive.verify(run.run_id).problem is None
        states: dict[str, ActivationState] = {}
        for event in store.archive.events(run.run_id, kind=EventKind.ACTIVATION_NOTED):
            body: Any = event.body
            app, state = body["target"]["app"], ActivationState(body["state"])
            assert is_legal(states.get(app), state), (app, states.get(app), state)
            if app not in states:
                assert not state.is_active, body
            assert body["previous_kid"] == self.former[app], body
            states[app] = state

    def check_org(self) -> None:
        """Check that no key was made twice, and nothing was changed that was not to be."""
        made = self.made()
        assert set(made) <= self.makers
        assert set(made.values()) <= {1}, "more than one key was made"
        assert self.org.csrs_made <= 1
        assert set(self.cloned().values()) <= {1}
        for app in self.held:
            assert len(self.new_keys(app)) <= 1, f"{app} holds more than one new key"
        assert self.kid_of(SOURCE) == self.former[SOURCE]
        assert self.org.collateral_changes() == 0

    def check_claims(self, ledger: Ledger) -> None:
        """Check that the org shows whatever the journal says, and the journal the way back."""
        for app in self.switched():
            assert app in {each.target.app for each in ledger.records if each.activation}, app
        for app in self.made():
            assert app in ledger.intended | ledger.keyed, f"nobody knows of the key of {app}"
        for record in ledger.records:
            app, outcome, activation = record.target.app, record.outcome, record.activation
            if outcome is not None and outcome.status.is_staged:
                assert self.org.holds(app, outcome.key.kid), outcome
            if activation is None:
                continue
            assert activation.previous_kid == self.former[app], activation
            assert self.kid_of(app) in self.may_sign_with(record), activation

    def may_sign_with(self, record: TargetRecord) -> set[str | None]:
        """Return what a target may sign with, given the record of its activation."""
        assert record.activation is not None
        state, kid = record.activation.state, record.activation.kid
        former = self.former[record.target.app]
        assert record.outcome is not None
        assert record.outcome.key.kid == kid
        if state.is_active:
            return {kid}
        return {former, kid} if state.is_unknown else {former}

    def check_calls(self, ledger: Ledger, most: int) -> None:
        """Check that the last session repeated nothing that the journal knew before it.

        Whatever it has not got into the journal was in flight, and may be repeated once.
        """
        for kind in ONCE:
            if kind is Kind.READ and self.is_each:
                continue  # no list confirms keys that are not shared: the apps are read again
            called = self.called(kind)
            assert set(called.values()) <= {1}, (kind, called)
            assert not set(called) & self.out_of_place(kind), (kind, called)
            in_flight = set(called) - self.finished(kind, ledger)
            assert len(in_flight) <= most, (kind, in_flight)
            self.spare[kind] += len(in_flight)

    def called(self, kind: Kind) -> Counter[str]:
        """Count the calls of a kind in the last session, by app."""
        session = self.wire.session
        calls = (each for each in self.wire.calls if each.session == session)
        return Counter(app_of(each) for each in calls if kind_of(each) is kind)

    def out_of_place(self, kind: Kind) -> frozenset[str]:
        """Return the apps for which the last session had no reason for such a call."""
        if self.goes_back and kind in (Kind.READ, Kind.WRITE):
            return self.known.taken_back
        return self.known.done[kind]

    def finished(self, kind: Kind, ledger: Ledger) -> frozenset[str]:
        """Return the apps for which the last session has got a call into the journal."""
        if self.goes_back and kind in (Kind.READ, Kind.WRITE):
            return ledger.taken_back
        return ledger.done[kind]

    # Ending

    async def finish(self) -> None:
        """Run the plan again, and hold everything against everything."""
        assert await self.run() == 0, self.said()
        ledger = self.check(in_flight=0)
        assert ledger.run is not None
        assert ledger.run.state is RunState.FINISHED
        assert self.made() == Counter(self.makers)
        assert self.cloned() == Counter([] if self.is_each else self.targets)
        assert self.written() == Counter(self.targets)
        assert self.switched() == set(self.targets)
        self.check_repeated()
        for row in self.rows():
            part = row["activation"]
            assert Status(row["status"]).is_staged, row
            assert row["proof"], row
            assert (part["state"], part["problem"]) == ("verified", None), row
            assert part["kid"] == row["kid"] == self.kid_of(row["app_id"]), row

    async def finish_back(self) -> None:
        """Take the run back again, and hold everything against everything."""
        assert await self.roll_back() == 0, self.said()
        self.check(in_flight=0)
        assert not self.switched()
        was_active = {app for app, number in self.written().items() if number}
        assert self.written() == Counter([*was_active, *was_active]), "one write each way"
        self.check_repeated()
        for row in self.rows():
            part = row["activation"]
            if row["app_id"] in was_active:
                assert part["state"] == "rolled_back", row
            assert part is None or part["state"] == "rolled_back", row

    async def check_it_stays(self) -> None:
        """Run the plan, as cron would: it may stage what is left, and activates nothing."""
        self.goes_back, written = False, self.written()
        code = await self.run()
        assert code in (0, HELD), self.said()
        assert (code == 0) == (set(written) == set(self.targets)), self.said()
        assert self.written() == written
        self.check(in_flight=0)
        assert not self.switched()

    def check_repeated(self) -> None:
        """Check that no more calls came to nothing than were in flight at the kills."""
        calls = Counter(kind_of(call) for call in self.wire.calls)
        assert calls[Kind.GENERATE] - self.made().total() <= self.spare[Kind.GENERATE]
        assert calls[Kind.CLONE] - self.cloned().total() <= self.spare[Kind.CLONE]
        assert calls[Kind.WRITE] - self.written().total() <= self.spare[Kind.WRITE]

    def rows(self) -> list[Any]:
        """Return the rows of the report, which must be about all targets in order."""
        [path] = self.reports.glob("*.json")
        rows = json.loads(path.read_text())["targets"]
        assert isinstance(rows, list)
        assert [row["app_id"] for row in rows] == self.targets
        return rows


def ledger_of(store: Store, run: RunRecord) -> Ledger:
    """Return what a store holds of a run."""
    archive, run_id = store.archive, run.run_id
    [job] = archive.jobs(run_id)
    records = tuple(archive.targets(run_id))
    keyed = {job.key.app} if job.certificate is not None else set()
    keyed |= {
        each.target.app
        for each in records
        if each.outcome is not None and each.outcome.status is Status.GENERATED
    }
    return Ledger(
        run=run,
        records=records,
        keyed=frozenset(map(str, keyed)),
        requested=frozenset(apps_in(archive.events(run_id, kind="csr_created"))),
        intended=frozenset(
            app
            for kind in (KEY_INTENDED, CSR_INTENDED)
            for app in apps_in(archive.events(run_id, kind=kind))
        ),
    )


def apps_in(events: Iterable[Any]) -> set[str]:
    return {str(event.body["app"]) for event in events}


def issued_for(request_pem: bytes) -> x509.Certificate:
    """Return the certificate that a CA gives for a request."""
    der = x509.load_pem_x509_csr(request_pem).public_bytes(Encoding.DER)
    return issued(b64encode(der).decode())
