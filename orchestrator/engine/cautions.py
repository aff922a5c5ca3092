"""Say what a person should think about before a job's key goes out. Pure; nothing is forbidden.

Sources: Okta, "Share application key credentials for IdPs across apps", which does not recommend
to share them; NIST SP 800-131A rev. 2, on SHA-1 and on RSA keys under 2048 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.holders import MOST_SHARING
from orchestrator.model import AppId, AppSnapshot, Certificate, Kid
from orchestrator.store.base import EventRecord

CAUTIONED = "cautioned"  # a kind of event
MOST_NAMED = 10  # apps that a caution names
LEAST_BITS = 2048
LEAST_LEFT = timedelta(days=90)
CURVE_BITS = frozenset({192, 224, 256, 384, 521})  # keys of elliptic curves: not short at all
WEAK_HASHES = {"md5": "MD5", "sha1": "SHA-1"}  # by what our certificates call them


class CautionKind(StrEnum):
    """What there is to think about."""

    SHA1 = "sha1"  # or older: nobody should rely on the signature of the certificate
    SHORT_KEY = "short_key"
    ENDS_SOONER = "ends_sooner"  # than the certificate that it replaces
    ENDS_SOON = "ends_soon"
    SHARED_WIDELY = "shared_widely"
    TERRAFORM = "terraform"  # a Terraform state manages some of the targets
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One thing to think about in one job."""

    kind: CautionKind
    job: str
    detail: str  # one sentence for a person
    count: int  # targets that it is about
    apps: tuple[AppId, ...] = ()  # the first of them; none where it is about the key itself


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What is known of a job when its cautions are worked out."""

    name: str
    size: int  # targets
    certificate: Certificate | None = None  # of its key, where that exists already
    validity_years: int | None = None  # of a key that is still to be made
    sharing: int = 0  # apps that will hold the key, as far as known; 0: no key is shared
    targets: Iterable[tuple[AppId, AppSnapshot | None]] = ()  # read once


@dataclass(slots=True)
class Sighted:
    """The targets of a job that one caution is about."""

    count: int = 0
    apps: list[AppId] = field(default_factory=list)
    last_end: datetime | None = None  # of the certificates that are replaced

    def add(self, app: AppId, end: datetime | None = None) -> None:
        self.count += 1
        if self.count <= MOST_NAMED:
            self.apps.append(app)
        if end is not None:
            self.last_end = max(end, self.last_end or end)


def cautions_of(
    jobs: Iterable[JobFacts],
    *,
    at: datetime,
    certificate_of: Callable[[Kid], Certificate | None],
    managed: frozenset[AppId] = frozenset(),
    most_sharing: int = MOST_SHARING,
) -> tuple[Caution, ...]:
    """Return what there is to think about: job after job, each in the order of the kinds.

    `at` is on the org's clock. `certificate_of` knows the keys that targets sign with now, as far
    as they were read; `managed` are the apps of a Terraform state.
    """
    return tuple(
        caution
        for job in jobs
        for caution in cautions_in(job, at, certificate_of, managed, most_sharing)
    )


def cautions_in(
    job: JobFacts,
    at: datetime,
    certificate_of: Callable[[Kid], Certificate | None],
    managed: frozenset[AppId],
    most_sharing: int,
) -> Iterator[Caution]:
    """Yield the cautions of one job."""
    end = end_of(job, at)
    sooner, ours, idle = look_at(job, end, certificate_of, managed)
    if job.certificate is not None:
        yield from cautions_on_signature(job, job.certificate)
    if end is not None and sooner.last_end is not None:
        yield caution(CautionKind.ENDS_SOONER, job, sooner_text(end, sooner), sooner)
    if end is not None and end - at < LEAST_LEFT:
        yield caution(CautionKind.ENDS_SOON, job, soon_text(end, at))
    if job.sharing > most_sharing:
        text = (
            f"at least {job.sharing} apps will share one key, more than {most_sharing}: "
            "its theft or its end hits all of them at once"
        )
        yield caution(CautionKind.SHARED_WIDELY, job, text)
    if ours.count:
        text = (
            f"{numbered(ours.count)} managed by Terraform: plan anew after the activation, "
            "for a plan that was saved before it puts the former key back"
        )
        yield caution(CautionKind.TERRAFORM, job, text, ours)
    if idle.count:
        text = f"{numbered(idle.count)} not active, so nobody will notice what does not work there"
        yield caution(CautionKind.INACTIVE, job, text, idle)


def end_of(job: JobFacts, at: datetime) -> datetime | None:
    """Return when the certificate of a job's key ends, or would if it were made now."""
    if job.certificate is not None:
        return job.certificate.not_after
    return None if job.validity_years is None else years_later(at, job.validity_years)


