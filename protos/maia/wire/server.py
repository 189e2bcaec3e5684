"""The runtime that all our gRPC servers share.

    bind (any address with certificates, else loopback or a Unix socket of mode 0600) → health SERVING → announce → …
    → health NOT_SERVING → calls in flight, up to `drain_s` → closed

`running` is a server inside a program or a test; `serve` is a whole process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from maia.wire.access import Access, AccessInterceptor, scope_of
from maia.wire.addresses import Address
from maia.wire.calls import CallInterceptor
from maia.wire.errors import PreconditionError
from maia.wire.keepalive import server_keepalive
from maia.wire.limits import (
    CONNECTION_GRACE_S,
    DRAIN_S,
    HANDSHAKE_S,
    MAX_HELD_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_METADATA_BYTES,
    MAX_STREAMS,
)
from maia.wire.metrics import CallMetrics
from maia.wire.tls import ServerCredentials
from maia.wire.versions import VersionInterceptor, own_version

log = structlog.stdlib.get_logger("maia.server")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_OPTIONS: Final = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    # Whoever connects and says nothing holds a descriptor; the default is two minutes.
    ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_S * 1e3)),
    # Otherwise gRPC takes 4 MiB of each stream before anybody reads from it; now 64 KiB, and of a request all once it
    # is read.
    ("grpc.http2.bdp_probe", 0),
    # Two servers would otherwise share one port and each get some of the calls.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class Hosted:
    """One service of a server.

    Args:
        descriptor: `subject_pb2.DESCRIPTOR.services_by_name["SubjectService"]`.
        add: `subject_pb2_grpc.add_SubjectServiceServicer_to_server`.
        servicer: Its servicer.
    """

    descriptor: ServiceDescriptor
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: object


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server listens and ends.

    Args:
        listen: `127.0.0.1:port` (0 for any free port), `[::1]:port` or `unix:/path`.
        drain_s: How long calls in flight may go on after the server was asked to stop.
        announce: Print one JSON line {"ready": name, "address": …, "pid": …} to standard output once it serves.
        end_with_stdin: Stop when standard input closes, so that a server does not outlive the parent that holds the
            other end, however that parent ends.
        request_bytes: Most bytes of the requests that wait or are answered at the same time.
        calls: Are told of every call.
        connection_age_s: After about that long a client is asked to connect anew, so that replicas that were added get
            their share; None for never. Calls in flight end as they would.
        credentials: Certificates; None for plain text, which stays on this machine. A Unix socket has none: its file
            says who may.
        access: Who may call, and how much.
        reflection: Tell whoever asks which methods there are.
    """

    listen: str = "127.0.0.1:0"
    drain_s: float = DRAIN_S
    announce: bool = False
    end_with_stdin: bool = False
    request_bytes: int = MAX_HELD_BYTES
    calls: CallMetrics | None = None
    connection_age_s: float | None = None
    credentials: ServerCredentials | None = None
    access: Access = field(default_factory=Access)
    reflection: bool = False


@dataclass(slots=True)
class RunningServer:
    """A server that serves. `address` is the actual one, with the port that was chosen."""

    address: str
    drain_s: float
    _server: grpc.aio.Server
    _health: health.aio.HealthServicer

    async def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls, wait up to `drain_s` for those in flight, then cancel them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self.drain_s)

    async def abort(self) -> None:
        """Cancel the calls in flight, also those that a drain is waiting for."""
        await self._server.stop(None)


