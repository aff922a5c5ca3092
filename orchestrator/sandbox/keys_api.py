"""The endpoints of keys and CSRs, which apps and identity providers have alike."""

from __future__ import annotations

from base64 import b64encode

from orchestrator.sandbox import refusals
from orchestrator.sandbox.calls import (
    JSON_TYPE,
    Answer,
    Call,
    accepted_types,
    address_of,
    as_json,
    author_of,
    holder_of,
    read_object,
)
from orchestrator.sandbox.certs import POOL_SIZE, Json
from orchestrator.sandbox.changes import SOMETHING
from orchestrator.sandbox.csr import Csr, answer_of, read_certificate, sign_request
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.org import SandboxOrg

PKCS10_TYPE = "application/pkcs10"
PKCS10_HEADER = f"{PKCS10_TYPE}; filename=okta.p10"

# Keys


def list_keys(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(org.list_keys(holder_of(org, call).id)))


def get_key(org: SandboxOrg, call: Call) -> Answer:
    return Answer(body=as_json(org.get_key(holder_of(org, call).id, call.kid or "")))


def active_key(org: SandboxOrg, call: Call) -> Answer:
    """Return the active key in a list, or 204 for an IdP that has none."""
    holder = holder_of(org, call)
    if holder.active_kid is None:
        return Answer(status=204)
    return Answer(body=as_json([org.get_key(holder.id, holder.active_kid)]))


def generate(org: SandboxOrg, call: Call) -> Answer:
    holder = holder_of(org, call)
    key = org.generate_key(holder.id, call.query.get("validityYears"), author_of(org, call))
    return created_key(org, holder, key)


def clone(org: SandboxOrg, call: Call) -> Answer:
    source = holder_of(org, call)
    key = org.clone_key(source.id, call.kid or "", call.target, author_of(org, call))
    return created_key(org, org.find(source.resource, call.target or ""), key)


def created_key(org: SandboxOrg, holder: KeyHolder, key: Json) -> Answer:
    """Return the 201 for a key; Location is absolute and names what holds it now."""
    location = f"{address_of(org, holder)}/credentials/keys/{key['kid']}"
    headers = (("Location", location),)
    return Answer(status=201, body=as_json(key), headers=headers, effect=SOMETHING)


# CSRs


def list_csrs(org: SandboxOrg, call: Call) -> Answer:
    holder = holder_of(org, call)
    waiting = (holder.csrs or {}).values()
    return Answer(body=as_json([csr.as_json(csr_address(org, holder, csr)) for csr in waiting]))


def create_csr(org: SandboxOrg, call: Call) -> Answer:
    """Make a key pair and sign a request for it; the key is in no store until it is published."""
    holder = holder_of(org, call)
    metadata = read_object(call)
    number = org.csrs_made + 1
    slot = number % POOL_SIZE  # so that no two requests in a row are for one key
    csr = Csr(
        id=org.derive_kid(f"csr:{number}"),
        created=org.epoch(),
        slot=slot,
        der=sign_request(metadata, slot),
    )
    org.csrs_made = number
    holder.csrs = (holder.csrs or {}) | {csr.id: csr}
    org.note("csr_generate", holder, author_of(org, call), csrId=csr.id)
    location = ("Location", csr_address(org, holder, csr))
    return csr_answer(org, call, csr, status=201, headers=(location,))


def get_csr(org: SandboxOrg, call: Call) -> Answer:
    return csr_answer(org, call, find_csr(holder_of(org, call), call))


def delete_csr(org: SandboxOrg, call: Call) -> Answer:
    """Destroy a CSR with its key pair."""
    holder = holder_of(org, call)
    csr = find_csr(holder, call)
    drop_csr(holder, csr)
    org.note("csr_revoke", holder, author_of(org, call), csrId=csr.id)
    return Answer(status=204, effect=SOMETHING)


def publish_csr(org: SandboxOrg, call: Call) -> Answer:
    """Turn a CSR and the certificate for it into a key of the app or IdP."""
    holder = holder_of(org, call)
    csr = find_csr(holder, call)
    certificate = read_certificate(call.body, call.content_type, call.transfer_encoding)
    kid = org.mint.adopt(answer_of(csr, certificate, org.epoch()))
    drop_csr(holder, csr)
    org.store_key(holder, kid)
    org.note("csr_publish", holder, author_of(org, call), csrId=csr.id, kid=kid)
    return created_key(org, holder, org.get_key(holder.id, kid))


def find_csr(holder: KeyHolder, call: Call) -> Csr:
    """Return the CSR in the path, or refuse with the 404 that names it."""
    csr = (holder.csrs or {}).get(call.csr or "")
    if csr is None:
        raise refusals.missing_csr(call.csr or "")
    return csr


def drop_csr(holder: KeyHolder, csr: Csr) -> None:
    """Forget a CSR that has come to its end."""
    holder.csrs = {name: each for name, each in (holder.csrs or {}).items() if name != csr.id}


def csr_address(org: SandboxOrg, holder: KeyHolder, csr: Csr) -> str:
    """Return the URL of a CSR."""
    return f"{address_of(org, holder)}/credentials/csrs/{csr.id}"


def csr_answer(
    org: SandboxOrg,
    call: Call,
    csr: Csr,
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return a CSR as JSON or, to a caller that wants nothing but that, as base64 of its DER."""
    effect = SOMETHING if status == 201 else Answer().effect
    if PKCS10_TYPE in accepted_types(call) and JSON_TYPE not in accepted_types(call):
        encoding = ("Content-Transfer-Encoding", "base64")
        return Answer(
            status=status,
            body=b64encode(csr.der),
            content_type=PKCS10_HEADER,
            headers=(*headers, encoding),
            effect=effect,
        )
    body = as_json(csr.as_json(csr_address(org, holder_of(org, call), csr)))
    return Answer(status=status, body=body, headers=headers, effect=effect)
