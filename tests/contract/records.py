"""Any record of the domain, for the property tests of the store."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

from hypothesis import strategies as st

from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    AppSnapshot,
    Certificate,
    CsrRequest,
    Evidence,
    KeyKind,
    KeyRef,
    KeySpec,
    Kid,
    Outcome,
    Proof,
    Reason,
    Resource,
    Status,
    Target,
)
from orchestrator.store.base import JobRecord

TEXT = st.text(st.characters(), max_size=12)  # lone surrogates and NUL too: the org may send them
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
TIMES = st.datetimes(timezones=ZONES)
COUNTS = st.integers(0, 2**53)
KEYS = st.builds(KeyRef, app=TEXT.map(AppId), kid=TEXT.map(Kid), resource=st.sampled_from(Resource))
CERTIFICATES = st.builds(
    Certificate,
    thumbprint=TEXT,
    not_before=TIMES,
    not_after=TIMES,
    subject=TEXT,
    signature_hash=TEXT,
    key_bits=COUNTS,
    x5c=TEXT,
)
TARGETS = st.builds(
    Target, job=TEXT, app=TEXT.map(AppId), tags=st.dictionaries(TEXT, TEXT, max_size=3)
)
EVIDENCE = st.builds(
    Evidence,
    http_status=st.none() | COUNTS,
    okta_code=st.none() | TEXT,
    causes=st.lists(TEXT, max_size=3).map(tuple),
    thumbprint=st.none() | TEXT,
    location_app=st.none() | TEXT.map(AppId),
    request_ids=st.lists(TEXT, max_size=3).map(tuple),
    attempts=COUNTS,
    lost_answers=COUNTS,
    waited_seconds=st.floats(allow_nan=False, allow_infinity=False),
)
OUTCOMES = st.builds(
    Outcome,
    target=TARGETS,
    key=KEYS,
    status=st.sampled_from(Status),
    detail=TEXT,
    label=st.none() | TEXT,
    proof=st.none() | st.sampled_from(Proof),
    reason=st.none() | st.sampled_from(Reason),
    retryable=st.booleans(),
    evidence=EVIDENCE,
    settled_at=st.none() | TIMES,
)
ACTIVATIONS = st.builds(
    Activation,
    target=TARGETS,
    kid=TEXT.map(Kid),
    wave=COUNTS,
    state=st.sampled_from(ActivationState),
    detail=TEXT,
    previous_kid=st.none() | TEXT.map(Kid),
    label=st.none() | TEXT,
    proof=st.none() | st.sampled_from(Proof),
    reason=st.none() | st.sampled_from(Reason),
    retryable=st.booleans(),
    last_updated=st.none() | TEXT,
    changes=st.lists(TEXT, max_size=3).map(tuple),
    problem=st.none() | TEXT,
    evidence=EVIDENCE,
    at=st.none() | TIMES,
)
CSRS = st.builds(
    CsrRequest,
    country=st.none() | TEXT,
    common_name=TEXT,
    dns_names=st.lists(TEXT, max_size=3).map(tuple),
)
JOBS = st.builds(
    JobRecord,
    position=COUNTS,
    name=TEXT,
    key=KEYS,
    wanted=st.builds(
        KeySpec,
        kind=st.sampled_from(KeyKind),
        validity_years=st.none() | st.integers(2, 10),
        csr=st.none() | CSRS,
    ),
    certificate=st.none() | CERTIFICATES,
    problem=st.none() | TEXT,
    dropped=st.dictionaries(TEXT, COUNTS, max_size=3),
)
SNAPSHOTS = st.builds(
    AppSnapshot,
    app=TEXT.map(AppId),
    kid=st.none() | TEXT.map(Kid),
    sign_on_mode=st.none() | TEXT,
    status=st.none() | TEXT,
    last_updated=st.none() | TEXT,
    seen_at=TIMES,
)
