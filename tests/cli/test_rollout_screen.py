"""What a person sees of a rollout in a narrow window, whatever an org's labels try to do."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.sandbox.faults import Fault
from tests.cli.forked import okta_keys_forked
from tests.cli.program import Ended
from tests.cli.rollout_site import SIX, RolloutSite, rollout_plan, rollout_site

FIRST, SECOND, THIRD, *_ = SIX
ANGRY = "([blink] [31mNo.[/])"
LABELS = ("[blink]x[/] [/", "\x1b]0;owned\x07\x1b[31mred\u009b2J", "[link=http://x]go\\[/]")
OWN_STYLE = re.compile(r"\[/?(bold|red|green|yellow|cyan|magenta|dim)?( \w+)?\]")
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


async def narrow(where: RolloutSite, *arguments: object) -> Ended:
    """Run a command in a window of 80 columns, and see that its text is plain."""
    env = where.env | {"COLUMNS": "80"}
    ended = await okta_keys_forked(*arguments, env=env, cwd=where.folder)
    assert "Traceback" not in ended.err, ended.err
    assert not CONTROLS.search(ended.err), ended.err
    told = ended.err
    for label in (*LABELS, ANGRY):
        told = told.replace(CONTROLS.sub(" ", label), "")
    assert not OWN_STYLE.search(" ".join(told.split())), told
    return ended


async def test_labels_are_only_text(tmp_path: Path) -> None:
    angry = Fault(kind="reject", on="update_app", targets=(SECOND,), cause="[blink]\x1b[31mNo.[/]")
    text = rollout_plan(SIX[:3], activate="{waves: [1, 100%], stop_after_failures: 1}")
    async with rollout_site(tmp_path, angry, text=text) as where:
        for app, label in zip(SIX[:3], LABELS, strict=True):
            where.org.apps[app].rename(label)
        previewed = await narrow(where, "preview", where.plan)
        ran = await narrow(where, "run", where.plan)
        status = await narrow(where, "status", "latest")
        runs = await narrow(where, "status")
        report = await narrow(where, "report", "latest")
        ahead = await narrow(where, "rollback", "latest", "--dry-run")
        back = await narrow(where, "rollback", "latest")
        assert where.kids == where.former
    codes = [each.code for each in (previewed, ran, status, runs, report, ahead, back)]
    assert codes == [0, 6, 0, 0, 0, 0, 0]
    for ended in (previewed, ran, report, back):
        assert "[blink]x[/] [/: " in ended.err
        assert all(app in ended.err for app in SIX[:3])
    assert ANGRY in joined(ran)
    assert "]0;owned" in ran.err, "what it says is shown, but does nothing"
    assert "wave 1 of 2 begins, 1 target\n" in ran.err
    assert "2 activated, 1 failed to activate" in joined(ran)


def joined(ended: Ended) -> str:
    """Return the text as if it had never been wrapped."""
    return " ".join(ended.err.split())


async def test_a_wrong_gate_is_shown_with_its_place(tmp_path: Path) -> None:
    lines = [
        "    activate:",
        "      gate:",
        "        after: soon",
        "        window: Sat 02:00-06:00",
        "        aproval: each_wave",
        "        acknowledged: ./ready.sh",
        "      waves: [100%, 1]",
        "      pause: 10 minutes",
    ]
    text = rollout_plan().replace("    activate: {waves: [1, 2, 100%]}", "\n".join(lines))
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    first = text.splitlines().index("    activate:") + 1
    ended = await okta_keys_forked("run", plan, "--sandbox", cwd=tmp_path)
    assert ended.code == 4
    for line, column, path in [
        (first + 2, 16, "jobs[0].activate.gate.after"),
        (first + 3, 17, "jobs[0].activate.gate.window"),
        (first + 4, 9, "jobs[0].activate.gate.aproval"),
        (first + 5, 23, "jobs[0].activate.gate.acknowledged"),
        (first + 6, 21, "jobs[0].activate.waves[1]"),
        (first + 7, 14, "jobs[0].activate.pause"),
    ]:
        assert f"{plan}:{line}:{column}: {path}: " in ended.err, ended.err
    assert "did you mean `approval`?" in ended.err
    assert "6 problems in the plan" in ended.err
