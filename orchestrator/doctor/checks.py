"""What the doctor concludes from what was seen. Pure: facts go in, a finding comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.errors import ExitCode, OrchestratorError, PlanError, ScopeMissing
from orchestrator.okta.credentials import ApiToken, BearerToken, Credential, ServiceApp
from orchestrator.okta.objects import Organization, PrincipalLimit
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pacing import BucketView
from orchestrator.okta.permissions import (
    Need,
    caller_of,
    scope_remedy,
    unmet,
)
from orchestrator.okta.token_life import HeldToken
from orchestrator.okta.wire import Refusal, Reply

CLOCK_WARNING_SECONDS = 30.0  # beyond it, times in logs and reports mislead
SOON = timedelta(days=14)  # until the end of a certificate
CROWDED = 0.5  # of a bucket in use by others, when we have only begun
PER_MINUTE = 60.0
PLACES = ("variable", "ca_file", "client_cert", "client_key")  # of an error, where to mend it


class Grade(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"  # an earlier failure leaves nothing to look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the diagnosis."""

    check: str  # what was looked at; the names never change
    grade: Grade
    text: str
    remedy: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)  # plain values, for programs
    exit_code: ExitCode = ExitCode.UNEXPECTED  # of a failure


def failed(check: str, error: OrchestratorError, remedy: str | None = None) -> Finding:
    """Return the finding that an error stands for."""
    context = {name: str(value) for name, value in error.context.items()}
    where = [f"{name}: {context[name]}" for name in PLACES if name in context]
    told = error.diagnostics() if isinstance(error, PlanError) else error.message
    return Finding(
        check=check,
        grade=Grade.FAIL,
        text="\n".join([told, *where]),
        remedy=remedy or error.hint,
        facts=context,
        exit_code=error.exit_code,
    )


def skipped(check: str, because: str) -> Finding:
    """Return the finding of a check that had nothing to look at."""
    return Finding(check=check, grade=Grade.SKIPPED, text=f"not looked at: {because}")


def organization_finding(reply: Reply[Organization], url: str) -> Finding:
    """Say whether an address is that of an Okta org, by what it says of itself."""
    org = reply.value
    if org is None or not org.id:
        said = f" ({reply.refusal.said})" if reply.refusal else ""
        return Finding(
            check="org",
            grade=Grade.FAIL,
            text=f"{url} answers, and is not an Okta org{said}",
            remedy="is the address right? In the admin console it is at the top right, without"
            " -admin: https://acme.okta.com",
            exit_code=ExitCode.INVALID,
        )
    engine = {"idx": "Identity Engine", "v1": "Classic Engine"}.get(org.pipeline or "")
    return Finding(
        check="org",
        grade=Grade.OK,
        text=f"an Okta org: {org.id}{f', {engine}' if engine else ''}",
        facts={"id": org.id, "pipeline": org.pipeline, "cell": org.cell},
    )


def clock_finding(ahead_seconds: float | None) -> Finding:
    """Judge how far this machine's clock is ahead of the org's; None: the org told no time."""
    if ahead_seconds is None:
        return Finding(check="clock", grade=Grade.WARN, text="the org's answers tell no time")
    facts = {"ahead_seconds": round(ahead_seconds, 1)}
    if abs(ahead_seconds) <= CLOCK_WARNING_SECONDS:
        return Finding(
            check="clock",
            grade=Grade.OK,
            text="this machine's clock agrees with the org's",
            facts=facts,
        )
    side = "ahead of" if ahead_seconds > 0 else "behind"
    return Finding(
        check="clock",
        grade=Grade.WARN,
        text=f"this machine's clock is {in_words(abs(ahead_seconds))} {side} the org's",
        remedy="set the clock (NTP). Gates, tokens and proofs go by the org's clock and hold;"
        " cron, and the times in reports and logs, go by this one",
        facts=facts,
    )


