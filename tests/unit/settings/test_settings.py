"""Settings from every source: who decides, what may be combined, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, InputError, PlanError
from orchestrator.okta.credentials import STANDARD_SCOPES, ApiToken, BearerToken, ServiceApp
from orchestrator.okta.http import Timeouts
from orchestrator.plan.auth import TokenAuth
from orchestrator.plan.load import load_plan
from orchestrator.plan.references import variable_reference
from orchestrator.secret import Secret
from orchestrator.settings.access import OrgSettings, credential_for, org_settings
from orchestrator.settings.sources import Given, GivenCredential, Source

ACME, GLOBEX = "https://acme.okta.com", "https://globex.okta.com"
TOKEN, PASSWORD = "00canary-token", "hunter2"
PEM = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"
JWK = '{"kty":"RSA","d":"canary"}'
CLIENT_ID = "0oa9krv5zuGXbn1Wd0h7"
APP = {"OKTA_CLIENT_CLIENTID": CLIENT_ID, "OKTA_CLIENT_PRIVATEKEY": PEM}
PROFILE = f"profiles: {{acme: {{url: {ACME}, auth: {{token: env:ACME_TOKEN}}}}}}\n"


@dataclass(frozen=True)
class Desk:
    """A user with a home, a current folder, and an environment."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def here(self) -> Path:
        return self.root / "here"

    def set(self, **variables: str) -> Desk:
        self.environ.update(variables)
        return self

    def write(self, path: str, text: str, mode: int = 0o600) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def sdk_file(
        self, client: str, *, path: str = "home/.okta/okta.yaml", mode: int = 0o600
    ) -> Path:
        return self.write(path, f"okta:\n  client: {{{client}}}\n", mode)

    def plan(self, org: str | None = None) -> Path:
        text = "version: 1\nname: plan\n" + (f"org: {org}\n" if org else "")
        text += "jobs:\n  - name: job\n    targets: [0oa8ae0dv4RGQvjyZ0h7]\n"
        text += f"    source: {{app: 0oa8ae1t5yev2ajDs0h7, key: {'k' * 43}}}\n"
        return self.write("plans/plan.yaml", text)

    def settings(self, plan: Path | None = None, *, profile: str | None = None) -> OrgSettings:
        config = self.root / "config.yaml"
        environ = {"HOME": str(self.home), **self.environ}
        if config.exists():
            environ["OKTA_KEYS_CONFIG"] = str(config)
        return org_settings(
            load_plan(plan) if plan else None, environ, profile=profile, folder=self.here
        )

    def refusal(self, plan: Path | None = None) -> InputError:
        with pytest.raises(InputError) as caught:
            self.settings(plan).access()
        text = caught.value.diagnostics()
        assert "canary" not in text
        assert PASSWORD not in text
        return caught.value


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "here").mkdir()
    return Desk(tmp_path)


def said(settings: OrgSettings) -> dict[str, tuple[str, str]]:
    return {each.name: (each.value, each.source) for each in settings.told()}


# --- which org -----------------------------------------------------------------------------------


def test_sources_name_the_org_in_their_order(desk: Desk) -> None:
    desk.set(OKTA_CLIENT_ORGURL="https://client.okta.com", OKTA_ORG_NAME="terraform")
    project = "default: p\nprofiles: {p: {url: https://project.okta.com}}\n"
    desk.write("plans/.okta-keys.yaml", project)
    desk.sdk_file("orgUrl: https://folder.okta.com", path="here/okta.yaml")
    desk.write("config.yaml", "default: u\nprofiles: {u: {url: https://user.okta.com}}\n")
    desk.sdk_file("orgUrl: https://home.okta.com")
    plan, named = desk.plan(), desk.plan("{url: https://plan.okta.com}")
    assert desk.settings(named, profile=None).url.value == "https://plan.okta.com"
    plan = desk.plan()
    removals = (
        ("client", lambda: desk.environ.pop("OKTA_CLIENT_ORGURL")),
        ("terraform", lambda: desk.environ.pop("OKTA_ORG_NAME")),
        ("project", (desk.root / "plans/.okta-keys.yaml").unlink),
        ("folder", (desk.here / "okta.yaml").unlink),
        ("user", (desk.root / "config.yaml").unlink),
        ("home", (desk.home / ".okta/okta.yaml").unlink),
    )
    for name, remove in removals:
        assert desk.settings(plan).url.value == f"https://{name}.okta.com"
        remove()
    assert "which org?" in desk.refusal(plan).message


