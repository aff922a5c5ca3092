"""The file of the Okta SDKs: ~/.okta/okta.yaml, and okta.yaml or .okta.yaml in the current folder.

    okta:
      client:
        orgUrl: https://acme.okta.com
        token: 00...                  # or clientId, privateKey, privateKeyId, scopes
        authorizationMode: SSWS       # or PrivateKey, Bearer
        connectionTimeout: 30         # seconds; 0 says nothing
        proxy: {host: proxy.acme.com, port: 8080, username: me, password: ...}

It is their format, so it may hold secrets; then nobody else may read it. What we have no use for
is ignored. Paths start from the folder of the file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import PydanticCustomError

from orchestrator.errors import ConfigError, InputError, PlanError
from orchestrator.okta.credentials import STANDARD_SCOPES, ApiToken, BearerToken, ServiceApp
from orchestrator.plan.auth import ServiceAppAuth, read_client_id, read_key_id, read_scope
from orchestrator.plan.files import is_missing, open_regular, reason
from orchestrator.plan.org_url import check_org_url
from orchestrator.plan.references import ReferenceKind, SecretReference
from orchestrator.plan.tree import PlacedMap, unpack
from orchestrator.plan.yaml_events import read_tree
from orchestrator.plan.yaml_syntax import decode
from orchestrator.secret import Secret
from orchestrator.settings.environment import MODES, SEPARATORS, holds_key, is_there, seconds_of
from orchestrator.settings.proxies import read_proxy
from orchestrator.settings.sources import (
    CredentialSaid,
    Given,
    GivenCredential,
    GivenProxy,
    ProxySaid,
    SecondsSaid,
    Source,
    UrlSaid,
    in_lines,
)

HOME_FILE = Path(".okta", "okta.yaml")
FOLDER_FILES = ("okta.yaml", ".okta.yaml")  # of the SDK for Python, and of that for Go
MAX_BYTES = 256 * 1024
PARTS = {  # of a service app, by the keys that they stand under
    "private_key": "privateKey",
    "key_id": "privateKeyId",
    "scopes": "scopes",
    "dpop": "dpopEnabled",
}


def home_source(home: Path | None) -> Source | None:
    """Return what the file in the user's home says, if there is one."""
    path = home and home / HOME_FILE
    if path is None or is_missing(path):
        return None
    return source_of(path, shown=f"~/{HOME_FILE}")


def folder_source(folder: Path) -> Source | None:
    """Return what the file in the current folder says, if there is one; of two, the first.

    Nobody names this file, and it may have come with a download: what it says of an org is taken
    whole or not at all, so no other source supplies the credential for its URL.
    """
    found = [name for name in FOLDER_FILES if not is_missing(folder / name)]
    if not found:
        return None
    note = f"{found[0]} is read here, and {found[1]} is not" if found[1:] else None
    return source_of(folder / found[0], shown=f"./{found[0]}", borrows=False, note=note)


