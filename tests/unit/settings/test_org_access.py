"""Which org it is that a command goes to: by name, by the plan, by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator.cli.wiring import sandbox_for, seed_apps
from orchestrator.errors import ConfigError, PlanError, UsageError
from orchestrator.holders import MOST_SHARING
from orchestrator.model import NEW_KID, AppId, KeyRef, Kid
from orchestrator.okta.credentials import ApiToken
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.schema import Plan
from orchestrator.sandbox.faults import FaultScript
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.settings.access import OrgAccess, org_access
from tests.support import PlainJob

SOURCE, TARGET = AppId("0oa8ae1t5yev2ajDs0h7"), AppId("0oa8ae0dv4RGQvjyZ0h7")
KID = Kid("k" * 43)
ACME, GLOBEX, INITECH = (f"https://{name}.okta.com" for name in ("acme", "globex", "initech"))
CONFIG = f"""\
profiles:
  acme:
    url: {ACME}
    auth: {{token: env:ACME_TOKEN}}
    protected: [{SOURCE}]
    most_sharing: 9
  acme-reader: {{url: {ACME}, protected: [{TARGET}], most_sharing: 7}}
  globex: {{url: {GLOBEX}, auth: {{token: env:GLOBEX_TOKEN}}}}
"""
ENVIRON = {
    "OKTA_CLIENT_ORGURL": INITECH,
    "OKTA_CLIENT_TOKEN": "usual",
    "ACME_TOKEN": "of-acme",
    "GLOBEX_TOKEN": "of-globex",
    "MY_TOKEN": "mine",
}


def token_of(access: OrgAccess) -> str:
    """Return the API token of an access."""
    assert isinstance(access.credential, ApiToken)
    return access.credential.token.reveal()


def plan_of(org: str | None) -> Plan:
    text = "version: 1\nname: plan\n" + (f"org: {org}\n" if org else "")
    text += f"jobs:\n  - name: job\n    targets: [{TARGET}]\n"
    text += f"    source: {{app: {SOURCE}, key: {KID}}}\n"
    return load_plan_text(text.encode(), file="plan.yaml", folder=Path())


@dataclass(frozen=True)
class Setting:
    """A configuration, and an environment that leads to an org of its own."""

    config: Path
    environ: Mapping[str, str] = field(default_factory=lambda: ENVIRON)

    def access(self, org: str | None = None, *, profile: str | None = None) -> OrgAccess:
        return org_access(plan_of(org), self.environ, profile=profile, config=self.config)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return Setting(path)


@pytest.mark.parametrize(
    ("org", "profile", "expected"),
    [
        (None, None, (INITECH, "usual", None)),
        (f"{{url: {GLOBEX}, auth: {{token: env:MY_TOKEN}}}}", None, (GLOBEX, "mine", None)),
        ("acme", None, (ACME, "of-acme", "acme")),
        (None, "globex", (GLOBEX, "of-globex", "globex")),
        ("{}", "globex", (GLOBEX, "of-globex", "globex")),
        ("globex", "globex", (GLOBEX, "of-globex", "globex")),
        # The same org by another name, with another token:
        ("acme-reader", "acme", (ACME, "of-acme", "acme")),
        ("{url: https://ACME.okta.com/}", "acme", (ACME, "of-acme", "acme")),
        (f"{{url: {ACME}, auth: {{token: env:MY_TOKEN}}}}", "acme", (ACME, "of-acme", "acme")),
        # A profile that names no token leaves it to the plan:
        ("{auth: {token: env:MY_TOKEN}}", "acme-reader", (ACME, "mine", "acme-reader")),
    ],
)
def test_the_profile_comes_before_the_plan_and_that_before_the_environment(
    setting: Setting, org: str | None, profile: str | None, expected: tuple[str, str, str | None]
) -> None:
    access = setting.access(org, profile=profile)
    assert (access.url, token_of(access), access.profile) == expected
    assert token_of(access) not in repr(access)


@pytest.mark.parametrize("org", [f"{{url: {GLOBEX}}}", "acme-reader"])
def test_who_names_no_token_takes_that_of_the_environment_for_the_same_org_alone(
    setting: Setting, org: str
) -> None:
    with pytest.raises(ConfigError, match="is for the org that OKTA_CLIENT_ORGURL names"):
        setting.access(org)
    url = GLOBEX if "url" in org else ACME
    same = replace(setting, environ={**ENVIRON, "OKTA_CLIENT_ORGURL": url})
    assert token_of(same.access(org)) == "usual"
    without = {name: text for name, text in ENVIRON.items() if name != "OKTA_CLIENT_ORGURL"}
    assert token_of(replace(setting, environ=without).access(org)) == "usual"


def test_without_a_plan_there_is_the_profile_or_the_environment(setting: Setting) -> None:
    assert org_access(None, ENVIRON, profile="acme", config=setting.config).url == ACME
    assert org_access(None, ENVIRON, config=setting.config).url == INITECH
    by_variable = ENVIRON | {"OKTA_KEYS_CONFIG": str(setting.config)}
    assert token_of(org_access(None, by_variable, profile="acme")) == "of-acme"


@pytest.mark.parametrize(
    ("org", "profile", "message"),
    [
        ("globex", "acme", f"the plan is for the profile globex, and --profile acme is {ACME}"),
        (
            "elsewhere",
            "acme",
            f"the plan is for the profile elsewhere, and --profile acme is {ACME}",
        ),
        (
            f"{{url: {GLOBEX}}}",
            "acme-reader",
            f"the plan is for {GLOBEX}, and --profile acme-reader is {ACME}",
        ),
    ],
)
def test_a_plan_of_one_org_is_not_run_on_another(
    setting: Setting, org: str, profile: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        setting.access(org, profile=profile)
    assert caught.value.message == message


@pytest.mark.parametrize(("org", "profile"), [("acmee", None), (None, "acmee"), ("acme", "acmee")])
def test_a_profile_that_is_not_there_is_not_replaced_by_anything(
    setting: Setting, org: str | None, profile: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        setting.access(org, profile=profile)
    assert caught.value.message == "no profile is named acmee"
    assert caught.value.hint == "did you mean acme?"


def test_the_token_of_a_profile_does_not_fall_back_to_another(setting: Setting) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != "ACME_TOKEN"}
    with pytest.raises(ConfigError, match="ACME_TOKEN is not set") as caught:
        Setting(setting.config, environ).access("acme")
    assert "usual" not in caught.value.diagnostics()


@pytest.mark.parametrize(
    ("org", "profile", "protected", "most_sharing"),
    [
        ("acme", None, {SOURCE, TARGET}, 9),
        (None, "acme-reader", {SOURCE, TARGET}, 7),
        ("{url: https://ACME.okta.com}", None, {SOURCE, TARGET}, 7),
        ("globex", None, set(), MOST_SHARING),
        (None, None, set(), MOST_SHARING),
    ],
)
def test_what_is_protected_in_an_org_is_so_by_whatever_name_it_goes(
    setting: Setting,
    org: str | None,
    profile: str | None,
    protected: set[AppId],
    most_sharing: int,
) -> None:
    if org or profile:  # that names no token itself
        environ = {name: text for name, text in ENVIRON.items() if name != "OKTA_CLIENT_ORGURL"}
        setting = replace(setting, environ=environ)
    access = setting.access(org, profile=profile)
    assert access.protected == frozenset(protected)
    assert access.most_sharing == most_sharing


def test_a_wrong_configuration_stops_also_who_needs_none_of_it(setting: Setting) -> None:
    setting.config.write_text("profiles: {acme: {protected: all}}\n")
    with pytest.raises(PlanError, match="2 problems in the configuration"):
        setting.access()


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        (KeyRef(app=SOURCE, kid=KID), {SOURCE: [KID], TARGET: []}),
        (KeyRef(app=SOURCE, kid=NEW_KID), {SOURCE: [], TARGET: []}),
        (KeyRef(app=AppId(""), kid=KID), {TARGET: []}),
    ],
)
def test_a_sandbox_has_the_apps_of_a_plan_as_far_as_they_are_known(
    key: KeyRef, keys: dict[AppId, list[Kid]]
) -> None:
    org = SandboxOrg()
    seed_apps(org, [PlainJob("job", key, [TARGET])])
    assert {app: [kid for kid in [KID] if org.holds(app, kid)] for app in org.apps} == keys


async def test_a_prepared_sandbox_is_served_as_it_is() -> None:
    org = SandboxOrg(seed=1)
    app = org.add_app(label="of the copy").id
    jobs = [PlainJob("job", KeyRef(app=SOURCE, kid=KID), [TARGET])]
    async with sandbox_for(jobs, FaultScript.of([]), org=org) as access:
        assert token_of(access) == org.token
    assert list(org.apps) == [app]
