"""What the doctor concludes, and how it is told, without an org."""

from __future__ import annotations

from orchestrator.cli.doctor import Diagnosis
from orchestrator.doctor.checks import Finding, Grade, scopes_finding
from orchestrator.errors import ScopeMissing
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.permissions import needs_of
from orchestrator.okta.token_endpoint import Grant
from orchestrator.okta.token_life import held_token
from orchestrator.okta.wire import Reply
from orchestrator.secret import MASK, Secret


def test_a_token_that_does_not_tell_its_scopes_has_those_that_were_asked_for() -> None:
    who = ServiceApp(client_id="0oa1", private_key=Secret("key"))
    silent = Grant(token=Secret("token"), lifetime=60.0, is_bound=False, scopes=())
    found = scopes_finding(who, held_token(silent, 0.0), needs_of(), Reply(status=200, value=b""))
    assert found.grade is Grade.OK


def test_a_scope_that_a_call_lacks_is_missing_whatever_the_token_says_it_has() -> None:
    who = ServiceApp(client_id="0oa1", private_key=Secret("key"))
    told = Grant(token=Secret("token"), lifetime=60.0, is_bound=False, scopes=who.scopes)
    needs = needs_of(cross_check=True)  # one of them, which is optional, is not granted
    found = scopes_finding(who, held_token(told, 0.0), needs, ScopeMissing("it lacks one"))
    assert (found.grade, found.text) == (Grade.FAIL, "it lacks one")


def test_what_is_found_is_scrubbed_like_all_that_is_told() -> None:
    secret = Secret("told-by-mistake")
    diagnosis = Diagnosis(None, [])
    text = f"so {secret.reveal()}"
    diagnosis.add(Finding(check="x", grade=Grade.FAIL, text=text, remedy=text))
    assert {diagnosis.findings[0].text, diagnosis.findings[0].remedy} == {f"so {MASK}"}
