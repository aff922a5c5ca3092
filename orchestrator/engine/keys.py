"""Come by the key of a job: read it, look it up, make it, or wait for a CA to sign it.

Making a key cannot be repeated without making another. So the intent is in the journal before the
call, with the org's time; where an answer was lost, the key that has appeared since is adopted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestrator.engine.context import RunContext
from orchestrator.engine.staging import FutureKey, SourceKey, Verdict, refused_call
from orchestrator.errors import CallError, Halted, NoAnswer
from orchestrator.model import (
    AppId,
    CsrRequest,
    KeyKind,
    KeyRef,
    Kid,
    Proof,
    Reason,
    Resource,
    Status,
)
from orchestrator.okta.api import OktaApi
from orchestrator.okta.certificates import certificate_of
from orchestrator.okta.wire import (
    CallTrace,
    JsonWebKey,
    Refusal,
    Reply,
    SigningRequest,
    is_identity,
    located_key,
    moment_of,
)
from orchestrator.store.base import EventRecord, JobRecord

KEY_INTENDED = "key_intended"  # kinds of events
CSR_INTENDED = "csr_intended"
CSR_CREATED = "csr_created"
CLOCK_SLACK = timedelta(seconds=5)  # by how much we may be wrong about the org's clock
VALIDITY_SLACK = timedelta(days=3)
MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EachKey:
    """Every target of the job gets a key of its own."""

    validity_years: int
    resource: Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedKey:
    """The key will come from outside, through `okta-keys csr publish`."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key that is new, with what shows it."""

    source: SourceKey
    proof: Proof
    adopted: bool = False  # it was found where an answer had been lost


JobKey = SourceKey | FutureKey | EachKey | AwaitedKey
Intents = Mapping[tuple[int, str], datetime]  # job's position and app -> since when


def intents_of(events: Iterable[EventRecord]) -> dict[tuple[int, str], datetime]:
    """Return when each key was last about to be made."""
    found: dict[tuple[int, str], datetime] = {}
    for event in events:
        job, app, since = (event.body.get(name) for name in ("job", "app", "since"))
        if isinstance(job, int) and isinstance(app, str) and isinstance(since, str):
            found[job, app] = datetime.fromisoformat(since)
    return found


async def read_source(api: OktaApi, ref: KeyRef) -> SourceKey | str:
    """Read the key to clone, once for all its targets, or say why it cannot be used.

    This one call spares all the others when the app or the key does not exist, and gives the
    certificate that every clone is held against.

    Raises:
        AccessError: the org refuses our credential.
        Halted: the run is stopping.
    """
    try:
        reply = await api.get_key(ref, CallTrace())
    except Halted:
        raise
    except CallError as error:
        return error.message
    if reply.refusal is not None:
        return f"the source key cannot be read: {reply.refusal}"
    if reply.value is None or reply.value.kid != ref.kid:
        return "the org answered with another key than the source's"
    try:
        return SourceKey(ref=ref, certificate=certificate_of(reply.value))
    except ValueError as error:
        return f"the source key cannot be trusted: {error}"


async def look_up(api: OktaApi, job: JobRecord) -> KeyRef | str:
    """Return the key that `active` or `newest` means now, or say why there is none.

    Raises:
        AccessError: the org refuses our credential.
        Halted: the run is stopping.
    """
    source, trace = job.key, CallTrace()
    try:
        if job.wanted.kind is KeyKind.ACTIVE:
            signer = await api.get_signer(source.app, trace, resource=source.resource)
            if signer.refusal is not None:
                return f"the source cannot be read: {signer.refusal}"
            kid = signer.value.active_kid if signer.value else None
            if kid is None:
                return "the source signs with no key"
            return KeyRef(app=source.app, kid=kid, resource=source.resource)
        keys = await api.list_keys(source.app, trace, resource=source.resource)
    except Halted:
        raise
    except CallError as error:
        return error.message
    if keys.refusal is not None:
        return f"the source's keys cannot be listed: {keys.refusal}"
    newest = newest_of(keys.value or [])
    if newest is None:
        return "the source holds no key"
    return KeyRef(app=source.app, kid=newest, resource=source.resource)


