"""Hand-off packs: what they hold, and that one is whole or not there."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ReportError
from orchestrator.model import AppId, HandoffPack, KeyRef, Kid, Resource, RunId, Target
from orchestrator.okta.certificates import certificate_of_text
from orchestrator.report.handoff import PackWriter
from orchestrator.report.pack import contents_of
from orchestrator.writing import as_words

APP = AppId("0oa8ae0dv4RGQvjyZ0h7")
OTHER_APP = AppId("0oa8ae1t5yev2ajDs0h7")
KID = Kid("w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI")
OTHER_KID = Kid("3QPkg8jrIw__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B")
SUBJECT = "CN=acme,O=Okta"
RUN = RunId("20261001T120000Z-00aa11")
METADATA = b'<?xml version="1.0"?>\r\n<md:EntityDescriptor>\xc3\xab</md:EntityDescriptor>  '
ALL_FILES = {"certificate.pem", "certificate.cer", "message.txt", "metadata.xml", "pack.json"}


@cache
def made(name: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string(name)
    builder = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=datetime(2026, 10, 1, 1, 2, 3, tzinfo=UTC),
        not_valid_after=datetime(2036, 9, 30, 1, 2, 3, tzinfo=UTC),
    )
    return builder.sign(key, hashes.SHA256())


def certificate(name: str = SUBJECT) -> x509.Certificate:
    return made(name)


def der(name: str = SUBJECT) -> bytes:
    return made(name).public_bytes(Encoding.DER)


def pack(
    *,
    job: str = "finance",
    app: str = APP,
    tags: Mapping[str, str] | None = None,
    kid: Kid = KID,
    subject: str = SUBJECT,
    resource: Resource = Resource.APP,
    **fields: Any,
) -> HandoffPack:
    plain: dict[str, Any] = {"label": "Finance EU", "metadata": METADATA}
    return HandoffPack(
        target=Target(job=job, app=AppId(app), tags=tags or {}),
        key=KeyRef(app=OTHER_APP, kid=kid, resource=resource),
        certificate=certificate_of_text(base64.b64encode(der(subject)).decode()),
        **(plain | fields),
    )


def writer(root: Path, *, org: str = "https://acme.okta.com") -> PackWriter:
    return PackWriter(root, plan="finance-2026-q4", run_id=RUN, org=org)


def contents(**fields: Any) -> dict[str, bytes]:
    return contents_of(pack(**fields), plan="p", run_id=RUN, org="https://acme.okta.com")


def message(**fields: Any) -> str:
    return contents(**fields)["message.txt"].decode("utf-8")


def facts(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "pack.json").read_text(encoding="utf-8")))


def everything(root: Path) -> dict[str, bytes]:
    """Return all files below a folder, hidden ones too."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


# --- what a pack holds -----------------------------------------------------------------------


def test_a_pack_holds_the_certificate_in_both_forms(tmp_path: Path) -> None:
    folder = writer(tmp_path).write(pack())
    assert folder == tmp_path / "finance" / APP
    assert {path.name for path in folder.iterdir()} == ALL_FILES
    pem = (folder / "certificate.pem").read_bytes()
    assert x509.load_pem_x509_certificate(pem) == certificate()
    assert max(map(len, pem.splitlines())) == 64
    assert (folder / "certificate.cer").read_bytes() == der()


def test_the_metadata_is_left_as_it_came(tmp_path: Path) -> None:
    assert (writer(tmp_path).write(pack()) / "metadata.xml").read_bytes() == METADATA


@pytest.mark.parametrize("metadata", [None, b""])
def test_there_may_be_no_metadata(metadata: bytes | None) -> None:
    files = contents(metadata=metadata)
    assert files.keys() == ALL_FILES - {"metadata.xml"}
    assert b"metadata" not in files["message.txt"]


