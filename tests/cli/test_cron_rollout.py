"""A rotation that nobody watches: cron runs its plan every minute, and gates of time open."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from tests.cli.program import QUICKSTART, environment
from tests.cli.rollout_site import (
    CLOCK_CALL,
    KEYS,
    SIX,
    RolloutSite,
    assert_true_to_the_org,
    rollout_plan,
    rollout_site,
    states,
)
from tests.cli.test_cron import CRON, install, job_line

LONDON = ZoneInfo("Europe/London")
FRIDAY = 4
GATES = "gate: {after: 2h, window: Sat 02:00-06:00 Europe/London}"


class Calendar:
    """Moves the org's clock to times of day in London, counted from a Friday that is to come."""

    def __init__(self, where: RolloutSite) -> None:
        self.where = where
        today = where.org_time().astimezone(LONDON).date()
        self.friday = today + timedelta(days=(FRIDAY - today.weekday()) % 7 + 7)

    def to(self, days: int, clock: str) -> None:
        """Move on to a time of the Friday, or of so many days after it."""
        wall = datetime.combine(self.friday + timedelta(days=days), time.fromisoformat(clock))
        left = wall.replace(tzinfo=LONDON) - self.where.org_time()
        assert left > timedelta(0), "the clock goes on only"
        self.where.org.advance(left.total_seconds())


async def minute(where: RolloutSite) -> str:
    """Run the plan as cron does; return what it says, and see that silence costs no call.

    One call that tells the time is allowed.
    """
    before = len(where.org.log)
    ended = await where.run("--quiet")
    assert (ended.code, ended.out) == (0, ""), ended.err
    if not ended.err:
        assert where.calls(before) in ({}, {f"GET {CLOCK_CALL}": 1})
    return ended.err


FRI, SAT, NEXT_SAT = 0, 1, 8
MINUTES = [  # the day, the time, and how many targets have been activated by then
    (FRI, "22:01:00", 0),
    (FRI, "23:59:30", 0),  # `after` has not passed
    (SAT, "01:59:30", 0),  # it has, but the window is closed
    (SAT, "02:00:30", 1),
    (SAT, "02:01:30", 1),
    (SAT, "04:30:00", 1),  # the pause
    (SAT, "04:31:30", 3),
    (SAT, "05:59:30", 3),  # the pause again
    (SAT, "07:02:00", 3),  # it is over, but the window is closed
    (NEXT_SAT, "01:59:30", 3),
    (NEXT_SAT, "02:00:30", 6),
    (NEXT_SAT, "02:01:30", 6),
]


async def test_each_step_happens_once_and_when_it_is_due(tmp_path: Path) -> None:
    text = rollout_plan(activate=f"{{{GATES}, waves: [1, 2, 100%], pause: 150m}}")
    async with rollout_site(tmp_path, text=text) as where:
        calendar = Calendar(where)
        calendar.to(FRI, "22:00:00")
        assert "6 cloned" in await minute(where)
        active = 0
        for day, clock, due in MINUTES:
            calendar.to(day, clock)
            said = await minute(where)
            assert len(where.switched()) == due, clock
            assert bool(said) is (due > active), said
            active = due
        before = len(where.org.log)
        assert await minute(where) == ""
        assert len(where.org.log) == before, "a run that is over asks nobody"
        assert [where.writes(app) for app in SIX] == [1] * 6
        assert where.clones() == dict.fromkeys(SIX, 1)
        assert where.calls()[f"POST {KEYS}/generate"] == 1
        assert where.org.collateral_changes() == 0
        report = assert_true_to_the_org(where)
    assert set(states(report).values()) == {"activated"}
    assert report["journal"]["sessions"] == 4, "quiet minutes leave no trace"


async def test_minutes_without_a_gate_of_time_make_no_call(tmp_path: Path) -> None:
    text = rollout_plan(activate="{gate: {acknowledged: true, approval: each_wave}}")
    async with rollout_site(tmp_path, text=text) as where:
        await minute(where)
        before, events = len(where.org.log), where.events()
        assert await minute(where) == ""
        await where.keys("ack", "latest", *(part for app in SIX for part in ("--target", app)))
        assert await minute(where) == ""
        assert len(where.org.log) == before
        assert where.events() == events + 1, "only the acknowledgement"
        await where.keys("approve", "latest")
        assert "6 activated" in await minute(where)