def newest_of(keys: Sequence[JsonWebKey]) -> Kid | None:
    """Return the kid of the key that was made last; the org's order is nothing to rely on."""
    dated = [(created_at(key), key.kid) for key in keys if key.kid]
    return Kid(max(dated, key=lambda pair: pair[0])[1]) if dated else None


def created_at(key: JsonWebKey | SigningRequest) -> datetime:
    """Return when the org says that it was made; the beginning of time if it does not."""
    return moment_of(key.created) or datetime.min.replace(tzinfo=UTC)


class KeyMaker:
    """Makes the new keys of one job, each once. `taken` are keys that other jobs have."""

    def __init__(
        self, context: RunContext, job: JobRecord, intents: Intents, taken: Collection[Kid] = ()
    ) -> None:
        self.context = context
        self.api = context.api
        self.job = job
        self.resource = job.key.resource
        self.intents = intents
        self.taken = taken

    async def make(self, app: AppId, years: int, trace: CallTrace) -> MadeKey | Verdict:
        """Generate a key of an app, or adopt the one that an earlier attempt has made.

        Raises:
            AccessError: the org refuses our credential.
            Halted: the run is stopping, and nothing was sent.
            StateError: the intent could not be recorded, and nothing was sent.
        """
        since = self.intents.get((self.job.position, app))
        is_under_way = False
        for _ in range(MOST_ROUNDS):
            if since is not None or not self.api.pacer.has_org_time:
                found = await self.find(app, years, since, trace)
                if found is not None:
                    return found
            if is_under_way:
                return unclear("no answer, and no new key yet; the next run will look again")
            since = await self.intend(app, years)
            try:
                reply = await self.api.generate_key(app, years, trace, resource=self.resource)
            except NoAnswer as error:
                if not error.lost:
                    return unclear(error.message)
                is_under_way = not error.answered
                continue
            made = judge_generated(reply, app, self.resource)
            if made is not None:
                return made
        return unclear("every answer was lost; the next run will look again")

    async def intend(self, app: AppId, years: int) -> datetime:
        """Make the intent durable, and return the time from which a new key would be ours."""
        since = self.context.now() - CLOCK_SLACK
        body = {
            "job": self.job.position,
            "app": app,
            "since": since.isoformat(),
            "validity_years": years,
        }
        await self.context.journal.note(KEY_INTENDED, body)
        return since

    async def find(
        self, app: AppId, years: int, since: datetime | None, trace: CallTrace
    ) -> MadeKey | Verdict | None:
        """Look for the key that a lost call has made; None when there is none.

        Without a call before, that only tells the org's time: by the wrong time an answer that is
        lost would make a second key.
        """
        try:
            reply = await self.api.list_keys(app, trace, resource=self.resource)
        except NoAnswer as error:
            return unclear(error.message)
        if reply.refusal is not None:
            return refused_call(reply.refusal)
        free = [key for key in reply.value or [] if key.kid not in self.taken]
        candidates = adoptable(free, since, years) if since is not None else []
        if len(candidates) > 1:
            kids = ", ".join(str(key.kid) for key in candidates)
            return Verdict(
                status=Status.FAILED,
                reason=Reason.PROOF_MISMATCH,
                detail=f"an answer was lost, and more than one key is new since: {kids}; "
                "name the one that is meant by its kid",
            )
        if not candidates:
            return None
        [key] = candidates
        return MadeKey(source=source_of(key, app, self.resource), proof=Proof.READ, adopted=True)


def source_of(key: JsonWebKey, app: AppId, resource: Resource) -> SourceKey:
    ref = KeyRef(app=app, kid=Kid(key.kid or ""), resource=resource)
    return SourceKey(ref=ref, certificate=certificate_of(key))


def adoptable(keys: Iterable[JsonWebKey], since: datetime, years: int) -> list[JsonWebKey]:
    """Return the keys that a generation since then may have made, going by date and validity."""
    second = since.replace(microsecond=0)
    found = []
    for key in keys:
        if not is_identity(key.kid) or created_at(key) < second:
            continue
        try:
            certificate = certificate_of(key)
        except ValueError:
            continue
        validity = certificate.not_after - certificate.not_before
        if abs(validity - timedelta(days=365.2425 * years)) <= VALIDITY_SLACK:
            found.append(key)
    return found


