"""The rate limits of principals: how much of each bucket a token or a service app may use."""

from __future__ import annotations

import random
import re

from orchestrator.sandbox import refusals
from orchestrator.sandbox.calls import Answer, Call, as_json
from orchestrator.sandbox.certs import Json, timestamp
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.people import okta_id

FILTER = re.compile(r'\s*principalType\s+eq\s+"(SSWS_TOKEN|OAUTH_CLIENT)"\s*')


def list_principal_limits(org: SandboxOrg, call: Call) -> Answer:
    """Return one entry for each principal of the type that the filter names."""
    wanted = call.query.get("filter")
    if not wanted:
        raise refusals.blank("filter")
    match = FILTER.fullmatch(wanted)
    if match is None:
        raise refusals.plain(400, "E0000031")
    kind = match[1]
    principals = list(org.service_apps) if kind == "OAUTH_CLIENT" else [org.caller.token_id or ""]
    return Answer(body=as_json([entry(org, kind, principal) for principal in principals]))


def entry(org: SandboxOrg, kind: str, principal: str) -> Json:
    """Return the entry of one principal, made by the administrator when the org was made."""
    draws = random.Random(f"principal:{org.id}:{principal}")  # noqa: S311 - not secret
    made = timestamp(org.mint.started_ms / 1000).replace(".000Z", "Z")
    percentage = round(org.served_share * 100)
    return {
        "id": okta_id(draws, "prl"),
        "orgId": org.id,
        "principalId": principal,
        "principalType": kind,
        "defaultPercentage": percentage,
        "defaultConcurrencyPercentage": percentage,
        "lastUpdate": made,
        "lastUpdatedBy": org.administrator.id,
        "createdDate": made,
        "createdBy": org.administrator.id,
    }