@asynccontextmanager
async def running(services: Sequence[Hosted], options: ServerOptions | None = None) -> AsyncIterator[RunningServer]:
    """Serve until the block ends, then drain.

    Raises:
        InvalidRequestError: ADDRESS_INVALID, or ADDRESS_NOT_LOCAL: other machines reach it, and there are no
            certificates.
        PreconditionError: ADDRESS_IN_USE, or ADDRESS_UNUSABLE: no folder for a socket; as `maia.wire.tls.read_pem`.
    """
    options = options or ServerOptions()
    check_options(options, next((scope_of(service.descriptor.full_name) for service in services), None))
    address = Address.parse(options.listen)
    names = [service.descriptor.full_name for service in services]
    encrypted = options.credentials is not None and address.socket is None
    access = options.access if encrypted else replace(options.access, certificates=None)
    interceptors = (
        VersionInterceptor(names, own_version()),
        CallInterceptor(options.calls),
        AccessInterceptor(access, options.request_bytes),
    )
    server = grpc.aio.server(interceptors=interceptors, options=(*_OPTIONS, *server_keepalive(), *_age(options)))
    for service in services:
        service.add(service.servicer, server)
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    if options.reflection:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    bound = _bind(server, address, options.credentials)
    await server.start()
    for name in names:
        await healths.set(name, health_pb2.HealthCheckResponse.SERVING)
    running_server = RunningServer(str(bound), options.drain_s, server, healths)
    try:
        yield running_server
    finally:
        await running_server.drain()
        if bound.socket is not None:
            bound.socket.unlink(missing_ok=True)


async def serve(name: str, services: Sequence[Hosted], options: ServerOptions) -> None:
    """Serve until SIGTERM, SIGINT or (with `end_with_stdin`) the end of standard input, then drain.

    A second signal ends the draining at once.

    Raises:
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL.
        PreconditionError: ADDRESS_IN_USE or ADDRESS_UNUSABLE, STDIN_NOT_PIPE with `end_with_stdin`, or STDOUT_CLOSED
            with `announce`.
    """
    if options.end_with_stdin and not _stdin_is_pipe():
        raise PreconditionError(
            "standard input is no pipe, so its end would say nothing of the parent; start the server with a pipe",
            reason="STDIN_NOT_PIPE",
        )
    async with running(services, options) as server, _asked_to_stop(name, server, options) as asked:
        log.info("serving", server=name, address=server.address, pid=os.getpid())
        if options.announce:
            ready = {"ready": name, "address": server.address, "pid": os.getpid()}
            _announce(json.dumps(ready))
        await asked.wait()
        await server.drain()
    log.info("stopped", server=name)


def _age(options: ServerOptions) -> tuple[tuple[str, int], ...]:
    if options.connection_age_s is None:
        return ()
    return (
        ("grpc.max_connection_age_ms", round(options.connection_age_s * 1e3)),
        ("grpc.max_connection_age_grace_ms", round(CONNECTION_GRACE_S * 1e3)),
    )


def _announce(line: str) -> None:
    try:
        os.write(1, f"{line}\n".encode())  # not through sys.stdout, which would try once more at the end
    except OSError as error:
        raise PreconditionError(
            f"the address cannot be announced: standard output is closed ({error.strerror})", reason="STDOUT_CLOSED"
        ) from error


