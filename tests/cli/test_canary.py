"""A secret, wherever it came from, is in nothing that the program says, writes or starts.

Each scene runs the program through a day with one kind of credential, with failures and a crash,
and then searches all that is left for every secret of the scene, in every way of writing it.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from urllib.parse import quote

import pytest
import trustme

from orchestrator.sandbox.faults import Fault
from orchestrator.store.sqlite import FILE_NAME
from tests.cli.canary import canary, files_in, forms_of, jwts, leaks, parts_of_key
from tests.cli.canary_channels import (
    CHANNELS,
    jwk_of_key,
    pem_by_variable,
    pem_of_key,
    proxy,
    secrets_of_the_way,
    token_by_variable,
)
from tests.cli.canary_scene import FAILING, FORMATS, MOMENTS, Scene, scene
from tests.cli.rollout_site import SIX

FAULTS = (
    Fault(kind="reject", on="clone", targets=(FAILING,)),
    Fault(kind="error", on="clone", status=500, times=2),
    Fault(kind="drop", on="clone", when="after", times=1),
)


async def rotate(where: Scene, formats: Sequence[str] = FORMATS) -> None:
    """Run a plan, with failures, and tell of it in these formats."""
    ran = await where.keys("run", where.plan, "--verbose", "--output", "ndjson")
    assert ran.code == 3, ran.err
    assert "DEBUG" in ran.err, "the log was on"
    assert {type(json.loads(line)) for line in ran.out.splitlines()} == {dict}
    for format_ in formats:
        told = await where.keys("report", "latest", "--format", format_)
        assert told.code == 0, told.err
        assert SIX[0] in told.out
    assert (await where.keys("status", "latest", "--json")).code == 0


async def look(where: Scene) -> None:
    """Use the commands that look at the org, and take the run back."""
    ahead = await where.keys("preview", where.plan, "--new", "--verbose", "--report-dir", "ahead")
    assert ahead.code == 0, ahead.err
    named = ("--profile", "acme") if "OKTA_KEYS_CONFIG" in where.env else ()
    for options in (("--verbose",), ("--json",)):  # it may well find something amiss
        checked = await where.keys("doctor", where.plan, *options)
        assert checked.out + checked.err
        assert "Traceback" not in checked.err
    listed = await where.keys(
        "inventory", "--verbose", "--all", "--all-keys", "--save", "saved.json", *named
    )
    assert listed.code == 0, listed.err
    for arguments in (
        ("orgs",),
        ("validate", where.plan),
        ("plan", "new", "new.yaml", "--yes", *named),
        ("rollback", "latest", "--verbose"),
        ("status",),
    ):
        ended = await where.keys(*arguments)
        assert ended.code == 0, ended.err


def the_journal_and_the_hooks_are_searched(where: Scene) -> None:
    """Say what must have been there to be searched, lest a search of nothing pass."""
    found = files_in(where.folder, but=where.sources)
    assert FILE_NAME.encode() in found["names of files"]
    assert {f".{name}" for name in ("html", "xml", "csv", "md")} <= {
        Path(name).suffix for name in found
    }
    hooks = b"".join(data for name, data in found.items() if name.startswith("hooks/"))
    ran = {moment for moment in MOMENTS if f"OKTA_KEYS_HOOK={moment}".encode() in hooks}
    assert set(MOMENTS) - ran == {"run_finished"}, "a target has failed"
    assert b"OKTA_KEYS_ORG=" in hooks
    assert b"hook.sh" in hooks, "the command line of the hook"
    cores = [line.split()[4:6] for line in hooks.splitlines() if line.startswith(b"Max core")]
    assert cores, "the limits of us and of hooks were read"
    assert all(limits == [b"0", b"0"] for limits in cores), "core dumps are disabled for good"


@pytest.mark.parametrize("channel", [token_by_variable, pem_by_variable])
async def test_no_secret_is_told(channel: object, tmp_path: Path) -> None:
    assert callable(channel)
    async with scene(tmp_path, *FAULTS) as where:
        channel(where)
        where.write_plan()
        await rotate(where, ["html"])
        if channel is token_by_variable:  # a process of its own is slow, so the others are `long`
            await where.crash("call", "run", where.plan, "--new", "--verbose")
        the_journal_and_the_hooks_are_searched(where)
        assert where.told() == []


@pytest.mark.long
@pytest.mark.parametrize("channel", CHANNELS)
async def test_no_secret_is_told_whichever_way_it_came(channel: str, tmp_path: Path) -> None:
    async with scene(tmp_path, *FAULTS, is_real=True) as where:
        CHANNELS[channel](where)
        where.write_plan()
        await rotate(where)
        await look(where)
        for arguments in (("run", where.plan, "--new"), ("preview", where.plan)):
            await where.crash("call", *arguments, "--verbose")
        if "pem" in channel or "jwk" in channel:
            await where.crash("token", "run", where.plan, "--new", "--verbose")
        the_journal_and_the_hooks_are_searched(where)
        assert where.told() == []


@pytest.mark.long
async def test_no_secret_of_the_way_to_the_org_is_told(tmp_path: Path) -> None:
    authority, context = trustme.CA(), SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with (
        proxy() as (port, heads),
        scene(tmp_path, *FAULTS, ssl=context, is_real=True) as where,
    ):
        secrets_of_the_way(where, authority, port)
        where.write_plan()
        await rotate(where)
        await look(where)
        the_journal_and_the_hooks_are_searched(where)
        assert where.told() == []
        heard = leaks({"the proxy": b"".join(heads)}, where.secrets)
    assert heard, "the proxy was used"
    assert all(leak.startswith("password of the proxy ") for leak in heard)


async def test_a_hook_gets_a_secret_that_the_plan_names_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    """What it prints of it is not kept, for a hook may well print its environment."""
    async with scene(tmp_path) as where:
        token_by_variable(where)
        hook = where.folder / "hook.sh"
        hook.write_text(hook.read_text() + 'echo "by $OKTA_CLIENT_TOKEN"\n')
        where.write_plan(hook_env=["OKTA_CLIENT_TOKEN"])
        ran = await where.keys("run", where.plan)
        assert ran.code == 0, ran.err
        told = where.told()
        with closing(sqlite3.connect(where.folder / "state" / FILE_NAME)) as connection:
            journal = "\n".join(connection.iterdump())
    assert told, "the hook has told it to its own file"
    assert all(" in hooks/told." in place for place in told)
    assert "by [secret]" in journal


def test_the_search_finds_a_secret_in_whatever_way_it_is_written() -> None:
    secret = f"{canary()} \"&+/=\n\\'"
    raw = secret.encode()
    planted = {
        "as it is": raw,
        "in JSON": json.dumps({"a": [secret]}).encode(),
        "in JSON in JSON": json.dumps(json.dumps(secret)).encode(),
        "in a URL": quote(secret, safe="").encode(),
        "in hex": raw.hex().encode(),
        "in a repr": repr([secret]).encode(),
        **{f"as base64 after {size}": b64encode(b"x" * size + raw + b"yz") for size in range(6)},
        **{f"url-safe after {size}": urlsafe_b64encode(b"x" * size + raw) for size in range(6)},
    }
    found = leaks({**planted, "nowhere": b"nothing at all"}, {"it": secret})
    assert {
        place for place in planted if any(leak.endswith(f" in {place}") for leak in found)
    } == set(planted)
    assert not [leak for leak in found if leak.endswith(" in nowhere")]
    assert all(len(form) > 11 for form in forms_of(secret))


def test_the_search_finds_parts_of_keys_and_tokens_that_nobody_has_noted() -> None:
    pem, jwk = pem_of_key(), jwk_of_key()
    text = f"some lines:\n{pem[120:400]}".encode()
    assert leaks({"text": text}, parts_of_key(pem))
    member = json.loads(jwk)["qi"].encode()
    assert leaks({"text": b"qi is " + member}, parts_of_key(jwk))
    assert jwts({"text": b"x eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIwb2EifQ.c2lnbmF0dXJl y"}) == ["text"]


async def test_the_search_reads_every_file_and_its_name(tmp_path: Path) -> None:
    secret = canary()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "deep.bin").write_bytes(b"\0" + secret.encode())
    (tmp_path / secret).touch()
    source = tmp_path / "source"
    source.write_text(secret)
    places = {
        leak.rpartition(" in ")[2]
        for leak in leaks(files_in(tmp_path, but=[source]), {"it": secret})
    }
    assert places == {".hidden/deep.bin", "names of files"}
