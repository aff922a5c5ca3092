"""Which org a command goes to, with which credential, on which way; and who said each of it.

Which org is said by the first of these that names one: `--profile`; the plan; OKTA_CLIENT_ORGURL;
OKTA_ORG_NAME with OKTA_BASE_URL; the default profile of `--config`, else of the project; okta.yaml
or .okta.yaml in the current folder; the user's default profile; ~/.okta/okta.yaml.

The credential comes from who named the org, or from the plan where it names a credential alone.
Who names the org and no credential takes that of the next who has one, but a credential never goes
to an org that its own source does not mean:

- a source that names another org lends nothing: the token in OKTA_CLIENT_TOKEN serves a profile or
  plan without one where OKTA_CLIENT_ORGURL is not set, or names the same org.
- an org that okta.yaml or .okta.yaml in the current folder names gets no credential from elsewhere,
  unless that names the same org: who downloads a folder and works there gives no token away. A
  plan, and the configuration beside it, are trusted as programs are.

A plan or profile that names where its secret is, and it is not there, is an error: nothing else
takes its place. How the org is reached is said by its profile, then by the variables for Okta,
then by the files of the SDKs, then by HTTPS_PROXY. Calls to this machine go past all proxies but
that of a profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import ConfigError, InputError
from orchestrator.holders import MOST_SHARING
from orchestrator.model import AppId
from orchestrator.okta.credentials import Credential
from orchestrator.okta.http import Timeouts
from orchestrator.okta.network import Network
from orchestrator.plan.files import read_regular, reason
from orchestrator.plan.org_url import is_loopback, is_same_org
from orchestrator.plan.references import ReferenceKind, SecretReference
from orchestrator.plan.schema import Plan
from orchestrator.settings.environment import (
    CLIENT,
    TERRAFORM,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    bounded,
    general_proxy,
    text_of,
)
from orchestrator.settings.gathering import refuse_other_org, sources_of
from orchestrator.settings.known_profiles import KnownProfiles, known_profiles
from orchestrator.settings.secrets import resolve
from orchestrator.settings.sources import (
    CredentialSaid,
    Given,
    GivenCredential,
    GivenProxy,
    ProxySaid,
    SecondsSaid,
    Source,
    ToldSetting,
    value_of,
)

TRUST_VARIABLE = "SSL_CERT_FILE"
MOST_TRUSTED = 64 * 1024 * 1024  # bytes; the bundle of a system has about 220,000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgAccess:
    """Which org, the credential for it, the way to it, and what its profiles say about it."""

    url: str
    credential: Credential
    network: Network = field(default_factory=Network)
    bounds: Timeouts = field(default_factory=Timeouts)
    profile: str | None = None  # by which the org was named
    protected: frozenset[AppId] = frozenset()  # no run touches these
    most_sharing: int = MOST_SHARING  # apps with one key, without a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgSettings:
    """All settings for one org and where each comes from, before any secret is looked for."""

    url: Given[str]
    credential: CredentialSaid
    proxy: ProxySaid = None
    way: Source  # files for TLS; only a profile names them
    connect: SecondsSaid = None
    read: SecondsSaid = None
    trusted: str | None = None  # in place of the system's certificates
    protected: frozenset[AppId] = frozenset()
    most_sharing: int = MOST_SHARING
    notes: tuple[str, ...] = ()  # what the user may not expect
    environ: Mapping[str, str] = field(repr=False, compare=False)

    def access(self) -> OrgAccess:
        """Look for the secrets, and return the way to the org. A `cmd:` may take half a minute.

        Raises:
            InputError: a setting cannot be used, or a secret is not where it should be.
        """
        if self.credential is None:
            raise self.no_credential()
        if isinstance(self.credential, InputError):
            raise self.credential
        return OrgAccess(
            url=self.url.value,
            credential=self.credential.resolved(self.environ),
            network=self.network(),
            bounds=bounded(self.connect, self.read),
            profile=self.way.profile,
            protected=self.protected,
            most_sharing=self.most_sharing,
        )

    def no_credential(self) -> ConfigError:
        return ConfigError(
            f"nothing says how to sign in to {self.url.value}: {TOKEN_VARIABLE} is not set",
            hint=f"export {TOKEN_VARIABLE}=..., or give the org a profile with auth",
        )

    def network(self) -> Network:
        """Return how the org is reached.

        Raises:
            ConfigError: a setting cannot be used, or others may read the key of a certificate.
        """
        if isinstance(self.proxy, InputError):
            raise self.proxy
        if self.trusted:
            check_trusted(Path(self.trusted))
        way, proxy = self.way, self.proxy
        key = way.client_key or way.client_cert
        if key is not None:  # the same checks as for all other secrets
            reference = SecretReference(kind=ReferenceKind.FILE, words=(str(key.value),))
            resolve(reference, environ=self.environ, folder=Path())
        return Network(
            proxy=proxy.url if proxy else None,
            proxy_user=proxy.user if proxy else None,
            proxy_password=proxy.secret(self.environ) if proxy else None,
            ca_file=way.ca_file.value if way.ca_file else None,
            client_cert=way.client_cert.value if way.client_cert else None,
            client_key=way.client_key.value if way.client_key else None,
        )

    def told(self) -> tuple[ToldSetting, ...]:
        """Return every setting that is said by somebody, as it may be printed."""
        return tuple(self.tell())

    def tell(self) -> Iterator[ToldSetting]:
        yield self.url.told("url")
        if self.way.profile:
            yield ToldSetting(name="profile", value=self.way.profile, source=self.way.name)
        for said in (self.credential, self.proxy):
            if isinstance(said, (GivenCredential, GivenProxy)):
                yield from said.told()
        way = self.way
        for name in ("ca_file", "client_cert", "client_key"):
            path: Given[Path] | None = getattr(way, name)
            if path is not None:
                yield path.told(name)
        if self.trusted:
            source = f"environment {TRUST_VARIABLE}"
            yield ToldSetting(name="trusted", value=self.trusted, source=source)
        for name, seconds in (("connect_timeout", self.connect), ("read_timeout", self.read)):
            if isinstance(seconds, Given):
                yield ToldSetting(name=name, value=f"{seconds.value:g}s", source=seconds.source)


def check_trusted(path: Path) -> None:
    """Refuse a file of certificates that OpenSSL would pass over in silence, or wait for.

    Raises:
        ConfigError: it is none.
    """
    try:
        data = read_regular(path, MOST_TRUSTED)
    except (OSError, ValueError) as error:
        message = f"{TRUST_VARIABLE} names a file that cannot be read: {reason(error)}"
        raise ConfigError(message, hint=f"unset {TRUST_VARIABLE}, or correct it") from None
    if data is None or b"CERTIFICATE-----" not in data:
        message = f"{TRUST_VARIABLE} names a file that holds no certificates"
        raise ConfigError(message, hint="PEM is needed: -----BEGIN CERTIFICATE-----")


def org_access(
    plan: Plan | None,
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    config: Path | None = None,
    known: KnownProfiles | None = None,
) -> OrgAccess:
    """Return where the org is, with the secrets for it: see `org_settings`.

    Raises:
        InputError: as `org_settings`, or a secret is not where it should be.
    """
    return org_settings(plan, environ, profile=profile, config=config, known=known).access()


def org_settings(
    plan: Plan | None,
    environ: Mapping[str, str],
    *,
    profile: str | None = None,
    config: Path | None = None,
    known: KnownProfiles | None = None,
    folder: Path = Path(),
) -> OrgSettings:
    """Gather what all sources say, in the order of this module's description.

    What any profile of the org protects is protected, however the org was named. `known` is what
    `config` leads to, for whoever has read it already. `folder` is the current one. HOME leads to
    the user's file of the SDKs.

    Raises:
        ConfigError: the org is named nowhere, or its URL cannot be used.
        PlanError: a configuration file is wrong.
        UsageError: the plan is for another org than `profile` names.
    """
    known = known or known_profiles(environ, plan=plan, config=config)
    if profile is not None and plan is not None:
        refuse_other_org(plan.org, profile, known)
    sources = sources_of(plan, environ, profile, known, folder)
    owner = next((each for each in sources if each.url is not None), None)
    if owner is None or owner.url is None:
        raise ConfigError(
            "which org? The plan names none, and neither does the environment",
            hint=f"name a profile with --profile, or export {URL_VARIABLE}="
            "https://your-org.okta.com, or try it with --sandbox",
        )
    url = value_of(owner.url)
    # A default profile has nothing to say where somebody else has named the org.
    sources = [each for each in sources if each is owner or each.profile is None]
    credential = credential_for(url.value, owner, sources)
    about = known.about_org(url.value)
    least = min((each.most_sharing for each in about), default=MOST_SHARING)
    chosen = known.find(owner.profile) if owner.profile else None
    speaking = [each for each in sources if speaks_of_way(each, owner, url.value)]
    trusted = text_of(environ, TRUST_VARIABLE)
    return OrgSettings(
        url=url,
        credential=credential,
        proxy=proxy_for(url.value, owner, speaking, environ, folder),
        way=owner,
        connect=next((each.connect for each in speaking if each.connect), None),
        read=next((each.read for each in speaking if each.read), None),
        trusted=trusted if url.value.startswith("https:") and trusted else None,
        protected=frozenset(app for each in about for app in each.protected),
        most_sharing=chosen[0].most_sharing if chosen else least,
        notes=tuple(text for each in sources for text in each.notes),
        environ=environ,
    )


def credential_for(url: str, owner: Source, sources: Sequence[Source]) -> CredentialSaid:
    """Return the credential for an org, or why there is none."""
    plan = next((each for each in sources[: sources.index(owner)] if each.insists), None)
    if plan is not None and plan.credential is not None:
        if lends(plan, owner, url):
            return plan.credential
        text = f"{plan.name} says how to sign in, and only {owner.name} names an org"
        return ConfigError(text, hint="name the org in the plan: org: {url: ..., auth: ...}")
    for source in (owner, *sources):
        if source.credential is not None and (source is owner or lends(source, owner, url)):
            return source.credential
    client = next((each for each in sources if each.name == CLIENT), None)
    if client and owner.borrows and isinstance(client.credential, GivenCredential):
        return ConfigError(
            f"nothing says how to sign in to {url}: the credential in the environment is for the"
            f" org that {URL_VARIABLE} names",
            hint=f"unset {URL_VARIABLE} if it is for this one, or name one under auth",
        )
    return None


def lends(source: Source, owner: Source, url: str) -> bool:
    """Say whether the credential of a source may go to an org that another one has named."""
    if source.url is None:
        return owner.borrows and source.borrows
    return is_for(source, url)


def is_for(source: Source, url: str) -> bool:
    """Say whether a source names that org."""
    return isinstance(source.url, Given) and is_same_org(source.url.value, url)


def speaks_of_way(source: Source, owner: Source, url: str) -> bool:
    """Say whether a source has a say in how the org is reached: variables always have."""
    if source is owner or source.name in (CLIENT, TERRAFORM):
        return True
    return is_for(source, url) or (source.url is None and source.borrows)


def proxy_for(
    url: str,
    owner: Source,
    speaking: Sequence[Source],
    environ: Mapping[str, str],
    folder: Path,
) -> ProxySaid:
    """Return the proxy to an org; see this module's description."""
    if owner.profile and owner.proxy is not None:
        return owner.proxy
    if is_loopback(urlsplit(url).hostname or ""):
        return None
    named = next((each.proxy for each in speaking if each.proxy is not None), None)
    return named if named is not None else general_proxy(environ, url, folder)
