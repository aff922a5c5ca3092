"""One request through the sandbox: match, authenticate, limit, misbehave, answer, log."""

from __future__ import annotations

import gzip
import math
import random
from dataclasses import dataclass, replace
from email.utils import formatdate

from aiohttp import web

from orchestrator.sandbox import refusals
from orchestrator.sandbox.admission import area_of, identify
from orchestrator.sandbox.calls import Answer, Call, check_accept, new_error_id, refusal_answer
from orchestrator.sandbox.control import control, is_control
from orchestrator.sandbox.faults import FaultPicker, FaultScript
from orchestrator.sandbox.limits import Limiter, LimitSettings, Verdict
from orchestrator.sandbox.misbehaviour import Delivery, Reaction, react
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.routes import find_endpoint

GZIP_FROM = 1024  # bytes of body
HOLD_STEP_SECONDS = 0.05  # how often a silent connection is looked at
UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What was decided about one request, before anything is sent."""

    reaction: Reaction
    request_id: str
    call: Call | None = None
    verdict: Verdict | None = None


class SandboxServer:
    """Answers requests for one org. It holds what belongs to the serving, not to the org."""

    def __init__(self, org: SandboxOrg, limits: LimitSettings, faults: FaultScript) -> None:
        self.org = org
        self.limiter = Limiter(limits, seed=org.seed)
        self.faults = FaultPicker(faults)
        self.latency = limits.latency_seconds
        self.random = random.Random(f"server:{org.seed}")  # noqa: S311 - repeatable, not secret

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; half of the latency passes before the effect, half after it."""
        if is_control(request):
            return control(self.org, request)
        arrived = self.org.clock.monotonic()
        entered = self.limiter.enter()
        try:
            pause = self.random.uniform(*self.latency) / 2 if self.latency else 0.0
            body = await request.read()
            await self.wait(pause)
            handling = self.decide(request, body, entered=entered)
            self.log(request.method, handling, arrived)
            await self.wait(pause)
            return await self.deliver(request, handling)
        finally:
            if entered:
                self.limiter.leave()

    async def wait(self, seconds: float) -> None:
        if seconds > 0:
            await self.org.clock.sleep(seconds)

    # Deciding: no awaiting from here on, so that calls cannot interleave

    def decide(self, request: web.BaseRequest, body: bytes, *, entered: bool) -> Handling:
        """Decide about a request, and change the org's state if it is to be changed.

        What fails before the count carries no rate-limit headers, as recorded for 401, 405 and
        E0000019. The request id is given out first, for the System Log to hold it.
        """
        call = None
        request_id = f"{self.random.getrandbits(128):032x}"
        try:
            call = find_endpoint(request.method, request.rel_url.raw_path)
            call = self.complete(call, request, request_id, body)
            call = self.admit(request, call)
        except refusals.Refusal as refusal:
            reaction = self.refused(refusal)
            return Handling(reaction=reaction, request_id=request_id, call=call)
        return self.settle(call, entered=entered)

    def complete(self, call: Call, request: web.BaseRequest, request_id: str, body: bytes) -> Call:
        """Add the query, headers and body to a matched call."""
        return replace(
            call,
            url=f"{request.scheme}://{request.host}{call.path}",
            proofs=tuple(request.headers.getall("DPoP", ())),
            request_id=request_id,
            query=dict(request.rel_url.query),
            accept=request.headers.get("Accept", "*/*"),
            content_type=request.headers.get("Content-Type", ""),
            transfer_encoding=request.headers.get("Content-Transfer-Encoding", ""),
            body=body,
        )

    def admit(self, request: web.BaseRequest, call: Call) -> Call:
        """Refuse what Okta refuses before it looks at the operation; add who is calling."""
        if request.method in ("POST", "PUT") and "Content-Length" not in request.headers:
            # The status is documented; no recording shows the body.
            raise refusals.Refusal(411, "E0000003", "Length Required")
        if area_of(call) is None:
            return call
        caller = identify(self.org, call, request.headers.get("Authorization", ""))
        check_accept(call)
        return replace(call, caller=caller)

    def settle(self, call: Call, *, entered: bool) -> Handling:
        """Count an admitted call, then let it happen as the faults allow."""
        bucket = call.endpoint.bucket
        verdict = self.limiter.judge(bucket, self.org.epoch(), entered=entered) if bucket else None
        if verdict is not None and not verdict.accepted:
            reaction = self.refused(refusals.plain(429, "E0000047"))
        else:
            fault = self.faults.pick(call.endpoint.name, call.concerns)
            reaction = react(self.org, call, fault)
        return Handling(reaction=reaction, request_id=call.request_id, call=call, verdict=verdict)

    def refused(self, refusal: refusals.Refusal) -> Reaction:
        return Reaction(answer=refusal_answer(refusal, new_error_id(self.org)))

    def log(self, method: str, handling: Handling, arrived: float) -> None:
        """Append what happened to the org's log; headers stay out of it."""
        call, reaction, effect = handling.call, handling.reaction, handling.reaction.answer.effect
        self.org.log.append(
            LoggedCall(
                at=arrived,
                method=method,
                template=call.endpoint.template if call else UNMATCHED,
                app=call.holder if call else None,
                kid=call.kid if call else None,
                target=call.target if call else None,
                status=reaction.sent_status,
                bucket=call.endpoint.bucket if call and handling.verdict else None,
                fault=reaction.fault.kind if reaction.fault else None,
                effect=effect.happened,
                request_id=handling.request_id,
                resource=call.resource if call else None,
                kid_before=effect.kid_before,
                kid_after=effect.kid_after,
                collateral=effect.collateral,
            )
        )

    # Sending

    async def deliver(self, request: web.BaseRequest, handling: Handling) -> web.StreamResponse:
        """Send the answer the way the reaction says."""
        reaction = handling.reaction
        match reaction.delivery:
            case Delivery.NEVER:
                return hang_up(request)
            case Delivery.HELD:
                await self.hold(request, reaction.fault.seconds if reaction.fault else 0.0)
                return hang_up(request)
            case Delivery.BARE:
                headers = [("Content-Type", reaction.answer.content_type)]
                return respond(reaction.answer.status, reaction.answer.body, headers)
            case Delivery.HALF:
                return await self.send_half(request, handling)
            case Delivery.WHOLE:
                body, headers = self.encode(request, handling)
                return respond(reaction.answer.status, body, headers)

    async def hold(self, request: web.BaseRequest, seconds: float) -> None:
        """Stay silent until the time is up or the caller has left."""
        until = self.org.clock.monotonic() + seconds
        while self.org.clock.monotonic() < until and is_connected(request):
            await self.org.clock.sleep(HOLD_STEP_SECONDS)

    async def send_half(self, request: web.BaseRequest, handling: Handling) -> web.StreamResponse:
        """Announce the whole body, send half of it, and close the connection."""
        body, headers = self.encode(request, handling)
        response = web.StreamResponse(status=handling.reaction.answer.status)
        response.headers.extend(headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def encode(
        self, request: web.BaseRequest, handling: Handling
    ) -> tuple[bytes, list[tuple[str, str]]]:
        """Return the body as it goes over the wire, and all headers."""
        answer = handling.reaction.answer
        headers = self.headers(answer, handling)
        accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        if request.method != "GET" or len(answer.body) < GZIP_FROM or not accepts_gzip:
            return answer.body, headers
        headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        return gzip.compress(answer.body, compresslevel=1), headers

    def headers(self, answer: Answer, handling: Handling) -> list[tuple[str, str]]:
        """Return the headers that Okta puts on an answer; one without a body has no type."""
        has_type = answer.status != 204 and answer.content_type
        session = f"JSESSIONID={self.random.getrandbits(128):032X}; Path=/; HttpOnly"
        headers = [
            ("Date", formatdate(math.floor(self.org.epoch()), usegmt=True)),
            ("Server", "nginx"),
            *([("Content-Type", answer.content_type)] if has_type else []),
            ("X-Okta-Request-Id", handling.request_id),
            ("Cache-Control", "no-cache, no-store"),
            ("Pragma", "no-cache"),
            ("Expires", "0"),
            ("Set-Cookie", session),
            *answer.headers,
        ]
        return headers + limit_headers(handling.verdict)


def limit_headers(verdict: Verdict | None) -> list[tuple[str, str]]:
    """Return the rate-limit headers; a call that no bucket saw has none."""
    if verdict is None:
        return []
    return [
        ("X-Rate-Limit-Limit", str(verdict.limit)),
        ("X-Rate-Limit-Remaining", str(verdict.remaining)),
        ("X-Rate-Limit-Reset", str(verdict.reset)),
    ]


def respond(status: int, body: bytes, headers: list[tuple[str, str]]) -> web.Response:
    """Return a response with these headers."""
    response = web.Response(status=status, body=body)
    response.headers.extend(headers)
    return response


def hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection; the response returned here reaches nobody."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def is_connected(request: web.BaseRequest) -> bool:
    """Say whether the caller is still there."""
    return request.transport is not None and not request.transport.is_closing()
