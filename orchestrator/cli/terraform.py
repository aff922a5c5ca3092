"""Read from a Terraform state which apps it manages: their ids, and nothing else.

States hold secrets, so all of a state but types and ids is skipped while it is parsed, and no
error shows any of it. Sources: Terraform, "JSON output format" and `internal/states/statefile`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from orchestrator.errors import InputError
from orchestrator.model import AppId
from orchestrator.plan.files import read_regular, reason

LARGEST = 256 * 1024 * 1024  # bytes
VERSION = 4  # since Terraform 0.12, and in all of OpenTofu
ZIP = b"PK\x03\x04"  # how a saved plan begins
OKTA_ID = re.compile(r"[A-Za-z0-9]{10,40}")
SHOW = "give the state itself, or the output of `terraform show -json`"
NO_STATE = "not a state of Terraform"
PULL = "terraform state pull > state.json"
ABSENT = msgspec.Raw()

# Of the resources named okta_app_*, those that are an app. The others, such as okta_app_user and
# okta_app_group_assignments, hang things on one, and leave its key alone.
TYPES = frozenset(
    {
        "okta_app_auto_login",
        "okta_app_basic_auth",
        "okta_app_bookmark",
        "okta_app_oauth",
        "okta_app_saml",
        "okta_app_secure_password_store",
        "okta_app_shared_credentials",
        "okta_app_swa",
        "okta_app_three_field",
        "okta_idp_saml",
    }
)


class Attributes(msgspec.Struct):
    """What a resource is like, but for everything that may be secret."""

    id: object = None


class Instance(msgspec.Struct):
    """One of a resource's instances: there are several with `count` and `for_each`."""

    attributes: Attributes | None = None
    attributes_flat: Attributes | None = None  # as Terraform before 0.12 had written it


class Resource(msgspec.Struct):
    """A resource of a state; in the output of `show` each instance is one."""

    mode: str = ""
    type: str = ""
    instances: list[Instance] = []
    values: Attributes | None = None  # only in the output of `show`


class Module(msgspec.Struct):
    """A module in the output of `show`."""

    resources: list[Resource] = []
    child_modules: list[Module] = []


class Values(msgspec.Struct):
    """The state in the output of `show`."""

    root_module: Module | None = None


class State(msgspec.Struct):
    """What a file may be that is given as a state."""

    version: int | None = None
    resources: list[Resource] | None = None
    format_version: str | None = None  # of the output of `show`
    values: Values | None = None
    planned_values: msgspec.Raw = ABSENT  # only in the output for a saved plan
    encrypted_data: msgspec.Raw = ABSENT  # only OpenTofu encrypts
    backend: msgspec.Raw = ABSENT  # in .terraform, where there is no state


def managed_apps(path: Path | None) -> frozenset[AppId]:
    """Return the ids of all apps and IdPs that a Terraform state manages; none without a state.

    Modules of any depth are looked into, and every instance counts.

    Raises:
        InputError: the file cannot be read, or is no state that we can read, and what to give.
    """
    if path is None:
        return frozenset()
    state = parsed(read(path), path)
    return frozenset(
        AppId(identity)
        for resource in resources_of(state, path)
        if resource.mode == "managed" and resource.type in TYPES
        for identity in ids_of(resource)
    )


def read(path: Path) -> bytes:
    try:
        data = read_regular(path, LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(f"the state {path} cannot be read: {reason(error)}") from None
    if data is None:
        most = f"{LARGEST // 1024 // 1024} MiB"
        raise InputError(f"the state {path} is larger than {most}", hint="is it really a state?")
    return data.removeprefix(b"\xef\xbb\xbf")


def parsed(data: bytes, path: Path) -> State:
    """Parse a state, of which nothing but its shape, types and ids is kept."""
    if data.startswith(ZIP):
        raise InputError(f"{path} is a saved plan of Terraform, not a state", hint=PULL)
    problem = ""
    try:
        return msgspec.json.decode(data, type=State)
    except msgspec.ValidationError:
        problem = NO_STATE
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = "not JSON"
    except RecursionError:
        problem = "nested too deeply"
    raise InputError(f"{path} is {problem}", hint=SHOW)  # outside: those errors may quote the file


def resources_of(state: State, path: Path) -> Iterator[Resource]:
    """Return the resources of a state in either form.

    Raises:
        InputError: it is neither.
    """
    if state.encrypted_data != ABSENT:
        raise InputError(f"{path} is encrypted", hint="give the output of `tofu show -json`")
    if state.backend != ABSENT:
        raise InputError(f"{path} only says where the state is", hint=PULL)
    if state.planned_values != ABSENT:
        raise InputError(f"{path} shows a saved plan, not a state", hint=SHOW)
    if state.format_version is not None:
        root = state.values.root_module if state.values else None
        return resources_in(root or Module())
    if state.version not in (None, VERSION):
        what = f"a state of version {state.version}"
        raise InputError(f"{path} is {what}, and version {VERSION} is needed", hint=SHOW)
    if state.version is None or state.resources is None:
        raise InputError(f"{path} is {NO_STATE}", hint=SHOW)
    return iter(state.resources)


def resources_in(module: Module) -> Iterator[Resource]:
    yield from module.resources
    for child in module.child_modules:
        yield from resources_in(child)


def ids_of(resource: Resource) -> Iterator[str]:
    """Yield the ids of a resource's instances; what is no id of Okta's is left out."""
    every = [resource.values]
    for instance in resource.instances:
        every += [instance.attributes, instance.attributes_flat]
    for attributes in every:
        identity = attributes.id if attributes else None
        if isinstance(identity, str) and OKTA_ID.fullmatch(identity):
            yield identity
