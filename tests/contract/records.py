"""Any record of the domain, for the property tests of the store."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

from hypothesis import strategies as st

from orchestrator.model import (
    AppId,
    Certificate,
    Evidence,
    KeyRef,
    Kid,
    Outcome,
    Proof,
    Reason,
    Status,
    Target,
)

TEXT = st.text(st.characters(), max_size=12)  # lone surrogates and NUL too: the org may send them
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
TIMES = st.datetimes(timezones=ZONES)
COUNTS = st.integers(0, 2**53)
KEYS = st.builds(KeyRef, app=TEXT.map(AppId), kid=TEXT.map(Kid))
CERTIFICATES = st.builds(
    Certificate,
    thumbprint=TEXT,
    not_before=TIMES,
    not_after=TIMES,
    subject=TEXT,
    signature_hash=TEXT,
    key_bits=COUNTS,
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
