"""Profiles as a user meets them: `orgs`, and plans that name their org."""

from __future__ import annotations

import json
from pathlib import Path
from time import monotonic

import pytest

from tests.cli.forked import okta_keys_forked
from tests.cli.program import QUICKSTART, TOKEN
from tests.cli.site import APPS, served, write_plan

APP = "0oa8ae1t5yev2ajDs0h7"
CONFIG = f"""\
profiles:
  acme: {{url: https://acme.okta.com, auth: {{token: env:ACME_TOKEN}}, protected: [{APP}]}}
  globex: {{url: https://globex.okta.com, auth: {{token: env:GLOBEX_TOKEN}}, most_sharing: 5}}
  initech: {{url: https://initech.okta.com}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


async def test_orgs_lists_the_profiles_and_never_a_token(config: Path) -> None:
    env = {"ACME_TOKEN": TOKEN, "OKTA_KEYS_CONFIG": str(config)}
    ended = await okta_keys_forked("orgs", env=env, cwd=config.parent)
    assert (ended.code, ended.out) == (0, "")
    lines = [" ".join(line.split()) for line in ended.err.splitlines()]
    assert lines == [
        "profile url credential protected",
        "acme https://acme.okta.com API token env:ACME_TOKEN found 1",
        "globex https://globex.okta.com API token env:GLOBEX_TOKEN not set 0",
        "initech https://initech.okta.com API token env:OKTA_CLIENT_TOKEN not set 0",
        f"from {config}",
    ]
    assert TOKEN not in ended.err


async def test_orgs_as_json(config: Path) -> None:
    env = {"OKTA_CLIENT_TOKEN": TOKEN}
    ended = await okta_keys_forked("orgs", "--json", "--config", config, env=env, cwd=config.parent)
    assert (ended.code, ended.err) == (0, "")
    assert TOKEN not in ended.out
    found = json.loads(ended.out)
    assert found["file"] == str(config)
    assert found["profiles"][0] == {
        "name": "acme",
        "url": "https://acme.okta.com",
        "credential": "API token",
        "token": "env:ACME_TOKEN",
        "token_found": False,
        "secrets": [
            {
                "reference": "env:ACME_TOKEN",
                "found": False,
                "problem": "the environment variable ACME_TOKEN is not set",
            }
        ],
        "problem": None,
        "proxy": None,
        "protected": 1,
        "most_sharing": 50,
    }
    rest = [(line["name"], line["token_found"], line["most_sharing"]) for line in found["profiles"]]
    assert rest == [("acme", False, 50), ("globex", False, 5), ("initech", True, 50)]


async def test_orgs_tells_the_kind_of_every_credential_and_runs_no_command(tmp_path: Path) -> None:
    config, key, ran = tmp_path / "config.yaml", tmp_path / "key.pem", tmp_path / "ran"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    key.chmod(0o644)
    config.write_text(f"""\
