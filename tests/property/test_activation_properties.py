"""Whatever an app looks like, and whatever the org answers: only the key changes, or it is told.

The documents are drawn as plain dictionaries, and what is right is worked out from these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.engine.activation import (
    NEXT,
    Change,
    Collateral,
    Ruling,
    Write,
    change_to_activate,
    change_to_roll_back,
    decide,
    is_legal,
    judge_echo,
    judge_reading,
    judge_refused,
    judge_restored,
)
from orchestrator.model import (
    Activation,
    ActivationState,
    AppId,
    AppSnapshot,
    Kid,
    Proof,
    Reason,
    Resource,
    Target,
)
from orchestrator.okta.document import SIGNING, SignerDocument, changes_between, fingerprint
from orchestrator.okta.wire import Refusal
from orchestrator.rollout import Inactive

S = ActivationState
patient = settings(deadline=None, max_examples=300)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
TARGET = Target(job="job", app=AppId("0oaTarget"))
OLD, NEW, OTHER = Kid("kid-old"), Kid("kid-new"), Kid("kid-other")
KIDS = (OLD, NEW, OTHER)
SAML_MODES = ("SAML_2_0", "SAML_1_1", "WS_FEDERATION")
APP_MODES = (*SAML_MODES, "OPENID_CONNECT", "BOOKMARK", "SECURE_PASSWORD_STORE")
IDP_TYPES = ("SAML2", "SAML2", "OIDC", "GOOGLE", "APPLE", "X509")

names = st.sampled_from(["label", "settings", "profile", "acsEndpoints", "visibility", "é"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text('ab "\\é', max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Drawn:
    """An object of Okta's as a dictionary."""

    resource: Resource
    fields: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        return json.dumps(self.fields).encode()

    @property
    def document(self) -> SignerDocument:
        return SignerDocument.parse(self.body, self.resource)

    @property
    def kid(self) -> str | None:
        return kid_in(self.fields, self.resource)

    @property
    def signs(self) -> bool:
        """Say whether it signs assertions with a key of Okta's."""
        is_saml = self.resource is Resource.APP or self.fields.get("type") == "SAML2"
        return is_saml and self.kid is not None

    def having(self, **fields: object) -> Drawn:
        return Drawn(self.resource, {**self.fields, **fields})

    def signing_with(self, kid: str) -> Drawn:
        return Drawn(self.resource, with_kid(self.fields, self.resource, kid))


def kid_in(fields: Mapping[str, Any], resource: Resource) -> str | None:
    place: Any = fields
    for name in (*SIGNING[resource], "kid"):
        place = place.get(name) if isinstance(place, dict) else None
    assert place is None or isinstance(place, str)
    return place


def with_kid(fields: Mapping[str, Any], resource: Resource, kid: str) -> dict[str, Any]:
    changed = deepcopy(dict(fields))
    place = changed
    for name in SIGNING[resource]:
        place = place.setdefault(name, {})
    place["kid"] = kid
    return changed


def shown(body: bytes) -> Any:
    """Return an object without what an exchange of the key changes anyway."""
    fields = json.loads(body)
    fields.pop("lastUpdated", None)
    for path in SIGNING.values():
        place = fields
        for name in path[:-1]:
            place = place.get(name) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(path[-1], None)
    return fields


