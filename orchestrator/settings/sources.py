"""What one source of settings says of an org: a profile, a plan, the environment, a file.

What is wrong in a source is kept as the error that it is, and raised only where that source is
made use of: a stray variable stops nobody who does not need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from orchestrator.errors import ConfigError, InputError
from orchestrator.okta.credentials import (
    STANDARD_SCOPES,
    ApiToken,
    BearerToken,
    Credential,
    ServiceApp,
)
from orchestrator.plan.auth import AuthReferences, BearerAuth, ServiceAppAuth, TokenAuth
from orchestrator.plan.references import ReferenceKind, SecretReference
from orchestrator.secret import Secret
from orchestrator.settings.secrets import resolve, resolve_token

SECRET = "(secret)"  # noqa: S105 - what stands in place of one

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSetting:
    """One setting as it may be printed, and which source supplied it."""

    name: str  # such as url or private_key
    value: str  # "(secret)" for what is one
    source: str  # such as "environment OKTA_CLIENT_ORGURL" or "~/.okta/okta.yaml:4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Generic[T]):
    """A value, and who gave it."""

    value: T
    source: str

    def told(self, name: str) -> ToldSetting:
        return ToldSetting(name=name, value=str(self.value), source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCredential:
    """A credential, by references or, from the SDKs' own file, as it is."""

    what: AuthReferences | Credential
    folder: Path  # that the paths of its references start from
    source: str
    parts: Mapping[str, str] = field(default_factory=dict)  # the sources of some, by their name

    @property
    def kind(self) -> str:
        """The kind of credential, for people."""
        match self.what:
            case TokenAuth() | ApiToken():
                return "API token"
            case BearerAuth() | BearerToken():
                return "access token"
            case ServiceAppAuth() | ServiceApp():
                return "service app"

    def resolved(self, environ: Mapping[str, str]) -> Credential:
        """Return the credential with its secrets.

        Raises:
            ConfigError: one of them is not where its reference says.
        """
        what, folder = self.what, self.folder
        match what:
            case TokenAuth():
                token = resolve_token(what.token, environ=environ, folder=folder)
                return ApiToken(token=token)
            case BearerAuth():
                token = resolve_token(what.token, environ=environ, folder=folder)
                return BearerToken(token=token)
            case ServiceAppAuth():
                key = resolve(what.private_key, environ=environ, folder=folder)
                phrase = (
                    resolve(what.passphrase, environ=environ, folder=folder)
                    if what.passphrase
                    else None
                )
                return ServiceApp(
                    client_id=what.client_id,
                    private_key=in_lines(key),
                    passphrase=phrase,
                    key_id=what.key_id,
                    scopes=what.scopes or STANDARD_SCOPES,
                    dpop=what.dpop,
                )
            case _:
                return what

    def told(self) -> tuple[ToldSetting, ...]:
        """Return what may be printed of it, line by line."""
        what = self.what
        lines = [("credential", self.kind)]
        match what:
            case ServiceAppAuth() | ServiceApp():
                lines += [("client_id", what.client_id), ("private_key", SECRET)]
                lines += [("passphrase", SECRET)] if what.passphrase else []
                lines += [("key_id", what.key_id)] if what.key_id else []
                lines += [("scopes", " ".join(what.scopes or STANDARD_SCOPES))]
                lines += [("dpop", "from the first call")] if what.dpop else []
            case TokenAuth() | ApiToken() | BearerAuth() | BearerToken():
                lines += [("token", SECRET)]
        sources = {name: self.source_of(name) for name, _ in lines}
        return tuple(
            ToldSetting(name=name, value=value, source=sources[name]) for name, value in lines
        )

    def source_of(self, name: str) -> str:
        """Return who gave a part."""
        part, source = getattr(self.what, name, None), self.parts.get(name, self.source)
        return "okta-keys" if name == "scopes" and not part else source_with(part, source)


def source_with(value: object, source: str) -> str:
    """Return a source with the reference in front of it, for a secret that is given by one."""
    if not isinstance(value, SecretReference):
        return source
    if value.kind is ReferenceKind.ENV and source.startswith("environment "):
        return f"environment {value.words[0]}"
    return f"{value}, {source}"


def in_lines(key: Secret) -> Secret:
    r"""Return a key whose line breaks are line breaks, where a variable holds them as \n."""
    text = key.reveal()
    is_one_line = text.startswith("-----BEGIN") and "\n" not in text
    return Secret(text.replace("\\n", "\n")) if is_one_line and "\\n" in text else key


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenProxy:
    """A proxy, and who gave it. It may be asked for under a user's name."""

    url: str
    user: str | None = None
    password: SecretReference | Secret | None = None
    folder: Path
    source: str

    def secret(self, environ: Mapping[str, str]) -> Secret | None:
        """Return the password.

        Raises:
            ConfigError: it is not where its reference says.
        """
        if isinstance(self.password, SecretReference):
            return resolve(self.password, environ=environ, folder=self.folder)
        return self.password

    def told(self) -> tuple[ToldSetting, ...]:
        lines = [("proxy", self.url, self.source)]
        lines += [("proxy_user", self.user, self.source)] if self.user else []
        if self.password:
            lines += [("proxy_password", SECRET, source_with(self.password, self.source))]
        return tuple(
            ToldSetting(name=name, value=value, source=source) for name, value, source in lines
        )


UrlSaid: TypeAlias = Given[str] | InputError | None
CredentialSaid: TypeAlias = GivenCredential | InputError | None
ProxySaid: TypeAlias = GivenProxy | ConfigError | None
SecondsSaid: TypeAlias = Given[float] | ConfigError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """All that one source says. `None` is what it does not speak of."""

    name: str
    url: UrlSaid = None
    credential: CredentialSaid = None
    proxy: ProxySaid = None
    connect: SecondsSaid = None  # seconds
    read: SecondsSaid = None  # seconds
    ca_file: Given[Path] | None = None
    client_cert: Given[Path] | None = None
    client_key: Given[Path] | None = None
    profile: str | None = None  # the name by which the org is known, in a source that is one
    borrows: bool = True  # whether others may supply the credential for its org
    insists: bool = False  # on its credential, also where somebody below it names the org
    notes: tuple[str, ...] = field(default=())


def value_of(said: Given[T] | InputError) -> Given[T]:
    """Return what a source says.

    Raises:
        InputError: what it says cannot be used.
    """
    if isinstance(said, InputError):
        raise said
    return said
