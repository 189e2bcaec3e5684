"""Certificates of servers and clients: files that are checked when they are read, and watched afterwards.

TLS is always mutual: a server shows its certificate and takes only clients whose certificate its CA has signed.
`maia certs` makes them for a lab without a CA of its own. Whoever replaces the files need not restart anything: a
server reads them again before a handshake, a client before a call.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from pydantic import SecretStr

from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError
from maia.wire.watching import Watched

log = structlog.stdlib.get_logger("maia.tls")

_MAX_TOKEN_CHARS: Final = 4096  # more would not fit into the headers of a call, beside the rest

_LOOK_S: Final = 1.0
"""How often a client looks whether its files have changed."""


@dataclass(frozen=True, slots=True)
class Pem:
    """The contents of three files, checked.

    Attributes:
        until: When the certificate expires.
    """

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """What a server shows, and whose clients it takes.

    Attributes:
        certificate: Its own, PEM, with the chain up to what clients trust.
        key: Of that certificate.
        client_ca: Whose signature a client's certificate must have.
    """

    certificate: Path
    key: Path
    client_ca: Path

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str) -> ServerCredentials | None:
        """Return those that settings name; None if they name none.

        Raises:
            InvalidRequestError: SETTING_INVALID: one of them without the others.
        """
        given = {"tls_cert": certificate, "tls_key": key, "tls_client_ca": client_ca}
        if not _complete(given):
            return None
        return cls(*(Path(path).expanduser() for path in given.values()))

    def check(self) -> None:
        """Read the files once.

        Raises:
            PreconditionError: As `read_pem`.
        """
        read_pem(self.client_ca, self.certificate, self.key)

    def load(self) -> grpc.ServerCredentials:
        """Read the files, now and whenever they have changed before a handshake.

        Raises:
            PreconditionError: As `read_pem`.
        """
        files = (self.client_ca, self.certificate, self.key)
        watched = Watched(files, lambda: read_pem(*files))
        pem = watched.current
        log.info("certificate in force", file=str(self.certificate), until=moment(pem.until))

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            # gRPC calls this in threads of its own, and what it raises would be lost.
            try:
                if not watched.look():
                    return None
            except MaiaError as error:
                log.warning("the new certificate is not taken, the earlier one stays in force", why=error.message)
                return None
            fresh = watched.current
            log.info("certificate renewed", file=str(self.certificate), until=moment(fresh.until))
            return _configuration(fresh)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(pem),
            renewed,  # type: ignore[arg-type]  # its stub does not know that None leaves what is there
            require_client_authentication=True,
        )


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Where a client's token is.

    Attributes:
        value: The token itself, from the environment.
        file: A file that holds it and nothing else; read again when it has changed.
    """

    value: SecretStr | None = None
    file: Path | None = None

    def read(self) -> str:
        """Return the token.

        Raises:
            PreconditionError: TOKEN_UNREADABLE.
        """
        if self.value is not None:
            return _printable(self.value.get_secret_value(), "the token of MAIA_TOKEN")
        assert self.file is not None
        return _printable(_contents(self.file, "TOKEN_UNREADABLE").decode("ascii", "replace"), f"the file {self.file}")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What a client trusts and shows. Used for every address but Unix sockets, which the file system guards.

    Attributes:
        ca: Whose signature a server's certificate must have; None for plain text, which stays on this machine.
        certificate: The client's own.
        key: Of that certificate.
        token: Who asks, for servers with a file of tokens.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: TokenSource | None = None

    def __post_init__(self) -> None:
        if len({self.ca is None, self.certificate is None, self.key is None}) > 1:
            raise ValueError("ca, certificate and key belong together; give all three or none")

    @classmethod
    def of(
        cls,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        *,
        token: SecretStr | None = None,
        token_file: Path | None = None,
    ) -> ClientCredentials | None:
        """Return those that settings name; None if they name none.

        Raises:
            InvalidRequestError: SETTING_INVALID: one of the files of TLS without the others.
        """
        encrypted = _complete({"tls_ca": ca, "tls_cert": certificate, "tls_key": key})
        source = TokenSource(token, token_file) if token is not None or token_file is not None else None
        if not encrypted:
            return cls(token=source) if source else None
        return cls(ca, certificate, key, source)

    @classmethod
    def of_environment(cls) -> ClientCredentials | None:
        """Return those that MAIA_TLS_CA, MAIA_TLS_CERT, MAIA_TLS_KEY, MAIA_TOKEN and MAIA_TOKEN_FILE name.

        Raises:
            InvalidRequestError: As `of`.
        """

        def path(name: str) -> Path | None:
            return Path(os.environ[name]).expanduser() if os.environ.get(name) else None

        token = os.environ.get("MAIA_TOKEN")
        return cls.of(
            path("MAIA_TLS_CA"),
            path("MAIA_TLS_CERT"),
            path("MAIA_TLS_KEY"),
            token=SecretStr(token) if token else None,
            token_file=path("MAIA_TOKEN_FILE"),
        )

    @property
    def encrypts(self) -> bool:
        """Whether there are certificates."""
        return self.ca is not None


