"""The commands that call nobody."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.cli.main import main
from tests.cli.program import QUICKSTART, ROOT, TOKEN, okta_keys

WRONG = sorted((ROOT / "tests" / "plans_wrong").glob("*.yaml"))


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_every_wrong_plan_is_exit_code_4(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["validate", str(path)])
    said = capsys.readouterr()
    assert code == 4
    assert said.out == ""
    assert said.err.strip()
    assert "Traceback" not in said.err


def test_good_plans_are_said_to_be_good(capsys: pytest.CaptureFixture[str]) -> None:
    plans = sorted(str(path) for path in (ROOT / "plans").glob("*.yaml"))
    assert main(["validate", *plans]) == 0
    said = capsys.readouterr().err
    assert all(f"{plan}: valid" in said for plan in plans)


@pytest.mark.parametrize(
    ("targets", "exclude", "said"),
    [
        ("{label: a}", "", "1 jobs, 1 targets, and what 1 selector picks\n"),
        ('{label: a}, {filter: name eq "b"}', "", "and what 2 selectors pick\n"),
        (
            "{label: a}",
            "{label: b}, {label: c}",
            "1 selector picks, less what 2 selectors exclude\n",
        ),
        ("0oa00000000000000001", "{label: b}", "1 left out, less what 1 selector excludes\n"),
    ],
)
def test_what_selectors_pick_is_left_open(
    targets: str, exclude: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "version: 1\nname: plan\njobs:\n"
        f"  - {{name: one, source: {{app: {{label: HQ}}, key: active}}, exclude: [{exclude}],\n"
        f"     targets: [0oa00000000000000001, {targets}]}}\n"
    )
    assert main(["validate", str(plan)]) == 0
    assert capsys.readouterr().err.endswith(said)


def test_one_wrong_plan_does_not_hide_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(WRONG[0]), str(QUICKSTART), str(WRONG[1])]) == 4
    said = capsys.readouterr().err
    assert str(WRONG[0]) in said
    assert str(WRONG[1]) in said
    assert f"{QUICKSTART}: valid" in said


@pytest.mark.parametrize("of", ["plan", "report"])
def test_schemas_are_schemas(of: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", of]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    shipped = ROOT / "orchestrator" / "schemas" / f"{of}-v1.schema.json"
    assert schema == json.loads(shipped.read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "no-such-plan.yaml"],
        ["walk"],
        ["run", str(QUICKSTART), "--outptu", "json"],
        ["run", str(QUICKSTART), "--output", "xml"],
        ["run", str(QUICKSTART), "--quick"],
        ["run", str(QUICKSTART), "--faults", "faults.yaml"],
        ["run", str(QUICKSTART), "--sandbox", "--faults", "no-such-file.yaml"],
        ["sandbox", "--window", "0"],
        ["schema", "poem"],
    ],
)
def test_wrong_usage_is_exit_code_4(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 4
    assert "Traceback" not in capsys.readouterr().err


def test_a_wrong_fault_file_names_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults: [{kind: drop, wen: after}]\n")
    assert main(["run", str(QUICKSTART), "--sandbox", "--faults", str(faults)]) == 4
    assert "wen" in capsys.readouterr().err


async def test_help_names_every_exit_code_and_imports_nothing_heavy() -> None:
    ended = await okta_keys("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0
    for code in ("0", "1", "2", "3", "4", "5", "6", "7", "11", "130", "143"):
        assert f"{code} " in ended.out
    for name in ("aiohttp", "pydantic", "cryptography", "yaml", "rich.console", "msgspec"):
        assert f" {name}\n" not in ended.err, name


async def test_the_version_is_printed() -> None:
    ended = await okta_keys("--version")
    assert (ended.code, ended.out) == (0, "okta-keys 0.1.0\n")


def test_a_secret_in_a_plan_is_refused_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    text = QUICKSTART.read_text()
    plan.write_text(f"{text}\norg: {{url: https://acme.okta.com, auth: {{token: {TOKEN}}}}}\n")
    assert main(["validate", str(plan)]) == 4
    said = capsys.readouterr()
    assert "token" in said.err
    assert TOKEN not in said.err + said.out