@st.composite
def signers(draw: st.DrawFn, *, always: bool = False) -> Drawn:
    """Draw an app or an identity provider; `always`: one that signs with the old key."""
    resource = draw(st.sampled_from(Resource))
    is_app = resource is Resource.APP
    modes = (
        (SAML_MODES if is_app else ("SAML2",)) if always else (APP_MODES if is_app else IDP_TYPES)
    )
    mode = draw(st.sampled_from(modes))
    fields: dict[str, Any] = draw(st.dictionaries(names, values, max_size=4)) | {
        "id": TARGET.app,
        "lastUpdated": draw(st.sampled_from(["2026-09-01T00:00:00.000Z", None])),
        "signOnMode" if is_app else "type": mode,
    }
    if not always:
        fields["status"] = draw(st.sampled_from(["ACTIVE", "ACTIVE", "INACTIVE", None]))
    signing: dict[str, Any] = {"use": "SIGNING"} if draw(st.booleans()) else {}
    bears_key = mode not in ("BOOKMARK", "SECURE_PASSWORD_STORE", "GOOGLE", "X509")
    if always or (bears_key and draw(st.integers(0, 5))):
        signing["kid"] = OLD if always else draw(st.sampled_from(KIDS))
    inner: Any = {"signing": signing, "client": {"client_secret": "s"}}
    for name in reversed(SIGNING[resource][:-1]):
        inner = {name: inner}
    return Drawn(resource, fields | inner)


def activation(state: ActivationState, **fields: Any) -> Activation:
    plain = Activation(target=TARGET, kid=NEW, wave=1, state=state, detail="")
    return replace(plain, **fields)


attempts = st.builds(
    activation,
    st.sampled_from(S),
    previous_kid=st.none() | st.sampled_from([OLD, OTHER]),
    at=st.none() | st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours)),
    retryable=st.booleans(),
    fingerprint=st.none() | st.just("other"),
)
snapshots = st.builds(
    AppSnapshot,
    app=st.just(TARGET.app),
    kid=st.none() | st.sampled_from(KIDS),
    sign_on_mode=st.just("SAML_2_0"),
    status=st.just("ACTIVE"),
    last_updated=st.none(),
    seen_at=st.integers(-3, 3).map(lambda hours: NOON + timedelta(hours=hours)),
)
changes = st.builds(
    Change,
    to=st.sampled_from([NEW, OLD]),
    expected=st.none() | st.sampled_from(KIDS),
    expected_why=st.just("at the preview"),
    back=st.booleans(),
    allow_oidc=st.booleans(),
    inactive=st.sampled_from(Inactive),
    begun=st.none() | attempts,
)


def may_be_changed(drawn: Drawn, change: Change) -> bool:
    """Say in plain words whether a target that signs with another key may be written."""
    if change.expected not in (None, drawn.kid):
        return False
    if change.back:
        return True
    pins_oidc = drawn.fields.get("signOnMode") == "OPENID_CONNECT" and not change.allow_oidc
    is_off = drawn.fields["status"] == "INACTIVE" and change.inactive is Inactive.SKIP
    return not pins_oidc and not is_off


def assert_coherent(ruling: Ruling) -> None:
    """What was done is proven; what was not says why."""
    assert ruling.detail
    if ruling.state in (S.FAILED, S.SKIPPED):
        assert ruling.reason is not None
        assert ruling.proof is None
    else:
        assert (ruling.reason, ruling.retryable) == (None, False)
        assert ruling.proof is not None


@patient
@given(drawn=signers(), change=changes)
def test_a_target_is_written_exactly_where_everything_allows_it(
    drawn: Drawn, change: Change
) -> None:
    decision = decide(drawn.document, change)
    is_due = drawn.signs and drawn.kid != change.to and may_be_changed(drawn, change)
    assert isinstance(decision, Write) is is_due
    if isinstance(decision, Ruling):
        assert_coherent(decision)
        is_there = drawn.signs and drawn.kid == change.to
        assert (decision.state in (S.ACTIVATED, S.ROLLED_BACK)) is is_there
        assert (decision.reason is Reason.NOT_SIGNING) is not drawn.signs
        assert decision.retryable is (
            decision.reason in (Reason.OIDC, Reason.DRIFT) and decision.state is S.FAILED
        )


@patient
@given(drawn=signers(always=True), change=changes)
def test_what_is_written_is_what_was_read_but_for_the_kid(drawn: Drawn, change: Change) -> None:
    change = replace(change, to=NEW, expected=None)
    write = decide(drawn.document, change)
    assert isinstance(write, Write)
    assert json.loads(write.body) == with_kid(drawn.fields, drawn.resource, NEW)
    assert write.document.body == drawn.body
    assert (write.previous_kid, write.change) == (drawn.kid, change)
    assert write.fingerprint == fingerprint(write.body, drawn.resource)