def test_a_default_profile_has_no_say_where_another_is_named(desk: Desk) -> None:
    desk.write(
        "config.yaml",
        f"default: acme\nprofiles: {{acme: {{url: {ACME}, auth: {{token: env:ACME_TOKEN}}, "
        f"proxy: 'http://proxy:1'}}, reader: {{url: {ACME}}}}}\n",
    )
    desk.set(ACME_TOKEN="00of-acme", OKTA_CLIENT_TOKEN=TOKEN)
    access = desk.settings(profile="reader").access()
    assert access.credential == ApiToken(token=Secret(TOKEN))
    assert access.network.proxy is None
    assert desk.settings().access().network.proxy == "http://proxy:1"


def test_without_a_plan_no_project_is_looked_for(desk: Desk) -> None:
    desk.write("here/.okta-keys.yaml", f"default: p\nprofiles: {{p: {{url: {ACME}}}}}\n")
    assert "which org?" in desk.refusal().message


def test_a_profile_of_the_project_hides_one_of_the_user_but_not_what_that_protects(
    desk: Desk,
) -> None:
    desk.write(
        "config.yaml",
        f"profiles: {{acme: {{url: {ACME}, auth: {{token: env:USER_TOKEN}}, "
        "protected: [0oa8ae0dv4RGQvjyZ0h7]}}\n",
    )
    desk.write(
        "plans/okta-keys.yaml",
        f"profiles: {{acme: {{url: {ACME}, auth: {{token: 'file:token.txt'}}}}}}\n",
    )
    desk.write("plans/token.txt", f"{TOKEN}\n")
    access = desk.settings(desk.plan("acme")).access()
    assert access.credential == ApiToken(token=Secret(TOKEN))
    assert access.protected == {"0oa8ae0dv4RGQvjyZ0h7"}


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"OKTA_ORG_NAME": "acme"}, ACME),
        (
            {"OKTA_ORG_NAME": "acme", "OKTA_BASE_URL": "oktapreview.com"},
            "https://acme.oktapreview.com",
        ),
    ],
)
def test_the_org_of_terraform(desk: Desk, variables: Mapping[str, str], url: str) -> None:
    desk.set(**variables, OKTA_API_TOKEN=TOKEN)
    assert desk.settings().access().url == url


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OKTA_BASE_URL": "okta.com"}, "OKTA_BASE_URL is set, and OKTA_ORG_NAME is not"),
        ({"OKTA_ORG_NAME": "acme-admin"}, "address of the admin console"),
        ({"OKTA_ORG_NAME": f"me:{PASSWORD}@acme"}, "user name or a password"),
        ({"OKTA_ORG_NAME": "acme.okta.com/x"}, "must end after the host"),
    ],
)
def test_a_wrong_org_of_terraform_is_refused(
    desk: Desk, variables: Mapping[str, str], message: str
) -> None:
    assert message in desk.set(**variables, OKTA_API_TOKEN=TOKEN).refusal().message


# --- credentials ---------------------------------------------------------------------------------


