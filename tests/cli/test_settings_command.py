"""Commands find the org by every source of settings, and say what is missing."""

from __future__ import annotations

from pathlib import Path

from tests.cli.forked import okta_keys_forked
from tests.cli.site import APPS, served, write_plan


async def test_a_plan_runs_by_the_file_of_the_sdks(tmp_path: Path) -> None:
    plan, home = tmp_path / "plan.yaml", tmp_path / "home"
    write_plan(plan, APPS[:2])
    file = home / ".okta" / "okta.yaml"
    file.parent.mkdir(parents=True)
    async with served(plan=plan) as (org, found):
        url = found["OKTA_CLIENT_ORGURL"]
        file.write_text(f"okta: {{client: {{orgUrl: '{url}', token: {org.token}}}}}\n")
        file.chmod(0o644)
        env = {"HOME": str(home)}
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
        assert ended.code == 4
        assert "token is a secret, and others may read this file (mode 644)" in ended.err
        assert not org.log
        file.chmod(0o600)
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert "2 cloned" in ended.err
        assert org.token not in ended.err


async def test_every_command_takes_the_project_beside_the_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    write_plan(plan, APPS[:2])
    async with served(plan=plan) as (org, found):
        (tmp_path / "token").write_text(org.token)
        (tmp_path / "token").chmod(0o600)
        (tmp_path / "okta-keys.yaml").write_text(
            f"default: here\nprofiles: {{here: {{url: '{found['OKTA_CLIENT_ORGURL']}', "
            "auth: {token: 'file:token'}}}\n"
        )
        env = {"OKTA_KEYS_STATE": str(tmp_path / "state")}
        for command in (["preview", plan], ["run", plan], ["rollback", "latest"]):
            ended = await okta_keys_forked(*command, env=env, cwd=Path("/"))
            assert ended.code == 0, (command, ended.err)
        assert sum(call.effect for call in org.log) == 2


async def test_an_inventory_goes_to_the_default_profile(tmp_path: Path) -> None:
    plan, config = tmp_path / "plan.yaml", tmp_path / "config.yaml"
    write_plan(plan, APPS[:2])
    async with served(plan=plan) as (org, found):
        config.write_text(
            f"default: acme\nprofiles: {{acme: {{url: '{found['OKTA_CLIENT_ORGURL']}', "
            "auth: {token: 'cmd:[echo, " + org.token + "]'}}}\n"
        )
        env = {"OKTA_KEYS_CONFIG": str(config)}
        ended = await okta_keys_forked("inventory", "--all", env=env, cwd=tmp_path)
        assert ended.code == 0, ended.err
        assert APPS[0] in ended.out


async def test_what_is_wrong_with_a_setting_calls_nobody(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    write_plan(plan, APPS[:2])
    async with served(plan=plan) as (org, found):
        env = found | {"OKTA_CLIENT_CLIENTID": "0oa9krv5zuGXbn1Wd0h7"}
        ended = await okta_keys_forked("run", plan, env=env, cwd=tmp_path)
        assert ended.code == 4
        assert "which of them is meant?" in ended.err
        assert "hint: export OKTA_CLIENT_AUTHORIZATIONMODE=SSWS or PrivateKey" in ended.err
        assert not org.log
