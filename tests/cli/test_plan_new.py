"""Plans written from an org: they validate, preview and run as they are, and rotate the org."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan.load import load_plan
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.program import Ended
from tests.cli.rollout_site import RolloutSite, kids_of
from tests.cli.terminal import typed
from tests.inventory.drafts import HOSTILE, uncommented

OLD, OLDER, OF_IDPS = "A" * 43, "B" * 43, "C" * 43
PAUSE = 601.0  # seconds, and a little


def company() -> SandboxOrg:
    """Return an org with keys that are shared, and not, and labels that mean harm."""
    org = SandboxOrg(seed=5)
    for number, label in enumerate(["Finance HQ", *HOSTILE[:7]]):
        org.add_app(f"0oaFin{number:014d}", label=label, signing_kid=OLD)
    for number, label in enumerate(HOSTILE[10:13]):
        org.add_app(f"0oaOps{number:014d}", label=label, signing_kid=OLDER)
    for number in range(3):
        org.add_app(f"0oaOwn{number:014d}", label=f"Own {number}")
    org.add_app("0oaOidc0000000000001", label="Portal", sign_on_mode="OPENID_CONNECT")
    org.add_app("0oaBook0000000000001", label="Bookmark", sign_on_mode="BOOKMARK")
    org.add_app("0oaOff00000000000001", label="Off", status="INACTIVE", signing_kid=OLD)
    for number in range(3):
        org.add_idp(f"0oaIdp{number:014d}", name=f"Partner {number}", signing_kid=OF_IDPS)
    org.add_idp("0oaIdpLone0000000001", name="Lone partner")
    org.add_idp("0oaIdpSocial00000001", name="Social", kind="GOOGLE")
    return org


@asynccontextmanager
async def open_site(folder: Path, org: SandboxOrg | None = None) -> AsyncIterator[RolloutSite]:
    """Serve an org; there is no plan yet."""
    org = org or company()
    async with serve(org, limits=LimitSettings(enabled=False)) as served:
        env = {
            "OKTA_CLIENT_ORGURL": served.url,
            "OKTA_CLIENT_TOKEN": org.token,
            "OKTA_KEYS_STATE": str(folder / "state"),
        }
        yield RolloutSite(org, env, folder, kids_of(org))


async def plan_new(where: RolloutSite, *options: object) -> Ended:
    return await where.keys("plan", "new", where.plan, *options)


async def rotated(where: RolloutSite) -> set[str]:
    """Take the plan all the way: check, preview, stage, acknowledge, and every wave."""
    for options in (("validate", where.plan), ("preview", where.plan, "--report-dir", "ahead")):
        ended = await where.keys(*options)
        assert ended.code == 0, ended.err
    ended = await where.run()
    assert ended.code == 0, ended.err
    assert where.kids == where.former, "nothing is activated before somebody has said that it may"
    apps = {row["app_id"] for row in where.report()["targets"]}
    named = [part for app in apps for part in ("--target", app)]
    assert (await where.keys("ack", "latest", *named)).code == 0
    for _ in range(4):
        ended = await where.run()
        assert ended.code == 0, ended.err
        where.org.advance(PAUSE)
    return apps


async def rows(where: RolloutSite) -> dict[str, dict[str, Any]]:
    """Return the rows of an inventory by id."""
    ended = await where.keys("inventory", "--output", "json", "--all")
    assert ended.code == 0, ended.err
    return {row["id"]: row for row in json.loads(ended.out)["holders"]}


async def test_a_plan_for_a_whole_org_runs_as_it_is_written(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        written = await plan_new(where, "--activate", "--name", "rotation")
        assert written.code == 0, written.err
        assert "5 jobs for 14 apps and 4 identity providers, 4 left out" in written.err
        assert all(call.method == "GET" for call in where.org.log)
        apps = await rotated(where)
        assert where.org.collateral_changes() == 0
        found = await rows(where)
    changed = {app for app, kid in where.kids.items() if kid != where.former[app]}
    assert changed == apps
    assert changed == {app for app in where.former if app.startswith(("0oaFin", "0oaOps", "0oaOwn"))
                       or (app.startswith("0oaIdp") and "Social" not in app)}  # fmt: skip
    sharing = Counter(found[app]["sharing"] for app in apps)
    assert sharing == {8: 8, 3: 6, 1: 4}, (
        "what shared a key shares a new one, others have their own"
    )
    assert all(found[app]["kid"] not in (OLD, OLDER, OF_IDPS) for app in apps)
    assert {found[app]["days_left"] // 365 for app in apps} == {3}
    assert found["0oaOff00000000000001"]["kid"] == OLD


@pytest.mark.parametrize(
    "options", [("--selectors",), ("--each",), pytest.param((), marks=pytest.mark.long)]
)
async def test_a_plan_only_stages_until_its_comment_is_none(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    async with open_site(tmp_path) as where:
        written = await plan_new(where, "--signing-with", OLDER, *options)
        assert written.code == 0, written.err
        assert ("signing_with: " in where.plan.read_text()) is ("--selectors" in options)
        ran = await where.run()
        assert ran.code == 0, ran.err
        assert ("3 generated" if "--each" in options else "2 cloned") in ran.err
        assert where.kids == where.former
        where.plan.write_text(uncommented(where.plan.read_text()))
        await rotated(where)
        assert where.switched() == {f"0oaOps{number:014d}" for number in range(3)}


async def test_one_key_of_a_source_for_all_that_is_chosen(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        options = ("--source", "Own 0", "--key", "active", "--signing-with", OLDER)
        written = await plan_new(where, *options, "--activate")
        assert written.code == 0, written.err
        apps = await rotated(where)
        assert apps == {f"0oaOps{number:014d}" for number in range(3)}
        own = where.former["0oaOwn00000000000000"]
        assert {where.kids[app] for app in apps} == {own}


async def test_a_saved_inventory_makes_the_same_plan_without_a_call(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        assert (await where.keys("inventory", "--save", "org.json")).code == 0
        before = len(where.org.log)
        written = await where.keys("plan", "new", "--from", "org.json", "--each")
        assert len(where.org.log) == before
        again = await where.keys("plan", "new", "-", "--from", "org.json", "--each", "--quiet")
        await where.keys("plan", "new", where.plan, "--each")
    assert (written.code, again.code, again.err) == (0, 0, "")
    assert written.out == again.out
    without_moment = [line for line in written.out.splitlines() if "as it was on" not in line]
    live = where.plan.read_text().replace(str(where.plan), "PLAN")
    assert [line.split() for line in live.splitlines() if "as it was on" not in line] == [
        line.split() for line in without_moment
    ]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("id", "0oa\n      - 0oa8ae0dv4RGQvjyZ0h7"),
        ("url", "https://acme.okta.com\njobs: []"),
        ("url", "https://user:secret@acme.okta.com"),
    ],
)
async def test_a_saved_inventory_that_was_tampered_with_makes_no_plan(
    tmp_path: Path, part: str, text: str
) -> None:
    async with open_site(tmp_path) as where:
        assert (await where.keys("inventory", "--save", "org.json")).code == 0
        saved = json.loads((tmp_path / "org.json").read_text())
        (saved["holders"][0] if part == "id" else saved["org"])[part] = text
        (tmp_path / "org.json").write_text(json.dumps(saved))
        ended = await plan_new(where, "--from", "org.json")
    assert (ended.code, ended.out) == (4, "")
    assert "secret" not in ended.err
    assert not where.plan.exists()


async def test_a_profile_names_the_org_and_protects_its_apps(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        url = where.env["OKTA_CLIENT_ORGURL"]
        config = tmp_path / "config.yaml"
        config.write_text(
            f"profiles: {{acme: {{url: '{url}', protected: [0oaOwn00000000000001]}}}}"
        )
        profile = ("--profile", "acme", "--config", config)
        written = await plan_new(where, *profile, "--label", "own")
        shown = await where.keys("preview", where.plan, "--config", config)
    assert written.code == 0, written.err
    assert shown.code == 0, shown.err
    text = where.plan.read_text()
    assert f"org: acme # {url}" in text
    assert "# Left out: 1 protected by the profile." in text
    assert [len(job.targets) for job in load_plan(where.plan).jobs] == [2]


async def test_apps_that_terraform_manages_are_marked(tmp_path: Path) -> None:
    managed = {"type": "okta_app_saml", "mode": "managed", "name": "x"}
    instance = {"attributes": {"id": "0oaOwn00000000000001"}}
    state = {"version": 4, "resources": [managed | {"instances": [instance]}]}
    (tmp_path / "tf.json").write_text(json.dumps(state))
    async with open_site(tmp_path) as where:
        ended = await plan_new(where, "--label", "own", "--terraform-state", "tf.json")
    assert ended.code == 0, ended.err
    marked = [
        line for line in where.plan.read_text().splitlines() if "managed by Terraform" in line
    ]
    assert ["0oaOwn00000000000001" in line for line in marked] == [True]


async def test_nothing_chosen_is_an_error_that_shows_what_ends_first(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        ended = await plan_new(where, "--label", "no such app")
        assert not where.plan.exists()
    assert (ended.code, ended.out) == (4, "")
    assert "nothing that can be rotated matches" in ended.err
    assert "those that end first: 0oa" in ended.err
    assert " Finance HQ, until 20" in ended.err
    assert "\x1b" not in ended.err


async def test_a_file_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        where.plan.write_text("mine")
        refused = await plan_new(where, "--label", "own")
        assert (refused.code, where.plan.read_text(), len(where.org.log)) == (4, "mine", 0)
        replaced = await plan_new(where, "--label", "own", "--force")
    assert "--force replaces it" in refused.err
    assert replaced.code == 0, replaced.err
    assert load_plan(where.plan).jobs


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--each", "--source", "Own 0"), "--each does not go with --source"),
        (("--key", "active"), "--key goes with --source"),
        (("--source", "Own 0", "--key", "newest", "--validity-years", "2"), "--validity-years"),
        (("--source", "Own 0", "--key", "kid"), "neither a kid, nor active, nor newest"),
        (("--name", "no name"), "no name of a plan"),
        (("--pick",), "--pick needs a terminal"),
        (("--pick", "--yes"), "--pick does not go with --yes"),
        (("--validity-years", "1"), "greater than or equal to 2"),
        (("--expiring-within", "soon"), "--expiring-within"),
        (("--from", "missing.json"), "missing.json"),
        (("--terraform-state", "missing.json"), "missing.json"),
    ],
)
async def test_what_cannot_be_done_is_told_before_any_call(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    async with open_site(tmp_path) as where:
        ended = await plan_new(where, *options)
        assert where.org.log == []
    assert (ended.code, ended.out) == (4, "")
    assert words in ended.err
    assert not where.plan.exists()


async def test_a_source_that_is_not_there_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        ended = await plan_new(where, "--source", "Own")
    assert ended.code == 4
    assert "did you mean 0oaOwn00000000000000 ('Own 0')" in ended.err


async def test_on_a_terminal_somebody_picks(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        said, code = await typed(
            ["plan", "new", where.plan], ["/own", "nonsense", "all"], env=where.env, cwd=tmp_path
        )
    assert code == 0, said
    assert "'nonsense' is neither a number nor a range" in said
    assert "Finance HQ" in said
    assert "\x1b[31m" not in said, "labels steer no terminal"
    [job] = load_plan(where.plan).jobs
    assert list(job.targets) == [f"0oaOwn{number:014d}" for number in range(3)]
    assert "picked one by one" in where.plan.read_text()


async def test_who_has_chosen_is_asked_only_with_pick(tmp_path: Path) -> None:
    async with open_site(tmp_path) as where:
        chosen = ["plan", "new", where.plan, "--label", "own"]
        said, code = await typed(chosen, [], env=where.env, cwd=tmp_path)
        assert code == 0, said
        text = where.plan.read_text()
        picked = [*chosen, "--pick", "--force"]
        said, code = await typed(picked, [""], env=where.env, cwd=tmp_path)
    assert (code, where.plan.read_text()) == (4, text)
    assert "nothing was picked" in said
