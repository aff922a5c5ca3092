"""What a hand-off pack holds: all that an owner needs to make a target trust the new key. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import Field

from orchestrator.errors import ReportError
from orchestrator.model import HandoffPack, Resource, RunId
from orchestrator.okta.certificates import der_of, fingerprints, pem_of, thumbprint_of
from orchestrator.report.parts import Document
from orchestrator.writing import as_words

PACK_VERSION = "1.0"
PEM, DER, METADATA = "certificate.pem", "certificate.cer", "metadata.xml"
MESSAGE, FACTS = "message.txt", "pack.json"
TOLD_TAGS = ("vendor", "owner", "contact", "ticket")  # columns of a CSV that the vendor gets to see

NOUNS = {Resource.APP: "application", Resource.IDP: "identity provider"}
INTROS = {
    Resource.APP: """\
People sign in to {name} through Okta ({org}).
The application trusts Okta's answers by the certificate that signs them.
""",
    Resource.IDP: """\
Okta ({org}) sends people to {name} to sign in.
The provider trusts these requests by the certificate that signs them.
""",
}
MESSAGE_TEXT = """\
New signing certificate for {name}

{intro}This certificate is going to be replaced. The new one comes with this message.

Please do this, in this order:

1. Add the new certificate to the trusted ones, beside the one in use today.
   {pem} and {der} are the same: take the format you need.
{metadata}2. Compare what you have added with the thumbprints below.
3. Do not remove the certificate in use today before we tell you to. It stays
   in use until we switch to the new one.
4. Tell us when the new certificate is in place.

If only one certificate can be trusted at a time, do not change anything yet.
Tell us, and we agree on a time at which both sides change.

The new certificate

{certificate}

What it is for

{about}
"""
METADATA_TEXT = """\
   {metadata} holds it too, but not the certificate in use today. Do not
   import the file where that would remove the other certificate.
"""


class PackFile(Document):
    """A file of a pack, other than `pack.json` itself."""

    name: str
    size: int = Field(description="in bytes")
    sha256: str = Field(description="of the file, in small hex digits")


class PackFacts(Document):
    """What `pack.json` says. Within a major `schema_version` fields are only ever added."""

    schema_version: str = PACK_VERSION
    run_id: str
    plan: str
    org: str
    job: str
    app_id: str
    resource: Resource
    label: str | None
    tags: dict[str, str]
    kid: str
    thumbprint: str = Field(description="x5t#S256 of the certificate")
    sha1: str = Field(description="of the certificate, as vendors show it: AA:BB:...")
    sha256: str = Field(description="likewise")
    subject: str
    not_before: datetime
    not_after: datetime
    files: tuple[PackFile, ...] = ()


def contents_of(pack: HandoffPack, *, plan: str, run_id: RunId, org: str) -> dict[str, bytes]:
    """Return the files of a pack by name; `pack.json`, which lists the others, is the last.

    The metadata is left as it came: it may be signed.

    Raises:
        ReportError: the certificate is missing, or not the one that its thumbprint names.
    """
    der = checked_der(pack)
    facts = facts_of(pack, plan=plan, run_id=run_id, org=org)
    files = {PEM: pem_of(der).encode("ascii"), DER: der}
    if pack.metadata:
        files[METADATA] = pack.metadata
    files[MESSAGE] = message_of(facts, has_metadata=METADATA in files).encode("utf-8")
    listed = [
        PackFile(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    ]
    complete = facts.model_copy(update={"files": tuple(listed)})
    files[FACTS] = complete.model_dump_json(indent=2).encode("utf-8") + b"\n"
    return files


def checked_der(pack: HandoffPack) -> bytes:
    """Return the certificate; a wrong one in a vendor's hands would lock people out."""
    try:
        der = der_of(pack.certificate.x5c)
    except ValueError:
        der = b""
    if thumbprint_of(der) != pack.certificate.thumbprint:
        raise ReportError(
            f"the certificate for app {pack.target.app} is not the one that its thumbprint names"
        )
    return der


def facts_of(pack: HandoffPack, *, plan: str, run_id: RunId, org: str) -> PackFacts:
    """Return all that is known of a pack but its files, free of control characters."""
    certificate = pack.certificate
    prints = fingerprints(certificate)
    return PackFacts(
        run_id=run_id,
        plan=plan,
        org=org,
        job=pack.target.job,
        app_id=pack.target.app,
        resource=pack.key.resource,
        label=as_words(pack.label or "") or None,
        tags={as_words(name): as_words(text) for name, text in pack.target.tags.items()},
        kid=pack.key.kid,
        thumbprint=certificate.thumbprint,
        sha1=with_colons(prints.sha1),
        sha256=with_colons(prints.sha256),
        subject=as_words(certificate.subject),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )


def message_of(facts: PackFacts, *, has_metadata: bool) -> str:
    """Return the message for the vendor, in words that need no knowledge of our ways."""
    name = f'"{facts.label}"' if facts.label else f"the {NOUNS[facts.resource]} {facts.app_id}"
    return MESSAGE_TEXT.format(
        name=name,
        intro=INTROS[facts.resource].format(name=name, org=facts.org),
        pem=PEM,
        der=DER,
        metadata=METADATA_TEXT.format(metadata=METADATA) if has_metadata else "",
        certificate=table(
            ("Subject", facts.subject),
            ("Valid from", in_utc(facts.not_before)),
            ("Valid until", in_utc(facts.not_after)),
            ("SHA-1", facts.sha1),
            ("SHA-256", facts.sha256),
        ),
        about=table(("Name", facts.label), ("Id in Okta", facts.app_id), *told_tags(facts)),
    )


def told_tags(facts: PackFacts) -> Iterator[tuple[str, str]]:
    """Yield the tags that are for the vendor's eyes, in our order, however their case."""
    by_name = {name.lower(): text for name, text in facts.tags.items()}
    return ((tag.capitalize(), by_name[tag]) for tag in TOLD_TAGS if tag in by_name)


def table(*rows: tuple[str, str | None]) -> str:
    return "\n".join(f"  {f'{name}:':<13}{text}" for name, text in rows if text)


def in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def with_colons(digits: str) -> str:
    return bytes.fromhex(digits).hex(":").upper()
