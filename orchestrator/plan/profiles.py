"""The configuration file: which orgs this user works with, each under a name.

    default: acme                         # the org where nothing else names one
    profiles:
      acme:
        url: https://acme.okta.com
        auth: {token: env:ACME_TOKEN}     # absent: the environment
        protected: [0oa8ae1t5yev2ajDs0h7] # no run touches these
        most_sharing: 50                  # warn when more apps share a key
        proxy: http://proxy.acme.com:8080 # how the org is reached
        ca_file: corporate-ca.pem

It is read as plans are: every problem at once, each at its place, and secrets by reference only.
Paths and commands start from its folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Self

from platformdirs import user_config_path
from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from orchestrator.errors import ConfigError, PlanError, Problem
from orchestrator.holders import MOST_SHARING
from orchestrator.plan.auth import Auth
from orchestrator.plan.fields import AppIdField, Count, FilePath, OrgUrl
from orchestrator.plan.files import is_missing, located
from orchestrator.plan.load import problem_with_all, read_bytes, validate
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.part import Part, refuse_repeats
from orchestrator.plan.problems import refuse
from orchestrator.plan.proxies import ProxyField, ProxySpec
from orchestrator.plan.references import SecretReference
from orchestrator.plan.refusal import EMPTY, Refusal, closest, refused
from orchestrator.plan.schema import PROFILE_HINT, Origin, profile_pattern
from orchestrator.plan.tree import PlacedMap, place_of
from orchestrator.plan.yaml_events import read_tree
from orchestrator.plan.yaml_syntax import decode

CONFIG_VARIABLE = "OKTA_KEYS_CONFIG"
WHAT = "the configuration"
PROJECT_FILES = (".okta-keys.yaml", "okta-keys.yaml")
MAX_BYTES = 4 * 1024 * 1024
MOST_NAMED = 10  # profiles in a hint
EXAMPLE = "profiles: {acme: {url: https://acme.okta.com, auth: {token: env:ACME_TOKEN}}}"


class ConfigPart(Part):
    """The base of every mapping in a configuration."""

    secrets = "the only secret in a profile is a reference: auth: {token: env:NAME}"

    @classmethod
    def kin(cls) -> Iterable[type[Part]]:
        return (Config, Profile, ProfileAuth, ProxySpec)


class ProfileAuth(Auth):
    """Where the credential of a profile is found."""

    place = "under auth of a profile"


class Profile(ConfigPart):
    """An org, the credential for it, and what no run may do there."""

    place = "under a profile"

    url: Annotated[OrgUrl, Field(description="https:// and the host of the org.")]
    auth: ProfileAuth = ProfileAuth()
    protected: Annotated[
        tuple[AppIdField, ...],
        Field(description="Apps and identity providers that are never the target of a run."),
        BeforeValidator(refuse_repeats),
    ] = ()
    most_sharing: Annotated[
        Count, Field(description="Warn when more apps than this share a key.")
    ] = MOST_SHARING
    proxy: Annotated[
        ProxyField | None,
        Field(description="The proxy to the org, as its address or with user and password."),
    ] = None
    ca_file: Annotated[
        FilePath | None,
        Field(description="Certificates to trust beside those of the system, in PEM."),
    ] = None
    client_cert: Annotated[
        FilePath | None,
        Field(description="Our certificate for mutual TLS, in PEM; its key may stand in it, too."),
    ] = None
    client_key: Annotated[
        FilePath | None, Field(description="The private key of `client_cert`, in PEM.")
    ] = None

    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="before")
    @classmethod
    def require_certificate(cls, profile: object) -> object:
        """Refuse a key for mutual TLS without its certificate."""
        if not isinstance(profile, dict) or "client_key" not in profile:
            return profile
        if any(cls.meant_by(str(key)) == "client_cert" for key in profile):
            return profile
        refusal = Refusal("needs the certificate that it is for", "write client_cert: beside it")
        return {**profile, "client_key": refusal}

    @model_validator(mode="after")
    def keep_folder(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Origin):
            self._folder = info.context.folder
        return self

    @property
    def folder(self) -> Path:
        """The directory that paths and commands of the profile start from: that of its file."""
        return self._folder

    @property
    def way(self) -> WayToOrg:
        """How the org is reached."""
        spec = self.proxy if isinstance(self.proxy, ProxySpec) else None
        return WayToOrg(
            proxy=spec.url if spec else None if self.proxy is None else str(self.proxy),
            proxy_user=spec.user if spec else None,
            proxy_password=spec.password if spec else None,
            ca_file=self.located(self.ca_file),
            client_cert=self.located(self.client_cert),
            client_key=self.located(self.client_key),
        )

    def located(self, text: str | None) -> Path | None:
        return None if text is None else located(text, self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayToOrg:
    """How the org of a profile is reached. The password of the proxy is still a reference."""

    proxy: str | None = None  # without user and password
    proxy_user: str | None = None
    proxy_password: SecretReference | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


def read_key(value: object) -> str:
    """Return the name of a profile, where it is written as a key."""
    if isinstance(value, str) and profile_pattern.fullmatch(value):
        return value
    raise refused("is not the name of a profile", PROFILE_HINT)


class Config(ConfigPart):
    """A whole configuration file."""

    place = "at the top of the file"

    default: Annotated[
        Annotated[str, PlainValidator(read_key)] | None,
        Field(description="The profile of whoever names no org, in no way."),
    ] = None
    profiles: Annotated[
        dict[Annotated[str, PlainValidator(read_key)], Profile],
        Field(description="The orgs, each under the name that plans and --profile use."),
    ] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """The profiles of a configuration file, in its order."""

    file: Path
    by_name: Mapping[str, Profile] = field(default_factory=dict)
    default: str | None = None  # a name; of a profile here, or of `others` when it was read

    def named(self, name: str) -> Profile:
        """Return the profile of that name.

        Raises:
            ConfigError: there is none.
        """
        found = self.by_name.get(name)
        if found is not None:
            return found
        if not profile_pattern.fullmatch(name):  # so it may be a secret
            raise ConfigError("what is given is not the name of a profile", hint=PROFILE_HINT)
        raise ConfigError(f"no profile is named {name}", hint=self.hint(name), file=self.file)

    def hint(self, name: str) -> str:
        """Say which profile may be meant."""
        if not self.by_name:
            return f"write there {EXAMPLE}"
        meant = closest(name, tuple(self.by_name))
        if meant is not None:
            return f"did you mean {meant}?"
        more = ", ..." if len(self.by_name) > MOST_NAMED else ""
        return f"known there: {', '.join(list(self.by_name)[:MOST_NAMED])}{more}"

    def of_org(self, url: str) -> dict[str, Profile]:
        """Return every profile of the org at that address, by its name."""
        return {
            name: profile for name, profile in self.by_name.items() if is_same_org(profile.url, url)
        }


def profiles_path(given: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration: `--config`, OKTA_KEYS_CONFIG, or the one in the user's folder.

    Raises:
        ConfigError: it is given by name, and is not there.
    """
    named = environ.get(CONFIG_VARIABLE, "").strip()
    if given is None and not named:
        return user_config_path("okta-keys", appauthor=False) / "config.yaml"
    path = (Path(named) if given is None else given).expanduser()
    if is_missing(path):
        source = CONFIG_VARIABLE if given is None else "--config"
        raise ConfigError(f"{source} names a file that does not exist", file=path)
    return path


