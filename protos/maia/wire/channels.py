"""Channels to servers: limits, keepalive, retries, and waiting until a server is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from maia.wire.addresses import Address, split_addresses
from maia.wire.errors import InvalidRequestError, PreconditionError, UnauthenticatedError, UnavailableError
from maia.wire.keepalive import client_keepalive
from maia.wire.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from maia.wire.refusal import refusal, silence
from maia.wire.replicas import ReplicatedChannel
from maia.wire.secured import SecuredChannel
from maia.wire.tls import ClientCredentials, ClientIdentity
from maia.wire.versions import Told, check_version

SERVICE_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "subject": "maia.subject.v1.SubjectService",
        "generation": "maia.generation.v1.GenerationService",
        "editing": "maia.editing.v1.EditingService",
        "exemplars": "maia.exemplars.v1.ExemplarsService",
        "description": "maia.description.v1.DescriptionService",
    }
)
"""What each tool server hosts, in the version of its contract that this release speaks."""

IDEMPOTENT_SERVICES: Final = (*SERVICE_OF.values(),)
"""Services whose every call may be made twice: seed and content decide the answer. A session's stream is none."""

_POLL_S: Final = 0.05

_OPENED: Final[WeakKeyDictionary[grpc.aio.Channel, tuple[Address, ClientCredentials | None]]] = WeakKeyDictionary()
"""What channels were opened with, for the day when one of them finds nobody."""

_SECURE: Final = (
    "make certificates with `maia certs certs` where the CA is kept, then give --tls-ca certs/ca.pem --tls-cert "
    "certs/orchestrator.pem --tls-key certs/orchestrator-key.pem (or MAIA_TLS_CA, MAIA_TLS_CERT, MAIA_TLS_KEY)"
)


def open_channel(address: str, credentials: ClientCredentials | None = None) -> grpc.aio.Channel:
    """Open a channel; the connection is made by the first call.

    Calls of idempotent services are retried while their server is unavailable, three times within about
    a second.

    Args:
        address: `host:port`, `unix:/path`, or `dns:///host:port` for every server behind that name in turn; or several
            of these, separated by commas, for replicas of which each call goes to the next that serves.
        credentials: Certificates and token; None for plain text, which stays on this machine.

    Raises:
        InvalidRequestError: ADDRESS_INVALID, or ADDRESS_NOT_LOCAL for another machine without certificates.
        PreconditionError: As `maia.wire.tls.read_pem`, or TOKEN_UNREADABLE.
    """
    check_reachable(address, credentials)
    several = split_addresses(address)
    if len(several) > 1:
        replicas = {one: _open(Address.parse(one), credentials, replica=True) for one in several}
        return ReplicatedChannel(replicas, idempotent=IDEMPOTENT_SERVICES)
    return _open(Address.parse(address), credentials, replica=False)


def open_replica(address: Address, credentials: ClientCredentials | None = None) -> grpc.aio.Channel:
    """Open a channel to one server, as `open_channel` does, such as one of those that a name stands for.

    Raises:
        InvalidRequestError, PreconditionError: As `open_channel`.
    """
    check_reachable(str(address), credentials)
    return _open(address, credentials, replica=False)


