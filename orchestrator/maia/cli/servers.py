"""The servers that a command speaks to: those of the settings, or children of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from maia.cli.children import Children, ServerCommand
from maia.cli.config import Config, environment_without_keys
from maia.cli.errors import ServerDownError
from maia.cli.progress import Progress
from maia.cli.words import counted
from maia.orchestrator.clients import SERVER_NAMES, Addresses, Connection, Servers, open_servers, ready_within_s
from maia.wire.channels import SERVICE_OF, open_channel, wait_until_serving
from maia.wire.errors import UnavailableError
from maia.wire.tls import ClientCredentials

ANY_PORT: Final = "127.0.0.1:0"
PLAIN: Final = ("--tls-cert", "", "--tls-key", "", "--tls-client-ca", "", "--tokens", "")
"""Flags of a server for this command alone."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where servers are, by name, and the children that this command has started among them."""

    at: Mapping[str, str]
    children: Children | None = None
    credentials: ClientCredentials | None = None

    @property
    def addresses(self) -> Addresses:
        """All five, for a deployment that has them."""
        return Addresses(**self.at, credentials=self.credentials)

    def check(self) -> None:
        """Raise if a server of our own has ended.

        Raises:
            ServerDiedError: With the last lines of its log.
        """
        if self.children is not None:
            self.children.check()


def exemplar_store(config: Config) -> Path:
    """Return the folder of the exemplars."""
    return config.exemplars_store or config.cache_dir / "exemplars"


def server_commands(
    config: Config,
    *,
    listen: Mapping[str, str],
    subjects: Sequence[str] = (),
    names: Iterable[str] = SERVER_NAMES,
    wire: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[ServerCommand]:
    """Return how to start servers.

    Args:
        config: Settings; a file goes on to the servers, whose tables it may hold.
        listen: Address by server.
        subjects: What the subject server hosts; empty for its own default.
        names: Which servers.
        wire: Flags about certificates and tokens, by server.
    """
    own = {
        "subject": ("--model", ",".join(subjects)) if subjects else (),
        "exemplars": ("--store", str(exemplar_store(config))),
    }
    file = ("--config", str(config.config_file)) if config.config_file else ()
    return [
        ServerCommand(name, ("--listen", listen[name], *file, *own.get(name, ()), *wire.get(name, ())))
        for name in names
    ]


@asynccontextmanager
async def deployment(
    config: Config, progress: Progress, *, up: bool, subjects: Sequence[str], names: Sequence[str] = SERVER_NAMES
) -> AsyncIterator[Deployment]:
    """Say where the servers are; with `up`, start them first and end them afterwards.

    Args:
        config: Settings.
        progress: Is told of the start.
        up: Start servers on free ports, for this command only.
        subjects: What an own subject server hosts; empty for all.
        names: Which servers the command needs.

    Raises:
        ServerDiedError: One did not start.
    """
    if not up:
        yield Deployment({name: config.address(name) for name in names}, credentials=config.credentials)
        return
    async with Children(None, environment_without_keys() | config.traced_environment) as children:
        progress.stage(f"starting {counted(len(names), 'server')}")
        listen = dict.fromkeys(names, ANY_PORT)
        # Nobody else reaches them, whatever the file and the environment say of servers that others do.
        wire = dict.fromkeys(names, PLAIN)
        commands = server_commands(config, listen=listen, subjects=subjects, names=names, wire=wire)
        started = await children.start(commands)
        progress.done(f"{counted(len(names), 'server')} ready")
        yield Deployment({child.name: child.address for child in started}, children)


@asynccontextmanager
async def connected(where: Deployment) -> AsyncIterator[Servers]:
    """Connect to all five servers.

    Raises:
        ServerDownError: One does not answer; the message says which, where it was expected and how to start it.
    """
    async with AsyncExitStack() as stack:
        with startable(where):
            servers = await stack.enter_async_context(open_servers(where.addresses))
        yield servers


@asynccontextmanager
async def connection(where: Deployment, name: str) -> AsyncIterator[Connection]:
    """Connect to one server.

    Raises:
        ServerDownError: As `connected`.
    """
    async with open_channel(where.at[name], where.credentials) as channel:
        one = Connection(name, where.at[name], channel)
        with startable(where):
            try:
                within_s = ready_within_s(one.address)
                await wait_until_serving(channel, server=one.server, timeout_s=within_s, service=SERVICE_OF[name])
            except UnavailableError as error:
                raise one.unavailable(error) from error
        yield one


@contextmanager
def startable(where: Deployment) -> Iterator[None]:
    """Add to "no server answers" what this command can do about it, or why its own server does not answer.

    Raises:
        ServerDiedError: It is one of our own, and has ended.
        ServerDownError: Nobody has started it.
    """
    try:
        yield
    except UnavailableError as error:
        where.check()
        down = error.metadata.get("servers", error.metadata.get("server", "")).split(", ")
        named = ", ".join(f"{name} ({where.at[name]})" for name in down if name in where.at)
        raise ServerDownError(
            f"no answer from the {'servers' if len(down) > 1 else 'server'} {named or error.message}; start "
            "all servers with `maia up`, or let this command start its own with --up"
        ) from error