async def test_a_command_that_says_no_is_asked_every_minute_and_keeps_it_quiet(
    tmp_path: Path,
) -> None:
    not_ready, asked = tmp_path / "not-ready", tmp_path / "asked"
    not_ready.write_text(f"{SIX[0]}\n{SIX[1]}\n")
    script = tmp_path / "ask.sh"
    script.write_text(
        f"#!/bin/sh\necho $OKTA_KEYS_APP_ID >> {asked}\n! grep -qx $OKTA_KEYS_APP_ID {not_ready}\n"
    )
    script.chmod(0o755)
    gates = "{gate: {acknowledged: {run: [./ask.sh]}}, waves: [2, 100%]}"
    async with rollout_site(tmp_path, text=rollout_plan(activate=gates)) as where:
        assert "6 cloned" in await minute(where)
        assert sorted(asked.read_text().split()) == list(SIX[:2]), "the second wave has to wait"
        assert await minute(where) == ""
        assert asked.read_text().count(SIX[0]) == 2
        not_ready.write_text(f"{SIX[1]}\n")
        assert "5 activated" in await minute(where), "one silent vendor does not stop the others"
        assert where.switched() == set(SIX) - {SIX[1]}
        assert await minute(where) == ""
        not_ready.write_text("")
        assert "6 activated" in await minute(where)
        assert [where.writes(app) for app in SIX] == [1] * 6
        assert asked.read_text().count(SIX[5]) == 1, "who has said yes is not asked again"


MARK = "-- exit code "


def crontab(where: RolloutSite) -> str:
    """Return the example's line for this plan, whose words are all kept, with a mark after each."""
    said = where.folder / "said"
    command = job_line(where.folder).replace("* * * * * ", "* * * * * root ", 1)
    command = command.replace(str(QUICKSTART), str(where.plan)).replace("> ", ">> ", 1)
    return f"HOME={where.folder}\n{command}; echo {MARK}$? >> {said}\n"


async def firings(where: RolloutSite, number: int) -> list[str]:
    """Wait until cron has fired so often; return what each job has said."""
    said = where.folder / "said"
    with anyio.fail_after(90):
        while not said.exists() or said.read_text().count(MARK) < number:  # noqa: ASYNC110 - cron announces nothing
            await anyio.sleep(0.25)
    return said.read_text().split(f"{MARK}0\n")[:-1]


@pytest.mark.long
@pytest.mark.timeout(330)
@pytest.mark.skipif(
    CRON is None or os.geteuid() != 0 or "CI" not in os.environ,
    reason="needs cron, root, and a machine that is ours to change",
)
async def test_a_cron_daemon_takes_a_rotation_through_its_gates(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    text = rollout_plan(activate=f"{{{GATES}}}")
    table = Path("/etc/cron.d/okta-keys-test-rollout")
    async with rollout_site(tmp_path, text=text) as where:
        calendar = Calendar(where)
        calendar.to(FRI, "22:00:00")
        install(tmp_path, where.env["OKTA_CLIENT_ORGURL"], where.org.token)
        table.write_text(crontab(where))
        daemon = subprocess.Popen([str(CRON), "-f"], env=environment())
        try:
            [staged] = await firings(where, 1)
            calls = len(where.org.log)
            assert where.clones() == dict.fromkeys(SIX, 1)
            assert where.switched() == set()
            quiet = (await firings(where, 2))[1]
            assert where.calls(calls) == {f"GET {CLOCK_CALL}": 1}
            calendar.to(SAT, "02:00:30")
            activated = (await firings(where, 3))[2]
        finally:
            table.unlink()
            daemon.terminate()
            daemon.wait(timeout=10)
        assert where.switched() == set(SIX)
        assert [where.writes(app) for app in SIX] == [1] * 6
        assert set(states(assert_true_to_the_org(where)).values()) == {"activated"}
    assert "6 cloned in" in staged
    assert "wave 1 waits for after and window, until 20" in staged
    assert quiet == ""
    assert "6 cloned; 6 activated in" in activated
