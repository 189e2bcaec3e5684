"""Why a connection does not come about: gRPC says only that it was closed, the system and TLS say more."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from typing import Final

from maia.wire.addresses import Address
from maia.wire.errors import UnauthenticatedError
from maia.wire.tls import ClientCredentials, moment

_WAIT_S: Final = 5.0
_SILENT_S: Final = 1.0

_WORDS: Final = {
    "CERTIFICATE_REQUIRED": "it asks for a certificate and got none",
    "UNKNOWN_CA": "our certificate was signed by another CA than its own",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "BAD_CERTIFICATE": "it does not accept our certificate",
    "WRONG_VERSION_NUMBER": "it speaks plain text where we expect TLS; leave out tls_ca, tls_cert and tls_key, or "
    "start it with certificates",
}
"""What alerts of TLS mean, by a part of the name that Python gives them."""


async def refusal(address: Address, credentials: ClientCredentials | None, server: str) -> UnauthenticatedError | None:
    """Connect once more, without gRPC, and return what TLS says; None if it is content, or nobody is there.

    Args:
        address: Of the server.
        credentials: As gRPC used them.
        server: As messages name it.
    """
    if address.socket is not None:
        return None
    encrypted = credentials is not None and credentials.encrypts
    try:
        answered = await asyncio.to_thread(_shake_hands, address, _context(credentials))
    except ssl.SSLCertVerificationError as error:
        dates = await asyncio.to_thread(_out_of_date, address, credentials)
        why = dates or f"its certificate is not to be trusted: {error.verify_message}"
    except ssl.SSLError as error:
        if not encrypted and "WRONG_VERSION" in (error.reason or ""):
            return None  # plain text, as we expect
        said = error.reason or str(error)
        why = next((words for part, words in _WORDS.items() if part in said), f"TLS says {said}")
    except OSError:
        return None
    else:
        if encrypted and answered:
            return None
        # gRPC's servers hang up without an alert; what they had against it is in their log.
        why = "it does not accept our certificate: not of its CA, or expired by its clock; its log says which"
    if not encrypted:
        why = "it takes TLS only; give tls_ca, tls_cert and tls_key"
    return UnauthenticatedError(
        f"no connection with the {server}: {why}", reason="TLS_REFUSED", metadata={"server": server}
    )


async def silence(address: Address) -> str | None:
    """Return what is in the way of a plain connection; None if somebody takes it."""
    try:
        await asyncio.to_thread(_connect, address)
    except socket.gaierror:
        return f"no host is called {address.host}"
    except FileNotFoundError:
        return "there is no such socket"
    except ConnectionRefusedError:
        return "nothing listens there"
    except TimeoutError:
        return "nothing answers there; is the machine up, and does a firewall let this port through?"
    except OSError as error:
        return error.strerror or str(error)
    return None


def _connect(address: Address) -> None:
    if address.socket is None:
        socket.create_connection((address.host, address.port), timeout=_SILENT_S).close()
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.settimeout(_SILENT_S)
        plain.connect(str(address.socket))


def _out_of_date(address: Address, credentials: ClientCredentials | None) -> str | None:
    """Return since when a server's certificate is good no more, or from when it will be; None if it is neither."""
    from cryptography import x509

    context = _context(credentials)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only its dates are read
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=_WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=address.known_as) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
    except OSError:  # TLS's own errors too
        return None
    if shown is None:
        return None
    found = x509.load_der_x509_certificate(shown)
    now = dt.datetime.now(dt.UTC)
    if now >= found.not_valid_after_utc:
        return f"its certificate expired on {moment(found.not_valid_after_utc)}, and it is {moment(now)} here; renew it"
    if now < found.not_valid_before_utc:
        return (
            f"its certificate is good from {moment(found.not_valid_before_utc)} on, and it is {moment(now)} here; are "
            "the clocks apart?"
        )
    return None


async def certificate_expiry(address: Address, credentials: ClientCredentials | None) -> dt.datetime | None:
    """Return when the certificate of a server that takes ours expires; None if it shows none, or nobody is there."""
    if address.socket is not None or credentials is None or not credentials.encrypts:
        return None
    try:
        return await asyncio.to_thread(_expiry, address, _context(credentials))
    except OSError:  # TLS's own errors too
        return None


def _context(credentials: ClientCredentials | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if credentials is None or not credentials.encrypts:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nothing is sent: only whether TLS is spoken is asked
        return context
    assert credentials.certificate is not None
    context.load_verify_locations(credentials.ca)
    context.load_cert_chain(credentials.certificate, credentials.key)
    return context


def _shake_hands(address: Address, context: ssl.SSLContext) -> bool:
    """Whether the server said anything once it had seen our certificate, as one that speaks HTTP/2 does at once."""
    # In a thread and not by asyncio, whose streams keep an alert that comes after the handshake to themselves.
    with (
        socket.create_connection((address.host, address.port), timeout=_WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname=address.known_as) as secure,
    ):
        return bool(secure.recv(1))


def _expiry(address: Address, context: ssl.SSLContext) -> dt.datetime | None:
    with (
        socket.create_connection((address.host, address.port), timeout=_WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname=address.known_as) as secure,
    ):
        shown = (secure.getpeercert() or {}).get("notAfter")
    return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(shown), dt.UTC) if isinstance(shown, str) else None