@patient
@given(drawn=signers(), change=changes)
def test_on_the_way_back_neither_mode_nor_status_matters(drawn: Drawn, change: Change) -> None:
    drawn = drawn.signing_with(NEW)
    change = replace(change, to=OLD, expected=NEW, back=True)
    assert isinstance(decide(drawn.document, change), Write) is drawn.signs


@st.composite
def writes(draw: st.DrawFn) -> tuple[Drawn, Write]:
    drawn = draw(signers(always=True))
    change = Change(to=NEW, back=draw(st.booleans()))
    write = decide(drawn.document, change)
    assert isinstance(write, Write)
    return drawn, write


def places(fields: Any, resource: Resource) -> list[list[str]]:
    """Return the ways to all fields that are not to change."""
    found: list[list[str]] = []

    def walk(value: Any, way: list[str]) -> None:
        if tuple(way) == SIGNING[resource]:
            return
        if way and way != ["lastUpdated"]:
            found.append(way)
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, [*way, name])

    walk(fields, [])
    return found


@st.composite
def spoiled(draw: st.DrawFn, drawn: Drawn) -> tuple[Drawn, str]:
    """Change one field of an object that is not to change; return where, too."""
    fields = deepcopy(dict(drawn.fields))
    way = draw(st.sampled_from(places(fields, drawn.resource)))
    if way[0] == "id" or way == list(SIGNING[drawn.resource][:1]):
        way = ["added"]
    *outer, last = way
    place = fields
    for name in outer:
        place = place[name]
    kind = draw(st.sampled_from(["removed", "replaced", "added"]))
    if kind == "removed" and last in place:
        del place[last]
    elif kind == "added" and isinstance(place.get(last), dict):
        place[last]["another"] = 1
        way = [*way, "another"]
    else:
        place[last] = {"replaced": True}
    return Drawn(drawn.resource, fields), ".".join(way)


@patient
@given(written=writes(), data=st.data())
def test_an_answer_is_taken_for_what_it_shows(
    written: tuple[Drawn, Write], data: st.DataObject
) -> None:
    drawn, write = written
    to = write.change.to
    done = drawn.signing_with(to).having(lastUpdated="2026-10-01T12:00:00.000Z")
    ruling = judge_echo(done.body, write)
    assert isinstance(ruling, Ruling)
    assert (ruling.state, ruling.proof) == (
        S.ROLLED_BACK if write.change.back else S.ACTIVATED,
        Proof.RESPONSE,
    )
    assert ruling.previous_kid == (to if write.change.back else drawn.kid)
    assert_coherent(ruling)

    changed, _ = data.draw(spoiled(done))
    verdict = judge_echo(changed.body, write)
    if changed.document.active_kid != to:  # e.g. it has become of a type that does not sign
        assert verdict is None
    else:
        assert isinstance(verdict, Collateral)
        assert verdict.changes == changes_between(write.body, changed.body, drawn.resource)
        assert verdict.changes
        assert shown(changed.body) != shown(write.body)

    for kid in (OLD, OTHER):
        assert judge_echo(drawn.signing_with(kid).body, write) is None
    for cut in (b"", b"[]", b"{}", done.body[:-1], b"\xff" + done.body):
        assert judge_echo(cut, write) is None


