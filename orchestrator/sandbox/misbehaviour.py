"""What each kind of fault does to a call: the answer it makes of it, and how it goes out."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from enum import Enum, auto

from orchestrator.sandbox import refusals
from orchestrator.sandbox.admission import authorize, perform
from orchestrator.sandbox.calls import (
    Answer,
    Call,
    as_json,
    holder_of,
    new_error_id,
    read_object,
    refusal_answer,
    with_body,
)
from orchestrator.sandbox.certs import Json, base64url
from orchestrator.sandbox.changes import NOTHING, Effect
from orchestrator.sandbox.editor import edit
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.keys_api import created_key
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.vocabulary import UPDATES

GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n"
    "</body>\r\n</html>\r\n"
)
GATEWAY_REASONS = {
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
VALIDATORS = {
    "clone": "cloneKey",
    "clone_idp_key": "cloneKey",
    "generate": "generateKey",
    "generate_idp_key": "generateKey",
    "publish_csr": "certificate",
    "publish_idp_csr": "certificate",
}
OAUTH_CODES = {
    401: "invalid_client",
    403: "access_denied",
    503: "temporarily_unavailable",
}


class Delivery(Enum):
    """How an answer leaves the sandbox."""

    WHOLE = auto()
    BARE = auto()  # from a gateway: without any of Okta's headers
    HALF = auto()  # the right Content-Length, half of the body, then the connection closes
    NEVER = auto()  # the connection closes at once
    HELD = auto()  # the connection stays silent for a while, then closes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What the sandbox does about one call."""

    answer: Answer
    delivery: Delivery = Delivery.WHOLE
    fault: Fault | None = None

    @property
    def sent_status(self) -> int:
        """Return the status that the caller gets to see; 0 for none."""
        silent = self.delivery in (Delivery.NEVER, Delivery.HELD)
        return 0 if silent else self.answer.status


def react(org: SandboxOrg, call: Call, fault: Fault | None) -> Reaction:
    """Perform the call as the fault lets it; this is where the org's state changes."""
    if fault is None:
        return Reaction(answer=perform(org, call))
    delivery = Delivery.WHOLE
    match fault.kind:
        case "lie":
            return tell_lie(org, call, fault)
        case "edit":
            return meddle(org, call, fault)
        case "truncate":
            answer, delivery = perform(org, call), Delivery.HALF
        case "garbage":
            answer = garbled(perform(org, call))
        case "collateral":
            answer = perform(org, replace(call, clumsy=True))
        case "redirect":
            answer = redirect(call, fault)
        case "error" | "reject":
            answer = refuse(org, call, fault)
        case "gateway":
            page = gateway_page(fault, effect=effect_of(org, call, fault))
            answer, delivery = page, Delivery.BARE
        case "drop":
            answer, delivery = silence(org, call, fault), Delivery.NEVER
        case "stall":
            answer, delivery = silence(org, call, fault), Delivery.HELD
    return Reaction(answer=answer, delivery=delivery, fault=fault)


def silence(org: SandboxOrg, call: Call, fault: Fault) -> Answer:
    """Return no answer at all, whether or not the call has been done."""
    return Answer(status=0, effect=effect_of(org, call, fault))


def effect_of(org: SandboxOrg, call: Call, fault: Fault) -> Effect:
    """Perform the call if the fault strikes after the effect; return what that changed."""
    return perform(org, call).effect if fault.when == "after" else NOTHING


def garbled(answer: Answer) -> Answer:
    """Return the answer with a body that means nothing, if it has a body."""
    return with_body(answer, b"%\x00 not json, not xml <<<") if answer.body else answer


def meddle(org: SandboxOrg, call: Call, fault: Fault) -> Reaction:
    """Let somebody else edit the app or IdP; the call itself is answered as of its moment."""
    try:
        holder = org.find_holder(call.concerns or "")
    except refusals.Refusal:
        return Reaction(answer=perform(org, call))
    edited = fault.when == "before" and edit(org, holder, fault.edit)
    answer = perform(org, call)
    edited = edited or (fault.when == "after" and edit(org, holder, fault.edit))
    return Reaction(answer=answer, fault=fault if edited else None)


