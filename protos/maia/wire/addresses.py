"""Where a server is: `host:port`, `unix:/path` or `dns:///host:port`, and which of these may go without TLS.

Several replicas of a server are a list that commas separate.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from maia.wire.errors import InvalidRequestError, UnavailableError

SERVER_ADDRESSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "subject": "127.0.0.1:7411",
        "generation": "127.0.0.1:7412",
        "editing": "127.0.0.1:7413",
        "exemplars": "127.0.0.1:7414",
        "description": "127.0.0.1:7415",
    }
)
"""Where each server listens, and is looked for, unless something else is said."""

_MAX_SOCKET_PATH: Final = 107
"""sun_path holds 108 bytes with its final zero."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address: either a Unix socket, or a host and a port."""

    host: str = ""
    port: int = 0
    socket: Path | None = None
    resolve: bool = False
    """The host is a DNS name whose every record is a server (`dns:///`)."""

    name: str = ""
    """What the server's certificate must be of, where that is not the host: the name that it was found by."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse an address.

        Raises:
            InvalidRequestError: ADDRESS_INVALID.
        """
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path.removeprefix("//") if path.startswith("///") else path
            long = len(path.encode("utf-8", "surrogateescape")) > _MAX_SOCKET_PATH
            # gRPC takes a percent sign and what follows for one character.
            if not path.startswith("/") or path.startswith("//") or "%" in path or long:
                raise _invalid(
                    text,
                    f"a socket is an absolute path of at most {_MAX_SOCKET_PATH} bytes without %, unix:/run/x.sock",
                )
            return cls(socket=Path(path))
        resolve = text.startswith("dns:///")
        host, colon, port = text.removeprefix("dns:///").rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not bare or not (port.isascii() and port.isdecimal()):
            raise _invalid(text, "expected host:port, unix:/path or dns:///host:port")
        if len(port) > 5 or int(port) > 65535:
            raise _invalid(text, "ports end at 65535")
        if "/" in bare or (":" in bare and bare == host):
            raise _invalid(text, "expected host:port with an IPv6 host in brackets, [::1]:7000")
        return cls(host=bare, port=int(port), resolve=resolve)

    @property
    def known_as(self) -> str:
        """What the server's certificate must be of."""
        return self.name or self.host

    @property
    def local(self) -> bool:
        """Only this machine can be at the other end."""
        if self.socket is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> Address:
        """Return the same host with another port."""
        return replace(self, port=port)

    def require_local(self, remedy: str = "use 127.0.0.1, [::1] or unix:/path") -> None:
        """Refuse an address that plain text must not go to.

        Args:
            remedy: What to do instead.

        Raises:
            InvalidRequestError: ADDRESS_NOT_LOCAL.
        """
        if not self.local:
            raise InvalidRequestError(
                f"{self} is not on this machine alone, and plain text must not leave it; {remedy}",
                reason="ADDRESS_NOT_LOCAL",
                metadata={"address": str(self)},
            )

    def __str__(self) -> str:
        if self.socket is not None:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'dns:///' if self.resolve else ''}{host}:{self.port}"


def split_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of a list that commas separate, one for each replica of a server, as they are to be shown.

    Raises:
        InvalidRequestError: ADDRESS_INVALID: one of them is none, or the same stands there twice.
    """
    found = [str(Address.parse(one.strip())) for one in text.split(",")]
    for number, one in enumerate(found):
        if one in found[:number]:
            raise _invalid(text, f"{one} stands there twice")
    return tuple(found)


async def replicas_of(address: Address) -> tuple[Address, ...]:
    """Return the server at each record of a DNS name; of any other address, that alone.

    Raises:
        UnavailableError: NAME_UNKNOWN.
    """
    if not address.resolve:
        return (address,)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(
            f"no host is called {address.host} ({error.strerror})",
            reason="NAME_UNKNOWN",
            metadata={"address": str(address)},
        ) from error
    hosts = dict.fromkeys(str(where[0]) for *_, where in found)
    return tuple(Address(host, address.port, name=address.host) for host in hosts)


def _invalid(text: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{text!r} is no address: {why}", reason="ADDRESS_INVALID", metadata={"address": text})
