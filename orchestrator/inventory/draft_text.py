"""Write a drafted plan down, with a comment on everything that a person wants to know. Pure.

Labels are foreign: they stand in comments only, where no character of theirs can end the line.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping

import yaml

from orchestrator.holders import NOUNS, Selector, SelectorKind
from orchestrator.inventory.draft import Draft, DraftJob, Left, span_text
from orchestrator.inventory.filters import Filters
from orchestrator.inventory.record import Row
from orchestrator.inventory.totals import count_of, counted
from orchestrator.model import KeyKind, Resource
from orchestrator.writing import as_words

SCHEMA = "./plan-v1.schema.json"
LONGEST_LABEL = 60
LEFT_WORDS: Mapping[Left, str] = {
    Left.NOT_SIGNING: "without a key to sign with",
    Left.OIDC: "OpenID Connect, whose keys Okta rotates by itself (--allow-oidc takes them)",
    Left.INACTIVE: "deactivated (--status INACTIVE takes them)",
    Left.PROTECTED: "protected by the profile",
    Left.OTHER_KIND: "of another kind than the source",
    Left.HAS_KEY: "with the key already",
}
ACKNOWLEDGED = "say it with okta-keys ack, once a service provider trusts the new key"


def plan_text(draft: Draft, *, file: str = "PLAN") -> str:
    """Return the plan as YAML; `file` is what the advice in its head calls it.

    The same draft is always written in the same way.
    """
    lines = [*head(draft, file), "", "jobs:"]
    for number, job in enumerate(draft.jobs):
        lines += ["", *job_lines(draft, job)] if number else job_lines(draft, job)
    return "\n".join([*lines, *limit_lines(draft)]) + "\n"


def head(draft: Draft, file: str) -> Iterator[str]:
    """Yield what stands above the jobs."""
    org, at = draft.inventory.org, f"{draft.inventory.taken_at:%Y-%m-%d %H:%M} UTC"
    yield f"# yaml-language-server: $schema={SCHEMA}"
    yield "#"
    yield f"# Written by `okta-keys plan new`, from {as_words(org)} as it was on {at}."
    yield f"# Chosen: {chosen(draft)}."
    for reason in Left:
        if count := draft.left.get(reason, 0):
            yield f"# Left out: {count} {LEFT_WORDS[reason]}."
    yield "#"
    shown = as_words(shlex.quote(file))
    advice = {
        f"okta-keys validate {shown}": "checks the plan, and calls nobody",
        f"okta-keys preview {shown}": "says what a run would do to each target",
        f"okta-keys run {shown}": what_a_run_does(draft),
        f"okta-keys schema > {SCHEMA}": "lets an editor complete and check it",
    }
    width = max(map(len, advice))
    yield from (f"#   {command:{width}}  {what}" for command, what in advice.items())
    yield "version: 1"
    yield f"name: {scalar(draft.name)}"
    yield from org_lines(draft)


def limit_lines(draft: Draft) -> Iterator[str]:
    """Yield a bound on what selectors may pick by the time of a run."""
    if any(job.selector is not None for job in draft.jobs):
        yield ""
        yield "limits:"
        most = sum(len(job.rows) for job in draft.jobs)
        yield f"  max_changes: {most} # as it is today; a run that would change more does not begin"


def org_lines(draft: Draft) -> Iterator[str]:
    """Yield which org it is: the profile where there is one, never a credential."""
    if draft.inventory.profile:
        yield f"org: {scalar(draft.inventory.profile)} # {as_words(draft.inventory.org)}"
        return
    yield "org:"
    yield f"  url: {scalar(draft.inventory.org)} # the token is read from OKTA_CLIENT_TOKEN"


def what_a_run_does(draft: Draft) -> str:
    if draft.wishes.activates:
        return "stages the keys; run again, it activates what is acknowledged"
    return "stages the keys; nothing signs with them yet"


def chosen(draft: Draft) -> str:
    """Say by what targets were chosen."""
    said = list(filter_words(draft.filters))
    if draft.by_hand:
        said.append("picked one by one")
    return "; ".join(said) or "everything that signs with a key"


def filter_words(filters: Filters) -> Iterator[str]:
    if filters.expiring_within is not None:
        yield f"the certificate ends within {span_text(filters.expiring_within)}"
    if filters.signing_with:
        yield f"it signs with {as_words(filters.signing_with)}"
    if filters.label:
        yield f"its label has {as_words(filters.label)!r} in it"
    if filters.status:
        yield f"its status is {as_words(filters.status)}"
    if filters.shared:
        yield "it shares its key"
    if filters.sha1:
        yield "the certificate is signed with SHA-1"


def job_lines(draft: Draft, job: DraftJob) -> list[str]:
    lines = [f"  # {line}" for line in about(job)]
    lines += [f"  - name: {scalar(job.name)}"]
    if job.resource is not Resource.APP:
        lines += [f"    resource: {job.resource.value}"]
    lines += source_lines(job)
    if job.has_oidc:
        lines += ["    allow_oidc: true # Okta rotates the keys of OpenID Connect apps by itself"]
    lines += target_lines(draft, job)
    activate = list(activate_lines(job))
    if draft.wishes.activates:
        return lines + [f"    {line}" for line in activate]
    lines += [
        "    # Until this is no comment any more, keys are staged, and nothing signs with them:"
    ]
    return lines + [f"    # {line}" for line in activate]


def about(job: DraftJob) -> Iterator[str]:
    """Yield what a job is about, in the words of comments."""
    _, many = NOUNS[job.resource]
    if job.source is None:
        yield f"A new key for each of {count_of(len(job.targets), job.resource)}: none is shared."
        return
    if job.shared is None:
        yield f"One key of {title(job.source)} for {count_of(len(job.targets), job.resource)}."
        return
    yield f"{count_of(len(job.rows), job.resource)} sign with {as_words(job.shared)},"
    yield f"{certificate_text(job.source)}. They get a new key, and share it again."
    others = job.source.sharing - len(job.rows)
    if others > 0:
        yield f"{others} more of the org's {many} sign with it too, and are not in this job."


def source_lines(job: DraftJob) -> Iterator[str]:
    """Yield the source and its key."""
    yield "    source:"
    if job.source is not None:
        yield f"      {job.resource.value}: {scalar(job.source.holder.id)} # {title(job.source)}"
    if job.wanted.kind is KeyKind.KID and job.kid is not None:
        yield f"      key: {scalar(job.kid)}"
        return
    if job.wanted.kind in (KeyKind.ACTIVE, KeyKind.NEWEST):
        yield f"      key: {job.wanted.kind.value} # what that is when the run begins"
        return
    yield "      key:"
    is_each = job.wanted.kind is KeyKind.GENERATE_EACH
    made = "a key of its own for every target" if is_each else "made once; targets get clones of it"
    yield f"        generate: # {made}"
    yield f"          validity_years: {job.wanted.validity_years}"
    if is_each:
        yield "          each_target: true"


def target_lines(draft: Draft, job: DraftJob) -> Iterator[str]:
    """Yield the targets, by the selector that picks them or one by one."""
    yield "    targets:"
    comments = [f"{title(row)}: {facts(draft, job, row)}" for row in job.targets]
    if job.selector is None:
        for row, comment in zip(job.targets, comments, strict=True):
            yield f"      - {scalar(row.holder.id)} # {comment}"
        return
    today = count_of(len(job.targets), job.resource)
    yield f"      - {job.selector.kind.value}: {text_scalar(job.selector)}"
    yield f"      # A run picks when it begins; today that is {today}:"
    for row, comment in zip(job.targets, comments, strict=True):
        yield f"      #   {as_words(row.holder.id)} {comment}"


def facts(draft: Draft, job: DraftJob, row: Row) -> str:
    """Return what there is to know of a target in one line."""
    said = [certificate_text(row)]
    if row.sharing > 1 and job.shared is None:
        said.append(f"shares its key with {row.sharing - 1} more")
    if not row.holder.is_active:
        said.append("deactivated")
    if row.holder.is_oidc:
        said.append("OpenID Connect")
    if row.holder.id in draft.wishes.managed:
        said.append("managed by Terraform: plan anew there after the run")
    return ", ".join(said)


def activate_lines(job: DraftJob) -> Iterator[str]:
    """Yield how keys become active, with careful defaults."""
    yield "activate:"
    if job.with_source:
        yield "  source: true # the source too, as the last of all"
    yield "  gate:"
    yield f"    acknowledged: true # {ACKNOWLEDGED}"
    yield "  waves: [1, 10%, 100%] # one to see that it works, then a tenth, then all others"
    yield "  pause: 10m # between waves"
    yield "  stop_after_failures: 1 # in a wave; no further wave begins after it"
    if job.has_inactive:
        yield "  inactive: activate # also what is deactivated"


def certificate_text(row: Row) -> str:
    """Say when the certificate of the present key ends."""
    certificate, days = row.certificate, row.days_left
    if certificate is None or days is None:
        return "the end of its certificate is not known"
    ended = certificate.not_after
    left = f"{days_of(days)} left" if days >= 0 else f"ended {days_of(-days)} ago"
    sha1 = ", SHA-1" if row.is_sha1 else ""
    return f"until {ended:%Y-%m-%d} ({left}{sha1})"


def days_of(days: int) -> str:
    return counted(days, "day", "days")


def title(row: Row) -> str:
    """Return how a person knows an app: its label, fit for a comment."""
    return shortened(as_words(row.holder.label) or as_words(row.holder.id))


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[:LONGEST_LABEL]}..."


def scalar(text: str) -> str:
    """Return a name, an id or an address as a YAML value, in quotes where these are needed."""
    return dumped(text, None)


def text_scalar(selector: Selector) -> str:
    """Return the text of a selector as a YAML value on one line; a pattern in double quotes."""
    return dumped(selector.text, '"' if selector.kind is SelectorKind.LABEL_REGEX else None)


def dumped(text: str, style: str | None) -> str:
    whole: str = yaml.safe_dump(text, default_style=style, allow_unicode=True, width=math.inf)
    return whole.removesuffix("...\n").removesuffix("\n")
