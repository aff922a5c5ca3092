"""`inventory` and `diff` as a user runs them, against orgs over real sockets."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.clock import SystemClock
from orchestrator.sandbox.faults import Fault, FaultScript
from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.forked import okta_keys_forked
from tests.cli.program import TOKEN, Ended, okta_keys

KEY = "/api/v1/apps/{appId}/credentials/keys/{kid}"
HOSTILE = "=1+1 \x1b[31mred[/] [bold]\r\nsecond line"


def kid_that_ends(org: SandboxOrg, days: float, signature_hash: str = "sha256") -> str:
    kid = org.mint.new_kid()
    end = SystemClock().wall().replace(microsecond=0) + timedelta(days=days)
    org.mint.order(kid, not_after=end, signature_hash=signature_hash)
    return kid


def org_of_apps(seed: int = 1, name: str = "acme") -> SandboxOrg:
    """Return an org whose certificates end at various times, from long ago to much later."""
    org = SandboxOrg(seed=seed, name=name)
    org.add_app(label="Later")
    org.add_app(label="Ended", signing_kid=kid_that_ends(org, -9.5, "sha1"))
    shared = kid_that_ends(org, 40.5)
    org.add_app(label="Finance EU", signing_kid=shared)
    org.add_app(label="Finance US", signing_kid=shared, status="INACTIVE")
    org.add_app(label=HOSTILE, signing_kid=kid_that_ends(org, 70.5))
    org.add_app(label="Bookmark", sign_on_mode="BOOKMARK")
    org.add_idp(name="Partner", signing_kid=kid_that_ends(org, 10.5))
    return org


@dataclass(frozen=True)
class Desk:
    """A folder, and the environment that leads to an org."""

    org: SandboxOrg
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    async def keys(self, *arguments: object, **env: str) -> Ended:
        ended = await okta_keys_forked(*arguments, env=self.env | env, cwd=self.folder)
        assert "Traceback" not in ended.err, ended.err
        assert self.org.token not in ended.out + ended.err
        return ended

    async def inventory(self, *options: object, **env: str) -> Ended:
        return await self.keys("inventory", *options, **env)

    async def listed(self, *options: object) -> dict[str, dict[str, Any]]:
        """Return the holders that are listed, by their label."""
        ended = await self.inventory("--output", "json", *options)
        assert ended.code == 0, ended.err
        return {each["label"]: each for each in json.loads(ended.out)["holders"]}

    def key_reads(self) -> int:
        return sum(call.template == KEY for call in self.org.log)


@asynccontextmanager
async def desk(folder: Path, *faults: Fault, org: SandboxOrg | None = None) -> AsyncIterator[Desk]:
    """Serve an org."""
    org = org or org_of_apps()
    limits, script = LimitSettings(enabled=False), FaultScript.of(list(faults))
    async with serve(org, limits=limits, faults=script) as served:
        env = {
            "OKTA_CLIENT_ORGURL": served.url,
            "OKTA_CLIENT_TOKEN": org.token,
            "OKTA_KEYS_STATE": str(folder / "state"),
            "COLUMNS": "80",
        }
        yield Desk(org, folder, env)


async def test_a_table_of_what_ends_next(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        ended = await at.inventory()
    assert ended.code == 0
    head, *lines = ended.out.splitlines()
    assert head.split() == ["id", "label", "ends", "days", "shared"]
    labels = ["Ended", "Partner", "Finance EU", "Finance US", "=1+1  [31mred[/]", "Later"]
    assert len(lines) == len(labels)
    for label, line in zip(labels, lines, strict=True):
        assert label[:12] in line
        assert len(line) <= 80
        assert not set(line) & {"\x1b", "\r"}
    assert lines[0].split()[2:] == [lines[0].split()[2], "-10", "SHA-1"]
    assert lines[3].split()[-3:] == ["40", "2", "inactive"]
    host = at.env["OKTA_CLIENT_ORGURL"].removeprefix("http://")
    assert ended.err == (
        f"{host}: 6 apps and 1 identity provider, of which 6 sign with 5 keys; 1 ended; "
        "1 ends within 30 days; 3 end within 90 days; 1 with SHA-1; 1 shared (8 calls)\n"
    )


async def test_the_second_time_no_key_is_read_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        first = await at.inventory("--output", "csv", "--resource", "app")
        assert at.key_reads() == 4
        second = await at.inventory("--output", "csv", "--resource", "app")
        assert at.key_reads() == 4
        at.org.add_app(label="New")
        await at.inventory()
        assert at.key_reads() == 5
    rows = [list(csv.DictReader(each.out.splitlines())) for each in (first, second)]
    for row in (*rows[0], *rows[1]):
        del row["taken_at"]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 5


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (["--expiring-within", "40d"], {"Ended", "Partner"}),
        (["--expiring-within", "41d", "--status", "active"], {"Ended", "Partner", "Finance EU"}),
        (["--sha1"], {"Ended"}),
        (["--shared", "--label", "eu"], {"Finance EU"}),
        (["--resource", "idp"], {"Partner"}),
        (["--signing-with", "nobody"], set()),
        (["--all", "--label", "book"], {"Bookmark"}),
    ],
)
async def test_filters_and_the_exit_code_of_a_check(
    tmp_path: Path, options: list[str], labels: set[str]
) -> None:
    async with desk(tmp_path) as at:
        assert set(await at.listed(*options)) == labels
        ended = await at.inventory("--detailed-exitcode", "--quiet", *options)
        assert ended.code == (2 if labels else 0)
        assert ended.err == ""
        assert len(ended.out.splitlines()) == (1 + len(labels) if labels else 0)


async def test_what_is_saved_is_whole_and_shown_again_without_a_call(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    async with desk(tmp_path) as at:
        await at.inventory("--sha1", "--all-keys", "--save", path)
        calls = len(at.org.log)
        found = json.loads(path.read_text())
        assert [each["label"] for each in found["holders"]] == [
            app.label for app in at.org.apps.values()
        ] + ["Partner"]
        assert found["org"]["id"] == at.org.id
        at.org.advance(90 * 86_400)
        gone = {"OKTA_CLIENT_ORGURL": "", "OKTA_CLIENT_TOKEN": ""}
        again = await at.inventory("--from", path, "--output", "json", "--all", **gone)
        assert again.code == 0
        assert f"(as of {found['taken_at'][:10]}" in again.err
        only = await at.inventory("--from", path, "--resource", "idp", "--label", "partner", **gone)
        assert len(only.out.splitlines()) == 2
        assert len(at.org.log) == calls
    whole = json.loads(again.out)
    for each in (whole, found):
        each["holders"].sort(key=lambda holder: holder["id"])
    assert whole == found


async def test_metrics_are_of_all_that_signs_whatever_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "okta.prom"
    async with desk(tmp_path) as at:
        assert (await at.inventory("--sha1", "--prometheus", path)).code == 0
    families = {each.name: each for each in text_string_to_metric_families(path.read_text())}
    left = families["okta_keys_certificate_days_left"].samples
    assert sorted(round(sample.value, 1) for sample in left)[:5] == [-9.5, 10.5, 40.5, 40.5, 70.5]
    assert len(left) == 6


async def test_an_org_that_does_not_show_its_identity_providers(tmp_path: Path) -> None:
    fault = Fault(kind="reject", status=403, code="E0000006", on="list_idps")
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    org = org_of_apps()
    async with desk(tmp_path, org=org) as at:
        await at.inventory("--save", old)
    async with desk(tmp_path, fault, org=org) as at:
        ended = await at.inventory("--save", new)
        assert ended.code == 0
        assert "note: the identity providers are missing: " in ended.err
        assert "Partner" not in ended.out
        assert (await at.inventory("--resource", "idp")).code == 1
        drift = await at.keys("diff", old, new, "--detailed-exitcode")
    assert (drift.code, drift.out) == (0, "")
    assert "the first inventory alone has the identity providers" in drift.err


async def test_a_refused_token_is_exit_code_5(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        ended = await at.inventory("--save", tmp_path / "i.json", OKTA_CLIENT_TOKEN=TOKEN)
    assert (ended.code, ended.out) == (5, "")
    assert "the org does not accept the API token" in ended.err
    assert TOKEN not in ended.err
    assert not (tmp_path / "i.json").exists()


async def test_a_state_that_cannot_be_used_costs_calls_only(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    async with desk(tmp_path) as at:
        ended = await at.inventory()
    assert ended.code == 0
    assert "note: certificates are not remembered: " in ended.err
    assert len(ended.out.splitlines()) == 7


@asynccontextmanager
async def two_orgs(folder: Path) -> AsyncIterator[Desk]:
    """Serve two orgs, and a third of which nobody has the token."""
    async with AsyncExitStack() as stack:
        lines, env = ["profiles:"], {"OKTA_KEYS_STATE": str(folder / "state"), "COLUMNS": "110"}
        for number, name in enumerate(("acme", "globex", "locked")):
            org = org_of_apps(number, name)
            opened = await stack.enter_async_context(desk(folder, org=org))
            url, variable = opened.env["OKTA_CLIENT_ORGURL"], f"TOKEN_OF_{name.upper()}"
            lines.append(f"  {name}: {{url: {url}, auth: {{token: env:{variable}}}}}")
            env[variable] = TOKEN if name == "locked" else org.token
        (folder / "config.yaml").write_text("\n".join(lines))
        yield Desk(org, folder, env | {"OKTA_KEYS_CONFIG": str(folder / "config.yaml")})


async def test_several_orgs_stand_in_one_table(tmp_path: Path) -> None:
    async with two_orgs(tmp_path) as at:
        asked = ("--profile", "globex", "--profile", "acme", "--label", "finance", "--sort", "org")
        ended = await at.inventory(*asked)
        assert ended.code == 0
        head, *lines = ended.out.splitlines()
        assert head.split()[0] == "org"
        assert [line.split()[0] for line in lines] == ["globex", "globex", "acme", "acme"]
        summaries = [line.split(":")[0] for line in ended.err.splitlines()]
        assert summaries == ["globex", "acme"]
        found = json.loads((await at.inventory(*asked, "--output", "json")).out)
        parts = [(each["org"]["profile"], len(each["holders"])) for each in found["inventories"]]
        assert parts == [("globex", 2), ("acme", 2)]


async def test_an_org_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    async with two_orgs(tmp_path) as at:
        ended = await at.inventory(
            "--all-profiles", "--detailed-exitcode", "--quiet", "--save", "of-{profile}.json"
        )  # fmt: skip
    assert ended.code == 5
    assert ended.err.startswith("locked: the org does not accept the API token")
    assert {line.split()[0] for line in ended.out.splitlines()[1:]} == {"acme", "globex"}
    assert {each.name for each in tmp_path.glob("of-*")} == {"of-acme.json", "of-globex.json"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--profile", "acme", "--all-profiles"], "does not go with"),
        (["--sandbox", "--profile", "acme"], "does not go with"),
        (["--from", "i.json", "--sandbox"], "does not go with"),
        (["--from", "i.json", "--all-keys"], "does not go with"),
        (["--from", "i.json"], "no such file"),
        (["--all-profiles"], "no profiles"),
        (["--profile", "acme"], "no profile is named acme"),
        (["--expiring-within", "soon"], "--expiring-within: 'soon' is not a duration"),
        (["--sort", "size"], "--sort"),
        (["--output", "xml"], "--output"),
        ([], "which org?"),
    ],
)
async def test_wrong_usage_is_exit_code_4(tmp_path: Path, options: list[str], told: str) -> None:
    ended = await okta_keys_forked("inventory", *options, cwd=tmp_path)
    assert (ended.code, ended.out) == (4, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


async def test_several_inventories_do_not_go_into_one_file(tmp_path: Path) -> None:
    async with two_orgs(tmp_path) as at:
        ended = await at.inventory("--all-profiles", "--save", "one.json")
        assert not at.org.log
    assert ended.code == 4
    assert "--save inventory-{profile}.json" in ended.err


async def test_an_org_to_try_it_with(tmp_path: Path) -> None:
    for width in ("80", "200"):
        ended = await okta_keys_forked(
            "inventory", "--sandbox", "--all", env={"COLUMNS": width}, cwd=tmp_path
        )
        assert ended.code == 0
        assert len(ended.out.splitlines()) == 1 + 22
        assert max(map(len, ended.out.splitlines())) <= int(width)
    assert "21 apps and 1 identity provider, of which 21 sign with 16 keys; 1 ended" in ended.err


async def test_drift_between_two_moments(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    async with desk(tmp_path) as at:
        org = at.org
        by_label = {app.label: app for app in org.apps.values()}
        await at.inventory("--save", old, "--all-keys")
        later = by_label["Later"]
        document: dict[str, Any] = later.document()
        document["credentials"]["signing"]["kid"] = org.add_key(later.id)
        org.update_app(later.id, document)
        org.remove_app(by_label["Bookmark"].id)
        org.set_status(by_label["Finance US"].id, "ACTIVE")
        added = org.add_app(label="New")
        org.advance(11 * 86_400)
        await at.inventory("--save", new, "--all-keys")
        calls = len(org.log)
        ended = await at.keys("diff", old, new, "--detailed-exitcode", "--expiring-within", "60d")
        same = await at.keys("diff", new, new, "--detailed-exitcode")
        data = await at.keys("diff", old, new, "--output", "json", "--quiet")
        assert len(org.log) == calls
    kinds = [line[:12].strip() for line in ended.out.splitlines()]
    assert kinds == ["added", "gone", "activated", "key added", "status", "ended", "expiring"]
    assert ended.code == 2
    assert ": 7 changes between " in ended.err
    assert (same.code, same.out) == (0, "")
    assert "nothing has changed" in same.err
    assert (data.code, data.err) == (0, "")
    found = json.loads(data.out)
    assert found["changes"][0] == {
        "kind": "added",
        "resource": "app",
        "id": added.id,
        "label": "New",
        "kid": added.active_kid,
        "before": None,
        "after": None,
        "is_back": False,
        "ends": None,
        "sharing": 0,
    }
    moments = [datetime.fromisoformat(found[side]["taken_at"]) for side in ("old", "new")]
    assert abs(moments[1] - moments[0] - timedelta(days=11)) < timedelta(minutes=1)


async def test_inventories_of_two_orgs_are_compared_only_on_demand(tmp_path: Path) -> None:
    async with two_orgs(tmp_path) as at:
        await at.inventory("--profile", "acme", "--save", "a.json")
        await at.inventory("--profile", "globex", "--save", "b.json")
        ended = await at.keys("diff", "a.json", "b.json")
        assert ended.code == 4
        assert "of another org" in ended.err
        across = await at.keys("diff", "a.json", "b.json", "--across-orgs")
        back = await at.keys("diff", "b.json", "a.json", "--across-orgs")
    assert across.code == back.code == 0
    assert across.out.count("added") == across.out.count("gone") == 7
    assert "the wrong way round?" in back.err


async def test_the_help_imports_nothing_heavy() -> None:
    ended = await okta_keys("inventory", "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0
    for option in ("--expiring-within", "--prometheus", "--detailed-exitcode"):
        assert option in ended.out
    for name in ("aiohttp", "cryptography", "yaml", "msgspec", "prometheus_client", "rich.console"):
        assert f" {name}\n" not in ended.err, name