def refuse(org: SandboxOrg, call: Call, fault: Fault) -> Answer:
    """Answer with an Okta error that has nothing to do with the call."""
    effect = effect_of(org, call, fault) if fault.kind == "error" else NOTHING
    refusal = refusal_of(call, fault)
    written = refusal_answer(refusal, new_error_id(org))
    return Answer(status=refusal.status, body=written.body, effect=effect)


def refusal_of(call: Call, fault: Fault) -> refusals.Refusal:
    """Return the Okta error that the fault asks for."""
    status = fault.answer_status
    if call.endpoint.name == "token" and status != 429:
        return oauth_refusal_of(fault)
    code = fault.code or refusals.CODE_OF_STATUS.get(status, "E0000009")
    causes = (fault.cause,) if fault.kind == "reject" else ()
    if code == "E0000001":
        return refusals.invalid(VALIDATORS.get(call.endpoint.name, "policy"), *causes)
    return refusals.plain(status, code, *causes)


def oauth_refusal_of(fault: Fault) -> refusals.OAuthRefusal:
    """Return the error of the token endpoint that the fault asks for; its code is OAuth's."""
    status = fault.answer_status
    code = fault.code or OAUTH_CODES.get(
        status, "server_error" if status >= 500 else "invalid_request"
    )
    text = fault.cause if fault.kind == "reject" else "The request cannot be completed."
    return refusals.OAuthRefusal(status, code, text)


def redirect(call: Call, fault: Fault) -> Answer:
    """Send the caller to another host; the call has no effect."""
    location = f"https://{fault.host}{call.endpoint.template.split('{')[0]}"
    return Answer(status=fault.answer_status, headers=(("Location", location),))


def gateway_page(fault: Fault, *, effect: Effect) -> Answer:
    """Return the HTML page of a proxy that lost the org."""
    status = fault.answer_status
    reason = GATEWAY_REASONS.get(status, "Error")
    page = GATEWAY_PAGE.format(status=status, reason=reason)
    return Answer(status=status, body=page.encode(), content_type="text/html", effect=effect)


def tell_lie(org: SandboxOrg, call: Call, fault: Fault) -> Reaction:
    """Claim what was not done; what Okta would refuse is refused truthfully."""
    try:
        authorize(org, call)
        holder = holder_of(org, call)
        if call.endpoint.name in UPDATES:
            lied = false_echo(org, holder, call)
        else:
            lied = false_clone(org, holder, call, fault)
    except refusals.Refusal as refusal:
        return Reaction(answer=refusal_answer(refusal, new_error_id(org)))
    return Reaction(answer=replace(lied, effect=NOTHING), fault=fault)


def false_echo(org: SandboxOrg, holder: KeyHolder, call: Call) -> Answer:
    """Return the echo of a PUT that is done to a copy which nobody keeps."""
    phantom = copy.copy(holder)
    phantom.replace(read_object(call), org.epoch())
    return Answer(body=as_json(phantom.document()))


def false_clone(org: SandboxOrg, source: KeyHolder, call: Call, fault: Fault) -> Answer:
    """Return the answer to a clone that is not done, with one false statement in it."""
    target = org.draft_clone(source, call.kid or "", call.target)
    key = dict(org.get_key(source.id, call.kid or ""))
    truthful = created_key(org, source if fault.lie == "location" else target, key)
    return with_body(truthful, as_json(falsified(org, key, fault)))


def falsified(org: SandboxOrg, key: Json, fault: Fault) -> Json:
    """Return the key with one false statement; the rest is consistent."""
    other_kid = org.derive_kid(f"lie:{key['kid']}")
    match fault.lie:
        case "kid":
            return key | {"kid": other_kid}
        case "certificate":
            return org.material(other_kid).as_key(str(key["kid"]), str(key["created"]))
        case "thumbprint":
            digest = hashlib.sha256(json.dumps(key).encode()).digest()
            return key | {"x5t#S256": base64url(digest)}
        case "location" | "echo":
            return key
