"""What each kind of fault does to a call: the answer it makes of it, and how it goes out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum, auto

from orchestrator.sandbox import refusals
from orchestrator.sandbox.certs import Json, base64url
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.routes import (
    Answer,
    Call,
    as_json,
    created_key,
    new_error_id,
    perform,
    refusal_answer,
    with_body,
)

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
VALIDATORS = {"clone": "cloneKey", "generate": "generateKey"}


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
    match fault.kind:
        case "truncate":
            return Reaction(answer=perform(org, call), delivery=Delivery.HALF, fault=fault)
        case "garbage":
            garbled = with_body(perform(org, call), b"%\x00 not json, not xml <<<")
            return Reaction(answer=garbled, fault=fault)
        case "lie":
            return tell_lie(org, call, fault)
        case "redirect":
            return Reaction(answer=redirect(call, fault), fault=fault)
        case "error" | "reject":
            return Reaction(answer=refuse(org, call, fault), fault=fault)
        case "gateway":
            page = gateway_page(fault, effect=effect_of(org, call, fault))
            return Reaction(answer=page, delivery=Delivery.BARE, fault=fault)
        case "drop" | "stall":
            silence = Delivery.NEVER if fault.kind == "drop" else Delivery.HELD
            nothing = Answer(status=0, effect=effect_of(org, call, fault))
            return Reaction(answer=nothing, delivery=silence, fault=fault)


def effect_of(org: SandboxOrg, call: Call, fault: Fault) -> bool:
    """Perform the call if the fault strikes after the effect; say whether state changed."""
    return fault.when == "after" and perform(org, call).effect


def refuse(org: SandboxOrg, call: Call, fault: Fault) -> Answer:
    """Answer with an Okta error that has nothing to do with the call."""
    effect = fault.kind == "error" and effect_of(org, call, fault)
    refusal = refusal_of(call, fault)
    written = refusal_answer(refusal, new_error_id(org))
    return Answer(status=refusal.status, body=written.body, effect=effect)


def refusal_of(call: Call, fault: Fault) -> refusals.Refusal:
    """Return the Okta error that the fault asks for."""
    status = fault.answer_status
    code = fault.code or refusals.CODE_OF_STATUS.get(status, "E0000009")
    causes = (fault.cause,) if fault.kind == "reject" else ()
    if code == "E0000001":
        return refusals.invalid(VALIDATORS.get(call.endpoint.name, "policy"), *causes)
    return refusals.plain(status, code, *causes)


def redirect(call: Call, fault: Fault) -> Answer:
    """Send the caller to another host; the call has no effect."""
    location = f"https://{fault.host}{call.endpoint.template.split('{')[0]}"
    return Answer(status=fault.answer_status, headers=(("Location", location),))


def gateway_page(fault: Fault, *, effect: bool) -> Answer:
    """Return the HTML page of a proxy that lost the org."""
    status = fault.answer_status
    reason = GATEWAY_REASONS.get(status, "Error")
    page = GATEWAY_PAGE.format(status=status, reason=reason)
    return Answer(status=status, body=page.encode(), content_type="text/html", effect=effect)


def tell_lie(org: SandboxOrg, call: Call, fault: Fault) -> Reaction:
    """Claim a clone that was not done; a clone that Okta would refuse is refused truthfully."""
    try:
        target = org.draft_clone(call.app or "", call.kid or "", call.target)
    except refusals.Refusal as refusal:
        return Reaction(answer=refusal_answer(refusal, new_error_id(org)))
    key = dict(org.get_key(call.app or "", call.kid or ""))
    named = call.app if fault.lie == "location" else target.id
    truthful = created_key(org, named or "", key)
    lied = Answer(
        status=truthful.status, body=as_json(falsified(org, key, fault)), headers=truthful.headers
    )
    return Reaction(answer=lied, fault=fault)


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
        case "location":
            return key
