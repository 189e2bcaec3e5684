"""A private certificate authority in a folder, and the certificates that it signs: what `maia certs` does.

    ca.pem, ca-key.pem      the authority; its key signs, and belongs on no server
    NAME.pem, NAME-key.pem  one pair for each server and each client

Needs the package cryptography, which only this module and `maia.wire.tls` import, when they are used.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maia.wire.addresses import SERVER_ADDRESSES
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.files import make_folder, write_together

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ORCHESTRATOR: Final = "orchestrator"
"""The client that servers take unless they are told otherwise."""

SERVER_NAMES: Final = (*SERVER_ADDRESSES, "sandbox")
"""Whose certificates are made for servers; a server may ask others whether they are alive, and no more."""

_HERE: Final = ("localhost", "127.0.0.1", "::1")
_CA: Final = "ca"
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_MAX_HOST: Final = 253
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_EARLIER: Final = dt.timedelta(hours=1)
"""A certificate holds from then on: clocks are apart."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one certificate.

    Attributes:
        name: Whose.
        file: It.
        hosts: The names and addresses that it is for; empty for a client's.
        until: When it expires.
        new: It was made or renewed; False: what was there is good.
    """

    name: str
    file: Path
    hosts: tuple[str, ...]
    until: dt.datetime
    new: bool


def files_of(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Return the CA's certificate, and a name's certificate and key, of a folder of `make_certificates`."""
    return folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}-key.pem"


def make_certificates(
    folder: Path,
    *,
    hosts: Mapping[str, Sequence[str]],
    clients: Sequence[str] = (),
    days: int = 90,
    ca_days: int = 3650,
    renew_within_days: int = 30,
) -> list[Made]:
    """Make the authority if there is none, and every certificate that is missing, expires soon or lacks a host.

    Args:
        folder: Where; made if it is not there.
        hosts: By server, the names and addresses that clients reach it at, beside its own name and this machine's. One
            that is left out keeps those that it has.
        clients: Names of clients beside the orchestrator.
        days: How long certificates are good.
        ca_days: How long the authority is; it is made once and never overwritten.
        renew_within_days: Renew what expires earlier.

    Returns:
        The authority first.

    Raises:
        InvalidRequestError: CERTIFICATES_INVALID: a name or host that cannot be.
        PreconditionError: CA_UNUSABLE: half an authority, or one that has expired.
            Or FILE_UNWRITABLE; a pair stays as it was.
    """
    _check_names(hosts, clients)
    _check_hosts_are_no_clients(folder, hosts, clients)
    make_folder(folder)
    authority, ca_made = _authority(folder, ca_days)
    made = [ca_made]
    for name in (*SERVER_NAMES, ORCHESTRATOR, *dict.fromkeys(clients)):
        asked = tuple(hosts[name]) if name in hosts else None
        made.append(
            authority.keep_or_sign(
                folder,
                name,
                asked,
                server=name in SERVER_NAMES,
                days=days,
                renew_within=dt.timedelta(renew_within_days),
            )
        )
    return made


def _check_names(hosts: Mapping[str, Sequence[str]], clients: Sequence[str]) -> None:
    for name, given in hosts.items():
        if name not in SERVER_NAMES:
            raise InvalidRequestError(
                f"there is no server {name!r}; valid: {', '.join(SERVER_NAMES)}", reason="CERTIFICATES_INVALID"
            )
        for host in given:
            if not _is_ip(host) and (len(host) > _MAX_HOST or not _HOST.fullmatch(host)):
                raise InvalidRequestError(
                    f"{host!r} is neither a host's name nor an IP address; without a port, for example gpu1.lab",
                    reason="CERTIFICATES_INVALID",
                )
    for client in clients:
        if not _NAME.fullmatch(client) or client in (*SERVER_NAMES, _CA) or client.endswith("-key"):
            raise InvalidRequestError(
                f"a client cannot be called {client!r}; take letters, digits, . _ @ and -, and no server's name",
                reason="CERTIFICATES_INVALID",
            )


