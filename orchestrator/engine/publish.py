"""Publish the certificate that a CA has signed for a job's request, once, and prove it."""

from __future__ import annotations

from base64 import b64encode

from orchestrator.engine.context import RunContext
from orchestrator.engine.keys import source_of
from orchestrator.engine.staging import SourceKey
from orchestrator.errors import CallError, Halted, NoAnswer
from orchestrator.okta.certificates import pem_of
from orchestrator.okta.wire import CallTrace, JsonWebKey, is_identity
from orchestrator.store.base import JobRecord


async def publish(context: RunContext, job: JobRecord, csr_id: str, der: bytes) -> SourceKey | str:
    """Publish a certificate, or find that it was published; return the key, or what is wrong.

    Can be repeated: a request is gone once its certificate is published, and then the key that
    holds this very certificate is looked for.

    Raises:
        AccessError: the org refuses our credential.
        Halted: the run is stopping, and nothing was sent.
    """
    source, trace = job.key, CallTrace()
    try:
        reply = await context.api.publish_csr(
            source.app, csr_id, pem_of(der).encode(), trace, resource=source.resource
        )
    except NoAnswer as error:
        if not error.lost:
            return error.message
        return await find(context, job, der, f"the answer was lost: {error.message}")
    except Halted:
        raise
    except CallError as error:
        return error.message
    if reply.refusal is not None:
        why = f"the org does not take the certificate: {reply.refusal}"
        return await find(context, job, der, why) if reply.refusal.status == 404 else why
    if reply.value is None or not holds(reply.value, der):
        return await find(context, job, der, "the answer does not hold the certificate")
    return source_of(reply.value, source.app, source.resource)


async def find(context: RunContext, job: JobRecord, der: bytes, why: str) -> SourceKey | str:
    """Look for the key that holds the certificate; `why` is what to say when there is none."""
    source = job.key
    try:
        reply = await context.api.list_keys(source.app, CallTrace(), resource=source.resource)
    except Halted:
        raise
    except CallError as error:
        return f"{why}; {error.message}"
    for key in reply.value or []:
        if key.kid and holds(key, der):
            return source_of(key, source.app, source.resource)
    return why


def holds(key: JsonWebKey, der: bytes) -> bool:
    """Say whether a key, which has a name, has this certificate."""
    is_whole = is_identity(key.kid) and len(key.x5c) > 0
    return is_whole and "".join(key.x5c[0].split()) == b64encode(der).decode()