def test_the_credentials_of_the_variables(desk: Desk) -> None:
    key = desk.write("here/key.pem", PEM)
    token = Secret(TOKEN)
    app = ServiceApp(client_id=CLIENT_ID, private_key=Secret(PEM))
    scopes = ("okta.apps.read", "okta.apps.manage")
    url = {"OKTA_CLIENT_ORGURL": ACME}
    mode = "OKTA_CLIENT_AUTHORIZATIONMODE"
    terraform = {"OKTA_ORG_NAME": "acme", "OKTA_API_CLIENT_ID": CLIENT_ID}
    cases: list[tuple[dict[str, str], object]] = [
        ({"OKTA_CLIENT_TOKEN": TOKEN}, ApiToken(token=token)),
        ({"OKTA_CLIENT_TOKEN": TOKEN, mode: "SSWS"}, ApiToken(token=token)),
        ({"OKTA_CLIENT_TOKEN": TOKEN, mode: "bearer"}, BearerToken(token=token)),
        ({"OKTA_CLIENT_TOKEN": TOKEN, mode: "SSWS", **APP}, ApiToken(token=token)),
        (APP, app),
        ({**APP, mode: "PrivateKey", "OKTA_CLIENT_TOKEN": TOKEN}, app),
        ({**APP, "OKTA_CLIENT_PRIVATEKEY": PEM.replace("\n", "\\n")}, app),
        ({**APP, "OKTA_CLIENT_PRIVATEKEY": "key.pem"}, app),
        ({**APP, "OKTA_CLIENT_PRIVATEKEY": str(key)}, app),
        (
            {**APP, "OKTA_CLIENT_PRIVATEKEY": JWK},
            ServiceApp(client_id=CLIENT_ID, private_key=Secret(JWK)),
        ),
        (
            {
                **APP,
                "OKTA_CLIENT_SCOPES": "okta.apps.read, okta.apps.manage",
                "OKTA_CLIENT_PRIVATEKEYID": "kid-1",
                "OKTA_CLIENT_DPOPENABLED": "true",
            },
            ServiceApp(
                client_id=CLIENT_ID,
                private_key=Secret(PEM),
                key_id="kid-1",
                scopes=scopes,
                dpop=True,
            ),
        ),
        ({"OKTA_API_TOKEN": TOKEN}, ApiToken(token=token)),
        ({"OKTA_ACCESS_TOKEN": TOKEN}, BearerToken(token=token)),
        (
            {
                **terraform,
                "OKTA_API_PRIVATE_KEY": PEM,
                "OKTA_API_PRIVATE_KEY_ID": "kid-1",
                "OKTA_API_SCOPES": "okta.apps.read okta.apps.manage",
            },
            ServiceApp(client_id=CLIENT_ID, private_key=Secret(PEM), key_id="kid-1", scopes=scopes),
        ),
    ]
    for variables, expected in cases:
        settings = Desk(desk.root, {**url, **variables}).settings()
        assert settings.access().credential == expected, sorted(variables)
        assert "canary" not in repr(settings.told())


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"OKTA_CLIENT_AUTHORIZATIONMODE": "PrivateKey", "OKTA_CLIENT_TOKEN": TOKEN},
            "OKTA_CLIENT_AUTHORIZATIONMODE is PrivateKey, and OKTA_CLIENT_CLIENTID is not set",
        ),
        (
            {"OKTA_CLIENT_CLIENTID": CLIENT_ID},
            "OKTA_CLIENT_CLIENTID is set, and OKTA_CLIENT_PRIVATEKEY is not set",
        ),
        (
            {"OKTA_CLIENT_PRIVATEKEY": PEM},
            "OKTA_CLIENT_PRIVATEKEY is set, and OKTA_CLIENT_CLIENTID is not set",
        ),
        (
            {**APP, "OKTA_CLIENT_TOKEN": TOKEN},
            "OKTA_CLIENT_TOKEN and OKTA_CLIENT_CLIENTID and OKTA_CLIENT_PRIVATEKEY are set: which",
        ),
        (
            {"OKTA_CLIENT_AUTHORIZATIONMODE": "Bearer"},
            "OKTA_CLIENT_AUTHORIZATIONMODE is Bearer, and OKTA_CLIENT_TOKEN is not set",
        ),
        (
            {"OKTA_CLIENT_AUTHORIZATIONMODE": f"JWT{TOKEN}", "OKTA_CLIENT_TOKEN": TOKEN},
            "OKTA_CLIENT_AUTHORIZATIONMODE is none that is known here",
        ),
        (
            {**APP, "OKTA_CLIENT_PRIVATEKEY": "MIIEvAcanary"},
            "OKTA_CLIENT_PRIVATEKEY is neither a private key (PEM or JWK) nor the path of a file",
        ),
        ({**APP, "OKTA_CLIENT_SCOPES": "okta.apps.read canary"}, "OKTA_CLIENT_SCOPES is not an"),
        ({**APP, "OKTA_CLIENT_CLIENTID": TOKEN}, "OKTA_CLIENT_CLIENTID is not a client id"),
        ({**APP, "OKTA_CLIENT_DPOPENABLED": "maybe"}, "is neither true nor false"),
        (
            {"OKTA_API_TOKEN": TOKEN, "OKTA_ACCESS_TOKEN": TOKEN},
            "OKTA_API_TOKEN, OKTA_ACCESS_TOKEN are set: which of them is meant?",
        ),
        (
            {"OKTA_API_PRIVATE_KEY": PEM},
            "OKTA_API_PRIVATE_KEY is set, and OKTA_API_CLIENT_ID is not set",
        ),
    ],
)
def test_what_is_half_set_or_contradicts_itself_is_named(
    desk: Desk, variables: Mapping[str, str], message: str
) -> None:
    error = desk.set(OKTA_CLIENT_ORGURL=ACME, **variables).refusal()
    assert isinstance(error, ConfigError)
    assert message in error.message
    assert error.hint


