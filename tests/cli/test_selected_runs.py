"""Plans that pick their targets: what a run keeps, what a belt refuses, what a checksum holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.sandbox.limits import LimitSettings
from orchestrator.sandbox.org import LoggedCall, SandboxOrg
from orchestrator.sandbox.serve import serve
from tests.cli.site import APPS, KEY, OTHER_KEY, SOURCE, Site

OLD_KEY = "A" * 43
FINANCE = APPS[:6]


@asynccontextmanager
async def company(folder: Path) -> AsyncIterator[Site]:
    """Serve an org of nine apps: six that sign with one old key, and others; no plan yet."""
    org = SandboxOrg(seed=3)
    org.add_app(SOURCE, label="Finance HQ", kids=[KEY, OTHER_KEY])
    for number, app in enumerate(FINANCE):
        org.add_app(app, label=f"Finance {number}", signing_kid=OLD_KEY)
    org.add_app(APPS[6], label="Test Finance", signing_kid=OLD_KEY)
    org.add_app(APPS[7], label="Finance intranet", sign_on_mode="BOOKMARK")
    org.add_app(APPS[8], label="Sales")
    async with serve(org, limits=LimitSettings(enabled=False)) as where:
        env = {
            "OKTA_CLIENT_ORGURL": where.url,
            "OKTA_CLIENT_TOKEN": org.token,
            "OKTA_KEYS_STATE": str(folder / "state"),
        }
        yield Site(org, env, folder)


def write(where: Site, targets: str, *, rest: str = "", limits: str = "{}", key: str = KEY) -> None:
    where.plan.write_text(
        f"version: 1\nname: finance\nlimits: {limits}\njobs:\n  - name: finance\n"
        f"    source: {{app: {{label: Finance HQ}}, key: {key}}}\n"
        f"    targets: {targets}\n{rest}"
    )


def lists(where: Site) -> list[LoggedCall]:
    return [call for call in where.org.log if call.template == "/api/v1/apps"]


PICKED = "[{label_prefix: Finance}]"


async def test_a_run_clones_into_what_the_selectors_pick(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(
            where, "[{signing_with: " + OLD_KEY + "}]", rest="    exclude: [{label_prefix: Test}]\n"
        )
        ended = await where.run("--output", "json")
        assert ended.code == 0, ended.err
        assert where.clones() == dict.fromkeys(FINANCE, 1)
        assert len(lists(where)) == 1
    report = json.loads(ended.out)
    assert [row["app_id"] for row in report["targets"]] == list(FINANCE)
    assert report["jobs"][0]["source_app_id"] == SOURCE


async def test_the_same_plan_keeps_its_targets_and_asks_nothing(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED, limits="{max_targets: 2, workers: 1}")
        assert (await where.run()).code == 7
        where.org.add_app(APPS[9], label="Finance late")
        where.org.apps[FINANCE[5]].label = "Sold"
        shown = await where.keys("preview", where.plan, "--output", "json", "--report-dir", "p")
        resumed = [await where.run() for _ in range(2)]
        assert [ended.code for ended in resumed] == [7, 0]
        assert where.clones() == dict.fromkeys(FINANCE, 1)
        assert len(lists(where)) == 2  # one to pick, and what the preview counts sharers with
        calls = len(where.org.log)
        over = await where.run()
        assert (over.code, len(where.org.log)) == (0, calls)
        assert "nothing to do" in over.err
        again = await where.run("--new")
        assert again.code == 0, again.err
        assert APPS[9] in where.clones()
        assert where.clones()[FINANCE[5]] == 1
    assert "--new picks again" in over.err
    assert [row["app_id"] for row in json.loads(shown.out)["targets"]] == list(FINANCE)


async def test_a_changed_plan_picks_again(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED, limits="{max_targets: 2, workers: 1}")
        await where.run()
        write(where, "[{label: Finance 0}, {label: Sales}]")
        ended = await where.run()
        assert ended.code == 0, ended.err
        assert where.org.holds(APPS[8], KEY)
        assert not where.org.holds(FINANCE[3], KEY)
    assert "targets added" in ended.err
    assert "targets removed" in ended.err


async def test_what_does_not_sign_is_left_out_and_told(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED)
        ended = await where.run("--output", "json")
        assert ended.code == 0, ended.err
        assert APPS[7] not in where.clones()
    assert "1 not_signing" in ended.err
    assert json.loads(ended.out)["jobs"][0]["dropped"]["not_signing"] == 1


async def test_nothing_picked_is_an_error_with_its_place(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, "[{label: Finance 00}, {label_prefix: Legal}]")
        ended = await where.run()
        assert ended.code == 4
        assert not where.clones()
        assert (await where.keys("status")).code == 0
        nothing = await where.keys("status", "--json")
    assert "plan.yaml:7:23: jobs[0].targets[0].label" in ended.err
    assert "Finance 0" in ended.err
    assert "targets[1].label_prefix" in ended.err
    assert json.loads(nothing.out) == []


@pytest.mark.parametrize(("share", "code"), [("50%", 6), ("100%", 0)])
async def test_a_belt_of_percent_counts_what_signs(tmp_path: Path, share: str, code: int) -> None:
    async with company(tmp_path) as where:  # ten apps, of which nine sign
        write(where, f"[{', '.join(FINANCE[:5])}]", limits=f"{{max_changes: {share}}}")
        ended = await where.run()
        assert ended.code == code, ended.err
        assert len(where.clones()) == (0 if code else 5)


async def test_the_belt_of_percent_also_holds_a_run_that_goes_on(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED, limits="{max_targets: 2, workers: 1}")
        assert (await where.run()).code == 7
        write(where, PICKED, limits="{max_changes: 20%}")
        refused = await where.run()
        assert (refused.code, len(where.clones())) == (6, 2)
        write(where, PICKED, limits="{max_changes: 80%}")
        assert (await where.run()).code == 0
        calls = len(where.org.log)
        assert (await where.run()).code == 0
        assert len(where.org.log) == calls
    assert "allows 20% of 9 changes" in refused.err


async def test_a_run_does_what_its_preview_showed_or_nothing(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED, key="active", limits="{max_targets: 3}")
        shown = await where.keys("preview", where.plan, "--output", "json")
        checksum = json.loads(shown.out)["checksum"]
        assert checksum[:12] in shown.err
        where.org.add_app(APPS[9], label="Finance late")
        refused = await where.run("--expect", checksum)
        assert (refused.code, where.clones()) == (6, {})
        assert await status_of(where) == []
        where.org.remove_app(APPS[9])
        first = await where.run("--expect", checksum)
        assert first.code == 7, first.err
        rest = await where.run("--expect", f"sha256:{checksum[:16]}")
        assert rest.code == 0, rest.err
        write(where, PICKED, key="newest", limits="{max_targets: 3}")
        other = await where.run("--expect", checksum, "--new")
        assert other.code == 6
    assert "checksum" in refused.err


async def status_of(where: Site) -> object:
    return json.loads((await where.keys("status", "--json")).out)


async def test_the_key_that_was_looked_up_for_the_checksum_is_used(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, f"[{', '.join(FINANCE)}]", key="newest")
        shown = await where.keys("preview", where.plan, "--output", "json")
        before = len(where.org.log)
        ended = await where.run("--expect", json.loads(shown.out)["checksum"])
        assert ended.code == 0, ended.err
        calls = where.org.log[before:]
    # The list for the source's label; its keys; the key itself; a clone each.
    assert len([call for call in calls if call.method == "GET"]) == 3
    assert len(calls) == 3 + len(FINANCE)


async def test_a_limit_leaves_the_rest_for_the_next_run(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED, limits="{workers: 1}")
        assert (await where.run("--limit", 4)).code == 7
        assert len(where.clones()) == 4
        assert (await where.run()).code == 0
        assert where.clones() == dict.fromkeys(FINANCE, 1)


async def test_selectors_in_a_sandbox_need_an_org_to_pick_from(tmp_path: Path) -> None:
    async with company(tmp_path) as where:
        write(where, PICKED)
        bare = await where.run("--sandbox")
        saved = await where.keys("inventory", "--all-keys", "--save", "org.json")
        assert saved.code == 0, saved.err
        calls = len(where.org.log)
        rehearsed = await where.run("--sandbox", "--from", "org.json", "--output", "json")
        assert len(where.org.log) == calls
        assert not where.clones()
    assert bare.code == 4
    assert "--from" in bare.err
    assert rehearsed.code == 0, rehearsed.err
    assert [row["app_id"] for row in json.loads(rehearsed.out)["targets"]] == list(FINANCE)