@patient
@given(written=writes(), data=st.data())
def test_a_read_settles_what_an_answer_did_not(
    written: tuple[Drawn, Write], data: st.DataObject
) -> None:
    drawn, write = written
    done = drawn.signing_with(write.change.to).having(lastUpdated="2026-10-01T12:00:00.000Z")
    ruling = judge_reading(done.document, write)
    assert isinstance(ruling, Ruling)
    assert (ruling.proof, ruling.problem) == (Proof.READ, None)
    assert ruling.state is (S.ROLLED_BACK if write.change.back else S.ACTIVATED)

    assert judge_reading(drawn.document, write) is write, "as it was: the same write again"

    changed, _ = data.draw(spoiled(drawn))
    assume(changed.document.active_kid is not None)
    for other in (drawn.signing_with(OTHER), changed):
        ruling = judge_reading(other.document, write)
        assert isinstance(ruling, Ruling)
        assert (ruling.state, ruling.reason) == (S.FAILED, Reason.DRIFT)
        assert_coherent(ruling)
    ruling = judge_reading(changed.signing_with(write.change.to).document, write)
    assert isinstance(ruling, Ruling)
    assert (ruling.proof, bool(ruling.changes)) == (Proof.READ, True)
    assert ruling.problem is not None, "it may be somebody's work: told, and not undone"


@patient
@given(written=writes(), data=st.data())
def test_a_target_counts_as_put_back_only_if_it_is_seen_to_be(
    written: tuple[Drawn, Write], data: st.DataObject
) -> None:
    drawn, write = written
    found = ("label", "settings.x")
    back = drawn.having(lastUpdated="2026-10-01T12:00:01.000Z")
    changed, place = data.draw(spoiled(back))
    answers = {
        "it has been put back as it was": back.body,
        "differs in its key": drawn.signing_with(OTHER).body,
        f"differs in {place}": changed.body,
        "is NOT known": data.draw(st.sampled_from([None, b"", b"{}", back.body[:-1]])),
    }
    for outcome, echo in answers.items():
        ruling = judge_restored(echo, write, found)
        assert outcome in ruling.detail
        assert ruling.detail.startswith("the org changed more than the key (label, settings.x); ")
        assert (ruling.state, ruling.reason) == (S.FAILED, Reason.COLLATERAL)
        assert (ruling.changes, ruling.previous_kid) == (found, write.previous_kid)
        assert not ruling.retryable, "people have to look at it first"


@patient
@given(drawn=signers(always=True), attempt=attempts, is_same=st.booleans())
def test_a_lost_write_that_took_effect_is_found_with_all_that_changed_meanwhile(
    drawn: Drawn, attempt: Activation, is_same: bool
) -> None:
    now = drawn.signing_with(NEW)
    recorded = fingerprint((drawn if is_same else drawn.having(added=1)).body, drawn.resource)
    begun = activation(S.INTENDED, previous_kid=attempt.previous_kid, fingerprint=recorded)
    ruling = decide(now.document, change_to_activate(NEW, begun, None))
    assert isinstance(ruling, Ruling)
    assert (ruling.state, ruling.proof) == (S.ACTIVATED, Proof.READ)
    assert ruling.previous_kid == attempt.previous_kid, "for the way back"
    assert (ruling.problem is None) is (is_same or attempt.previous_kid is None)


@patient
@given(begun=st.none() | attempts, seen=st.none() | snapshots)
def test_the_newest_knowledge_of_a_target_is_what_it_must_show(
    begun: Activation | None, seen: AppSnapshot | None
) -> None:
    change = change_to_activate(NEW, begun, seen)
    assert (change.to, change.begun, change.back) == (NEW, begun, False)
    attempted = begun.previous_kid if begun else None
    previewed = seen.kid if seen and seen.kid != NEW else None
    is_newer = bool(begun and begun.at and seen and seen.seen_at > begun.at)
    assert change.expected == (previewed if is_newer or attempted is None else attempted)
    assert bool(change.expected) == bool(change.expected_why)


def test_a_preview_after_a_failed_attempt_wins_over_it() -> None:
    failed = activation(S.FAILED, previous_kid=OLD, at=NOON, retryable=True)
    seen = AppSnapshot(
        app=TARGET.app,
        kid=OTHER,
        sign_on_mode="SAML_2_0",
        status="ACTIVE",
        last_updated=None,
        seen_at=NOON + timedelta(seconds=1),
    )
    change = change_to_activate(NEW, failed, seen)
    assert (change.expected, change.expected_why) == (
        OTHER,
        "at the preview of 2026-10-01 12:00 UTC",
    )