def test_a_stray_variable_stops_nobody_who_does_not_need_it(desk: Desk) -> None:
    desk.set(ACME_TOKEN=TOKEN, OKTA_CLIENT_CLIENTID=CLIENT_ID, OKTA_BASE_URL="okta.com")
    desk.write("home/.okta/okta.yaml", "okta: [\n")
    desk.write("config.yaml", PROFILE)
    assert desk.settings(profile="acme").access().credential == ApiToken(token=Secret(TOKEN))


def test_a_file_that_others_may_read_is_no_place_for_a_key(desk: Desk) -> None:
    desk.write("here/key.pem", PEM, 0o644)
    desk.set(OKTA_CLIENT_ORGURL=ACME, **{**APP, "OKTA_CLIENT_PRIVATEKEY": "key.pem"})
    assert "chmod 600" in str(desk.refusal().hint)


# --- what may be combined ------------------------------------------------------------------------


def source(name: str, url: str | None, *, has: bool, borrows: bool = True) -> Source:
    what = TokenAuth(token=variable_reference(name.upper()))
    return Source(
        name=name,
        url=Given(value=url, source=name) if url else None,
        credential=GivenCredential(what=what, folder=Path(), source=name) if has else None,
        borrows=borrows,
    )


def test_a_credential_never_goes_to_an_org_that_its_source_does_not_mean() -> None:
    """All combinations of five sources: what each says of the org, and whether it has a token."""
    names = ("profile", "the environment", "terraform", "folder", "home")
    says = tuple(product((None, ACME, GLOBEX), (False, True)))
    taken = 0
    for combination in product(says, repeat=len(names)):
        sources = [
            source(name, url, has=has, borrows=name != "folder")
            for name, (url, has) in zip(names, combination, strict=True)
        ]
        owner = next((each for each in sources if each.url), None)
        if owner is None or not isinstance(owner.url, Given):
            continue
        credential = credential_for(owner.url.value, owner, sources)
        if not isinstance(credential, GivenCredential):
            continue
        taken += 1
        giver = next(each for each in sources if each.name == credential.source)
        is_meant = isinstance(giver.url, Given) and giver.url.value == owner.url.value
        if owner.name == "folder":
            assert is_meant
        assert is_meant or giver.url is None
        if owner.credential is not None:
            assert giver is owner
    assert taken > 1000


