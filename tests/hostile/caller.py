"""Our client as a hostile server meets it: with little patience."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.errors import OrchestratorError
from orchestrator.events import Event
from orchestrator.halt import Halt
from orchestrator.okta.api import OktaApi
from orchestrator.okta.credentials import ApiToken, Credential
from orchestrator.okta.http import Timeouts
from orchestrator.okta.retry import RetryPolicy
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess

TOKEN = "00tokenThatNoOtherMayHear"
TWICE = RetryPolicy(attempts=2, rate_refusals=2, first_wait=0.01, longest_wait=0.02, total=20.0)
HASTY = Timeouts(connect=1.0, read=0.3, whole=0.6)


@dataclass
class Told:
    """An observer that keeps what it is told."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


@asynccontextmanager
async def caller(
    url: str,
    *,
    told: Told | None = None,
    retry: RetryPolicy = TWICE,
    bounds: Timeouts = HASTY,
    credential: Credential | None = None,
) -> AsyncIterator[OktaApi]:
    """Open the way to an org as the command line does."""
    async with open_api(
        OrgAccess(url=url, credential=credential or ApiToken(token=Secret(TOKEN))),
        capacity=1.0,
        bounds=bounds,
        clock=SystemClock(),
        halt=Halt(),
        random=Random(0),
        observer=told or Told(),
        retry=retry,
    ) as api:
        yield api


def all_said(error: BaseException) -> str:
    """Return whatever an error, and what caused it, would say to anyone."""
    said = [*traceback.format_exception(error), repr(error), repr(vars(error))]
    if isinstance(error, OrchestratorError):
        said.append(error.diagnostics())
    return "\n".join(said)