default: app
profiles:
  app:
    url: https://acme.okta.com
    auth: {{client_id: 0oa9krv5zuGXbn1Wd0h7, private_key: file:key.pem, passphrase: env:PHRASE}}
    proxy: {{url: "http://proxy:1", user: me, password: env:PROXY_PASSWORD}}
  command: {{url: https://acme.okta.com, auth: {{bearer: "cmd:[touch, {ran}]"}}}}
""")
    env = {"PHRASE": TOKEN, "PROXY_PASSWORD": TOKEN}
    ended = await okta_keys_forked("orgs", "--config", config, env=env, cwd=tmp_path)
    assert ended.code == 0
    text = " ".join(ended.err.split())
    assert "service app file:key.pem not usable env:PHRASE found env:PROXY_PASSWORD found" in text
    assert "access token cmd:[touch, ...] not tried" in text
    assert "app: file:key.pem" in text  # and what is wrong with it
    assert TOKEN not in ended.err
    assert not ran.exists()
    ended = await okta_keys_forked("orgs", "--json", "--config", config, env=env, cwd=tmp_path)
    found = json.loads(ended.out)
    assert found["default"] == "app"
    told = [(each["credential"], each["token_found"], each["proxy"]) for each in found["profiles"]]
    assert told == [("service app", False, "http://proxy:1"), ("access token", None, None)]
    assert not ran.exists()


async def test_orgs_of_a_thousand_customers_take_no_minute(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    lines = [f"  c{number}: {{url: https://c{number}.okta.com}}" for number in range(300)]
    config.write_text("\n".join(["profiles:", *lines]))
    began = monotonic()
    ended = await okta_keys_forked("orgs", "--json", "--config", config, cwd=tmp_path)
    assert len(json.loads(ended.out)["profiles"]) == 300
    assert monotonic() - began < 3  # about 5 when the file was read once for each of them


async def test_orgs_without_a_configuration_says_where_it_would_be(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    ended = await okta_keys_forked("orgs", env=env, cwd=tmp_path)
    assert ended.code == 0
    assert f"no profiles yet: there is no {tmp_path}/okta-keys/config.yaml" in ended.err
    assert "hint: write there profiles: {acme: {url: https://acme.okta.com" in ended.err
    ended = await okta_keys_forked("orgs", "--json", env=env, cwd=tmp_path)
    assert json.loads(ended.out)["profiles"] == []


async def test_a_wrong_configuration_is_told_problem_by_problem(config: Path) -> None:
    config.write_text(f"profiles:\n  acme:\n    url: acme\n    auth: {{token: {TOKEN}}}\n")
    wrong = (
        f"{config}:3:10: profiles.acme.url: must start with https://, such as "
        "https://acme.okta.com\n"
        f"{config}:4:19: profiles.acme.auth.token: must be a reference, never the secret itself "
        "(write where it is: env:NAME, file:/path, cmd:[program, argument] or "
        "keyring:service/name)\n"
        "2 problems in the configuration\n"
    )
    env = {"OKTA_KEYS_CONFIG": str(config)}
    for command in (["orgs"], ["run", QUICKSTART]):
        ended = await okta_keys_forked(*command, env=env, cwd=config.parent)
        assert (ended.code, ended.out) == (4, "")
        assert ended.err == wrong


async def test_a_configuration_that_is_named_must_be_there(tmp_path: Path) -> None:
    ended = await okta_keys_forked("orgs", "--config", tmp_path / "gone.yaml", cwd=tmp_path)
    assert ended.code == 4
    assert "error: --config names a file that does not exist" in ended.err


async def test_a_plan_runs_on_the_org_that_its_profile_names(tmp_path: Path) -> None:
    plan, config = tmp_path / "plan.yaml", tmp_path / "config.yaml"
    write_plan(plan, APPS[:3])
    async with served(plan=plan) as (org, found):
        url = found["OKTA_CLIENT_ORGURL"]
        config.write_text(f"profiles: {{acme: {{url: {url}, auth: {{token: env:ACME_TOKEN}}}}}}\n")
        plan.write_text(plan.read_text() + "org: acme\n")
        env = {"OKTA_KEYS_CONFIG": str(config), "ACME_TOKEN": org.token}
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert "3 cloned" in ended.err
        assert sum(call.effect for call in org.log) == 3
        reports = "".join(path.read_text() for path in (tmp_path / "reports").iterdir())
        assert url in reports
        assert org.token not in ended.err + reports


async def test_a_plan_that_names_an_unknown_profile_calls_nobody(config: Path) -> None:
    plan = config.parent / "plan.yaml"
    write_plan(plan, APPS[:3])
    async with served(plan=plan) as (org, env):
        plan.write_text(plan.read_text() + "org: acmee\n")
        asked = env | {"OKTA_KEYS_CONFIG": str(config)}
        ended = await okta_keys_forked("run", plan, env=asked, cwd=config.parent)
        assert ended.code == 4
        assert ended.err.splitlines() == [
            "error: no profile is named acmee",
            f"  file: {config}",
            "  hint: did you mean acme?",
        ]
        assert not org.log