@pytest.mark.parametrize(
    ("client", "path", "variables", "found"),
    [
        (f"orgUrl: {ACME}", "home/.okta/okta.yaml", {}, True),
        (f"orgUrl: {ACME}", "here/okta.yaml", {}, False),
        (f"orgUrl: {ACME}", "here/.okta.yaml", {}, False),
        (f"orgUrl: {ACME}, token: mine", "here/okta.yaml", {}, True),
        ("token: mine", "home/.okta/okta.yaml", {"OKTA_CLIENT_ORGURL": GLOBEX}, True),
        ("token: mine", "here/okta.yaml", {"OKTA_CLIENT_ORGURL": GLOBEX}, True),
    ],
)
def test_who_downloads_a_folder_and_works_there_gives_no_token_away(
    desk: Desk, client: str, path: str, variables: Mapping[str, str], found: bool
) -> None:
    desk.sdk_file(client, path=path)
    desk.set(OKTA_CLIENT_TOKEN=TOKEN, **variables)
    if found:
        assert isinstance(desk.settings().access().credential, ApiToken)
        return
    error = desk.refusal()
    assert "how to sign in" in error.message


def test_the_token_of_the_environment_is_that_of_a_profile_without_one_of_the_same_org(
    desk: Desk,
) -> None:
    desk.write("config.yaml", f"profiles: {{acme: {{url: {ACME}}}}}\n")
    desk.set(OKTA_CLIENT_ORGURL=ACME, OKTA_CLIENT_TOKEN=TOKEN)
    settings = desk.settings(profile="acme")
    assert settings.access().credential == ApiToken(token=Secret(TOKEN))
    desk.set(OKTA_CLIENT_ORGURL=GLOBEX)
    with pytest.raises(ConfigError, match="is for the org that OKTA_CLIENT_ORGURL names"):
        desk.settings(profile="acme").access()


def test_a_plan_that_says_only_how_to_sign_in_is_not_sent_where_a_folder_says(desk: Desk) -> None:
    plan = desk.plan("{auth: {token: env:MINE}}")
    desk.set(MINE=TOKEN)
    desk.sdk_file(f"orgUrl: {ACME}, token: theirs", path="here/okta.yaml")
    assert "name the org in the plan" in str(desk.refusal(plan).hint)
    desk.set(OKTA_CLIENT_ORGURL=GLOBEX, OKTA_CLIENT_TOKEN="other")
    access = desk.settings(plan).access()
    assert (access.url, access.credential) == (GLOBEX, ApiToken(token=Secret(TOKEN)))


# --- the file of the SDKs ------------------------------------------------------------------------


def test_the_file_of_the_sdks(desk: Desk) -> None:
    desk.write(
        "home/.okta/okta.yaml",
        f"""\
okta:
  client:
    orgUrl: {ACME}/
    authorizationMode: PrivateKey
    clientId: {CLIENT_ID}
    privateKeyId: kid-1
    scopes: [okta.apps.read, okta.apps.manage]
    privateKey: |
      {PEM.replace(chr(10), chr(10) + "      ")}
    connectionTimeout: 5
    requestTimeout: 0
    rateLimit: {{maxRetries: 4}}
    proxy: {{host: proxy.acme.com, port: 3128, username: me, password: {PASSWORD}}}
    telemetry: {{sent: false}}
""",
    )
    settings = desk.settings()
    access = settings.access()
    assert access.credential == ServiceApp(
        client_id=CLIENT_ID,
        private_key=Secret(PEM),
        key_id="kid-1",
        scopes=("okta.apps.read", "okta.apps.manage"),
    )
    assert access.bounds == Timeouts(connect=5.0)
    assert access.network.proxy == "http://proxy.acme.com:3128"
    assert access.network.proxy_password == Secret(PASSWORD)
    told = said(settings)
    assert told["url"] == (ACME, "~/.okta/okta.yaml:3")
    assert told["private_key"] == ("(secret)", "~/.okta/okta.yaml:8")
    assert told["scopes"][0] == "okta.apps.read okta.apps.manage"
    assert told["proxy"] == ("http://proxy.acme.com:3128", "~/.okta/okta.yaml:15")
    assert told["connect_timeout"] == ("5s", "~/.okta/okta.yaml:12")
    text = repr((settings, told, access))
    assert "canary" not in text
    assert PASSWORD not in text


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
@pytest.mark.parametrize(
    "secret", [f"token: {TOKEN}", f"clientId: {CLIENT_ID}, privateKey: '{JWK}'"]
)
def test_a_secret_in_a_file_that_others_may_read_is_refused(
    desk: Desk, secret: str, mode: int
) -> None:
    path = desk.sdk_file(f"orgUrl: {ACME}, {secret}", mode=mode)
    error = desk.refusal()
    assert f"chmod 600 {path}" in str(error.hint)
    path.chmod(0o600)
    assert desk.settings().access().url == ACME


