"""The configuration file: what it becomes, and what is said of a wrong one."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from platformdirs import user_config_path
from pydantic import ValidationError

from orchestrator.errors import ConfigError, ExitCode, PlanError
from orchestrator.holders import MOST_SHARING
from orchestrator.plan.auth import BearerAuth, ServiceAppAuth, TokenAuth, auth_of, references_of
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.profiles import (
    EXAMPLE,
    MAX_BYTES,
    Profile,
    ProfileAuth,
    Profiles,
    WayToOrg,
    load_profiles,
    own_profiles,
    profiles_path,
    project_file,
)
from orchestrator.plan.proxies import ProxySpec
from orchestrator.plan.references import ReferenceKind, read_reference

APP, OTHER_APP = "0oa8ae1t5yev2ajDs0h7", "0oa8ae0dv4RGQvjyZ0h7"
TOKEN = "00hunter2-hunter2-hunter2-hunter2-hunter2-"  # as long as Okta's
URL = "url: https://acme.okta.com"
PLAN = (
    "version: 1\nname: plan\njobs:\n  - name: one\n"
    f"    source: {{app: {APP}, key: {'k' * 43}}}\n    targets: [{OTHER_APP}]\n"
)


def file_with(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal_of(path: Path) -> PlanError:
    with pytest.raises(PlanError) as caught:
        load_profiles(path)
    assert caught.value.exit_code == ExitCode.INVALID
    return caught.value


def problems_of(folder: Path, text: str | bytes) -> list[str]:
    """Return what is said of a wrong file, without the name of the file."""
    path = file_with(folder, text)
    return [str(problem).removeprefix(f"{path}:") for problem in refusal_of(path).problems]


def test_a_profile_with_everything(tmp_path: Path) -> None:
    path = file_with(
        tmp_path,
        f"""\
