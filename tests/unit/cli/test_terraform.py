"""What a Terraform state says it manages: of every form of state, and never a secret of it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from orchestrator.cli.terraform import LARGEST, TYPES, managed_apps
from orchestrator.errors import ExitCode, InputError

SECRET = "hunter2-hunter2-hunter2"


def app(number: int) -> str:
    return f"0oa{number:017d}"


def resource(
    kind: str, *ids: object, mode: str = "managed", module: str | None = None
) -> dict[str, object]:
    """Return a resource as a state has it, with secrets beside its ids."""
    instances = [
        {
            "index_key": number,
            "schema_version": 0,
            "attributes": {"id": each, "client_secret": SECRET, "nested": [{"id": app(99)}]},
            "sensitive_attributes": [[{"type": "get_attr", "value": "client_secret"}]],
            "private": SECRET,
        }
        for number, each in enumerate(ids)
    ]
    named = {"mode": mode, "type": kind, "name": "x", "provider": 'provider["okta/okta"]'}
    return ({"module": module} if module else {}) | named | {"instances": instances}


def state(*resources: Mapping[str, object], **more: object) -> dict[str, object]:
    return {
        "version": 4,
        "terraform_version": "1.9.5",
        "serial": 12,
        "lineage": "3f1c",
        "outputs": {"secret": {"value": SECRET, "type": "string", "sensitive": True}},
        "resources": list(resources),
        "check_results": None,
    } | more


def found_in(folder: Path, document: object) -> set[str]:
    path = folder / "terraform.tfstate"
    path.write_text(json.dumps(document), encoding="utf-8")
    return set(managed_apps(path))


def refused(path: Path) -> InputError:
    """Return why a file is refused; nothing that can be printed of it holds a secret."""
    with pytest.raises(InputError) as caught:
        managed_apps(path)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + error.diagnostics() + repr(error.context)
    assert SECRET not in shown + repr(error.__context__)
    assert error.exit_code is ExitCode.INVALID
    return error


def refused_text(folder: Path, text: str | bytes) -> InputError:
    path = folder / "terraform.tfstate"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return refused(path)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_kind_of_app_counts(tmp_path: Path, kind: str) -> None:
    assert found_in(tmp_path, state(resource(kind, app(1)))) == {app(1)}


@pytest.mark.parametrize(
    "kind",
    ["okta_app_user", "okta_app_group_assignments", "okta_app_saml_app_settings", "okta_user",
     "okta_idp_oidc", "aws_instance"],
)  # fmt: skip
def test_what_only_hangs_on_an_app_does_not_count(tmp_path: Path, kind: str) -> None:
    assert found_in(tmp_path, state(resource(kind, app(1)))) == set()


def test_modules_and_all_instances_are_looked_into(tmp_path: Path) -> None:
    document = state(
        resource("okta_app_saml", app(1), app(2), app(3)),
        resource("okta_app_saml", app(4), module="module.finance.module.emea[0]"),
        resource("okta_app_oauth", app(5), module='module.hr["a"]'),
        resource("okta_app_saml", app(6), mode="data"),
        resource("okta_idp_saml", app(7)),
    )
    assert found_in(tmp_path, document) == {app(each) for each in (1, 2, 3, 4, 5, 7)}


def test_an_id_that_is_none_of_oktas_is_left_out(tmp_path: Path) -> None:
    odd: Sequence[object] = (None, 7, "", "../../etc/passwd", ["x"], {"id": app(2)}, app(1))
    assert found_in(tmp_path, state(resource("okta_app_saml", *odd))) == {app(1)}


def test_attributes_that_an_old_terraform_has_written_flat_count(tmp_path: Path) -> None:
    old = resource("okta_app_saml")
    old["instances"] = [
        {"schema_version": 0, "attributes_flat": {"id": app(1)}},
        {"schema_version": 0, "attributes": None},
        {"schema_version": 0, "deposed": "ab12", "attributes": {"id": app(2)}},
    ]
    assert found_in(tmp_path, state(old)) == {app(1), app(2)}


def test_the_output_of_show_is_as_good(tmp_path: Path) -> None:
    def shown(number: int, kind: str = "okta_app_saml", mode: str = "managed") -> object:
        values = {"id": app(number), "client_secret": SECRET}
        return {"address": "x", "mode": mode, "type": kind, "name": "x", "values": values}

    deep = {"address": "module.a.module.b", "resources": [shown(3)]}
    root = {
        "resources": [shown(1), shown(4, mode="data"), shown(5, "okta_app_user")],
        "child_modules": [
            {"address": "module.a", "resources": [shown(2)], "child_modules": [deep]}
        ],
    }
    document = {"format_version": "1.0", "values": {"outputs": {}, "root_module": root}}
    assert found_in(tmp_path, document) == {app(1), app(2), app(3)}
    assert found_in(tmp_path, {"format_version": "1.0"}) == set(), "a state without resources"


def test_an_empty_state_manages_nothing(tmp_path: Path) -> None:
    assert found_in(tmp_path, state()) == set()


def test_a_mark_of_byte_order_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state(resource("okta_app_saml", app(1)))), encoding="utf-8-sig")
    assert managed_apps(path) == {app(1)}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "not JSON", "terraform show -json"),
        (f"resource {SECRET}", "not JSON", "terraform show -json"),
        (f'{{"version": 4, "resources": [{{"type": "{SECRET}"', "not JSON", "show -json"),
        (b"\xff\xfe\x00", "not JSON", "terraform show -json"),
        (f'["{SECRET}"]', "not a state", "terraform show -json"),
        (f'{{"version": "{SECRET}"}}', "not a state", "terraform show -json"),
        ('{"version": 4, "resources": {}}', "not a state", "terraform show -json"),
        ("{}", "not a state", "terraform show -json"),
        ('{"version": 4}', "not a state", "terraform show -json"),
        (f'{{"version": 3, "modules": ["{SECRET}"]}}', "version 3", "terraform show -json"),
        ('{"version": 5, "resources": []}', "version 5", "terraform show -json"),
        (f'{{"serial": 1, "meta": {{}}, "encrypted_data": "{SECRET}"}}', "encrypted", "tofu show"),
        ('{"version": 3, "backend": {"type": "s3"}}', "only says where", "terraform state pull"),
        ('{"format_version": "1.2", "planned_values": {}}', "a saved plan", "terraform show"),
        (b"PK\x03\x04" + SECRET.encode(), "a saved plan", "terraform state pull"),
        ('{"modules": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply", "show -json"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_state_is_refused_with_what_to_give(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    error = refused_text(tmp_path, text)
    assert message in error.message
    assert hint in (error.hint or "")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "absent").message
    assert "a directory" in refused(tmp_path).message


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)  # takes no room on the disk
    assert "larger than" in refused(path).message
