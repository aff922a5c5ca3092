"""All profiles that a command knows: those beside the plan, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.plan.org_url import is_same_org
from orchestrator.plan.profiles import (
    Profile,
    Profiles,
    load_profiles,
    own_profiles,
    project_file,
)
from orchestrator.plan.schema import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProfiles:
    """The configuration of this user, and the one beside the plan."""

    own: Profiles
    is_first: bool = False  # own, since --config names it
    project: Profiles | None = None

    @property
    def files(self) -> tuple[Profiles, ...]:
        """The files in the order in which they are asked."""
        if self.project is None:
            return (self.own,)
        return (self.own, self.project) if self.is_first else (self.project, self.own)

    def find(self, name: str) -> tuple[Profile, Profiles] | None:
        """Return the profile of that name, and its file."""
        found = ((file.by_name.get(name), file) for file in self.files)
        return next(((profile, file) for profile, file in found if profile), None)

    def named(self, name: str) -> tuple[Profile, Profiles]:
        """Return the profile of that name, and its file.

        Raises:
            ConfigError: there is none.
        """
        found = self.find(name)
        if found is not None:
            return found
        everything = {key: each for file in self.files for key, each in file.by_name.items()}
        profile = Profiles(file=self.own.file, by_name=everything).named(name)  # raises
        return profile, self.own

    def name_for(self, url: str) -> str | None:
        """Return a profile by whose name the org at that address is found."""
        names = (name for file in self.files for name in file.of_org(url))
        return next((name for name in names if is_same_org(self.named(name)[0].url, url)), None)

    def about_org(self, url: str) -> list[Profile]:
        """Return whatever is said of the org, also by profiles that one of the same name hides."""
        return [profile for file in self.files for profile in file.of_org(url).values()]


def known_profiles(
    environ: Mapping[str, str], *, plan: Plan | None = None, config: Path | None = None
) -> KnownProfiles:
    """Read the configuration of this user, and the one beside the plan.

    Only a plan leads to a project's configuration: without one nobody has named the folder.

    Raises:
        ConfigError: a file that is named is not there, or anybody could have written it.
        PlanError: one of them is wrong.
    """
    own = own_profiles(config, environ)
    beside = project_file(plan.folder, plan=Path(plan.origin.file)) if plan else None
    project = load_profiles(beside, others=own.by_name, is_named=False) if beside else None
    return KnownProfiles(own=own, is_first=config is not None, project=project)
