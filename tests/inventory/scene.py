"""What the tests of taking an inventory share: an org that is served, a book, and its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from orchestrator.cli.wiring import open_api
from orchestrator.clock import SystemClock
from orchestrator.events import Broadcast
from orchestrator.halt import Halt
from orchestrator.inventory.record import Inventory, Row, rows_of
from orchestrator.inventory.take import id_of_org, take_inventory
from orchestrator.model import Certificate, Resource
from orchestrator.okta.api import OktaApi
from orchestrator.okta.certificates import certificate_of_text
from orchestrator.okta.credentials import ApiToken
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgAccess
from orchestrator.store.base import CertificateBook
from orchestrator.store.sqlite import Store
from tests.support import NO_LIMITS, QUICK_RETRY, QUICK_TIMEOUTS
from tests.unit.okta.peer import TOKEN

CLOCK = SystemClock()
BOTH = (Resource.APP, Resource.IDP)
LISTS = "/api/v1/apps"
KEYS = "/api/v1/apps/{appId}/credentials/keys"
KEY = f"{KEYS}/{{kid}}"
IDP_KEY = "/api/v1/idps/{idpId}/credentials/keys/{kid}"


def new_book() -> CertificateBook:
    """Return a book that knows nothing yet."""
    return Store.memory(clock=CLOCK).certificates("00o")


@asynccontextmanager
async def client(url: str, token: str = TOKEN, halt: Halt | None = None) -> AsyncIterator[OktaApi]:
    """Open our client for whatever is served."""
    async with open_api(
        OrgAccess(url=url, credential=ApiToken(token=Secret(token))),
        capacity=1.0,
        bounds=QUICK_TIMEOUTS,
        clock=CLOCK,
        halt=halt or Halt(),
        random=Random(1),
        observer=Broadcast(),
        retry=QUICK_RETRY,
    ) as api:
        yield api


@asynccontextmanager
async def open_org(
    org: SandboxOrg, *faults: Fault, halt: Halt | None = None
) -> AsyncIterator[OktaApi]:
    """Serve an org without limits, and open our client for it; its log begins anew."""
    org.log.clear()
    async with (
        serve(org, limits=NO_LIMITS, faults=FaultScript.of(faults)) as served,
        client(served.url, org.token, halt) as api,
    ):
        yield api


async def take(
    org: SandboxOrg,
    *faults: Fault,
    book: CertificateBook | None = None,
    resources: Sequence[Resource] = BOTH,
    all_keys: bool = False,
) -> Inventory:
    """Take an inventory of an org."""
    async with open_org(org, *faults) as api:
        return await take_inventory(
            api,
            book or new_book(),
            org="https://acme.test",
            org_id=await id_of_org(api),
            profile="acme",
            resources=resources,
            all_keys=all_keys,
            clock=CLOCK,
        )


def calls(org: SandboxOrg) -> Counter[str]:
    """Count what an org was asked, by the path of the call."""
    return Counter(call.template for call in org.log)


def shared_org(apps: int, keys: int) -> SandboxOrg:
    """Return an org whose apps sign with so many keys, by turns."""
    org = SandboxOrg(seed=3)
    kids = [org.derive_kid(f"shared:{number}") for number in range(keys)]
    for number in range(apps):
        org.add_app(label=f"App {number}", signing_kid=kids[number % keys])
    return org


def mixed_org() -> SandboxOrg:
    """Return an org with something of everything."""
    org = SandboxOrg(seed=5)
    shared = org.derive_kid("shared")
    org.add_app(label="one", signing_kid=shared, kids=[org.derive_kid("spare")])
    org.add_app(label="two", signing_kid=shared, status="INACTIVE")
    org.add_app(label="fed", sign_on_mode="WS_FEDERATION")
    org.add_app(label="link", sign_on_mode="BOOKMARK")
    org.add_app(label="spa", sign_on_mode="OPENID_CONNECT")
    org.add_app(label="service", sign_on_mode=None)
    org.add_idp(name="partner")
    org.add_idp(name="social", kind="GOOGLE")
    return org


def rows_by_label(inventory: Inventory) -> dict[str, Row]:
    return {row.holder.label: row for row in rows_of(inventory)}


def certificate(org: SandboxOrg, kid: str) -> Certificate:
    """Return what a key of the sandbox really is."""
    return certificate_of_text(org.material(kid).x5c)
