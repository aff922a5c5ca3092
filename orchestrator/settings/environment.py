"""What the environment says: the variables of the Okta SDKs, and those of Terraform's provider.

Empty variables count as unset. A credential needs all of its variables from the same family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from orchestrator.errors import ConfigError
from orchestrator.okta.http import Timeouts
from orchestrator.plan.auth import (
    BearerAuth,
    ServiceAppAuth,
    TokenAuth,
    read_client_id,
    read_key_id,
    read_scope,
)
from orchestrator.plan.files import located
from orchestrator.plan.org_url import check_org_url
from orchestrator.plan.references import ReferenceKind, SecretReference, variable_reference
from orchestrator.settings.proxies import goes_past, read_proxy
from orchestrator.settings.sources import (
    CredentialSaid,
    Given,
    GivenCredential,
    GivenProxy,
    ProxySaid,
    SecondsSaid,
    Source,
    UrlSaid,
    value_of,
)

URL_VARIABLE = "OKTA_CLIENT_ORGURL"
TOKEN_VARIABLE = "OKTA_CLIENT_TOKEN"  # noqa: S105 - the name of a variable
MODE_VARIABLE = "OKTA_CLIENT_AUTHORIZATIONMODE"
CLIENT_ID = "OKTA_CLIENT_CLIENTID"
SCOPES = "OKTA_CLIENT_SCOPES"
PRIVATE_KEY = "OKTA_CLIENT_PRIVATEKEY"
KEY_ID = "OKTA_CLIENT_PRIVATEKEYID"
DPOP = "OKTA_CLIENT_DPOPENABLED"
CONNECT_VARIABLE = "OKTA_CLIENT_CONNECTIONTIMEOUT"
REQUEST_VARIABLE = "OKTA_CLIENT_REQUESTTIMEOUT"
PROXY = "OKTA_CLIENT_PROXY_"

ORG_NAME, BASE_URL = "OKTA_ORG_NAME", "OKTA_BASE_URL"
USUAL_BASE = "okta.com"
API_TOKEN, ACCESS_TOKEN = "OKTA_API_TOKEN", "OKTA_ACCESS_TOKEN"
TERRAFORM_APP = ("OKTA_API_CLIENT_ID", "OKTA_API_PRIVATE_KEY")
TERRAFORM_SCOPES, TERRAFORM_KEY_ID = "OKTA_API_SCOPES", "OKTA_API_PRIVATE_KEY_ID"
TERRAFORM_PROXY = "OKTA_HTTP_PROXY"

MODES = {"ssws": "SSWS", "privatekey": "PrivateKey", "bearer": "Bearer"}
TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}
SEPARATORS = re.compile(r"[\s,]+")
LEAST_CHECKED = re.compile(r"OKTA_TESTING_.*DISABLE_?HTTPS_?CHECK", re.IGNORECASE)
LONGEST_SECONDS = 3600
CLIENT, TERRAFORM = "the environment", "Terraform's variables"


def text_of(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def from_environment(environ: Mapping[str, str], folder: Path) -> tuple[Source, Source]:
    """Return what the variables of the SDKs say, and what those of Terraform do.

    A private key may be given by its path; it starts from `folder`.
    """
    client = Source(
        name=CLIENT,
        url=client_url(environ),
        credential=client_credential(environ, folder),
        proxy=client_proxy(environ, folder),
        connect=seconds(environ, CONNECT_VARIABLE),
        read=seconds(environ, REQUEST_VARIABLE),
        notes=notes_of(environ),
    )
    terraform = Source(
        name=TERRAFORM,
        url=terraform_url(environ),
        credential=terraform_credential(environ, folder),
        proxy=proxy_of(environ, TERRAFORM_PROXY, folder),
    )
    return client, terraform


def notes_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Say which variables are not honoured, though somebody may rely on them."""
    notes = [
        f"{name} is not honoured: http is for this machine only"
        for name in environ
        if LEAST_CHECKED.fullmatch(name) and text_of(environ, name)
    ]
    bundle = "REQUESTS_CA_BUNDLE"
    if text_of(environ, bundle) and not text_of(environ, "SSL_CERT_FILE"):
        notes.append(f"{bundle} is not read: set SSL_CERT_FILE, or ca_file in the profile")
    return tuple(notes)


def client_url(environ: Mapping[str, str]) -> UrlSaid:
    return checked_url(text_of(environ, URL_VARIABLE), URL_VARIABLE)


def checked_url(url: str, name: str) -> UrlSaid:
    """Return an address of an org that a variable holds."""
    if not url:
        return None
    problem = check_org_url(url)
    if problem:
        return ConfigError(f"the org URL cannot be used: {problem}", variable=name)
    return Given(value=url.removesuffix("/"), source=f"environment {name}")


