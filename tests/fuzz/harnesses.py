"""Everything that reads what others wrote, each as a function of bytes that may fail in one way.

A harness ends quietly, whatever the bytes are. Our own errors are an end too, and so is the one
foreign error that the docstring of what it calls names. Anything else is a finding, and so is a
result that breaks its promise.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeAlias, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy
from pydantic_core import PydanticCustomError

from orchestrator.cli.terraform import managed_apps
from orchestrator.errors import ConfigError, InputError, OrchestratorError, PlanError, Problem
from orchestrator.inventory.saved import read_inventory
from orchestrator.model import Kid, Resource
from orchestrator.okta.call import Call, RawAnswer, conclude
from orchestrator.okta.certificates import (
    der_of,
    read_certificate_file,
    thumbprint_of,
    x5c_in_metadata,
)
from orchestrator.okta.credentials import ServiceApp
from orchestrator.okta.document import SignerDocument, changes_between, fingerprint
from orchestrator.okta.objects import IdentityProvider, LogEvent, Organization
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.pages import read_page
from orchestrator.okta.reading import decode
from orchestrator.okta.signing_key import read_signing_key
from orchestrator.okta.token_endpoint import Grant, Objection, judge
from orchestrator.okta.wire import (
    Application,
    JsonWebKey,
    SigningRequest,
    challenge_scope,
    epoch_second,
    is_identity,
    located_key,
    meaning_of,
    moment_of,
    next_page,
    rate_headers,
    refusal_of,
    request_id_of,
    whole_numbers,
)
from orchestrator.plan.csv_file import Entry, read_entries
from orchestrator.plan.load import load_plan_text
from orchestrator.plan.profiles import load_profiles
from orchestrator.plan.references import read_reference
from orchestrator.sandbox.faultfile import read_script
from orchestrator.secret import Secret
from orchestrator.settings.proxies import goes_past, read_proxy
from orchestrator.settings.sdk_file import source_of
from orchestrator.settings.sources import Given, Source

T = TypeVar("T")
Harness: TypeAlias = Callable[[bytes], None]

LIST = "/api/v1/apps"
KINDS: tuple[type[object], ...] = (
    JsonWebKey,
    Application,
    list[Application],
    list[JsonWebKey],
    IdentityProvider,
    SigningRequest,
    list[LogEvent],
    Organization,
)
HasId = Application | IdentityProvider
LISTED: tuple[type[Application | IdentityProvider | LogEvent], ...] = (
    Application,
    IdentityProvider,
    LogEvent,
)


def check_text(text: str) -> None:
    """Hold what is shown to people to what a terminal and a file can take."""
    text.encode("utf-8")


def check_problem(problem: Problem) -> None:
    assert problem.line >= 1
    assert problem.column >= 1
    check_text(str(problem))


def check_error(error: OrchestratorError) -> None:
    check_text(error.diagnostics())
    if isinstance(error, PlanError):
        assert error.problems
        for problem in error.problems:
            check_problem(problem)


def check_conclusion(call: Call[T], answer: RawAnswer) -> None:
    """Hold an answer to being a reply, or an error of ours that can be shown."""
    try:
        assert conclude(call, answer).status == answer.status
    except OrchestratorError as error:
        check_error(error)


@cache
def scratch() -> Path:
    """Return a file to put bytes into, for what reads files only."""
    folder = tempfile.TemporaryDirectory(prefix="okta-keys-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name) / "input"


def on_disk(data: bytes) -> Path:
    scratch().write_bytes(data)
    return scratch()


def plan(data: bytes) -> None:
    """Load a plan."""
    try:
        loaded = load_plan_text(data, file="plan.yaml", folder=Path())
    except PlanError as error:
        check_error(error)
    else:
        assert loaded.jobs


def csv(data: bytes) -> None:
    """Read a CSV file of apps: entries and problems, in order, to the end of the file."""
    for found in read_entries(BytesIO(data), "targets.csv"):
        if isinstance(found, Entry):
            assert found.app.isalnum()
            for name, cell in found.tags.items():
                assert name.strip() == name
                assert cell.strip() == cell
        else:
            check_problem(found)


def config(data: bytes) -> None:
    """Load a configuration file, one of Okta's SDKs, or the script of a sandbox's faults."""
    kind, data = data[:1], data[1:]
    try:
        if kind == b"f":
            read_script(data.decode("utf-8", errors="replace"), file="faults.yaml")
        elif kind == b"o":
            check_source(source_of(on_disk(data), shown="~/.okta/okta.yaml"))
        else:
            load_profiles(on_disk(data))
    except InputError as error:
        check_error(error)


def check_source(source: Source) -> None:
    """Hold what an SDK's file says to being usable, or an error that can be shown."""
    for said in (source.url, source.credential, source.proxy, source.connect, source.read):
        if isinstance(said, OrchestratorError):
            check_error(said)
    assert isinstance(source.url, Given | OrchestratorError | None)