def _open(address: Address, credentials: ClientCredentials | None, *, replica: bool) -> grpc.aio.Channel:
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # A request larger than the retry buffer would silently not be retried.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.service_config", _service_config(every_record=address.resolve, replica=replica)),
        # gRPC would send even loopback traffic through the machine's http_proxy.
        ("grpc.enable_http_proxy", 0),
        *client_keepalive(),
        # The default waits a second before it tries a server again that was still starting.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # The default asks for a name's addresses again after half a minute only, though none of those it has answers.
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    ]

    if address.name:
        options.append(("grpc.ssl_target_name_override", address.name))

    def connect(certificates: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if certificates is None:
            return grpc.aio.insecure_channel(str(address), options=options)
        return grpc.aio.secure_channel(str(address), certificates, options=options)

    channel: grpc.aio.Channel
    if credentials is None:
        channel = connect(None)
    else:
        identity = ClientIdentity(credentials, encrypted=credentials.encrypts and address.socket is None)
        channel = SecuredChannel(identity, connect)
    _OPENED[channel] = (address, credentials)
    return channel


async def why_silent(channel: grpc.aio.Channel) -> str:
    """Return why nobody can be reached; "" if somebody can, or the channel is not of `open_channel`."""
    one_by_one = channel.channels if isinstance(channel, ReplicatedChannel) else (channel,)
    addresses = [_OPENED[one][0] for one in one_by_one if one in _OPENED]
    found = await asyncio.gather(*(silence(address) for address in addresses))
    whys = [why if len(addresses) == 1 else f"{at}: {why}" for at, why in zip(addresses, found, strict=True) if why]
    return "; ".join(whys) if len(whys) == len(addresses) else ""


async def why_refused(channel: grpc.aio.Channel, *, server: str) -> UnauthenticatedError | None:
    """Return what TLS has against a connection that did not come about; None if it is not that.

    Args:
        channel: Of `open_channel`.
        server: As messages name it.
    """
    one_by_one = channel.channels if isinstance(channel, ReplicatedChannel) else (channel,)
    found = [await refusal(*_OPENED[one], server) for one in one_by_one if one in _OPENED]
    return next((error for error in found if error is not None), None)


def check_reachable(address: str, credentials: ClientCredentials | None) -> None:
    """Refuse an address, or list of them, for which plain text would have to leave this machine.

    Raises:
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL.
    """
    for one in map(Address.parse, split_addresses(address)):
        if one.socket is None and one.port == 0:
            raise InvalidRequestError(
                f"nobody can be called at {one}: port 0 lets a server take any free port; give the one that it took",
                reason="ADDRESS_INVALID",
                metadata={"address": str(one)},
            )
        if credentials is None or not credentials.encrypts:
            one.require_local(_SECURE)


async def wait_until_serving(channel: grpc.aio.Channel, *, server: str, timeout_s: float, service: str = "") -> None:
    """Wait until a server's health is SERVING.

    Args:
        channel: To the server.
        server: What to call it in the error, with its address: "subject server at 127.0.0.1:50051".
        timeout_s: How long to wait.
        service: Full name of one service, or "" for the whole server.

    Raises:
        UnavailableError: It did not serve in time; the message says what it answered last.
        PreconditionError: VERSION_MISMATCH, or SERVICE_MISSING: it hosts no such service.
        UnauthenticatedError: TLS_REFUSED: one side does not accept the other's certificate.
    """
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    last = "no answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    call = health.Check(request, wait_for_ready=True)
                    answer = await call
                except grpc.aio.AioRpcError as error:
                    check_version(Told.of(error.trailing_metadata()), server=server)
                    if error.code() is grpc.StatusCode.NOT_FOUND:
                        raise _other_server(server, service, Told.of(error.trailing_metadata())) from error
                    last = f"{error.code().name} {error.details()}"
                else:
                    check_version(Told.of(await call.trailing_metadata()), server=server)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                    last = str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        silent = await why_silent(channel)
        if not silent and (refused := await why_refused(channel, server=server)) is not None:
            raise refused from None
        raise UnavailableError(
            f"the {server} was not ready within {timeout_s:g} s ({silent or last})", metadata={"server": server}
        ) from None


def _other_server(server: str, service: str, told: Told) -> PreconditionError:
    return PreconditionError(
        f"the {server} does not know {service}, only {', '.join(told.services) or 'others'}; is it another server, or "
        "one of another version?",
        reason="SERVICE_MISSING",
        metadata={"server": server, "service": service},
    )


def _service_config(*, every_record: bool, replica: bool) -> str:
    config: dict[str, object] = {}
    if not replica:  # what a replica could not answer goes to another, not to the same once more
        config["methodConfig"] = [
            {
                "name": [{"service": service} for service in IDEMPOTENT_SERVICES],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    if every_record or replica:
        # gRPC watches the health of servers for this policy, not for its default.
        config["loadBalancingConfig"] = [{"round_robin": {}}]
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)
