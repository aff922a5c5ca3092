"""The proxy of a profile: its address, and who we are to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from pydantic import Discriminator, Field, PlainValidator, Tag, model_validator

from orchestrator.plan.fields import kind_of
from orchestrator.plan.org_url import A_PROXY, check_proxy_url
from orchestrator.plan.part import MAPPING_TAG, TEXT_TAG, Part, mapping_or_text
from orchestrator.plan.references import ReferenceField
from orchestrator.plan.refusal import Refusal, refused

WITH_USER = f"write proxy: {{url: {A_PROXY}, user: NAME, password: env:NAME}}"


def read_proxy_url(value: object) -> str:
    """Return the address of a proxy. One that is refused may hold a password."""
    if not isinstance(value, str):
        raise refused(f"must be an address, not {kind_of(value)}", f"such as {A_PROXY}")
    problem = check_proxy_url(value)
    if problem:
        raise refused(problem, WITH_USER if "user name" in problem else None)
    return value.removesuffix("/")


def read_user(value: object) -> str:
    """Return a name for basic authentication, which ends at the first colon (RFC 7617, 2)."""
    is_name = isinstance(value, str) and value.strip() and value.isprintable() and ":" not in value
    if not is_name:
        raise refused("is not the name of a user", WITH_USER)
    return str(value)


ProxyUrl: TypeAlias = Annotated[str, PlainValidator(read_proxy_url)]


class ProxySpec(Part):
    """A proxy that wants to know who we are."""

    place = "under proxy of a profile"
    secrets = "the only secret under proxy is a reference: password: env:NAME"
    names_strays = False

    url: Annotated[ProxyUrl, Field(description="http:// or https://, host and port.")]
    user: Annotated[
        Annotated[str, PlainValidator(read_user)] | None,
        Field(description="Who we are to the proxy."),
    ] = None
    password: Annotated[
        ReferenceField | None, Field(description="The password of that user, by reference.")
    ] = None

    @classmethod
    def kin(cls) -> Iterable[type[Part]]:
        return ()

    @model_validator(mode="before")
    @classmethod
    def require_user(cls, proxy: object) -> object:
        """Refuse a password of nobody."""
        if not isinstance(proxy, dict) or "password" not in proxy or "user" in proxy:
            return proxy
        return {**proxy, "password": Refusal("is of no user", "write user: beside it")}


ProxyField: TypeAlias = Annotated[
    Annotated[ProxyUrl, Tag(TEXT_TAG)] | Annotated[ProxySpec, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]