def test_the_facts_are_all_there(tmp_path: Path) -> None:
    folder = writer(tmp_path).write(pack(tags={"owner": "Zoë", "cost centre": "7"}))
    told = facts(folder)
    listed = {file["name"]: file for file in told.pop("files")}
    assert told == {
        "schema_version": "1.0",
        "run_id": RUN,
        "plan": "finance-2026-q4",
        "org": "https://acme.okta.com",
        "job": "finance",
        "app_id": APP,
        "resource": "app",
        "label": "Finance EU",
        "tags": {"owner": "Zoë", "cost centre": "7"},
        "kid": KID,
        "thumbprint": base64.urlsafe_b64encode(certificate().fingerprint(hashes.SHA256()))
        .decode()
        .rstrip("="),
        "sha1": certificate().fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303
        "sha256": certificate().fingerprint(hashes.SHA256()).hex(":").upper(),
        "subject": SUBJECT,
        "not_before": "2026-10-01T01:02:03Z",
        "not_after": "2036-09-30T01:02:03Z",
    }
    assert listed.keys() == ALL_FILES - {"pack.json"}
    for name, file in listed.items():
        data = (folder / name).read_bytes()
        assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_message_tells_a_vendor_what_to_do() -> None:
    text = message()
    assert "Finance EU" in text.splitlines()[0]
    for wanted in (
        "https://acme.okta.com",
        "beside the one in use today",
        "Do not remove the certificate in use today before we tell you to.",
        "certificate.pem",
        "certificate.cer",
        "metadata.xml",
        "2026-10-01 01:02:03 UTC",
        "2036-09-30 01:02:03 UTC",
        SUBJECT,
        APP,
        certificate().fingerprint(hashes.SHA1()).hex(":").upper(),  # noqa: S303
        certificate().fingerprint(hashes.SHA256()).hex(":").upper(),
    ):
        assert wanted in text


def test_the_message_needs_no_knowledge_of_ours() -> None:
    words = set(message(tags={"owner": "Jo"}).lower().split())
    assert not words & {"kid", "kid:", "wave", "staged", "clone", "cloned", "plan", "job", "pack"}
    assert KID not in message()
    assert "{" not in message()


def test_the_lines_of_a_message_fit_a_mail() -> None:
    prints = certificate().fingerprint(hashes.SHA256()).hex(":").upper()
    assert all(len(line) <= 80 for line in message().splitlines() if prints not in line)


def test_the_message_tells_the_vendor_of_tags_that_are_for_it() -> None:
    text = message(tags={"Vendor": "Acme Ltd", "TICKET": "CHG-1", "owner": "", "margin": "80%"})
    rows = [line.split(None, 1) for line in text.splitlines()]
    assert ["Vendor:", "Acme Ltd"] in rows
    assert ["Ticket:", "CHG-1"] in rows
    assert "Owner" not in text
    assert "80%" not in text


@pytest.mark.parametrize("resource", Resource)
def test_what_has_no_label_is_called_by_its_id(resource: Resource) -> None:
    text = message(label=None, resource=resource)
    noun = "application" if resource is Resource.APP else "identity provider"
    assert f"the {noun} {APP}" in text
    assert "None" not in text
    assert json.loads(contents(label=None)["pack.json"])["label"] is None


def test_an_identity_provider_is_told_of_requests() -> None:
    text = message(resource=Resource.IDP, label="Partner")
    assert 'sends people to "Partner" to sign in' in text
    assert "requests" not in message()


HOSTILE = "Fin\x1b[31mance\r\nSubject: hello\u202e\u2028\x00\x9b\ud800 {name} %s <b>"


def test_text_of_the_org_cannot_break_out_of_its_line(tmp_path: Path) -> None:
    hostile = pack(label=HOSTILE, tags={"vendor": HOSTILE, "o\nwner": HOSTILE}, subject="CN=a\x1bb")
    folder = writer(tmp_path).write(hostile)
    told, text = facts(folder), (folder / "message.txt").read_text(encoding="utf-8")
    clean = "Fin [31mance Subject: hello {name} %s <b>"
    assert told["label"] == clean
    assert told["tags"] == {"vendor": clean, "o wner": clean}
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\nSubject:" not in text.replace("\n  Subject:", "")
    assert f'"{clean}"' in text
    assert f"Vendor:      {clean}\n" in text


@given(st.text())
def test_one_line_is_one_line_and_shows(text: str) -> None:
    line = as_words(text)
    assert line.isprintable()
    assert line == line.strip() == as_words(line)
    assert len(line) <= len(text)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1)))
