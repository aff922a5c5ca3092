"""One call taken apart, and the answer to it: what every endpoint works with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from orchestrator.sandbox import documents, refusals
from orchestrator.sandbox.certs import Json
from orchestrator.sandbox.changes import NOTHING, Effect
from orchestrator.sandbox.clientele import Caller
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.org import TARGET_PARAMETER, SandboxOrg
from orchestrator.sandbox.systemlog import Author
from orchestrator.sandbox.vocabulary import CLONES, EndpointName, Resource

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, taken apart."""

    endpoint: Endpoint
    holder: str | None = None  # the app or IdP in the path
    kid: str | None = None
    csr: str | None = None
    path: str = ""
    url: str = ""  # as it was asked for, without the query
    caller: Caller | None = None  # None: the endpoint is open to all
    proofs: tuple[str, ...] = ()  # the DPoP headers
    request_id: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = "*/*"
    content_type: str = ""
    transfer_encoding: str = ""
    body: bytes = b""
    clumsy: bool = False  # a fault: the org is to change more than it is asked to

    @property
    def resource(self) -> Resource | None:
        """Return what the path names, if it names an app or IdP."""
        return self.endpoint.resource if self.holder is not None else None

    @property
    def target(self) -> str | None:
        """Return the app or IdP that a clone is to write to."""
        return self.query.get(TARGET_PARAMETER[self.endpoint.resource])

    @property
    def concerns(self) -> str | None:
        """Return the app or IdP that the call is about."""
        return self.target if self.endpoint.name in CLONES else self.holder


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, without the headers that every answer has."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    effect: Effect = NOTHING


Handler = Callable[[SandboxOrg, Call], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the API."""

    name: EndpointName
    method: str
    template: str
    bucket: str | None  # None: not counted
    handler: Handler
    serves: tuple[str, ...] = (JSON_TYPE,)  # media types, of which the caller must accept one

    @property
    def resource(self) -> Resource:
        """Return what the endpoint is about."""
        return "idp" if self.template.startswith("/api/v1/idps") else "app"

    def captures(self, segments: list[str]) -> dict[str, str] | None:
        """Return the values of the path's parameters, or None if the path is another."""
        names = self.template.split("/")
        if len(names) != len(segments):
            return None
        pairs = list(zip(names, segments, strict=True))
        if any(name != text for name, text in pairs if not name.startswith("{")):
            return None
        return {name.strip("{}"): unquote(text) for name, text in pairs if name.startswith("{")}


def as_json(value: object) -> bytes:
    """Write JSON as Okta does: without spaces, in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def holder_of(org: SandboxOrg, call: Call) -> KeyHolder:
    """Return the app or IdP in the path, or refuse with the 404 that names it."""
    return org.find(call.endpoint.resource, call.holder or "")


def author_of(org: SandboxOrg, call: Call) -> Author:
    """Return who makes the call, for the System Log."""
    person = call.caller.person if call.caller else org.caller
    return Author(person=person, transaction=call.request_id, uri=call.path)


def address_of(org: SandboxOrg, holder: KeyHolder) -> str:
    """Return the URL of an app or IdP."""
    return f"{org.site.base_url}/api/v1/{holder.resource}s/{holder.id}"


def read_object(call: Call) -> Json:
    """Return the JSON object in the body of a call."""
    if call.content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        raise refusals.plain(400, "E0000021")
    try:
        body: object = json.loads(call.body)
    except (ValueError, RecursionError):
        raise refusals.plain(400, "E0000003") from None
    if not documents.is_object(body):
        raise refusals.plain(400, "E0000003")
    return body


def refusal_answer(refusal: refusals.Refusal, error_id: str) -> Answer:
    """Write a refusal in Okta's error format, or in that of OAuth."""
    status, headers = refusal.status, refusal.headers
    if isinstance(refusal, refusals.SilentRefusal):
        return Answer(status=status, content_type="", headers=headers)
    if isinstance(refusal, refusals.OAuthRefusal):
        said = {"error": refusal.code, "error_description": refusal.message}
        return Answer(status=status, body=as_json(said), headers=headers)
    body = {
        "errorCode": refusal.code,
        "errorSummary": refusal.message,
        "errorLink": refusal.code,
        "errorId": error_id,
        "errorCauses": [{"errorSummary": cause} for cause in refusal.causes],
    }
    return Answer(status=status, body=as_json(body), headers=headers)


def new_error_id(org: SandboxOrg) -> str:
    """Return an errorId: `oae` and 22 characters."""
    return f"oae{org.new_id('')}{org.new_id('')[:5]}"


def accepted_types(call: Call) -> set[str]:
    """Return the media ranges of the Accept header."""
    return {part.partition(";")[0].strip().lower() for part in call.accept.split(",")}


def check_accept(call: Call) -> None:
    """Refuse a call whose Accept header leaves out all that the endpoint sends."""
    if not accepted_types(call) & {*call.endpoint.serves, "application/*", "*/*", ""}:
        raise refusals.plain(400, "E0000019")


def with_body(answer: Answer, body: bytes) -> Answer:
    """Return the answer with another body."""
    return replace(answer, body=body)