def test_a_key_on_one_line_of_the_file_of_the_sdks(desk: Desk) -> None:
    key = PEM.replace("\n", "\\n")
    desk.sdk_file(f"orgUrl: {ACME}, clientId: {CLIENT_ID}, privateKey: '{key}'")
    credential = desk.settings().access().credential
    assert isinstance(credential, ServiceApp)
    assert credential.private_key == Secret(PEM)


def test_a_file_without_secrets_may_be_read_by_all_but_not_written(desk: Desk) -> None:
    path = desk.sdk_file(f"orgUrl: {ACME}", mode=0o644)
    desk.set(OKTA_CLIENT_TOKEN=TOKEN)
    assert desk.settings().access().url == ACME
    path.chmod(0o646)
    assert "others may write" in desk.refusal().message


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ("orgUrl: http://acme.okta.com", "~/.okta/okta.yaml:2: orgUrl must start with https://"),
        (f"orgUrl: {ACME}, authorizationMode: canary", "authorizationMode is none that is known"),
        (f"orgUrl: {ACME}, token: {TOKEN}, clientId: x", "which is meant?"),
        (f"orgUrl: {ACME}, clientId: {CLIENT_ID}", "needs privateKey, which is not there"),
        (f"orgUrl: {ACME}, clientId: {TOKEN}, privateKey: '{JWK}'", "clientId is not a client id"),
        (f"orgUrl: {ACME}, clientId: {CLIENT_ID}, privateKey: gone.pem", "nor the path of a file"),
        (f"orgUrl: {ACME}, token: {TOKEN}, requestTimeout: soon", "requestTimeout is not a number"),
        (
            f"orgUrl: {ACME}, token: {TOKEN}, proxy: {{host: 'me:{PASSWORD}@p'}}",
            "must not hold a user name",
        ),
        (f"orgUrl: {ACME}, token: {TOKEN}, proxy: {{host: 'socks5://p'}}", "SOCKS"),
        (f"orgUrl: {ACME}, authorizationMode: SSWS", "there is no token"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(desk: Desk, client: str, message: str) -> None:
    desk.sdk_file(client)
    error = desk.refusal()
    assert message in error.message
    assert error.message.startswith("~/.okta/okta.yaml:2: ")


def test_a_file_that_is_no_yaml_is_told_problem_by_problem(desk: Desk) -> None:
    desk.write("home/.okta/okta.yaml", f"okta:\n  client: {{token: {TOKEN}\n")
    error = desk.refusal()
    assert isinstance(error, PlanError)
    assert "in ~/.okta/okta.yaml" in error.message


def test_of_two_files_in_a_folder_one_is_read_and_that_is_noted(desk: Desk) -> None:
    desk.sdk_file(f"orgUrl: {ACME}, token: x", path="here/okta.yaml")
    desk.sdk_file(f"orgUrl: {GLOBEX}, token: x", path="here/.okta.yaml")
    settings = desk.settings()
    assert settings.url == Given(value=ACME, source="./okta.yaml:2")
    assert settings.notes == ("okta.yaml is read here, and .okta.yaml is not",)


def test_nobody_has_to_have_a_home(desk: Desk) -> None:
    environ = {"OKTA_CLIENT_ORGURL": ACME, "OKTA_CLIENT_TOKEN": TOKEN}
    assert org_settings(None, environ, folder=desk.here).access().url == ACME


# --- the way -------------------------------------------------------------------------------------

WITH_PROXY = (
    f"profiles: {{acme: {{url: {ACME}, auth: {{token: env:ACME_TOKEN}}, "
    "proxy: {url: 'http://of-profile:1', user: me, password: env:PROXY_PASSWORD}}}\n"
)
PROXIES = {
    "OKTA_CLIENT_PROXY_HOST": "of-client",
    "OKTA_CLIENT_PROXY_PORT": "2",
    "OKTA_CLIENT_PROXY_USERNAME": "me",
    "OKTA_CLIENT_PROXY_PASSWORD": PASSWORD,
    "OKTA_HTTP_PROXY": "http://of-terraform:3",
    "https_proxy": f"http://me:{PASSWORD}@of-all:4",
    "HTTPS_PROXY": "http://of-all-too:5",
}


def test_proxies_come_in_their_order(desk: Desk) -> None:
    desk.write("config.yaml", WITH_PROXY)
    desk.set(ACME_TOKEN=TOKEN, PROXY_PASSWORD=PASSWORD, **PROXIES)
    desk.set(OKTA_CLIENT_ORGURL=ACME, OKTA_CLIENT_TOKEN=TOKEN)
    ways = [desk.settings(profile="acme").access().network]
    for name in ("OKTA_CLIENT_PROXY_HOST", "OKTA_HTTP_PROXY", "https_proxy", "HTTPS_PROXY", ""):
        settings = desk.settings()
        assert PASSWORD not in repr((settings, settings.told()))
        ways.append(settings.access().network)
        desk.environ.pop(name, None)
        if name == "OKTA_CLIENT_PROXY_HOST":
            for each in ("PORT", "USERNAME", "PASSWORD"):
                desk.environ.pop(f"OKTA_CLIENT_PROXY_{each}")
    assert [way.proxy for way in ways] == [
        "http://of-profile:1",
        "http://of-client:2",
        "http://of-terraform:3",
        "http://of-all:4",
        "http://of-all-too:5",
        None,
    ]
    secret = Secret(PASSWORD)
    assert [way.proxy_password for way in ways] == [secret, secret, None, secret, None, None]


def test_no_proxy_is_about_https_proxy_alone_and_an_empty_one_is_none(desk: Desk) -> None:
    desk.set(OKTA_CLIENT_ORGURL=ACME, OKTA_CLIENT_TOKEN=TOKEN, HTTPS_PROXY="http://of-all:4")
    desk.set(NO_PROXY=".okta.com")
    assert desk.settings().access().network.proxy is None
    desk.set(no_proxy="")
    assert desk.settings().access().network.proxy == "http://of-all:4"
    desk.set(https_proxy="")
    assert desk.settings().access().network.proxy is None
    desk.set(OKTA_HTTP_PROXY="http://of-terraform:3", no_proxy="*")
    assert desk.settings().access().network.proxy == "http://of-terraform:3"


def test_this_machine_is_behind_no_proxy_but_that_of_a_profile(desk: Desk) -> None:
    url = "http://127.0.0.1:8080"
    desk.set(OKTA_CLIENT_ORGURL=url, OKTA_CLIENT_TOKEN=TOKEN, **PROXIES)
    assert desk.settings().access().network.proxy is None
    desk.set(ACME_TOKEN=TOKEN, PROXY_PASSWORD=PASSWORD)
    desk.write("config.yaml", WITH_PROXY.replace(ACME, url))
    assert desk.settings(profile="acme").access().network.proxy == "http://of-profile:1"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"HTTPS_PROXY": f"socks5://me:{PASSWORD}@p"}, "HTTPS_PROXY names is a SOCKS proxy"),
        ({"OKTA_CLIENT_PROXY_PORT": "1"}, "PROXY_PORT is set, and OKTA_CLIENT_PROXY_HOST is not"),
        (
            {"OKTA_CLIENT_PROXY_HOST": "p", "OKTA_CLIENT_PROXY_PASSWORD": PASSWORD},
            "OKTA_CLIENT_PROXY_PASSWORD is set, and OKTA_CLIENT_PROXY_USERNAME is not set",
        ),
        ({"OKTA_CLIENT_PROXY_HOST": f"me:{PASSWORD}@p"}, "OKTA_CLIENT_PROXY_HOST holds a user"),
        ({"SSL_CERT_FILE": "/gone.pem"}, "SSL_CERT_FILE names a file that cannot be read"),
        ({"SSL_CERT_FILE": "/dev/zero"}, "SSL_CERT_FILE names a file that cannot be read: it is a"),
        ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE names a file that holds no certificates"),
    ],
)
def test_a_way_that_cannot_be_gone_is_told(
    desk: Desk, variables: Mapping[str, str], message: str
) -> None:
    desk.set(OKTA_CLIENT_ORGURL=ACME, OKTA_CLIENT_TOKEN=TOKEN, **variables)
    assert message in desk.refusal().message