def test_plain_words_stay_as_they_are(words: list[str]) -> None:
    assert as_words(" ".join(words)) == " ".join(words)


@pytest.mark.parametrize(
    "x5c",
    ["", "no base64!", base64.b64encode(b"x").decode(), base64.b64encode(der("CN=b")).decode()],
    ids=["none", "not base64", "not it", "another's"],
)
def test_no_wrong_certificate_is_handed_out(tmp_path: Path, x5c: str) -> None:
    wrong = replace(pack().certificate, x5c=x5c)
    with pytest.raises(ReportError, match="not the one"):
        writer(tmp_path).write(pack_with(wrong))
    assert not list(tmp_path.iterdir())


def pack_with(wrong: Any) -> HandoffPack:
    return replace(pack(), certificate=wrong)


# --- where it is, and whether it is there ----------------------------------------------------


def test_packs_are_for_their_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "new" / "packs"
    folder = writer(root).write(pack())
    assert writer(root).index_path(pack().target) == f"finance/{APP}"
    for path in (root, folder.parent, folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_jobs_with_the_same_target_have_packs_of_their_own(tmp_path: Path) -> None:
    packs = writer(tmp_path)
    first, second = pack(job="a"), pack(job="b", kid=OTHER_KID)
    packs.write(first)
    packs.write(second)
    assert packs.has(first.target, KID)
    assert packs.has(second.target, OTHER_KID)
    assert not packs.has(first.target, OTHER_KID)


def test_a_pack_is_there_once_it_is_written(tmp_path: Path) -> None:
    packs, one = writer(tmp_path), pack()
    assert not packs.has(one.target, KID)
    packs.write(one)
    assert packs.has(one.target, KID)
    assert writer(tmp_path).has(one.target, KID)
    assert not packs.has(one.target, OTHER_KID)
    assert not packs.has(pack(app=OTHER_APP).target, KID)
    assert not writer(tmp_path, org="https://other.okta.com").has(one.target, KID)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def put_a_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", sorted(ALL_FILES))
@pytest.mark.parametrize("spoil", [Path.unlink, cut_short, put_a_link, put_a_pipe])
def test_a_pack_that_lacks_something_is_not_there(
    tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    packs, one = writer(tmp_path), pack()
    file = packs.write(one) / name
    spoil(file)
    if name == "pack.json" and spoil is cut_short:  # its last character is a line break
        cut_short(file)
    assert not packs.has(one.target, KID)
    packs.write(one)
    assert packs.has(one.target, KID)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "\xff", '{"files": 1}'])
def test_facts_that_cannot_be_read_are_no_facts(tmp_path: Path, text: str) -> None:
    packs, one = writer(tmp_path), pack()
    (packs.write(one) / "pack.json").write_text(text, encoding="latin-1")
    assert not packs.has(one.target, KID)


# --- writing it ------------------------------------------------------------------------------


def test_writing_again_replaces_all_of_it(tmp_path: Path) -> None:
    packs = writer(tmp_path)
    folder = packs.write(pack())
    (folder / "stray.txt").write_text("x")
    packs.write(pack(kid=OTHER_KID, subject="CN=b", metadata=None))
    assert {path.name for path in folder.iterdir()} == ALL_FILES - {"metadata.xml"}
    assert (folder / "certificate.cer").read_bytes() == der("CN=b")
    assert packs.has(pack().target, OTHER_KID)
    assert [path.name for path in folder.parent.iterdir()] == [APP]  # hidden ones too


def test_writing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    writer(tmp_path).write(pack())
    before = everything(tmp_path)
    writer(tmp_path).write(pack())
    assert everything(tmp_path) == before


