"""Random orgs with a plan for each: all that a preview has something to say about.

A plan is written as JSON, which is YAML too, so that it comes in through the front door.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from orchestrator.model import AppId, Resource
from orchestrator.sandbox.holders import KeyHolder
from orchestrator.sandbox.idps import SAML
from orchestrator.sandbox.org import SandboxOrg

MODES = (
    "SAML_2_0", "SAML_2_0", "SAML_2_0", "SAML_1_1", "WS_FEDERATION", "OPENID_CONNECT", "BOOKMARK",
    "AUTO_LOGIN", "BROWSER_PLUGIN", "BASIC_AUTH", "SECURE_PASSWORD_STORE",
)  # fmt: skip
IDP_KINDS = (SAML, SAML, SAML, "OIDC", "X509", "FACEBOOK")
STATUSES = ("ACTIVE", "ACTIVE", "ACTIVE", "INACTIVE")
TEAMS = ("Red", "Blue")
YEARS = {"validity_years": 3}
SUBJECT = {"subject": {"common_name": "sso.example.com"}}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An app, or an identity provider, before there is an org for it."""

    mode: str
    status: str
    team: str
    holds: int | None  # the key of which job's source, if any
    signs: bool  # with that
    is_gone: bool = False  # it was deleted, and the plan still lists it


@dataclass(frozen=True, kw_only=True)
class JobPiece:
    """A job of the plan to be, with its source."""

    resource: Resource
    source: Piece
    shares: bool  # the source, and the key, of the first job
    kind: str
    targets: Sequence[int]  # of the pool
    selector: str | None
    excluded: int | None
    activates: bool
    activates_source: bool
    waves: Sequence[int | str]
    inactive: str
    allow_oidc: bool
    verify: str


def pieces(modes: Sequence[str], *, held: int) -> st.SearchStrategy[Piece]:
    return st.builds(
        Piece,
        mode=st.sampled_from(modes),
        status=st.sampled_from(STATUSES),
        team=st.sampled_from(TEAMS),
        holds=st.none() | st.integers(0, held - 1),
        signs=st.booleans(),
        is_gone=st.sampled_from([False] * 7 + [True]),
    )


def job_pieces(resource: Resource, pool: int) -> st.SearchStrategy[JobPiece]:
    is_app = resource is Resource.APP
    kinds = ["kid", "kid", "active", "newest", "generate", "each_target", "csr"]
    return st.builds(
        JobPiece,
        resource=st.just(resource),
        source=pieces(MODES if is_app else IDP_KINDS, held=1),
        shares=st.booleans(),
        kind=st.sampled_from(kinds),
        targets=st.lists(st.integers(0, pool - 1), min_size=1, max_size=pool, unique=True),
        selector=st.sampled_from([None, None, "team", "signing_with", "filter"]),
        excluded=st.none() | st.integers(0, pool - 1),
        activates=st.booleans(),
        activates_source=st.booleans(),
        waves=st.sampled_from([["100%"], [1, "100%"], [2], ["30%", "100%"]]),
        inactive=st.sampled_from(["skip", "activate"]),
        allow_oidc=st.booleans(),
        verify=st.sampled_from(["response", "read_back", *(["metadata"] if is_app else [])]),
    )


