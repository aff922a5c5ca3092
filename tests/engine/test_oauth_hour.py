"""An hour of work as a service app whose tokens live a minute, over real sockets.

The clock of client and org is one, and moves on where anybody waits: the hour takes seconds.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import anyio
import pytest

from orchestrator.model import AppId
from orchestrator.okta.api import OktaApi
from orchestrator.okta.wire import CallTrace
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.support import QUICK_RETRY, QUICK_TIMEOUTS
from tests.unit.okta.service_site import MovableClock, calling, enrolled

HOUR = 3600.0
LIFE = 60
NO_LIMITS = LimitSettings(enabled=False)


async def hour_of_calls(
    *, dpop: bool, longest_pause: float, at_once: int, seconds: float = HOUR
) -> SandboxOrg:
    """Read an app again and again, some at once; return the org with its log."""
    clock, random = MovableClock(), Random(5)
    org = enrolled(SandboxOrg(seed=1, clock=clock), requires_dpop=dpop)
    org.token_lifetime_seconds = LIFE
    app = AppId(org.add_app(label="a").id)

    async def read(api: OktaApi) -> None:
        assert (await api.get_signer(app, CallTrace())).value is not None

    async with (
        serve(org, limits=NO_LIMITS) as served,
        calling(served.url, clock=clock, retry=QUICK_RETRY, bounds=QUICK_TIMEOUTS) as api,
    ):
        ends = clock.monotonic() + seconds
        while clock.monotonic() < ends:
            async with anyio.create_task_group() as group:
                for _ in range(random.randint(1, at_once)):
                    group.start_soon(read, api)
            await clock.sleep(random.uniform(0.0, longest_pause))
    return org


def check(org: SandboxOrg, *, dances: int, tokens: tuple[int, int] = (58, 67)) -> None:
    """No call of the API was refused; a token was fetched when one was due, and never else.

    One is due after 54 of its 60 seconds: 67 an hour where calls come without a pause.
    """
    fetched = [call for call in org.log if call.template == "/oauth2/v1/token"]
    calls = [call for call in org.log if call.template != "/oauth2/v1/token"]
    assert {call.status for call in calls} == {200}
    granted = [call.at for call in fetched if call.status == 200]
    assert len(fetched) - len(granted) == dances
    fewest, most = tokens
    assert fewest <= len(granted) <= most
    gaps = [later - earlier for earlier, later in pairwise(granted)]
    assert min(gaps) >= 0.9 * LIFE - 0.5
    assert max(gaps) < LIFE + 9, "the calls went on all the time"


async def test_an_hour_with_tokens_of_a_minute() -> None:
    org = await hour_of_calls(dpop=False, longest_pause=8.0, at_once=2)
    check(org, dances=0)


async def test_a_quarter_of_an_hour_with_tokens_of_a_minute_that_are_bound() -> None:
    org = await hour_of_calls(dpop=True, longest_pause=6.0, at_once=1, seconds=HOUR / 4)
    check(org, dances=2, tokens=(15, 17))  # once without a proof, then once without a nonce


@pytest.mark.long
@pytest.mark.parametrize("dpop", [False, True])
async def test_an_hour_without_a_pause(dpop: bool) -> None:
    org = await hour_of_calls(dpop=dpop, longest_pause=3.0, at_once=6)
    check(org, dances=2 if dpop else 0)
    assert len(org.log) > 5_000