@pytest.mark.parametrize("former", [f".{APP}.new", f".{APP}.old"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_a_dead_process_left_is_removed(tmp_path: Path, former: str, kind: str) -> None:
    packs, one = writer(tmp_path / "root"), pack()
    folder = packs.write(one)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    left = folder.parent / former
    if kind == "folder":
        shutil.copytree(folder, left)
        (left / "pack.json").unlink()
        (left / "link").symlink_to(outside)
    elif kind == "file":
        left.write_text("x")
    else:
        left.symlink_to(outside)
    assert packs.has(one.target, KID)
    packs.write(one)
    assert [path.name for path in folder.parent.iterdir()] == [APP]
    assert packs.has(one.target, KID)
    assert (outside / "precious").read_text() == "x"


def test_a_crash_while_moving_leaves_no_half_pack(tmp_path: Path) -> None:
    """A process that died between its two moves has left the former pack aside."""
    packs, one = writer(tmp_path), pack()
    folder = packs.write(one)
    folder.rename(folder.parent / f".{APP}.old")
    assert not packs.has(one.target, KID)
    packs.write(one)
    assert packs.has(one.target, KID)
    assert [path.name for path in folder.parent.iterdir()] == [APP]


def test_packs_of_one_job_are_written_at_the_same_time(tmp_path: Path) -> None:
    packs = writer(tmp_path)
    apps = [f"0oa8ae0dv4RGQvjy{number:04}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda app: packs.write(pack(app=app)), apps))
    assert all(packs.has(pack(app=app).target, KID) for app in apps)
    assert {path.name for path in (tmp_path / "finance").iterdir()} == set(apps)


# --- what stands in the way ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "app"),
    [
        ("..", APP),
        (".", APP),
        ("", APP),
        ("a/b", APP),
        ("/etc", APP),
        (".hidden", APP),
        ("finance\n", APP),
        ("x" * 300, APP),
        ("finance", ".."),
        ("finance", ""),
        ("finance", "../../../etc/passwd"),
        ("finance", f"{APP}\n"),
        ("finance", "0oa8ae0dv4RGQvjyZ0h\0"),
    ],
)
def test_names_that_are_not_safe_are_refused(tmp_path: Path, job: str, app: str) -> None:
    packs, one = writer(tmp_path / "root"), pack(job=job, app=app)
    with pytest.raises(ReportError, match="cannot name a folder"):
        packs.write(one)
    with pytest.raises(ReportError, match="cannot name a folder"):
        packs.index_path(one.target)
    assert not packs.has(one.target, KID)
    assert not list(tmp_path.iterdir())


def test_no_pack_is_looked_for_outside_of_the_root(tmp_path: Path) -> None:
    folder = writer(tmp_path).write(pack())
    told = facts(folder) | {"job": ".."}
    (folder / "pack.json").write_text(json.dumps(told))
    folder.rename(tmp_path / APP)
    (tmp_path / "root").mkdir()
    assert not writer(tmp_path / "root").has(pack(job="..").target, KID)


def test_a_link_in_place_of_a_job_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    writer(tmp_path).write(pack(job="outside"))
    root.mkdir()
    (root / "finance").symlink_to(outside)
    before = everything(outside)
    with pytest.raises(ReportError, match="cannot be written"):
        writer(root).write(pack())
    assert not writer(root).has(pack().target, KID)
    assert everything(outside) == before


def test_a_link_in_place_of_a_pack_is_replaced(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    writer(outside).write(pack())
    before = everything(outside)
    (root / "finance").mkdir(parents=True)
    (root / "finance" / APP).symlink_to(outside / "finance" / APP)
    assert not writer(root).has(pack().target, KID)
    folder = writer(root).write(pack(kid=OTHER_KID))
    assert not folder.is_symlink()
    assert writer(root).has(pack().target, OTHER_KID)
    assert everything(outside) == before


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    writer(tmp_path / "root").write(pack())
    assert writer(tmp_path / "real").has(pack().target, KID)


@pytest.mark.parametrize("place", ["root", "root/finance"])
def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("x")
    with pytest.raises(ReportError, match=rf"finance/{APP}: ") as caught:
        writer(tmp_path / "root").write(pack())
    assert caught.value.hint
    assert (tmp_path / place).read_text() == "x"


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let files grow to so many bytes only, and report what is beyond as an error (EFBIG)."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_leaves_the_former_pack(tmp_path: Path) -> None:
    packs, one = writer(tmp_path), pack()
    folder = packs.write(one)
    before = everything(tmp_path)
    with full_after(100_000), pytest.raises(ReportError, match="cannot be written"):
        packs.write(pack(kid=OTHER_KID, metadata=b"x" * 200_000))
    assert everything(tmp_path) == before
    assert packs.has(one.target, KID)
    assert [path.name for path in folder.parent.iterdir()] == [APP]
