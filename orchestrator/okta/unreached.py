"""Why an attempt got no answer: what the network, TLS or a proxy has to do with it.

The text of a foreign error may hold URLs, or bytes of an answer: only its kind is told.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import aiohttp

from orchestrator.errors import CallError, NoAnswer, Transient
from orchestrator.plan.org_url import is_same_org

TRUST_HINT = (
    "if a proxy or a CA of your own stands in between, name its certificate: ca_file of the "
    "profile, or SSL_CERT_FILE"
)
TRUST_HINTS = {  # verify codes of OpenSSL (x509_vfy.h)
    9: "it begins in the future: is the clock of this machine right?",
    10: "it has ended; if not, the clock of this machine is wrong",
    62: "it is for another host: is the URL of the org right?",
    64: "it is for another host: is the URL of the org right?",
}
TOO_OLD = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "WRONG_SSL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
    }
)
WANTS_US = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_CERTIFICATE_REQUIRED"})
# TLS 1.2 has no word for "certificate required".
MAY_WANT_US = frozenset({"SSLV3_ALERT_HANDSHAKE_FAILURE"})
REFUSES_OURS = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def failure_of_exchange(error: aiohttp.ClientError | OSError, url: str) -> CallError:
    """Return our error for an attempt that got no answer, or not all of it.

    `Transient` where another attempt may do better, `NoAnswer` where none will.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return refusal_of_proxy(error.status)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return untrusted(error, url)
    refusal = refusal_of_tls(error, url)
    if refusal is not None:
        return refusal
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return unconnected(error, url)
    if isinstance(error, TimeoutError):
        return Transient("the org did not answer in time", lost=True)
    return Transient(f"the answer was lost: {name_of(error)}", lost=True)


def refusal_of_proxy(status: int) -> CallError:
    """Return what is to be said of a proxy that did not open the way; the org heard nothing."""
    if status == 407:
        return NoAnswer(
            "the proxy wants to know who we are (407), or does not accept the password",
            hint="give the proxy of the profile a user and a password, or set "
            "OKTA_CLIENT_PROXY_USERNAME and OKTA_CLIENT_PROXY_PASSWORD",
        )
    if status >= 500 or status == 429:
        return Transient(f"the proxy could not open the way to the org ({status})")
    return NoAnswer(
        f"the proxy does not open the way to the org ({status})",
        hint="have the org's host allowed there, or name another proxy",
    )


def untrusted(error: aiohttp.ClientConnectorCertificateError, url: str) -> NoAnswer:
    """Return the error for a certificate that is not trusted: of the org, or of the proxy."""
    code = getattr(error.certificate_error, "verify_code", None)
    where = f"{shown_host(error.host)}:{error.port}"
    whose = url if is_same_org(f"https://{where}", url) else f"the proxy {where}"
    return NoAnswer(
        f"the certificate of {whose} is not trusted", hint=TRUST_HINTS.get(code or 0, TRUST_HINT)
    )


def refusal_of_tls(error: BaseException, url: str) -> NoAnswer | None:
    """Return what TLS could not agree on, where a retry cannot change it."""
    reasons = {getattr(cause, "reason", None) for cause in tls_errors(error)}
    if reasons & TOO_OLD:
        return NoAnswer(
            f"{url} speaks no TLS that is new enough",
            hint="TLS 1.2 is the least; older ones can be broken",
        )
    if reasons & WANTS_US:
        return NoAnswer(
            f"{url} demands a certificate of ours (mutual TLS)",
            hint="name client_cert and client_key in the profile",
        )
    if reasons & REFUSES_OURS:
        return NoAnswer(
            f"{url} does not accept our client certificate",
            hint="is client_cert of the profile the right one, and has it ended?",
        )
    if reasons & MAY_WANT_US:
        return NoAnswer(
            f"{url} ended the TLS handshake",
            hint="it may demand a certificate of ours: client_cert and client_key of the profile",
        )
    if reasons & NOT_TLS and isinstance(error, aiohttp.ClientConnectorError):
        return NoAnswer(f"what answers at {url} does not speak TLS", hint="is the port right?")
    return None


def tls_errors(error: BaseException | None) -> Iterator[ssl.SSLError]:
    """Yield the errors of TLS that are behind an error of aiohttp."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLError):
            yield error
        inner = getattr(error, "os_error", None)
        error = inner if isinstance(inner, ssl.SSLError) else error.__cause__ or error.__context__
        seen += 1


def unconnected(
    error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError, url: str
) -> Transient:
    """Return the error for a connection that did not come about; it may do another time."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Transient("no connection: nobody answered in time")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        whose = "the host name" if error.host == urlsplit(url).hostname else "the proxy's host name"
        return Transient(f"no connection: {whose} {error.host} is not known (DNS)")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        where = f"the proxy {shown_host(error.host)}:{error.port}"
        return Transient(f"{where} cannot be reached: {system_reason(error.os_error)}")
    return Transient(f"no connection: {system_reason(error.os_error)}")


def system_reason(error: OSError) -> str:
    """Return what the system says by its number of the error: asyncio's text has addresses in it.

    One error for several addresses has no number.
    """
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens on that port"
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else name_of(error)


def shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def name_of(error: BaseException) -> str:
    """Return the kind of a foreign error; its text may hold URLs or bytes of the answer."""
    return type(error).__name__