@patient
@given(done=attempts)
def test_the_way_back_is_known_where_something_was_changed(done: Activation) -> None:
    change = change_to_roll_back(done)
    was_changed = done.state not in (S.SKIPPED, S.ROLLED_BACK, S.PLANNED)
    assert (change is not None) is (was_changed and done.previous_kid is not None)
    if change is not None:
        assert (change.to, change.expected, change.back) == (done.previous_kid, done.kid, True)
        assert change.begun == done


def test_every_state_can_be_reached_and_final_ones_are_final() -> None:
    reached: set[ActivationState | None] = {None}
    while more := {after for before in reached for after in NEXT[before]} - reached:
        reached |= more
    assert reached == {None, *S} == set(NEXT)
    assert {state for state in NEXT if not NEXT[state]} == {S.PLANNED, S.SKIPPED, S.ROLLED_BACK}


def follow(before: ActivationState | None, *after: ActivationState) -> None:
    """Check that a target's records may follow each other so."""
    for state in after:
        assert is_legal(before, state), f"{before} -> {state}"
        before = state


refusals = st.builds(
    Refusal,
    status=st.sampled_from([400, 401, 403, 404, 409, 501]),
    code=st.none(),
    summary=st.just("no"),
)


@settings(deadline=None, max_examples=40)
@given(
    drawn=signers(),
    attempt=attempts,
    seen=st.none() | snapshots,
    allow=st.booleans(),
    refusal=refusals,
)
def test_no_ruling_leads_where_the_table_does_not(
    drawn: Drawn, attempt: Activation, seen: AppSnapshot | None, allow: bool, refusal: Refusal
) -> None:
    """Both ways, from whatever was recorded before, as far as a run takes it up again."""
    documents = [drawn, *(drawn.signing_with(kid) for kid in KIDS)]
    for state, previous_kid in product((None, *S), (None, OLD)):
        begun = replace(attempt, state=state, previous_kid=previous_kid) if state else None
        ways = [change_to_roll_back(begun) if begun else None]
        if state in (None, S.INTENDED, S.FAILED):  # as Journal.activatable
            ways.append(change_to_activate(NEW, begun, seen, allow_oidc=allow))
        for change, found in product(ways, documents):
            if change is not None:
                assert_legal_from(state, change, found, refusal)


def assert_legal_from(
    before: ActivationState | None, change: Change, drawn: Drawn, refusal: Refusal
) -> None:
    """Check all that may be recorded of a target that was read so."""
    follow(before, judge_refused(refusal, "show").state)
    decision = decide(drawn.document, change)
    if isinstance(decision, Ruling):
        follow(before, decision.state)
        return
    intent = S.REVERTING if change.back else S.INTENDED
    follow(before, intent, intent)  # a second round records it again
    for later in (drawn, drawn.signing_with(change.to), drawn.signing_with("third")):
        for verdict in (judge_echo(later.body, decision), judge_reading(later.document, decision)):
            if isinstance(verdict, Ruling):
                follow(before, intent, verdict.state)
    follow(before, intent, judge_restored(None, decision, ("x",)).state)
    follow(before, intent, judge_refused(refusal, "change").state)
    if change.back and before is not None:  # it came to nothing: see Switch.is_vain
        follow(before, intent, before)


@given(refusal=refusals)
def test_a_refusal_says_why_and_whether_it_is_worth_another_attempt(refusal: Refusal) -> None:
    ruling = judge_refused(refusal, "change")
    assert_coherent(ruling)
    reasons = {401: Reason.FORBIDDEN, 403: Reason.FORBIDDEN, 404: Reason.TARGET_NOT_FOUND}
    assert ruling.reason is reasons.get(refusal.status, Reason.REJECTED)
    assert ruling.retryable is (refusal.status != 404)
    assert ruling.http_status == refusal.status