def credentials(data: bytes) -> None:
    """Read references to secrets, private keys, proxies, and the answers that bring tokens."""
    kind, data = data[:1], data[1:]
    text = data.decode("utf-8", errors="replace")
    if kind == b"k":
        app = ServiceApp(client_id="0oa9krv5zuGXbn1Wd0h7", private_key=Secret(text))
        try:
            assert read_signing_key(app).algorithm
        except ConfigError as error:
            check_error(error)
    elif kind == b"t":
        status = 200 + (data[:1] or b"\0")[0] * 2
        headers = CIMultiDictProxy(CIMultiDict({"dpop-nonce": text[:64]}))
        try:
            answer = judge(RawAnswer(status, headers, data[1:]))
            assert isinstance(answer, Grant | Objection)
        except OrchestratorError as error:
            check_error(error)
    elif kind == b"p":
        read_proxy(text)
        goes_past("https://acme.okta.com", text)
    else:
        with suppress(PydanticCustomError):
            assert str(read_reference(text))


def wire(data: bytes) -> None:
    """Read the body of an answer, of every kind that there is."""
    kind, body = data[:1], data[1:]
    number = kind[0] if kind else 0
    with suppress(ValueError):
        decode(body, KINDS[number % len(KINDS)])
    with suppress(ValueError):
        page = read_page(body, LISTED[number % len(LISTED)])
        assert page.left_out >= 0
        assert all(is_identity(entry.id) for entry in page.entries if isinstance(entry, HasId))
    with suppress(ValueError):
        refusal = refusal_of(300 + number, body)
        str(refusal)
        assert not (refusal.is_duplicate and refusal.status != 400)
    answer = RawAnswer(200 + 2 * number, CIMultiDictProxy(CIMultiDict()), body)
    call = Call(method="GET", template=LIST, path=LIST, bucket=Bucket.APPS, kind=Application)
    check_conclusion(call, answer)


def document(data: bytes) -> None:
    """Read an app or an identity provider whole, and put another key into it."""
    kind, body = data[:1], data[1:]
    resource = Resource.IDP if kind == b"i" else Resource.APP
    try:
        found = SignerDocument.parse(body, resource)
    except ValueError:
        return
    assert len(fingerprint(found.body, resource)) > 0
    assert changes_between(found.body, found.body, resource) == ()
    try:
        changed = found.with_kid(Kid("Gx2-another_kid"))
    except ValueError:
        return
    assert changes_between(found.body, changed, resource) == ()
    assert SignerDocument.parse(changed, resource).active_kid == "Gx2-another_kid"


def certificates(data: bytes) -> None:
    """Read certificates, as the org and as people give them."""
    with suppress(ValueError):
        for text in x5c_in_metadata(data):
            with suppress(ValueError):
                der_of(text)
    with suppress(InputError):
        for der in read_certificate_file(data):
            assert thumbprint_of(der)
    with suppress(ValueError):
        der_of(data.decode("utf-8", errors="replace"))


def link(data: bytes) -> None:
    """Follow a list, and read where a key is: never to another path."""
    text = data.decode("latin-1")
    with suppress(ValueError):
        page = next_page(text.split("\n"), LIST)
        assert page is None or page.startswith(f"{LIST}?")
    located = located_key(text)
    if located is not None:
        assert all(part.replace("-", "").replace("_", "").isalnum() or part for part in located)


def challenge(data: bytes) -> None:
    """Read the headers that say why a call was refused, and how many more there may be."""
    status, text = (data[:1] or b"\0")[0] + 300, data[1:].decode("latin-1")
    values = text.split("\n")
    headers = CIMultiDict([("WWW-Authenticate", values[0])])
    for name in ("X-Rate-Limit-Limit", "X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"):
        headers.extend([(name, value) for value in values[1:4]])
    headers.add("Date", values[-1])
    headers.add("X-Okta-Request-Id", values[-1])
    scope = challenge_scope(headers)
    check_text(scope or "")
    rate = rate_headers(headers)
    assert meaning_of(status, rate, None, text).value
    request_id = request_id_of(headers)
    assert request_id is None or request_id.isprintable()
    assert all(number >= 0 for number in whole_numbers(values))
    epoch_second(text)
    moment_of(text)
    answer = RawAnswer(max(status, 401), CIMultiDictProxy(headers), b"")
    call = Call(method="GET", template=LIST, path=LIST, bucket=Bucket.APPS, kind=bytes)
    check_conclusion(call, answer)


def saved(data: bytes) -> None:
    """Read a saved inventory, or a state of Terraform."""
    kind, data = data[:1], data[1:]
    try:
        if kind == b"t":
            managed_apps(on_disk(data))
        else:
            read_inventory(on_disk(data))
    except InputError as error:
        check_error(error)


HARNESSES: Mapping[str, Harness] = {
    harness.__name__: harness
    for harness in (
        plan,
        csv,
        config,
        credentials,
        wire,
        document,
        certificates,
        link,
        challenge,
        saved,
    )
}