def own_profiles(given: Path | None, environ: Mapping[str, str]) -> Profiles:
    """Read the configuration that `profiles_path` finds.

    Raises:
        ConfigError: it is given by name and is not there, or somebody else could have written it.
        PlanError: with every problem and its place.
    """
    path = profiles_path(given, environ)
    is_named = given is not None or bool(environ.get(CONFIG_VARIABLE, "").strip())
    return load_profiles(path, is_named=is_named)


def project_file(folder: Path, *, plan: Path | None = None) -> Path | None:
    """Return the configuration that lies beside a plan, if one does; it may not be the plan itself.

    Nobody names this file, so it is not looked for in the folders above.

    Raises:
        ConfigError: there are two.
    """
    found = [folder / name for name in PROJECT_FILES if not is_missing(folder / name)]
    found = [path for path in found if plan is None or not is_same_file(path, plan)]
    if not found:
        return None
    if found[1:]:
        raise ConfigError(f"there are two configurations in {folder}", hint="keep one of the two")
    return found[0]


def refuse_strangers(path: Path, opened: os.stat_result) -> None:
    """Refuse a configuration that nobody named, unless its author is one to trust.

    It says where tokens go, and which programs to run. So it must belong to this user, to root or
    to the owner of its folder, and only they and their group may write to it.

    Raises:
        ConfigError: somebody else could have put it there.
    """
    owners = (os.geteuid(), 0, path.parent.stat().st_uid)
    if opened.st_uid not in owners or opened.st_mode & stat.S_IWOTH:
        raise ConfigError(
            "the configuration could have been written by anybody",
            hint=f"see what it says, then: chmod o-w {path}, and make it yours",
            file=path,
        )


def is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def load_profiles(path: Path, *, others: Collection[str] = (), is_named: bool = True) -> Profiles:
    """Read and check a configuration file. One that does not exist has no profiles.

    `others` are profiles of other files that `default` may name, too. One that was not named by the
    user, but found, is not taken from just anybody: see `refuse_strangers`.

    Raises:
        ConfigError: somebody else could have put it there.
        PlanError: with every problem and its place.
    """
    if is_missing(path):
        return Profiles(file=path)
    try:
        config = load_config(path, others, is_named=is_named)
    except PlanError as error:
        raise PlanError(error.problems, hidden=error.hidden, what=WHAT) from None
    return Profiles(file=path, by_name=config.profiles, default=config.default)


def load_config(path: Path, others: Collection[str] = (), *, is_named: bool = True) -> Config:
    file = str(path)
    accept = None if is_named else partial(refuse_strangers, path)
    data = read_bytes(path, what=WHAT, most=MAX_BYTES, accept=accept)
    tree = read_tree(decode(data, file), file)
    if tree.root is EMPTY and not tree.problems:
        return Config()
    if not isinstance(tree.root, PlacedMap):
        message = "a configuration is a mapping, not a single value or a list"
        problem = problem_with_all(tree, file, message, f"begin with {EXAMPLE}")
        raise refuse([*tree.problems, problem])
    origin = Origin(file=file, folder=path.parent, tree=tree.root)
    config = validate(Config, origin, tree.problems)
    if config.default in (None, *config.profiles, *others):
        return config
    known = (*config.profiles, *others)
    meant = closest(str(config.default), known)
    hint = f"did you mean {meant}?" if meant else "name one that stands under profiles"
    place = place_of(tree.root, ("default",))
    problem = Problem(
        file=file,
        line=place.line,
        column=place.column,
        path="default",
        message=f"no profile is named {config.default}",
        hint=hint,
    )
    raise refuse([problem])