def years_later(moment: datetime, years: int) -> datetime:
    """Return the same day so many years later; 29 February becomes 28 February."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, day=28)


def look_at(
    job: JobFacts,
    end: datetime | None,
    certificate_of: Callable[[Kid], Certificate | None],
    managed: frozenset[AppId],
) -> tuple[Sighted, Sighted, Sighted]:
    """Return the targets whose certificate ends later, that Terraform manages, and that rest."""
    sooner, ours, idle = Sighted(), Sighted(), Sighted()
    for app, seen in job.targets:
        if app in managed:
            ours.add(app)
        if seen is None:
            continue
        if seen.status not in (None, "ACTIVE"):
            idle.add(app)
        former = certificate_of(seen.kid) if seen.kid else None
        if former is not None and end is not None and end < former.not_after:
            sooner.add(app, former.not_after)
    return sooner, ours, idle


def cautions_on_signature(job: JobFacts, certificate: Certificate) -> Iterator[Caution]:
    """Yield what there is to say of a certificate whatever the time is."""
    weak = WEAK_HASHES.get(certificate.signature_hash)
    if weak is not None:
        text = f"the certificate is signed with {weak}, which more and more services refuse"
        yield caution(CautionKind.SHA1, job, text)
    bits = certificate.key_bits
    if 0 < bits < LEAST_BITS and bits not in CURVE_BITS:
        text = f"the key has {bits} bits, fewer than the {LEAST_BITS} that are safe"
        yield caution(CautionKind.SHORT_KEY, job, text)


def caution(kind: CautionKind, job: JobFacts, detail: str, about: Sighted | None = None) -> Caution:
    """Return a caution about some targets, or about the key of all of them."""
    count, apps = (about.count, tuple(about.apps)) if about else (job.size, ())
    return Caution(kind=kind, job=job.name, detail=detail, count=count, apps=apps)


def sooner_text(end: datetime, sooner: Sighted) -> str:
    which = "the one" if sooner.count == 1 else f"those of {sooner.count} targets"
    last = f"{sooner.last_end:%Y-%m-%d}"
    until = f"lasts until {last}" if sooner.count == 1 else f"last until {last} at the longest"
    return f"the certificate ends on {end:%Y-%m-%d}, sooner than {which} in use now, which {until}"


def soon_text(end: datetime, at: datetime) -> str:
    if end <= at:
        return f"the certificate has ended on {end:%Y-%m-%d}"
    days = (end - at) // timedelta(days=1)
    left = f"{days} days" if days > 1 else "a day or so"
    return f"the certificate ends in {left}, on {end:%Y-%m-%d}"


def numbered(targets: int) -> str:
    return "1 target is" if targets == 1 else f"{targets} targets are"


def body_of(caution: Caution) -> dict[str, object]:
    """Return a caution as the journal keeps it."""
    return {
        "kind": caution.kind.value,
        "job": caution.job,
        "detail": caution.detail,
        "count": caution.count,
        "apps": list(caution.apps),
    }


def cautions_told(events: Iterable[EventRecord]) -> tuple[Caution, ...]:
    """Return the cautions that a journal has; of those alike, the last, where the first stood."""
    told: dict[tuple[str, CautionKind], Caution] = {}
    for event in events:
        caution = caution_from(event.body)
        if caution is not None:
            told[caution.job, caution.kind] = caution
    return tuple(told.values())


def caution_from(body: Mapping[str, object]) -> Caution | None:
    """Read a caution back; None for one of a kind that we do not know."""
    kind, apps, count = body.get("kind"), body.get("apps"), body.get("count")
    if not (isinstance(kind, str) and isinstance(apps, list) and isinstance(count, int)):
        return None
    if kind not in set(CautionKind):
        return None
    return Caution(
        kind=CautionKind(kind),
        job=str(body.get("job")),
        detail=str(body.get("detail")),
        count=count,
        apps=tuple(AppId(str(app)) for app in apps),
    )


def is_news(caution: Caution, told: Iterable[Caution]) -> bool:
    """Say whether nobody has been told of it yet, or of fewer targets."""
    return not any(
        (each.job, each.kind) == (caution.job, caution.kind) and each.count >= caution.count
        for each in told
    )
