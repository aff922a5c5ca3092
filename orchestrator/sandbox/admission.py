"""Who is calling, and what they may do: before the operation is looked at."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.sandbox import refusals
from orchestrator.sandbox.calls import Answer, Call, new_error_id, refusal_answer
from orchestrator.sandbox.clientele import Caller, IssuedToken
from orchestrator.sandbox.jwts import bad_proof, check_proof
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.refusals import OAuthRefusal

AREAS: Mapping[str, str] = {  # which scopes a path is about; any other path is open to all
    "/api/v1/apps": "okta.apps",
    "/api/v1/idps": "okta.idps",
    "/api/v1/logs": "okta.logs",
    "/api/v1/principal-rate-limits": "okta.principalRateLimits",
}
NO_SCOPE = "The access token provided does not contain the required scopes."


def area_of(call: Call) -> str | None:
    """Return which scopes a call is about, or None if nobody needs to be known for it."""
    return AREAS.get("/".join(call.endpoint.template.split("/")[:4]))


def scope_of(call: Call) -> str:
    """Return the least scope that a call needs."""
    return f"{area_of(call)}.{'read' if call.endpoint.method == 'GET' else 'manage'}"


def identify(org: SandboxOrg, call: Call, authorization: str) -> Caller:
    """Return who is calling, or refuse with 401."""
    scheme, _, token = authorization.partition(" ")
    if scheme in ("Bearer", "DPoP"):
        return identify_client(org, call, scheme, token)
    # Okta's Python SDK 3 leaves out the space after the scheme, and Okta takes that.
    is_known = authorization in (f"SSWS {org.token}", f"SSWS{org.token}")
    if not is_known or org.token_expired:
        raise refusals.plain(401, "E0000011")
    return Caller(person=org.caller, role=org.token_role, scheme="SSWS")


def identify_client(org: SandboxOrg, call: Call, scheme: str, token: str) -> Caller:
    """Return the service app that an access token was issued to."""
    issued = org.issued_tokens.get(token)
    try:
        issued = check_token(org, issued)
        check_binding(org, call, scheme, token, issued)
    except OAuthRefusal as problem:
        wanted = "DPoP" if issued and issued.thumbprint else scheme
        header = challenge(org, call, wanted, problem.code, problem.message)
        headers = (header, *problem.headers)
        raise refusals.plain(401, "E0000011", headers=headers) from None
    app = issued.app
    return Caller(person=app.person, role=app.role, scheme=scheme, scopes=issued.scopes)


def check_token(org: SandboxOrg, issued: IssuedToken | None) -> IssuedToken:
    """Refuse a token that was never issued, or was revoked, or is over."""
    if issued is None:
        raise OAuthRefusal(401, "invalid_token", "The access token is invalid.")
    if issued.expires <= org.epoch():
        raise OAuthRefusal(401, "invalid_token", "The token has expired.")
    return issued


def check_binding(
    org: SandboxOrg, call: Call, scheme: str, token: str, issued: IssuedToken
) -> None:
    """Refuse a token whose way of being presented is not the one it was issued for."""
    bound = issued.thumbprint is not None
    if scheme == "Bearer" and bound:
        text = "The resource request must use the DPoP authentication scheme when using a DPoP "
        raise OAuthRefusal(401, "invalid_request", f"{text}bound token.")
    if scheme == "DPoP" and not bound:
        raise OAuthRefusal(401, "invalid_token", "The presented access_token is not DPoP bound.")
    if scheme == "DPoP":
        check_possession(org, call, token, issued)


def check_possession(org: SandboxOrg, call: Call, token: str, issued: IssuedToken) -> None:
    """Refuse a bound token without a fresh proof made with the key that it is bound to."""
    if not call.proofs:
        raise OAuthRefusal(401, "invalid_request", "The resource request requires a DPoP proof.")
    now, method = org.epoch(), call.endpoint.method
    proof = check_proof(call.proofs, method=method, url=call.url, now=now, token=token)
    if proof.thumbprint != issued.thumbprint:
        raise bad_proof("The access_token is not bound to the provided DPoP proof.")
    if org.calls_need_nonce and proof.nonce not in org.nonces(now):
        headers = (("dpop-nonce", org.nonces(now)[0]),)
        text = "Resource server requires nonce in DPoP proof."  # RFC 9449 section 9
        raise OAuthRefusal(401, "use_dpop_nonce", text, headers=headers)
    if not org.proofs_used.take(proof.jti, until=proof.ends, now=now):
        raise bad_proof("The DPoP proof JWT has already been used.")


def challenge(
    org: SandboxOrg, call: Call, scheme: str, error: str, description: str
) -> tuple[str, str]:
    """Return the header that says what is wrong with a token (RFC 6750 section 3)."""
    base = org.site.base_url
    facts = {
        "authorization_uri": f"{base}/oauth2/v1/authorize",
        "realm": base,
        "scope": scope_of(call),
        "error": error,
        "error_description": description,
        "resource": call.path.replace('"', "%22"),
    }
    return "WWW-Authenticate", f"{scheme} " + ", ".join(f'{k}="{v}"' for k, v in facts.items())


def authorize(org: SandboxOrg, call: Call) -> None:
    """Refuse with 403 what the caller lacks the scope or the admin role for."""
    caller = call.caller
    if caller is None:
        return
    enough = {scope_of(call), f"{area_of(call)}.manage"}
    if caller.scopes is not None and not caller.scopes & enough:
        header = challenge(org, call, caller.scheme, "insufficient_scope", NO_SCOPE)
        raise refusals.SilentRefusal(403, "insufficient_scope", NO_SCOPE, headers=(header,))
    changes_something = call.endpoint.method != "GET"
    if caller.role == "none" or (caller.role == "read_only" and changes_something):
        raise refusals.plain(403, "E0000006")


def perform(org: SandboxOrg, call: Call) -> Answer:
    """Do what the call asks if the caller may; a refusal is an answer too."""
    try:
        authorize(org, call)
        return call.endpoint.handler(org, call)
    except refusals.Refusal as refusal:
        return refusal_answer(refusal, new_error_id(org))