def terraform_url(environ: Mapping[str, str]) -> UrlSaid:
    name, base = text_of(environ, ORG_NAME), text_of(environ, BASE_URL)
    if base and not name:
        return ConfigError(
            f"{BASE_URL} is set, and {ORG_NAME} is not",
            hint=f"export {ORG_NAME}=acme for https://acme.{USUAL_BASE}, or unset {BASE_URL}",
        )
    both = f"{ORG_NAME} and {BASE_URL}" if base else ORG_NAME
    return checked_url(f"https://{name}.{base or USUAL_BASE}" if name else "", both)


def client_credential(environ: Mapping[str, str], folder: Path) -> CredentialSaid:
    """Return the credential that the variables of the SDKs name.

    The SDKs take the API token where no mode is said. Here it has to be said where both are given.
    """
    token, mode_text = text_of(environ, TOKEN_VARIABLE), text_of(environ, MODE_VARIABLE)
    app = [name for name in (CLIENT_ID, PRIVATE_KEY) if text_of(environ, name)]
    mode = MODES.get(mode_text.lower()) if mode_text else None
    if mode_text and mode is None:
        known = ", ".join(MODES.values())
        return ConfigError(f"{MODE_VARIABLE} is none that is known here", hint=f"one of: {known}")
    if mode is None and token and app:
        return ConfigError(
            f"{TOKEN_VARIABLE} and {' and '.join(app)} are set: which of them is meant?",
            hint=f"export {MODE_VARIABLE}=SSWS or PrivateKey, or unset what is not meant",
        )
    if mode == "PrivateKey" or (mode is None and app):
        names = (CLIENT_ID, PRIVATE_KEY, SCOPES, KEY_ID, DPOP)
        return service_app(environ, folder, names, mode=bool(mode))
    if not token:
        return None if mode is None else missing(TOKEN_VARIABLE, f"{MODE_VARIABLE} is {mode}")
    kind = BearerAuth if mode == "Bearer" else TokenAuth
    return GivenCredential(
        what=kind(token=variable_reference(TOKEN_VARIABLE)),
        folder=folder,
        source=f"environment {TOKEN_VARIABLE}",
    )


def terraform_credential(environ: Mapping[str, str], folder: Path) -> CredentialSaid:
    """Return the credential that Terraform's variables name; of several, none is taken."""
    app = tuple(name for name in TERRAFORM_APP if text_of(environ, name))
    tokens = [name for name in (API_TOKEN, ACCESS_TOKEN) if text_of(environ, name)]
    if len(tokens) + bool(app) > 1:
        return ConfigError(
            f"{', '.join([*tokens, *app])} are set: which of them is meant?",
            hint="unset what is not meant",
        )
    if app:
        names = (*TERRAFORM_APP, TERRAFORM_SCOPES, TERRAFORM_KEY_ID, "")
        return service_app(environ, folder, names)
    for name in tokens:
        kind = TokenAuth if name == API_TOKEN else BearerAuth
        what = kind(token=variable_reference(name))
        return GivenCredential(what=what, folder=folder, source=f"environment {name}")
    return None


def missing(name: str, because: str) -> ConfigError:
    return ConfigError(f"{because}, and {name} is not set", hint=f"export {name}=...")


def service_app(
    environ: Mapping[str, str],
    folder: Path,
    names: tuple[str, str, str, str, str],
    *,
    mode: bool = False,
) -> GivenCredential | ConfigError:
    """Return the service app that five variables name, or the one that is missing or wrong."""
    client_id, private_key, scopes, key_id, dpop = names
    for name, other in ((client_id, private_key), (private_key, client_id)):
        if not text_of(environ, name):
            said = f"{MODE_VARIABLE} is PrivateKey" if mode else f"{other} is set"
            return missing(name, said)
    key = key_reference(environ, private_key, folder)
    if isinstance(key, ConfigError):
        return key
    is_dpop = TRUTHS.get(text_of(environ, dpop).lower())
    if is_dpop is None:
        return ConfigError(f"{dpop} is neither true nor false", hint=f"{dpop}=true")
    name = client_id
    try:
        client = read_client_id(text_of(environ, client_id))
        name = key_id
        kid = read_key_id(text_of(environ, key_id)) if text_of(environ, key_id) else None
        name = scopes
        words = filter(None, SEPARATORS.split(text_of(environ, scopes)))
        asked = tuple(dict.fromkeys(map(read_scope, words)))
    except PydanticCustomError as error:
        context = error.context or {}
        return ConfigError(f"{name} {context.get('message')}", hint=context.get("hint"))
    return GivenCredential(
        what=ServiceAppAuth(
            client_id=client, private_key=key, key_id=kid, scopes=asked or None, dpop=is_dpop
        ),
        folder=folder,
        source=f"environment {client_id}",
        parts={
            "private_key": f"environment {private_key}",
            "scopes": f"environment {scopes}",
            "key_id": f"environment {key_id}",
            "dpop": f"environment {dpop}",
        },
    )


