"""How an org is to know us: an API token, a bearer token, or an OAuth service app.

    auth: {token: env:ACME_TOKEN}
    auth: {bearer: cmd:[./mint-token.sh]}
    auth:
      client_id: 0oa9krv5zuGXbn1Wd0h7
      private_key: file:~/keys/acme.pem
      scopes: [okta.apps.read, okta.apps.manage]

One way for one org; nothing means the environment. References stay references here: who opens an
org resolves them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict

from orchestrator.plan.fields import TRUTHS, kind_of, pattern_schema, read_truth
from orchestrator.plan.part import PlanPart, refuse_repeats
from orchestrator.plan.references import ReferenceField, SecretReference
from orchestrator.plan.refusal import ALREADY_SAID, Refusal, refused
from orchestrator.plan.tree import Quoted

# Okta makes client ids like ids of apps, and lets admins choose others. What starts with 00 is an
# API token, or the id of something else.
CLIENT_ID = r"(?!00)[A-Za-z0-9][A-Za-z0-9_-]{5,99}"
KEY_ID = r"[A-Za-z0-9._~:+/=-]{1,128}"
# Narrower than RFC 6749, appendix A.4: all scopes of Okta's API are words with dots between them.
SCOPE = r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+"
LONGEST_SCOPE = 128

SERVICE_APP = ("client_id", "private_key", "passphrase", "key_id", "scopes", "dpop")
TOGETHER: JsonDict = {
    "dependentRequired": {
        key: [other for other in SERVICE_APP[:2] if other != key] for key in SERVICE_APP
    },
    "not": {
        "anyOf": [
            {"required": ["token", "bearer"]},
            {"required": ["token", "client_id"]},
            {"required": ["bearer", "client_id"]},
        ]
    },
}
ONE_WAY = "keep one of: token; bearer; client_id with private_key"
PARTNERS = {
    "client_id": "the client id of the service app: client_id: 0oa...",
    "private_key": "its key by reference, such as private_key: file:~/keys/acme.pem",
}
FOREIGN = {
    "client_secret": "Okta's API takes no client secret: write client_id and private_key",
    "access_token": "write bearer: and a reference",
    "api_token": "write token: and a reference",
    "jwk": "write private_key: and a reference; it may be a JWK",
}


def read_client_id(value: object) -> str:
    return matching(value, CLIENT_ID, "a client id", "such as 0oa9krv5zuGXbn1Wd0h7")


def read_key_id(value: object) -> str:
    return matching(value, KEY_ID, "a key id", "the kid that the app's settings show for the key")


def read_scope(value: object) -> str:
    scope = matching(value, SCOPE, "an OAuth scope", "words with dots, such as okta.apps.read")
    if len(scope) > LONGEST_SCOPE:
        raise refused("is longer than any OAuth scope of Okta")
    return scope


def read_dpop(value: object) -> bool:
    if isinstance(value, str) and (isinstance(value, Quoted) or value not in TRUTHS):
        raise refused("must be true or false", "leave it out: DPoP is used once the org asks")
    return read_truth(value)


def matching(value: object, pattern: str, what: str, hint: str) -> str:
    """Return a text of that pattern. Nothing under `auth` is ever shown."""
    if not isinstance(value, str):
        raise refused(f"must be {what}, not {kind_of(value)}", hint)
    if not re.fullmatch(pattern, value):
        raise refused(f"is not {what}", hint)
    return str(value)


Scope: TypeAlias = Annotated[
    str, PlainValidator(read_scope), pattern_schema(rf"(?!.{{129}}){SCOPE}", "okta.apps.read")
]


class Auth(PlanPart):
    """Where the credential is found. References only, never the secret itself."""

    model_config = ConfigDict(json_schema_extra=TOGETHER)

    place = "under org.auth"
    names_strays = False

    token: Annotated[
        ReferenceField | None,
        Field(description="An API token: env:NAME, file:/path, cmd:[argv] or keyring:name."),
    ] = None
    bearer: Annotated[
        ReferenceField | None,
        Field(description="An OAuth access token that was obtained elsewhere; never renewed."),
    ] = None
    client_id: Annotated[
        Annotated[
            str, PlainValidator(read_client_id), pattern_schema(CLIENT_ID, "0oa9krv5zuGXbn1Wd0h7")
        ]
        | None,
        Field(description="The client id of an OAuth service app (API Services)."),
    ] = None
    private_key: Annotated[
        ReferenceField | None,
        Field(description="The private key of the service app: PEM, encrypted PEM or JWK."),
    ] = None
    passphrase: Annotated[
        ReferenceField | None, Field(description="The passphrase of an encrypted PEM.")
    ] = None
    key_id: Annotated[
        Annotated[str, PlainValidator(read_key_id), pattern_schema(KEY_ID)] | None,
        Field(description="The kid of the key, where the service app has several."),
    ] = None
    scopes: Annotated[
        tuple[Scope, ...] | None,
        BeforeValidator(refuse_repeats),
        Field(
            min_length=1,
            description="The scopes to ask for, which were granted to the app. Absent: those to "
            "read and change apps.",
        ),
    ] = None
    dpop: Annotated[
        bool,
        PlainValidator(read_dpop),
        WithJsonSchema({"type": "boolean"}),
        Field(description="Begin with DPoP. It is used anyway once the org asks for it."),
    ] = False

    @model_validator(mode="before")
    @classmethod
    def require_one_way(cls, auth: object) -> object:
        """Put refusals where a second way begins, and where the partner of a key is missing."""
        return check_ways(auth) if isinstance(auth, dict) else auth

    @classmethod
    def refuse_key(cls, key: str) -> Refusal:
        """Say what a foreign name is here; whatever else stands there may be a secret."""
        if key in FOREIGN:
            return Refusal("is not known under `auth`", FOREIGN[key])
        meant = cls.meant_by(key)
        hint = f"did you mean `{meant}`?" if meant else f"known here: {', '.join(cls.model_fields)}"
        return Refusal("holds an unknown key", hint)


def check_ways(auth: Mapping[str, object]) -> dict[str, object]:
    """Return the mapping with refusals in place of what contradicts what stands before it."""
    checked = dict(auth)
    ways: dict[str, list[str]] = {}
    for key in auth:
        if key in Auth.model_fields:
            ways.setdefault("client_id" if key in SERVICE_APP else key, []).append(key)
    first, *others = ways or ("",)
    for way in others:
        checked |= dict.fromkeys(ways[way], ALREADY_SAID)
        checked[ways[way][0]] = Refusal(f"is a second way to sign in, beside `{first}`", ONE_WAY)
    if first == "client_id":
        meant = {Auth.meant_by(key) for key in auth if key not in Auth.model_fields}
        for key, hint in PARTNERS.items():
            if key not in auth and key not in meant:
                checked[key] = Refusal("is missing", hint)
    return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """By an API token of an administrator (SSWS)."""

    token: SecretReference


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerAuth:
    """By an OAuth access token that somebody else obtained."""

    token: SecretReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAppAuth:
    """By an OAuth service app and its private key."""

    client_id: str
    private_key: SecretReference
    passphrase: SecretReference | None = None
    key_id: str | None = None
    scopes: tuple[str, ...] | None = None  # None: what the product as a whole calls for
    dpop: bool = False


AuthReferences: TypeAlias = TokenAuth | BearerAuth | ServiceAppAuth


def auth_of(auth: Auth) -> AuthReferences | None:
    """Return the one way that a file names; None where it names none."""
    if auth.token is not None:
        return TokenAuth(token=auth.token)
    if auth.bearer is not None:
        return BearerAuth(token=auth.bearer)
    if auth.client_id is None or auth.private_key is None:  # the model has neither or both
        return None
    return ServiceAppAuth(
        client_id=auth.client_id,
        private_key=auth.private_key,
        passphrase=auth.passphrase,
        key_id=auth.key_id,
        scopes=auth.scopes,
        dpop=auth.dpop,
    )


def references_of(auth: AuthReferences) -> tuple[SecretReference, ...]:
    """Return every reference that has to be resolved before the org can be called."""
    match auth:
        case TokenAuth() | BearerAuth():
            return (auth.token,)
        case ServiceAppAuth():
            return (auth.private_key, *filter(None, (auth.passphrase,)))
