"""From references to secrets: the only place where a secret is read. An error never shows one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.plan.references import ReferenceKind, SecretReference
from orchestrator.secret import Secret
from orchestrator.settings.secret_commands import printed_by
from orchestrator.settings.secret_files import read_secret_file

NO_KEYRING = "pip install 'okta-key-orchestrator[keyring]', or write env:, file: or cmd:"
KEYRING_ERRORS = {  # by name, in the order of their kinship: the package is imported late
    "NoKeyringError": ("there is no keyring on this system", "write env:, file: or cmd:"),
    "KeyringLocked": ("the keyring is locked", "unlock it, or write env:, file: or cmd:"),
    "InitError": ("the keyring cannot be opened", "python -m keyring --list-backends"),
}
VISIBLE = re.compile(r"[\x21-\x7e]+")


def resolve(reference: SecretReference, *, environ: Mapping[str, str], folder: Path) -> Secret:
    """Return the secret that a reference points to; paths start from `folder`.

    Blocks: a command may take half a minute, a keyring as long as somebody takes to unlock it.

    Raises:
        ConfigError: it is not there, or others could have read or changed it.
    """
    match reference.kind:
        case ReferenceKind.ENV:
            return variable(reference, environ)
        case ReferenceKind.FILE:
            text = read_secret_file(reference, environ=environ, folder=folder)
        case ReferenceKind.CMD:
            text = printed_by(reference, environ=environ, folder=folder)
        case ReferenceKind.KEYRING:
            return keyring_entry(reference)
    value = text.rstrip("\r\n")
    if not value.strip():
        raise ConfigError(f"{reference} is empty", hint="put the secret there, and nothing else")
    return Secret(value)


def resolve_token(
    reference: SecretReference, *, environ: Mapping[str, str], folder: Path
) -> Secret:
    """Return a secret that is to stand in a header: one word of visible ASCII characters.

    Raises:
        ConfigError: as `resolve`, or it is no such word.
    """
    secret = resolve(reference, environ=environ, folder=folder)
    if not VISIBLE.fullmatch(secret.reveal()):
        raise ConfigError(
            f"{reference} is not a token: it holds spaces, line breaks or special characters",
            hint="it must be the token alone, on one line",
        )
    return secret


def variable(reference: SecretReference, environ: Mapping[str, str]) -> Secret:
    [name] = reference.words
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"the environment variable {name} is not set", hint=f"export {name}=...")
    return Secret(value)


def keyring_entry(reference: SecretReference) -> Secret:
    """Return an entry of the system's keyring, by the package that knows them all."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise ConfigError(
            f"{reference} needs the package keyring, which is not installed", hint=NO_KEYRING
        ) from None
    service, name = reference.words
    try:
        value = keyring.get_password(service, name)
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        raise refused_by_keyring(reference, error) from None
    if not value:
        raise ConfigError(
            f"{reference}: the keyring has no such entry", hint=f"keyring set {service} {name}"
        )
    return Secret(value)


def refused_by_keyring(reference: SecretReference, error: Exception) -> ConfigError:
    """Return what to say of an error of a keyring; its own text may hold anything."""
    for kind in type(error).__mro__:
        if kind.__name__ in KEYRING_ERRORS:
            why, hint = KEYRING_ERRORS[kind.__name__]
            return ConfigError(f"{reference} cannot be read: {why}", hint=hint)
    return ConfigError(
        f"{reference} cannot be read: the keyring fails with {type(error).__name__}",
        hint="python -m keyring --list-backends says which keyring is used",
    )