@dataclass(kw_only=True)
class World:
    """An org, and a plan for it."""

    pool: Sequence[Piece]
    idps: Sequence[Piece]
    jobs: Sequence[JobPiece]
    org: SandboxOrg = field(default_factory=lambda: SandboxOrg(seed=7), repr=False)

    def __post_init__(self) -> None:
        """Make what the pieces say."""
        self.sources = [self.add(job.source, job.resource, "Source") for job in self.jobs]
        self.kids = [self.org.add_key(source.id) for source in self.sources]
        self.members = {
            Resource.APP: [self.member(piece, Resource.APP) for piece in self.pool],
            Resource.IDP: [self.member(piece, Resource.IDP) for piece in self.idps],
        }
        gone = [piece.is_gone for piece in (*self.pool, *self.idps)]
        everybody = [*self.members[Resource.APP], *self.members[Resource.IDP]]
        gone += [job.source.is_gone for job in self.jobs]
        for holder, is_gone in zip([*everybody, *self.sources], gone, strict=True):
            if is_gone:
                remove = self.org.remove_app if holder.resource == "app" else self.org.remove_idp
                remove(holder.id)

    def add(self, piece: Piece, resource: Resource, team: str) -> KeyHolder:
        title = f"{team} {self.org.ordinal}"
        if resource is Resource.APP:
            return self.org.add_app(sign_on_mode=piece.mode, label=title, status=piece.status)
        return self.org.add_idp(kind=piece.mode, name=title, status=piece.status)

    def member(self, piece: Piece, resource: Resource) -> KeyHolder:
        """Add what may be a target, which may hold a key already, or sign with it."""
        holder = self.add(piece, resource, piece.team)
        if piece.holds is None or piece.holds >= len(self.jobs):
            return holder
        kid = self.org.add_key(holder.id, self.kids[piece.holds])
        if piece.signs and holder.signs:
            holder.choose(kid)
        return holder

    def source_of(self, number: int) -> int:
        """Return the number of the job whose source a job has."""
        first, job = self.jobs[0], self.jobs[number]
        shares = job.shares and job.kind == first.kind == "kid" and job.resource is first.resource
        return 0 if shares else number

    def plan(self) -> bytes:
        """Write the plan."""
        jobs = [self.job(number, job) for number, job in enumerate(self.jobs)]
        return json.dumps({"version": 1, "name": "world", "jobs": jobs}).encode()

    def job(self, number: int, job: JobPiece) -> dict[str, Any]:
        members = self.members[job.resource]
        selected = self.selector(number, job)
        written: dict[str, Any] = {
            "name": f"job-{number}",
            "resource": job.resource.value,
            "source": self.source(number, job),
            "targets": [*(members[each].id for each in job.targets), *selected],
            "allow_oidc": job.allow_oidc,
            "verify": job.verify,
        }
        if job.excluded is not None:
            written["exclude"] = [members[job.excluded].id]
        if self.activates(number):
            written["activate"] = {
                "waves": job.waves,
                "inactive": job.inactive,
                "stop_after_failures": 1000,
                "source": job.activates_source and job.kind != "each_target",
            }
        return written

    def activates(self, number: int) -> bool:
        """Say whether a job activates; two jobs that do must not have a target in common."""
        job = self.jobs[number]
        earlier = [at for at in range(number) if self.jobs[at].resource is job.resource]
        return job.activates and not any(
            self.activates(at) and self.may_meet(self.jobs[at], job) for at in earlier
        )

    def may_meet(self, job: JobPiece, other: JobPiece) -> bool:
        """Say whether two jobs may have a target in common."""
        is_listed = job.selector is None and other.selector is None
        shares_source = job.shares or other.shares
        return shares_source or not is_listed or not set(job.targets).isdisjoint(other.targets)

    def selector(self, number: int, job: JobPiece) -> list[dict[str, str]]:
        """Return a selector, if there is one; it may pick nothing, which makes the plan wrong."""
        kid = self.kids[self.source_of(number)]
        selectors = {
            "team": {"label_prefix": TEAMS[0]},
            "signing_with": {"signing_with": kid},
            "filter": {"filter": f'credentials.signing.kid eq "{kid}"'},
        }
        is_filter_of_idps = job.selector == "filter" and job.resource is Resource.IDP
        return [] if job.selector is None or is_filter_of_idps else [selectors[job.selector]]

    def source(self, number: int, job: JobPiece) -> dict[str, Any]:
        at = self.source_of(number)
        keys: dict[str, object] = {
            "kid": self.kids[at],
            "active": "active",
            "newest": "newest",
            "generate": {"generate": YEARS},
            "csr": {"csr": SUBJECT},
        }
        if job.kind == "each_target":
            return {"key": {"generate": YEARS | {"each_target": True}}}
        return {job.resource.value: self.sources[at].id, "key": keys[job.kind]}

    def id_of(self, resource: Resource, number: int) -> AppId:
        return AppId(self.members[resource][number].id)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    pool, idps = draw(st.integers(2, 8)), draw(st.integers(2, 4))
    resources = st.sampled_from([Resource.APP, Resource.APP, Resource.IDP])
    jobs = [
        draw(job_pieces(resource, pool if resource is Resource.APP else idps))
        for resource in draw(st.lists(resources, min_size=1, max_size=3))
    ]
    return World(
        pool=[draw(pieces(MODES, held=3)) for _ in range(pool)],
        idps=[draw(pieces(IDP_KINDS, held=3)) for _ in range(idps)],
        jobs=jobs,
    )