def judge_generated(
    reply: Reply[JsonWebKey], app: AppId, resource: Resource
) -> MadeKey | Verdict | None:
    """Judge the answer to a generation; None when it does not show the key it speaks of."""
    if reply.refusal is not None:
        return refused_call(reply.refusal)
    key = reply.value
    located = located_key(reply.location)
    if key is None or key.kid is None or located != (app, key.kid):
        return None
    try:
        return MadeKey(source=source_of(key, app, resource), proof=Proof.RESPONSE)
    except ValueError:
        return None


def unclear(detail: str) -> Verdict:
    """Return the verdict on a key of which nobody knows whether it was made."""
    return Verdict(status=Status.FAILED, reason=Reason.NO_ANSWER, detail=detail, retryable=True)


def why_not_made(kind: KeyKind, refusal: Refusal | None) -> str:
    """Return why there is no key where the org refuses to make it, or to show what holds it."""
    if kind is KeyKind.CSR or refusal is None:
        return f"the org does not make the CSR: {refusal}"
    return f"the key could not be made: {refused_call(refusal).detail}"


def certificate_for(csr_id: object) -> str:
    """Return what a job waits for whose request has been made."""
    return f"the signed certificate of CSR {csr_id} (okta-keys csr publish)"


class Requests:
    """Makes the certificate signing request of a job, once."""

    def __init__(self, context: RunContext, job: JobRecord) -> None:
        self.context = context
        self.api = context.api
        self.job = job

    async def make(self, request: CsrRequest) -> AwaitedKey | str:
        """Make the request unless it was made before; say what is waited for, or what is wrong.

        Raises:
            AccessError: the org refuses our credential.
            Halted: the run is stopping, and nothing was sent.
            StateError: the intent could not be recorded, and nothing was sent.
        """
        journal, position = self.context.journal, self.job.position
        for event in journal.notes(CSR_CREATED):
            if event.body.get("job") == position:
                return AwaitedKey(detail=certificate_for(event.body.get("id")))
        intents = intents_of(journal.notes(CSR_INTENDED))
        since = intents.get((position, self.job.key.app))
        is_blind = since is None and not self.api.pacer.has_org_time
        made = await self.find(since) if since or is_blind else None
        if made is None:
            made = await self.create(request)
        if isinstance(made, str):
            return made
        body = {"job": position, "app": self.job.key.app, "id": made.id, "csr": made.csr}
        await journal.note(CSR_CREATED, body)
        return AwaitedKey(detail=certificate_for(made.id))

    async def create(self, request: CsrRequest) -> SigningRequest | str:
        source = self.job.key
        since = self.context.now() - CLOCK_SLACK
        body = {"job": self.job.position, "app": source.app, "since": since.isoformat()}
        await self.context.journal.note(CSR_INTENDED, body)
        try:
            reply = await self.api.create_csr(
                source.app, request, CallTrace(), resource=source.resource
            )
        except NoAnswer as error:
            found = await self.find(since) if error.lost else None
            return found or f"the CSR may not have been made; run the plan again: {error.message}"
        if reply.refusal is not None or reply.value is None:
            return why_not_made(KeyKind.CSR, reply.refusal)
        return reply.value

    async def find(self, since: datetime | None) -> SigningRequest | str | None:
        """Look for the request that a lost call has made; without one, see `KeyMaker.find`."""
        source = self.job.key
        try:
            reply = await self.api.list_csrs(source.app, CallTrace(), resource=source.resource)
        except NoAnswer as error:
            return error.message
        if reply.refusal is not None:
            return f"the CSRs of the source cannot be listed: {reply.refusal}"
        if since is None:
            return None
        second = since.replace(microsecond=0)
        taken = {event.body.get("id") for event in self.context.journal.notes(CSR_CREATED)}
        new = (each for each in reply.value or [] if created_at(each) >= second)
        found = [each for each in new if each.id not in taken]  # nor those of other jobs
        if len(found) > 1:
            return "an answer was lost, and more than one CSR is new since: revoke one in Okta"
        return found[0] if found else None
