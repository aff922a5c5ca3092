"""What holds signing keys: the part that apps and identity providers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from orchestrator.sandbox.certs import Json
from orchestrator.sandbox.csr import Csr
from orchestrator.sandbox.mint import Mint
from orchestrator.sandbox.vocabulary import Resource

NO_KEY = ""  # as the chosen key: none, though there is one of its own


@dataclass(slots=True, kw_only=True)
class Site:
    """What every document of an org tells of the org."""

    org_id: str
    name: str
    base_url: str  # the served address, once it is served


class KeyHolder(ABC):
    """An app or an IdP with its key store. Read its attributes; change it through the org."""

    __slots__ = ("birth", "born_kid", "chosen", "csrs", "id", "keys", "mint", "ordinal",
                 "previous_kid", "site", "status", "updated")  # fmt: skip
    resource: ClassVar[Resource]

    def __init__(
        self, mint: Mint, site: Site, holder_id: str, *, ordinal: int, born_kid: str | None = None
    ) -> None:
        self.mint = mint
        self.site = site
        self.id = holder_id
        self.ordinal = ordinal
        self.status = "ACTIVE"
        self.birth: float | None = None  # epoch seconds of its creation; None: as the seed says
        self.born_kid = born_kid  # the key it was created with; None: as the seed says, or NO_KEY
        self.chosen: str | None = None  # the active key; None: still its own, see also NO_KEY
        self.previous_kid: str | None = None  # the active key before the last PUT
        self.keys: dict[str, float] | None = None  # kid -> when added; its own key is not in it
        self.csrs: dict[str, Csr] | None = None
        self.updated = 0.0  # epoch seconds of the last change; 0 for none

    @property
    @abstractmethod
    def signs(self) -> bool:
        """Say whether it has a signing key."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Return the name that people know it by."""

    @abstractmethod
    def document(self) -> Json:
        """Return the full object as the API shows it, fresh on every call."""

    @abstractmethod
    def replace(self, sent: Json, now: float) -> None:
        """Take on what a PUT sends, or refuse it and change nothing."""

    @abstractmethod
    def rename(self, title: str) -> None:
        """Change the name that people know it by."""

    @abstractmethod
    def spoil(self) -> None:
        """Lose or change something that is not the signing key."""

    @property
    def own_kid(self) -> str | None:
        """Return the key that it was created with, if there is one."""
        if self.born_kid is not None:
            return self.born_kid or None
        return self.mint.derive_kid(f"own:{self.id}") if self.signs else None

    @property
    def active_kid(self) -> str | None:
        """Return the key that it signs with; None for one that does not sign."""
        chosen = self.own_kid if self.chosen is None else self.chosen
        return (chosen or None) if self.signs else None

    @property
    def created(self) -> float:
        """Return the creation time in epoch seconds."""
        if self.birth is not None:
            return self.birth
        return self.mint.seeded_birth_ms(self.own_kid or self.id) // 1000

    def choose(self, kid: str | None) -> None:
        """Sign with another key from now on, remembering the one before."""
        self.previous_kid = self.active_kid
        self.chosen = kid or NO_KEY

    def holds(self, kid: str) -> bool:
        """Say whether the key is in its store."""
        return kid in (self.keys or ()) or kid == self.own_kid

    def memberships(self) -> list[tuple[str, float]]:
        """Return every kid that it holds with the time it came, oldest first."""
        own = self.own_kid
        held = [] if own is None else [(own, self.created)]
        return held + list((self.keys or {}).items())