def test_files_for_tls_start_from_the_configuration_and_the_key_is_kept_like_a_secret(
    desk: Desk,
) -> None:
    desk.write(
        "config.yaml",
        f"profiles: {{acme: {{url: {ACME}, auth: {{token: env:ACME_TOKEN}}, ca_file: ca.pem, "
        "client_cert: our.pem, client_key: our.key}}\n",
    )
    key = desk.write("our.key", PEM)
    desk.set(ACME_TOKEN=TOKEN)
    settings = desk.settings(profile="acme")
    network = settings.access().network
    assert (network.ca_file, network.client_cert) == (desk.root / "ca.pem", desk.root / "our.pem")
    assert network.client_key == key
    assert said(settings)["client_key"][0] == str(key)
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"our\.key"):
        settings.access()


def test_what_is_not_honoured_is_noted(desk: Desk) -> None:
    desk.set(OKTA_CLIENT_ORGURL=ACME, OKTA_CLIENT_TOKEN=TOKEN)
    desk.set(OKTA_TESTING_DISABLE_HTTPS_CHECK="true", REQUESTS_CA_BUNDLE="/ca.pem")
    notes = desk.settings().notes
    assert notes[0].startswith("OKTA_TESTING_DISABLE_HTTPS_CHECK is not honoured")
    assert notes[1].startswith("REQUESTS_CA_BUNDLE is not read")