def source_of(path: Path, *, shown: str, borrows: bool = True, note: str | None = None) -> Source:
    notes = (note,) if note else ()
    try:
        file = read_file(path, shown)
    except InputError as error:
        return Source(name=shown, url=error, credential=error, borrows=borrows, notes=notes)
    return Source(
        name=shown,
        url=file.url(),
        credential=file.credential(),
        proxy=file.proxy(),
        connect=file.seconds("connectionTimeout"),
        read=file.seconds("requestTimeout"),
        borrows=borrows,
        notes=notes,
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SdkFile:
    """The part of a file that speaks of the client, as texts with their places."""

    path: Path
    shown: str
    client: PlacedMap
    mode: int  # of the file: who may read and write it
    owner: int

    def text(self, key: str, within: PlacedMap | None = None) -> str:
        """Return a scalar without blanks around it; what is none, or empty, counts as unset."""
        value = (self.client if within is None else within).get(key)
        return value.strip() if isinstance(value, str) else ""

    def at(self, key: str, within: PlacedMap | None = None) -> str:
        """Return the place of a key, as `~/.okta/okta.yaml:4`."""
        node = self.client if within is None else within
        if key not in node.marks:
            return self.shown
        return f"{self.shown}:{unpack(node.marks[key][0]).line}"

    def wrong(self, key: str, message: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{self.at(key)}: {key} {message}", hint=hint)

    def url(self) -> UrlSaid:
        url = self.text("orgUrl")
        if not url:
            return None
        if not self.is_only_ours(stat.S_IWOTH):
            return ConfigError(
                f"others may write to {self.shown}, and so say where the token goes",
                hint=f"chmod 600 {self.path}",
            )
        problem = check_org_url(url)
        if problem:
            return self.wrong("orgUrl", problem)
        return Given(value=url.removesuffix("/"), source=self.at("orgUrl"))

    def is_only_ours(self, bits: int) -> bool:
        return not self.mode & bits and self.owner in (os.geteuid(), 0)

    def hidden(self, key: str) -> ConfigError | None:
        """Return the error for a secret in a file that others may read."""
        if self.is_only_ours(stat.S_IRWXG | stat.S_IRWXO):
            return None
        return self.wrong(
            key,
            f"is a secret, and others may read this file (mode {stat.S_IMODE(self.mode):03o})",
            f"chmod 600 {self.path}, and make it yours",
        )

    def credential(self) -> CredentialSaid:
        """Return the credential; which of two is meant has to be said."""
        token, app = self.text("token"), [k for k in ("clientId", "privateKey") if self.text(k)]
        said = self.text("authorizationMode")
        mode = MODES.get(said.lower()) if said else None
        if said and mode is None:
            known = f"one of: {', '.join(MODES.values())}"
            return self.wrong("authorizationMode", "is none that is known here", known)
        if mode is None and token and app:
            return self.wrong(
                "token", f"is given, and {app[0]} is: which is meant?", "write authorizationMode"
            )
        if mode == "PrivateKey" or (mode is None and app):
            return self.service_app()
        if not token:
            text = f"is {mode}, and there is no token"
            return None if mode is None else self.wrong("authorizationMode", text)
        hidden = self.hidden("token")
        if hidden:
            return hidden
        kind = BearerToken if mode == "Bearer" else ApiToken
        return self.given(kind(token=Secret(token)), "token")

    def given(
        self, what: ApiToken | BearerToken | ServiceApp | ServiceAppAuth, key: str
    ) -> GivenCredential:
        parts = {part: self.at(key) for part, key in PARTS.items()}
        return GivenCredential(what=what, folder=self.path.parent, source=self.at(key), parts=parts)

    def service_app(self) -> CredentialSaid:
        for key in ("clientId", "privateKey"):
            if not self.text(key):
                other = "privateKey" if key == "clientId" else "clientId"
                return self.wrong(
                    other if self.text(other) else "authorizationMode",
                    f"needs {key}, which is not there",
                )
        try:
            client_id = self.read("clientId", read_client_id)
            key_id = self.read("privateKeyId", read_key_id) if self.text("privateKeyId") else None
            scopes = tuple(map(self.read_scope, self.scopes()))
        except ConfigError as error:
            return error
        key, dpop = self.text("privateKey"), self.text("dpopEnabled").lower() == "true"
        if holds_key(key):
            what = ServiceApp(
                client_id=client_id,
                private_key=in_lines(Secret(key)),
                key_id=key_id,
                scopes=scopes or STANDARD_SCOPES,
                dpop=dpop,
            )
            return self.hidden("privateKey") or self.given(what, "clientId")
        if not is_there(key, self.path.parent):
            return self.wrong(
                "privateKey", "is neither a key (PEM or JWK) nor the path of a file that is there"
            )
        reference = SecretReference(kind=ReferenceKind.FILE, words=(key,))
        by_reference = ServiceAppAuth(
            client_id=client_id,
            private_key=reference,
            key_id=key_id,
            scopes=scopes or None,
            dpop=dpop,
        )
        return self.given(by_reference, "clientId")

    def read(self, key: str, reader: Callable[[object], str], text: str | None = None) -> str:
        try:
            return reader(self.text(key) if text is None else text)
        except PydanticCustomError as error:
            context = error.context or {}
            raise self.wrong(key, str(context.get("message")), context.get("hint")) from None

    def read_scope(self, scope: str) -> str:
        return self.read("scopes", read_scope, scope)

    def scopes(self) -> list[str]:
        listed = self.client.get("scopes")
        if isinstance(listed, list):
            return [str(each) for each in listed if isinstance(each, str)]
        return list(filter(None, SEPARATORS.split(self.text("scopes"))))

    def proxy(self) -> ProxySaid:
        node = self.client.get("proxy")
        if not isinstance(node, PlacedMap):
            return None
        host, port = self.text("host", node), self.text("port", node)
        if not host:
            return None
        where = self.at("host", node)
        parts = read_proxy(f"{host}:{port}" if port else host)
        if isinstance(parts, str):
            return ConfigError(f"{where}: the proxy {parts}")
        if parts.user is not None:
            return ConfigError(f"{where}: the proxy's host must not hold a user name or a password")
        password = self.text("password", node)
        hidden = self.hidden("proxy.password") if password else None
        if hidden:
            return hidden
        return GivenProxy(
            url=parts.url,
            user=self.text("username", node) or None,
            password=Secret(password) if password else None,
            folder=self.path.parent,
            source=where,
        )

    def seconds(self, key: str) -> SecondsSaid:
        text = self.text(key)
        if text in ("", "0"):
            return None
        said = seconds_of(text, self.at(key))
        return said or self.wrong(key, "is not a number of seconds above 0")


def read_file(path: Path, shown: str) -> SdkFile:
    """Read a file of the SDKs.

    Raises:
        ConfigError: it cannot be read.
        PlanError: it is not the YAML that it should be.
    """
    try:
        with open_regular(path) as handle:
            status = os.fstat(handle.fileno())
            data = handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{shown} cannot be read: {reason(error)}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{shown} is larger than {MAX_BYTES // 1024} KiB")
    try:
        tree = read_tree(decode(data, shown), shown)
    except PlanError as error:
        raise PlanError(error.problems, hidden=error.hidden, what=shown) from None
    if tree.problems:
        raise PlanError(tree.problems, what=shown)
    client = tree.root
    for key in ("okta", "client"):
        client = client.get(key) if isinstance(client, PlacedMap) else None
    return SdkFile(
        path=path,
        shown=shown,
        client=client if isinstance(client, PlacedMap) else PlacedMap(0),
        mode=status.st_mode,
        owner=status.st_uid,
    )
