"""All five clients, connected and known to be ready."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from maia.orchestrator.clients.calling import Connection
from maia.orchestrator.clients.description import DescriptionClient
from maia.orchestrator.clients.editing import EditingClient
from maia.orchestrator.clients.exemplars import ExemplarsClient
from maia.orchestrator.clients.generation import GenerationClient
from maia.orchestrator.clients.subject import SubjectClient
from maia.wire.addresses import SERVER_ADDRESSES, Address, split_addresses
from maia.wire.channels import SERVICE_OF, open_channel, wait_until_serving
from maia.wire.errors import UnavailableError
from maia.wire.tls import ClientCredentials

_READY_S: Final = 3.0
_FAR_READY_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the five servers are expected: `host:port`, `unix:/path` or `dns:///host:port`, or lists."""

    subject: str
    generation: str
    editing: str
    exemplars: str
    description: str
    credentials: ClientCredentials | None = field(default=None, kw_only=True)
    """Certificates and token for all of them; None for plain text, which stays on this machine."""

    @classmethod
    def local(cls) -> Self:
        """Return those that `maia up` serves at."""
        return cls(**dict(SERVER_ADDRESSES), credentials=None)

    @classmethod
    def of_environment(cls) -> Self:
        """Return those that MAIA_SUBJECT_ADDRESS and its like name, and for the rest those of `local`.

        Raises:
            InvalidRequestError: As `ClientCredentials.of_environment`, whose they are reached with.
        """
        found = {
            server: os.environ.get(f"MAIA_{server.upper()}_ADDRESS") or address
            for server, address in SERVER_ADDRESSES.items()
        }
        return cls(**found, credentials=ClientCredentials.of_environment())


SERVER_NAMES: Final = tuple(SERVER_ADDRESSES)
"""The servers as `maia serve` names them."""


def ready_within_s(address: str) -> float:
    """Return how long a server may take to say that it serves: elsewhere it may be behind a slow link.

    Args:
        address: Its own, or a list.

    Raises:
        InvalidRequestError: ADDRESS_INVALID.
    """
    here = all(Address.parse(one).local for one in split_addresses(address))
    return _READY_S if here else _FAR_READY_S


@dataclass(frozen=True, slots=True)
class Servers:
    """The clients of the five servers; all units and sessions of a process share them."""

    subject: SubjectClient
    generation: GenerationClient
    editing: EditingClient
    exemplars: ExemplarsClient
    description: DescriptionClient


@asynccontextmanager
async def open_servers(addresses: Addresses, *, ready_s: float | None = None) -> AsyncIterator[Servers]:
    """Connect to all servers and wait until each is ready; the connections close with the context.

    Args:
        addresses: Where they are.
        ready_s: How long to wait for each; None for what suits its address.

    Raises:
        UnavailableError: A server does not serve; the message names all such servers, their addresses, and how to
            start them.
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL.
        PreconditionError: VERSION_MISMATCH, SERVICE_MISSING: another server is there; a certificate, key or token that
            cannot be used.
        UnauthenticatedError: A server refuses our certificate, or we its.
    """
    async with AsyncExitStack() as stack:
        connections: dict[str, Connection] = {}
        for name in SERVER_NAMES:
            address = getattr(addresses, name)
            channel = open_channel(address, addresses.credentials)
            stack.push_async_callback(channel.close)
            connections[name] = Connection(name, address, channel)
        await _all_ready(connections, ready_s)
        yield Servers(
            subject=SubjectClient(connections["subject"]),
            generation=GenerationClient(connections["generation"]),
            editing=EditingClient(connections["editing"]),
            exemplars=ExemplarsClient(connections["exemplars"]),
            description=DescriptionClient(connections["description"]),
        )


async def _all_ready(connections: dict[str, Connection], ready_s: float | None) -> None:
    waits = [
        wait_until_serving(
            connection.channel,
            server=connection.server,
            timeout_s=ready_within_s(connection.address) if ready_s is None else ready_s,
            service=SERVICE_OF[name],
        )
        for name, connection in connections.items()
    ]
    answers = await asyncio.gather(*waits, return_exceptions=True)
    down: list[tuple[Connection, UnavailableError]] = []
    for connection, answer in zip(connections.values(), answers, strict=True):
        if isinstance(answer, UnavailableError):
            down.append((connection, answer))
        elif isinstance(answer, BaseException):
            raise answer
    if len(down) == 1:
        raise down[0][0].unavailable(down[0][1])
    if down:
        names = ", ".join(connection.name for connection, _ in down)
        raise UnavailableError(
            f"{'; '.join(error.message for _, error in down)}; start them with `maia serve NAME`, or all servers with "
            "`maia up`",
            metadata={"servers": names},
        )