@asynccontextmanager
async def _asked_to_stop(name: str, server: RunningServer, options: ServerOptions) -> AsyncIterator[asyncio.Event]:
    """An event that is set by the first signal or the parent's end; a second one aborts the calls in flight."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    aborts: set[asyncio.Task[None]] = set()

    def ask(why: str) -> None:
        log.info("stopping", server=name, why=why, at_once=asked.is_set())
        if asked.is_set():
            aborts.add(loop.create_task(server.abort()))
        asked.set()

    watch = loop.create_task(_until_stdin_closes(ask)) if options.end_with_stdin else None
    for number in _SIGNALS:
        loop.add_signal_handler(number, ask, number.name)
    try:
        yield asked
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        if watch is not None:
            watch.cancel()
        await asyncio.gather(*aborts)


def _stdin_is_pipe() -> bool:
    mode = os.fstat(0).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _until_stdin_closes(ask: Callable[[str], None]) -> None:
    reader = asyncio.StreamReader()
    # A duplicate, since the transport closes what it was given.
    with os.fdopen(os.dup(0), "rb", buffering=0) as stdin:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), stdin
        )
        try:
            # An error is an end as well: nobody could tell us any more that the parent is gone.
            with contextlib.suppress(OSError):
                while await reader.read(4096):
                    pass
            ask("standard input closed")
        finally:
            transport.close()


def check_options(options: ServerOptions, name: str | None = None) -> None:
    """Refuse what a server could not start with, before it loads its models.

    Args:
        options: Its own.
        name: As `maia serve` takes it.

    Raises:
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL.
        PreconditionError: As `maia.wire.tls.read_pem`; ADDRESS_IN_USE or ADDRESS_UNUSABLE.
    """
    address = Address.parse(options.listen)
    if options.credentials is None:
        address.require_local(_remedy(name or "subject"))
    else:
        options.credentials.check()
    # A socket's file is looked at when it is bound, since the look itself would disturb a server there.
    if address.socket is None and (obstacle := _obstacle(address)) is not None:
        raise obstacle


def _remedy(name: str) -> str:
    return (
        f"make certificates with `maia certs certs --host {name}=THIS_MACHINE`, then give --tls-cert certs/{name}.pem "
        f"--tls-key certs/{name}-key.pem --tls-client-ca certs/ca.pem; or listen at 127.0.0.1:PORT"
    )


def _bind(server: grpc.aio.Server, address: Address, credentials: ServerCredentials | None) -> Address:
    if address.socket is not None:
        return _bind_socket(server, address, address.socket)
    loaded = credentials.load() if credentials is not None else None
    one = _one(address)
    try:
        port = server.add_insecure_port(str(one)) if loaded is None else server.add_secure_port(str(one), loaded)
        return one.with_port(port)
    except RuntimeError as error:
        raise _unbound(address) from error


def _one(address: Address) -> Address:
    """Return 127.0.0.1 for "localhost", which would be [::1] too, on another port when the port is 0."""
    return Address.parse(f"127.0.0.1:{address.port}") if address.host == "localhost" else address


def _unbound(address: Address) -> PreconditionError:
    """Return why gRPC could not bind an address, of which it says nothing."""
    return _obstacle(address) or PreconditionError(
        f"{address} cannot be bound: the system does not say why",
        reason="ADDRESS_UNUSABLE",
        metadata={"address": str(address)},
    )


def _obstacle(address: Address) -> PreconditionError | None:
    """Return what the system has against a plain socket at an address."""
    reason = "ADDRESS_UNUSABLE"
    try:
        found = socket.getaddrinfo(_one(address).host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except socket.gaierror:
        why = f"no host is called {address.host}"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason, why = "ADDRESS_IN_USE", "the port is taken; is a server running there already?"
        elif error.errno == errno.EADDRNOTAVAIL:
            why = "this machine has no such address; 0.0.0.0 stands for all that it has"
        elif error.errno == errno.EACCES:
            why = "only root may take this port; take one above 1023"
        else:
            why = error.strerror or str(error)
    else:
        return None
    return PreconditionError(f"{address} cannot be bound: {why}", reason=reason, metadata={"address": str(address)})


def _bind_socket(server: grpc.aio.Server, address: Address, path: Path) -> Address:
    """Bind a Unix socket that only its owner may open; gRPC itself would take over a live server's."""
    if not path.parent.is_dir():
        raise PreconditionError(
            f"{address} cannot be bound: the folder {path.parent} does not exist",
            reason="ADDRESS_UNUSABLE",
            metadata={"address": str(address)},
        )
    if path.exists() and (not path.is_socket() or _answers(path)):
        what = "a server answers there" if path.is_socket() else "something else than a socket is there"
        raise PreconditionError(
            f"{address} cannot be bound: {what}", reason="ADDRESS_IN_USE", metadata={"address": str(address)}
        )
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise PreconditionError(
            f"{address} cannot be bound: {_why_not(path)}",
            reason="ADDRESS_UNUSABLE",
            metadata={"address": str(address)},
        ) from error
    finally:
        os.umask(before)
    return address


def _why_not(path: Path) -> str:
    """Return what the system has against a socket, of which gRPC says nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(str(path))
        except OSError as error:
            return error.strerror or str(error)
    path.unlink()
    return "the system does not say why"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False  # the file of a server that was killed
        except OSError:
            return True  # busy, or not ours to touch
        return True
