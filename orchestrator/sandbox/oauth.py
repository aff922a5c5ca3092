"""The token endpoint of the org: client credentials with private_key_jwt, and DPoP."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from orchestrator.sandbox.calls import Answer, Call, as_json
from orchestrator.sandbox.clientele import SandboxServiceApp
from orchestrator.sandbox.jwts import (
    LONGEST_ASSERTION_SECONDS,
    Proof,
    bad_client,
    bad_proof,
    check_assertion,
    check_proof,
    open_letter,
)
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.refusals import OAuthRefusal

FORM_TYPE = "application/x-www-form-urlencoded"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
NONCE_HEADER = "dpop-nonce"


def token(org: SandboxOrg, call: Call) -> Answer:
    """Answer a request for an access token.

    The client comes first, then its proof, then the scopes: an assertion is used up by a request
    that is then asked for a nonce.
    """
    form = read_form(call)
    app = authenticate(org, call, form)
    proof = prove(org, call, app)
    scopes = read_scopes(form, app)
    issued = org.issue_token(
        app, scopes, thumbprint=proof.thumbprint if proof else None, now=org.epoch()
    )
    body = {
        "token_type": "DPoP" if proof else "Bearer",
        "expires_in": int(org.token_lifetime_seconds),
        "access_token": issued,
        "scope": " ".join(scopes),
    }
    return Answer(body=as_json(body), headers=nonce_header(org) if proof else ())


def read_form(call: Call) -> Mapping[str, str]:
    """Return the fields of the form, or refuse one that is for something else."""
    if call.content_type.partition(";")[0].strip().lower() != FORM_TYPE:
        raise OAuthRefusal(400, "invalid_request", f"The Content-Type must be {FORM_TYPE}.")
    try:
        pairs = parse_qsl(call.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise OAuthRefusal(400, "invalid_request", "The form cannot be parsed.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthRefusal(400, "invalid_request", "A parameter is given more than once.")
    if "grant_type" not in form:
        raise OAuthRefusal(400, "invalid_request", "The grant_type parameter is missing.")
    if form["grant_type"] != "client_credentials":
        text = "The authorization grant type is not supported by the authorization server."
        raise OAuthRefusal(400, "unsupported_grant_type", text)
    return form


def authenticate(org: SandboxOrg, call: Call, form: Mapping[str, str]) -> SandboxServiceApp:
    """Return the app whose assertion this is, and use the assertion up."""
    if "client_assertion" not in form:
        raise bad_client("No client credentials found.")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise bad_client(
            "Client Credentials requests to the Org Authorization Server must use the "
            "private_key_jwt token_endpoint_auth_method."
        )
    letter = open_letter(form["client_assertion"])
    if letter is None:
        raise bad_client("The parsing of the client_assertion failed.")
    client_id = letter.claims.get("iss")
    app = org.service_apps.get(client_id) if isinstance(client_id, str) else None
    if app is None:
        raise bad_client("The issuer claim for client_assertion is not a valid client_id.")
    if letter.claims.get("sub") != client_id:
        raise bad_client("The subject claim for client_assertion is not a valid client_id.")
    if form.get("client_id", client_id) != client_id:
        raise bad_client("Invalid value for 'client_id' parameter.")
    now = org.epoch()
    check_assertion(letter, app.public_keys, url=call.url, now=now)
    jti, until = letter.claims.get("jti"), now + LONGEST_ASSERTION_SECONDS
    if jti is not None:
        used = f"{client_id} {jti}"
        if not org.assertions_used.take(used, until=until, now=now):
            raise bad_client("The client_assertion token has already been used.")
    return app


def prove(org: SandboxOrg, call: Call, app: SandboxServiceApp) -> Proof | None:
    """Return the DPoP proof of the request; an app that does not require one may do without."""
    if not call.proofs and not app.requires_dpop:
        return None
    now = org.epoch()
    proof = check_proof(call.proofs, method=call.endpoint.method, url=call.url, now=now)
    if proof.nonce is None:
        text = "Authorization server requires nonce in DPoP proof."
        raise OAuthRefusal(400, "use_dpop_nonce", text, headers=nonce_header(org))
    if proof.nonce not in org.nonces(now):
        text = "The DPoP nonce is not current."  # our wording; no recording shows Okta's
        raise OAuthRefusal(400, "use_dpop_nonce", text, headers=nonce_header(org))
    if not org.proofs_used.take(proof.jti, until=proof.ends, now=now):
        raise bad_proof("The DPoP proof JWT has already been used.")
    return proof


def nonce_header(org: SandboxOrg) -> tuple[tuple[str, str], ...]:
    return ((NONCE_HEADER, org.nonces(org.epoch())[0]),)


def read_scopes(form: Mapping[str, str], app: SandboxServiceApp) -> list[str]:
    """Return the scopes that are asked for, in that order; all of them must be granted."""
    scopes = list(dict.fromkeys(form.get("scope", "").split()))
    if not scopes:
        text = (
            "The authorization server resource does not have any configured default scopes, "
            "'scope' must be provided."
        )
        raise OAuthRefusal(400, "invalid_scope", text)
    if not app.scopes.issuperset(scopes):
        text = "One or more scopes are not configured for the authorization server resource."
        raise OAuthRefusal(400, "invalid_scope", text)
    return scopes
