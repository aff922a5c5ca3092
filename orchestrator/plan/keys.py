"""The source of a job: what holds the key, and which key it is or how it is made."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict

from orchestrator.model import NEW_KID, AppId, CsrRequest, KeyKind, KeySpec, Kid
from orchestrator.plan.fields import (
    AppIdField,
    Truth,
    is_true,
    pattern_schema,
    read_count,
    text_of,
    word,
)
from orchestrator.plan.org_url import HOST_LABEL
from orchestrator.plan.part import MAPPING_TAG, TEXT_TAG, PlanPart, mapping_or_text, refuse_repeats
from orchestrator.plan.refusal import Refusal, closest, echo, refused
from orchestrator.plan.selectors import LabelRef

KID = r"[A-Za-z0-9_-]{20,64}"
DNS_NAME = rf"(?=.{{1,253}}$){HOST_LABEL}(?:\.{HOST_LABEL})+"
KEY_WORDS = (KeyKind.ACTIVE.value, KeyKind.NEWEST.value)
EACH_TARGET = "each_target"
LEAST_YEARS, MOST_YEARS = 2, 10  # what Okta signs for
EACH_TARGET_SCHEMA: JsonDict = {
    "type": "object",
    "required": ["generate"],
    "properties": {
        "generate": {
            "anyOf": [
                {"const": EACH_TARGET},
                {
                    "type": "object",
                    "required": [EACH_TARGET],
                    "properties": {EACH_TARGET: {"const": True}},
                },
            ]
        }
    },
}
KEY_HINT = "a kid, active, newest, {generate: {validity_years: 3}} or {csr: {subject: ...}}"


def read_key(value: object) -> Kid | str:
    """Return a kid, or the word that says which key of the source is meant."""
    text = text_of(value, KEY_HINT)
    if text in KEY_WORDS:
        return str(text)
    if re.fullmatch(KID, text):
        return Kid(str(text))
    raise refused(f"{echo(text)} is not a kid", kid_hint(text))


def kid_hint(text: str) -> str:
    if text in ("generate", "csr", EACH_TARGET):
        return "write key: {generate: {validity_years: 3}} or key: {csr: {subject: ...}}"
    meant = closest(text, KEY_WORDS)
    if meant:
        return f"did you mean `{meant}`?"
    return f"kids have 43 letters, digits, dashes and underscores; this has {len(text)} characters"


def read_years(value: object) -> int:
    return read_count(value, least=LEAST_YEARS, most=MOST_YEARS)


def read_dns_name(value: object) -> str:
    text = text_of(value, "a DNS name")
    if not re.fullmatch(DNS_NAME, text):
        raise refused(f"{echo(text)} is not a DNS name", "a host with its domain: sso.acme.com")
    return str(text)


def read_country(value: object) -> str:
    text = text_of(value, "a country code")
    if not re.fullmatch("[A-Z]{2}", text):
        raise refused(f"{echo(text)} is not a country code", "two capital letters, such as US")
    return str(text)


def read_subject_text(value: object) -> str:
    """Return a part of a distinguished name; 64 characters are what all of them may have."""
    text = text_of(value, "a text")
    if not text.strip() or len(text) > 64 or not text.isprintable():
        raise refused(f"{echo(text)} cannot stand in a certificate", "1 to 64 visible characters")
    return str(text.strip())


class GenerateSpec(PlanPart):
    """A new key, whose certificate Okta signs itself."""

    place = "under source.key.generate"
    validity_years: Annotated[
        int,
        PlainValidator(read_years),
        WithJsonSchema({"type": "integer", "minimum": LEAST_YEARS, "maximum": MOST_YEARS}),
        Field(description="How long the certificate is valid; 10 years, as in Okta's console."),
    ] = MOST_YEARS
    each_target: Annotated[
        Truth,
        Field(description="Make a key for every target, and share none; needs no source app."),
    ] = False


SubjectText: TypeAlias = Annotated[
    str,
    PlainValidator(read_subject_text),
    WithJsonSchema({"type": "string", "pattern": "\\S", "maxLength": 64}),
]


Country: TypeAlias = Annotated[str, PlainValidator(read_country), pattern_schema("[A-Z]{2}", "US")]


class SubjectSpec(PlanPart):
    """Whom the certificate names."""

    place = "under source.key.csr.subject"
    common_name: Annotated[SubjectText, Field(description="CN, the name of the signer.")]
    country: Annotated[Country | None, Field(description="C, two capital letters.")] = None
    state: Annotated[SubjectText | None, Field(description="ST, a state or province.")] = None
    locality: Annotated[SubjectText | None, Field(description="L, a city.")] = None
    organization: Annotated[SubjectText | None, Field(description="O, a company.")] = None
    organizational_unit: Annotated[
        SubjectText | None, Field(description="OU, a part of the company.")
    ] = None


DnsName: TypeAlias = Annotated[
    str, PlainValidator(read_dns_name), pattern_schema(DNS_NAME, "sso.acme.com")
]


class CsrSpec(PlanPart):
    """A new key, whose certificate a CA of your choice signs."""

    place = "under source.key.csr"
    subject: SubjectSpec
    san: Annotated[
        tuple[DnsName, ...],
        BeforeValidator(refuse_repeats),
        Field(description="DNS names that the certificate holds besides."),
    ] = ()


Generate: TypeAlias = Annotated[
    Annotated[
        Literal["each_target"],
        PlainValidator(word(EACH_TARGET)),
        WithJsonSchema({"const": EACH_TARGET}),
        Tag(TEXT_TAG),
    ]
    | Annotated[GenerateSpec, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]


class NewKey(PlanPart):
    """A key that the run makes: one of the two ways."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    place = "under source.key"
    generate: Annotated[
        Generate | None,
        Field(description="Okta signs it. The word each_target: a key of 10 years for each."),
    ] = None
    csr: Annotated[
        CsrSpec | None, Field(description="A CA signs it: the run asks for it, and waits.")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def require_one(cls, data: object) -> object:
        """Refuse a key that is to be made in no way, or in two."""
        if isinstance(data, dict) and not data:
            raise refused("says nothing about the key", f"write {KEY_HINT}")
        if isinstance(data, dict) and {"generate", "csr"} <= data.keys():
            return {**data, "csr": Refusal("a job has one key, and `generate` makes it")}
        return data


SourceKey: TypeAlias = Annotated[
    Annotated[
        Kid | str,
        PlainValidator(read_key),
        WithJsonSchema(
            {
                "anyOf": [{"enum": list(KEY_WORDS)}, {"type": "string", "pattern": f"^{KID}$"}],
                "examples": ["w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI", "newest"],
            }
        ),
        Tag(TEXT_TAG),
    ]
    | Annotated[NewKey, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]


Holder: TypeAlias = Annotated[
    Annotated[AppIdField, Tag(TEXT_TAG)] | Annotated[LabelRef, Tag(MAPPING_TAG)],
    Discriminator(mapping_or_text),
]


class SourceSpec(PlanPart):
    """What holds the key, and the key."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["app"]},
                {"required": ["idp"]},
                {"properties": {"key": EACH_TARGET_SCHEMA}},
            ]
        }
    )

    place = "under source"
    app: Annotated[
        Holder | None,
        Field(
            description="Id of the app whose key is cloned, or its label, if no other app has it.",
            examples=["0oa8ae1t5yev2ajDs0h7", {"label": "Finance HQ"}],
        ),
    ] = None
    idp: Annotated[
        Holder | None,
        Field(description="The identity provider, in a job with resource: idp; as for an app."),
    ] = None
    key: Annotated[
        SourceKey,
        Field(
            description="The kid of the key, as Okta shows it; `active`, which the source signs "
            "with; `newest`, which it got last; or how the run makes the key."
        ),
    ]

    @property
    def holder(self) -> AppId:
        """The app or identity provider that holds the key; empty if none is named by its id."""
        named = self.app or self.idp
        return AppId("") if named is None or isinstance(named, LabelRef) else named

    @property
    def label(self) -> str | None:
        """The label of what holds the key, where the plan says no more of it."""
        named = self.app or self.idp
        return named.label if isinstance(named, LabelRef) else None

    @property
    def kid(self) -> Kid:
        """The kid, or NEW_KID for a key that only the run finds or makes."""
        key = self.key
        return NEW_KID if isinstance(key, NewKey) or key in KEY_WORDS else Kid(key)

    @property
    def wanted(self) -> KeySpec:
        """Which key is meant, or how it is made."""
        if not isinstance(self.key, NewKey):
            is_word = self.key in KEY_WORDS
            return KeySpec(kind=KeyKind(self.key)) if is_word else KeySpec()
        if self.key.csr is not None:
            return KeySpec(kind=KeyKind.CSR, csr=csr_request(self.key.csr))
        generate = self.key.generate
        if not isinstance(generate, GenerateSpec):
            return KeySpec(kind=KeyKind.GENERATE_EACH, validity_years=MOST_YEARS)
        kind = KeyKind.GENERATE_EACH if generate.each_target else KeyKind.GENERATE
        return KeySpec(kind=kind, validity_years=generate.validity_years)


def csr_request(spec: CsrSpec) -> CsrRequest:
    return CsrRequest(**spec.subject.model_dump(), dns_names=spec.san)


def is_each_target(key: object) -> bool:
    """Say whether a key, as a plan writes it, asks for a new key for every target."""
    made = key.get("generate") if isinstance(key, dict) else None
    if isinstance(made, dict):
        return is_true(made.get(EACH_TARGET))
    return isinstance(made, str)  # the one word that may stand there, or what was meant to be it