def in_words(seconds: float) -> str:
    """Return a span of time as people say it."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def credential_finding(credential: Credential, token: HeldToken | None) -> Finding:
    """Say that the org accepts a credential, and as what; `token` is what a service app got."""
    if not isinstance(credential, ServiceApp):
        text = f"the org accepts the {caller_of(credential).value}"
        return Finding(check="credential", grade=Grade.OK, text=text)
    is_bound = token is not None and token.is_bound
    facts = {"client_id": credential.client_id, "dpop": is_bound}
    text = f"the org gives the service app {credential.client_id} access tokens"
    if is_bound and not credential.dpop:
        text += ", with DPoP, which it demands (dpop: true spares one call a run)"
    elif is_bound:
        text += ", with DPoP"
    return Finding(check="credential", grade=Grade.OK, text=text, facts=facts)


def scopes_finding(
    credential: Credential,
    token: HeldToken | None,
    needs: Sequence[Need],
    first: Reply[bytes] | ScopeMissing,
) -> Finding:
    """Hold the scopes of a token against what the work needs, as far as they are told.

    A token that tells none has those that were asked for (RFC 6749 section 5.1).
    """
    refused = failed("scopes", first) if isinstance(first, ScopeMissing) else None
    if isinstance(credential, ApiToken):
        text = "an API token has none: it may do what the role of its admin allows"
        return refused or Finding(check="scopes", grade=Grade.OK, text=text)
    if isinstance(credential, BearerToken):
        named = ", ".join(need.scope for need in needs if not need.is_optional)
        text = f"an access token does not tell its scopes; {named} are needed"
        return refused or Finding(check="scopes", grade=Grade.OK, text=text)
    granted = (token.scopes if token is not None else ()) or credential.scopes
    facts = {"granted": list(granted), "needed": [need.scope for need in needs]}
    lacking = unmet(needs, granted)
    grave = [need for need in lacking if not need.is_optional]
    if refused is not None and not grave:
        return refused
    if not lacking:
        text = f"granted: {', '.join(granted)}"
        return Finding(check="scopes", grade=Grade.OK, text=text, facts=facts)
    said = "; ".join(f"{need.scope} is missing, to {need.work}" for need in grave or lacking)
    return Finding(
        check="scopes",
        grade=Grade.FAIL if grave else Grade.WARN,
        text=said,
        remedy=scope_remedy(caller_of(credential), (grave or lacking)[0].scope),
        facts=facts,
        exit_code=ExitCode.ACCESS,
    )


def role_finding(first: Reply[bytes] | ScopeMissing, what: str) -> Finding:
    """Say whether the role behind a credential lets apps, or identity providers, be read.

    Whether it lets them be changed, no call tells that only reads.
    """
    if isinstance(first, ScopeMissing):
        return skipped("role", "a scope is missing first")
    if first.refusal is not None:
        return refused_finding("role", what, first.refusal)
    text = f"{what} may be read; whether they may be changed, only a change would tell"
    return Finding(check="role", grade=Grade.OK, text=text)


def refused_finding(check: str, what: str, refusal: Refusal) -> Finding:
    """Return the finding for something that the org refuses to show."""
    remedy = refusal.remedy
    if remedy is None and refusal.missing_id is not None:
        remedy = "is it an id of this org? okta-keys inventory lists them"
    return Finding(
        check=check,
        grade=Grade.FAIL,
        text=f"the org does not show {what}: {refusal.said}",
        remedy=remedy,
        facts={"status": refusal.status, "code": refusal.code},
        exit_code=ExitCode.ACCESS if refusal.status in (401, 403) else ExitCode.UNEXPECTED,
    )


def allowed_finding(check: str, root: str, read: Reply[bytes] | OrchestratorError) -> Finding:
    """Say whether a list can be read that some of the work needs."""
    if isinstance(read, OrchestratorError):
        return failed(check, read)
    if read.refusal is not None:
        return refused_finding(check, root, read.refusal)
    return Finding(check=check, grade=Grade.OK, text=f"GET {root} is allowed")


def optional(finding: Finding) -> Finding:
    """Turn a failure into a warning: the work is done without it."""
    return replace(finding, grade=Grade.WARN) if finding.grade is Grade.FAIL else finding


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What a TLS handshake with the org showed."""

    version: str  # e.g. TLSv1.3
    not_after: datetime | None = None  # of the server's certificate
    issuer: str | None = None


def tls_finding(tls: TlsFacts, now: datetime) -> Finding:
    """Judge the connection; that it is trusted is what the handshake itself proves."""
    facts = {
        "version": tls.version,
        "not_after": tls.not_after.isoformat() if tls.not_after else None,
        "issuer": tls.issuer,
    }
    until = f", certificate until {tls.not_after:%Y-%m-%d}" if tls.not_after else ""
    by = f" by {tls.issuer}" if tls.issuer else ""
    text = f"{tls.version}{until}{by}"
    if tls.not_after is not None and tls.not_after - now < SOON:
        return Finding(
            check="tls",
            grade=Grade.WARN,
            text=text,
            remedy="the certificate of the address itself ends soon; who runs the custom domain?",
            facts=facts,
        )
    return Finding(check="tls", grade=Grade.OK, text=text, facts=facts)


def limits_finding(
    views: Mapping[Bucket, BucketView],
    capacity: float,
    share: Sequence[PrincipalLimit] | None,
    bucket: Bucket = Bucket.APPS,
) -> Finding:
    """Say how fast a run could be: the limits as announced, and what this principal may use.

    `bucket` is the one that calls for keys go into.
    """
    facts: dict[str, object] = {
        each.value: {"limit": view.limit, "free": view.free, "ours": view.share}
        for each, view in views.items()
    }
    percentages = sorted({each.percentage for each in share or () if each.percentage is not None})
    facts["principal_percentages"] = percentages if share is not None else None
    keys = views.get(bucket)
    if keys is None:
        return Finding(
            check="limits",
            grade=Grade.WARN,
            text="the org's answers announce no rate limits",
            remedy="a run then feels its way; does a proxy remove X-Rate-Limit-* headers?",
            facts=facts,
        )
    rate = keys.share * PER_MINUTE / keys.window_seconds
    told = f"{keys.limit} calls a minute for keys, of which a run takes {rate:.0f} ({capacity:.0%})"
    told += share_in_words(percentages) if share is not None else ""
    in_use = keys.share - keys.free
    if in_use > keys.share * CROWDED:
        return Finding(
            check="limits",
            grade=Grade.WARN,
            text=f"{told}; {in_use} of these are in use now",
            remedy="others call with this credential, or share its limit; a run leaves them room"
            " and takes longer. A credential of its own is faster",
            facts=facts,
        )
    return Finding(check="limits", grade=Grade.OK, text=told, facts=facts)


def share_in_words(percentages: Sequence[int]) -> str:
    """Say which part of the org's limits one credential may use."""
    if not percentages:
        return ""
    low, high = percentages[0], percentages[-1]
    part = f"{low} %" if low == high else f"{low} to {high} %"
    return f"; a credential may use {part} of the org's limits"


def verdict(findings: Iterable[Finding]) -> ExitCode:
    """Return the exit code: of the first failure, or DONE; warnings do not fail."""
    for finding in findings:
        if finding.grade is Grade.FAIL:
            return finding.exit_code
    return ExitCode.DONE