@dataclass(slots=True)
class ClientIdentity:
    """A client's credentials as they are in force, looked at again now and then.

    Raises:
        PreconditionError: As `read_pem`, or TOKEN_UNREADABLE.
    """

    credentials: ClientCredentials
    encrypted: bool
    channel: grpc.ChannelCredentials | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    _pem: Watched[Pem] | None = field(init=False, default=None, repr=False)
    _token: Watched[str] | None = field(init=False, default=None, repr=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        self._looked = time.monotonic()
        if self.encrypted:
            assert self.credentials.ca is not None
            assert self.credentials.certificate is not None
            assert self.credentials.key is not None
            files = (self.credentials.ca, self.credentials.certificate, self.credentials.key)
            self._pem = Watched(files, lambda: read_pem(*files))
        if (token := self.credentials.token) is not None:
            own = token.file if token.value is None else None
            self._token = Watched([own] if own is not None else [], token.read)
        self._connect()
        self._bear()

    def renew(self) -> bool:
        """Look at the files, at most once a second; return whether there are new certificates to connect with.

        Files that have become unusable leave the earlier ones in force, and a line in the log.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return False
        self._looked = now
        renewed = _looked_at(self._pem)
        if renewed:
            self._connect()
        if _looked_at(self._token):
            self._bear()
        return renewed

    def _connect(self) -> None:
        if self._pem is not None:
            pem = self._pem.current
            self.channel = grpc.ssl_channel_credentials(pem.ca, pem.key, pem.certificate)

    def _bear(self) -> None:
        if self._token is not None:
            self.metadata = (("authorization", f"Bearer {self._token.current}"),)


def _looked_at(watched: Watched[Any] | None) -> bool:
    try:
        return watched is not None and watched.look()
    except MaiaError as error:
        log.warning("the new credentials are not taken, the earlier ones stay in force", why=error.message)
        return False


def read_pem(ca: Path, certificate: Path, key: Path) -> Pem:
    """Read certificates and a key, and check what can be checked before a handshake.

    Raises:
        PreconditionError: TLS_FILE_UNREADABLE, TLS_FILE_INVALID, TLS_KEY_MISMATCH, TLS_CERTIFICATE_EXPIRED or
            TLS_CERTIFICATE_NOT_YET_VALID; the message names the file and, for the last two, since or from when.
    """
    # Slow to import, and not needed where everything stays on one machine.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    pem = {file: _contents(file, "TLS_FILE_UNREADABLE") for file in (ca, certificate, key)}

    def parsed(file: Path) -> list[x509.Certificate]:
        try:
            found = x509.load_pem_x509_certificates(pem[file])
        except ValueError as error:
            raise _refused(file, f"the file {file} holds no certificate in PEM", "TLS_FILE_INVALID") from error
        for one in found:
            _check_dates(file, one.not_valid_before_utc, one.not_valid_after_utc)
        return found

    parsed(ca)
    own = parsed(certificate)[0]
    try:
        private = serialization.load_pem_private_key(pem[key], password=None)
    except (ValueError, TypeError) as error:
        raise _refused(key, f"the file {key} holds no private key in PEM without a password", "TLS_FILE_INVALID") from (
            error
        )
    if private.public_key() != own.public_key():
        raise _refused(key, f"the key {key} does not belong to the certificate {certificate}", "TLS_KEY_MISMATCH")
    return Pem(pem[ca], pem[certificate], pem[key], own.not_valid_after_utc)


def _check_dates(file: Path, since: dt.datetime, until: dt.datetime) -> None:
    now = dt.datetime.now(dt.UTC)
    if now >= until:
        raise _refused(
            file,
            f"the certificate {file} has expired, on {moment(until)}, and it is {moment(now)} here; renew it, with "
            "`maia certs DIR` where that made it",
            "TLS_CERTIFICATE_EXPIRED",
        )
    if now < since:
        raise _refused(
            file,
            f"the certificate {file} is not valid yet: from {moment(since)}, and it is {moment(now)} here; are the "
            "clocks apart?",
            "TLS_CERTIFICATE_NOT_YET_VALID",
        )


def _complete(given: Mapping[str, str | Path | None]) -> bool:
    """Whether all are given; False if none is.

    Raises:
        InvalidRequestError: SETTING_INVALID: some are.
    """
    missing = [name for name, value in given.items() if not value]
    if missing and len(missing) < len(given):
        are = "is" if len(missing) == 1 else "are"
        raise InvalidRequestError(
            f"{', '.join(given)} belong together; {' and '.join(missing)} {are} missing",
            reason="SETTING_INVALID",
        )
    return not missing


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.ca)


def _contents(file: Path, reason: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _refused(file, f"the file {file} cannot be read: {error.strerror}", reason) from error


def _printable(token: str, where: str) -> str:
    token = token.strip()
    printable = token.isascii() and token.isprintable() and " " not in token
    if not printable or not 0 < len(token) <= _MAX_TOKEN_CHARS:
        raise PreconditionError(
            f"{where} holds no token: one line of printable ASCII, of at most {_MAX_TOKEN_CHARS} characters",
            reason="TOKEN_UNREADABLE",
        )
    return token


def _refused(file: Path, message: str, reason: str) -> PreconditionError:
    return PreconditionError(message, reason=reason, metadata={"file": str(file)})


def moment(when: dt.datetime) -> str:
    """Return a moment as messages tell it."""
    return f"{when:%Y-%m-%d %H:%M} UTC"
