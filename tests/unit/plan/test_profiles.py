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
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.profiles import (
    EXAMPLE,
    MAX_BYTES,
    Profiles,
    load_profiles,
    profiles_path,
)

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
    assert (acme.url, acme.auth.token) == ("https://acme.okta.com", "env:ACME_TOKEN")
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
    (URL, "1:1: url: unknown key (it belongs under a profile)"),
    ("limits: {}", "1:1: limits: unknown key (known here: profiles)"),
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
            "(put the secret in an environment variable and write env:NAME)"
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
            "4:12: profiles.acme.auth: an OAuth service app (`client_id`) is not supported yet "
            "(write token: env:NAME)"
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
4:1: other: unknown key (known here: profiles)""",
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
    assert load_profiles(path).named("acme").auth.token == "env:ACME_TOKEN"


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
