"""Change what one target signs with: the calls around the pure decisions of `activation`.

Okta knows no conditional write, so the object is read, written and compared as one piece of work:
the slot for the write is held before the read, and no wait comes between the two.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.engine.activation import (
    Change,
    Collateral,
    Ruling,
    Write,
    decide,
    judge_echo,
    judge_reading,
    judge_refused,
    judge_restored,
)
from orchestrator.engine.context import RunContext
from orchestrator.engine.evidence import evidence_of
from orchestrator.errors import CallError, Halted, NoAnswer
from orchestrator.model import (
    Activation,
    ActivationState,
    Kid,
    Proof,
    Reason,
    Resource,
    Target,
)
from orchestrator.okta.document import SignerDocument
from orchestrator.okta.pacer import Slot
from orchestrator.okta.wire import CallTrace

MOST_ROUNDS = 4  # of reading and writing one target whose writes are lost or conflict
CONFLICT = 409


class Switch:
    """The switch of one target from one key to another, or back."""

    def __init__(
        self,
        context: RunContext,
        target: Target,
        change: Change,
        *,
        kid: Kid,
        wave: int,
        resource: Resource,
    ) -> None:
        self.context = context
        self.api = context.api
        self.target = target
        self.change = change
        self.kid = kid  # the run's key, also on the way back
        self.wave = wave
        self.resource = resource
        self.trace = CallTrace()
        self.seen: SignerDocument | None = None  # as last read
        self.unsettled: Write | None = None  # it was sent, and may have taken effect at any time

    async def carry_out(self) -> Activation:
        """Read, write and compare; return what came of it. It is not in the journal yet.

        Raises:
            AccessError: the org refuses our credential.
            Halted: the run is stopping, and nothing was written.
            StateError: the journal cannot be written, and so nothing was.
        """
        try:
            ruling = await self.settle()
        except Halted:
            raise
        except CallError as error:
            reason = Reason.NO_ANSWER if isinstance(error, NoAnswer) else Reason.REJECTED
            ruling = Ruling(
                state=ActivationState.FAILED, reason=reason, detail=error.message, retryable=True
            )
        return self.activation(ruling)

    def refuse(self, why: str) -> Activation:
        """Return what becomes of a target that is not to be touched, though its wave may go."""
        ruling = Ruling(
            state=ActivationState.FAILED, reason=Reason.HOOK, detail=why, retryable=True
        )
        return self.activation(ruling)

    async def settle(self) -> Ruling:
        """Go round until the target has a ruling: mostly once."""
        write: Write | None = None
        for _ in range(MOST_ROUNDS):
            result: Ruling | Collateral | Write | None
            async with self.api.write_slot(self.resource, self.trace) as slot:
                found = await self.read()
                if isinstance(found, Ruling):
                    return found
                result = judge_reading(found, write) if write else decide(found, self.change)
                if isinstance(result, Write):
                    write = result
                    await self.intend(write)
                    result = await self.write(write, slot)
            if isinstance(result, Collateral) and write is not None:
                return await self.restore(write, result)
            if isinstance(result, Ruling):
                return result
        return self.no_ruling()

    def no_ruling(self) -> Ruling:
        return Ruling(
            state=ActivationState.FAILED,
            reason=Reason.NO_ANSWER,
            detail="no write of it came to anything that is known; the next run will tell",
            retryable=True,
        )

    async def read(self) -> SignerDocument | Ruling:
        reply = await self.api.get_signer(self.target.app, self.trace, resource=self.resource)
        if reply.refusal is not None or reply.value is None:
            assert reply.refusal is not None  # noqa: S101 - a reply has one or the other
            return judge_refused(reply.refusal, "show")
        self.seen = reply.value
        return reply.value

    async def intend(self, write: Write) -> None:
        """Make the former key durable before it is replaced."""
        state = ActivationState.REVERTING if self.change.back else ActivationState.INTENDED
        ruling = Ruling(state=state, detail="about to be written", previous_kid=write.previous_kid)
        intent = replace(self.activation(ruling), fingerprint=write.fingerprint)
        await self.context.journal.note_activation(intent)

    async def write(self, write: Write, slot: Slot | None) -> Ruling | Collateral | None:
        """Send the object; None where only another round can tell what became of it.

        That is so also where it surely had no effect, such as after a 429: a slot is for one
        attempt, and before the next the object is to be read again.
        """
        try:
            reply = await self.api.put_signer(
                self.target.app, write.body, self.trace, resource=self.resource, slot=slot
            )
        except NoAnswer as error:
            if error.lost:
                self.unsettled = write
            return None
        if reply.refusal is not None:
            if reply.refusal.status == CONFLICT:
                return None
            return judge_refused(reply.refusal, "change")
        return judge_echo(reply.value or b"", write)

    async def restore(self, write: Write, collateral: Collateral) -> Ruling:
        """Put the object back as it was read, and say honestly whether that worked.

        That is done also where the run is stopping: people may be locked out until it is.
        """
        echo: bytes | None = None
        try:
            with self.context.halt.overruled():
                reply = await self.api.put_signer(
                    self.target.app, write.document.body, self.trace, resource=self.resource
                )
            echo = reply.value
        except CallError:
            echo = None
        return judge_restored(echo, write, collateral.changes)

    def is_vain(self, ruling: Ruling) -> bool:
        """Say whether a way back has left the target as it was, signing with the run's key."""
        failed = ruling.state is ActivationState.FAILED and ruling.reason is not Reason.DRIFT
        return self.change.back and failed

    def previous_kid(self, ruling: Ruling) -> Kid | None:
        """Return the key to go back to; once known, it stays known."""
        if self.change.back:
            return self.change.to
        for known in (ruling, self.unsettled, self.change.begun):
            if known is not None and known.previous_kid is not None:
                return known.previous_kid
        return None

    @property
    def fingerprint(self) -> str | None:
        """Return that of the object before the last write whose end is not known."""
        known = self.unsettled or self.change.begun
        return known.fingerprint if known else None

    def last_updated(self, ruling: Ruling) -> str | None:
        """Return that of the object as it was read before we wrote it, maybe long before."""
        begun = self.change.begun
        if self.unsettled is not None:
            return self.unsettled.document.last_updated
        if ruling.proof is Proof.READ and begun is not None and begun.last_updated is not None:
            return begun.last_updated
        return self.seen.last_updated if self.seen else None

    def activation(self, ruling: Ruling) -> Activation:
        """Join a ruling with what it took to reach it, and with what was known before."""
        begun = self.change.begun
        seen = self.seen
        state, problem = ruling.state, ruling.problem
        if begun is not None and self.is_vain(ruling):
            # A write that may still arrive leaves nobody knowing.
            state = ActivationState.REVERTING if self.unsettled else begun.state
            problem = f"it could not be rolled back: {ruling.detail}"
        return Activation(
            target=self.target,
            kid=self.kid,
            wave=self.wave,
            state=state,
            detail=ruling.detail,
            previous_kid=self.previous_kid(ruling),
            label=seen.label if seen else (begun.label if begun else None),
            proof=ruling.proof,
            reason=ruling.reason,
            retryable=ruling.retryable and not self.change.back,
            last_updated=self.last_updated(ruling),
            fingerprint=self.fingerprint,
            changes=ruling.changes,
            problem=problem,
            evidence=evidence_of(
                self.trace,
                http_status=ruling.http_status,
                okta_code=ruling.okta_code,
                causes=ruling.causes,
            ),
            at=self.context.now(),
        )