def key_reference(
    environ: Mapping[str, str], name: str, folder: Path
) -> SecretReference | ConfigError:
    """Return where a private key is: in its variable, or in the file that this names.

    What is neither is not taken for a path, and never shown: it may be a part of a key.
    """
    text = text_of(environ, name)
    if holds_key(text):
        return variable_reference(name)
    if is_there(text, folder):
        return SecretReference(kind=ReferenceKind.FILE, words=(text,))
    return ConfigError(
        f"{name} is neither a private key (PEM or JWK) nor the path of a file that is there",
        hint=f"export {name}=/path/of/key.pem",
    )


def holds_key(text: str) -> bool:
    """Say whether a text is a key itself: PEM, or a JWK."""
    return text.startswith(("-----BEGIN", "{"))


def is_there(text: str, folder: Path) -> bool:
    try:
        return text.isprintable() and located(text, folder).exists()
    except (OSError, ValueError):
        return False


def client_proxy(environ: Mapping[str, str], folder: Path) -> ProxySaid:
    """Return the proxy that the four variables of the SDKs name."""
    host, port = text_of(environ, f"{PROXY}HOST"), text_of(environ, f"{PROXY}PORT")
    user = text_of(environ, f"{PROXY}USERNAME") or None
    has_password = bool(text_of(environ, f"{PROXY}PASSWORD"))
    others = [name for name in ("PORT", "USERNAME", "PASSWORD") if text_of(environ, PROXY + name)]
    if not host:
        return missing(f"{PROXY}HOST", f"{PROXY}{others[0]} is set") if others else None
    if has_password and user is None:
        return missing(f"{PROXY}USERNAME", f"{PROXY}PASSWORD is set")
    parts = read_proxy(f"{host}:{port}" if port else host)
    if isinstance(parts, str):
        return ConfigError(f"{PROXY}HOST with {PROXY}PORT {parts}")
    if parts.user is not None:
        return ConfigError(
            f"{PROXY}HOST holds a user name", hint=f"{PROXY}USERNAME and {PROXY}PASSWORD are for it"
        )
    return GivenProxy(
        url=parts.url,
        user=user,
        password=variable_reference(f"{PROXY}PASSWORD") if has_password else None,
        folder=folder,
        source=f"environment {PROXY}HOST",
    )


def proxy_of(environ: Mapping[str, str], name: str, folder: Path) -> ProxySaid:
    """Return the proxy that one variable names, its user and password apart."""
    text = text_of(environ, name)
    if not text:
        return None
    parts = read_proxy(text)
    if isinstance(parts, str):
        return ConfigError(f"the proxy that {name} names {parts}")
    return GivenProxy(
        url=parts.url,
        user=parts.user,
        password=parts.password,
        folder=folder,
        source=f"environment {name}",
    )


def general_proxy(environ: Mapping[str, str], url: str, folder: Path) -> ProxySaid:
    """Return the proxy for all programs: HTTPS_PROXY, unless NO_PROXY says otherwise.

    In lower case they come first, as everywhere; set and empty, they say that there is none.
    """
    name = next((name for name in ("https_proxy", "HTTPS_PROXY") if name in environ), None)
    past = next((environ[name] for name in ("no_proxy", "NO_PROXY") if name in environ), "")
    return None if name is None or goes_past(url, past) else proxy_of(environ, name, folder)


def timeouts(environ: Mapping[str, str]) -> Timeouts:
    """Return the bounds of one attempt; the Okta SDKs' variables (seconds) override ours.

    Raises:
        ConfigError: one of them is no number of seconds.
    """
    return bounded(seconds(environ, CONNECT_VARIABLE), seconds(environ, REQUEST_VARIABLE))


def bounded(connect: SecondsSaid, read: SecondsSaid) -> Timeouts:
    """Return the bounds of one attempt; ours for what nobody speaks of."""
    standard = Timeouts()
    connecting = value_of(connect).value if connect is not None else standard.connect
    reading = value_of(read).value if read is not None else standard.read
    return Timeouts(connect=connecting, read=reading, whole=4 * reading)


def seconds(environ: Mapping[str, str], name: str) -> SecondsSaid:
    text = text_of(environ, name)
    if not text:
        return None
    return seconds_of(text, f"environment {name}") or ConfigError(
        f"{name} is not a number of seconds above 0", hint=f"{name}=30"
    )


def seconds_of(text: str, source: str) -> Given[float] | None:
    """Return a number of seconds, or None where it is none that can be waited."""
    try:
        value = float(text)
    except ValueError:
        return None
    return Given(value=value, source=source) if 0 < value <= LONGEST_SECONDS else None