def _check_hosts_are_no_clients(folder: Path, hosts: Mapping[str, Sequence[str]], clients: Sequence[str]) -> None:
    """Refuse a host that is called as a client is: servers know clients by DNS names too, and would take the server."""
    for name, given in hosts.items():
        for host in given:
            called = host.lower().rstrip(".")
            before = called not in (*SERVER_NAMES, _CA) and files_of(folder, called)[1].exists()
            if called == ORCHESTRATOR or called in (client.lower() for client in clients) or before:
                raise InvalidRequestError(
                    f"{name} cannot be at {host!r}: a client is called so, and could not be told from the server; use "
                    "another name of that machine, or its IP address",
                    reason="CERTIFICATES_INVALID",
                )


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    def keep_or_sign(
        self,
        folder: Path,
        name: str,
        asked: tuple[str, ...] | None,
        *,
        server: bool,
        days: int,
        renew_within: dt.timedelta,
    ) -> Made:
        _, file, key_file = files_of(folder, name)
        before = self._own(file) if file.exists() and key_file.exists() else None
        had = _hosts_of(before) if before is not None else ()
        wanted = tuple(dict.fromkeys((name, *(had if asked is None else asked), *_HERE))) if server else ()
        if before is not None and before.not_valid_after_utc - _now() > renew_within and set(wanted) == set(had):
            return Made(name, file, had, before.not_valid_after_utc, new=False)
        key = _new_key()
        signed = self._sign(name, key, wanted, server=server, days=days)
        # First the key: a server that reads between the two sees that they do not belong together, and waits.
        write_together({key_file: (_pem_of_key(key), 0o600), file: (_pem(signed), 0o644)})
        return Made(name, file, wanted, signed.not_valid_after_utc, new=True)

    def _own(self, file: Path) -> x509.Certificate:
        """Read a certificate that is about to be replaced.

        Raises:
            PreconditionError: CA_UNUSABLE: another authority has signed it.
        """
        from cryptography.exceptions import InvalidSignature

        found = _read(file)
        try:
            found.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise PreconditionError(
                f"{file} was signed by another authority than ca.pem beside it; move it away, or take another folder",
                reason="CA_UNUSABLE",
            ) from None
        return found

    def _sign(
        self, name: str, key: EllipticCurvePrivateKey, hosts: Sequence[str], *, server: bool, days: int
    ) -> x509.Certificate:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        until = min(_now() + dt.timedelta(days), self.certificate.not_valid_after_utc)
        # A server's shows also to other servers, when it asks whether they are alive.
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
        builder = (
            _builder(name, key, self.certificate.subject, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if hosts:
            names = [
                x509.IPAddress(ipaddress.ip_address(host)) if _is_ip(host) else x509.DNSName(host) for host in hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _authority(folder: Path, days: int) -> tuple[_Authority, Made]:
    file, key_file = folder / "ca.pem", folder / "ca-key.pem"
    if file.exists() != key_file.exists():
        there, missing = (file, key_file) if file.exists() else (key_file, file)
        raise PreconditionError(
            f"{there} is there and {missing} is not; sign where both are kept, or take another folder",
            reason="CA_UNUSABLE",
        )
    new = not file.exists()
    if new:
        _make_authority(file, key_file, days)
    from cryptography.hazmat.primitives import serialization

    certificate = _read(file)
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise PreconditionError(f"{key_file} holds no private key without a password", reason="CA_UNUSABLE") from error
    if key.public_key() != certificate.public_key():
        raise PreconditionError(f"{key_file} does not belong to {file}", reason="CA_UNUSABLE")
    until = certificate.not_valid_after_utc
    if until <= _now():
        raise PreconditionError(
            f"the authority {file} expired on {until:%Y-%m-%d}; make another in another folder, for all",
            reason="CA_UNUSABLE",
        )
    return _Authority(certificate, key), Made(_CA, file, (), until, new=new)  # type: ignore[arg-type]  # ours are EC


def _make_authority(file: Path, key_file: Path, days: int) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    key = _new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "MAIA private CA")])
    certificate = (
        _builder("MAIA private CA", key, name, _now() + dt.timedelta(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_together({key_file: (_pem_of_key(key), 0o600), file: (_pem(certificate), 0o644)})


def _builder(name: str, key: EllipticCurvePrivateKey, issuer: x509.Name, until: dt.datetime) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(file: Path) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise PreconditionError(f"{file} holds no certificate in PEM", reason="CA_UNUSABLE") from error


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
