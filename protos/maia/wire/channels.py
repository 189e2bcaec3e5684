"""Channels to servers: limits, keepalive, retries, and waiting until a server is ready."""

from __future__ import annotations

import asyncio
import json
from typing import Final
from weakref import WeakKeyDictionary

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from maia.wire.addresses import Address
from maia.wire.errors import UnauthenticatedError, UnavailableError
from maia.wire.limits import MAX_MESSAGE_BYTES, MAX_METADATA_BYTES
from maia.wire.refusal import refusal
from maia.wire.secured import SecuredChannel
from maia.wire.tls import ClientCredentials, ClientIdentity

IDEMPOTENT_SERVICES: Final = (
    "maia.subject.v1.SubjectService",
    "maia.generation.v1.GenerationService",
    "maia.editing.v1.EditingService",
    "maia.exemplars.v1.ExemplarsService",
    "maia.description.v1.DescriptionService",
)
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
        address: `host:port`, `unix:/path`, or `dns:///host:port` for every server behind that name in turn.
        credentials: Certificates and token; None for plain text, which stays on this machine.

    Raises:
        InvalidRequestError: ADDRESS_INVALID, or ADDRESS_NOT_LOCAL for another machine without certificates.
        PreconditionError: As `maia.wire.tls.read_pem`, or TOKEN_UNREADABLE.
    """
    parsed = check_reachable(address, credentials)
    options = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # A request larger than the retry buffer would silently not be retried.
        ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
        ("grpc.service_config", _service_config(every_record=parsed.resolve)),
        # gRPC would send even loopback traffic through the machine's http_proxy.
        ("grpc.enable_http_proxy", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # The default waits a second before it tries a server again that was still starting.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]

    def connect(certificates: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if certificates is None:
            return grpc.aio.insecure_channel(str(parsed), options=options)
        return grpc.aio.secure_channel(str(parsed), certificates, options=options)

    channel: grpc.aio.Channel
    if credentials is None:
        channel = connect(None)
    else:
        identity = ClientIdentity(credentials, encrypted=credentials.encrypts and parsed.socket is None)
        channel = SecuredChannel(identity, connect)
    _OPENED[channel] = (parsed, credentials)
    return channel


async def why_refused(channel: grpc.aio.Channel, *, server: str) -> UnauthenticatedError | None:
    """Return what TLS has against a connection that did not come about; None if it is not that.

    Args:
        channel: Of `open_channel`.
        server: As messages name it.
    """
    return await refusal(*_OPENED[channel], server) if channel in _OPENED else None


def check_reachable(address: str, credentials: ClientCredentials | None) -> Address:
    """Return the address, unless plain text would have to leave this machine for it.

    Raises:
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL.
    """
    parsed = Address.parse(address)
    if credentials is None or not credentials.encrypts:
        parsed.require_local(_SECURE)
    return parsed


async def wait_until_serving(channel: grpc.aio.Channel, *, server: str, timeout_s: float, service: str = "") -> None:
    """Wait until a server's health is SERVING.

    Args:
        channel: To the server.
        server: What to call it in the error, with its address: "subject server at 127.0.0.1:50051".
        timeout_s: How long to wait.
        service: Full name of one service, or "" for the whole server.

    Raises:
        UnavailableError: It did not serve in time; the message says what it answered last.
        UnauthenticatedError: TLS_REFUSED: one side does not accept the other's certificate.
    """
    health = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    last = "no answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    answer = await health.Check(request, wait_for_ready=True)
                except grpc.aio.AioRpcError as error:
                    last = f"{error.code().name} {error.details()}"
                else:
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                    last = str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        if (refused := await why_refused(channel, server=server)) is not None:
            raise refused from None
        raise UnavailableError(
            f"the {server} was not ready within {timeout_s:g} s ({last})", metadata={"server": server}
        ) from None


def _service_config(*, every_record: bool) -> str:
    config: dict[str, object] = {
        "methodConfig": [
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
    }
    if every_record:
        config["loadBalancingConfig"] = [{"round_robin": {}}]
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)
