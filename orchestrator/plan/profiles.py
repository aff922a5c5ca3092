"""The configuration file: which orgs this user works with, each under a name.

    profiles:
      acme:
        url: https://acme.okta.com
        auth: {token: env:ACME_TOKEN}     # absent: env:OKTA_CLIENT_TOKEN
        protected: [0oa8ae1t5yev2ajDs0h7] # no run touches these
        most_sharing: 50                  # warn when more apps share a key

It is read as plans are: every problem at once, each at its place, and secrets by reference only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from platformdirs import user_config_path
from pydantic import BeforeValidator, Field, PlainValidator

from orchestrator.errors import ConfigError, PlanError
from orchestrator.holders import MOST_SHARING
from orchestrator.plan.fields import AppIdField, Count, OrgUrl
from orchestrator.plan.files import is_missing
from orchestrator.plan.load import problem_with_all, read_bytes, validate
from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.part import Part, refuse_repeats
from orchestrator.plan.problems import refuse
from orchestrator.plan.refusal import EMPTY, closest, refused
from orchestrator.plan.schema import PROFILE_HINT, Auth, Origin, profile_pattern
from orchestrator.plan.tree import PlacedMap
from orchestrator.plan.yaml_events import read_tree
from orchestrator.plan.yaml_syntax import decode

CONFIG_VARIABLE = "OKTA_KEYS_CONFIG"
WHAT = "the configuration"
MAX_BYTES = 4 * 1024 * 1024
MOST_NAMED = 10  # profiles in a hint
EXAMPLE = "profiles: {acme: {url: https://acme.okta.com, auth: {token: env:ACME_TOKEN}}}"


class ConfigPart(Part):
    """The base of every mapping in a configuration."""

    secrets = "the only secret in a profile is a reference: auth: {token: env:NAME}"

    @classmethod
    def kin(cls) -> Iterable[type[Part]]:
        return (Config, Profile, ProfileAuth)


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


def read_key(value: object) -> str:
    """Return the name of a profile, where it is written as a key."""
    if isinstance(value, str) and profile_pattern.fullmatch(value):
        return value
    raise refused("is not the name of a profile", PROFILE_HINT)


class Config(ConfigPart):
    """A whole configuration file."""

    place = "at the top of the file"

    profiles: Annotated[
        dict[Annotated[str, PlainValidator(read_key)], Profile],
        Field(description="The orgs, each under the name that plans and --profile use."),
    ] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """The profiles of a configuration file, in its order."""

    file: Path
    by_name: Mapping[str, Profile] = field(default_factory=dict)

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


def load_profiles(path: Path) -> Profiles:
    """Read and check a configuration file. One that does not exist has no profiles.

    Raises:
        PlanError: with every problem and its place.
    """
    if is_missing(path):
        return Profiles(file=path)
    try:
        config = load_config(path)
    except PlanError as error:
        raise PlanError(error.problems, hidden=error.hidden, what=WHAT) from None
    return Profiles(file=path, by_name=config.profiles)


def load_config(path: Path) -> Config:
    file = str(path)
    tree = read_tree(decode(read_bytes(path, what=WHAT, most=MAX_BYTES), file), file)
    if tree.root is EMPTY and not tree.problems:
        return Config()
    if not isinstance(tree.root, PlacedMap):
        message = "a configuration is a mapping, not a single value or a list"
        problem = problem_with_all(tree, file, message, f"begin with {EXAMPLE}")
        raise refuse([*tree.problems, problem])
    return validate(Config, Origin(file=file, folder=path.parent, tree=tree.root), tree.problems)