profiles:
  acme:
    url: https://acme.okta.com/
    auth: {{token: env:ACME_TOKEN}}
    protected: [{APP}, {OTHER_APP}]
    most_sharing: 7
  acme-emea: {{url: https://acme-emea.okta.com}}
""",
    )
    profiles = load_profiles(path)
    assert profiles.file == path
    assert list(profiles.by_name) == ["acme", "acme-emea"]
    acme, emea = profiles.named("acme"), profiles.named("acme-emea")
    assert (acme.url, str(acme.auth.token)) == ("https://acme.okta.com", "env:ACME_TOKEN")
    assert (acme.protected, acme.most_sharing) == ((APP, OTHER_APP), 7)
    assert (emea.auth.token, emea.protected, emea.most_sharing) == (None, (), MOST_SHARING)
    with pytest.raises(ValidationError):
        acme.url = "https://other.okta.com"  # type: ignore[misc] # frozen


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "profiles: {}\n", "{}\n"])
def test_a_file_without_profiles(tmp_path: Path, text: str) -> None:
    assert not load_profiles(file_with(tmp_path, text)).by_name


def test_a_file_that_is_not_there_has_no_profiles(tmp_path: Path) -> None:
    path = tmp_path / "no" / "config.yaml"
    assert load_profiles(path) == Profiles(file=path)


def acme_with(line: str) -> str:
    """Return a configuration whose only profile has one more line, its fourth."""
    return f"profiles:\n  acme:\n    {URL}\n    {line}\n"


WRONG = [
    ("profile: {}", "1:1: profile: unknown key (did you mean `profiles`?)"),
    (URL, "1:1: url: unknown key (it belongs under a profile or under proxy of a profile)"),
    ("limits: {}", "1:1: limits: unknown key (known here: default, profiles)"),
    ("profiles:", "1:1: profiles: has no value (give it one, or remove the line)"),
    (
        "profiles: [acme]",
        "1:11: profiles: must be a mapping (write it as key: value lines below)",
    ),
    (
        "- acme",
        f"1:1: a configuration is a mapping, not a single value or a list (begin with {EXAMPLE})",
    ),
    (
        "profiles: {}\n---\n",
        (
            "2:1: a second document starts here "
            "(a file is one document: remove --- and what follows, or make it a file)"
        ),
    ),
    (
        acme_with(URL),
        (
            "4:5: profiles.acme.url: this key is already given on line 3, column 5 "
            "(keep one of the two)"
        ),
    ),
    (
        "profiles: {acme: {}}",
        (
            "1:18: profiles.acme.url: is missing "
            "(write url: and the address of the org, such as https://acme.okta.com)"
        ),
    ),
    (
        "profiles: {acme: {url: http://acme.okta.com}}",
        (
            "1:24: profiles.acme.url: must start with https://: over http:// the token could be "
            "read on the way"
        ),
    ),
    (
        f"profiles:\n  acme corp: {{{URL}}}",
        (
            "2:3: profiles.'acme corp': is not the name of a profile (names have 1 to 32 letters, "
            "digits, dots, dashes and underscores, a letter or digit first, and do not start with "
            "00)"
        ),
    ),
    (
        acme_with(f"auth: {{token: {TOKEN}}}"),
        (
            "4:19: profiles.acme.auth.token: must be a reference, never the secret itself "
            "(write where it is: env:NAME, file:/path, cmd:[program, argument] or "
            "keyring:service/name)"
        ),
    ),
    (
        acme_with(f"token: {TOKEN}"),
        "4:5: profiles.acme.token: unknown key (it belongs under auth of a profile)",
    ),
    (
        acme_with(f"api_key: {TOKEN}"),
        (
            "4:5: profiles.acme.api_key: unknown key "
            "(the only secret in a profile is a reference: auth: {token: env:NAME})"
        ),
    ),
    (
        acme_with(f"auth: {{client_id: {TOKEN}}}"),
        (
            "4:11: profiles.acme.auth.private_key: is missing (its key by reference, such as "
            "private_key: file:~/keys/acme.pem)\n"
            "4:23: profiles.acme.auth.client_id: is not a client id (such as 0oa9krv5zuGXbn1Wd0h7)"
        ),
    ),
    (
        acme_with(f"protected: [{APP}, {APP}]"),
        "4:39: profiles.acme.protected[1]: is listed twice",
    ),
    (
        acme_with(f"protected: {APP}"),
        "4:16: profiles.acme.protected: must be a list (write it as lines that start with a dash)",
    ),
    (
        acme_with("most_sharing: 0"),
        "4:19: profiles.acme.most_sharing: must be a whole number of at least 1, not '0'",
    ),
    (  # all at once, in the order of the file
        f"""\
profiles:
  acme: {{{URL}, urll: x, most_sharng: 3}}
  emea: [{TOKEN}]
other: {TOKEN}
""",
        """\
2:38: profiles.acme.urll: unknown key (did you mean `url`?)
2:47: profiles.acme.most_sharng: unknown key (did you mean `most_sharing`?)
3:9: profiles.emea: must be a mapping (write it as key: value lines below)
4:1: other: unknown key (known here: default, profiles)""",
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_a_wrong_file_says_what_is_wrong_and_where(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert problems_of(tmp_path, text) == expected.splitlines()
    error = refusal_of(tmp_path / "config.yaml")
    assert error.diagnostics().endswith(" in the configuration")
    assert "hunter2" not in "".join(traceback.format_exception(error)) + error.diagnostics()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"profiles: \xff", "1:11: the byte 0xff is not UTF-8 (save the file as UTF-8)"),
        ("profiles: {", "2:1: not valid YAML"),
        (b"#" * (MAX_BYTES + 1), "1:1: the configuration is larger than 4 MiB"),
    ],
)
def test_a_file_that_is_no_configuration_at_all(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    [problem] = problems_of(tmp_path, text)
    assert problem.startswith(said)
    assert refusal_of(tmp_path / "config.yaml").message == "1 problem in the configuration"


def test_what_is_there_and_cannot_be_read_is_not_taken_for_nothing(tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "gone.yaml")
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    said = {path: refusal_of(path).problems[0].message for path in (link, pipe, tmp_path)}
    assert said[link] == "the configuration cannot be read: there is no such file"
    assert "a named pipe, not a regular file" in said[pipe]
    assert "a directory, not a regular file" in said[tmp_path]


def test_thousands_of_orgs_are_profiles_like_any(tmp_path: Path) -> None:
    lines = "".join(f"  org-{n}: {{url: https://org-{n}.okta.com}}\n" for n in range(2_000))
    profiles = load_profiles(file_with(tmp_path, f"profiles:\n{lines}"))
    assert profiles.named("org-1999").url == "https://org-1999.okta.com"
    with pytest.raises(ConfigError) as caught:
        profiles.named("nothing-like-it")
    assert str(caught.value.hint).endswith("org-9, ...")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("acmee", "no profile is named acmee", "did you mean acme?"),
        ("ACME", "no profile is named ACME", "did you mean acme?"),
        ("zzz", "no profile is named zzz", "known there: acme, globex"),
        (TOKEN, "what is given is not the name of a profile", "names have 1 to 32 letters"),
        ("", "what is given is not the name of a profile", "names have 1 to 32 letters"),
    ],
)
def test_a_name_that_no_profile_has(tmp_path: Path, name: str, message: str, hint: str) -> None:
    text = f"profiles: {{acme: {{{URL}}}, globex: {{url: https://globex.okta.com}}}}\n"
    profiles = load_profiles(file_with(tmp_path, text))
    with pytest.raises(ConfigError) as caught:
        profiles.named(name)
    assert caught.value.message == message
    assert str(caught.value.hint).startswith(hint)
    assert "hunter2" not in caught.value.diagnostics()
    if name and name != TOKEN:
        assert f"file: {profiles.file}" in caught.value.diagnostics()


def test_where_there_are_no_profiles_it_is_said_how_to_write_one(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError) as caught:
        load_profiles(path).named("acme")
    assert caught.value.hint == f"write there {EXAMPLE}"
    path.write_text(EXAMPLE)
    assert str(load_profiles(path).named("acme").auth.token) == "env:ACME_TOKEN"


def test_where_the_configuration_is(tmp_path: Path) -> None:
    given, named = tmp_path / "given.yaml", tmp_path / "named.yaml"
    given.touch()
    named.touch()
    environ = {"OKTA_KEYS_CONFIG": f" {named}\n"}
    assert profiles_path(given, environ) == given
    assert profiles_path(None, environ) == named
    usual = user_config_path("okta-keys", appauthor=False) / "config.yaml"
    for nothing in ({}, {"OKTA_KEYS_CONFIG": " "}):
        assert profiles_path(None, nothing) == usual


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone.yaml"
    with pytest.raises(ConfigError, match="--config names a file that does not exist"):
        profiles_path(gone, {})
    with pytest.raises(ConfigError, match="OKTA_KEYS_CONFIG names a file that does not") as caught:
        profiles_path(None, {"OKTA_KEYS_CONFIG": str(gone)})
    assert str(gone) in caught.value.diagnostics()


def test_profiles_of_one_org_are_found_by_its_address(tmp_path: Path) -> None:
    text = (
        "profiles:\n  one: {url: https://acme.okta.com}\n  two: {url: https://ACME.okta.com:443/}\n"
        "  other: {url: https://globex.okta.com}\n"
    )
    profiles = load_profiles(file_with(tmp_path, text))
    assert list(profiles.of_org("https://Acme.okta.com/")) == ["one", "two"]
    assert not profiles.of_org("https://acme.okta-emea.com")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://acme.okta.com", "https://acme.okta.com/", True),
        ("https://acme.okta.com", "https://ACME.Okta.com", True),
        ("https://acme.okta.com", "https://acme.okta.com:443", True),
        ("https://acme.okta.com", "https://acme.okta.com:444", False),
        ("https://acme.okta.com", "https://acme.oktapreview.com", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081", False),
        ("http://localhost", "https://localhost", False),
        ("http://localhost:80", "http://localhost/", True),
    ],
)
def test_which_addresses_are_of_one_org(one: str, other: str, *, same: bool) -> None:
    assert is_same_org(one, other) is is_same_org(other, one) is same


@pytest.mark.parametrize("name", ["acme", "acme-emea", "7", "a" * 32, "'on'", "x.y_z"])
def test_a_plan_may_name_a_profile(name: str) -> None:
    plan = load_plan_text(f"{PLAN}org: {name}\n".encode(), file="plan.yaml", folder=Path())
    assert plan.org == name.strip("'")


@pytest.mark.parametrize(
    ("org", "said"),
    [
        ("on", "'on' is a truth value to many YAML tools"),
        ("acme corp", "is not the name of a profile (names have 1 to 32"),
        ("a" * 33, "is not the name of a profile"),
        (TOKEN, "is not the name of a profile"),
        (f"[{TOKEN}]", "must be the name of a profile, not a list"),
        (f"https://{TOKEN}@acme.okta.com", "is an address, not the name of a profile"),
    ],
)
def test_what_is_not_the_name_of_a_profile(org: str, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        load_plan_text(f"{PLAN}org: {org}\n".encode(), file="plan.yaml", folder=Path())
    [problem] = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (7, 6, "org")
    assert str(problem).startswith(f"plan.yaml:7:6: org: {said}")
    assert "hunter2" not in caught.value.diagnostics()


@pytest.mark.parametrize("key", ["profiles", "protected", "most_sharing"])
def test_a_plan_is_not_told_of_the_keys_of_a_configuration(key: str) -> None:
    with pytest.raises(PlanError) as caught:
        load_plan_text(f"{PLAN}{key}: x\n".encode(), file="plan.yaml", folder=Path())
    [problem] = caught.value.problems
    assert problem.path == key
    assert str(problem.hint).startswith("known here: version, name, org, jobs")


def test_the_way_to_an_org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/admin")
    text = f"""\
profiles:
  plain: {{{URL}}}
  proxied: {{{URL}, proxy: http://proxy.acme.com:8080/}}
  known:
    {URL}
    proxy: {{url: "https://[::1]:3128", user: svc, password: "cmd:[pass, proxy]"}}
    ca_file: ca/bundle.pem
    client_cert: ~/tls/acme.pem
    client_key: /etc/tls/acme.key
"""
    profiles = load_profiles(file_with(tmp_path, text))
    assert profiles.named("plain").way == WayToOrg()
    assert profiles.named("proxied").way == WayToOrg(proxy="http://proxy.acme.com:8080")
    known = profiles.named("known")
    assert known.folder == tmp_path
    assert known.way == WayToOrg(
        proxy="https://[::1]:3128",
        proxy_user="svc",
        proxy_password=read_reference("cmd:[pass, proxy]"),
        ca_file=tmp_path / "ca" / "bundle.pem",
        client_cert=Path("/home/admin/tls/acme.pem"),
        client_key=Path("/etc/tls/acme.key"),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("proxy: proxy.acme.com", "4:12: profiles.acme.proxy: must be an address such as http://p"),
        ("proxy: socks5://a:1080", "4:12: profiles.acme.proxy: is a SOCKS proxy, which is not"),
        ("proxy: ftp://a:1080", "4:12: profiles.acme.proxy: must start with http:// or https://"),
        (f"proxy: http://svc:{TOKEN}@a:1", "4:12: profiles.acme.proxy: must not contain a user"),
        (f"proxy: http://a:1/{TOKEN}", "4:12: profiles.acme.proxy: must end after the host"),
        ("proxy: http://a:99999", "4:12: profiles.acme.proxy: must be an address such as http://p"),
        ("proxy: http://a b", "4:12: profiles.acme.proxy: must be an address such as http://p"),
        ("proxy: http://${HOST}", "4:12: profiles.acme.proxy: has a host that cannot be read"),
        ("proxy: [a]", "4:12: profiles.acme.proxy: must be an address, not a list"),
        ("proxy: {user: a}", "4:12: profiles.acme.proxy.url: is missing"),
        (
            f"proxy: {{url: http://a:1, user: svc, password: {TOKEN}}}",
            "4:51: profiles.acme.proxy.password: must be a reference, never the secret itself",
        ),
        (
            "proxy: {url: http://a:1, password: env:P}",
            "4:40: profiles.acme.proxy.password: is of no user (write user: beside it)",
        ),
        (
            "proxy: {url: http://a:1, user: 'a:b'}",
            "4:36: profiles.acme.proxy.user: is not the name of a user",
        ),
        (
            f"proxy: {{url: http://a:1, {TOKEN}: x}}",
            "4:30: profiles.acme.proxy: holds an unknown key (known here: url, user, password)",
        ),
        ("ca_file: ' '", "4:14: profiles.acme.ca_file: ' ' is not a path"),
        ("client_key: k.pem", "4:17: profiles.acme.client_key: needs the certificate that it is f"),
    ],
)
def test_a_way_that_cannot_be_taken(tmp_path: Path, line: str, said: str) -> None:
    [problem] = problems_of(tmp_path, acme_with(line))
    assert problem.startswith(said)
    assert "hunter2" not in problem


def test_the_profile_of_whoever_names_none(tmp_path: Path) -> None:
    text = f"default: acme\nprofiles: {{acme: {{{URL}}}}}\n"
    assert load_profiles(file_with(tmp_path, text)).default == "acme"
    assert load_profiles(file_with(tmp_path, "profiles: {}\n")).default is None
    text = f"profiles: {{acme: {{{URL}}}}}\ndefault: acmee\n"
    assert problems_of(tmp_path, text) == [
        "2:10: default: no profile is named acmee (did you mean acme?)"
    ]
    assert problems_of(tmp_path, f"default: {TOKEN}\n")[0].startswith(
        "1:10: default: is not the name of a profile"
    )
    elsewhere = load_profiles(file_with(tmp_path, "default: globex\n"), others=["globex"])
    assert elsewhere.default == "globex"


def test_the_configuration_beside_a_plan(tmp_path: Path) -> None:
    assert project_file(tmp_path) is None
    shown = tmp_path / "okta-keys.yaml"
    shown.write_text(EXAMPLE)
    assert project_file(tmp_path) == shown
    assert project_file(tmp_path, plan=shown) is None  # a plan of that name is a plan
    assert project_file(tmp_path, plan=tmp_path / "plan.yaml") == shown
    (tmp_path / "below").mkdir()
    assert project_file(tmp_path / "below") is None
    hidden = shown.rename(tmp_path / ".okta-keys.yaml")
    assert project_file(tmp_path) == hidden
    shown.write_text(EXAMPLE)
    with pytest.raises(ConfigError, match="there are two configurations"):
        project_file(tmp_path)


def found_profiles(path: Path) -> Profiles:
    return load_profiles(path, is_named=False)


def test_a_configuration_that_anybody_could_have_put_there(tmp_path: Path) -> None:
    path = tmp_path / "okta-keys.yaml"
    path.write_text(EXAMPLE)
    path.chmod(0o664)
    assert found_profiles(path).by_name
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="could have been written by anybody") as caught:
        found_profiles(path)
    assert f"chmod o-w {path}" in str(caught.value.hint)
    assert load_profiles(path).by_name, "whoever names a file has chosen it"


def test_the_configuration_in_its_usual_place_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "okta-keys" / "config.yaml"
    path.parent.mkdir()
    path.write_text(EXAMPLE)
    path.chmod(0o602)
    with pytest.raises(ConfigError, match="could have been written by anybody"):
        own_profiles(None, {})
    assert own_profiles(path, {}).by_name
    assert own_profiles(None, {"OKTA_KEYS_CONFIG": str(path)}).by_name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_stranger_configures_nothing(tmp_path: Path) -> None:
    path = tmp_path / "okta-keys.yaml"
    path.write_text(EXAMPLE)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="could have been written by anybody"):
        found_profiles(path)
    os.chown(tmp_path, 12345, -1)  # the folder is theirs, and so is the plan in it
    assert found_profiles(path).by_name


def test_the_shipped_example_says_everything() -> None:
    example = Path(__file__).parents[3] / "examples" / "config.yaml"
    profiles = load_profiles(example)
    assert profiles.default in profiles.by_name
    ways = [auth_of(profile.auth) for profile in profiles.by_name.values()]
    assert {type(way) for way in ways} == {TokenAuth, BearerAuth, ServiceAppAuth}
    kinds = {each.kind for way in ways if way for each in references_of(way)}
    assert kinds == set(ReferenceKind)
    text = example.read_text()
    for part in (Profile, ProfileAuth, ProxySpec):
        assert [name for name in part.model_fields if f"{name}:" not in text] == []