def test_every_setting_is_told_with_its_source_and_no_secret(desk: Desk) -> None:
    desk.write("config.yaml", WITH_PROXY)
    desk.set(OKTA_CLIENT_REQUESTTIMEOUT="7", PROXY_PASSWORD=PASSWORD, ACME_TOKEN=TOKEN)
    profile = f"profile acme in {desk.root}/config.yaml"
    assert said(desk.settings(profile="acme")) == {
        "url": (ACME, profile),
        "profile": ("acme", profile),
        "credential": ("API token", profile),
        "token": ("(secret)", f"env:ACME_TOKEN, {profile}"),
        "proxy": ("http://of-profile:1", profile),
        "proxy_user": ("me", profile),
        "proxy_password": ("(secret)", f"env:PROXY_PASSWORD, {profile}"),
        "read_timeout": ("7s", "environment OKTA_CLIENT_REQUESTTIMEOUT"),
    }


def test_a_service_app_is_told_by_all_that_is_no_secret(desk: Desk) -> None:
    desk.set(OKTA_CLIENT_ORGURL=ACME, **APP)
    told = said(desk.settings())
    assert told["client_id"] == (CLIENT_ID, "environment OKTA_CLIENT_CLIENTID")
    assert told["private_key"] == ("(secret)", "environment OKTA_CLIENT_PRIVATEKEY")
    assert told["scopes"] == (" ".join(STANDARD_SCOPES), "okta-keys")
    desk.set(OKTA_CLIENT_SCOPES="okta.apps.read", OKTA_CLIENT_PRIVATEKEY=str(desk.write("k", PEM)))
    told = said(desk.settings())
    key = desk.root / "k"
    assert told["private_key"] == (
        "(secret)",
        f"file:{key}, environment OKTA_CLIENT_PRIVATEKEY",
    )
    assert told["scopes"] == ("okta.apps.read", "environment OKTA_CLIENT_SCOPES")
