"""Ids as Okta writes them, and the people who act in an org."""

from __future__ import annotations

import random
import string

from orchestrator.sandbox.systemlog import Author, Person

ALPHABET = string.digits + string.ascii_letters


def okta_id(source: random.Random, prefix: str) -> str:
    """Return an Okta id: a three-character prefix and 17 characters."""
    return prefix + "".join(source.choices(ALPHABET, k=17))


class People:
    """Who acts in an org. Their ids come from a source of their own, and shift no id of an app."""

    def __init__(self, seed: int, org_name: str) -> None:
        self.org_name = org_name
        self.random = random.Random(f"people:{seed}:{org_name}")  # noqa: S311 - not secret
        token_id = okta_id(self.random, "00T")
        self.caller = self.new_person("API Caller", token_id=token_id)
        self.administrator = self.new_person("Other Administrator")

    def new_person(self, name: str, *, token_id: str | None = None) -> Person:
        """Return somebody who works in this org."""
        login = f"{name.lower().replace(' ', '.')}@{self.org_name}.example"
        return Person(id=okta_id(self.random, "00u"), name=name, login=login, token_id=token_id)

    def in_the_console(self) -> Author:
        """Return the administrator, in a request of their own that no log of calls shows."""
        transaction = f"{self.random.getrandbits(128):032x}"
        return Author(person=self.administrator, transaction=transaction, uri="/admin/app")
