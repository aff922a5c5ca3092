"""The errors that the sandbox answers with, worded as Okta words them.

Codes and texts: https://developer.okta.com/docs/reference/error-codes/. Only the code is promised
to be stable; the texts here are the recorded or documented ones.
"""

from __future__ import annotations

from orchestrator.errors import OrchestratorError

SUMMARIES = {
    "E0000003": "The request body was not well-formed.",
    "E0000006": "You do not have permission to perform the requested action",
    "E0000008": "The requested path was not found",
    "E0000009": "Internal Server Error",
    "E0000010": "Service is in read only mode",
    "E0000011": "Invalid token provided",
    "E0000019": (
        "Bad request.  Accept and/or Content-Type headers likely do not match supported values."
    ),
    "E0000021": (
        "Bad request.  Accept and/or Content-Type headers likely do not match supported values."
    ),
    "E0000022": "The endpoint does not support the provided HTTP method",
    "E0000024": "Bad request.  This operation on app metadata is not yet supported.",
    "E0000029": "Invalid paging request.",
    "E0000031": "Invalid search criteria.",
    "E0000047": "API call exceeded rate limit due to too many requests.",
    "E0000181": "Service temporarily unavailable.",
}
Headers = tuple[tuple[str, str], ...]

CODE_OF_STATUS = {
    400: "E0000001",
    401: "E0000011",
    403: "E0000006",
    404: "E0000007",
    429: "E0000047",
    500: "E0000009",
    503: "E0000181",
}
DUPLICATE_KEY = "Key already exists in the list of key credentials for the target app."
BAD_VALIDITY = "Validity years out of range. It should be 2 - 10 years."
OTHER_KEY = "The certificate doesn't match the CSR."
SHORT_VALIDITY = "The certificate must be valid for more than 90 days."
NO_CERTIFICATE = "The certificate cannot be read."  # our wording; no recording shows Okta's


class Refusal(OrchestratorError):
    """The org refuses a call: a status, an Okta code, and causes; nothing was changed."""

    def __init__(
        self, status: int, code: str, summary: str, *causes: str, headers: Headers = ()
    ) -> None:
        super().__init__(summary, status=status, code=code)
        self.status = status
        self.code = code
        self.causes = causes
        self.headers = headers


class OAuthRefusal(Refusal):
    """A refusal in the words of OAuth: `code` is the error, the summary its description."""


class SilentRefusal(Refusal):
    """A refusal without a body: its headers say all."""


def plain(status: int, code: str, *causes: str, headers: Headers = ()) -> Refusal:
    """Return the refusal whose text is fixed by its code."""
    text = SUMMARIES.get(code, "Internal Server Error")
    return Refusal(status, code, text, *causes, headers=headers)


def invalid(what: str, *causes: str) -> Refusal:
    """Return the generic validation error, E0000001."""
    return Refusal(400, "E0000001", f"Api validation failed: {what}", *causes)


def blank(field: str) -> Refusal:
    """Return the validation error for a required value that is missing."""
    return invalid(field, f"{field}: The field cannot be left blank")


def duplicate_key() -> Refusal:
    """Return the answer to a clone whose target already holds the key."""
    return invalid("cloneKey", DUPLICATE_KEY)


def missing_app(app_id: str) -> Refusal:
    """Return the 404 for an app."""
    return missing(app_id, "AppInstance")


def missing_idp(idp_id: str) -> Refusal:
    """Return the 404 for an identity provider."""
    return missing(idp_id, "IdpTrust")


def missing_csr(csr_id: str) -> Refusal:
    """Return the 404 for a CSR; its type is in no recording, so the word is our guess."""
    return missing(csr_id, "Csr")


def missing_key(kid: str) -> Refusal:
    """Return the 404 for a key.

    What Okta calls the type of a missing key is in no recording; `KeyCredential` is our guess, so
    a client must not depend on it.
    """
    return missing(kid, "KeyCredential")


def missing(resource_id: str, kind: str) -> Refusal:
    """Return the 404 that names the resource."""
    text = f"Not found: Resource not found: {resource_id} ({kind})"
    return Refusal(404, "E0000007", text)
