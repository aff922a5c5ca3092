"""What a person who rehearses does to the sandbox itself; not a part of Okta's API."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from orchestrator.sandbox.calls import as_json
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.systemlog import moment

PREFIX = "/sandbox/"
CLOCK_PATH = "/sandbox/clock"
MOST_SECONDS = 10 * 366 * 24 * 3600.0  # at once
ADVICE = f"advance must be seconds, from 0 to {MOST_SECONDS:.0f}"


def is_control(request: web.BaseRequest) -> bool:
    """Say whether a request is for the sandbox and not for the org."""
    return request.rel_url.raw_path.startswith(PREFIX)


def control(org: SandboxOrg, request: web.BaseRequest) -> web.Response:
    """Answer `POST /sandbox/clock?advance=SECONDS`: the org's clock goes on by so much."""
    if request.rel_url.raw_path != CLOCK_PATH:
        return refused(HTTPStatus.NOT_FOUND, f"there is only POST {CLOCK_PATH}?advance=SECONDS")
    if request.method != "POST":
        return refused(HTTPStatus.METHOD_NOT_ALLOWED, f"POST {CLOCK_PATH}?advance=SECONDS")
    seconds = seconds_in(request.rel_url.query.get("advance"))
    if seconds is None:
        return refused(HTTPStatus.BAD_REQUEST, ADVICE)
    org.advance(seconds)
    return reply(HTTPStatus.OK, {"now": moment(datetime.fromtimestamp(org.epoch(), UTC))})


def seconds_in(text: str | None) -> float | None:
    """Return a time span that makes sense, or None."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= MOST_SECONDS else None


def refused(status: HTTPStatus, text: str) -> web.Response:
    return reply(status, {"error": text})


def reply(status: HTTPStatus, body: object) -> web.Response:
    return web.Response(status=status, body=as_json(body), content_type="application/json")
